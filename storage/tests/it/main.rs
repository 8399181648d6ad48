//! The storage crate from outside: real files, simulated crashes.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod atomic;
mod batch;
mod commit;
mod files;
mod folder;
mod several;
mod sim;
mod table;
mod wal;

/// What the source of group commit takes its locks from, when it is compiled for [`commit`] again.
mod sync {
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
}

use std::path::Path;

use tempfile::TempDir;

/// A temporary folder on the disk the build is on, where direct reads are likely to work.
fn folder() -> TempDir {
    TempDir::new_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap()
}
