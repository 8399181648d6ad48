//! Reading a segment through a window that moves over it.

use std::sync::Arc;

use crate::disk::DiskFile;
use crate::error::Result;
use crate::wal::record::{self, Bad, HEADER, Key, MAX_RECORD_BYTES, Record};

/// At least this much is read at once, in bytes.
const READ_AHEAD: usize = 1 << 20;

/// A file of which some bytes are in memory: the larger of 1 MiB and the largest record.
#[derive(Debug)]
pub(super) struct FileWindow {
    file: Arc<dyn DiskFile>,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl FileWindow {
    /// A window on a file that has `len` bytes.
    pub(super) fn new(file: Arc<dyn DiskFile>, len: u64) -> Self {
        Self { file, len, start: 0, bytes: Vec::new() }
    }

    /// The bytes from `offset` on: `wanted` of them, or as many as there are.
    pub(super) fn get(&mut self, offset: u64, wanted: usize) -> Result<&[u8]> {
        let left = self.len.saturating_sub(offset);
        let wanted = left.min(wanted as u64) as usize;
        let inside = offset >= self.start && offset + wanted as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let ahead = left.min(wanted.max(READ_AHEAD) as u64) as usize;
            // Nothing is kept should the read fail.
            self.start = offset;
            self.bytes.clear();
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize(ahead, 0);
            self.file.read_at(offset, &mut bytes)?;
            self.bytes = bytes;
        }
        let at = (offset - self.start) as usize;
        Ok(&self.bytes[at..at + wanted])
    }

    /// The record at `offset`, or why there is none.
    ///
    /// # Errors
    /// Only if reading fails.
    pub(super) fn record(&mut self, key: Key, offset: u64) -> Result<Result<Record<'_>, Bad>> {
        let header = self.get(offset, HEADER)?;
        let len = header.first_chunk().map_or(0, record::payload_len);
        let wanted = if len > MAX_RECORD_BYTES { HEADER } else { HEADER + len };
        Ok(record::decode(self.get(offset, wanted)?, key, offset))
    }

    /// The next place behind `offset` where there may be something other than zeros.
    pub(super) fn skip_zeros(&mut self, offset: u64) -> Result<u64> {
        const STEP: usize = 4096;
        let mut at = offset;
        // A header may begin in the zeros and end behind them.
        while self.get(at, STEP)?.iter().all(|&byte| byte == 0) && at < self.len {
            at += (STEP - HEADER) as u64;
        }
        Ok(at)
    }
}
