//! Field indexes: they answer as payloads do, survive crashes, tell damage, and are used.

use std::sync::Arc;

use nearline_storage::{BlockCache, Disk, SimDisk};
use proptest::prelude::*;
use roaring::RoaringBitmap;

use super::twin::{Call, Random, Twin};
use super::{BACKGROUND, LIMITS, Opening, STORE, Step, asked, check_names, create, disk_of, files_of, open};
use crate::field::tests::{TEXT, TYPES, any_condition, any_payload};
use crate::{
    Collection, Condition, FieldType, Filter, Metric, Payload, Point, PointId, Query, Schema,
    Strategy as Way, Value, WriteError,
};

const DIM: usize = 32;

fn single(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    Collection::create(&disk, STORE, &Schema::single(DIM, Metric::L2)).unwrap();
    disk
}

/// The rows that match, by the indexes and by asking every payload, and how many payloads the first asked.
fn both(on: &Collection, filter: &Filter) -> (RoaringBitmap, RoaringBitmap, u64) {
    let inner = &on.shared.inner;
    let state = inner.state();
    let reader = inner.reader(&state);
    let checked = reader.check(filter).unwrap();
    let (found, report) = reader.matching(&checked).unwrap();
    let mut right = reader.matching_in_memory(&checked);
    for segment in &state.segments {
        for point in segment.scan() {
            let (row, id, payload) = point.unwrap();
            if !state.is_dead(row) && checked.matches(id, &payload, |_| false) {
                right.insert(row.0);
            }
        }
    }
    (found, right, report.payloads_asked)
}

fn any_filter() -> impl proptest::strategy::Strategy<Value = Filter> {
    let conditions = || prop::collection::vec(any_condition(), 0..3);
    let plain = (conditions(), conditions(), conditions(), prop::option::of((1..4_usize, conditions())))
        .prop_map(|(must, should, must_not, least)| {
            let min_should =
                least.map(|(count, conditions)| Filter::min_should(count, conditions).min_should);
            let filter = Filter::must(must).and_should(should).and_must_not(must_not);
            Filter { min_should: min_should.flatten(), ..filter }
        });
    plain.prop_recursive(2, 4, 2, |inner| {
        (inner.clone(), inner).prop_map(|(a, b)| Filter::should([a.into(), b.into()]))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: asked("NEARLINE_FIELD_CASES", 120) as u32, ..ProptestConfig::default() })]

    #[test]
    fn indexes_find_what_payloads_match(
        payloads in prop::collection::vec(any_payload(), 1..60),
        filters in prop::collection::vec(any_filter(), 1..6),
        of_type in 0..TYPES.len(),
        deleted in prop::collection::vec(0..60_u64, 0..20),
    ) {
        let disk = single(1);
        let on = open(&disk).unwrap();
        // A text index of other options changes what tokens are.
        let field_type = if let FieldType::Text(_) = TYPES[of_type] { FieldType::Text(TEXT) } else { TYPES[of_type] };
        for (at, payload) in payloads.iter().enumerate() {
            on.upsert([Point::new(at as u64).payload(payload.clone())]).unwrap();
            if at % 17 == 16 {
                on.flush().unwrap();
            }
            if at == 30 {
                on.create_field_index("f", field_type).unwrap();
            }
        }
        on.delete(deleted).unwrap();
        on.create_field_index("f", field_type).unwrap();
        let check = |on: &Collection, when: &str| {
            for filter in &filters {
                let (found, right, _) = both(on, filter);
                assert_eq!(found, right, "{when}: {filter:?} by {field_type:?}");
            }
        };
        check(&on, "half built");
        on.shared.inner.build_all_fields().unwrap();
        check(&on, "built");
        on.verify().unwrap();
        on.compact().unwrap();
        check(&on, "merged");
        drop(on);
        let on = open(&disk).unwrap();
        check(&on, "opened");
        on.drop_field_index("f").unwrap();
        check(&on, "dropped");
        on.verify().unwrap();
    }
}

