//! Assignment: the list nearest to a vector, and the lists where a copy of it helps.

use rayon::prelude::*;

use crate::kernel::Kernel;
use crate::panels::Panels;
use crate::router::{Near, Nearest, RouteScratch, Router, smallest_first};
use crate::tree::Tree;

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

/// The nearest list of each vector (row-major), among those of the `breadth` nearest nodes.
pub(crate) fn nearest(router: &Router, breadth: usize, points: &[f32]) -> Vec<u32> {
    let route = |scratch: &mut RouteScratch, point: &[f32]| {
        router.route(point, breadth, 1, scratch).first().map_or(0, |near| near.at)
    };
    points.par_chunks(router.nodes.dim()).map_init(RouteScratch::default, route).collect()
}

/// Finds the lists of copies by distance in the routing space.
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
