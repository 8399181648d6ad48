//! The file of rows: every vector once, in order of its nearest list, at a place that is computed.
//!
//! A vector's *slot* is its number in that order. Extents are all of one size and hold as many rows each, so that the
//! extent of a slot needs no table. Each extent has a plane of row numbers and a plane of vectors.

use std::path::Path;
use std::sync::Arc;

use nearline_storage::{
    Disk, DiskFile, Extent, ExtentHeader, ExtentKey, FileHeader, PAGE, ReadRange, StorageError,
    encode_extent, extent_bytes,
};

use crate::error::Result;
use crate::vector::Shape;

/// The kind of the file's extents.
pub(crate) const EXTENT_KIND: u16 = 14;
/// Pages of an extent at most, as far as a row fits.
const PAGES_MAX: usize = 4;

/// How many rows an extent holds, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowLayout {
    pub(crate) shape: Shape,
    /// Rows in every extent but the last.
    pub(crate) rows: usize,
    /// Bytes of every extent but the last.
    pub(crate) bytes: usize,
}

impl RowLayout {
    /// The shortest extents that hold a row, unless they waste half; then the least wasteful of a few pages.
    pub(crate) fn new(shape: Shape) -> Self {
        let row = shape.row_bytes();
        let least = extent_bytes(&[4, row]) / PAGE;
        let of_pages = |pages: usize| {
            let fits = |rows: &usize| extent_bytes(&[rows * 4, rows * row]) <= pages * PAGE;
            let rows = (1..=pages * PAGE / (row + 4)).rev().find(fits).unwrap_or(1);
            Self { shape, rows, bytes: pages * PAGE }
        };
        let shortest = of_pages(least);
        if shortest.bytes * 2 < shortest.rows * row * 3 {
            return shortest;
        }
        let waste = |layout: &Self| layout.bytes * 1000 / layout.rows;
        (least..=least.max(PAGES_MAX)).map(of_pages).min_by_key(waste).unwrap_or(shortest)
    }

    /// The extent that holds a slot out of `total`, and the slot's place in it.
    pub(crate) fn place(&self, slot: u32, total: u64) -> (ReadRange, usize) {
        let (extent, at) = (slot as usize / self.rows, slot as usize % self.rows);
        let rest = total.saturating_sub((extent * self.rows) as u64).min(self.rows as u64);
        let offset = PAGE as u64 + (extent * self.bytes) as u64;
        (ReadRange { offset, bytes: self.extent_bytes(rest as usize) }, at)
    }

    /// Bytes of the file with so many rows.
    pub(crate) fn file_bytes(&self, rows: u64) -> u64 {
        let (full, rest) = (rows / self.rows as u64, (rows % self.rows as u64) as usize);
        let rest = if rest == 0 { 0 } else { self.extent_bytes(rest) };
        PAGE as u64 + full * self.bytes as u64 + rest as u64
    }

    /// Bytes of an extent of so many rows.
    fn extent_bytes(&self, rows: usize) -> usize {
        extent_bytes(&[rows * 4, rows * self.shape.row_bytes()])
    }
}

/// Rows of one extent, borrowed from a read's buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowPage<'a> {
    rows: &'a [u8],
    vectors: &'a [u8],
    row_bytes: usize,
    /// The row of the first vector, if rows follow from their places whatever `rows` says.
    first: Option<u32>,
}

impl<'a> RowPage<'a> {
    /// A page without rows.
    pub(crate) fn empty() -> Self {
        Self { rows: &[], vectors: &[], row_bytes: 0, first: None }
    }

    /// Checks the bytes of the extent at `key`.
    pub(crate) fn decode(
        bytes: &'a [u8],
        key: ExtentKey,
        file: &Path,
        layout: RowLayout,
        total: u64,
    ) -> Result<Self, StorageError> {
        Self::of(&Extent::decode(bytes, key, file)?, key.offset, file, layout, total)
    }

    /// Takes an extent at `offset` of `file` for one of `total` rows.
    pub(crate) fn of(
        extent: &Extent<'a>,
        offset: u64,
        file: &Path,
        layout: RowLayout,
        total: u64,
    ) -> Result<Self, StorageError> {
        let (header, row_bytes) = (&extent.header, layout.shape.row_bytes());
        let number = (offset - PAGE as u64) / layout.bytes as u64;
        let count = u64::from(header.count);
        let rest = total.saturating_sub(number.saturating_mul(layout.rows as u64));
        let checks = [
            ("kind of extent", u64::from(header.kind), u64::from(EXTENT_KIND)),
            ("number of an extent of rows", u64::from(header.owner), number),
            ("rows of an extent", count, rest.min(layout.rows as u64)),
            ("bytes of row numbers", extent.plane(0).len() as u64, count * 4),
            ("bytes of rows", extent.plane(1).len() as u64, count * row_bytes as u64),
        ];
        for (what, found, expected) in checks {
            if found != expected {
                return Err(StorageError::corrupt(file, offset, what, found, expected));
            }
        }
        Ok(Self { rows: extent.plane(0), vectors: extent.plane(1), row_bytes, first: None })
    }

