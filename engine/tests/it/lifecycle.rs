//! Opening, closing, making and dropping, at unlucky moments.

use std::time::Duration;

use nearline::{
    AliasChange, DIM_MAX, Database, Durability, ElementType, Metric, PAYLOAD_BYTES_MAX, Payload, Point,
    Query, Schema, VectorConfig,
};

fn small(folder: &tempfile::TempDir, background: bool) -> Database {
    Database::builder(folder.path()).memory_budget(16 << 20).background(background).open().unwrap()
}

#[test]
fn without_a_background_writers_make_room_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let database = small(&folder, false);
    let points = database.create_collection("points", Schema::single(256, Metric::L2)).unwrap();
    for batch in 0..40u64 {
        let new = (0..200).map(|i| Point::new(batch * 200 + i).vector(vec![i as f32; 256]));
        points.upsert_with(new, Durability::Buffered).unwrap();
    }
    points.wait_idle().unwrap();
    let stats = points.stats();
    assert!(stats.segments > 0 && stats.delta_bytes < 5 << 20, "{stats:?}");
    assert_eq!(points.query(&Query::nearest(vec![0.0; 256]).k(100)).unwrap().hits[39].distance, 0.0);
    points.verify().unwrap();
}

#[test]
fn a_collection_opens_while_its_last_handle_closes() {
    let folder = tempfile::tempdir().unwrap();
    let database = small(&folder, true);
    drop(database.create_collection("points", Schema::single(256, Metric::L2)).unwrap());
    for round in 1..6u64 {
        let points = database.collection("points").unwrap();
        let new = (0..2_500).map(|i| Point::new(round * 10_000 + i).vector(vec![i as f32; 256]));
        points.upsert_with(new, Durability::Buffered).unwrap();
        std::thread::scope(|scope| {
            // It waits until what was begun in the background has ended.
            scope.spawn(|| drop(points));
            std::thread::sleep(Duration::from_millis(round));
            let again = database.collection("points").unwrap();
            assert_eq!(again.count(None).unwrap(), round * 2_500);
        });
    }
    database.collection("points").unwrap().verify().unwrap();
}

#[test]
fn a_collection_that_could_not_be_made_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let database = small(&folder, false);
    // Something is there where the first would be.
    std::fs::create_dir(folder.path().join("collection.000001")).unwrap();
    assert!(database.create_collection("points", Schema::new()).is_err());
    let points = database.create_collection("points", Schema::new()).unwrap();
    points.upsert([Point::new(1)]).unwrap();
    drop((points, database));
    let database = small(&folder, false);
    assert_eq!(database.collection("points").unwrap().count(None).unwrap(), 1);
}

#[test]
fn snapshots_have_long_names_and_go_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = small(&folder, false);
    let points = database.create_collection("points", Schema::new()).unwrap();
    points.upsert([Point::new(1)]).unwrap();
    let long = "s".repeat(255);
    points.snapshot(&long).unwrap();
    points.snapshot("b").unwrap();
    assert_eq!(points.snapshots().unwrap(), ["b".to_owned(), long.clone()]);
    points.drop_snapshot(&long).unwrap();
    assert_eq!(points.snapshots().unwrap(), ["b"]);
    assert_eq!(database.restore_snapshot("points", "b", "again").unwrap().count(None).unwrap(), 1);
}

