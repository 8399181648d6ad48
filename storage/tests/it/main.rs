//! The storage crate from outside: real files, simulated crashes.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod atomic;
mod batch;
mod files;
mod folder;
mod several;
mod sim;
mod table;

use std::path::Path;

use tempfile::TempDir;

/// A temporary folder on the disk the build is on, where direct reads are likely to work.
fn folder() -> TempDir {
    TempDir::new_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap()
}
