//! Routing against an exact sort.

use proptest::prelude::*;

use super::naive;
use crate::assign;
use crate::build::nodes_of;
use crate::panels::Panels;
use crate::router::{Near, Nearest, RouteScratch, Router, SURVIVORS, smallest_first};
use crate::tree::Tree;

/// A dimension that codes can have, and so many centroids, row-major.
fn centroids(most: usize) -> impl Strategy<Value = (usize, Vec<f32>)> {
    (1usize..4, 1..most).prop_flat_map(|(sixteens, count)| {
        (Just(16 * sixteens), prop::collection::vec(super::coordinate(), 16 * sixteens * count))
    })
}

/// A router whose nodes have these shares of the lists, some perhaps none.
fn router(dim: usize, lists: &[f32], cuts: &[f64]) -> Router {
    let count = lists.len() / dim;
    let mut starts: Vec<u32> = cuts.iter().map(|cut| (cut * count as f64) as u32).collect();
    starts.extend([0, count as u32]);
    starts.sort_unstable();
    Router::of(Tree::new(Panels::from_rows(dim, lists), starts))
}

/// The centroid of a list as the router knows it.
fn centroid(router: &Router, list: u32) -> Vec<f32> {
    let dim = router.nodes.dim();
    let (mut node, mut out) = (vec![0.0; dim], vec![0.0; dim]);
    router.centroid(list, &mut node, &mut out);
    out
}

/// What a distance may be off because sums are rounded.
fn slack(query: &[f32]) -> f64 {
    1e-5 * (1.0 + naive(query, &vec![0.0; query.len()]) + 400.0 * query.len() as f64)
}

proptest! {
    #[test]
    fn with_full_breadth_the_nearest_lists_are_those_of_an_exact_scan(
        (dim, lists) in centroids(120),
        cuts in prop::collection::vec(0.0f64..1.0, 0..8),
        n in 0usize..130,
        breadth in 0usize..10,
    ) {
        let (router, query) = (router(dim, &lists, &cuts), &lists[..dim]);
        let count = router.lists();
        let exact: Vec<f64> = (0..count as u32).map(|list| naive(query, &centroid(&router, list))).collect();
        let mut sorted = exact.clone();
        sorted.sort_by(f64::total_cmp);
        let mut scratch = RouteScratch::default();
        let nodes = router.nodes.rows();
        let everywhere = router.route(query, nodes, n, &mut scratch).to_vec();
        prop_assert_eq!(everywhere.len(), n.min(count));
        for (near, right) in everywhere.iter().zip(&sorted) {
            let distance = f64::from(near.distance);
            prop_assert!((distance - exact[near.at as usize]).abs() <= slack(query), "{} {}", distance, exact[near.at as usize]);
            // All lists that might be among the nearest are looked at with all bits, when there are so few.
            if SURVIVORS.0 * n + SURVIVORS.1 >= count {
                prop_assert!((distance - right).abs() <= slack(query), "{} instead of {}", distance, right);
            }
        }
        // More nodes than there are is the same, and so is the scratch's second use.
        prop_assert_eq!(router.route(query, nodes + 9, n, &mut scratch), &everywhere[..]);
        // A narrow search finds as many, in order, each once, at their true distance, and all if all are wanted.
        let narrow = router.route(query, breadth, n, &mut scratch).to_vec();
        prop_assert_eq!(narrow.len(), n.min(count));
        prop_assert!(narrow.windows(2).all(|two| two[0] < two[1]));
        let all = router.route(query, nodes, count, &mut scratch);
        prop_assert!(narrow.iter().all(|near| all.contains(near)));
        if n >= count {
            prop_assert_eq!(&narrow[..], all);
        }
    }

    #[test]
    fn with_full_breadth_vectors_are_assigned_to_the_nearest_list(
        (dim, lists) in centroids(SURVIVORS.0 + SURVIVORS.1),
        cuts in prop::collection::vec(0.0f64..1.0, 0..8),
    ) {
        let router = router(dim, &lists, &cuts);
        let points: Vec<f32> = lists.iter().rev().map(|x| x * 0.75).chain(lists.iter().copied()).collect();
        let assigned = assign::nearest(&router, router.nodes.rows(), &points);
        prop_assert_eq!(assigned.len() * dim, points.len());
        for (point, list) in points.chunks_exact(dim).zip(assigned) {
            let to = |list| naive(point, &centroid(&router, list));
            let least = (0..router.lists() as u32).map(to).min_by(f64::total_cmp);
            prop_assert!(to(list) <= least.unwrap_or(0.0) + slack(point), "{} instead of {:?}", to(list), least);
        }
    }

    #[test]
    fn centroids_are_near_what_was_encoded((dim, lists) in centroids(60), cuts in prop::collection::vec(0.0f64..1.0, 0..8)) {
        let router = router(dim, &lists, &cuts);
        for (list, right) in lists.chunks_exact(dim).enumerate() {
            let mut node = vec![0.0; dim];
            let number = (0..router.nodes.rows() as u32).find(|&node| router.lists_of(node).contains(&list));
            router.nodes.row(number.unwrap_or(u32::MAX) as usize, &mut node);
            // A code has 256 steps a dimension, and no dimension is longer than the whole.
            let residual = naive(&node, right);
            let off = naive(&centroid(&router, list as u32), right);
            prop_assert!(off <= residual * dim as f64 / 128.0 / 128.0 + 1e-6, "{} of {}", off, residual);
        }
    }

    #[test]
    fn distances_between_centroids_are_those_of_a_scan(
        (dim, lists) in centroids(40),
        cuts in prop::collection::vec(0.0f64..1.0, 0..5),
        from in any::<prop::sample::Index>(),
    ) {
        let router = router(dim, &lists, &cuts);
        let from = from.index(router.lists()) as u32;
        let near: Vec<Near> = (0..router.lists() as u32).rev().map(|at| Near { distance: 0.0, at }).collect();
        let mut out = vec![7.0];
        router.between(from, &near, &mut RouteScratch::default(), &mut out);
        prop_assert_eq!(out.len(), near.len());
        let own = centroid(&router, from);
        for (list, &distance) in near.iter().zip(&out) {
            let right = naive(&own, &centroid(&router, list.at));
            prop_assert!((f64::from(distance) - right).abs() <= slack(&own), "{} {}", distance, right);
        }
    }

    #[test]
    fn every_list_belongs_to_one_node((dim, lists) in centroids(60), cuts in prop::collection::vec(0.0f64..1.0, 0..8)) {
        let router = router(dim, &lists, &cuts);
        let all: Vec<usize> = (0..router.nodes.rows() as u32).flat_map(|node| router.lists_of(node)).collect();
        prop_assert_eq!(all, (0..router.lists()).collect::<Vec<usize>>());
    }

    #[test]
    fn the_smallest_come_first(values in prop::collection::vec(0u8..20, 0..50), n in 0usize..60) {
        let mut items: Vec<Near> =
            values.iter().zip(0..).map(|(&x, at)| Near { distance: f32::from(x), at }).collect();
        let mut right = items.clone();
        right.sort();
        right.truncate(n);
        prop_assert_eq!(smallest_first(&mut items, n), &right[..]);
    }

    #[test]
    fn the_nearest_of_a_stream_are_those_of_a_sort(
        blocks in prop::collection::vec(prop::collection::vec(0u8..20, 0..100), 0..8),
        room in 1usize..30,
    ) {
        let mut nearest = Nearest::new(vec![9], room);
        let mut right = Vec::new();
        for block in &blocks {
            let distances: Vec<f32> = block.iter().map(|&x| f32::from(x)).collect();
            let first = right.len() as u32;
            nearest.extend(&distances, first);
            right.extend(distances.iter().zip(first..).map(|(&distance, at)| Near { distance, at }));
        }
        right.sort();
        right.truncate(room);
        prop_assert_eq!(nearest.finish(), right);
    }
}

