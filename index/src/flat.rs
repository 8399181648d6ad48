//! Vectors without an index: raw rows in one file, compared with a query one by one.
//!
//! The file is a file of rows (`rows`), in ascending order of the row numbers it holds, which may have gaps. Which rows
//! those are is known in memory ([`RowSet`]), so a row's place is computed.

mod codes;
mod pick;
mod row_set;
mod shortlist;
mod walk;

use std::sync::Arc;

use nearline_storage::{Disk, Extent, ExtentFile, FileHeader, PAGE, ReadRange, StorageError};

use crate::error::{IndexError, Result};
use crate::manifest::FileRole;
use crate::metric::Distances;
use crate::rows::{RowLayout, RowPage, RowWriter};
use crate::topk::{Candidate, TopK};
use crate::vector::{RowId, Shape};

pub use codes::{AllowedRows, CodeAsk, RowCodes};
pub use pick::Picked;
pub use row_set::RowSet;
pub use walk::FlatWalk;

/// The kind of the file.
const FILE_KIND: [u8; 4] = *b"FLAT";
/// Bytes read at a time while scanning.
const SCAN_BYTES: usize = 256 << 10;

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

    /// How many are kept, at most.
    pub(crate) fn k(&self) -> usize {
        self.best.k()
    }

    /// The distances of those that are kept, in any order.
    pub(crate) fn distances(&self) -> impl Iterator<Item = f32> {
        self.best.distances()
    }

    /// Offers vectors that lie one after another, and the row of each; those whose row is allowed.
    ///
    /// # Panics
    /// When there are not as many vectors as rows.
    pub fn push_all(
        &mut self,
        scorer: &dyn Distances,
        rows: &[RowId],
        vectors: &[u8],
        allowed: impl Fn(RowId) -> bool,
    ) {
        let (mut distances, mut copy) = (vec![0.0; rows.len()], Vec::new());
        scorer.distances(crate::search::aligned(vectors, &mut copy), &mut distances);
        for (&row, &distance) in rows.iter().zip(&distances) {
            // Few are near enough for it to matter whether they are allowed.
            if (distance <= self.best.limit() || distance.is_nan()) && allowed(row) {
                self.best.push(Candidate { distance, row });
            }
        }
    }

    /// The nearest, in order, with their distances.
    pub fn into_sorted(mut self) -> Vec<(RowId, f32)> {
        self.best.take().into_iter().map(|found| (found.row, found.distance)).collect()
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlatSummary {
    /// The rows whose vectors they are.
    pub rows: RowSet,
    /// Length of the file.
    pub bytes: u64,
}

/// Writes a file of vectors from front to back.
#[derive(Debug)]
pub struct FlatWriter {
    writer: RowWriter,
    layout: RowLayout,
    rows: RowSet,
}

impl FlatWriter {
    /// Creates the file.
    ///
    /// # Errors
    /// When it exists or cannot be written.
    pub fn create(disk: &dyn Disk, name: &str, file_id: u64, shape: Shape) -> Result<Self> {
        let layout = RowLayout::new(shape);
        let header = FileHeader { kind: FILE_KIND, file_id };
        Ok(Self {
            writer: RowWriter::open(disk, name, header, layout, 0, &[])?,
            layout,
            rows: RowSet::default(),
        })
    }

    /// Appends a vector.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// When the row is not above the one before it, or the vector not of the file's shape.
    pub fn push(&mut self, row: RowId, vector: &[u8]) -> Result<()> {
        assert_eq!(vector.len(), self.layout.shape.row_bytes());
        self.rows.push(row);
        self.writer.push(&row.0.to_le_bytes(), vector)
    }

    /// Writes what is left and makes the bytes survive a crash; the file's name is up to the caller.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn finish(mut self) -> Result<FlatSummary> {
        self.writer.finish()?;
        self.rows.settle();
        let bytes = self.layout.file_bytes(self.rows.len());
        Ok(FlatSummary { rows: self.rows, bytes })
    }
}

/// An open file of vectors. Any number of threads may read it.
#[derive(Debug)]
pub struct Flat {
    disk: Arc<dyn Disk>,
    file: ExtentFile,
    layout: RowLayout,
    rows: RowSet,
    /// Whether a vector's slot is its row, whatever the file says.
    by_slot: bool,
}

impl Flat {
    /// Opens the file of the vectors of some rows.
    ///
    /// # Errors
    /// When it is missing, another file, or of another length than so many vectors have.
    pub fn open(disk: &Arc<dyn Disk>, name: &str, file_id: u64, shape: Shape, rows: RowSet) -> Result<Self> {
        Self::open_kind(disk, (name, file_id), FILE_KIND, shape, rows)
    }

    /// Opens the file of rows of an index that was taken over: slots are rows, the first `count` of all.
    ///
    /// # Errors
    /// As [`Flat::open`].
    ///
    /// # Panics
    /// When there are none.
    pub fn open_by_slot(
        disk: &Arc<dyn Disk>,
        name: &str,
        file_id: u64,
        shape: Shape,
        count: u64,
    ) -> Result<Self> {
        let rows = RowSet::dense(RowId(0), RowId(u32::try_from(count - 1).unwrap_or(u32::MAX)));
        let flat = Self::open_kind(disk, (name, file_id), FileRole::Rows.kind(), shape, rows)?;
        Ok(Self { by_slot: true, ..flat })
    }

