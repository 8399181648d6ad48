//! The nearest lists of every query by an exact scan, and how broadly the router must look to find them.

use rayon::prelude::*;

use super::Queries;
use crate::build::copy::decode_centroids;
use crate::calibration::RouterSetting;
use crate::kernel::Kernel;
use crate::panels::Panels;
use crate::router::{Near, Router, smallest_first};
use crate::search::stop::Planes;

/// Lists that are ranked for each query; beyond, only probing everything is considered.
pub(super) const RANKED: usize = 1024;
/// The share of the nearest lists the router must find.
const ROUTER_RECALL: f64 = 0.995;

/// The nearest lists of one query.
#[derive(Debug)]
pub(super) struct Sight {
    /// Nearest first.
    pub(super) lists: Vec<Near>,
    /// For each of them, how many nodes are nearer than its own.
    pub(super) node_ranks: Vec<u32>,
    pub(super) planes: Planes,
}

/// All queries' sights, and what they say of the router.
#[derive(Debug)]
pub(super) struct Sights {
    pub(super) queries: Vec<Sight>,
    /// For 1, 2, 4 … lists: the narrowest routing that finds nearly all of them.
    pub(super) router: Vec<RouterSetting>,
    pub(super) nodes: u32,
}

impl Sights {
    /// How broadly to route for so many lists, and the share of them that is found.
    pub(super) fn breadth(&self, lists: u32) -> (u32, f32) {
        let setting = self.router.iter().find(|setting| setting.nprobe >= lists);
        setting.map_or((self.nodes, 1.0), |setting| (setting.breadth, setting.recall))
    }
}

/// Ranks the lists of all queries.
pub(super) fn see(router: &Router, queries: &Queries) -> Sights {
    let centroids = decode_centroids(router);
    let panels = Panels::from_rows(queries.dim, &centroids);
    let queries: Vec<Sight> = (0..queries.len())
        .into_par_iter()
        .map(|query| sight(router, &panels, &centroids, queries.point(query)))
        .collect();
    let nodes = router.nodes.rows() as u32;
    Sights { router: router_settings(&queries, nodes), queries, nodes }
}

fn sight(router: &Router, panels: &Panels, centroids: &[f32], query: &[f32]) -> Sight {
    let mut distances = Vec::new();
    router.nodes.distances(query, 0..router.nodes.rows(), &mut distances);
    let mut nodes = near(&distances);
    nodes.sort_unstable();
    let mut rank_of_list = vec![0; panels.rows()];
    for (rank, node) in nodes.iter().enumerate() {
        rank_of_list[router.lists_of(node.at)].fill(rank as u32);
    }
    panels.distances(query, 0..panels.rows(), &mut distances);
    let mut lists = near(&distances);
    let lists = smallest_first(&mut lists, RANKED).to_vec();
    let node_ranks = lists.iter().map(|list| rank_of_list[list.at as usize]).collect();
    let row = |list: &Near| &centroids[list.at as usize * query.len()..][..query.len()];
    let mut planes = Planes::default();
    for list in &lists {
        let between = Kernel::best().l2_f32(row(&lists[0]), row(list)) as f32;
        planes.push(list.distance, lists[0].distance, between);
    }
    Sight { lists, node_ranks, planes }
}

fn router_settings(queries: &[Sight], nodes: u32) -> Vec<RouterSetting> {
    let mut breadths: Vec<u32> = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]
        .into_iter()
        .filter(|&b| b < nodes)
        .collect();
    breadths.push(nodes);
    let ranked = queries.iter().map(|sight| sight.lists.len()).min().unwrap_or(0);
    let powers = std::iter::successors(Some(1usize), |n| Some(n * 2)).take_while(|&n| n <= ranked);
    powers
        .filter_map(|nprobe| {
            let recalls = breadths.iter().map(|&breadth| (breadth, router_recall(queries, breadth, nprobe)));
            let found = recalls.into_iter().find(|(_, recall)| *recall >= ROUTER_RECALL);
            found.map(|(breadth, recall)| RouterSetting {
                nprobe: nprobe as u32,
                breadth,
                recall: recall as f32,
            })
        })
        .collect()
}

/// The share of the nearest `nprobe` lists that are seen.
fn router_recall(queries: &[Sight], breadth: u32, nprobe: usize) -> f64 {
    let seen = |sight: &Sight| sight.node_ranks[..nprobe].iter().filter(|&&rank| rank < breadth).count();
    let sum: usize = queries.iter().map(seen).sum();
    sum as f64 / (nprobe * queries.len().max(1)) as f64
}

fn near(distances: &[f32]) -> Vec<Near> {
    distances.iter().zip(0..).map(|(&distance, at)| Near { distance, at }).collect()
}
