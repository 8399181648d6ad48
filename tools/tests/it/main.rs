//! The command line, driven as people drive it: the built binary on small generated files.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod behaviors;
mod builds;
mod collections;
mod exits;
mod files;
mod full_disk;
mod mistaken;
#[cfg(feature = "parquet")]
mod parquet_file;
mod plot;
mod run;
mod serve;
mod tables;
mod walk;