fn vector(x: f32) -> Vec<f32> {
    let mut vector = vec![0.0; DIM];
    vector[0] = x;
    vector
}

proptest! {
    #![proptest_config(ProptestConfig { cases: asked("NEARLINE_FIELD_CASES", 120) as u32, ..ProptestConfig::default() })]

    #[test]
    fn indexes_narrow_nested_conditions(
        rooms in prop::collection::vec(prop::collection::vec(any_payload(), 0..3), 1..30),
        inner in prop::collection::vec(any_filter(), 1..6),
        of_type in 0..TYPES.len(),
    ) {
        let on = open(&single(1)).unwrap();
        let field_type = if let FieldType::Text(_) = TYPES[of_type] { FieldType::Text(TEXT) } else { TYPES[of_type] };
        on.create_field_index("rooms[].f", field_type).unwrap();
        let flat = |(at, rooms): (usize, &Vec<Payload>)| {
            let rooms: Vec<Value> = rooms.iter().cloned().map(Value::from).collect();
            Point::new(at as u64).payload(Payload::new().with("rooms", rooms))
        };
        on.upsert(rooms.iter().enumerate().map(flat)).unwrap();
        on.flush().unwrap();
        for filter in inner {
            let nested = Filter::must([Condition::nested("rooms", filter)]);
            let (found, right, _) = both(&on, &nested);
            prop_assert_eq!(found, right, "{:?} by {:?}", nested, field_type);
        }
    }
}

#[test]
fn an_element_may_be_empty_where_others_are_not() {
    let on = open(&single(1)).unwrap();
    on.create_field_index("rooms[].f", FieldType::Integer).unwrap();
    let rooms = [Payload::new(), Payload::new().with("f", [1, 2])].map(Value::from);
    on.upsert([Point::new(1).payload(Payload::new().with("rooms", rooms)), Point::new(2)]).unwrap();
    on.flush().unwrap();
    for inner in [Condition::is_empty("f"), Condition::values_count("f").lt(1), Condition::matches("f", 2)] {
        let (found, right, _) = both(&on, &Filter::must([Condition::nested("rooms", Filter::must([inner]))]));
        assert_eq!((found.len(), found), (1, right));
    }
    let (_, _, asked) =
        both(&on, &Filter::must([Condition::nested("rooms", Filter::must([Condition::matches("f", 3)]))]));
    assert_eq!(asked, 0, "the index knows that there is none");
}

/// Points of which one in so many has a keyword, flushed.
fn shop(cache: &Arc<BlockCache>, points: u64, every: u64) -> (SimDisk, Collection) {
    let disk = single(2);
    let limits =
        super::Limits { flush_bytes: 1 << 30, delta_bytes: 1 << 30, log_segment_bytes: 1 << 20, ..LIMITS };
    let on =
        Collection::open_on(Arc::new(disk.clone()), "shop", limits, Arc::clone(cache), Opening::default())
            .unwrap();
    let point = |id: u64| {
        let kind = if id.is_multiple_of(every) { "rare" } else { "common" };
        let payload =
            Payload::new().with("kind", kind).with("price", id).with("about", "some words ".repeat(20));
        Point::new(id).vector(vector(id as f32)).payload(payload)
    };
    on.upsert((0..points).map(point)).unwrap();
    on.flush().unwrap();
    (disk, on)
}

