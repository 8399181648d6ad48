//! Going through a table in order, forward or backward.

use std::ops::Bound;

use crate::error::Result;
use crate::table::block::Entries;
use crate::table::index::BlockRef;
use crate::table::{DATA, INDEX, Pair, Table};

/// The entries of a table between two keys, each read when it is asked for. After an error it ends.
///
/// Memory: one index block and one data block, decoded.
#[derive(Debug)]
pub struct TableIter<'a> {
    table: &'a Table,
    backward: bool,
    /// Whether blocks are taken from the cache and kept in it.
    cached: bool,
    /// Where to begin; taken when that is done.
    start: Option<Bound<Vec<u8>>>,
    end: Bound<Vec<u8>>,
    at: Option<Position>,
}

/// Between two entries of a table.
#[derive(Debug)]
struct Position {
    /// The number of the index block among those of the top index.
    top: usize,
    index: Entries,
    /// The number of the data block among those of the index block.
    block: usize,
    block_offset: u64,
    entries: Entries,
    /// How many entries of the data block come before.
    gap: usize,
}

impl<'a> TableIter<'a> {
    pub(super) fn forward(table: &'a Table, from: Bound<&[u8]>, to: Bound<&[u8]>, cached: bool) -> Self {
        let (start, end) = (Some(from.map(<[u8]>::to_vec)), to.map(<[u8]>::to_vec));
        Self { table, backward: false, cached, start, end, at: None }
    }

    pub(super) fn backward(table: &'a Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Self {
        let (start, end) = (Some(to.map(<[u8]>::to_vec)), from.map(<[u8]>::to_vec));
        Self { table, backward: true, cached: true, start, end, at: None }
    }

    fn step(&mut self) -> Result<Option<Pair>> {
        if let Some(start) = self.start.take() {
            self.at = self.seek(&start)?;
        }
        let Some(entry) = self.entry()? else { return Ok(None) };
        let Some(at) = &mut self.at else { return Ok(None) };
        let key = at.entries.key(entry);
        let inside = match &self.end {
            Bound::Unbounded => true,
            Bound::Included(end) => key == &end[..] || (key < &end[..]) != self.backward,
            Bound::Excluded(end) => key != &end[..] && (key < &end[..]) != self.backward,
        };
        if !inside {
            return Ok(None);
        }
        at.gap = if self.backward { entry } else { entry + 1 };
        let value = self.table.value(at.entries.entry(entry), at.block_offset)?;
        Ok(Some((key.to_vec(), value)))
    }

    /// The number of the next entry in its block, turning to the next block if need be.
    fn entry(&mut self) -> Result<Option<usize>> {
        loop {
            let Some(at) = &self.at else { return Ok(None) };
            let next = if self.backward { at.gap.checked_sub(1) } else { Some(at.gap) };
            if let Some(next) = next.filter(|next| *next < at.entries.len()) {
                return Ok(Some(next));
            }
            self.at = self.turn()?;
        }
    }

    /// The position in front of the first entry within `start`, or one that comes to it by turning.
    fn seek(&self, start: &Bound<Vec<u8>>) -> Result<Option<Position>> {
        let (Bound::Included(key) | Bound::Excluded(key)) = start else { return self.seek_end() };
        let Some(top) = self.table.top.find(key) else {
            return if self.backward { self.seek_end() } else { Ok(None) };
        };
        let index = self.index(top)?;
        let block = index.position(|separator| separator < &key[..]);
        // The keys of an index block end with that of the top index, which is not below.
        let mut at = self.open(top, index, block)?;
        // What is equal to the key stands before the gap if going forward leaves it out, or backward takes it.
        let equal_before = matches!(start, Bound::Included(_)) == self.backward;
        if let Some(at) = &mut at {
            at.gap = at.entries.position(|found| found < &key[..] || (equal_before && found == &key[..]));
        }
        Ok(at)
    }

    /// The position before all entries, or behind them when going backward.
    fn seek_end(&self) -> Result<Option<Position>> {
        let top = if self.backward { self.table.top.len().checked_sub(1) } else { Some(0) };
        match top.filter(|top| *top < self.table.top.len()) {
            Some(top) => self.enter(top),
            None => Ok(None),
        }
    }

    /// The position in the block after the present one.
    fn turn(&mut self) -> Result<Option<Position>> {
        let Some(Position { top, index, block, .. }) = self.at.take() else { return Ok(None) };
        let last = self.table.top.len() - 1;
        match self.backward {
            true if block > 0 => self.open(top, index, block - 1),
            true if top > 0 => self.enter(top - 1),
            false if block + 1 < index.len() => self.open(top, index, block + 1),
            false if top < last => self.enter(top + 1),
            _ => Ok(None),
        }
    }

    /// The position at the near end of an index block.
    fn enter(&self, top: usize) -> Result<Option<Position>> {
        let index = self.index(top)?;
        let block = if self.backward { index.len().saturating_sub(1) } else { 0 };
        self.open(top, index, block)
    }

    fn index(&self, top: usize) -> Result<Entries> {
        self.table.entries(INDEX, self.table.top.block(top), self.cached)
    }

    /// The position at the near end of a data block, or `None` if the index block does not name it.
    fn open(&self, top: usize, index: Entries, block: usize) -> Result<Option<Position>> {
        if block >= index.len() {
            return Ok(None);
        }
        let (path, offset) = (self.table.file.file().path(), self.table.top.block(top).range.offset);
        let data = BlockRef::from_value(index.entry(block).value, path, offset)?;
        let entries = self.table.entries(DATA, data, self.cached)?;
        let gap = if self.backward { entries.len() } else { 0 };
        Ok(Some(Position { top, index, block, block_offset: data.range.offset, entries, gap }))
    }
}

impl Iterator for TableIter<'_> {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step();
        if !matches!(next, Ok(Some(_))) {
            (self.start, self.at) = (None, None);
        }
        next.transpose()
    }
}

/// Whether no key can lie between two bounds.
pub(super) fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
    }
}