    fn open_kind(
        disk: &Arc<dyn Disk>,
        (name, file_id): (&str, u64),
        kind: [u8; 4],
        shape: Shape,
        rows: RowSet,
    ) -> Result<Self> {
        let (file, layout) = (ExtentFile::open(disk.as_ref(), name, kind)?, RowLayout::new(shape));
        let path = file.file().path();
        let expected = [
            ("identity of the file", file.file_id(), file_id),
            ("length of the file", file.len(), layout.file_bytes(rows.len())),
        ];
        for (what, found, expected) in expected {
            if found != expected {
                return Err(StorageError::corrupt(path, 0, what, found, expected).into());
            }
        }
        Ok(Self { disk: Arc::clone(disk), file, layout, rows, by_slot: false })
    }

    /// As [`Flat::open`], for a file of so many vectors of rows that nobody knows: all of it is read to find them.
    ///
    /// # Errors
    /// As [`Flat::open`], and when the file is damaged or the rows are not in order.
    ///
    /// # Panics
    /// When there are none.
    pub fn open_unlisted(
        disk: &Arc<dyn Disk>,
        name: &str,
        file_id: u64,
        shape: Shape,
        count: u64,
    ) -> Result<Self> {
        let last = RowId(u32::try_from(count - 1).unwrap_or(u32::MAX));
        let mut flat = Self::open(disk, name, file_id, shape, RowSet::dense(RowId(0), last))?;
        let mut rows = RowSet::default();
        flat.for_each(|row, _| {
            if let Some(last) = rows.last().filter(|&last| last >= row) {
                return Err(flat.wrong("order of rows", row.0.into(), u64::from(last.0) + 1));
            }
            rows.push(row);
            Ok(())
        })?;
        rows.settle();
        flat.rows = rows;
        Ok(flat)
    }

    /// Vectors in the file.
    pub fn rows(&self) -> u64 {
        self.rows.len()
    }

    /// The rows whose vectors they are.
    pub fn row_set(&self) -> &RowSet {
        &self.rows
    }

    /// Bytes of memory it takes.
    pub fn ram_bytes(&self) -> usize {
        self.rows.ram_bytes()
    }

    pub(crate) fn name(&self) -> &str {
        self.file.name()
    }

    pub(crate) fn file(&self) -> &ExtentFile {
        &self.file
    }

    /// The extent that holds a row, and the row's place in it; `None` if the row is not there.
    pub(crate) fn place_of(&self, row: RowId) -> Option<(ReadRange, usize)> {
        let slot = self.rows.slot_of(row)?;
        Some(self.layout.place(slot, self.rows.len()))
    }

    /// The place of an extent by its number.
    fn extent(&self, number: u64) -> ReadRange {
        self.layout.place((number * self.layout.rows as u64) as u32, self.rows.len()).0
    }

