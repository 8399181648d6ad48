//! Rows of sets of keys that were put together before: the file they come from never changes.
//!
//! They lie in the cache of blocks, as if they were bytes of the file far behind its end, and cost of its budget.

use std::hash::{DefaultHasher, Hash, Hasher};

use nearline_storage::BlockCache;
use roaring::RoaringBitmap;

use crate::field::plan::KeySet;

/// No file is as long.
const BEHIND: u64 = 1 << 63;

/// What is kept of a set of keys in a file.
pub(super) struct Kept<'a> {
    cache: &'a BlockCache,
    file_id: u64,
    place: u64,
    key: Vec<u8>,
}

impl<'a> Kept<'a> {
    pub(super) fn new(cache: &'a BlockCache, file_id: u64, set: &KeySet) -> Self {
        let mut key = Vec::new();
        set.encode(&mut key);
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self { cache, file_id, place: BEHIND | hasher.finish(), key }
    }

    /// The rows, if they are kept. Other sets may have the same place.
    pub(super) fn rows(&self) -> Option<RoaringBitmap> {
        let bytes = self.cache.get(self.file_id, self.place)?;
        let rows = bytes.strip_prefix(&self.length()[..])?.strip_prefix(&self.key[..])?;
        RoaringBitmap::deserialize_from(rows).ok()
    }

    /// Keeps the rows, as long as there is room.
    pub(super) fn keep(&self, rows: &RoaringBitmap) {
        let mut bytes = [&self.length()[..], &self.key].concat();
        if rows.serialize_into(&mut bytes).is_ok() {
            self.cache.insert(self.file_id, self.place, bytes.into());
        }
    }

    fn length(&self) -> [u8; 8] {
        (self.key.len() as u64).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_set_and_of_the_file() {
        let cache = BlockCache::new(1 << 20);
        let key = |key: &[u8]| KeySet::Key(key.to_vec());
        let sets = [
            key(b"ab"),
            KeySet::All,
            KeySet::Union(vec![key(b"a"), key(b"b")]),
            KeySet::Union(vec![key(b"ab")]),
            KeySet::Intersection(vec![key(b"a"), key(b"b")]),
        ];
        for (number, set) in (0..).zip(&sets) {
            assert_eq!(Kept::new(&cache, 1, set).rows(), None);
            Kept::new(&cache, 1, set).keep(&RoaringBitmap::from([number, 70_000]));
        }
        for (number, set) in (0..).zip(&sets) {
            assert_eq!(Kept::new(&cache, 1, set).rows(), Some([number, 70_000].into()));
            assert_eq!(Kept::new(&cache, 2, set).rows(), None);
        }
        // Another set at the same place.
        let mut other = Kept::new(&cache, 1, &sets[0]);
        other.place = Kept::new(&cache, 1, &sets[1]).place;
        assert_eq!(other.rows(), None);
    }
}