#[test]
fn an_index_spares_payloads_and_vectors() {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let (_disk, on) = shop(&cache, 5_000, 1_000);
    let rare = Filter::must([Condition::matches("kind", "rare")]);
    let query =
        |filter: &Filter| on.query(&Query::nearest(vector(2_100.0)).k(3).filter(filter.clone())).unwrap();
    let slow = query(&rare);
    assert_eq!((slow.report.strategy, slow.report.filter.payloads_asked), (Way::PayloadsFirst, 5_000));
    assert_eq!(slow.report.filter.unindexed, ["kind"]);

    // Where most match, the nearest are enough.
    let common = Filter::must([Condition::matches("kind", "common"), Condition::range("price").gte(1_100)]);
    let most = query(&common);
    assert_eq!((most.report.strategy, most.report.matching), (Way::CompareFirst, None));
    assert_eq!(most.report.filter.payloads_asked, 76);
    assert_eq!(
        most.hits.iter().map(|hit| hit.id).collect::<Vec<_>>(),
        [2_100, 2_099, 2_101].map(PointId::from)
    );
    // A second look, with more of them; and giving up.
    let half = Filter::must([Condition::range("price").gte(2_180)]);
    let some = query(&half);
    assert_eq!((some.report.strategy, some.hits[0].id), (Way::PayloadsFirst, 2_180.into()));
    assert_eq!(some.report.filter.payloads_asked, 5_000);
    let edge = query(&Filter::must([Condition::range("price").gte(2_136)]));
    assert_eq!((edge.report.strategy, edge.hits[0].id), (Way::CompareFirst, 2_136.into()));
    assert!((77..400).contains(&edge.report.filter.payloads_asked), "{:?}", edge.report);

    on.create_field_index("kind", FieldType::Keyword).unwrap();
    on.create_field_index("price", FieldType::Integer).unwrap();
    assert!(on.field_indexes()[0].building);
    on.compact().unwrap();
    let before = cache.counters();
    let fast = query(&rare);
    let after = cache.counters();
    assert_eq!(fast.hits, slow.hits);
    assert_eq!((fast.report.strategy, fast.report.filter.payloads_asked), (Way::MatchingOnly, 0));
    assert!(fast.report.filter.unindexed.is_empty());
    assert_eq!((fast.report.compared, fast.report.matching), (5, Some(5)));
    assert!(fast.report.pages <= 5 && slow.report.pages > 100, "{} {}", fast.report.pages, slow.report.pages);
    // The index's two blocks twice at most (for the estimate, too), and those of the three points that are named.
    let blocks = (after.hits + after.misses) - (before.hits + before.misses);
    assert!(blocks <= 16, "{blocks} blocks");

    let most = Filter::must([Condition::range("price").gte(100)]);
    assert_eq!(query(&most).report.strategy, Way::FilteredScan);
    // Few rows are left by the first condition: reading all of the other's range would cost more than their payloads.
    let narrow = Filter::must([Condition::matches("kind", "rare"), Condition::range("price").gte(1_500)]);
    let (found, right, asked) = both(&on, &narrow);
    assert_eq!((found, asked <= 5), (right, true));
    let text = Filter::must([Condition::matches("kind", "rare"), Condition::matches_text("about", "words")]);
    let answer = query(&text);
    assert_eq!(answer.report.filter.payloads_asked, 5, "only those the index leaves");
    assert_eq!((answer.report.filter.unindexed, answer.hits.len()), (vec!["about".to_owned()], 3));
    let none = Filter::must([Condition::matches("kind", "none")]);
    assert_eq!((on.count(Some(&none)).unwrap(), query(&none).report.pages), (0, 0));
}

