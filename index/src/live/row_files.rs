//! The vectors of an index's rows, in files that are not the index's own.

use std::ops::RangeInclusive;
use std::sync::Arc;

use nearline_storage::{BatchFiles, BatchReader, Disk, ExtentFile, ReadRange, Window};

use crate::error::Result;
use crate::flat::Flat;
use crate::rows::RowPage;
use crate::vector::RowId;

/// Files of vectors, each with the rows of a range of its own.
#[derive(Debug)]
pub struct RowFiles {
    batch: Arc<dyn BatchFiles>,
    files: Vec<(RangeInclusive<RowId>, Arc<Flat>)>,
}

impl RowFiles {
    /// Files on a disk, with the range in which all of the rows of each lie. The ranges ascend and do not overlap. The files
    /// may be removed later: they stay open.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn new(disk: &dyn Disk, files: Vec<(RangeInclusive<RowId>, Arc<Flat>)>) -> Result<Self> {
        debug_assert!(files.windows(2).all(|pair| pair[0].0.end() < pair[1].0.start()));
        let names: Vec<&str> = files.iter().map(|(_, flat)| flat.name()).collect();
        Ok(Self { batch: disk.open_batch(&names)?, files })
    }

    /// Whether these are its files.
    pub fn are(&self, files: &[(RangeInclusive<RowId>, Arc<Flat>)]) -> bool {
        self.files.len() == files.len()
            && self.files.iter().zip(files).all(|(ours, theirs)| Arc::ptr_eq(&ours.1, &theirs.1))
    }

    /// The page that holds a row: the number of its file, and the row's place in the page.
    pub(crate) fn place_of(&self, row: RowId) -> Option<(usize, ReadRange, usize)> {
        let file = self.files.partition_point(|(rows, _)| *rows.end() < row);
        let (range, at) = self.files.get(file)?.1.place_of(row)?;
        Some((file, range, at))
    }

    /// Checks a page of a file.
    pub(crate) fn decode<'a>(&self, file: usize, offset: u64, bytes: &'a [u8]) -> Result<RowPage<'a>> {
        match self.files.get(file) {
            Some((_, flat)) => flat.decode(offset, bytes),
            None => Ok(RowPage::empty()),
        }
    }

    pub(crate) fn file(&self, file: usize) -> Option<&ExtentFile> {
        Some(self.files.get(file)?.1.file())
    }

    /// A reader of these files.
    pub(crate) fn reader(&self, window: Window) -> Box<dyn BatchReader> {
        self.batch.reader(window)
    }

    /// Hands over every row and its vector, in order.
    pub(crate) fn for_each(&self, mut keep: impl FnMut(RowId, &[u8]) -> Result<()>) -> Result<()> {
        self.files.iter().try_for_each(|(_, flat)| flat.for_each(&mut keep))
    }

    /// Hands over the vectors of some rows, in no order: the place of each among `rows`, and the vector. Each page is read
    /// once. Rows that are nowhere are passed over.
    ///
    /// This reads by way of the page cache: what is fetched was often written not long ago.
    pub(crate) fn fetch(&self, rows: &[u32], mut keep: impl FnMut(usize, &[u8])) -> Result<()> {
        let place = |(number, &row): (usize, &u32)| {
            let (file, range, at) = self.place_of(RowId(row))?;
            Some((file, range.offset, range.bytes, at, number))
        };
        let mut places: Vec<_> = rows.iter().enumerate().filter_map(place).collect();
        places.sort_unstable();
        let pages = || places.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1));
        for page in pages() {
            let (file, offset, bytes, ..) = page[0];
            self.files[file].1.file().file().will_need(ReadRange { offset, bytes });
        }
        let mut buffer = Vec::new();
        for page in pages() {
            let (file, offset, bytes, ..) = page[0];
            let flat = &self.files[file].1;
            buffer.resize(bytes, 0);
            flat.file().file().read_at(offset, &mut buffer)?;
            let decoded = flat.decode(offset, &buffer)?;
            for &(_, _, _, at, number) in page {
                keep(number, flat.vector_at(&decoded, offset, at, RowId(rows[number]))?);
            }
        }
        Ok(())
    }
}
