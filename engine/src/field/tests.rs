//! What keys select is what payloads match.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::field::key::number_key;
use crate::filter::{Checked, Condition, Filter, GeoPoint, MatchValue, Node, RangeBound, Test, Tokenizer};
use crate::value::tests::json;
use crate::{FieldPath, Number, Payload, PointId, Value, values_at};

type Rows = BTreeSet<usize>;

/// A field index as plain as can be.
struct Index {
    rows: Rows,
    keys: BTreeMap<Vec<u8>, Rows>,
}

impl Index {
    fn new(field_type: FieldType, path: &FieldPath, payloads: &[Payload]) -> Self {
        let mut keys: BTreeMap<Vec<u8>, Rows> = BTreeMap::new();
        for (row, payload) in payloads.iter().enumerate() {
            for key in keys_of(field_type, values_at(payload, path)) {
                keys.entry(key).or_default().insert(row);
            }
        }
        Self { rows: (0..payloads.len()).collect(), keys }
    }

    fn select(&self, set: &KeySet) -> Rows {
        match set {
            KeySet::All => self.rows.clone(),
            KeySet::Key(key) => self.keys.get(key).cloned().unwrap_or_default(),
            KeySet::Keys { from, to } => {
                let inside =
                    |key: &Vec<u8>| std::ops::RangeBounds::contains(&(from.as_ref(), to.as_ref()), key);
                self.keys.iter().filter(|(key, _)| inside(key)).flat_map(|(_, rows)| rows.clone()).collect()
            }
            KeySet::Union(sets) => sets.iter().flat_map(|set| self.select(set)).collect(),
            KeySet::Intersection(sets) => sets
                .iter()
                .map(|set| self.select(set))
                .reduce(|a, b| &a & &b)
                .expect("an intersection is of something"),
            KeySet::Difference(rows, other) => &self.select(rows) - &self.select(other),
        }
    }
}

pub(crate) const TYPES: [FieldType; 10] = [
    FieldType::Keyword,
    FieldType::Integer,
    FieldType::Float,
    FieldType::Bool,
    FieldType::Datetime,
    FieldType::Uuid,
    FieldType::Geo,
    FieldType::Text(TEXT),
    FieldType::Text(PREFIX),
    FieldType::Text(TextOptions { tokenizer: Tokenizer::Whitespace, ..TEXT }),
];

pub(crate) const TEXT: TextOptions =
    TextOptions { tokenizer: Tokenizer::Word, lowercase: true, min_token_len: None, max_token_len: None };
const PREFIX: TextOptions =
    TextOptions { tokenizer: Tokenizer::Prefix, min_token_len: Some(2), max_token_len: Some(4), ..TEXT };

/// Holds what an index selects against what payloads match; returns whether the index could answer, and exactly.
fn check(condition: &Condition, field_type: FieldType, payloads: &[Payload]) -> Option<bool> {
    let options = if let FieldType::Text(options) = field_type { options } else { TEXT };
    let checked = Filter::must([condition.clone()]).check_with(|_| options).unwrap();
    let Node::Field { path, test } = &checked.group().must[0] else { panic!("{condition:?}") };
    let query = plan(test, field_type)?;
    let index = Index::new(field_type, path, payloads);
    let (rows, recheck) = (index.select(&query.rows), index.select(&query.recheck));
    let matches = |row: &usize| holds(&checked, &payloads[*row]);
    let certain = |row: &usize| !recheck.contains(row);
    for row in &rows {
        assert!(!certain(row) || matches(row), "{condition:?} by {field_type:?} of {:?}", payloads[*row]);
    }
    for row in index.rows.iter().filter(|row| matches(row)) {
        assert!(rows.contains(row), "{condition:?} by {field_type:?} misses {:?}", payloads[*row]);
    }
    assert!(!query.is_exact() || recheck.is_empty());
    Some(query.is_exact())
}

fn holds(checked: &Checked, payload: &Payload) -> bool {
    checked.matches(PointId::from(0), payload, |_| false)
}

const UUID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

/// Strings that collide: words, moments, UUIDs, long ones with the same beginning.
fn any_string() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            "a",
            "ab",
            "b",
            "red fox",
            "Fox red",
            "red",
            "fox fox",
            "foxtrot",
            "2024-01-01",
            "2024-01-01T00:00:00Z",
            "2024-06-30 12:00",
            "1969-12-31",
            UUID,
            "F47AC10B-58CC-4372-A567-0E02B2C3D479",
            "00000000-0000-0000-0000-000000000000",
        ])
        .prop_map(str::to_owned),
        (254_usize..259, "[xy]{0,1}")
            .prop_map(|(len, end)| "é".repeat(len / 2) + &"z".repeat(len % 2) + &end),
    ]
}

