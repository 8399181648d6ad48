//! The lists of new vectors: the nearest, and those where a copy helps.

use crate::build::{RATIO_MAX, breadth};
use crate::router::{Near, RouteScratch, Router};

/// Nearest lists that are looked at for a copy: fewer than a build looks at, which finds them for many vectors together.
const PRICED: usize = 24;
/// λ of SOAR, as offline builds have it by default (`assign::CopyRule`).
const LAMBDA: f32 = 1.0;

/// Finds lists. It keeps its memory.
#[derive(Debug, Default)]
pub(crate) struct Placer {
    scratch: RouteScratch,
    between: Vec<f32>,
    near: Vec<Near>,
    priced: Vec<Near>,
}

impl Placer {
    /// The list nearest to a point and its squared distance.
    pub(crate) fn nearest(&mut self, router: &Router, point: &[f32]) -> Near {
        let near = router.route(point, breadth(router.nodes.rows()), 1, &mut self.scratch);
        near.first().copied().unwrap_or(Near { distance: f32::INFINITY, at: 0 })
    }

    /// The lists nearest to a point, nearest first.
    pub(crate) fn around(&mut self, router: &Router, point: &[f32], n: usize) -> &[Near] {
        router.route(point, breadth(router.nodes.rows()), n, &mut self.scratch)
    }

    /// The list nearest to a point, and at most so many lists for copies, the best first: those with the least
    /// `|r'|² + λ(r'·r/|r|)²` (SOAR, see `assign::CopyRule`).
    pub(crate) fn place(&mut self, router: &Router, point: &[f32], copies: usize, out: &mut Vec<u32>) {
        out.clear();
        let near = router.route(point, breadth(router.nodes.rows()), PRICED, &mut self.scratch);
        self.near.clear();
        self.near.extend_from_slice(near);
        let Some((&own, others)) = self.near.split_first() else { return };
        out.push(own.at);
        if copies == 0 || others.is_empty() {
            return;
        }
        router.between(own.at, others, &mut self.scratch, &mut self.between);
        self.priced.clear();
        for (near, &between) in others.iter().zip(&self.between) {
            if near.distance > own.distance * RATIO_MAX {
                continue;
            }
            // r·r' by the law of cosines.
            let product = (own.distance + near.distance - between) / 2.0;
            let parallel = if own.distance > 0.0 { product * product / own.distance } else { 0.0 };
            self.priced.push(Near { distance: near.distance + LAMBDA * parallel, at: near.at });
        }
        self.priced.sort_unstable();
        out.extend(self.priced.iter().take(copies).map(|near| near.at));
    }
}
