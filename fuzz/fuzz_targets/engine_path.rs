//! Texts that users write: paths, ids and moments are refused or read, and printed so that they are read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearline::filter::parse_datetime;
use nearline::{FieldPath, PointId};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = parse_datetime(text);
    if let Ok(path) = text.parse::<FieldPath>() {
        assert_eq!(path.to_string().parse(), Ok(path));
    }
    if let Ok(id) = text.parse::<PointId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(PointId::from_key(&id.key()), Some(id));
    }
});
