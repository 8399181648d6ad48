//! The file of rows, likewise.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| nearline_fuzz::index::replace("rows", data));
