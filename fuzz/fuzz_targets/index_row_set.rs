//! A set of rows: refused, or decoded to what encodes to the same bytes and counts as it lists.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nearline_index::RowSet;
use nearline_storage::{Decoder, Encoder};

fuzz_target!(|data: &[u8]| {
    let mut decoder = Decoder::new(data, Path::new("fuzz"), 0);
    let Ok(set) = RowSet::decode(&mut decoder) else { return };
    let mut again = Encoder::new();
    set.encode(&mut again);
    assert_eq!(again.as_bytes(), &data[..data.len() - decoder.remaining()]);

    for (row, slot) in set.iter().zip(0..10_000) {
        assert_eq!((set.slot_of(row), set.slots_before(row)), (Some(slot), slot));
    }
});
