//! Payloads survive their encoding; whatever else is decoded is refused.

use std::path::Path;

use nearline_storage::{Decoder, StorageError};
use proptest::prelude::*;

use super::*;

/// A value from JSON text.
pub(crate) fn json(text: &str) -> Value {
    fn convert(json: serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => value.into(),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => integer.into(),
                (_, Some(integer)) => integer.into(),
                _ => number.as_f64().unwrap().into(),
            },
            serde_json::Value::String(text) => text.into(),
            serde_json::Value::Array(values) => values.into_iter().map(convert).collect(),
            serde_json::Value::Object(members) => {
                Value::Object(members.into_iter().map(|(key, value)| (key, convert(value))).collect())
            }
        }
    }
    convert(serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// A payload from JSON text.
pub(crate) fn payload(text: &str) -> Payload {
    Payload::try_from(json(text)).unwrap()
}

fn any_number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (-200_i64..200).prop_map(Number::from),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Number::from),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any_number().prop_map(Value::from),
        ".{0,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,3}", inner, 0..4).prop_map(Value::Object),
        ]
    })
}

fn any_payload() -> impl Strategy<Value = Payload> {
    prop::collection::btree_map(".{0,4}", any_value(), 0..5).prop_map(Payload::from)
}

fn encode(payload: &Payload) -> Vec<u8> {
    let mut out = Vec::new();
    payload.encode(&mut out).unwrap();
    out
}

fn decode(bytes: &[u8]) -> Result<Payload, StorageError> {
    Payload::decode(Decoder::new(bytes, Path::new("f"), 4096))
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(payload in any_payload()) {
        let bytes = encode(&payload);
        prop_assert_eq!(bytes.len(), payload.encoded_bytes().unwrap());
        prop_assert_eq!(decode(&bytes).unwrap(), payload);
    }

    #[test]
    fn a_prefix_or_a_tail_is_refused(payload in any_payload(), tail in any::<u8>()) {
        let mut bytes = encode(&payload);
        for len in 0..bytes.len() {
            prop_assert!(decode(&bytes[..len]).is_err());
        }
        bytes.push(tail);
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn bytes_decode_only_if_they_are_the_encoding(payload in any_payload(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = encode(&payload);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        if let Ok(other) = decode(&bytes) {
            prop_assert_eq!(encode(&other), bytes);
        }
    }
}

#[test]
fn the_encoding_is_frozen() {
    let payload = payload(r#"{"b": [null, false, true, 5, -1, 300, 1.0], "a": {"é": "x"}}"#);
    let expected: &[u8] = &[
        1, 2, // version, members
        1, b'a', 8, 1, 2, 0xc3, 0xa9, 6, 1, b'x', // "a": an object of one member
        1, b'b', 7, 7, 0, 1, 2, 3, 5, 4, 0, 3, 0xac, 2, // "b": an array of seven
        5, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f,
    ];
    assert_eq!(encode(&payload), expected);
}

/// Bytes and the complaint about them.
#[test]
fn bad_bytes_are_refused_with_their_place() {
    let endless = [&[1, 1, 0, 3][..], &[0x80; 12]].concat();
    let cases: [(&[u8], &str, u64); 14] = [
        (&[2, 0], "version of a payload", 4096),
        (&[1, 1, 1, b'a', 9], "tag of a value", 4100),
        (&[1, 0x81, 0x00], "varint, in its last byte", 4097),
        (&endless, "number of bytes of a varint", 4100),
        (&[1, 5, 1, b'a', 0], "count of values", 4097),
        (&[1, 0xff, 0xff, 0xff, 0xff, 0x0f], "count of values", 4097),
        (&[1, 1, 1, 0xff, 0], "number of leading UTF-8 bytes", 4099),
        (&[1, 1, 9, b'a', 0], "count of values", 4098),
        (&[1, 1, 0, 7, 3, 0, 0], "count of values", 4100),
        (&[1, 2, 1, b'b', 0, 1, b'a', 0], "order of keys, at the member", 4101),
        (&[1, 2, 1, b'a', 0, 1, b'a', 0], "order of keys, at the member", 4101),
        (&[1, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f], "float, which is not finite", 4100),
        (&[1, 1, 0, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "negative integer", 4100),
        (&[1, 0, 0], "number of trailing bytes", 4098),
    ];
    for (bytes, complaint, place) in cases {
        match decode(bytes).unwrap_err() {
            StorageError::Corrupt { what, offset, .. } => assert_eq!((what, offset), (complaint, place)),
            other => panic!("{bytes:?}: {other}"),
        }
    }
}

fn nested(levels: usize) -> Payload {
    let inner = (2..=levels).fold(Value::from(1), |inner, level| match level % 2 {
        0 => Value::Array(vec![inner]),
        _ => Value::Object([("k".to_owned(), inner)].into()),
    });
    Payload::new().with("a", inner)
}

#[test]
fn payloads_nest_so_deep_and_no_deeper() {
    let deepest = nested(PAYLOAD_DEPTH_MAX);
    assert_eq!(decode(&encode(&deepest)).unwrap(), deepest);
    let error = nested(PAYLOAD_DEPTH_MAX + 1).check().unwrap_err();
    assert_eq!(error, ValueError::TooDeep { limit: 64 });

    let arrays = [&[1, 1, 0][..], &[7, 1].repeat(64), &[0]].concat();
    let StorageError::Corrupt { what, found: 65, .. } = decode(&arrays).unwrap_err() else { panic!() };
    assert_eq!(what, "depth of a payload");
}

#[test]
fn payloads_that_cannot_be_kept_are_refused() {
    let large = Payload::new().with("x", "y".repeat(PAYLOAD_BYTES_MAX));
    assert!(matches!(large.check(), Err(ValueError::TooLarge { limit: PAYLOAD_BYTES_MAX, .. })));
    let mut out = vec![7];
    let infinite = Payload::new().with("a", 1).with("b", vec![0.5, f64::INFINITY]);
    let error = infinite.encode(&mut out).unwrap_err();
    assert_eq!(error.to_string(), "b: inf; expected a finite number, or null for one that is missing");
    assert_eq!(out, [7], "nothing is appended");
    let error = Payload::try_from(Value::from(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a payload is a number; expected an object, such as {\"city\": \"Berlin\"}"
    );
}
