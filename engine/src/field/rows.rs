//! The rows of a key, as bytes in the file of a field index.

use std::collections::BTreeMap;
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

/// Rows of many keys together. Few of a key are gathered, because adding them to a bitmap one by one is slow; many of those
/// become plain bits, one for each row there may be.
#[derive(Debug, Default)]
pub(crate) struct RowSet {
    rows: RoaringBitmap,
    single: Vec<u32>,
    /// Bits of 65,536 rows, by the upper half of their numbers.
    bits: BTreeMap<u16, Vec<u8>>,
}

impl RowSet {
    const SINGLE_MAX: usize = 1 << 14;
    /// Rows of a bitmap that are gathered, at most.
    const FEW: u64 = 4_096;

    fn add(&mut self, row: u32) {
        self.single.push(row);
        if self.single.len() == Self::SINGLE_MAX {
            self.spread();
        }
    }

    fn add_bitmap(&mut self, rows: RoaringBitmap) {
        if rows.len() <= Self::FEW {
            rows.into_iter().for_each(|row| self.add(row));
        } else {
            self.rows |= rows;
        }
    }

    /// Makes bits of those that are gathered.
    fn spread(&mut self) {
        for row in self.single.drain(..) {
            let bits = self.bits.entry((row >> 16) as u16).or_insert_with(|| vec![0; 1 << 13]);
            bits[(row as u16 >> 3) as usize] |= 1 << (row & 7);
        }
    }

    /// All of them.
    pub(crate) fn into_bitmap(mut self) -> RoaringBitmap {
        if self.bits.is_empty() {
            self.single.sort_unstable();
            self.single.dedup();
            return self.rows | RoaringBitmap::from_sorted_iter(self.single).unwrap_or_default();
        }
        self.spread();
        for (upper, bits) in self.bits {
            self.rows |= RoaringBitmap::from_lsb0_bytes(u32::from(upper) << 16, &bits);
        }
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
        fn sets_are_the_union_of_their_parts(
            parts in prop::collection::vec((any::<u32>(), 1..9_000_u32, 1..40_u32), 0..12),
        ) {
            let part = |&(first, count, step): &(u32, u32, u32)| {
                (0..count).map(move |at| (first % 400_000).wrapping_add(at * step)).collect::<RoaringBitmap>()
            };
            let (mut set, mut right) = (RowSet::default(), RoaringBitmap::new());
            for part in parts.iter().map(part) {
                add_rows(&encode_bitmap(part.clone()), || PathBuf::from("field"), &mut set).unwrap();
                right |= part;
            }
            prop_assert_eq!(set.into_bitmap(), right);
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