#[test]
fn all_strategies_answer_alike() {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let (_disk, on) = shop(&cache, 3_000, 50);
    on.delete((0..3_000_u64).filter(|id| id % 7 == 0).collect::<Vec<_>>()).unwrap();
    on.upsert(
        (100..130_u64)
            .map(|id| Point::new(id).vector(vector(id as f32)).payload(Payload::new().with("price", 5))),
    )
    .unwrap();
    let mut random = Random(11);
    let queries: Vec<Query> = (0..60)
        .map(|_| {
            let (from, span) = (random.below(3_000), 1 << random.below(12));
            let filter = Filter::must([Condition::range("price").gte(from).lt(from + span)]);
            let filter = if random.once_in(3) { Filter::must_not([filter.into()]) } else { filter };
            let k = 1 + random.below(25) as usize;
            Query::nearest(vector(random.below(3_000) as f32)).k(k).filter(filter).with_payload(true)
        })
        .collect();
    let ask = |query: &Query| on.query(query).unwrap();
    let slow: Vec<_> = queries.iter().map(ask).collect();
    on.create_field_index("price", FieldType::Integer).unwrap();
    on.shared.inner.build_all_fields().unwrap();
    let fast: Vec<_> = queries.iter().map(ask).collect();
    for ((slow, fast), query) in slow.iter().zip(&fast).zip(&queries) {
        assert_eq!(slow.hits, fast.hits, "{query:?}: {} or {}", slow.report.why, fast.report.why);
    }
    for way in [Way::CompareFirst, Way::PayloadsFirst, Way::FilteredScan, Way::MatchingOnly] {
        let took = slow.iter().chain(&fast).filter(|answer| answer.report.strategy == way).count();
        assert!(took > 3, "{way:?} {took} times");
    }
}

#[test]
fn ids_need_no_payloads() {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let (_disk, on) = shop(&cache, 500, 10);
    for filter in [Filter::must([Condition::has_id([3, 9_999])]), Filter::must_not([Condition::has_id([3])])]
    {
        let (found, right, asked) =
            both(&on, &Filter::must([Condition::range("price").gte(0), filter.clone().into()]));
        assert_eq!(found, right);
        assert!(asked >= 1);
        let checked = filter.check().unwrap();
        let inner = &on.shared.inner;
        let (rows, report) = inner.reader(&inner.state()).matching(&checked).unwrap();
        assert_eq!((rows.len() == 1 || rows.len() == 499, report.payloads_asked), (true, 0));
    }
}

#[test]
fn indexes_are_created_and_dropped_as_asked() {
    let disk = single(3);
    let on = open(&disk).unwrap();
    on.upsert([Point::new(1).payload(Payload::new().with("a", "x")), Point::new(2)]).unwrap();
    on.flush().unwrap();
    on.create_field_index("a", FieldType::Keyword).unwrap();
    on.create_field_index("a", FieldType::Keyword).unwrap();
    let error = on.create_field_index("a", FieldType::Integer).unwrap_err();
    assert!(matches!(error, WriteError::FieldType { .. }), "{error}");
    assert!(error.to_string().contains("drop_field_index"), "{error}");
    assert!(matches!(on.create_field_index("a[", FieldType::Bool), Err(WriteError::FieldPath(_))));
    assert!(!on.drop_field_index("b").unwrap());
    let described = |on: &Collection| {
        let all = on.field_indexes();
        all.iter()
            .map(|index| (index.path.clone(), index.building, index.points, index.bytes > 0))
            .collect::<Vec<_>>()
    };
    assert_eq!(described(&on), [("a".to_owned(), true, 0, false)]);
    on.shared.inner.build_all_fields().unwrap();
    assert_eq!(described(&on), [("a".to_owned(), false, 2, true)]);
    drop(on);
    let on = open(&disk).unwrap();
    assert_eq!(described(&on), [("a".to_owned(), false, 2, true)]);
    for at in 1..crate::FIELD_INDEXES_MAX {
        on.create_field_index(&format!("p{at}"), FieldType::Bool).unwrap();
    }
    let error = on.create_field_index("more", FieldType::Bool).unwrap_err();
    assert!(matches!(error, WriteError::FieldIndexes { .. }), "{error}");
    on.shared.inner.build_all_fields().unwrap();
    assert!(on.drop_field_index("a").unwrap() && !on.drop_field_index("a").unwrap());
    on.verify().unwrap();
    assert_eq!(disk.list().unwrap().iter().filter(|name| name.starts_with("field.")).count(), 63);
}

