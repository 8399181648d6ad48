//! Vectors without an index: raw rows in one file, compared with a query one by one.
//!
//! The file is a file of rows (`rows`), in ascending order of the row numbers it holds, which may have gaps.

mod pick;
mod row_set;

use std::sync::Arc;

use nearline_storage::{Disk, ExtentFile, FileHeader, PAGE, ReadRange, StorageError};

use crate::error::Result;
use crate::metric::Scorer;
use crate::rows::{RowLayout, RowPage, RowWriter};
use crate::topk::{Candidate, TopK};
use crate::vector::{RowId, Shape};

pub use pick::Picked;
pub use row_set::RowSet;

/// The kind of the file.
const FILE_KIND: [u8; 4] = *b"FLAT";
/// Bytes read at a time while scanning.
const SCAN_BYTES: usize = 1 << 20;

/// The nearest of all vectors offered, ties by row.
#[derive(Debug, Default)]
pub struct Nearest {
    best: TopK,
}

impl Nearest {
    /// Keeps the `k` nearest.
    pub fn new(k: usize) -> Self {
        let mut best = TopK::default();
        best.reset(k, 1);
        Self { best }
    }

    /// Offers a vector; each row once.
    pub fn push(&mut self, row: RowId, distance: f32) {
        if distance <= self.best.limit() || distance.is_nan() {
            self.best.push(Candidate { distance, row });
        }
    }

    /// The nearest, in order, with their distances.
    pub fn into_sorted(mut self) -> Vec<(RowId, f32)> {
        self.best.take().into_iter().map(|found| (found.row, found.distance)).collect()
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlatSummary {
    /// Vectors.
    pub rows: u64,
    /// Length of the file.
    pub bytes: u64,
}

/// Writes a file of vectors from front to back.
#[derive(Debug)]
pub struct FlatWriter {
    writer: RowWriter,
    layout: RowLayout,
    last: Option<RowId>,
}

impl FlatWriter {
    /// Creates the file.
    ///
    /// # Errors
    /// When it exists or cannot be written.
    pub fn create(disk: &dyn Disk, name: &str, file_id: u64, shape: Shape) -> Result<Self> {
        let layout = RowLayout::new(shape);
        let header = FileHeader { kind: FILE_KIND, file_id };
        Ok(Self { writer: RowWriter::open(disk, name, header, layout, 0, &[])?, layout, last: None })
    }

    /// Appends a vector.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// When the row is not above the one before it, or the vector not of the file's shape.
    pub fn push(&mut self, row: RowId, vector: &[u8]) -> Result<()> {
        assert!(self.last.is_none_or(|last| last < row), "rows are pushed in ascending order");
        assert_eq!(vector.len(), self.layout.shape.row_bytes());
        self.last = Some(row);
        self.writer.push(&row.0.to_le_bytes(), vector)
    }

    /// Writes what is left and makes the bytes survive a crash; the file's name is up to the caller.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn finish(mut self) -> Result<FlatSummary> {
        self.writer.finish()?;
        let rows = self.writer.slots();
        Ok(FlatSummary { rows, bytes: self.layout.file_bytes(rows) })
    }
}

/// An open file of vectors. Any number of threads may read it.
#[derive(Debug)]
pub struct Flat {
    disk: Arc<dyn Disk>,
    file: ExtentFile,
    layout: RowLayout,
    rows: u64,
}

impl Flat {
    /// Opens the file of so many vectors.
    ///
    /// # Errors
    /// When it is missing, another file, or of another length than so many vectors have.
    pub fn open(disk: &Arc<dyn Disk>, name: &str, file_id: u64, shape: Shape, rows: u64) -> Result<Self> {
        let (file, layout) = (ExtentFile::open(disk.as_ref(), name, FILE_KIND)?, RowLayout::new(shape));
        let path = file.file().path();
        let expected = [
            ("identity of the file", file.file_id(), file_id),
            ("length of the file", file.len(), layout.file_bytes(rows)),
        ];
        for (what, found, expected) in expected {
            if found != expected {
                return Err(StorageError::corrupt(path, 0, what, found, expected).into());
            }
        }
        Ok(Self { disk: Arc::clone(disk), file, layout, rows })
    }

    /// Vectors in the file.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Compares all vectors whose row is allowed with a query of `scorer`; says how many those were.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn nearest(
        &self,
        scorer: &Scorer,
        allowed: impl Fn(RowId) -> bool,
        nearest: &mut Nearest,
    ) -> Result<u64> {
        self.nearest_from(0, scorer, allowed, nearest)
    }

    /// As [`Flat::nearest`], but for the vectors before a slot, as [`Flat::slot_after`] gives it.
    ///
    /// # Errors
    /// As [`Flat::nearest`].
    pub fn nearest_from(
        &self,
        slot: u64,
        scorer: &Scorer,
        allowed: impl Fn(RowId) -> bool,
        nearest: &mut Nearest,
    ) -> Result<u64> {
        let (mut distances, mut compared) = (Vec::new(), 0);
        let mut aligned = Vec::new();
        self.scan(slot / self.layout.rows as u64, |page| {
            distances.resize(page.len(), 0.0);
            scorer.distances(crate::search::aligned(page.vectors(), &mut aligned), &mut distances);
            for (row, &distance) in page.rows().as_chunks().0.iter().zip(&distances) {
                let row = RowId(u32::from_le_bytes(*row));
                if allowed(row) {
                    compared += 1;
                    nearest.push(row, distance);
                }
            }
        })?;
        Ok(compared)
    }

