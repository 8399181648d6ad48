//! Ground truth: any bytes give neighbours or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearline_fuzz::datasets;

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let mut bytes = rest.to_vec();
    if first > 127 {
        datasets::honest(&mut bytes, 8);
    }
    datasets::ground_truth(&datasets::file("x.gt.bin", &bytes));
});
