//! The bounded heap against a sort.

use proptest::prelude::*;

use crate::topk::{Candidate, TopK};
use crate::vector::RowId;

proptest! {
    #[test]
    fn the_nearest_rows_are_those_of_a_sort(
        distances in prop::collection::vec(0u8..12, 1..60),
        copies in prop::collection::vec(0usize..60, 0..120),
        k in 1usize..30,
        most in 1usize..5,
    ) {
        // Each row once, then some of them again, but none more than `most` times.
        let candidate = |row: usize| Candidate { distance: f32::from(distances[row]), row: RowId(row as u32) };
        let mut times = vec![1; distances.len()];
        let mut stream: Vec<Candidate> = (0..distances.len()).map(candidate).collect();
        for row in copies.into_iter().filter(|&row| row < distances.len()) {
            if times[row] < most {
                times[row] += 1;
                stream.insert(row * 7 % stream.len(), candidate(row));
            }
        }
        let mut best = TopK::default();
        // Twice, as a heap is used again.
        for _ in 0..2 {
            best.reset(k, most);
            for &candidate in &stream {
                if candidate.distance <= best.limit() {
                    best.push(candidate);
                }
            }
            let mut right = stream.clone();
            right.sort();
            right.dedup();
            right.truncate(k);
            prop_assert_eq!(best.take(), right);
        }
    }
}

#[test]
fn far_and_strange_distances_have_their_order_too() {
    let mut best = TopK::default();
    best.reset(4, 1);
    for (row, distance) in [f32::INFINITY, f32::NAN, -1.0, f32::MAX, f32::INFINITY].into_iter().enumerate() {
        best.push(Candidate { distance, row: RowId(row as u32) });
    }
    let rows: Vec<u32> = best.take().iter().map(|candidate| candidate.row.0).collect();
    assert_eq!(rows, [2, 3, 0, 4]);
    best.reset(usize::MAX, 8);
    assert_eq!(best.limit(), f32::INFINITY);
    assert_eq!(best.take(), []);
}
