//! What a collection does, step by step.

use nearline::{
    Condition, Database, ElementType, Filter, Metric, OpenError, Payload, Point, PointId, Query, QueryError,
    Schema, Scroll, Vector, VectorConfig, WriteError,
};

fn database(folder: &tempfile::TempDir) -> Database {
    Database::builder(folder.path()).background(false).open().unwrap()
}

fn city(name: &str) -> Payload {
    Payload::new().with("city", name)
}

#[test]
fn points_are_found_replaced_and_deleted_before_and_after_a_flush_and_an_opening() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = database(&folder);
        let places = database.create_collection("places", Schema::single(2, Metric::L2)).unwrap();
        places
            .upsert((0..10u64).map(|i| Point::new(i).vector([i as f32, 0.0]).payload(city("Berlin"))))
            .unwrap();
        places.flush().unwrap();
        places.upsert([Point::new(3).vector([100.0, 0.0]).payload(city("Paris")), Point::new(11)]).unwrap();
        assert_eq!(places.delete([5, 77]).unwrap().points, 1);
        check(&places);
        places.verify().unwrap();
    }
    let database = database(&folder);
    let places = database.collection("places").unwrap();
    check(&places);
    places.flush().unwrap();
    check(&places);
    places.compact().unwrap();
    check(&places);
    assert_eq!(places.stats().dead_points, 0);
    places.verify().unwrap();
}

fn check(places: &nearline::Collection) {
    assert_eq!(places.count(None).unwrap(), 10);
    let answer = places.query(&Query::nearest([4.0, 0.0]).k(3).with_payload(true)).unwrap();
    let ids: Vec<PointId> = answer.hits.iter().map(|hit| hit.id).collect();
    assert_eq!(ids, [4.into(), 2.into(), 6.into()]);
    assert_eq!(answer.hits[0].payload, Some(city("Berlin")));
    let in_paris = Filter::must([Condition::matches("city", "Paris")]);
    let answer =
        places.query(&Query::nearest([0.0, 0.0]).k(3).filter(in_paris.clone()).with_vectors(true)).unwrap();
    assert_eq!(answer.hits.len(), 1);
    assert_eq!((answer.hits[0].id, answer.hits[0].distance), (3.into(), 10_000.0));
    assert_eq!(answer.hits[0].vectors.as_ref().unwrap()[""], Vector::F32(vec![100.0, 0.0]));
    assert_eq!(places.count(Some(&in_paris)).unwrap(), 1);
    let found = places.get([11, 5, 3]).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], Point::new(11));
    let mut all = Vec::new();
    let mut scroll = Scroll::new().limit(4);
    loop {
        let page = places.scroll(&scroll).unwrap();
        all.extend(page.points.iter().map(|point| point.id));
        let Some(next) = page.next else { break };
        scroll = scroll.from(next);
    }
    assert_eq!(all, [0, 1, 2, 3, 4, 6, 7, 8, 9, 11].map(PointId::from));
}

#[test]
fn payloads_and_vectors_are_edited() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder);
    let schema = Schema::new()
        .vector("a", VectorConfig::new(2, Metric::Cosine))
        .vector("b", VectorConfig::new(3, Metric::InnerProduct).element(nearline::ElementType::U8));
    let points = database.create_collection("points", schema).unwrap();
    points.upsert([Point::new(1).named_vector("a", [1.0, 0.0]).payload(city("Rome").with("n", 1))]).unwrap();
    points.flush().unwrap();
    points.set_payload([1], Payload::new().with("n", 2).with("m", true)).unwrap();
    points.delete_payload([1], ["city"]).unwrap();
    points.update_vectors([1], [("b", Some(Vector::U8(vec![1, 2, 3]))), ("a", None)]).unwrap();
    let point = &points.get([1]).unwrap()[0];
    assert_eq!(point.payload, Payload::new().with("n", 2).with("m", true));
    assert_eq!(point.vectors.len(), 1);
    assert_eq!(point.vectors["b"], Vector::U8(vec![1, 2, 3]));
    points.overwrite_payload(Filter::must([Condition::matches("n", 2)]), city("Oslo")).unwrap();
    assert_eq!(points.get([1]).unwrap()[0].payload, city("Oslo"));
    points.clear_payload([1]).unwrap();
    assert!(points.get([1]).unwrap()[0].payload.is_empty());
    assert!(points.query(&Query::nearest([1.0, 1.0]).using("a")).unwrap().hits.is_empty());
    assert_eq!(points.query(&Query::nearest(vec![1u8, 1, 1]).using("b")).unwrap().hits[0].distance, -6.0);
}

