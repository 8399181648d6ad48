//! What behaviour spaces keep in files and in the log: refused, or decoded to what encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| nearline::fuzzed_behaviors::decode(data));
