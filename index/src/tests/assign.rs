//! Closure assignment against the rule in plain words.

use proptest::prelude::*;

use super::{naive, rows};
use crate::assign::Assigner;
use crate::panels::Panels;
use crate::router::{Near, Router};

/// The rule: of the lists, nearest first, keep one unless a kept list is nearer to it than the point is.
fn rule(point: &[f32], centroids: &[f32], panels: &Panels, replicas: usize) -> Vec<u32> {
    let dim = point.len();
    let centroid = |list: u32| &centroids[list as usize * dim..][..dim];
    let mut distances = Vec::new();
    panels.distances(point, 0..panels.rows(), &mut distances);
    let mut near: Vec<Near> =
        distances.iter().zip(0..).map(|(&distance, at)| Near { distance, at }).collect();
    near.sort();
    let mut kept: Vec<u32> = Vec::new();
    for list in near.into_iter().take(64) {
        let hidden =
            kept.iter().any(|&other| naive(centroid(other), centroid(list.at)) < f64::from(list.distance));
        if kept.len() < replicas && !hidden {
            kept.push(list.at);
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn with_full_breadth_lists_are_kept_by_the_rule(
        (dim, centroids) in rows(200),
        replicas in 1usize..9,
        nodes in 1u32..6,
    ) {
        let panels = Panels::from_rows(dim, &centroids);
        let lists = panels.rows() as u32;
        let starts = (0..=nodes).map(|node| node * lists / nodes).collect();
        let router = Router::new(panels.clone(), starts);
        // Points between the centroids, and the centroids.
        let points: Vec<f32> = centroids.iter().rev().map(|x| x * 0.75).chain(centroids.iter().copied()).collect();
        let assigned = Assigner::new(&router, &centroids, replicas, nodes as usize).assign(&points);
        prop_assert_eq!(assigned.len(), points.len() / dim);
        for (point, lists) in points.chunks_exact(dim).zip(&assigned) {
            prop_assert_eq!(lists, &rule(point, &centroids, &panels, replicas));
            prop_assert!(!lists.is_empty());
        }
    }
}
