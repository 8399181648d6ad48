//! A block: entries in order, each key without the prefix it shares with the key before it.
//!
//! Every sixteenth entry is a **restart**: its key is whole, and its place is listed at the block's end, so that a
//! lookup goes to the right restart by halving and then through sixteen entries at most. Data blocks and index blocks
//! are made alike.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::codec::{Decoder, Encoder};
use crate::error::{Result, StorageError};
use crate::extent::HEADER;

/// Entries from one restart to the next.
const RESTART: usize = 16;
/// The size of a restart's place, and of their number.
const PLACE: usize = size_of::<u16>();

/// A value as its entry has it: the bytes, or, `elsewhere`, where they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) elsewhere: bool,
    pub(super) value: &'a [u8],
    /// Where the value starts in the block.
    start: usize,
}

/// Gathers entries for one block after the other.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    /// Bytes a block has room for.
    room: usize,
    entries: Encoder,
    restarts: Vec<u16>,
    count: usize,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    /// For blocks of `block_bytes` on disk.
    pub(super) fn new(block_bytes: usize) -> Self {
        let (entries, restarts, last_key) = Default::default();
        Self { room: block_bytes - HEADER, entries, restarts, count: 0, last_key }
    }

    /// Entries in the block so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The key pushed last, into this block or the one before it.
    pub(super) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Whether an entry fits into an empty block.
    pub(super) fn fits_alone(&self, key: &[u8], value_len: usize) -> bool {
        entry_bytes(0, key.len(), value_len).saturating_add(2 * PLACE) <= self.room
    }

    /// Whether an entry fits behind those that are there.
    pub(super) fn fits(&self, key: &[u8], value_len: usize) -> bool {
        let shared = self.shared(key);
        let restarts = self.restarts.len() + usize::from(self.restarts_now());
        let entry = entry_bytes(shared, key.len() - shared, value_len);
        self.entries.as_bytes().len() + entry + (restarts + 1) * PLACE <= self.room
    }

    /// Appends an entry that fits; its key is above all before it.
    pub(super) fn push(&mut self, key: &[u8], elsewhere: bool, value: &[u8]) {
        let shared = self.shared(key);
        if self.restarts_now() {
            self.restarts.push(self.entries.as_bytes().len() as u16);
        }
        let rest = &key[shared..];
        self.entries.varint(shared as u64).varint(rest.len() as u64).varint(tag(value.len(), elsewhere));
        self.entries.raw(rest).raw(value);
        self.count += 1;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
    }

    /// The block's bytes; the next block begins.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut block = std::mem::take(&mut self.entries);
        for &place in &self.restarts {
            block.u16(place);
        }
        block.u16(self.restarts.len() as u16);
        self.restarts.clear();
        self.count = 0;
        block.into_bytes()
    }

    fn restarts_now(&self) -> bool {
        self.count.is_multiple_of(RESTART)
    }

    fn shared(&self, key: &[u8]) -> usize {
        if self.restarts_now() { 0 } else { common_prefix(&self.last_key, key) }
    }
}

/// How many bytes two keys have in common at their beginning.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn tag(value_len: usize, elsewhere: bool) -> u64 {
    (value_len as u64) << 1 | u64::from(elsewhere)
}

fn entry_bytes(shared: usize, rest: usize, value_len: usize) -> usize {
    let varint = |value: u64| (64 - value.leading_zeros()).div_ceil(7).max(1) as usize;
    varint(shared as u64) + varint(rest as u64) + varint(tag(value_len, false)) + rest + value_len
}

/// A block that was read. Its checksum was right; what it says is still checked as it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    entries: &'a [u8],
    restarts: &'a [[u8; PLACE]],
    file: &'a Path,
    /// Where the entries start in the file.
    base: u64,
}

