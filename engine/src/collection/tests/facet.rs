//! Facets by the keys of field indexes are those by payloads, and cost no more for more points.

use std::sync::Arc;

use nearline_storage::{BlockCache, SimDisk};

use super::twin::Random;
use super::{LIMITS, Opening};
use crate::field::FieldType;
use crate::{Collection, Condition, Facet, FacetHit, Filter, Metric, Payload, Point, Schema, Value};

fn open(cache: &Arc<BlockCache>) -> Collection {
    let disk = SimDisk::new(5);
    Collection::create(&disk, 1, &Schema::single(2, Metric::L2)).unwrap();
    let limits =
        super::Limits { flush_bytes: 1 << 30, delta_bytes: 1 << 30, log_segment_bytes: 1 << 20, ..LIMITS };
    Collection::open_on(Arc::new(disk), "c", limits, Arc::clone(cache), Opening::default()).unwrap()
}

/// Values of all kinds, such as no index has keys for, too.
fn value(random: &mut Random) -> Value {
    let long = "x".repeat(250 + random.below(10) as usize) + &"y".repeat(random.below(12) as usize);
    match random.below(10) {
        0 => Value::Null,
        1 => (random.below(2) == 0).into(),
        2 => u64::MAX.into(),
        3 => i64::MIN.into(),
        4 => (random.below(3) as i64 - 1).into(),
        5 => ((1_u64 << 53) + random.below(3)).into(),
        6 => (random.below(3) as f64 / 2.0).into(),
        7 => "67e55044-10b1-426f-9247-bb680e5fe0c8".into(),
        8 => long.as_str().into(),
        _ => ["a", "b", ""][random.below(3) as usize].into(),
    }
}

fn payload(random: &mut Random) -> Payload {
    let several = (0..random.below(4)).map(|_| value(random)).collect::<Vec<_>>();
    let v = if random.once_in(3) { Value::Array(several) } else { value(random) };
    Payload::new().with("v", v).with("n", random.below(10)).with("about", "some words ".repeat(20))
}

#[test]
fn counts_by_keys_are_those_by_payloads() {
    let random = &mut Random(9);
    let on = open(&Arc::new(BlockCache::new(1 << 20)));
    for half in 0..2 {
        let ids = half * 600..(half + 1) * 600 + 100;
        on.upsert(ids.map(|id| Point::new(id).payload(payload(random)))).unwrap();
        on.delete((half * 300..half * 300 + 40).collect::<crate::Selector>()).unwrap();
        on.flush().unwrap();
    }
    on.upsert((1_250..1_290_u64).map(|id| Point::new(id).payload(payload(random)))).unwrap();
    let some = Filter::must([Condition::range("n").lt(7)]);
    let ask = || -> Vec<Vec<FacetHit>> {
        let whole = Facet::of("v").limit(1_000);
        [whole.clone(), whole.filter(some.clone()), Facet::of("v").limit(3)]
            .iter()
            .map(|facet| on.facet(facet).unwrap())
            .collect()
    };
    let by_payloads = ask();
    assert!(by_payloads[0].len() > 40, "{by_payloads:?}");
    for field_type in [
        FieldType::Keyword,
        FieldType::Integer,
        FieldType::Float,
        FieldType::Bool,
        FieldType::Uuid,
        FieldType::Datetime,
    ] {
        on.create_field_index("v", field_type).unwrap();
        on.compact().unwrap();
        assert_eq!(ask(), by_payloads, "{field_type:?}");
        on.drop_field_index("v").unwrap();
    }
}

#[test]
fn reads_do_not_grow_with_the_points() {
    let blocks = |points: u64| {
        let cache = Arc::new(BlockCache::new(64 << 20));
        let on = open(&cache);
        let point = |id: u64| {
            let kind = ["a", "b", "c"][id as usize % 3];
            Point::new(id).payload(Payload::new().with("kind", kind).with("about", "some words ".repeat(20)))
        };
        on.upsert((0..points).map(point)).unwrap();
        on.create_field_index("kind", FieldType::Keyword).unwrap();
        on.compact().unwrap();
        let before = cache.counters();
        assert_eq!(on.facet(&Facet::of("kind")).unwrap().iter().map(|hit| hit.count).sum::<u64>(), points);
        let after = cache.counters();
        (after.hits + after.misses) - (before.hits + before.misses)
    };
    let (few, many) = (blocks(2_000), blocks(20_000));
    assert!(few <= 8 && many <= 8, "{few} {many}");
}