fn any_number() -> impl Strategy<Value = Number> {
    prop_oneof![
        (-3_i64..4).prop_map(Number::from),
        (-6_i32..7).prop_map(|halves| Number::from(f64::from(halves) / 2.0)),
        (0_u64..3, 53_u32..64).prop_map(|(more, bits)| Number::from((1 << bits) + more)),
        (0_i64..3, 53_u32..64).prop_map(|(more, bits)| Number::from(-1_i64 << bits | more)),
        (-1.0_f64..2.0, 52..65).prop_map(|(sign, bits)| Number::from(sign.floor() * 2_f64.powi(bits))),
        any::<u64>().prop_map(Number::from),
        any::<i64>().prop_map(Number::from),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Number::from),
    ]
}

fn any_place() -> impl Strategy<Value = GeoPoint> {
    let whole =
        (-9_i32..10, -18_i32..19).prop_map(|(lat, lon)| (f64::from(lat) * 10.0, f64::from(lon) * 10.0));
    prop_oneof![whole, (-90.0..90.0, -180.0..180.0), (52.3..52.7, 13.0..13.8)]
        .prop_map(|(lat, lon)| GeoPoint { lat, lon })
}

fn any_element() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        4 => any_number().prop_map(Value::from),
        6 => any_string().prop_map(Value::from),
        4 => any_place().prop_map(|place| Payload::from([("lat", place.lat), ("lon", place.lon)]).into()),
        1 => prop::sample::select(vec![json(r#"{"lat": 91, "lon": 0}"#), json("{}"), json("[]"), json("[1, null]")]),
    ]
}

/// Few words, so that those of a query are often there, in one string or in several.
fn any_words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["red", "Red", "fox", "foxes", "fo", "x"]);
    prop::collection::vec(word, 0..4).prop_map(|words| words.join(" "))
}

pub(crate) fn any_payload() -> impl Strategy<Value = Payload> {
    let array = prop::collection::vec(any_element(), 0..4);
    prop_oneof![
        1 => Just(Payload::new()),
        6 => any_element().prop_map(|value| Payload::new().with("f", value)),
        4 => array.prop_map(|values| Payload::new().with("f", values)),
        4 => prop::collection::vec(any_words(), 1..4).prop_map(|texts| Payload::new().with("f", texts)),
    ]
}

fn any_scalar() -> impl Strategy<Value = MatchValue> {
    prop_oneof![
        3 => any_string().prop_map(MatchValue::from),
        1 => any::<bool>().prop_map(MatchValue::from),
        2 => any_number().prop_filter("integers", |number| number.is_integer()).prop_map(MatchValue::Integer),
    ]
}

/// A condition with up to four bounds.
fn bounded(
    condition: fn(String) -> Condition,
    bound: impl Strategy<Value = RangeBound> + Clone,
) -> impl Strategy<Value = Condition> {
    let bounds = [(); 4].map(|()| prop::option::of(bound.clone()));
    bounds.prop_map(move |[gt, gte, lt, lte]| {
        let mut condition = condition("f".to_owned());
        for (bound, put) in [
            (gt, Condition::gt as fn(Condition, RangeBound) -> Condition),
            (gte, Condition::gte),
            (lt, Condition::lt),
            (lte, Condition::lte),
        ] {
            condition = match bound {
                Some(bound) => put(condition, bound),
                None => condition,
            };
        }
        condition
    })
}

