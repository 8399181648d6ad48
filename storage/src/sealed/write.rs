//! Writing a file of extents from front to back.

use std::sync::Arc;

use crate::disk::{Disk, DiskFile, PAGE, ReadRange};
use crate::error::{Result, StorageError};
use crate::extent::{ExtentHeader, ExtentKey, encode_extent};
use crate::sealed::header::{FILE_ID, FileHeader};

/// Bytes are gathered up to this size before they are written.
const GATHER: usize = 1 << 20;

/// Appends extents to a file.
///
/// Nothing is sure to be in the file before [`ExtentFileWriter::flush`], nor to survive a crash before
/// [`ExtentFileWriter::sync`]. The file's name survives once the folder is synced.
#[derive(Debug)]
pub struct ExtentFileWriter {
    file: Arc<dyn DiskFile>,
    header: FileHeader,
    written: u64,
    pending: Vec<u8>,
}

impl ExtentFileWriter {
    /// Creates the file `name` with its header page.
    ///
    /// # Errors
    /// If the file exists, or writing fails.
    pub fn create(disk: &dyn Disk, name: &str, header: FileHeader) -> Result<Self> {
        let file = disk.create(name)?;
        Ok(Self { file, header, written: 0, pending: header.encode().to_vec() })
    }

    /// Goes on with an existing file after its first `len` bytes; the rest is cut off.
    ///
    /// # Errors
    /// If the file does not carry `header`, is shorter than `len`, or `len` cannot be the end of an extent.
    pub fn resume(disk: &dyn Disk, name: &str, header: FileHeader, len: u64) -> Result<Self> {
        let file = disk.open_rw(name)?;
        let mut page = [0; PAGE];
        file.read_at(0, &mut page)?;
        let found = FileHeader::decode_kind(&page, file.path(), header.kind)?;
        if found.file_id != header.file_id {
            let (found, expected) = (found.file_id, header.file_id);
            return Err(StorageError::corrupt(file.path(), FILE_ID as u64, "file id", found, expected));
        }
        let there = file.len()?;
        if there < len {
            return Err(StorageError::unexpected_end(file.path(), there, len - there, there));
        }
        if len < PAGE as u64 || !len.is_multiple_of(PAGE as u64) {
            let whole = len.next_multiple_of(PAGE as u64).max(PAGE as u64);
            return Err(StorageError::corrupt(file.path(), len, "length to resume at", len, whole));
        }
        file.set_len(len)?;
        Ok(Self { file, header, written: len, pending: Vec::new() })
    }

    /// Appends an extent and says where it lies.
    ///
    /// # Errors
    /// If writing fails. The writer is then of no more use.
    ///
    /// # Panics
    /// As [`encode_extent`].
    pub fn append(&mut self, header: &ExtentHeader, planes: &[&[u8]]) -> Result<ReadRange> {
        let (key, start) = (self.next_key(), self.pending.len());
        encode_extent(header, planes, key, &mut self.pending);
        let range = ReadRange { offset: key.offset, bytes: self.pending.len() - start };
        self.flush_beyond(GATHER)?;
        Ok(range)
    }

    /// Appends the bytes of extents that were encoded elsewhere, for exactly this place
    /// ([`ExtentFileWriter::next_key`]).
    ///
    /// # Errors
    /// If writing fails. The writer is then of no more use.
    ///
    /// # Panics
    /// If `extents` are not whole pages.
    pub fn append_raw(&mut self, extents: &[u8]) -> Result<ReadRange> {
        assert!(extents.len().is_multiple_of(PAGE), "{} bytes are not whole extents", extents.len());
        let range = ReadRange { offset: self.position(), bytes: extents.len() };
        if extents.len() < GATHER {
            self.pending.extend_from_slice(extents);
            self.flush_beyond(GATHER)?;
        } else {
            self.flush()?;
            self.file.write_at(self.written, extents)?;
            self.written += extents.len() as u64;
        }
        Ok(range)
    }

    /// Where the next extent will lie: the length of the file once all is written.
    pub fn position(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// The key of the next extent.
    pub fn next_key(&self) -> ExtentKey {
        ExtentKey { file_id: self.header.file_id, offset: self.position() }
    }

    /// The header the file was created with.
    pub fn header(&self) -> FileHeader {
        self.header
    }

    /// The file that is written.
    pub fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// Writes what is gathered, so that readers of the file see it.
    ///
    /// # Errors
    /// If writing fails.
    pub fn flush(&mut self) -> Result<()> {
        self.flush_beyond(0)
    }

    /// Makes all extents so far survive a crash.
    ///
    /// # Errors
    /// If writing or syncing fails. The file must then be given up: syncing again proves nothing.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.file.sync()
    }

    fn flush_beyond(&mut self, limit: usize) -> Result<()> {
        if self.pending.len() > limit {
            self.file.write_at(self.written, &self.pending)?;
            self.written += self.pending.len() as u64;
            self.pending.clear();
        }
        Ok(())
    }
}
