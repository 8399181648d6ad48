//! Assignment: the list nearest to a vector, and the lists where a copy of it helps.

use std::ops::Range;

use rayon::prelude::*;

use crate::kernel::Kernel;
use crate::panels::Panels;
use crate::router::{Near, Nearest, smallest_first};
use crate::tree::Tree;

/// Vectors that one task assigns together, so that a node's centroids are read once for all of them.
const TOGETHER: usize = 1024;
/// Vectors whose distances are computed at a time.
const BLOCK: usize = 128;
/// Lists around a list where copies of its vectors may go.
pub(crate) const CANDIDATES: usize = 512;
/// Nearest lists of a vector that are looked at for copies.
pub(crate) const PRICED: usize = 64;

/// How the lists of copies are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CopyRule {
    /// Candidates nearest first; one is kept unless a kept list is nearer to it than the vector is (the
    /// relative-neighbourhood rule, SPANN section 4.2.2), so that copies go in different directions.
    Rng,
    /// The candidate with the least `|r'|² + λ(r'·r/|r|)²`, r and r' being the residuals to the nearest list and to the
    /// candidate: a query that r leads astray is not led astray by r' (SOAR, Sun et al. 2023, theorem 3.1).
    Soar {
        /// λ, the price of parallel residuals.
        lambda: f32,
    },
}

impl Default for CopyRule {
    fn default() -> Self {
        Self::Soar { lambda: 1.0 }
    }
}

/// A list where a copy helps, and the ratio of its squared distance to that of the nearest list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Copy {
    pub(crate) list: u32,
    pub(crate) ratio: f32,
}

/// Assigns vectors to lists by distance in the routing space.
///
/// Copies are sought list by list: the lists around a list are nearly always those around its vectors, and are found once
/// for all of them.
#[derive(Debug)]
pub(crate) struct Assigner<'a> {
    tree: &'a Tree,
    breadth: usize,
}

/// The lists around a list, itself the first of them.
struct Around {
    lists: Vec<u32>,
    centroids: Panels,
    /// The squared distances of their centroids from its own.
    between: Vec<f32>,
}

impl<'a> Assigner<'a> {
    /// An assigner that looks into the `breadth` nearest nodes of a list for those around it.
    pub(crate) fn new(tree: &'a Tree, breadth: usize) -> Self {
        Self { tree, breadth }
    }

    /// The nearest list of each vector (row-major).
    pub(crate) fn nearest(&self, points: &[f32]) -> Vec<u32> {
        let dim = self.tree.lists.dim();
        points.par_chunks(TOGETHER * dim).flat_map_iter(|block| self.nearest_of_block(block)).collect()
    }

    fn nearest_of_block(&self, block: &[f32]) -> Vec<u32> {
        let points: Vec<&[f32]> = block.chunks_exact(self.tree.lists.dim()).collect();
        let mut best = vec![Near { distance: f32::INFINITY, at: 0 }; points.len()];
        for (node, visitors) in self.visitors(&points).into_iter().enumerate() {
            let lists = self.tree.lists_of(node as u32);
            if visitors.is_empty() || lists.is_empty() {
                continue;
            }
            let queries: Vec<&[f32]> = visitors.iter().map(|&i| points[i as usize]).collect();
            let found = each_nearest(&queries, &self.tree.lists, lists);
            for (&i, near) in visitors.iter().zip(found) {
                best[i as usize] = best[i as usize].min(near);
            }
        }
        best.into_iter().map(|near| near.at).collect()
    }

    /// The points that look into each node.
    fn visitors(&self, points: &[&[f32]]) -> Vec<Vec<u32>> {
        let nodes = &self.tree.nodes;
        let mut visitors = vec![Vec::new(); nodes.rows()];
        let (mut distances, mut ranked) = (Vec::new(), Vec::new());
        nodes.distances_many(points, 0..nodes.rows(), &mut distances);
        for (i, distances) in distances.chunks_exact(nodes.rows()).enumerate() {
            ranked.clear();
            ranked.extend(distances.iter().zip(0..).map(|(&distance, at)| Near { distance, at }));
            // In no order: all of them are looked into.
            let n = self.breadth.min(ranked.len());
            if n < ranked.len() {
                ranked.select_nth_unstable(n - 1);
            }
            for near in &ranked[..n] {
                visitors[near.at as usize].push(i as u32);
            }
        }
        visitors
    }

    fn nearest_nodes(&self, point: &[f32], n: usize) -> Vec<Near> {
        let mut distances = Vec::new();
        self.tree.nodes.distances(point, 0..self.tree.nodes.rows(), &mut distances);
        let mut ranked: Vec<Near> =
            distances.iter().zip(0..).map(|(&distance, at)| Near { distance, at }).collect();
        smallest_first(&mut ranked, n).to_vec()
    }

