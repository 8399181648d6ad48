//! Embedding tables from segments: refused with an error, or a table that answers and opens again as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| nearline_fuzz::embedding::open_any(data));
