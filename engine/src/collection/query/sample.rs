//! Some of many, by chance.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use roaring::RoaringBitmap;

/// Chance by seed: SplitMix64.
pub(in crate::collection) struct Chance(u64);

impl Chance {
    /// By a seed, or by one of its own.
    pub(in crate::collection) fn new(seed: Option<u64>) -> Self {
        Self(seed.unwrap_or_else(|| RandomState::new().hash_one(0)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Different rows out of a set, so many at most, in an order by chance; each choice is as likely as any other.
    pub(in crate::collection) fn pick(&mut self, among: &RoaringBitmap, wanted: usize) -> Vec<u32> {
        let total = among.len();
        let wanted = (wanted as u64).min(total);
        // Floyd's: of every number up to `last`, each is in with the same chance.
        let (mut taken, mut picked) = (BTreeSet::new(), Vec::new());
        for last in total - wanted..total {
            let number = self.below(last + 1);
            let number = if taken.insert(number) { number } else { last };
            taken.insert(number);
            picked.push(number);
        }
        for last in (1..picked.len()).rev() {
            picked.swap(last, self.below(last as u64 + 1) as usize);
        }
        picked.into_iter().filter_map(|number| among.select(number as u32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_every_choice_is_as_likely() {
        let among: RoaringBitmap = [3, 5, 8, 9].into_iter().collect();
        let mut chance = Chance::new(Some(7));
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..12_000 {
            *counts.entry(chance.pick(&among, 2)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 12);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn all_are_picked_if_so_many_are_wanted() {
        let among: RoaringBitmap = (0..100).map(|row| row * 3).collect();
        let mut all = Chance::new(None).pick(&among, 1000);
        all.sort_unstable();
        assert!(all.into_iter().eq(&among));
        assert!(Chance::new(None).pick(&RoaringBitmap::new(), 5).is_empty());
        assert_eq!(Chance::new(Some(1)).pick(&among, 9), Chance::new(Some(1)).pick(&among, 9));
    }
}
