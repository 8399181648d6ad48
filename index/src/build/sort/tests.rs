//! Splitting lists that are too long.

use proptest::prelude::*;

use super::split;
use crate::random::Random;

/// Splits, and sees to it that no member is lost and no group too long.
fn check(points: &[f32], dim: usize, cap: usize) -> Vec<Vec<u32>> {
    let members: Vec<u32> = (0..(points.len() / dim) as u32).collect();
    let groups = split(points, dim, members.clone(), cap, Random::new(1, 2));
    assert!(groups.iter().all(|group| (1..=cap).contains(&group.len())));
    let mut all = groups.concat();
    all.sort_unstable();
    assert_eq!(all, members);
    groups
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_member_is_lost_and_no_group_too_long(
        dim in 1usize..6,
        values in prop::collection::vec(prop_oneof![-5.0f32..5.0, Just(1.0)], 6..1200),
        cap in 1usize..50,
    ) {
        let count = values.len() / dim;
        if count > cap {
            check(&values[..count * dim], dim, cap);
        }
    }
}

#[test]
fn duplicates_only_are_cut_anywhere() {
    for cap in [1, 7, 64] {
        let groups = check(&[3.0; 2_000], 2, cap);
        assert_eq!(groups.len(), 1_000usize.div_ceil(cap));
    }
}

#[test]
fn one_outlier_among_duplicates_and_values_without_measure() {
    let mut points = vec![1.0; 999];
    points[500] = 1e9;
    check(&points, 1, 10);
    let wild: Vec<f32> = (0..600).map(|i| [f32::MAX, f32::MIN, f32::INFINITY, 0.0][i % 4]).collect();
    check(&wild, 2, 9);
    check(&[f32::NAN; 300], 3, 9);
}
