//! Moving entries between coded lists of one centroid: their codes stay as they are, only the place in a block changes.

use super::{BLOCK, Bounds, CodeShape, CodedList, Encoded};

/// Entries in the low nibbles of a block, and bytes of one group of four dimensions.
const HALF: usize = BLOCK / 2;
/// Bytes of the row, at the end of a record.
const ROW: usize = 4;

impl Encoded {
    /// A list without entries.
    pub(crate) fn empty() -> Self {
        Self { signs: Vec::new(), records: Vec::new(), bounds: Bounds::default() }
    }

    /// The list, to be read.
    pub(crate) fn list(&self, shape: CodeShape) -> CodedList<'_> {
        CodedList { shape, signs: &self.signs, records: &self.records, bounds: self.bounds, slots: None }
    }

    /// Appends an entry of a list with the same centroid. The bounds become those of both lists.
    pub(crate) fn take(&mut self, list: &CodedList<'_>, entry: usize) {
        let shape = list.shape;
        let at = self.records.len() / shape.record_bytes();
        let (record, block) = (shape.record_bytes(), shape.block_bytes());
        if at.is_multiple_of(BLOCK) {
            self.signs.resize(self.signs.len() + block, 0);
        }
        let (codes, _) = list.records[entry * record..][..record].split_at(record - ROW);
        self.records.extend_from_slice(codes);
        self.records.extend_from_slice(&list.row(entry).to_le_bytes());
        let from = &list.signs[entry / BLOCK * block..][..block];
        let to = &mut self.signs[at / BLOCK * block..][..block];
        copy_signs(shape, from, entry % BLOCK, to, at % BLOCK);
        self.bounds = self.bounds.or(list.bounds);
    }
}

/// Copies one entry's signs and factors between blocks; its place in `to` is still zero.
fn copy_signs(shape: CodeShape, from: &[u8], entry: usize, to: &mut [u8], at: usize) {
    let (from_signs, from_factors) = from.split_at(shape.sign_bytes());
    let (to_signs, to_factors) = to.split_at_mut(shape.sign_bytes());
    let (from_shift, to_shift) = (entry / HALF * 4, at / HALF * 4);
    let groups = from_signs.as_chunks::<HALF>().0.iter().zip(to_signs.as_chunks_mut::<HALF>().0);
    for (from, to) in groups {
        to[at % HALF] |= (from[entry % HALF] >> from_shift & 15) << to_shift;
    }
    for plane in [0, BLOCK * 2] {
        let factor = &from_factors[plane + entry * 2..][..2];
        to_factors[plane + at * 2..][..2].copy_from_slice(factor);
    }
}

impl Bounds {
    /// What holds for the entries of both lists.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            sign_slope: self.sign_slope.max(other.sign_slope),
            sign_offset: self.sign_offset.max(other.sign_offset),
            full_slope: self.full_slope.max(other.full_slope),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantize::{Scale, encode};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Entries taken one by one are as if they had been encoded together, but for the bounds.
        #[test]
        fn taken_entries_are_those_of_one_list(
            bits in 1usize..=8,
            chunks in 1usize..4,
            picked in prop::collection::vec(0usize..70, 0..80),
            seed in any::<u64>(),
        ) {
            let shape = CodeShape { dim: chunks * 16, bits };
            let random = crate::random::Random::new(seed, 1);
            let values: Vec<f32> =
                (0..70 * shape.dim).map(|i| (random.at(i as u64) % 1000) as f32 / 100.0 - 5.0).collect();
            let centroid = &values[..shape.dim];
            let rows: Vec<u32> = (0..70).collect();
            let all = encode(shape, Scale::Unbiased, centroid, &values, &rows);
            let mut taken = Encoded::empty();
            picked.iter().for_each(|&entry| taken.take(&all.list(shape), entry));
            let vectors: Vec<f32> =
                picked.iter().flat_map(|&entry| &values[entry * shape.dim..][..shape.dim]).copied().collect();
            let rows: Vec<u32> = picked.iter().map(|&entry| entry as u32).collect();
            let together = encode(shape, Scale::Unbiased, centroid, &vectors, &rows);
            prop_assert_eq!(&taken.signs, &together.signs);
            prop_assert_eq!(&taken.records, &together.records);
            prop_assert!(taken.bounds.or(together.bounds) == taken.bounds);
        }
    }
}
