//! Reading a file of extents: one by one at known places, or all of them in order.

use std::sync::Arc;

use crate::disk::{Disk, DiskFile, PAGE, ReadRange};
use crate::error::{Result, StorageError};
use crate::extent::{Extent, ExtentKey, HEADER, stored_bytes};
use crate::sealed::FileHeader;

/// [`Extents`] reads at least this much at once, in bytes.
const READ_AHEAD: usize = 1 << 20;

/// A file of extents, opened for reading. Its header page has been checked, its extents are when they are read.
#[derive(Clone, Debug)]
pub struct ExtentFile {
    file: Arc<dyn DiskFile>,
    name: String,
    file_id: u64,
    len: u64,
}

impl ExtentFile {
    /// Opens the file `name`, which must be of `kind`.
    ///
    /// # Errors
    /// If it is missing, damaged at its head, of another kind or from a newer format.
    pub fn open(disk: &dyn Disk, name: &str, kind: [u8; 4]) -> Result<Self> {
        let file = disk.open(name)?;
        let mut page = [0; PAGE];
        file.read_at(0, &mut page)?;
        let FileHeader { file_id, .. } = FileHeader::decode_kind(&page, file.path(), kind)?;
        let len = file.len()?;
        Ok(Self { file, name: name.to_owned(), file_id, len })
    }

    /// The identity that is part of every checksum in the file.
    pub fn file_id(&self) -> u64 {
        self.file_id
    }

    /// The length in bytes when the file was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no extent in the file.
    pub fn is_empty(&self) -> bool {
        self.len <= PAGE as u64
    }

    /// The name it was opened by, for batch reads.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file underneath.
    pub fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// The key of the extent at `offset`.
    pub fn key(&self, offset: u64) -> ExtentKey {
        ExtentKey { file_id: self.file_id, offset }
    }

    /// Checks the bytes of the extent at `offset`, read through [`ExtentFile::file`] or in a batch.
    ///
    /// # Errors
    /// As [`Extent::decode`].
    pub fn decode<'a>(&self, offset: u64, bytes: &'a [u8]) -> Result<Extent<'a>> {
        Extent::decode(bytes, self.key(offset), self.file.path())
    }

    /// Reads and checks one extent, using `buf` for its bytes.
    ///
    /// # Errors
    /// If the range is not inside the file, reading fails or the extent is damaged.
    pub fn read_extent<'a>(&self, range: ReadRange, buf: &'a mut Vec<u8>) -> Result<Extent<'a>> {
        self.check_inside(range)?;
        buf.resize(range.bytes, 0);
        self.file.read_at(range.offset, buf)?;
        self.decode(range.offset, buf)
    }

    /// All extents in order, each checked.
    pub fn extents(&self) -> Extents<'_> {
        Extents { source: self, at: PAGE as u64, bytes: Vec::new(), start: 0 }
    }

    /// Refuses a range that ends behind the file, before anything is allocated for it.
    pub(crate) fn check_inside(&self, range: ReadRange) -> Result<()> {
        if range.end() > self.len {
            let (offset, wanted) = (range.offset, range.bytes as u64);
            return Err(StorageError::unexpected_end(self.file.path(), offset, wanted, self.len));
        }
        Ok(())
    }
}

/// Walks through all extents of a file in order. Extents lie back to back and fill the file, so a gap, a tail, or an
/// extent longer than what is left of the file ends the walk with an error.
///
/// Memory: the larger of 1 MiB and the largest extent.
#[derive(Debug)]
pub struct Extents<'a> {
    source: &'a ExtentFile,
    /// Where in the file the next extent starts.
    at: u64,
    /// Bytes of the file; `bytes[start..]` are those from `at` on.
    bytes: Vec<u8>,
    start: usize,
}

impl Extents<'_> {
    /// The next extent and where it lies, or `None` after the last.
    ///
    /// # Errors
    /// If it cannot be read or is damaged. Where the one after it starts is then unknown: the walk is over.
    #[expect(
        clippy::should_implement_trait,
        reason = "the extent borrows from the walk, which no Iterator can say"
    )]
    pub fn next(&mut self) -> Result<Option<(ReadRange, Extent<'_>)>> {
        let offset = self.at;
        if offset >= self.source.len {
            return Ok(None);
        }
        self.at = self.source.len;
        self.fill(offset, HEADER)?;
        let bytes = stored_bytes(&self.bytes[self.start..], offset, self.source.file.path())?;
        let range = ReadRange { offset, bytes };
        self.source.check_inside(range)?;
        self.fill(offset, bytes)?;
        let extent = &self.bytes[self.start..self.start + bytes];
        let extent = self.source.decode(offset, extent)?;
        self.start += bytes;
        self.at = range.end();
        Ok(Some((range, extent)))
    }

    /// Sees to it that at least `wanted` bytes from `offset` on are in memory.
    fn fill(&mut self, offset: u64, wanted: usize) -> Result<()> {
        let there = self.bytes.len() - self.start;
        if there >= wanted {
            return Ok(());
        }
        self.bytes.drain(..self.start);
        self.start = 0;
        let left = self.source.len - offset;
        let target = (wanted.max(READ_AHEAD) as u64).min(left) as usize;
        if target < wanted {
            let file = self.source.file.path();
            return Err(StorageError::unexpected_end(file, offset, wanted as u64, self.source.len));
        }
        self.bytes.resize(target, 0);
        self.source.file.read_at(offset + there as u64, &mut self.bytes[there..])
    }
}