#[test]
fn the_options_of_a_text_index_say_what_tokens_are() {
    let disk = single(4);
    let on = open(&disk).unwrap();
    on.upsert([Point::new(1).payload(Payload::new().with("t", "Foxtrot"))]).unwrap();
    on.flush().unwrap();
    let half = Filter::must([Condition::matches_text("t", "fox")]);
    assert_eq!(on.count(Some(&half)).unwrap(), 0);
    let options = crate::TextOptions { tokenizer: crate::Tokenizer::Prefix, ..TEXT };
    on.create_field_index("t", FieldType::Text(options)).unwrap();
    assert_eq!(on.count(Some(&half)).unwrap(), 1, "by payload");
    on.shared.inner.build_all_fields().unwrap();
    assert_eq!(on.count(Some(&half)).unwrap(), 1, "by index");
    on.drop_field_index("t").unwrap();
    assert_eq!(on.count(Some(&half)).unwrap(), 0);
}

#[test]
fn the_background_builds_them() {
    let disk = single(5);
    let cache = Arc::new(BlockCache::new(1 << 16));
    let on = Collection::open_on(Arc::new(disk), "points", LIMITS, cache, BACKGROUND).unwrap();
    for id in 0..50_u64 {
        on.upsert([Point::new(id).payload(Payload::new().with("a", id % 5))]).unwrap();
        if id % 20 == 19 {
            on.flush().unwrap();
        }
    }
    on.create_field_index("a", FieldType::Integer).unwrap();
    on.wait_idle().unwrap();
    assert!(!on.field_indexes()[0].building, "{:?}", on.stats());
    assert_eq!(on.count(Some(&Filter::must([Condition::matches("a", 3)]))).unwrap(), 10);
}

#[test]
fn points_are_written_while_indexes_are_built_and_dropped() {
    let disk = single(6);
    let limits =
        super::Limits { flush_bytes: 30_000, delta_bytes: 90_000, log_segment_bytes: 1 << 16, ..LIMITS };
    let cache = Arc::new(BlockCache::new(1 << 18));
    let on = Collection::open_on(Arc::new(disk), "points", limits, cache, BACKGROUND).unwrap();
    let point = |id: u64| Point::new(id).payload(Payload::new().with("a", id % 5).with("b", "some words"));
    on.upsert((0..3_000).map(point)).unwrap();
    on.flush().unwrap();
    let third = Filter::must([Condition::matches("a", 3), Condition::matches_text("b", "words")]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (3_000..4_000_u64).for_each(|id| assert_eq!(on.upsert([point(id)]).unwrap().points, 1))
        });
        scope.spawn(|| {
            for _ in 0..8 {
                on.create_field_index("a", FieldType::Integer).unwrap();
                on.create_field_index("b", FieldType::Text(TEXT)).unwrap();
                assert!(on.count(Some(&third)).unwrap() >= 600);
                on.drop_field_index("b").unwrap();
                on.verify().unwrap();
            }
        });
        scope.spawn(|| (0..4).for_each(|_| on.rebuild_field_indexes().unwrap()));
    });
    on.create_field_index("b", FieldType::Text(TEXT)).unwrap();
    on.wait_idle().unwrap();
    assert!(on.field_indexes().iter().all(|index| !index.building));
    let (found, right, _) = both(&on, &third);
    assert_eq!((found.len(), found), (800, right));
    on.verify().unwrap();
}

/// Creating, building, writing on and dropping.
fn script() -> Vec<Step> {
    let mut random = Random(31);
    let mut steps: Vec<Step> = (0..12).map(|_| Step::Call(Call::random(&mut random))).collect();
    steps.push(Step::Flush);
    steps.extend((0..12).map(|_| Step::Call(Call::random(&mut random))));
    steps.push(Step::Flush);
    steps.push(Step::Create { path: "n", field_type: FieldType::Integer });
    steps.push(Step::Create { path: "tags", field_type: FieldType::Keyword });
    steps.extend([Step::Build, Step::Compact, Step::Drop { path: "n" }]);
    steps.push(Step::Create { path: "n", field_type: FieldType::Keyword });
    steps.push(Step::Build);
    steps
}