#[test]
fn handles_on_a_dropped_collection_go_on_answering() {
    let folder = tempfile::tempdir().unwrap();
    let database = small(&folder, true);
    let points = database.create_collection("points", Schema::single(1, Metric::L2)).unwrap();
    points.upsert((0..100u64).map(|i| Point::new(i).vector([i as f32]))).unwrap();
    points.flush().unwrap();
    points.upsert([Point::new(100).vector([100.0])]).unwrap();
    database.drop_collection("points").unwrap();
    assert_eq!(points.count(None).unwrap(), 101);
    assert_eq!(points.query(&Query::nearest([57.0]).k(1)).unwrap().hits[0].id, 57.into());
    assert!(points.flush().is_err(), "there is no folder for files");
    let new = database.create_collection("points", Schema::new()).unwrap();
    new.upsert([Point::new(1)]).unwrap();
    assert_eq!((new.count(None).unwrap(), points.count(None).unwrap()), (1, 101));
    drop(points);
    drop((new, database));
    let database = small(&folder, true);
    assert_eq!(database.collection("points").unwrap().count(None).unwrap(), 1);
    assert!(!folder.path().join("collection.000001").exists());
}

#[test]
fn a_catalog_that_is_damaged_or_lost_takes_nothing_along() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = small(&folder, false);
        for name in ["one", "two"] {
            let points = database.create_collection(name, Schema::new()).unwrap();
            points.upsert([Point::new(1)]).unwrap();
        }
        database.set_alias("live", "one").unwrap();
    }
    let open = || Database::builder(folder.path()).background(false).open();
    let catalog = folder.path().join("DATABASE");
    let whole = std::fs::read(&catalog).unwrap();
    let mut noticed = 0;
    for at in (0..whole.len()).step_by(230).chain((4096..4096 + 150).step_by(3)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&catalog, damaged).unwrap();
        match open() {
            Ok(database) => assert_eq!(database.collections(), ["one", "two"]),
            Err(_) => noticed += 1,
        }
        std::fs::write(&catalog, &whole[..at]).unwrap();
        assert!(open().is_err(), "{at} bytes of the catalog");
    }
    assert!(noticed > 30, "{noticed}");
    std::fs::remove_file(&catalog).unwrap();
    assert!(open().is_err());
    std::fs::write(&catalog, &whole).unwrap();
    let database = open().unwrap();
    assert_eq!(database.collection("live").unwrap().count(None).unwrap(), 1);
    assert_eq!(database.collection("two").unwrap().count(None).unwrap(), 1);
}

#[test]
fn the_largest_payload_and_vector_go_through_everything() {
    let folder = tempfile::tempdir().unwrap();
    let schema =
        Schema::new().vector("", VectorConfig::new(DIM_MAX, Metric::Cosine).element(ElementType::F16));
    let payload = Payload::new().with("x", "y".repeat(PAYLOAD_BYTES_MAX - 100));
    let large = Point::new(1).vector(vec![0.5; DIM_MAX]).payload(payload);
    {
        let database = small(&folder, false);
        let points = database.create_collection("points", schema).unwrap();
        points.upsert([large.clone(), Point::new(2)]).unwrap();
    }
    let database = small(&folder, false);
    let points = database.collection("points").unwrap();
    for _ in 0..2 {
        assert!(points.get([1]).unwrap() == [large.clone()]);
        points.upsert([Point::new(3)]).unwrap();
        points.compact().unwrap();
    }
    let hits = points.query(&Query::nearest(vec![1.0; DIM_MAX]).with_payload(true)).unwrap().hits;
    assert!(hits.len() == 1 && hits[0].payload.as_ref() == Some(&large.payload));
    points.verify().unwrap();
}