    /// Rows in the extent.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() / 4
    }

    /// The number and the vector of the row at a place, if there is one.
    pub(crate) fn get(&self, at: usize) -> Option<(u32, &'a [u8])> {
        let row = self.row(at)?;
        Some((row, &self.vectors[at * self.row_bytes..][..self.row_bytes]))
    }

    /// The number of the row at a place.
    pub(crate) fn row(&self, at: usize) -> Option<u32> {
        let row = self.rows.as_chunks().0.get(at)?;
        Some(self.first.map_or(u32::from_le_bytes(*row), |first| first.wrapping_add(at as u32)))
    }

    /// The same vectors, numbered from this row on.
    pub(crate) fn numbered_from(self, first: u32) -> Self {
        Self { first: Some(first), ..self }
    }

    /// The row numbers, little-endian `u32`.
    pub(crate) fn rows(&self) -> &'a [u8] {
        self.rows
    }

    /// The vectors, one after another.
    pub(crate) fn vectors(&self) -> &'a [u8] {
        self.vectors
    }
}

/// Writes the file from front to back.
#[derive(Debug)]
pub(crate) struct RowWriter {
    file: Arc<dyn DiskFile>,
    file_id: u64,
    layout: RowLayout,
    /// Whole extents that are in the file or in `pending`.
    extents: u32,
    /// Encoded extents, to be written at `written`.
    pending: Vec<u8>,
    written: u64,
    /// Rows of the extent that is not full yet.
    rows: Vec<u8>,
    vectors: Vec<u8>,
}

/// Bytes gathered before they are written.
const GATHER: usize = 1 << 20;

impl RowWriter {
    /// Creates the file, or goes on with the one that had `slots` rows at a [`RowWriter::sync`], and this
    /// [`RowWriter::tail`].
    pub(crate) fn open(
        disk: &dyn Disk,
        name: &str,
        header: FileHeader,
        layout: RowLayout,
        slots: u64,
        tail: &[u8],
    ) -> Result<Self> {
        let extents = slots / layout.rows as u64;
        let written = layout.file_bytes(extents * layout.rows as u64);
        let (rows, vectors) = tail.split_at((slots % layout.rows as u64) as usize * 4);
        let writer = Self {
            file: if slots == 0 { disk.create(name)? } else { disk.open_rw(name)? },
            file_id: header.file_id,
            layout,
            extents: extents as u32,
            pending: Vec::new(),
            written,
            rows: rows.to_vec(),
            vectors: vectors.to_vec(),
        };
        if slots == 0 {
            writer.file.write_at(0, &header.encode())?;
        }
        Ok(writer)
    }

    /// Appends rows: little-endian numbers, and vectors.
    pub(crate) fn push(&mut self, rows: &[u8], vectors: &[u8]) -> Result<()> {
        for (row, vector) in rows.chunks_exact(4).zip(vectors.chunks_exact(self.layout.shape.row_bytes())) {
            self.rows.extend_from_slice(row);
            self.vectors.extend_from_slice(vector);
            if self.rows.len() == self.layout.rows * 4 {
                self.seal();
                self.extents += 1;
                self.rows.clear();
                self.vectors.clear();
            }
        }
        if self.pending.len() >= GATHER { self.flush() } else { Ok(()) }
    }

    /// Rows so far.
    pub(crate) fn slots(&self) -> u64 {
        u64::from(self.extents) * self.layout.rows as u64 + (self.rows.len() / 4) as u64
    }

    /// Makes all rows so far survive a crash, but for those of the tail.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.file.set_len(self.written)?;
        Ok(self.file.sync()?)
    }

    /// The rows of an extent that is not full: numbers, then vectors. Such an extent is not written before the end,
    /// because it would have to be written over.
    pub(crate) fn tail(&self) -> Vec<u8> {
        [&self.rows[..], &self.vectors].concat()
    }

    /// Writes the tail, too.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if !self.rows.is_empty() {
            self.seal();
        }
        self.sync()
    }

    /// Encodes the extent that is gathered.
    fn seal(&mut self) {
        let offset = self.written + self.pending.len() as u64;
        let header = ExtentHeader {
            kind: EXTENT_KIND,
            codec: 0,
            owner: self.extents,
            count: (self.rows.len() / 4) as u32,
        };
        let (start, key) = (self.pending.len(), ExtentKey { file_id: self.file_id, offset });
        encode_extent(&header, &[&self.rows, &self.vectors], key, &mut self.pending);
        debug_assert_eq!(self.pending.len() - start, self.layout.extent_bytes(self.rows.len() / 4));
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_at(self.written, &self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}
