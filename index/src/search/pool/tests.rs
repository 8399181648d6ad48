//! The pool against a sort.

use proptest::prelude::*;

use super::{Candidate, FEW, NO_ROW, Pool};
use crate::vector::RowId;

/// The same by sorting every time.
#[derive(Default)]
struct Naive {
    /// With the lists they were found in first.
    found: Vec<(Candidate, usize)>,
}

impl Naive {
    fn push(&mut self, candidate: Candidate, list: usize, room: usize) {
        match self.found.iter_mut().find(|(found, _)| found.key == candidate.key) {
            Some((found, _)) if (candidate.error, candidate.distance) < (found.error, found.distance) => {
                *found = candidate
            }
            Some(_) => {}
            None => self.found.push((candidate, list)),
        }
        self.found.sort_by(|(a, _), (b, _)| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
        self.found.truncate(room);
    }
}

proptest! {
    #[test]
    fn the_pool_holds_the_nearest_vectors_each_with_its_best_known_distance(
        offers in prop::collection::vec((0u32..40, 0u8..30, 0u8..4), 0..200),
        room in 0usize..50,
        k in 1usize..50,
    ) {
        let mut pool = Pool::default();
        // Twice, as a pool is used again.
        for shift in [0.0, 3.0] {
            pool.reset(room);
            let mut naive = Naive::default();
            for (at, &(key, distance, error)) in offers.iter().enumerate() {
                let (distance, error) = (f32::from(distance) - shift, f32::from(error));
                // Rows are not in order of the keys.
                let candidate = Candidate { distance, error, key, row: RowId(99 - key) };
                naive.push(candidate, at / 8, room.max(1));
                pool.enter(at / 8);
                pool.push(candidate);
            }
            let (right, lists): (Vec<Candidate>, Vec<usize>) = naive.found.into_iter().unzip();
            let since = lists.iter().zip(&right).filter(|(list, found)| **list >= 9 && found.distance <= 7.0);
            prop_assert_eq!(pool.found_since(9, 7.0), since.count());
            let limit = if right.len() < room.max(1) { f32::INFINITY } else { right[right.len() - 1].distance };
            prop_assert_eq!(pool.limit(), limit);
            prop_assert_eq!(pool.kth(k), right.get(k - 1).map_or(f32::INFINITY, |kth| kth.distance));
            let mut found = Vec::new();
            pool.take(&mut found);
            prop_assert_eq!(found, right);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn a_large_pool_holds_the_nearest_too(
        offers in prop::collection::vec((0u32..3_000, any::<bool>()), 0..6_000),
        room in FEW + 1..FEW + 300,
    ) {
        // How near a vector is has nothing to do with when it comes; what is known worse is farther off.
        let distance = |key: u32, well: bool| (key * 7_919 % 1_000) as f32 + if well { 0.0 } else { 0.5 };
        let mut pool = Pool::default();
        for _ in 0..2 {
            pool.reset(room);
            let mut known: std::collections::BTreeMap<u32, bool> = Default::default();
            for &(key, well) in &offers {
                *known.entry(key).or_default() |= well;
                let error = if well { 1.0 } else { 2.0 };
                pool.push(Candidate { distance: distance(key, well), error, key, row: RowId(key) });
                prop_assert!(pool.keys.len() < room + room / 2);
            }
            let mut right: Vec<(f32, u32)> = known.iter().map(|(&key, &well)| (distance(key, well), key)).collect();
            right.sort_by(|a, b| a.partial_cmp(b).unwrap());
            right.truncate(room);
            let mut found = Vec::new();
            pool.take(&mut found);
            let found: Vec<(f32, u32)> = found.iter().map(|found| (found.distance, found.key)).collect();
            prop_assert_eq!(found, right);
        }
    }
}

#[test]
fn of_equally_near_vectors_without_a_row_the_first_stay() {
    let mut pool = Pool::default();
    pool.reset(2);
    for key in [7, 3, 5] {
        pool.push(Candidate { distance: 1.0, error: 0.0, key, row: NO_ROW });
    }
    let mut found = Vec::new();
    pool.take(&mut found);
    let mut keys: Vec<u32> = found.iter().map(|found| found.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, [3, 7]);
}
