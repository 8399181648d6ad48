//! What a search looks at: the index, what was added to it since, and where its vectors lie.

use nearline_storage::{BlockCache, ExtentFile, ReadRange, StorageError};

use super::block::Block;
use super::job::ROWS;
use super::open::{Inner, RowFile};
use super::options::Filter;
use crate::error::Result;
use crate::live::{Delta, RowFiles, Widen};
use crate::rows::RowPage;
use crate::vector::RowId;

/// All that the jobs of a search read and do not change.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) index: &'a Inner,
    pub(super) filter: Option<Filter<'a>>,
    pub(super) rows: RowsAt<'a>,
    /// Entries that were added to lists.
    pub(super) delta: Option<&'a Delta>,
    /// By which factors more lists are looked at than the calibration says.
    pub(super) widen: Widen,
}

impl Context<'_> {
    /// Vectors in lists.
    pub(super) fn vectors(&self) -> u64 {
        self.index.info.rows + self.delta.map_or(0, Delta::rows)
    }
}

/// Where raw vectors are read from.
#[derive(Clone, Copy)]
pub(super) enum RowsAt<'a> {
    /// Nowhere: lists hold all there is.
    Nowhere,
    /// In the index's own file, at slots.
    Own(&'a RowFile),
    /// In the files of whoever keeps the rows.
    Outside(&'a RowFiles),
}

impl RowsAt<'_> {
    pub(super) fn are_there(self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// Whether vectors are found by the slots of entries; otherwise by their rows.
    pub(super) fn have_slots(self) -> bool {
        !matches!(self, Self::Outside(_))
    }

    /// The page that holds the vector of a slot or row: the number of its file among those of the reader, and the
    /// vector's place in the page.
    pub(super) fn place(self, key: u32) -> Option<(usize, ReadRange, usize)> {
        match self {
            Self::Nowhere => None,
            Self::Own(rows) => {
                let (range, at) = rows.layout.place(key, rows.total);
                Some((ROWS, range, at))
            }
            Self::Outside(files) => files.place_of(RowId(key)),
        }
    }

    /// Checks a page that was read.
    pub(super) fn decode(self, file: usize, offset: u64, bytes: &[u8]) -> Result<RowPage<'_>> {
        match self {
            Self::Nowhere => Ok(RowPage::empty()),
            Self::Own(rows) => {
                let (key, path) = (rows.file.key(offset), rows.file.file().path());
                Ok(RowPage::decode(bytes, key, path, rows.layout, rows.total)?)
            }
            Self::Outside(files) => files.decode(file, offset, bytes),
        }
    }

    /// Checks that the vector found in a page is that of a candidate, where that is known by its row.
    pub(super) fn check_row(self, file: usize, offset: u64, row: u32, key: u32) -> Result<()> {
        match self.file(file).filter(|_| !self.have_slots() && row != key) {
            Some(file) => {
                let path = file.file().path();
                Err(StorageError::corrupt(path, offset, "row of a vector", row.into(), key.into()).into())
            }
            None => Ok(()),
        }
    }

    fn file(&self, file: usize) -> Option<&ExtentFile> {
        match self {
            Self::Nowhere => None,
            Self::Own(rows) => Some(&rows.file),
            Self::Outside(files) => files.file(file),
        }
    }

    /// What the cache has of a page.
    pub(super) fn find(self, cache: Option<&BlockCache>, file: usize, offset: u64) -> Option<Block> {
        Block::find(cache, self.file(file)?, offset)
    }

    /// Keeps a page, which passed its checks.
    pub(super) fn keep(self, block: &Block, cache: Option<&BlockCache>, file: usize, offset: u64) {
        if let Some(file) = self.file(file) {
            block.keep(cache, file, offset);
        }
    }
}
