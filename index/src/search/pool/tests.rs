//! The pool against a map and a sort.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Candidate, NO_ROW, Pool};
use crate::vector::RowId;

proptest! {
    #[test]
    fn the_pool_holds_the_nearest_vectors_each_with_its_smallest_distance(
        offers in prop::collection::vec((0u32..40, 0u8..30), 0..200),
        room in 0usize..50,
        k in 1usize..50,
    ) {
        let mut pool = Pool::default();
        // Twice, as a pool is used again.
        for shift in [0.0, 3.0] {
            pool.reset(room);
            let mut nearest: BTreeMap<u32, f32> = BTreeMap::new();
            for &(key, distance) in &offers {
                let distance = f32::from(distance) - shift;
                let best = nearest.entry(key).or_insert(f32::INFINITY);
                *best = best.min(distance);
                // Rows are not in order of the keys.
                let candidate = Candidate { distance, error: distance + 1.0, key, row: RowId(99 - key) };
                if distance <= pool.limit() {
                    pool.push(candidate);
                }
            }
            let mut right: Vec<(f32, u32)> = nearest.into_iter().map(|(key, distance)| (distance, 99 - key)).collect();
            right.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            right.truncate(room.max(1));
            let limit = if right.len() < room.max(1) { f32::INFINITY } else { right[right.len() - 1].0 };
            prop_assert_eq!(pool.limit(), limit);
            prop_assert_eq!(pool.kth(k), right.get(k - 1).map_or(f32::INFINITY, |kth| kth.0));
            let mut found = Vec::new();
            pool.take(&mut found);
            let pairs: Vec<(f32, u32)> = found.iter().map(|found| (found.distance, found.row.0)).collect();
            prop_assert_eq!(pairs, right);
            prop_assert!(found.iter().all(|found| found.error == found.distance + 1.0 && found.key == 99 - found.row.0));
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
