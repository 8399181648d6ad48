//! A large section of bytes as a chain of extents.
//!
//! Each extent of the chain carries up to [`CHUNK`] bytes. Its `owner` is the chunk's number, its `count` the
//! number of bytes, its `codec` tells whether more follow. A missing, repeated or reordered chunk is refused.

use std::path::Path;

use crate::disk::ReadRange;
use crate::error::{Result, StorageError};
use crate::extent::{Extent, ExtentHeader, HEADER, extent_bytes};
use crate::sealed::{ExtentFile, ExtentFileWriter};

/// Bytes of the section in one extent, chosen so that a full extent is 1 MiB.
pub const CHUNK: usize = (1 << 20) - 64;

const MORE: u8 = 0;
const LAST: u8 = 1;

/// How many bytes a blob of `len` bytes takes on disk.
pub(crate) fn blob_bytes(len: usize) -> usize {
    let full = len.saturating_sub(1) / CHUNK;
    full * extent_bytes(&[CHUNK]) + extent_bytes(&[len - full * CHUNK])
}

/// Writes `bytes` as a blob at the writer's position and says where it lies. `kind` goes into every extent.
///
/// # Errors
/// If writing fails.
pub fn write_blob(writer: &mut ExtentFileWriter, kind: u16, bytes: &[u8]) -> Result<ReadRange> {
    let mut blob = BlobWriter::new(writer, kind);
    blob.write(bytes)?;
    blob.finish()
}

/// Reads a whole blob.
///
/// # Errors
/// If it is damaged, incomplete or not of this `kind`.
pub fn read_blob(file: &ExtentFile, kind: u16, range: ReadRange) -> Result<Vec<u8>> {
    let mut reader = BlobReader::new(file, kind, range)?;
    let mut out = Vec::with_capacity(range.bytes);
    while let Some(chunk) = reader.chunk()? {
        out.extend_from_slice(chunk);
    }
    Ok(out)
}

/// Checks the bytes of a blob that is a single extent, read in a batch, and finds the section in them.
///
/// # Errors
/// As [`read_blob`].
pub(crate) fn decode_single<'a>(
    file: &ExtentFile,
    kind: u16,
    range: ReadRange,
    bytes: &'a [u8],
) -> Result<&'a [u8]> {
    let extent = file.decode(range.offset, bytes)?;
    check_chunk(file.file().path(), range.offset, &extent, (kind, 0), true)?;
    Ok(extent.plane(0))
}

/// Writes a blob piece by piece, with one chunk in memory.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    writer: &'a mut ExtentFileWriter,
    kind: u16,
    start: u64,
    number: u32,
    chunk: Vec<u8>,
}

impl<'a> BlobWriter<'a> {
    /// Starts a blob at the writer's position.
    pub fn new(writer: &'a mut ExtentFileWriter, kind: u16) -> Self {
        let start = writer.position();
        Self { writer, kind, start, number: 0, chunk: Vec::new() }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// If writing fails. The file is then of no more use.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            // A full chunk is only written once something follows, because the last one is marked.
            if self.chunk.len() == CHUNK {
                self.write_chunk(MORE)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Ends the blob and says where it lies. A blob without bytes is one extent.
    ///
    /// # Errors
    /// If writing fails.
    pub fn finish(mut self) -> Result<ReadRange> {
        self.write_chunk(LAST)?;
        let bytes = (self.writer.position() - self.start) as usize;
        Ok(ReadRange { offset: self.start, bytes })
    }

    fn write_chunk(&mut self, codec: u8) -> Result<()> {
        let count = self.chunk.len() as u32;
        let header = ExtentHeader { kind: self.kind, codec, owner: self.number, count };
        self.writer.append(&header, &[&self.chunk])?;
        self.number += 1;
        self.chunk.clear();
        Ok(())
    }
}

/// Reads a blob from front to back, with one chunk in memory.
#[derive(Debug)]
pub struct BlobReader<'a> {
    file: &'a ExtentFile,
    kind: u16,
    /// What is left to be read.
    range: ReadRange,
    number: u32,
    bytes: Vec<u8>,
    /// What of the current chunk is still to be handed out, within `bytes`.
    rest: std::ops::Range<usize>,
}

impl<'a> BlobReader<'a> {
    /// Opens the blob that fills `range`.
    ///
    /// # Errors
    /// If the range is not inside the file.
    pub fn new(file: &'a ExtentFile, kind: u16, range: ReadRange) -> Result<Self> {
        file.check_inside(range)?;
        if range.bytes == 0 {
            let end = range.offset;
            return Err(StorageError::unexpected_end(
                file.file().path(),
                end,
                extent_bytes(&[0]) as u64,
                end,
            ));
        }
        Ok(Self { file, kind, range, number: 0, bytes: Vec::new(), rest: 0..0 })
    }