fn any_geo() -> impl Strategy<Value = Condition> {
    let degrees = |span: f64| 0.0..span;
    prop_oneof![
        (any_place(), any_place()).prop_map(|(a, b)| {
            let (top, bottom) = (a.lat.max(b.lat), a.lat.min(b.lat));
            let corner = |lat, lon| GeoPoint { lat, lon };
            Condition::geo_box("f", corner(top, a.lon), corner(bottom, b.lon))
        }),
        (any_place(), prop_oneof![0.0..1.0, 0.0..1e5, 0.0..3e7])
            .prop_map(|(center, meters)| Condition::geo_radius("f", center, meters)),
        (any_place(), degrees(30.0), degrees(60.0), prop::collection::vec(0.2_f64..1.0, 3..9)).prop_map(
            |(center, lat, lon, corners)| {
                let turn = std::f64::consts::TAU / corners.len() as f64;
                let corner = |(i, far): (usize, &f64)| GeoPoint {
                    lat: (center.lat + lat * far * (turn * i as f64).sin()).clamp(-90.0, 90.0),
                    lon: (center.lon + lon * far * (turn * i as f64).cos()).clamp(-180.0, 180.0),
                };
                let mut ring: Vec<GeoPoint> = corners.iter().enumerate().map(corner).collect();
                ring.push(ring[0]);
                let hole: Vec<GeoPoint> = [(0.0, 0.0), (0.0, 9.0), (9.0, 0.0), (0.0, 0.0)]
                    .map(|(lat, lon)| GeoPoint { lat, lon })
                    .into();
                Condition::geo_polygon("f", ring, if corners.len() % 2 == 0 { vec![hole] } else { vec![] })
            }
        ),
    ]
}

