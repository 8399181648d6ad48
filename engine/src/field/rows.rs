//! The rows of a key, as bytes in the file of a field index.

use std::path::PathBuf;

use nearline_storage::StorageError;
use roaring::RoaringBitmap;

/// Rows that are listed one by one at most; more of them are a bitmap.
const LISTED_MAX: usize = 16;

/// Encodes rows in ascending order, of which there is one at least.
pub(crate) fn encode_rows(rows: &[u32]) -> Vec<u8> {
    debug_assert!(rows.is_sorted() && !rows.is_empty());
    if rows.len() > LISTED_MAX {
        // Rows are in order, so nothing is refused.
        return encode_bitmap(RoaringBitmap::from_sorted_iter(rows.iter().copied()).unwrap_or_default());
    }
    let mut out = vec![rows.len() as u8];
    rows.iter().for_each(|row| out.extend_from_slice(&row.to_le_bytes()));
    out
}

/// As [`encode_rows`], of which there may be any number.
pub(crate) fn encode_bitmap(mut rows: RoaringBitmap) -> Vec<u8> {
    if (1..=LISTED_MAX as u64).contains(&rows.len()) {
        return encode_rows(&rows.iter().collect::<Vec<_>>());
    }
    rows.optimize();
    let mut out = vec![0];
    // Writing into memory does not fail.
    let written = rows.serialize_into(&mut out);
    debug_assert!(written.is_ok());
    out
}

/// Adds the rows of a value in the file at `path` to others.
pub(crate) fn add_rows(
    value: &[u8],
    path: impl Fn() -> PathBuf,
    to: &mut RowSet,
) -> Result<(), StorageError> {
    let corrupt = |found: usize| StorageError::corrupt(&path(), 0, "rows of a key", found as u64, 0);
    match value.split_first() {
        Some((0, bitmap)) => {
            let mut rest = bitmap;
            let rows = RoaringBitmap::deserialize_from(&mut rest).map_err(|_| corrupt(bitmap.len()))?;
            if !rest.is_empty() {
                return Err(corrupt(rest.len()));
            }
            to.add_bitmap(rows);
        }
        Some((&count, list)) => {
            let (rows, rest) = list.as_chunks::<4>();
            if rows.len() != usize::from(count) || !rest.is_empty() || rows.len() > LISTED_MAX {
                return Err(corrupt(list.len()));
            }
            rows.iter().for_each(|row| to.add(u32::from_le_bytes(*row)));
        }
        None => return Err(corrupt(0)),
    }
    Ok(())
}

/// Rows of many keys together: single ones are gathered, because adding them to a bitmap one by one is slow.
#[derive(Debug, Default)]
pub(crate) struct RowSet {
    rows: RoaringBitmap,
    single: Vec<u32>,
}

impl RowSet {
    const SINGLE_MAX: usize = 1 << 16;

    fn add(&mut self, row: u32) {
        self.single.push(row);
        if self.single.len() == Self::SINGLE_MAX {
            self.settle();
        }
    }

    fn add_bitmap(&mut self, rows: RoaringBitmap) {
        if self.rows.is_empty() { self.rows = rows } else { self.rows |= rows }
    }

    fn settle(&mut self) {
        self.single.sort_unstable();
        self.single.dedup();
        self.rows |= RoaringBitmap::from_sorted_iter(self.single.drain(..)).unwrap_or_default();
    }

    /// All of them.
    pub(crate) fn into_bitmap(mut self) -> RoaringBitmap {
        self.settle();
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(value: &[u8]) -> Result<RoaringBitmap, StorageError> {
        let mut rows = RowSet::default();
        add_rows(value, || PathBuf::from("field"), &mut rows)?;
        Ok(rows.into_bitmap())
    }

    proptest! {
        #[test]
        fn rows_come_back(rows in prop::collection::btree_set(prop_oneof![0..200_u32, any::<u32>()], 1..60)) {
            let list: Vec<u32> = rows.iter().copied().collect();
            let bitmap: RoaringBitmap = rows.into_iter().collect();
            prop_assert_eq!(encode_rows(&list), encode_bitmap(bitmap.clone()));
            let value = encode_rows(&list);
            prop_assert_eq!(decode(&value).unwrap(), bitmap);
            prop_assert!((0..value.len()).all(|len| decode(&value[..len]).is_err()));
            prop_assert!(decode(&[&value[..], &[0]].concat()).is_err());
        }

        #[test]
        fn any_bytes_are_rows_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn no_rows_and_a_million_in_a_row_are_small() {
        assert_eq!(decode(&encode_bitmap(RoaringBitmap::new())).unwrap().len(), 0);
        let all: RoaringBitmap = (7..1_000_007).collect();
        let value = encode_bitmap(all.clone());
        assert!(value.len() < 300, "{}", value.len());
        assert_eq!(decode(&value).unwrap(), all);
    }
}
