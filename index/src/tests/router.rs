//! Routing against an exact sort.

use proptest::prelude::*;

use super::rows;
use crate::panels::Panels;
use crate::router::{Near, RouteScratch, Router, smallest_first};

/// A router whose nodes have these shares of the lists, some perhaps none.
fn router(dim: usize, lists: &[f32], cuts: &[f64]) -> Router {
    let count = lists.len() / dim;
    let mut starts: Vec<u32> = cuts.iter().map(|cut| (cut * count as f64) as u32).collect();
    starts.extend([0, count as u32]);
    starts.sort_unstable();
    Router::new(Panels::from_rows(dim, lists), starts)
}

proptest! {
    #[test]
    fn with_full_breadth_the_nearest_lists_are_those_of_a_sort(
        (dim, lists) in rows(80),
        cuts in prop::collection::vec(0.0f64..1.0, 0..8),
        n in 0usize..90,
        breadth in 0usize..10,
    ) {
        let (router, query) = (router(dim, &lists, &cuts), &lists[..dim]);
        let count = router.lists().rows();
        let mut distances = Vec::new();
        router.lists().distances(query, 0..count, &mut distances);
        let mut right: Vec<Near> = distances.iter().zip(0..).map(|(&distance, at)| Near { distance, at }).collect();
        right.sort();
        let mut scratch = RouteScratch::default();
        let nodes = router.nodes().rows();
        let everywhere = router.route(query, nodes, n, &mut scratch).to_vec();
        prop_assert_eq!(&everywhere[..], &right[..n.min(count)]);
        // More nodes than there are is the same, and so is the scratch's second use.
        prop_assert_eq!(router.route(query, nodes + 9, n, &mut scratch), &everywhere[..]);
        // A narrow search finds as many, in order, each once, at their true distance, and all if all are wanted.
        let narrow = router.route(query, breadth, n, &mut scratch);
        prop_assert_eq!(narrow.len(), n.min(count));
        prop_assert!(narrow.windows(2).all(|two| two[0] < two[1]));
        prop_assert!(narrow.iter().all(|near| right.contains(near)));
        if n >= count {
            prop_assert_eq!(narrow, &right[..]);
        }
    }

    #[test]
    fn every_list_belongs_to_one_node((dim, lists) in rows(60), cuts in prop::collection::vec(0.0f64..1.0, 0..8)) {
        let router = router(dim, &lists, &cuts);
        let all: Vec<usize> = (0..router.nodes().rows() as u32).flat_map(|node| router.lists_of(node)).collect();
        prop_assert_eq!(all, (0..router.lists().rows()).collect::<Vec<usize>>());
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
}
