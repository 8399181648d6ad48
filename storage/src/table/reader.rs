//! An open table: lookups of one key or many, estimates.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use crate::blob::{check, read_blob};
use crate::cache::BlockCache;
use crate::disk::Disk;
use crate::error::Result;
use crate::sealed::{ExtentFile, FileHeader};
use crate::table::block::Block;
use crate::table::filter::{Filter, hash};
use crate::table::footer::Footer;
use crate::table::index::{BlockRef, TopIndex};
use crate::table::iter::{TableIter, is_empty_range};
use crate::table::{DATA, INDEX, TOP, TableSummary};

/// A table, open for reading by any number of threads.
///
/// RAM holds the top index and the filter; blocks are kept in the cache. The file may be removed while the table is
/// open, as long as its name is never used again.
#[derive(Debug)]
pub struct Table {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) file: ExtentFile,
    pub(super) cache: Arc<BlockCache>,
    pub(super) footer: Footer,
    pub(super) top: TopIndex,
    pub(super) filter: Option<Filter>,
}

impl Table {
    /// The file's path, for messages.
    pub fn path(&self) -> &Path {
        self.file.file().path()
    }

    /// Opens the table in the file `name`, which must have the header `expected`.
    ///
    /// # Errors
    /// If it is missing, was never finished, is another file than expected, or is damaged in its footer, top index or
    /// filter. Blocks are checked when they are read.
    pub fn open(
        disk: &Arc<dyn Disk>,
        name: &str,
        expected: FileHeader,
        cache: Arc<BlockCache>,
    ) -> Result<Self> {
        let file = ExtentFile::open(&**disk, name, expected.kind)?;
        let path = file.file().path();
        check(path, 0, &[("file id", file.file_id(), expected.file_id)])?;
        let footer = Footer::read(&file)?;
        let top = read_blob(&file, TOP, footer.top)?;
        let top = TopIndex::decode(&top, path, footer.top.offset)?;
        check(path, footer.top.offset, &[("entries of a table", top.entries(), footer.summary.entries)])?;
        let filter = footer.filter.map(|range| Filter::read(&file, range)).transpose()?;
        Ok(Self { disk: Arc::clone(disk), file, cache, footer, top, filter })
    }

    /// What the table holds.
    pub fn summary(&self) -> &TableSummary {
        &self.footer.summary
    }

    /// The identity of the file, by which the cache knows its blocks.
    pub fn file_id(&self) -> u64 {
        self.file.file_id()
    }

    /// RAM the table holds beside what is in the cache, in bytes.
    pub fn ram_bytes(&self) -> usize {
        let keys = self.footer.summary.smallest.len() + self.footer.summary.largest.len();
        size_of::<Self>() + keys + self.top.ram_bytes() + self.filter.as_ref().map_or(0, Filter::ram_bytes)
    }