impl<'a> Block<'a> {
    /// Takes apart the `bytes` of a block in the extent at `offset` of `file`.
    pub(super) fn new(bytes: &'a [u8], file: &'a Path, offset: u64) -> Result<Self> {
        let base = offset + HEADER as u64;
        let Some((before, count)) = bytes.split_last_chunk() else {
            return Err(StorageError::unexpected_end(file, base, PLACE as u64, base + bytes.len() as u64));
        };
        let count = usize::from(u16::from_le_bytes(*count));
        let Some(end) = before.len().checked_sub(count * PLACE).filter(|_| count > 0) else {
            let at = base + before.len() as u64;
            return Err(StorageError::corrupt(file, at, "number of restarts", count as u64, 1));
        };
        let (entries, restarts) = before.split_at(end);
        Ok(Self { entries, restarts: restarts.as_chunks().0, file, base })
    }

    /// Walks through all entries.
    pub(super) fn walk(&self) -> Walk<'a> {
        self.walk_from(0)
    }

    /// The first entry whose key is not below `key`, and whether it is that very key.
    pub(super) fn seek(&self, key: &[u8]) -> Result<Option<(bool, Entry<'a>)>> {
        let mut walk = self.walk_from(self.restart_before(key)?);
        while let Some(entry) = walk.next()? {
            if walk.key() >= key {
                return Ok(Some((walk.key() == key, entry)));
            }
        }
        Ok(None)
    }

    /// The place of the last restart whose key is not above `key`, or of the first.
    fn restart_before(&self, key: &[u8]) -> Result<usize> {
        let place = |i: usize| usize::from(u16::from_le_bytes(self.restarts[i]));
        let (mut low, mut high) = (0, self.restarts.len());
        while high - low > 1 {
            let middle = low.midpoint(high);
            if self.whole_key(place(middle))? <= key {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(place(low))
    }

    /// The key of the restart at `place`, without copying it.
    fn whole_key(&self, place: usize) -> Result<&'a [u8]> {
        let mut fields = self.walk_from(place).fields;
        let at = fields.offset();
        match fields.varint()? {
            0 => {
                let len = fields.varint()?;
                fields.varint()?;
                fields.raw(usize::try_from(len).unwrap_or(usize::MAX))
            }
            shared => Err(fields.wrong(at, "shared prefix of a restart", shared, 0)),
        }
    }

    fn walk_from(&self, place: usize) -> Walk<'a> {
        // A place behind the entries is the end of the walk; whoever expects an entry there finds none.
        let rest = self.entries.get(place..).unwrap_or_default();
        let fields = Decoder::new(rest, self.file, self.base + place as u64);
        Walk { fields, base: self.base, key: Vec::new() }
    }
}

/// Entries of a block, one after the other.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    fields: Decoder<'a>,
    base: u64,
    key: Vec<u8>,
}

impl<'a> Walk<'a> {
    /// The key of the entry that came last.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The next entry, or `None` at the end of the block.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'a>>> {
        if self.fields.remaining() == 0 {
            return Ok(None);
        }
        let at = self.fields.offset();
        let (shared, rest, tag) = (self.fields.varint()?, self.fields.varint()?, self.fields.varint()?);
        if shared > self.key.len() as u64 {
            return Err(self.fields.wrong(at, "shared prefix of a key", shared, self.key.len() as u64));
        }
        self.key.truncate(shared as usize);
        self.key.extend_from_slice(self.fields.raw(usize::try_from(rest).unwrap_or(usize::MAX))?);
        let start = (self.fields.offset() - self.base) as usize;
        let value = self.fields.raw(usize::try_from(tag >> 1).unwrap_or(usize::MAX))?;
        Ok(Some(Entry { elsewhere: tag & 1 == 1, value, start }))
    }
}

/// A block whose keys are laid out whole, to be gone through in both directions.
#[derive(Debug)]
pub(super) struct Entries {
    block: Arc<[u8]>,
    keys: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    key_end: usize,
    value: Range<usize>,
    elsewhere: bool,
}

