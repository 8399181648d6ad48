//! Where blocks lie: what an index block says of one, and the top index, which is held in RAM.

use std::path::Path;

use crate::codec::{Decoder, Encoder};
use crate::disk::{PAGE, ReadRange};
use crate::error::Result;
use crate::extent::HEADER;
use crate::table::block::common_prefix;
use crate::table::{MAX_BLOCK, MAX_KEY};

/// A block, and how many entries it or, for an index block, the blocks it names have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockRef {
    pub(super) range: ReadRange,
    pub(super) entries: u64,
}

impl BlockRef {
    /// As the value of an entry of an index block, or behind a key of the top index.
    pub(super) fn encode(&self, out: &mut Encoder) {
        let (page, pages) = (self.range.offset / PAGE as u64, self.range.bytes / PAGE);
        out.varint(page).varint(pages as u64).varint(self.entries);
    }

    pub(super) fn decode(fields: &mut Decoder<'_>) -> Result<Self> {
        let at = fields.offset();
        let (page, pages, entries) = (fields.varint()?, fields.varint()?, fields.varint()?);
        let largest = (MAX_BLOCK / PAGE) as u64;
        if !(1..=largest).contains(&pages) {
            return Err(fields.wrong(at, "pages of a block", pages, largest));
        }
        if entries == 0 {
            return Err(fields.wrong(at, "entries of a block", 0, 1));
        }
        let offset = offset_of(page, at, fields)?;
        let range = ReadRange { offset, bytes: pages as usize * PAGE };
        Ok(Self { range, entries })
    }

    /// The value of an entry of an index block in the extent at `offset` of `file`.
    pub(super) fn from_value(value: &[u8], file: &Path, offset: u64) -> Result<Self> {
        let mut fields = Decoder::new(value, file, offset + HEADER as u64);
        let block = Self::decode(&mut fields)?;
        fields.finish()?;
        Ok(block)
    }
}

/// The offset of a page whose number was just decoded.
pub(super) fn offset_of(page: u64, at: u64, fields: &Decoder<'_>) -> Result<u64> {
    let largest = u64::MAX / PAGE as u64;
    page.checked_mul(PAGE as u64).ok_or_else(|| fields.wrong(at, "page number", page, largest))
}

/// A key that is not below `last` and below `next`, as short as is easily found.
pub(super) fn separator<'a>(last: &'a [u8], next: &'a [u8]) -> &'a [u8] {
    let len = common_prefix(last, next) + 1;
    if len < last.len() && len < next.len() { &next[..len] } else { last }
}

/// All index blocks, each with a key that is not below its entries and below all that follow.
#[derive(Debug)]
pub(super) struct TopIndex {
    keys: Vec<u8>,
    blocks: Vec<TopBlock>,
    entries: u64,
}

#[derive(Debug)]
struct TopBlock {
    key_end: usize,
    block: BlockRef,
    /// Entries of the table before this block's.
    before: u64,
}

impl TopIndex {
    /// Appends an index block to the top index that is written.
    pub(super) fn encode(key: &[u8], block: &BlockRef, out: &mut Encoder) {
        out.varint(key.len() as u64).raw(key);
        block.encode(out);
    }

    /// Decodes the `bytes` of a top index that starts at `offset` of `file`.
    pub(super) fn decode(bytes: &[u8], file: &Path, offset: u64) -> Result<Self> {
        let mut fields = Decoder::new(bytes, file, offset + HEADER as u64);
        let mut top = Self { keys: Vec::new(), blocks: Vec::new(), entries: 0 };
        while fields.remaining() > 0 {
            let at = fields.offset();
            let len = fields.varint()?;
            if len > MAX_KEY as u64 {
                return Err(fields.wrong(at, "length of a key", len, MAX_KEY as u64));
            }
            let key = fields.raw(len as usize)?;
            let number = top.len();
            if number > 0 && key <= top.key(number - 1) {
                let (found, expected) = (number as u64, number as u64 - 1);
                return Err(fields.wrong(at, "order of keys in the top index", found, expected));
            }
            top.keys.extend_from_slice(key);
            let block = BlockRef::decode(&mut fields)?;
            top.blocks.push(TopBlock { key_end: top.keys.len(), block, before: top.entries });
            let Some(entries) = top.entries.checked_add(block.entries) else {
                return Err(fields.wrong(at, "entries of a block", block.entries, u64::MAX - top.entries));
            };
            top.entries = entries;
        }
        top.keys.shrink_to_fit();
        top.blocks.shrink_to_fit();
        Ok(top)
    }

    /// How many index blocks there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The entries of all blocks.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// The key of index block `i`.
    pub(super) fn key(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.blocks[i - 1].key_end };
        &self.keys[start..self.blocks[i].key_end]
    }

    /// Index block `i`.
    pub(super) fn block(&self, i: usize) -> BlockRef {
        self.blocks[i].block
    }

    /// Entries of the table before those of index block `i`.
    pub(super) fn before(&self, i: usize) -> u64 {
        self.blocks[i].before
    }

    /// The index block that `key` is in, if it is anywhere.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low < self.len()).then_some(low)
    }

    /// Memory in bytes.
    pub(super) fn ram_bytes(&self) -> usize {
        self.keys.capacity() + self.blocks.capacity() * size_of::<TopBlock>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_separates() {
        let keys: [&[u8]; 9] = [b"", b"a", b"ab", b"abcd", b"abd", b"abdefg", b"b", b"ba", b"zzzz"];
        for (i, last) in keys.iter().enumerate() {
            for next in &keys[i + 1..] {
                let key = separator(last, next);
                assert!(*last <= key && key < *next && key.len() <= last.len(), "{last:?} {next:?}: {key:?}");
            }
        }
        assert_eq!(separator(b"abcd", b"abefgh"), b"abe");
    }
}
