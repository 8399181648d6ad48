//! Embedding tables in files of other systems: refused with an error, or read and written again as they are.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| nearline_fuzz::embedding::exchange_any(data));
