//! What the batch readers of the operating system's files share: a file to read from, and how its reads end.

use std::fs::File;
use std::path::PathBuf;

use crate::disk::{PAGE, ReadRange};
use crate::error::StorageError;

/// A file of a reader, and its path for messages.
#[derive(Debug)]
pub(crate) struct ReadFile {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl ReadFile {
    /// The error of a read that failed at `offset`.
    pub(crate) fn failed(&self, offset: u64, error: std::io::Error) -> StorageError {
        StorageError::io_at(&self.path, "read", offset, error)
    }

    /// The error for a range of which only the first `filled` bytes exist.
    pub(crate) fn too_short(&self, range: ReadRange, filled: usize) -> StorageError {
        let offset = range.offset + filled as u64;
        let len = self.file.metadata().map_or(offset, |found| found.len());
        StorageError::unexpected_end(&self.path, offset, (range.bytes - filled) as u64, len)
    }
}

/// Where to go on after a short read. Direct reads must stay on whole pages, so a torn page is read again; if not
/// even one more page came, the file ends there.
pub(crate) fn resume_at(filled: usize, got: usize) -> Option<usize> {
    let next = (filled + got) / PAGE * PAGE;
    (next > filled).then_some(next)
}
