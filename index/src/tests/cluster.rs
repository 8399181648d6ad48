//! Balanced k-means and its counting sort.

use proptest::prelude::*;

use super::{naive, rows};
use crate::cluster::{Clustering, Members, kmeans, mean_of, nearest};
use crate::panels::Panels;
use crate::random::Random;

/// Clusters on so many threads.
fn clustered(threads: usize, points: &[f32], dim: usize, k: usize, seed: u64) -> Clustering {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| kmeans(points, dim, k, 6, Random::new(seed, 0)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_point_is_assigned_whatever_k_and_threads(
        (dim, points) in rows(400),
        k in 0usize..500,
        seed in any::<u64>(),
    ) {
        let count = points.len() / dim;
        let one = clustered(1, &points, dim, k, seed);
        let two = clustered(2, &points, dim, k, seed);
        prop_assert_eq!(&one.assignment, &two.assignment);
        prop_assert!(one.centroids.iter().zip(&two.centroids).all(|(a, b)| a.to_bits() == b.to_bits()));
        let centroids = one.centroids.len() / dim;
        prop_assert_eq!(centroids, k.clamp(1, count));
        prop_assert_eq!(one.assignment.len(), count);
        prop_assert!(one.assignment.iter().all(|&c| (c as usize) < centroids));
        prop_assert!(one.centroids.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn members_are_the_points_of_each_centroid(assignment in prop::collection::vec(0u32..9, 0..200)) {
        let members = Members::new(&assignment, 9);
        prop_assert_eq!(members.ranges.len(), 9);
        for (c, range) in members.ranges.iter().enumerate() {
            let right: Vec<u32> =
                (0..assignment.len() as u32).filter(|&i| assignment[i as usize] as usize == c).collect();
            prop_assert_eq!(&members.points[range.clone()], &right[..]);
        }
    }

    #[test]
    fn the_nearest_row_is_that_of_a_scan((dim, values) in rows(150)) {
        let panels = Panels::from_rows(dim, &values[..values.len() / dim / 2 * dim + dim]);
        for (point, at) in values.chunks_exact(dim).zip(nearest(&values, &panels)) {
            let distance = |row: usize| naive(point, &values[row * dim..][..dim]);
            let least = (0..panels.rows()).map(distance).fold(f64::INFINITY, f64::min);
            prop_assert!(distance(at as usize) <= least + 1e-2);
        }
    }
}

#[test]
fn one_point_and_the_same_point_are_clustered_too() {
    let one = clustered(1, &[1.0, 2.0, 3.0], 3, 5, 1);
    assert_eq!((one.centroids, one.assignment), (vec![1.0, 2.0, 3.0], vec![0]));
    let same = clustered(2, &[4.0; 3_000], 3, 7, 1);
    assert!(same.centroids.iter().all(|&x| x == 4.0));
    assert_eq!(same.assignment.len(), 1_000);
    let far = clustered(2, &[f32::MAX, f32::MIN, f32::MAX, f32::MIN], 1, 2, 1);
    assert_eq!(far.assignment.len(), 4);
}

#[test]
fn clear_groups_are_found() {
    let points: Vec<f32> = (0..900).map(|i| (i % 3) as f32 * 100.0 + (i / 3) as f32 * 0.001).collect();
    let found = clustered(2, &points, 1, 3, 5);
    for group in 0..3 {
        let first = found.assignment[group];
        assert!(found.assignment.iter().skip(group).step_by(3).all(|&c| c == first));
        assert!((found.centroids[first as usize] - group as f32 * 100.0).abs() < 1.0);
    }
}

#[test]
fn a_mean_is_added_in_double_precision() {
    let mut mean = [7.0];
    mean_of(std::iter::empty(), &mut mean);
    assert_eq!(mean, [7.0]);
    mean_of([[1e8f32], [1.0], [-1e8], [2.0]].iter().map(|row| &row[..]), &mut mean);
    assert_eq!(mean, [0.75]);
}
