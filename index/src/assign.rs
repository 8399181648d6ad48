//! Closure assignment: the lists that get a copy of a vector.

use rayon::prelude::*;

use crate::kernel::Kernel;
use crate::router::{Near, Router, smallest_first};

/// Vectors that one task assigns together, so that a node's centroids are read once for all of them.
const BLOCK: usize = 1024;
/// Nearest lists that are looked at for copies.
const CANDIDATES: usize = 64;

/// Assigns vectors to lists: the nearest one, and more where copies help.
///
/// Candidates are taken nearest first; one is kept unless a kept list is nearer to it than the vector is (the
/// relative-neighbourhood rule, SPANN section 4.2.2), so that copies go in different directions.
#[derive(Debug)]
pub(crate) struct Assigner<'a> {
    router: &'a Router,
    /// The centroids of the lists once more, row-major.
    centroids: &'a [f32],
    replicas: usize,
    breadth: usize,
}

impl<'a> Assigner<'a> {
    pub(crate) fn new(router: &'a Router, centroids: &'a [f32], replicas: usize, breadth: usize) -> Self {
        Self { router, centroids, replicas, breadth }
    }

    /// The lists of each vector (row-major, in the routing space), the nearest first.
    pub(crate) fn assign(&self, points: &[f32]) -> Vec<Vec<u32>> {
        let dim = self.router.lists().dim();
        points.par_chunks(BLOCK * dim).flat_map_iter(|block| self.assign_block(block)).collect()
    }

    fn assign_block(&self, block: &[f32]) -> Vec<Vec<u32>> {
        let dim = self.router.lists().dim();
        let points: Vec<&[f32]> = block.chunks_exact(dim).collect();
        let mut nearest: Vec<Nearest> = points.iter().map(|_| Nearest::default()).collect();
        let mut distances = Vec::new();
        for (node, visitors) in self.visitors(&points).into_iter().enumerate() {
            let lists = self.router.lists_of(node as u32);
            if visitors.is_empty() || lists.is_empty() {
                continue;
            }
            let queries: Vec<&[f32]> = visitors.iter().map(|&i| points[i as usize]).collect();
            self.router.lists().distances_many(&queries, lists.clone(), &mut distances);
            for (&i, distances) in visitors.iter().zip(distances.chunks_exact(lists.len())) {
                nearest[i as usize].extend(distances, lists.start);
            }
        }
        nearest.into_iter().map(|nearest| self.keep(nearest.finish())).collect()
    }

    /// The points that look into each node.
    fn visitors(&self, points: &[&[f32]]) -> Vec<Vec<u32>> {
        let nodes = self.router.nodes();
        let mut visitors = vec![Vec::new(); nodes.rows()];
        let mut distances = Vec::new();
        nodes.distances_many(points, 0..nodes.rows(), &mut distances);
        let mut ranked = Vec::new();
        for (i, distances) in distances.chunks_exact(nodes.rows()).enumerate() {
            ranked.clear();
            ranked.extend(distances.iter().zip(0..).map(|(&distance, at)| Near { distance, at }));
            for near in smallest_first(&mut ranked, self.breadth) {
                visitors[near.at as usize].push(i as u32);
            }
        }
        visitors
    }

    fn keep(&self, candidates: Vec<Near>) -> Vec<u32> {
        let mut kept: Vec<u32> = Vec::with_capacity(self.replicas);
        for near in candidates {
            if kept.len() == self.replicas {
                break;
            }
            let hidden = kept.iter().any(|&other| self.between(other, near.at) < f64::from(near.distance));
            if !hidden {
                kept.push(near.at);
            }
        }
        kept
    }

    /// The squared distance of two centroids.
    fn between(&self, a: u32, b: u32) -> f64 {
        let dim = self.router.lists().dim();
        let row = |list: u32| &self.centroids[list as usize * dim..][..dim];
        Kernel::best().l2_f32(row(a), row(b))
    }
}

/// The nearest [`CANDIDATES`] lists seen so far, kept by cutting a longer vector now and then.
#[derive(Debug)]
struct Nearest {
    found: Vec<Near>,
    limit: f32,
}

impl Default for Nearest {
    fn default() -> Self {
        Self { found: Vec::with_capacity(2 * CANDIDATES), limit: f32::INFINITY }
    }
}

impl Nearest {
    fn extend(&mut self, distances: &[f32], first: usize) {
        for (&distance, at) in distances.iter().zip(first as u32..) {
            if distance <= self.limit {
                self.found.push(Near { distance, at });
                if self.found.len() == 2 * CANDIDATES {
                    self.found.select_nth_unstable(CANDIDATES - 1);
                    self.found.truncate(CANDIDATES);
                    self.limit = self.found[CANDIDATES - 1].distance;
                }
            }
        }
    }

    fn finish(mut self) -> Vec<Near> {
        let n = smallest_first(&mut self.found, CANDIDATES).len();
        self.found.truncate(n);
        self.found
    }
}