#[test]
fn mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder);
    let points = database.create_collection("points", Schema::single(2, Metric::Cosine)).unwrap();
    for (vector, wrong) in [
        (vec![1.0], "1 elements"),
        (vec![f32::NAN, 1.0], "NaN"),
        (vec![0.0, 0.0], "all zeros"),
        (vec![f32::INFINITY, 0.0], "infinity"),
    ] {
        let error = points.upsert([Point::new(1).vector(vector.clone())]).unwrap_err();
        assert!(matches!(error, WriteError::Vector { .. }) && error.to_string().contains(wrong), "{error}");
        let error = points.query(&Query::nearest(vector)).unwrap_err();
        assert!(matches!(error, QueryError::Bad { .. }) && error.to_string().contains(wrong), "{error}");
    }
    assert!(points.upsert([Point::new(1).named_vector("other", [1.0, 2.0])]).is_err());
    assert!(points.query(&Query::nearest([1.0, 2.0]).k(0)).is_err());
    assert!(points.query(&Query::nearest([1.0, 2.0]).k(usize::MAX)).is_err());
    assert!(points.query(&Query::nearest([1.0, 2.0]).using("other")).is_err());
    assert!(points.query(&Query::nearest([1.0, 2.0]).k(1 << 20)).unwrap().hits.is_empty());
    assert!(points.upsert([]).unwrap().points == 0 && points.delete(Vec::<u64>::new()).unwrap().points == 0);
    assert!(points.scroll(&Scroll::new().limit(0)).is_err());
    for name in ["", "../x", "a/b", ".hidden", "a\0"] {
        assert!(
            matches!(database.create_collection(name, Schema::new()), Err(OpenError::Name { .. })),
            "{name:?}"
        );
    }
    assert!(matches!(database.create_collection("points", Schema::new()), Err(OpenError::Exists { .. })));
    assert!(matches!(database.collection("none"), Err(OpenError::Missing { .. })));
    assert!(matches!(
        database.create_collection("x", Schema::single(0, Metric::L2)),
        Err(OpenError::Schema { .. })
    ));
    assert!(matches!(Database::builder(folder.path()).open(), Err(OpenError::InUse { .. })));
    assert!(Database::builder(folder.path().join("y")).memory_budget(1).open().is_err());
    assert_eq!(points.count(None).unwrap(), 0);
}

#[test]
fn collections_have_names_and_aliases() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = database(&folder);
        let one = database.create_collection("one", Schema::single(1, Metric::L2)).unwrap();
        database.create_collection("two", Schema::new()).unwrap();
        one.upsert([Point::new(1).vector([1.0])]).unwrap();
        database.set_alias("live", "one").unwrap();
        assert_eq!(database.collection("live").unwrap().count(None).unwrap(), 1);
        database.rename_collection("one", "first").unwrap();
        assert_eq!((one.name(), database.aliases()["live"].as_str()), ("first".to_owned(), "first"));
        assert!(database.set_alias("two", "first").is_err());
        assert!(database.create_collection("live", Schema::new()).is_err());
        database.drop_collection("two").unwrap();
        assert!(database.drop_collection("two").is_err());
    }
    let database = database(&folder);
    assert_eq!(database.collections(), ["first"]);
    assert_eq!(database.collection("live").unwrap().count(None).unwrap(), 1);
    database.drop_alias("live").unwrap();
    assert!(database.drop_alias("live").is_err());
    assert!(database.collection("live").is_err());
}

#[test]
fn snapshots_stay_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder);
    let points = database.create_collection("points", Schema::single(1, Metric::L2)).unwrap();
    points.upsert((0..5u64).map(|i| Point::new(i).vector([i as f32]))).unwrap();
    points.snapshot("five").unwrap();
    assert!(points.snapshot("five").is_err() && points.snapshot("../six").is_err());
    points.delete([0, 1, 2]).unwrap();
    points.upsert([Point::new(9).vector([9.0])]).unwrap();
    points.compact().unwrap();
    let restored = database.restore_snapshot("points", "five", "again").unwrap();
    assert_eq!((points.count(None).unwrap(), restored.count(None).unwrap()), (3, 5));
    restored.upsert([Point::new(7).vector([7.0])]).unwrap();
    restored.verify().unwrap();
    assert_eq!(restored.count(None).unwrap(), 6);
    assert_eq!(points.snapshots().unwrap(), ["five"]);
    points.drop_snapshot("five").unwrap();
    assert!(points.drop_snapshot("five").is_err());
    assert!(database.restore_snapshot("points", "five", "more").is_err());
}

#[test]
fn the_background_flushes_and_merges() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder(folder.path()).memory_budget(16 << 20).open().unwrap();
    let points = database.create_collection("points", Schema::single(64, Metric::L2)).unwrap();
    for batch in 0..60u64 {
        let ids = (batch * 100)..(batch * 100 + 200);
        points.upsert(ids.map(|i| Point::new(i).vector(vec![i as f32; 64]))).unwrap();
    }
    points.wait_idle().unwrap();
    let stats = points.stats();
    assert_eq!(stats.points, 6_100);
    assert!(stats.jobs_done > 0 && stats.pending.is_none() && stats.running.is_none(), "{stats:?}");
    assert!(stats.segments >= 1 && stats.delta_bytes < 2 << 20, "{stats:?}");
    points.verify().unwrap();
    // In memory, those that were replaced are compared along with the others.
    points.flush().unwrap();
    let answer = points.query(&Query::nearest(vec![3_000.0; 64]).k(1)).unwrap();
    assert_eq!((answer.hits[0].id, answer.report.compared), (3_000.into(), 6_100));
}

#[test]
fn manhattan_distances_are_sums_of_differences() {
    for element in [ElementType::F32, ElementType::F16, ElementType::U8, ElementType::I8] {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::builder(folder.path()).background(false).open().unwrap();
        let config = VectorConfig::new(3, Metric::Manhattan).element(element);
        let points = database.create_collection("points", Schema::new().vector("", config)).unwrap();
        points
            .upsert([Point::new(1).vector([0.0, 3.0, 0.0]), Point::new(2).vector([2.0, 2.0, 2.0])])
            .unwrap();
        for _ in 0..2 {
            let hits = points.query(&Query::nearest([0.0, 0.0, 0.0])).unwrap().hits;
            let found: Vec<_> = hits.iter().map(|hit| (hit.id, hit.distance)).collect();
            assert_eq!(found, [(1.into(), 3.0), (2.into(), 6.0)], "{element}");
            points.flush().unwrap();
        }
        drop((points, database));
        let again = Database::builder(folder.path()).background(false).open().unwrap();
        let points = again.collection("points").unwrap();
        assert_eq!(points.schema().vectors().next().unwrap().1.metric, Metric::Manhattan);
    }
}