#[test]
fn the_power_goes_at_every_operation_of_creating_and_building() {
    let script = script();
    let (mut at, mut finished) = (0, false);
    while !finished {
        at += 1;
        let disk = create(at);
        let collection = open(&disk).unwrap();
        let mut twin = Twin::default();
        let first = script.iter().position(|step| matches!(step, Step::Create { .. })).unwrap();
        for step in &script[..first] {
            match step {
                Step::Call(call) => drop((call.make(&collection).unwrap(), twin.apply(call))),
                other => other.maintain(&collection).unwrap(),
            }
        }
        disk.crash_at(disk.operations() + at);
        let mut created: Vec<(&str, FieldType)> = Vec::new();
        let failed = script[first..].iter().find(|step| {
            let done = step.maintain(&collection).is_ok();
            match step {
                Step::Create { path, field_type } if done => created.push((path, *field_type)),
                // Whether or not it was acknowledged.
                Step::Drop { path } => created.retain(|(there, _)| there != path),
                _ => {}
            }
            !done
        });
        finished = failed.is_none();
        disk.crash(at);
        let collection = open(&disk).unwrap();
        collection.verify().unwrap();
        check_names(&disk);
        let there: Vec<_> = collection.field_indexes();
        for (path, field_type) in created {
            assert!(
                there.iter().any(|index| index.path == path && index.field_type == field_type),
                "{path} at {at}"
            );
        }
        twin.check(&collection, &mut Random(at));
        collection.shared.inner.build_all_fields().unwrap();
        twin.check(&collection, &mut Random(at));
        collection.verify().unwrap();
    }
    assert!(at > 60, "{at}");
}

#[test]
fn damaged_files_are_told_and_built_anew() {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let (disk, on) = shop(&cache, 300, 30);
    on.create_field_index("kind", FieldType::Keyword).unwrap();
    on.create_field_index("price", FieldType::Integer).unwrap();
    on.shared.inner.build_all_fields().unwrap();
    drop(on);
    let files = files_of(&disk);
    let rare = Filter::must([Condition::matches("kind", "rare"), Condition::range("price").lt(120)]);
    let mut random = Random(9);
    let mut told = 0;
    let fields: Vec<usize> = (0..files.len()).filter(|&at| files[at].0.starts_with("field.")).collect();
    assert_eq!(fields.len(), 2);
    for round in 0..asked("NEARLINE_CRASH_SEEDS", 60) {
        let mut files = files.clone();
        let at = fields[round as usize % 2];
        let (name, bytes) = &mut files[at];
        let name = name.clone();
        match random.below(3) {
            0 => bytes.truncate(random.below(bytes.len() as u64) as usize),
            1 => bytes.truncate(random.below(bytes.len() as u64) as usize / 4096 * 4096),
            _ => {
                let byte = random.below(bytes.len() as u64) as usize;
                bytes[byte] ^= 1 << random.below(8);
            }
        }
        let disk = disk_of(&files);
        let on =
            open(&disk).unwrap_or_else(|error| panic!("{name} keeps the collection from opening: {error}"));
        match on.count(Some(&rare)) {
            Ok(count) => assert_eq!(count, 4),
            Err(error) => {
                assert!(error.to_string().contains(&name), "{error}");
                told += 1;
            }
        }
        let error = on.verify().unwrap_err();
        assert!(error.to_string().contains(&name), "{error}");
        on.rebuild_field_indexes().unwrap();
        on.verify().unwrap();
        assert_eq!(on.count(Some(&rare)).unwrap(), 4);
        assert!(!disk.list().unwrap().contains(&name));
    }
    assert!(told > 20, "{told}");
}