    /// Checks the bytes of the extent at an offset.
    pub(crate) fn decode<'a>(&self, offset: u64, bytes: &'a [u8]) -> Result<RowPage<'a>> {
        let extent = self.file().decode(offset, bytes)?;
        self.page_of(&extent, offset)
    }

    fn page_of<'a>(&self, extent: &Extent<'a>, offset: u64) -> Result<RowPage<'a>> {
        let page = RowPage::of(extent, offset, self.file.file().path(), self.layout, self.rows.len())?;
        let extents = (offset - PAGE as u64) / self.layout.bytes as u64;
        let first = extents * self.layout.rows as u64;
        Ok(if self.by_slot { page.numbered_from(first as u32) } else { page })
    }

    /// The vector of a row at its place in the extent at an offset.
    ///
    /// # Errors
    /// When another row is there.
    pub(crate) fn vector_at<'a>(
        &self,
        page: &RowPage<'a>,
        offset: u64,
        at: usize,
        row: RowId,
    ) -> Result<&'a [u8]> {
        let there = page.get(at);
        if let Some((_, vector)) = there.filter(|(found, _)| *found == row.0) {
            return Ok(vector);
        }
        Err(self.other_row(offset, there.map(|(found, _)| found), row))
    }

    /// Another row than `row` is at its place in the extent at an offset, or none.
    fn other_row(&self, offset: u64, found: Option<u32>, row: RowId) -> IndexError {
        let found = found.map_or(u64::MAX, u64::from);
        StorageError::corrupt(self.file.file().path(), offset, "row of a vector", found, row.0.into()).into()
    }

    /// Reads that [`Flat::nearest_from`] takes from a slot on.
    pub fn reads_from(&self, slot: u64) -> u64 {
        let per_extent = self.layout.rows as u64;
        let extents = self.rows().div_ceil(per_extent).saturating_sub(slot / per_extent);
        extents.div_ceil(self.together())
    }

    /// Compares all vectors whose row is allowed with a query of `scorer`; says how many those were.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn nearest(
        &self,
        scorer: &dyn Distances,
        allowed: impl Fn(RowId) -> bool,
        nearest: &mut Nearest,
    ) -> Result<u64> {
        self.nearest_from(0, scorer, allowed, nearest)
    }

    /// As [`Flat::nearest`], of the vectors from a slot on.
    ///
    /// # Errors
    /// As [`Flat::nearest`].
    pub fn nearest_from(
        &self,
        slot: u64,
        scorer: &dyn Distances,
        allowed: impl Fn(RowId) -> bool,
        nearest: &mut Nearest,
    ) -> Result<u64> {
        let (mut distances, mut compared) = (Vec::new(), 0);
        let mut aligned = Vec::new();
        let per_extent = self.layout.rows as u64;
        let mut before = (slot % per_extent) as usize;
        self.scan(slot / per_extent, |page| {
            distances.resize(page.len(), 0.0);
            scorer.distances(crate::search::aligned(page.vectors(), &mut aligned), &mut distances);
            let rows = (0..page.len()).filter_map(|at| page.row(at)).zip(&distances);
            for (row, &distance) in rows.skip(std::mem::take(&mut before)) {
                let row = RowId(row);
                if allowed(row) {
                    compared += 1;
                    nearest.push(row, distance);
                }
            }
        })?;
        Ok(compared)
    }

    /// The slot of the first vector of a row above this one: so many vectors are not above it.
    pub fn slot_after(&self, row: RowId) -> u64 {
        let next = row.0.checked_add(1);
        next.map_or(self.rows.len(), |next| self.rows.slots_before(RowId(next)).into())
    }

    /// Hands over the rows of about `most` vectors from a slot on, whole extents of them, and returns the slot behind.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn read(&self, from: u64, most: usize, mut keep: impl FnMut(RowId, &[u8])) -> Result<u64> {
        let (mut slot, mut buffer) = (from, Vec::new());
        let (total, per_extent) = (self.rows.len(), self.layout.rows as u64);
        let end = from.saturating_add(most as u64).min(total);
        while slot < end {
            let page = self.page(self.extent(slot / per_extent), &mut buffer)?;
            for at in (slot % per_extent) as usize..page.len() {
                if let Some((row, vector)) = page.get(at) {
                    keep(RowId(row), vector);
                }
            }
            slot = (slot / per_extent + 1) * per_extent;
        }
        Ok(slot.min(total))
    }

    /// Hands every row and its vector to `keep`, in order.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged, or `keep` fails.
    pub fn for_each<E: From<IndexError>>(
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

    /// The vector of a row, if it is there: one read.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn get(&self, row: RowId) -> Result<Option<Vec<u8>>> {
        let Some((range, at)) = self.place_of(row) else { return Ok(None) };
        let mut buffer = Vec::new();
        let page = self.page(range, &mut buffer)?;
        Ok(Some(self.vector_at(&page, range.offset, at, row)?.to_vec()))
    }

    /// Gives the vectors of rows that are asked for in order.
    pub fn walk(&self) -> FlatWalk<'_> {
        FlatWalk::new(self)
    }

    /// Reads all of the file and checks it.
    ///
    /// # Errors
    /// When it is damaged, or has other rows than it was opened with.
    pub fn verify(&self) -> Result<()> {
        let mut rows = self.rows.iter();
        self.for_each(|found, _| match rows.next() {
            Some(row) if row == found => Ok(()),
            row => {
                let expected = row.map_or(u64::MAX, |row| row.0.into());
                Err(self.wrong("row of a vector", found.0.into(), expected))
            }
        })
    }

    fn wrong(&self, what: &'static str, found: u64, expected: u64) -> IndexError {
        StorageError::corrupt(self.file.file().path(), 0, what, found, expected).into()
    }

    fn page<'a>(&self, range: ReadRange, buffer: &'a mut Vec<u8>) -> Result<RowPage<'a>> {
        let extent = self.file.read_extent(range, buffer)?;
        self.page_of(&extent, range.offset)
    }

    /// Extents of one read while scanning.
    fn together(&self) -> u64 {
        (SCAN_BYTES / self.layout.bytes).max(1) as u64
    }

    /// Reads the file from an extent to the end, many extents at a time.
    fn scan(&self, from: u64, mut take: impl FnMut(&RowPage<'_>)) -> Result<()> {
        let together = self.together();
        let extents = self.rows.len().div_ceil(self.layout.rows as u64);
        let mut buffer = Vec::new();
        for first in (from..extents).step_by(together as usize) {
            let last = (first + together).min(extents) - 1;
            let (start, end) = (self.extent(first).offset, self.extent(last).end());
            buffer.resize((end - start) as usize, 0);
            self.file.file().read_at(start, &mut buffer)?;
            for extent in first..=last {
                let ReadRange { offset, bytes } = self.extent(extent);
                take(&self.decode(offset, &buffer[(offset - start) as usize..][..bytes])?);
            }
        }
        Ok(())
    }
}

const _: () = assert!(SCAN_BYTES.is_multiple_of(PAGE));
