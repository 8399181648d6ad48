//! Rows behind a count and a dimension, of vectors and of ids: any bytes give rows or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearline_fuzz::datasets;

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let (name, entry) =
        [("x.fbin", 4), ("x.f16bin", 2), ("x.u8bin", 1), ("x.i8bin", 1), ("x.ibin", 4), ("x.i64bin", 8)]
            [usize::from(first % 6)];
    let mut bytes = rest.to_vec();
    if first > 127 {
        datasets::honest(&mut bytes, entry);
    }
    let path = datasets::file(name, &bytes);
    if name.ends_with("ibin") || name.ends_with("i64bin") {
        datasets::ids(&path);
    } else {
        datasets::vectors(&path);
    }
});
