//! Reading all of a table and comparing its parts with each other.

use crate::blob::check;
use crate::disk::{PAGE, ReadRange};
use crate::error::Result;
use crate::table::block::Entries;
use crate::table::filter::hash;
use crate::table::index::BlockRef;
use crate::table::{DATA, INDEX, Table};

/// What has been seen of a table so far.
#[derive(Default)]
struct Seen {
    entries: u64,
    /// Bytes of the blocks and values that were named.
    bytes: u64,
    /// What the next key must be above: the last key, or the separator behind it.
    floor: Option<Vec<u8>>,
    largest: Vec<u8>,
}

impl Table {
    /// Reads the whole file, past the cache: that every extent is intact, keys ascend, indexes lead to the keys they
    /// should, counts are right, the filter knows all keys, and nothing lies in the file that no index names.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub fn verify(&self) -> Result<()> {
        let mut extents = self.file.extents();
        while extents.next()?.is_some() {}
        let mut seen = Seen::default();
        for i in 0..self.top.len() {
            self.verify_index_block(i, &mut seen)?;
        }
        let (path, summary) = (self.file.file().path(), &self.footer.summary);
        let parts = [Some(self.footer.top), self.footer.filter];
        let parts: u64 = parts.iter().flatten().map(|part| part.bytes as u64).sum();
        let bytes = seen.bytes + parts + 2 * PAGE as u64;
        let wanted = [
            ("entries of a table", seen.entries, summary.entries),
            ("bytes of a table", bytes, summary.bytes),
            ("largest key", (seen.largest == summary.largest).into(), 1),
        ];
        check(path, summary.bytes - PAGE as u64, &wanted)
    }

    fn verify_index_block(&self, i: usize, seen: &mut Seen) -> Result<()> {
        let (path, index) = (self.file.file().path(), self.top.block(i));
        let named = self.entries(INDEX, index, false)?;
        seen.count(index.range);
        let before = seen.entries;
        for number in 0..named.len() {
            let block = BlockRef::from_value(named.entry(number).value, path, index.range.offset)?;
            let entries = self.entries(DATA, block, false)?;
            seen.count(block.range);
            self.verify_block(block, &entries, seen)?;
            let separator = named.key(number);
            let above = seen.largest[..] > *separator;
            check(path, block.range.offset, &[("order of separators", above.into(), 0)])?;
            seen.floor = Some(separator.to_vec());
        }
        let at_top = named.len() > 0 && named.key(named.len() - 1) == self.top.key(i);
        let wanted = [
            ("entries of an index block", seen.entries - before, index.entries),
            ("last key of an index block", at_top.into(), 1),
        ];
        check(path, index.range.offset, &wanted)
    }

    fn verify_block(&self, block: BlockRef, entries: &Entries, seen: &mut Seen) -> Result<()> {
        let (path, offset) = (self.file.file().path(), block.range.offset);
        check(path, offset, &[("entries of a block", entries.len() as u64, block.entries)])?;
        for i in 0..entries.len() {
            let (key, entry) = (entries.key(i), entries.entry(i));
            let ascends = match &seen.floor {
                Some(floor) => key > &floor[..],
                None => key == &self.footer.summary.smallest[..],
            };
            let known = self.filter.as_ref().is_none_or(|filter| filter.may_hold(hash(key)));
            let wanted = [("order of keys", ascends.into(), 1), ("filter of a key", known.into(), 1)];
            check(path, offset, &wanted)?;
            if entry.elsewhere {
                seen.count(self.place(entry, offset)?.range);
                self.value(entry, offset)?;
            }
            seen.floor = Some(key.to_vec());
            seen.largest = key.to_vec();
            seen.entries += 1;
        }
        Ok(())
    }
}

impl Seen {
    fn count(&mut self, range: ReadRange) {
        self.bytes += range.bytes as u64;
    }
}