    /// The value of a key. Reads no block if the filter knows that there is none, two at most otherwise, and the value
    /// if it is not in the block.
    ///
    /// # Errors
    /// If reading fails or what is read is damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(index) = self.index_block(key) else { return Ok(None) };
        let Some(block) = self.seek_index(&self.load(INDEX, index)?, index, key)? else { return Ok(None) };
        let offset = block.range.offset;
        let bytes = self.load(DATA, block)?;
        match Block::new(&bytes, self.file.file().path(), offset)?.seek(key)? {
            Some((true, entry)) => self.value(entry, offset).map(Some),
            _ => Ok(None),
        }
    }

    /// The values of many keys, in the order of the keys, which may be any. Reads each block that is needed once:
    /// first all index blocks, then all data blocks, then all values that are not in the blocks, each time in one
    /// batch. Sorted keys are looked up fastest.
    ///
    /// Memory: all blocks that are needed, and the answer.
    ///
    /// # Errors
    /// If reading fails or anything that is read is damaged.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
        let path = self.file.file().path();
        let mut wanted: Vec<(usize, BlockRef)> = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            wanted.extend(self.index_block(key.as_ref()).map(|index| (i, index)));
        }
        let indexes = self.load_many(INDEX, wanted.iter().map(|(_, index)| *index))?;
        let mut found = Vec::new();
        for (i, index) in wanted {
            let block = self.seek_index(&indexes[&index.range.offset], index, keys[i].as_ref())?;
            found.extend(block.map(|block| (i, block)));
        }
        let blocks = self.load_many(DATA, found.iter().map(|(_, block)| *block))?;
        let mut values: Vec<Option<Vec<u8>>> = vec![None; keys.len()];
        let (mut places, mut owners) = (Vec::new(), Vec::new());
        for (i, block) in found {
            let offset = block.range.offset;
            match Block::new(&blocks[&offset], path, offset)?.seek(keys[i].as_ref())? {
                Some((true, entry)) if entry.elsewhere => {
                    places.push(self.place(entry, offset)?);
                    owners.push(i);
                }
                Some((true, entry)) => values[i] = Some(entry.value.to_vec()),
                _ => {}
            }
        }
        for (i, value) in owners.into_iter().zip(self.read_values(&places)?) {
            values[i] = Some(value);
        }
        Ok(values)
    }

    /// The entries between two keys, in ascending order.
    pub fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> TableIter<'_> {
        TableIter::forward(self, from, to, true)
    }

    /// The entries between two keys, in descending order: from `to` down to `from`.
    pub fn range_back(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> TableIter<'_> {
        TableIter::backward(self, from, to)
    }

    /// All entries in ascending order, past the cache: for merges, which read everything once.
    pub fn scan(&self) -> TableIter<'_> {
        TableIter::forward(self, Bound::Unbounded, Bound::Unbounded, false)
    }

    /// How many entries lie between two keys at most, from the indexes alone: the entries of all blocks that the range
    /// touches. That is too many by less than the entries of two blocks, and never too few.
    ///
    /// # Errors
    /// If reading one of the two index blocks fails, or it is damaged.
    pub fn count_estimate(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<u64> {
        let below_all = match to {
            Bound::Included(key) => key < &self.footer.summary.smallest[..],
            Bound::Excluded(key) => key <= &self.footer.summary.smallest[..],
            Bound::Unbounded => false,
        };
        if below_all || is_empty_range(from, to) {
            return Ok(0);
        }
        let start = match from {
            Bound::Included(key) | Bound::Excluded(key) => self.block_ranks(key)?.0,
            Bound::Unbounded => 0,
        };
        let end = match to {
            Bound::Included(key) | Bound::Excluded(key) => self.block_ranks(key)?.1,
            Bound::Unbounded => self.footer.summary.entries,
        };
        Ok(end.saturating_sub(start))
    }

    /// The index block in which `key` would be named, unless it is certain that it is not there.
    fn index_block(&self, key: &[u8]) -> Option<BlockRef> {
        let index = self.top.find(key).map(|i| self.top.block(i));
        index.filter(|_| self.filter.as_ref().is_none_or(|filter| filter.may_hold(hash(key))))
    }

    /// The data block in which `key` would be, by the contents of an index block.
    fn seek_index(&self, bytes: &[u8], index: BlockRef, key: &[u8]) -> Result<Option<BlockRef>> {
        let (path, offset) = (self.file.file().path(), index.range.offset);
        let found = Block::new(bytes, path, offset)?.seek(key)?;
        found.map(|(_, entry)| BlockRef::from_value(entry.value, path, offset)).transpose()
    }

    /// How many entries come before the block in which `key` would be, and how many before the block after it.
    fn block_ranks(&self, key: &[u8]) -> Result<(u64, u64)> {
        let all = self.footer.summary.entries;
        let Some(i) = self.top.find(key) else { return Ok((all, all)) };
        let (index, path) = (self.top.block(i), self.file.file().path());
        let named = self.entries(INDEX, index, true)?;
        let mut before = self.top.before(i);
        for block in 0..named.len() {
            let entries = BlockRef::from_value(named.entry(block).value, path, index.range.offset)?.entries;
            let after = before.saturating_add(entries);
            if named.key(block) >= key {
                return Ok((before, after));
            }
            before = after;
        }
        Ok((before, before))
    }
}
