//! Scrolls in the order of a field, against points sorted in memory.

use std::cmp::Ordering;

use super::twin::Random;
use super::{asked, disk_collection};
use crate::filter::parse_datetime;
use crate::{Collection, Condition, Filter, OrderBy, Payload, Point, QueryError, Schema, Scroll, Value};

/// A value of the field that is ordered by: numbers, moments, what is neither, several of them, none.
fn value(random: &mut Random) -> Option<Value> {
    let one = |random: &mut Random| match random.below(8) {
        0 => Value::Null,
        1 => "no moment".into(),
        2 => true.into(),
        3 => format!("2024-02-{:02}T00:00:00+0{}:00", 1 + random.below(3), random.below(3)).into(),
        4 => (random.below(5) as f64 / 2.0).into(),
        5 => (u64::MAX - random.below(2)).into(),
        _ => (random.below(6) as i64 - 3).into(),
    };
    match random.below(10) {
        0 => None,
        1..4 => Some((0..random.below(4)).map(|_| one(random)).collect()),
        _ => Some(one(random)),
    }
}

/// Numbers before moments, each by what it is worth; all else has no place.
fn place(value: &Value) -> Option<(u8, i128, f64)> {
    match value {
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (None, None) => {
                Some((0, number.as_f64().floor() as i128, number.as_f64() - number.as_f64().floor()))
            }
            (signed, unsigned) => Some((0, signed.map_or_else(|| unsigned.unwrap().into(), i128::from), 0.0)),
        },
        Value::String(text) => parse_datetime(text).map(|micros| (1, micros.into(), 0.0)),
        _ => None,
    }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    place(a).partial_cmp(&place(b)).unwrap()
}

/// What a scroll should find, by sorting all there is.
fn naive(points: &[Point], descends: bool, from: Option<&Value>, even: bool) -> Vec<(Point, Value)> {
    let mut all: Vec<(Point, Value)> = Vec::new();
    for point in points {
        let values = match point.payload.get("v") {
            Some(Value::Array(values)) => values.clone(),
            Some(value) => vec![value.clone()],
            None => Vec::new(),
        };
        for value in values.into_iter().filter(|value| place(value).is_some()) {
            let is_again = |(known, of): &(Point, Value)| known.id == point.id && compare(of, &value).is_eq();
            if !all.iter().any(is_again) {
                all.push((point.clone(), value));
            }
        }
    }
    all.retain(|(point, value)| {
        let same_kind = |from: &Value| place(from).map(|place| place.0) == place(value).map(|place| place.0);
        let behind =
            |from: &Value| if descends { compare(value, from).is_le() } else { compare(value, from).is_ge() };
        (!even || point.payload.get("even") == Some(&true.into()))
            && from.is_none_or(|from| same_kind(from) && behind(from))
    });
    all.sort_by(|(a, x), (b, y)| {
        let by_value = if descends { compare(y, x) } else { compare(x, y) };
        by_value.then(a.id.cmp(&b.id))
    });
    all
}

fn fill(on: &Collection, random: &mut Random) -> Vec<Point> {
    let mut points = std::collections::BTreeMap::new();
    for step in 0..60 {
        let id = random.below(30);
        let mut payload = Payload::new().with("even", id.is_multiple_of(2));
        if let Some(value) = value(random) {
            payload.insert("v", value);
        }
        let point = Point::new(id).payload(payload);
        on.upsert([point.clone()]).unwrap();
        points.insert(id, point);
        if step % 9 == 8 {
            on.delete([id]).unwrap();
            points.remove(&id);
        }
        match random.below(20) {
            0 => on.flush().unwrap(),
            1 => on.compact().unwrap(),
            _ => {}
        }
    }
    points.into_values().collect()
}

#[test]
fn points_come_in_the_order_of_a_field() {
    for seed in 0..asked("NEARLINE_ORDER_SEEDS", 40) {
        let mut random = Random(seed);
        let on = disk_collection(seed, &Schema::new());
        let points = fill(&on, &mut random);
        for _ in 0..12 {
            let (descends, even) = (random.once_in(2), random.once_in(3));
            let from = value(&mut random).filter(|value| place(value).is_some());
            let mut order = if descends { OrderBy::descending("v") } else { OrderBy::ascending("v") };
            if let Some(from) = &from {
                order = order.start_from(from.clone());
            }
            let limit = 1 + random.below(40) as usize;
            let mut scroll = Scroll::new().order_by(order).limit(limit);
            if even {
                scroll = scroll.filter(Filter::must([Condition::matches("even", true)]));
            }
            let page = on.scroll(&scroll).unwrap();
            let mut right = naive(&points, descends, from.as_ref(), even);
            right.truncate(limit);
            let found: Vec<(Point, Value)> = page.points.into_iter().zip(page.order_values).collect();
            assert_eq!(found, right, "seed {seed} {scroll:?}");
            assert_eq!(page.next, None);
        }
    }
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let on = disk_collection(0, &Schema::new());
    let refused = |scroll: Scroll| match on.scroll(&scroll) {
        Err(QueryError::Bad { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let by = |path: &str| OrderBy::ascending(path);
    assert_eq!(refused(Scroll::new().order_by(by("a..b"))), "path to order by");
    for value in [Value::Null, true.into(), "soon".into(), f64::NAN.into()] {
        assert_eq!(refused(Scroll::new().order_by(by("a").start_from(value))), "value to start from");
    }
    assert_eq!(refused(Scroll::new().order_by(by("a")).from(3)), "id to scroll from");
}
