//! Every clever function of the crate's inside against its naive twin.

mod assign;
mod cluster;
mod flat;
mod panels;
mod quantize;
mod random;
mod rotation;
mod router;
mod row_set;
mod rows;
mod topk;

use proptest::prelude::*;

/// Coordinates of points, many of them equal.
fn coordinate() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![3 => -10.0f32..10.0, 2 => (-3i8..4).prop_map(f32::from)]
}

/// A dimension and so many rows, row-major.
fn rows(most: usize) -> impl Strategy<Value = (usize, Vec<f32>)> {
    (1usize..20, 1..most)
        .prop_flat_map(|(dim, count)| (Just(dim), prop::collection::vec(coordinate(), dim * count)))
}

/// The squared distance in `f64`.
fn naive(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}
