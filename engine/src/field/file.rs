//! An open file of a field index: from keys to rows.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use nearline_index::RowId;
use nearline_storage::{BlockCache, Disk, FileHeader, PAGE, StorageError, Table};
use roaring::RoaringBitmap;

use crate::field::index::{FieldFileInfo, FieldIndexInfo, field_name};
use crate::field::kept::Kept;
use crate::field::key::{Mark, keys_of, mark_key, tag};
use crate::field::plan::{KeyQuery, KeySet};
use crate::field::rows::{RowSet, add_rows};
use crate::path::values_at;
use crate::segment::file_id;
use crate::value::Payload;

/// The key of all rows of the segment, with the field or without. Keys of values begin with a tag.
pub(crate) const ALL_ROWS: &[u8] = b"";
/// Pages of keys and rows from which on what comes of them is kept.
const KEPT_PAGES_MIN: u64 = 8;
/// Keys looked up together.
const CHUNK: usize = 256;
/// The part of a segment that no other file of its number can be: field files have numbers of their own.
const PART: usize = 127;

pub(crate) fn field_header(store_id: u64, number: u64) -> FileHeader {
    FileHeader { kind: *b"FIDX", file_id: file_id(store_id, number, PART) }
}

/// The file of a segment for one field index.
///
/// It is derived from the payloads, so a damaged one does not keep a collection from opening: whoever needs it gets the
/// error.
#[derive(Debug)]
pub(crate) struct FieldFile {
    pub(crate) info: FieldFileInfo,
    disk: Arc<dyn Disk>,
    store_id: u64,
    cache: Arc<BlockCache>,
    /// Empty as long as it cannot be opened.
    table: OnceLock<Table>,
}

impl FieldFile {
    /// The file, opened if it can be.
    pub(crate) fn new(
        disk: &Arc<dyn Disk>,
        store_id: u64,
        info: FieldFileInfo,
        cache: &Arc<BlockCache>,
    ) -> Self {
        let (disk, cache) = (Arc::clone(disk), Arc::clone(cache));
        let file = Self { info, disk, store_id, cache, table: OnceLock::new() };
        // Who needs it learns why it cannot be opened.
        let _ = file.table();
        file
    }

    fn table(&self) -> Result<&Table, StorageError> {
        if let Some(table) = self.table.get() {
            return Ok(table);
        }
        let (name, header) = (field_name(self.info.number), field_header(self.store_id, self.info.number));
        let table = Table::open(&self.disk, &name, header, Arc::clone(&self.cache))?;
        let (found, expected) = (table.summary().bytes, self.info.bytes);
        if found != expected {
            return Err(StorageError::corrupt(table.path(), 0, "bytes of a field file", found, expected));
        }
        Ok(self.table.get_or_init(|| table))
    }

    /// Bytes of memory it takes, beside what the cache holds.
    pub(crate) fn ram_bytes(&self) -> usize {
        self.table.get().map_or(0, Table::ram_bytes)
    }

    /// The rows of a set of keys. What takes many reads is kept as long as there is room.
    pub(crate) fn select(&self, set: &KeySet) -> Result<RoaringBitmap, StorageError> {
        if self.set_pages(set)? < KEPT_PAGES_MIN {
            return self.put_together(set);
        }
        let kept = Kept::new(&self.cache, file_id(self.store_id, self.info.number, PART), set);
        if let Some(rows) = kept.rows() {
            return Ok(rows);
        }
        let rows = self.put_together(set)?;
        kept.keep(&rows);
        Ok(rows)
    }

    fn put_together(&self, set: &KeySet) -> Result<RoaringBitmap, StorageError> {
        let mut rows = RowSet::default();
        match set {
            KeySet::All => self.add(ALL_ROWS, &mut rows)?,
            KeySet::Key(key) => self.add(key, &mut rows)?,
            KeySet::Keys { from, to } => self.add_range(from, to, &mut rows)?,
            KeySet::Union(sets) => return self.union(sets),
            KeySet::Intersection(sets) => {
                let Some((first, rest)) = sets.split_first() else { return Ok(RoaringBitmap::new()) };
                let mut rows = self.select(first)?;
                for set in rest {
                    if rows.is_empty() {
                        break;
                    }
                    rows &= self.select(set)?;
                }
                return Ok(rows);
            }
            KeySet::Difference(rows, other) => {
                let rows = self.select(rows)?;
                return if rows.is_empty() { Ok(rows) } else { Ok(rows - self.select(other)?) };
            }
        }
        Ok(rows.into_bitmap())
    }

    /// The rows of any of the sets; single keys are looked up many at a time.
    fn union(&self, sets: &[KeySet]) -> Result<RoaringBitmap, StorageError> {
        let mut rows = RowSet::default();
        let key = |set: &'_ KeySet| if let KeySet::Key(key) = set { Some(key.clone()) } else { None };
        let keys: Vec<Vec<u8>> = sets.iter().filter_map(key).collect();
        for keys in keys.chunks(CHUNK) {
            for value in self.table()?.get_many(keys)?.into_iter().flatten() {
                self.add_value(&value, &mut rows)?;
            }
        }
        let mut all = rows.into_bitmap();
        for set in sets.iter().filter(|set| !matches!(set, KeySet::Key(_))) {
            all |= self.select(set)?;
        }
        Ok(all)
    }

    fn add(&self, key: &[u8], rows: &mut RowSet) -> Result<(), StorageError> {
        match self.table()?.get(key)? {
            Some(value) => self.add_value(&value, rows),
            None => Ok(()),
        }
    }