#[test]
fn collections_come_and_go_in_many_threads() {
    let folder = tempfile::tempdir().unwrap();
    let database = small(&folder, true);
    let shared = database.create_collection("shared", Schema::new()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (database, shared) = (&database, &shared);
            scope.spawn(move || {
                for round in 0..5u64 {
                    let (first, second) = (format!("a{thread}"), format!("b{thread}"));
                    let points = database.create_collection(&first, Schema::new()).unwrap();
                    points.upsert([Point::new(round)]).unwrap();
                    database.set_alias(&format!("live{thread}"), &first).unwrap();
                    database.rename_collection(&first, &second).unwrap();
                    assert_eq!(
                        (points.name(), database.collection(&second).unwrap().count(None).unwrap()),
                        (second.clone(), 1)
                    );
                    let snapshot = format!("{thread}.{round}");
                    shared.upsert([Point::new(thread * 100 + round)]).unwrap();
                    shared.snapshot(&snapshot).unwrap();
                    let copy = database.restore_snapshot("shared", &snapshot, &first).unwrap();
                    assert_eq!(copy.get([thread * 100 + round]).unwrap().len(), 1);
                    database.drop_collection(&second).unwrap();
                    database.drop_collection(&first).unwrap();
                    assert_eq!(points.count(None).unwrap(), 1);
                    assert!(database.collection(&format!("live{thread}")).is_err());
                }
            });
        }
    });
    drop(shared);
    drop(database);
    let database = small(&folder, true);
    assert_eq!((database.collections(), database.aliases().len()), (vec!["shared".to_owned()], 0));
    assert_eq!(database.collection("shared").unwrap().count(None).unwrap(), 15);
}

#[test]
fn metadata_stays_with_a_collection_and_goes_into_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let database = small(&folder, false);
    let points = database.create_collection("points", Schema::new()).unwrap();
    assert_eq!(points.metadata().unwrap(), Payload::new());
    let keep = |number: u64| points.update_metadata(|metadata| drop(metadata.insert("n", number)));
    keep(1).unwrap();
    points.snapshot("one").unwrap();
    keep(2).unwrap();
    let n = |name: &str| database.collection(name).unwrap().metadata().unwrap().get("n").cloned();
    database.restore_snapshot("points", "one", "again").unwrap();
    assert_eq!((n("points"), n("again")), (Some(2.into()), Some(1.into())));
    points.update_metadata(|metadata| drop(metadata.insert("bad", f64::NAN))).unwrap_err();
    assert_eq!(n("points"), Some(2.into()));
    points.verify().unwrap();
    drop((points, database));
    let file = folder.path().join("collection.000001").join("METADATA");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let points = small(&folder, false).collection("points").unwrap();
    assert!(points.metadata().is_err() && points.verify().is_err());
}

#[test]
fn aliases_change_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let database = small(&folder, false);
    for name in ["monday", "tuesday"] {
        database.create_collection(name, Schema::new()).unwrap();
    }
    let set = |alias: &str, collection: &str| AliasChange::Set {
        alias: alias.to_owned(),
        collection: collection.to_owned(),
    };
    let rename = |from: &str, to: &str| AliasChange::Rename { from: from.to_owned(), to: to.to_owned() };
    let dropped = AliasChange::Drop { alias: "old".to_owned() };
    database.change_aliases(&[set("live", "monday"), set("old", "live")]).unwrap();
    let before = database.aliases();
    assert_eq!(before.values().collect::<Vec<_>>(), ["monday", "monday"]);
    for wrong in [
        [dropped.clone(), set("live", "sunday")],
        [dropped.clone(), set("tuesday", "monday")],
        [dropped.clone(), dropped.clone()],
        [dropped.clone(), rename("old", "new")],
        [dropped.clone(), rename("live", "monday")],
    ] {
        database.change_aliases(&wrong).unwrap_err();
        assert_eq!(database.aliases(), before);
    }
    database.change_aliases(&[dropped, set("live", "tuesday"), rename("live", "now")]).unwrap();
    let after = database.aliases().into_iter().collect::<Vec<_>>();
    assert_eq!(after, [("now".to_owned(), "tuesday".to_owned())]);
}

#[test]
fn idle_is_when_waiting_for_it_would_end_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = small(&folder, true);
    let points = database.create_collection("points", Schema::single(2, Metric::L2)).unwrap();
    points.wait_idle().unwrap();
    assert!(points.is_idle());
    points.upsert((0..2_000u64).map(|id| Point::new(id).vector([id as f32, 1.0]))).unwrap();
    assert!(!points.is_idle(), "so many in memory are flushed soon");
    points.wait_idle().unwrap();
    assert!(points.is_idle());
}
