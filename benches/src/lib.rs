//! What the micro-benchmarks and the end-to-end scenarios share: generated data, indexes built from it, and
//! measured searches.
//!
//! | file | what |
//! |---|---|
//! | [`scenario`] | what to build and search, from `scenarios/*.toml` |
//! | [`bench_index`] | a small index for micro-benchmarks |
//! | [`data`] | generated vectors, queries and exact answers |
//! | [`device`] | random pages a second |
//! | [`measure`] | build, search, and what both cost |
//! | [`live`] | collections that change: recall, latencies under way, memory, bytes written |
//! | [`tolerance`] | what may come out, from `tolerances.toml` |
//! | [`report`] | tables and lines of JSON |
#![forbid(unsafe_code)]

pub mod bench_index;
pub mod data;
pub mod device;
pub mod live;
pub mod measure;
pub mod report;
pub mod scenario;
pub mod tolerance;