    /// The lists for at most `most` copies of each vector, best first; `own` is the list of all of them.
    pub(crate) fn copies(&self, points: &[f32], own: u32, most: usize, rule: CopyRule) -> Vec<Vec<Copy>> {
        let dim = self.tree.lists.dim();
        let around = self.around(own);
        let chooser = Chooser { around: &around, most, rule };
        let queries: Vec<&[f32]> = points.chunks_exact(dim).collect();
        let mut distances = Vec::new();
        around.centroids.distances_many(&queries, 0..around.lists.len(), &mut distances);
        distances.chunks_exact(around.lists.len()).map(|distances| chooser.choose(distances)).collect()
    }

    fn around(&self, list: u32) -> Around {
        let lists = &self.tree.lists;
        let mut centroid = vec![0.0; lists.dim()];
        lists.row(list as usize, &mut centroid);
        let (mut nearest, mut distances) = (Nearest::new(Vec::new(), CANDIDATES), Vec::new());
        for near in self.nearest_nodes(&centroid, self.breadth) {
            let range = self.tree.lists_of(near.at);
            lists.distances(&centroid, range.clone(), &mut distances);
            nearest.extend(&distances, range.start as u32);
        }
        let own = Near { distance: 0.0, at: list };
        let others = nearest.finish().into_iter().filter(|near| near.at != list);
        let around: Vec<Near> = std::iter::once(own).chain(others).take(CANDIDATES).collect();
        let mut centroids = Panels::with_capacity(lists.dim(), around.len());
        for near in &around {
            lists.row(near.at as usize, &mut centroid);
            centroids.push(&centroid);
        }
        let (lists, between) = around.iter().map(|near| (near.at, near.distance)).unzip();
        Around { lists, centroids, between }
    }
}

/// The nearest of some rows of `panels` to each of the queries.
fn each_nearest(queries: &[&[f32]], panels: &Panels, rows: Range<usize>) -> Vec<Near> {
    let (mut distances, mut found) = (Vec::new(), Vec::with_capacity(queries.len()));
    for queries in queries.chunks(BLOCK) {
        panels.distances_many(queries, rows.clone(), &mut distances);
        found.extend(distances.chunks_exact(rows.len()).map(|distances| {
            let mut best = Near { distance: f32::INFINITY, at: rows.start as u32 };
            for (&distance, at) in distances.iter().zip(rows.start as u32..) {
                if distance < best.distance {
                    best = Near { distance, at };
                }
            }
            best
        }));
    }
    found
}

/// Chooses the lists of a vector's copies among those around its own.
struct Chooser<'a> {
    around: &'a Around,
    most: usize,
    rule: CopyRule,
}

impl Chooser<'_> {
    /// `distances` are the vector's squared ones to the centroids of all lists around.
    fn choose(&self, distances: &[f32]) -> Vec<Copy> {
        let nearest = distances[0];
        let chosen = match self.rule {
            CopyRule::Rng => self.neighbours(distances),
            CopyRule::Soar { lambda } => self.soar(distances, lambda),
        };
        let copy = |near: Near| Copy {
            list: self.around.lists[near.at as usize],
            ratio: if nearest > 0.0 { near.distance / nearest } else { f32::MAX },
        };
        chosen.into_iter().map(copy).collect()
    }

    fn neighbours(&self, distances: &[f32]) -> Vec<Near> {
        let mut candidates: Vec<Near> =
            distances.iter().zip(0..).skip(1).map(|(&distance, at)| Near { distance, at }).collect();
        let dim = self.around.centroids.dim();
        let mut rows = [vec![0.0; dim], vec![0.0; dim]];
        let mut kept: Vec<Near> = Vec::with_capacity(self.most);
        for near in smallest_first(&mut candidates, PRICED) {
            let hidden = self.around.between[near.at as usize] < near.distance
                || kept.iter().any(|other| self.between(*other, *near, &mut rows) < near.distance);
            if !hidden {
                kept.push(*near);
            }
            if kept.len() == self.most {
                break;
            }
        }
        kept
    }

    fn between(&self, a: Near, b: Near, [row, other]: &mut [Vec<f32>; 2]) -> f32 {
        self.around.centroids.row(a.at as usize, row);
        self.around.centroids.row(b.at as usize, other);
        Kernel::best().l2_f32(row, other) as f32
    }

    fn soar(&self, distances: &[f32], lambda: f32) -> Vec<Near> {
        let nearest = distances[0];
        // r·r' by the law of cosines, from the three sides of vector, centroid and centroid.
        let price = |near: &Near| {
            let product = (nearest + near.distance - self.around.between[near.at as usize]) / 2.0;
            let parallel = if nearest > 0.0 { product * product / nearest } else { 0.0 };
            Near { distance: near.distance + lambda * parallel, at: near.at }
        };
        let mut candidates: Vec<Near> =
            distances.iter().zip(0..).skip(1).map(|(&distance, at)| Near { distance, at }).collect();
        let n = PRICED.min(candidates.len());
        if n < candidates.len() {
            candidates.select_nth_unstable(n);
        }
        let mut priced: Vec<Near> = candidates[..n].iter().map(price).collect();
        let best = smallest_first(&mut priced, self.most);
        best.iter().map(|near| Near { distance: distances[near.at as usize], at: near.at }).collect()
    }
}
