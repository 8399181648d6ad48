//! Comparing some vectors of a file of many: only the extents that have them are read, each once.

use nearline_storage::{BatchReader, PAGE, ReadRange, StorageError, Window};

use super::{Flat, Nearest};
use crate::error::Result;
use crate::metric::Distances;
use crate::vector::RowId;

/// Rows looked for together, and those in the last one's extent.
const CHUNK: usize = 1024;
/// Fewer reads than these are done one by one: setting up a batch costs more than it saves.
const BATCH_MIN: usize = 4;
/// Extents that lie side by side are one read up to this length.
const READ_BYTES: usize = 64 << 10;
const WINDOW: Window = Window { reads: 128, bytes: 4 << 20 };

/// What it took to compare some vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Picked {
    /// Vectors compared.
    pub compared: u64,
    /// Pages read.
    pub pages: u64,
    /// Reads of the disk.
    pub reads: u64,
}

impl Picked {
    /// Adds what more it took.
    pub(super) fn add(&mut self, more: Self) {
        self.compared += more.compared;
        self.pages += more.pages;
        self.reads += more.reads;
    }
}

/// A row, the number of the extent that it is in, and its place there.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    row: RowId,
    extent: u64,
    at: usize,
}

impl Flat {
    /// Compares the vectors of some rows, in ascending order, with what `scorer` looks for. Rows that are not in the file
    /// are passed over.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn nearest_of(
        &self,
        scorer: &dyn Distances,
        rows: impl IntoIterator<Item = RowId>,
        nearest: &mut Nearest,
    ) -> Result<Picked> {
        self.each_of(rows, |row, vector| nearest.push(row, scorer.distance(vector)))
    }

    /// Hands over the vectors of some rows that are given in ascending order, in any order. Rows that are not in the file
    /// are passed over.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn each_of(
        &self,
        rows: impl IntoIterator<Item = RowId>,
        mut take: impl FnMut(RowId, &[u8]),
    ) -> Result<Picked> {
        let mut wanted = rows.into_iter().filter_map(|row| self.wanted(row)).peekable();
        let (mut picked, mut some) = (Picked::default(), Vec::<Wanted>::new());
        while wanted.peek().is_some() {
            some.clear();
            while let Some(want) = wanted.next_if(|want| {
                some.len() < CHUNK || some.last().is_some_and(|last| last.extent == want.extent)
            }) {
                some.push(want);
            }
            picked.compared += some.len() as u64;
            let (pages, reads) = self.pick(&some, &mut take)?;
            picked.pages += pages;
            picked.reads += reads;
        }
        Ok(picked)
    }

    /// Pages of the file.
    pub fn pages(&self) -> u64 {
        self.layout.file_bytes(self.rows()) / PAGE as u64
    }

    /// Pages that [`Flat::nearest_of`] reads for so many rows, at most.
    pub fn pages_of(&self, rows: u64) -> u64 {
        let extents = self.rows().div_ceil(self.layout.rows as u64).min(rows);
        extents * (self.layout.bytes / PAGE) as u64
    }

    fn wanted(&self, row: RowId) -> Option<Wanted> {
        let (slot, per_extent) = (u64::from(self.rows.slot_of(row)?), self.layout.rows as u64);
        Some(Wanted { row, extent: slot / per_extent, at: (slot % per_extent) as usize })
    }

    /// Reads the vectors of rows in ascending order and hands them over, in any order. Says how many pages and
    /// reads that took.
    fn pick(&self, wanted: &[Wanted], take: &mut impl FnMut(RowId, &[u8])) -> Result<(u64, u64)> {
        let reads = reads(wanted, (READ_BYTES / self.layout.bytes).max(1) as u64);
        let ranges: Vec<ReadRange> = reads.iter().map(|read| self.range(read)).collect();
        self.read_ranges(&ranges, |number, bytes| {
            for together in reads[number].chunk_by(|a, b| a.extent == b.extent) {
                let range = self.extent(together[0].extent);
                let start = (range.offset - ranges[number].offset) as usize;
                let page = self.decode(range.offset, &bytes[start..][..range.bytes])?;
                for want in together {
                    take(want.row, self.vector_at(&page, range.offset, want.at, want.row)?);
                }
            }
            Ok(())
        })?;
        let pages = ranges.iter().map(|range| (range.bytes / PAGE) as u64).sum();
        Ok((pages, ranges.len() as u64))
    }

    /// The range from the extent of the first to that of the last.
    fn range(&self, wanted: &[Wanted]) -> ReadRange {
        let extent = |want: Option<&Wanted>| self.extent(want.map_or(0, |want| want.extent));
        let (offset, end) = (extent(wanted.first()).offset, extent(wanted.last()).end());
        ReadRange { offset, bytes: (end - offset) as usize }
    }

    /// Reads all ranges and hands over each one's number and bytes, in any order.
    fn read_ranges(
        &self,
        ranges: &[ReadRange],
        mut take: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let reader = if ranges.len() < BATCH_MIN { None } else { self.batch_reader()? };
        let Some(mut reader) = reader else {
            let mut buffer = Vec::new();
            for (number, range) in ranges.iter().enumerate() {
                buffer.resize(range.bytes, 0);
                self.file().file().read_at(range.offset, &mut buffer)?;
                take(number, &buffer)?;
            }
            return Ok(());
        };
        let mut waiting = ranges.iter().enumerate().peekable();
        loop {
            while let Some((number, range)) = waiting.next_if(|(_, range)| reader.has_room(**range)) {
                reader.submit(number as u64, 0, *range)?;
            }
            match reader.wait()? {
                Some(done) => take(done.tag as usize, done.bytes)?,
                None => return Ok(()),
            }
        }
    }

    /// A reader of the file, unless it has lost its name since: then it is read through the handle that is open.
    fn batch_reader(&self) -> Result<Option<Box<dyn BatchReader>>> {
        match self.disk.batch_reader(&[self.name()], WINDOW) {
            Ok(reader) => Ok(Some(reader)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The rows of each read: those in extents side by side, so many extents at most.
fn reads(mut wanted: &[Wanted], most: u64) -> Vec<&[Wanted]> {
    let mut reads = Vec::new();
    while let Some(first) = wanted.first() {
        let is_near =
            |pair: &&[Wanted]| pair[1].extent - pair[0].extent <= 1 && pair[1].extent - first.extent < most;
        let len = wanted.windows(2).take_while(is_near).count() + 1;
        let (read, rest) = wanted.split_at(len);
        reads.push(read);
        wanted = rest;
    }
    reads
}
