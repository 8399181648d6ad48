//! A payload: refused, or decoded to what encodes to the same bytes; and its values have keys in every field index.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nearline::field::{FieldType, keys_of};
use nearline::{Payload, TextOptions, Tokenizer};
use nearline_storage::Decoder;

fuzz_target!(|data: &[u8]| {
    // The version made right, the checks behind it are reached.
    let bytes = [&[1], data].concat();
    let Ok(payload) = Payload::decode(Decoder::new(&bytes, Path::new("fuzz"), 0)) else { return };
    let mut again = Vec::new();
    payload.encode(&mut again).expect("what was decoded can be kept");
    assert_eq!(again, bytes);

    let prefixes = TextOptions { tokenizer: Tokenizer::Prefix, ..TextOptions::default() };
    let values = || payload.iter().map(|(_, value)| value);
    for field_type in [
        FieldType::Keyword,
        FieldType::Float,
        FieldType::Bool,
        FieldType::Datetime,
        FieldType::Uuid,
        FieldType::Geo,
        FieldType::Text(TextOptions::default()),
        FieldType::Text(prefixes),
    ] {
        assert_eq!(keys_of(field_type, values()).is_empty(), payload.is_empty());
    }
});