#[test]
fn a_router_takes_little_more_than_its_codes() {
    for dim in [96, 128, 384, 768] {
        for lists in [10_000, 100_000, 1_000_000] {
            let nodes = nodes_of(lists as u64) as usize;
            let centroid = Router::bytes(dim, lists, nodes).div_ceil(lists);
            // A code of 8 bits a dimension.
            assert!(centroid >= dim, "{centroid} bytes of {dim}");
            assert!(2 * centroid <= 3 * dim + 128, "{lists} lists, {nodes} nodes: {centroid} bytes of {dim}");
        }
    }
}

#[test]
fn a_router_takes_no_more_than_was_counted_on() {
    for (dim, count) in [(16, 1), (16, 33), (32, 700), (96, 1_500), (128, 200)] {
        let lists: Vec<f32> = (0..count * dim).map(|i| (i % 251) as f32).collect();
        let nodes = nodes_of(count as u64) as usize;
        for least in [0.0, 0.3] {
            // Nodes of as many lists, and of fewer and fewer.
            let cut = |node: usize| (node as f64 / nodes as f64).powf(1.0 + least);
            let cuts: Vec<f64> = (1..nodes).map(cut).collect();
            let router = router(dim, &lists, &cuts);
            assert_eq!((router.lists(), router.nodes.rows()), (count, nodes));
            let (real, counted) = (router.memory_bytes(), Router::bytes(dim, count, nodes));
            assert!(real <= counted, "{count} x {dim}, {nodes} nodes: {real} bytes, not {counted}");
            assert!(counted <= 2 * real, "{count} x {dim}, {nodes} nodes: {counted} bytes for {real}");
        }
    }
}
