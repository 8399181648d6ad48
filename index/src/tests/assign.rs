//! The lists of copies against their rules in plain words.

use proptest::prelude::*;

use super::{naive, rows};
use crate::assign::{Assigner, CANDIDATES as AROUND, Copy, CopyRule, PRICED};
use crate::panels::Panels;
use crate::router::Near;
use crate::tree::Tree;

/// Points between the centroids, and the centroids.
fn points_of(centroids: &[f32]) -> Vec<f32> {
    centroids.iter().rev().map(|x| x * 0.75).chain(centroids.iter().copied()).collect()
}

/// A tree of so many nodes over the centroids.
fn tree(dim: usize, centroids: &[f32], nodes: u32) -> Tree {
    let lists = (centroids.len() / dim) as u32;
    Tree::new(Panels::from_rows(dim, centroids), (0..=nodes).map(|node| node * lists / nodes).collect())
}

/// All lists, nearest first.
fn nearest(point: &[f32], tree: &Tree) -> Vec<Near> {
    let mut distances = Vec::new();
    tree.lists.distances(point, 0..tree.lists.rows(), &mut distances);
    let mut near: Vec<Near> =
        distances.iter().zip(0..).map(|(&distance, at)| Near { distance, at }).collect();
    near.sort();
    near
}

/// The lists that are looked at for copies: of those around the own one the nearest to the vector, nearest first, with
/// their distances to the vector and to the own one.
fn candidates(point: &[f32], own: u32, centroids: &[f32], tree: &Tree) -> Vec<(Near, f32)> {
    let centroid = &centroids[own as usize * point.len()..][..point.len()];
    let others = nearest(centroid, tree).into_iter().take(AROUND).filter(|near| near.at != own);
    let around: Vec<Near> = others.take(AROUND - 1).collect();
    let mut distances = Vec::new();
    tree.lists.distances(point, 0..tree.lists.rows(), &mut distances);
    let mut found: Vec<(usize, Near, f32)> = around
        .iter()
        .enumerate()
        .map(|(i, near)| (i, Near { distance: distances[near.at as usize], at: near.at }, near.distance))
        .collect();
    found.sort_by(|a, b| a.1.distance.total_cmp(&b.1.distance).then(a.0.cmp(&b.0)));
    found.into_iter().take(PRICED).map(|(_, near, between)| (near, between)).collect()
}

/// Keep a list, nearest first, unless a kept list is nearer to it than the point is.
fn rng(point: &[f32], own: u32, centroids: &[f32], tree: &Tree, most: usize) -> Vec<u32> {
    let centroid = |list: u32| &centroids[list as usize * point.len()..][..point.len()];
    let mut kept: Vec<u32> = Vec::new();
    for (list, between) in candidates(point, own, centroids, tree) {
        let hides = |&other: &u32| (naive(centroid(other), centroid(list.at)) as f32) < list.distance;
        if kept.len() < most && between >= list.distance && !kept.iter().any(hides) {
            kept.push(list.at);
        }
    }
    kept
}

/// What SOAR minimises: |r'|² + λ (r'·r/|r|)².
fn price(point: &[f32], own: &[f32], other: &[f32], lambda: f32) -> f64 {
    let residual =
        |c: &[f32]| -> Vec<f64> { point.iter().zip(c).map(|(&x, &c)| f64::from(x) - f64::from(c)).collect() };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (r, other) = (residual(own), residual(other));
    let norm = dot(&r, &r);
    let parallel = if norm > 0.0 { dot(&r, &other).powi(2) / norm } else { 0.0 };
    dot(&other, &other) + f64::from(lambda) * parallel
}

/// The copies of each point, which need not have one list in common.
fn each_copies(
    assigner: &Assigner<'_>,
    points: &[f32],
    own: &[u32],
    most: usize,
    rule: CopyRule,
) -> Vec<Vec<Copy>> {
    let points = points.chunks_exact(points.len() / own.len()).zip(own);
    points.flat_map(|(point, &own)| assigner.copies(point, own, most, rule)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn with_full_breadth_copies_by_rng_follow_the_rule(
        (dim, centroids) in rows(200),
        most in 1usize..8,
        nodes in 1u32..6,
    ) {
        let (tree, points) = (tree(dim, &centroids, nodes), points_of(&centroids));
        let assigner = Assigner::new(&tree, nodes as usize);
        let own: Vec<u32> = points.chunks_exact(dim).map(|point| nearest(point, &tree)[0].at).collect();
        let copies = each_copies(&assigner, &points, &own, most, CopyRule::Rng);
        prop_assert_eq!(copies.len(), own.len());
        for ((point, &own), copies) in points.chunks_exact(dim).zip(&own).zip(&copies) {
            let lists: Vec<u32> = copies.iter().map(|copy| copy.list).collect();
            prop_assert_eq!(lists, rng(point, own, &centroids, &tree, most));
        }
    }

    #[test]
    fn with_full_breadth_copies_by_soar_have_the_least_price(
        (dim, centroids) in rows(200),
        most in 1usize..8,
        nodes in 1u32..6,
        lambda in prop_oneof![Just(0.0f32), Just(1.0), 0.0f32..10.0],
    ) {
        let (tree, points) = (tree(dim, &centroids, nodes), points_of(&centroids));
        let assigner = Assigner::new(&tree, nodes as usize);
        let own: Vec<u32> = points.chunks_exact(dim).map(|point| nearest(point, &tree)[0].at).collect();
        let copies = each_copies(&assigner, &points, &own, most, CopyRule::Soar { lambda });
        for ((point, &own), copies) in points.chunks_exact(dim).zip(&own).zip(&copies) {
            let centroid = |list: u32| &centroids[list as usize * dim..][..dim];
            let candidates = candidates(point, own, &centroids, &tree);
            let price = |list| price(point, centroid(own), centroid(list), lambda);
            let mut right: Vec<f64> = candidates.iter().map(|(near, _)| price(near.at)).collect();
            right.sort_by(f64::total_cmp);
            prop_assert_eq!(copies.len(), most.min(right.len()));
            // Distances are rounded, and what is left of large sums counts; the price divides by the nearest one.
            let nearest = naive(point, centroid(own));
            let off = 1e-5 * (1.0 + naive(point, &vec![0.0; dim]) + right.last().copied().unwrap_or(0.0));
            let slack = |price: f64| {
                let lambda = f64::from(lambda);
                let by_division = 2.0 * (price / nearest).sqrt() + off / nearest;
                off * (1.0 + lambda * if nearest > 0.0 { by_division } else { 0.0 })
            };
            for (copy, right) in copies.iter().zip(right) {
                prop_assert_ne!(copy.list, own);
                let found = price(copy.list);
                prop_assert!((found - right).abs() <= slack(found.max(right)), "{} instead of {}", found, right);
                let (distance, ratio) = (naive(point, centroid(copy.list)), f64::from(copy.ratio));
                let same = (ratio * nearest - distance).abs() <= off * (1.0 + ratio);
                prop_assert!(nearest == 0.0 || same, "{} {}", ratio * nearest, distance);
            }
            let mut lists: Vec<u32> = copies.iter().map(|copy| copy.list).collect();
            lists.sort_unstable();
            lists.dedup();
            prop_assert_eq!(lists.len(), copies.len());
        }
    }
}