    fn add_range(
        &self,
        from: &Bound<Vec<u8>>,
        to: &Bound<Vec<u8>>,
        rows: &mut RowSet,
    ) -> Result<(), StorageError> {
        let table = self.table()?;
        for entry in table.range(from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..])) {
            self.add_value(&entry?.1, rows)?;
        }
        Ok(())
    }

    /// About how many pages must be read to answer a query: from the table's own indexes, without reading values.
    pub(crate) fn pages(&self, query: &KeyQuery) -> Result<u64, StorageError> {
        Ok(self.set_pages(&query.rows)? + self.set_pages(&query.recheck)?)
    }

    /// Calls `each` with every value's key, without its tag, and the rows that have it.
    pub(crate) fn each_value<E: From<StorageError>>(
        &self,
        mut each: impl FnMut(&[u8], &RoaringBitmap) -> Result<(), E>,
    ) -> Result<(), E> {
        for entry in self.table()?.range(Bound::Included(&[tag::VALUE]), Bound::Excluded(&[tag::VALUE + 1])) {
            let (key, value) = entry?;
            let mut rows = RowSet::default();
            self.add_value(&value, &mut rows)?;
            each(&key[1..], &rows.into_bitmap())?;
        }
        Ok(())
    }

    /// About how many pages that reads.
    pub(crate) fn value_pages(&self) -> Result<u64, StorageError> {
        self.set_pages(&with_tag(tag::VALUE))
    }

    /// Rows that have values of which no key tells all: cut ones, and those of other types.
    pub(crate) fn untold(&self) -> Result<RoaringBitmap, StorageError> {
        Ok(self.select(&with_tag(tag::CUT))? | self.select(&KeySet::Key(mark_key(Mark::Other)))?)
    }

    fn set_pages(&self, set: &KeySet) -> Result<u64, StorageError> {
        let table = self.table()?;
        let summary = table.summary();
        let all = summary.bytes / PAGE as u64;
        let pages = match set {
            KeySet::All => 1,
            KeySet::Key(_) => 2,
            KeySet::Keys { from, to } => {
                let (from, to) = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
                let keys = table.count_estimate(from, to)?;
                2 + keys * summary.bytes / summary.entries.max(1) / PAGE as u64
            }
            KeySet::Union(sets) | KeySet::Intersection(sets) => self.sum(sets)?,
            KeySet::Difference(rows, other) => self.set_pages(rows)? + self.set_pages(other)?,
        };
        Ok(pages.min(all))
    }

    fn sum(&self, sets: &[KeySet]) -> Result<u64, StorageError> {
        sets.iter().try_fold(0, |sum, set| Ok(sum + self.set_pages(set)?))
    }

    /// Reads all of it and compares it with the payloads of its segment, in order of their rows: it has exactly the keys
    /// and the rows that they give. Memory: that of all keys and rows of some payloads at a time.
    pub(crate) fn verify(
        &self,
        index: &FieldIndexInfo,
        payloads: impl Iterator<Item = Result<(RowId, Payload), StorageError>>,
    ) -> Result<(), StorageError> {
        self.table()?.verify()?;
        let (mut rows, mut pairs) = (RoaringBitmap::new(), 0_u64);
        let mut some = BTreeMap::<Vec<u8>, Vec<u32>>::new();
        let mut gathered = 0;
        for found in payloads {
            let (row, payload) = found?;
            rows.insert(row.0);
            for key in keys_of(index.field_type, values_at(&payload, &index.path)) {
                some.entry(key).or_default().push(row.0);
                (pairs, gathered) = (pairs + 1, gathered + 1);
            }
            if gathered >= 1 << 16 {
                self.check_has(&std::mem::take(&mut some))?;
                gathered = 0;
            }
        }
        self.check_has(&some)?;
        // All pairs of keys and rows are there; if there are no more of them, there are no others.
        let (mut found_pairs, mut has_all) = (0, false);
        for entry in self.table()?.scan() {
            let (key, value) = entry?;
            let mut of_key = RowSet::default();
            self.add_value(&value, &mut of_key)?;
            let of_key = of_key.into_bitmap();
            if (key == ALL_ROWS && of_key != rows) || !of_key.is_subset(&rows) {
                return Err(self.wrong("rows of a key", of_key.len(), rows.len()));
            }
            has_all |= key == ALL_ROWS;
            found_pairs += if key == ALL_ROWS { 0 } else { of_key.len() };
        }
        if found_pairs != pairs || !has_all {
            return Err(self.wrong("number of keys and rows", found_pairs, pairs));
        }
        Ok(())
    }

    /// Fails unless the file has these rows for these keys.
    fn check_has(&self, some: &BTreeMap<Vec<u8>, Vec<u32>>) -> Result<(), StorageError> {
        for (key, rows) in some {
            let mut found = RowSet::default();
            self.add(key, &mut found)?;
            let found = found.into_bitmap();
            if let Some(missing) = rows.iter().find(|row| !found.contains(**row)) {
                return Err(self.wrong("row that a payload gives a key", u64::MAX, (*missing).into()));
            }
        }
        Ok(())
    }

    fn wrong(&self, what: &'static str, found: u64, expected: u64) -> StorageError {
        StorageError::corrupt(&self.path(), 0, what, found, expected)
    }

    fn add_value(&self, value: &[u8], rows: &mut RowSet) -> Result<(), StorageError> {
        add_rows(value, || self.path(), rows)
    }

    fn path(&self) -> PathBuf {
        self.disk.root().join(field_name(self.info.number))
    }
}

fn with_tag(tag: u8) -> KeySet {
    KeySet::Keys { from: Bound::Included(vec![tag]), to: Bound::Excluded(vec![tag + 1]) }
}