impl Entries {
    /// Decodes a block of the extent at `offset` of `file`.
    pub(super) fn decode(bytes: Arc<[u8]>, file: &Path, offset: u64) -> Result<Self> {
        let mut walk = Block::new(&bytes, file, offset)?.walk();
        let (mut keys, mut places) = (Vec::new(), Vec::new());
        while let Some(Entry { elsewhere, value, start }) = walk.next()? {
            keys.extend_from_slice(walk.key());
            places.push(Place { key_end: keys.len(), value: start..start + value.len(), elsewhere });
        }
        Ok(Self { block: bytes, keys, places })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The key of entry `i`.
    pub(super) fn key(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.places[i - 1].key_end };
        &self.keys[start..self.places[i].key_end]
    }

    /// The value of entry `i`.
    pub(super) fn entry(&self, i: usize) -> Entry<'_> {
        let Place { value, elsewhere, .. } = &self.places[i];
        Entry { elsewhere: *elsewhere, value: &self.block[value.clone()], start: value.start }
    }

    /// How many entries come before the first one for which `before` of its key is no longer true.
    pub(super) fn position(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if before(self.key(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = (0..count).map(|i| format!("{:b}", i * 37).into_bytes()).collect();
        keys.sort();
        keys
    }

    fn block(keys: &[Vec<u8>]) -> Vec<u8> {
        let mut builder = BlockBuilder::new(4096);
        for (i, key) in keys.iter().enumerate() {
            assert!(builder.fits(key, 3));
            builder.push(key, i % 3 == 0, &[i as u8; 3]);
        }
        builder.finish()
    }

    #[test]
    fn seeking_agrees_with_a_linear_search() {
        for count in [1, 15, 16, 17, 100] {
            let keys = keys(count);
            let bytes = block(&keys);
            let block = Block::new(&bytes, Path::new("f"), 4096).unwrap();
            let entries = Entries::decode(bytes.clone().into(), Path::new("f"), 4096).unwrap();
            let mut targets: Vec<Vec<u8>> =
                keys.iter().flat_map(|k| [k.clone(), [k, &b"!"[..]].concat()]).collect();
            targets.extend([b"".to_vec(), b"~".to_vec()]);
            for target in targets {
                let expected = keys.iter().position(|key| *key >= target);
                let found = block.seek(&target).unwrap();
                assert_eq!(found.map(|(equal, _)| equal), expected.map(|at| keys[at] == target));
                assert_eq!(
                    found.map(|(_, entry)| entry.value.to_vec()),
                    expected.map(|at| vec![at as u8; 3])
                );
                assert_eq!(entries.position(|key| key < &target[..]), expected.unwrap_or(count));
            }
            for (i, key) in keys.iter().enumerate() {
                let entry = entries.entry(i);
                assert_eq!(
                    (entries.key(i), entry.value, entry.elsewhere),
                    (&key[..], &[i as u8; 3][..], i % 3 == 0)
                );
            }
        }
    }

    #[test]
    fn a_block_is_never_larger_than_its_room() {
        let mut builder = BlockBuilder::new(4096);
        for len in 0..4096 {
            let key = vec![1; len % 700];
            if builder.fits_alone(&key, len) {
                assert!(builder.fits(&key, len));
                builder.push(&key, false, &vec![0; len]);
                let bytes = builder.finish();
                assert!(bytes.len() <= 4096 - HEADER, "{len}");
            }
        }
        let mut count = 0;
        while builder.fits(&[count as u8; 9], 5) {
            builder.push(&[count as u8; 9], false, &[0; 5]);
            count += 1;
        }
        let bytes = builder.finish();
        assert!((4000..=4096 - HEADER).contains(&bytes.len()) && count > 200);
    }

    #[test]
    fn bad_bytes_are_an_error_or_entries() {
        let good = block(&keys(40));
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                for bad in [&bad[..], &bad[..at]] {
                    let Ok(block) = Block::new(bad, Path::new("f"), 0) else { continue };
                    let _ = block.seek(b"1010");
                    let _ = Entries::decode(bad.into(), Path::new("f"), 0);
                }
            }
        }
    }
}
