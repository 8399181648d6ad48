//! The end of the log: the segment that is written.

use std::path::Path;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::error::Result;
use crate::wal::planted::{Bug, planted};
use crate::wal::record::{HEADER, Head, Key};

/// Bytes are gathered up to this size before they are written; larger pieces are written as they are.
const GATHER: usize = 1 << 20;

/// Writes records into a segment, back to back.
///
/// A record is written behind records that may be durable, and shares a sector with the last of them. A crash tears
/// what is being written; as every log does, this one relies on the disk not to tear the bytes before, which are
/// written again as they were.
#[derive(Debug)]
pub(super) struct Writer {
    file: Arc<dyn DiskFile>,
    key: Key,
    /// The length of the segment.
    bytes: u64,
    written: u64,
    pending: Vec<u8>,
}

impl Writer {
    /// Goes on at `at` of a segment of `bytes` bytes.
    pub(super) fn new(file: Arc<dyn DiskFile>, key: Key, bytes: u64, at: u64) -> Self {
        Self { file, key, bytes, written: at, pending: Vec::new() }
    }

    /// Goes on with another handle of the same file, whose path is the one to name in errors.
    pub(super) fn rename(&mut self, handle: Result<Arc<dyn DiskFile>>) {
        // The old handle is as good to write to.
        if let Ok(file) = handle {
            self.file = file;
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Where the next record will lie.
    pub(super) fn position(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Whether records of that many bytes fit, and a seal behind them. So there is always room for one seal.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.position() + bytes + HEADER as u64 <= self.bytes
    }

    /// Whether less than half of the segment is left.
    pub(super) fn is_half_full(&self) -> bool {
        self.position() > self.bytes / 2
    }

    /// Adds a record, for which there must be room.
    ///
    /// # Errors
    /// If writing fails. What of it is in the file is then unknown.
    pub(super) fn put(&mut self, head: Head, payload: &[&[u8]]) -> Result<()> {
        let header = head.encode(self.key, self.position(), payload);
        self.pending.extend_from_slice(&header);
        for part in payload {
            if part.len() < GATHER {
                self.pending.extend_from_slice(part);
            } else {
                self.flush()?;
                self.file.write_at(self.written, part)?;
                self.written += part.len() as u64;
            }
            if self.pending.len() > GATHER {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Makes all records survive a crash.
    ///
    /// # Errors
    /// If writing or syncing fails. Trying again would prove nothing.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.flush()?;
        if planted(Bug::NoSync) {
            return Ok(());
        }
        match self.file.sync() {
            Err(_) if planted(Bug::RetrySync) => self.file.sync(),
            synced => synced,
        }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        if !self.pending.is_empty() {
            self.file.write_at(self.written, &self.pending)?;
            self.written += self.pending.len() as u64;
            self.pending.clear();
        }
        Ok(())
    }
}