pub(crate) fn any_condition() -> impl Strategy<Value = Condition> {
    let scalars = prop::collection::vec(any_scalar(), 0..4).boxed();
    let text = prop_oneof![any_words(), any_string()].boxed();
    let moment =
        prop::sample::select(vec!["2024-01-01", "2024-06-30T12:00:00Z", "1969-12-31T12:00:00", "2025-01-01"]);
    prop_oneof![
        any_scalar().prop_map(|value| Condition::matches("f", value)),
        scalars.clone().prop_map(|values| Condition::matches_any("f", values)),
        scalars.prop_map(|values| Condition::matches_except("f", values)),
        any_string().prop_map(|prefix| Condition::matches_prefix("f", prefix)),
        text.clone().prop_map(|text| Condition::matches_text("f", text)),
        text.clone().prop_map(|text| Condition::matches_text_any("f", text)),
        text.prop_map(|text| Condition::matches_phrase("f", text)),
        bounded(Condition::range, any_number().prop_map(RangeBound::Number).boxed()),
        bounded(Condition::range, moment.prop_map(RangeBound::from).boxed()),
        bounded(Condition::values_count, (0_u64..4).prop_map(RangeBound::from).boxed()),
        any_geo(),
        Just(Condition::is_empty("f")),
        Just(Condition::is_null("f")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn keys_select_what_payloads_match(
        payloads in prop::collection::vec(any_payload(), 1..24),
        conditions in prop::collection::vec(any_condition(), 1..6),
    ) {
        for condition in &conditions {
            for field_type in TYPES {
                check(condition, field_type, &payloads);
            }
        }
    }

    #[test]
    fn tiles_select_the_places_in_a_shape(places in prop::collection::vec(any_place(), 1..40), condition in any_geo()) {
        let payloads: Vec<Payload> = places
            .iter()
            .map(|place| Payload::new().with("f", Value::from(Payload::from([("lat", place.lat), ("lon", place.lon)]))))
            .collect();
        prop_assert!(check(&condition, FieldType::Geo, &payloads).is_some());
    }

    #[test]
    fn keys_of_numbers_sort_by_worth(a in any_number(), b in any_number()) {
        let by_key = number_key(a).cmp(&number_key(b));
        let by_worth = a.compare(b).unwrap().then(b.is_integer().cmp(&a.is_integer()));
        prop_assert_eq!(by_key, by_worth, "{} and {}", a, b);
    }
}

/// Which index answers which condition, and whether exactly.
#[test]
fn indexes_answer_what_they_can() {
    let payloads = [Payload::new()];
    let ring = vec![GeoPoint { lat: 0.0, lon: 0.0 }; 4];
    let long = "x".repeat(300);
    let text = FieldType::Text(TEXT);
    for (condition, field_type, expected) in [
        (Condition::matches("f", "a"), FieldType::Keyword, Some(true)),
        (Condition::matches("f", long.as_str()), FieldType::Keyword, Some(false)),
        (Condition::matches("f", 1), FieldType::Keyword, Some(false)),
        (Condition::matches_any("f", ["a", "b"]), FieldType::Keyword, Some(true)),
        (Condition::matches_any("f", Vec::<i64>::new()), FieldType::Keyword, Some(true)),
        (Condition::matches_except("f", ["a", "b"]), FieldType::Keyword, Some(true)),
        (Condition::matches_except("f", [1]), FieldType::Keyword, Some(false)),
        (Condition::matches_except("f", ["a"]), text, None),
        (Condition::matches_prefix("f", "a"), FieldType::Keyword, Some(true)),
        (Condition::matches_prefix("f", "a"), FieldType::Uuid, None),
        (Condition::matches("f", UUID), FieldType::Uuid, Some(true)),
        (Condition::matches("f", UUID.to_uppercase()), FieldType::Uuid, Some(false)),
        (Condition::matches("f", "2024-01-01"), FieldType::Datetime, None),
        (Condition::matches("f", 1), FieldType::Integer, Some(true)),
        (Condition::matches("f", 1), FieldType::Float, Some(true)),
        (Condition::range("f").lt(1.5), FieldType::Integer, Some(true)),
        (Condition::range("f").lt(1.5), FieldType::Keyword, None),
        (Condition::range("f").lt("2024-01-01"), FieldType::Datetime, Some(true)),
        (Condition::range("f").lt("2024-01-01"), FieldType::Float, None),
        (Condition::matches_text("f", "red"), text, Some(true)),
        (Condition::matches_text("f", "red fox"), text, Some(false)),
        (Condition::matches_text("f", "red fox"), FieldType::Keyword, None),
        (Condition::matches_text_any("f", "red fox"), text, Some(true)),
        (Condition::matches_phrase("f", "red fox"), text, Some(false)),
        (Condition::matches_text("f", " "), text, Some(true)),
        (Condition::geo_polygon("f", ring, []), FieldType::Geo, Some(false)),
        (Condition::is_empty("f"), FieldType::Geo, Some(true)),
        (Condition::is_null("f"), text, Some(true)),
        (Condition::values_count("f").gt(2), FieldType::Bool, Some(true)),
    ] {
        assert_eq!(check(&condition, field_type, &payloads), expected, "{condition:?} by {field_type:?}");
    }
    let checked = Filter::must([Condition::matches_text("f", "red")]).check().unwrap();
    let Node::Field { test: Test::Text(query), .. } = &checked.group().must[0] else { panic!() };
    assert_eq!(plan(&Test::Text(query.clone()), FieldType::Text(PREFIX)), None, "other tokens");
}

#[test]
fn the_keys_are_frozen() {
    let keys = |field_type, value: &str| -> Vec<Vec<u8>> {
        let value = json(value);
        let values = keys_of(field_type, [&value]).into_iter();
        values.filter(|key| key[0] >= 2).collect()
    };
    let bits = |first: u8| [2, 0x80 | first, if first == 0x3f { 0xf0 } else { 0 }, 0, 0, 0, 0, 0, 0, 0x40, 0];
    assert_eq!(keys(FieldType::Keyword, r#"["é", ""]"#), [vec![2], vec![2, 0xc3, 0xa9]]);
    assert_eq!(keys(FieldType::Integer, "0"), [bits(0)]);
    assert_eq!(keys(FieldType::Float, "1"), [bits(0x3f)]);
    assert_eq!(keys(FieldType::Float, "1.0")[0][9..], [0x40, 1]);
    assert_eq!(keys(FieldType::Float, "9007199254740993")[0][9..], [0x40, 2]);
    assert_eq!(keys(FieldType::Bool, "[true, false]"), [[2, 0], [2, 1]]);
    assert_eq!(keys(FieldType::Datetime, r#""1970-01-01""#), [[2, 0x80, 0, 0, 0, 0, 0, 0, 0]]);
    assert_eq!(keys(FieldType::Uuid, &format!("\"{UUID}\""))[0][..3], [2, 0xf4, 0x7a]);
    assert_eq!(keys(FieldType::Geo, r#"{"lat": 0, "lon": 0}"#), [[2, 0xc0, 0, 0, 0, 0, 0, 0, 0]]);
    assert_eq!(keys(FieldType::Text(TEXT), r#""b A b""#), [[2, b'a'], [2, b'b']]);

    let marks: Vec<Vec<u8>> =
        keys_of(FieldType::Bool, [&json("[1, null]"), &json("[]")]).into_iter().collect();
    assert_eq!(marks, [vec![0, 0], vec![0, 2], vec![0, 3], vec![1, 0, 0, 0, 0], vec![1, 0, 0, 0, 2]]);
    assert_eq!(keys_of(FieldType::Bool, []), BTreeSet::new());
}
