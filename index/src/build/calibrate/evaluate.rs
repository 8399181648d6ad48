//! What every query would meet, and when, at every breadth of routing.

use std::collections::HashMap;

use rayon::prelude::*;

use super::Queries;
use crate::router::{Near, Router, ratio_of, smallest_first};

/// Lists that are ranked for each query; beyond, only probing everything is considered.
const RANKED: usize = 4096;
/// Neighbours or lists that are not met.
const NEVER: u32 = u32::MAX;

/// One query at one breadth.
#[derive(Debug, Clone)]
pub(super) struct Outlook {
    /// For each neighbour, nearest first: the rank of the first list that holds it, and how much farther than the
    /// nearest list that list is (as a ratio of distances).
    pub(super) met: Vec<(u32, f32)>,
    /// How many lists lie within each ratio of [`Evaluated::ratios`].
    pub(super) within: Vec<u32>,
    /// How many of the nearest 1, 2, 4, 8 … lists, by an exact scan, are seen.
    pub(super) seen: Vec<u32>,
}

/// All queries at all breadths.
#[derive(Debug)]
pub(super) struct Evaluated {
    /// Breadths of routing, ascending; the last is everything.
    pub(super) breadths: Vec<u32>,
    /// Ratios of distance beyond which lists are left out, ascending; the last is none.
    pub(super) ratios: Vec<f32>,
    /// For each breadth, each query.
    pub(super) outlooks: Vec<Vec<Outlook>>,
}

/// Evaluates all queries. `lists` names the lists of every row in `truth`.
pub(super) fn evaluate(
    router: &Router,
    queries: &Queries,
    truth: &[Vec<u32>],
    lists: &HashMap<u32, Vec<u32>>,
) -> Evaluated {
    let nodes = router.nodes().rows() as u32;
    let mut breadths: Vec<u32> =
        [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128].into_iter().filter(|&b| b < nodes).collect();
    breadths.push(nodes);
    let mut ratios: Vec<f32> = (1..=24).map(|step| 1.0 + 0.05 * step as f32).collect();
    ratios.push(f32::INFINITY);
    let by_query: Vec<Vec<Outlook>> = truth
        .par_iter()
        .enumerate()
        .map(|(i, rows)| {
            let sight = Sight::new(router, queries.point(i));
            let rows: Vec<&[u32]> = rows.iter().map(|row| lists[row].as_slice()).collect();
            breadths.iter().map(|&breadth| sight.outlook(breadth, &ratios, &rows)).collect()
        })
        .collect();
    let outlooks = (0..breadths.len())
        .map(|breadth| by_query.iter().map(|outlooks| outlooks[breadth].clone()).collect())
        .collect();
    Evaluated { breadths, ratios, outlooks }
}

/// The nearest lists of a query by an exact scan.
struct Sight {
    /// Nearest first.
    lists: Vec<Near>,
    /// For each of them, how many nodes are nearer than its own.
    node_ranks: Vec<u32>,
}

impl Sight {
    fn new(router: &Router, query: &[f32]) -> Self {
        let mut distances = Vec::new();
        router.nodes().distances(query, 0..router.nodes().rows(), &mut distances);
        let mut nodes = near(&distances);
        nodes.sort_unstable();
        let mut rank_of_list = vec![0; router.lists().rows()];
        for (rank, node) in nodes.iter().enumerate() {
            rank_of_list[router.lists_of(node.at)].fill(rank as u32);
        }
        router.lists().distances(query, 0..router.lists().rows(), &mut distances);
        let mut lists = near(&distances);
        let lists = smallest_first(&mut lists, RANKED).to_vec();
        let node_ranks = lists.iter().map(|list| rank_of_list[list.at as usize]).collect();
        Self { lists, node_ranks }
    }

    fn outlook(&self, breadth: u32, ratios: &[f32], rows: &[&[u32]]) -> Outlook {
        let seen: Vec<Near> = self
            .lists
            .iter()
            .zip(&self.node_ranks)
            .filter(|(_, rank)| **rank < breadth)
            .map(|(list, _)| *list)
            .collect();
        let nearest = seen.first().map_or(0.0, |list| list.distance);
        let ratio = |list: &Near| ratio_of(list.distance, nearest);
        let ranks: HashMap<u32, usize> =
            seen.iter().enumerate().map(|(rank, list)| (list.at, rank)).collect();
        let met = rows
            .iter()
            .map(|lists| {
                let rank = lists.iter().filter_map(|list| ranks.get(list)).min();
                rank.map_or((NEVER, f32::INFINITY), |&rank| (rank as u32, ratio(&seen[rank])))
            })
            .collect();
        let within = ratios.iter().map(|&limit| seen.partition_point(|list| ratio(list) <= limit) as u32);
        let firsts = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|&n| n <= self.lists.len());
        let share =
            firsts.map(|n| self.node_ranks[..n].iter().filter(|&&rank| rank < breadth).count() as u32);
        Outlook { met, within: within.collect(), seen: share.collect() }
    }
}

fn near(distances: &[f32]) -> Vec<Near> {
    distances.iter().zip(0..).map(|(&distance, at)| Near { distance, at }).collect()
}