    /// The number, in the file, of the first vector of an extent all of whose rows may be above `row`, or of one before:
    /// what lies before it is not above.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn slot_after(&self, row: RowId) -> Result<u64> {
        let (mut low, mut high) = (0, self.rows.div_ceil(self.layout.rows as u64));
        let mut buffer = Vec::new();
        while low < high {
            let middle = low.midpoint(high);
            let page = self.page(middle * self.layout.rows as u64, &mut buffer)?;
            let last = page.get(page.len().saturating_sub(1)).map_or(0, |(row, _)| row);
            if last <= row.0 { low = middle + 1 } else { high = middle }
        }
        Ok((low * self.layout.rows as u64).min(self.rows))
    }

    /// Hands over the rows of about `most` vectors from a slot on, whole extents of them, and returns the slot behind.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn read(&self, from: u64, most: usize, mut keep: impl FnMut(RowId, &[u8])) -> Result<u64> {
        let (mut slot, mut buffer) = (from, Vec::new());
        let end = from.saturating_add(most as u64).min(self.rows);
        while slot < end {
            let page = self.page(slot, &mut buffer)?;
            for at in (slot % self.layout.rows as u64) as usize..page.len() {
                if let Some((row, vector)) = page.get(at) {
                    keep(RowId(row), vector);
                }
            }
            slot = (slot / self.layout.rows as u64 + 1) * self.layout.rows as u64;
        }
        Ok(slot.min(self.rows))
    }

    /// Hands every row and its vector to `keep`, in order.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged, or `keep` fails.
    pub fn for_each<E: From<crate::IndexError>>(
        &self,
        mut keep: impl FnMut(RowId, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut failed = None;
        self.scan(0, |page| {
            for at in 0..page.len() {
                if let (None, Some((row, vector))) = (&failed, page.get(at)) {
                    failed = keep(RowId(row), vector).err();
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The vector of a row, if it is there: one read, or a few where rows are missing before it.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn get(&self, row: RowId) -> Result<Option<Vec<u8>>> {
        let (mut low, mut high) = (0, self.rows.div_ceil(self.layout.rows as u64));
        let mut buffer = Vec::new();
        let mut guess = None;
        while low < high {
            let extent = guess.take().filter(|at| (low..high).contains(at)).unwrap_or((low + high) / 2);
            let slot = extent * self.layout.rows as u64;
            let page = self.page(slot, &mut buffer)?;
            let first = page.get(0).map_or(0, |(row, _)| row);
            let last = page.get(page.len().saturating_sub(1)).map_or(0, |(row, _)| row);
            if row.0 < first {
                high = extent;
            } else if row.0 > last {
                low = extent + 1;
                // Without gaps it is just so far behind.
                guess = Some(extent + u64::from(row.0 - first) / self.layout.rows as u64);
            } else {
                let found =
                    page.rows().as_chunks().0.binary_search_by_key(&row.0, |row| u32::from_le_bytes(*row));
                return Ok(found.ok().and_then(|at| page.get(at)).map(|(_, vector)| vector.to_vec()));
            }
        }
        Ok(None)
    }

    /// Reads all of the file and checks it.
    ///
    /// # Errors
    /// When it is damaged, or the rows are not in order.
    pub fn verify(&self) -> Result<()> {
        let mut last = None;
        let path = self.file.file().path();
        self.for_each(|row, _| {
            if last.is_some_and(|last| last >= row) {
                let expected = last.map_or(0, |last: RowId| u64::from(last.0) + 1);
                return Err(StorageError::corrupt(path, 0, "order of rows", row.0.into(), expected).into());
            }
            last = Some(row);
            Ok::<(), crate::IndexError>(())
        })
    }

    fn page<'a>(&self, slot: u64, buffer: &'a mut Vec<u8>) -> Result<RowPage<'a>> {
        let (range, _) = self.layout.place(slot as u32, self.rows);
        let extent = self.file.read_extent(range, buffer)?;
        Ok(RowPage::of(&extent, range.offset, self.file.file().path(), self.layout, self.rows)?)
    }

    /// Reads the file from an extent to the end, a megabyte at a time.
    fn scan(&self, from: u64, mut take: impl FnMut(&RowPage<'_>)) -> Result<()> {
        let together = (SCAN_BYTES / self.layout.bytes).max(1) as u64;
        let extents = self.rows.div_ceil(self.layout.rows as u64);
        let path = self.file.file().path();
        let mut buffer = Vec::new();
        for first in (from..extents).step_by(together as usize) {
            let last = (first + together).min(extents) - 1;
            let place =
                |extent: u64| self.layout.place((extent * self.layout.rows as u64) as u32, self.rows).0;
            let (start, end) = (place(first).offset, place(last).end());
            buffer.resize((end - start) as usize, 0);
            self.file.file().read_at(start, &mut buffer)?;
            for extent in first..=last {
                let ReadRange { offset, bytes } = place(extent);
                let bytes = &buffer[(offset - start) as usize..][..bytes];
                let extent = self.file.decode(offset, bytes)?;
                take(&RowPage::of(&extent, offset, path, self.layout, self.rows)?);
            }
        }
        Ok(())
    }
}

const _: () = assert!(SCAN_BYTES.is_multiple_of(PAGE));
