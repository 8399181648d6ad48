//! Rows led by their dimensions: any bytes give rows or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearline_fuzz::datasets;

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    match first % 3 {
        0 => datasets::vectors(&datasets::file("x.fvecs", rest)),
        1 => datasets::vectors(&datasets::file("x.bvecs", rest)),
        _ => datasets::ids(&datasets::file("x.ivecs", rest)),
    }
});