    /// Fills `out` with the next bytes of the blob.
    ///
    /// # Errors
    /// If the blob is damaged, or ends before `out` is full.
    pub fn read(&mut self, mut out: &mut [u8]) -> Result<()> {
        while !out.is_empty() {
            let wanted = out.len();
            let end = self.range.end();
            let file = self.file;
            let Some(chunk) = self.chunk_up_to(wanted)? else {
                return Err(StorageError::unexpected_end(file.file().path(), end, wanted as u64, end));
            };
            let (now, later) = out.split_at_mut(chunk.len());
            now.copy_from_slice(chunk);
            out = later;
        }
        Ok(())
    }

    /// The next bytes as they come, at most [`CHUNK`] of them, or `None` at the end of the blob.
    ///
    /// # Errors
    /// If the blob is damaged.
    pub fn chunk(&mut self) -> Result<Option<&[u8]>> {
        self.chunk_up_to(usize::MAX)
    }

    /// Ends reading.
    ///
    /// # Errors
    /// If bytes are left, in the blob or of damage behind it.
    pub fn finish(mut self) -> Result<()> {
        let at = self.range.offset;
        let path = self.file.file().path();
        match self.chunk()? {
            None => Ok(()),
            Some(left) => {
                Err(StorageError::corrupt(path, at, "number of unread blob bytes", left.len() as u64, 0))
            }
        }
    }

    fn chunk_up_to(&mut self, limit: usize) -> Result<Option<&[u8]>> {
        while self.rest.is_empty() {
            if self.range.bytes == 0 {
                return Ok(None);
            }
            self.load()?;
        }
        let start = self.rest.start;
        let end = start + limit.min(self.rest.len());
        self.rest.start = end;
        Ok(self.bytes.get(start..end))
    }

    /// Reads the next extent of the chain. All but the last are full, so its size is known.
    fn load(&mut self) -> Result<()> {
        let full = extent_bytes(&[CHUNK]);
        let bytes = self.range.bytes.min(full);
        let range = ReadRange { offset: self.range.offset, bytes };
        let last = bytes == self.range.bytes;
        let extent = self.file.read_extent(range, &mut self.bytes)?;
        let path = self.file.file().path();
        let len = check_chunk(path, range.offset, &extent, (self.kind, self.number), last)?;
        // A lone plane starts right behind the header.
        self.rest = HEADER..HEADER + len;
        self.range = ReadRange { offset: range.end(), bytes: self.range.bytes - bytes };
        self.number += 1;
        Ok(())
    }
}

/// Refuses an extent that is not the chunk of this kind and number, and says how many bytes it carries.
fn check_chunk(
    file: &Path,
    offset: u64,
    extent: &Extent<'_>,
    (kind, number): (u16, u32),
    last: bool,
) -> Result<usize> {
    let (header, plane) = (extent.header, extent.plane(0));
    let len = if last { plane.len() } else { CHUNK };
    let wanted = [
        ("blob extent kind", u64::from(header.kind), u64::from(kind)),
        ("blob chunk number", header.owner.into(), number.into()),
        ("blob end mark", header.codec.into(), if last { LAST } else { MORE }.into()),
        ("number of planes", extent.plane_count() as u64, 1),
        ("blob chunk length", plane.len() as u64, len as u64),
        ("blob chunk count", header.count.into(), len as u64),
    ];
    check(file, offset, &wanted)?;
    Ok(len)
}

/// Refuses the first of `wanted` (what, found, expected) that was not found as expected.
pub(crate) fn check(file: &Path, offset: u64, wanted: &[(&'static str, u64, u64)]) -> Result<()> {
    match wanted.iter().find(|(_, found, expected)| found != expected) {
        Some(&(what, found, expected)) => Err(StorageError::corrupt(file, offset, what, found, expected)),
        None => Ok(()),
    }
}
