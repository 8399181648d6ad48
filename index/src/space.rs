//! The routing space: where clusters are made and lists are chosen.
//!
//! Whatever the metric, clustering, closure assignment and routing work with squared Euclidean distances between
//! `f32` vectors, because the rules for copies and for pruning need a true distance:
//!
//! * L2: the vectors as they are.
//! * Cosine: the vectors scaled to unit length; L2 then orders as the cosine does.
//! * Inner product: one more dimension, √(M² − |x|²) with M the largest norm, puts all vectors on one sphere; a
//!   query is scaled to norm M and gets 0 there, and L2 then orders as the inner product does (Bachrach et al.,
//!   "Speeding up the Xbox recommender system using a Euclidean transformation for inner-product spaces", 2014).
//!
//! Then the vector is rotated at random, so that no dimension matters more than another (codes of a few bits a dimension
//! need that), and the mean of the sample is subtracted, so that dot products of centred vectors lose no digits. The
//! number of dimensions is rounded up for the kernels; what was added is rotated along with the rest.

use crate::metric::Metric;
use crate::random::Random;
use crate::rotation::{Rotation, padded};
use crate::vector::Shape;

const LANE_ROTATION: u64 = 8;

/// The map from stored vectors and queries into the routing space.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    pub(crate) metric: Metric,
    pub(crate) shape: Shape,
    /// M, the largest norm of the data; 0 but for inner products.
    pub(crate) norm_max: f64,
    /// Subtracted from every rotated vector; [`Space::dim`] values.
    pub(crate) mean: Vec<f32>,
    rotation: Rotation,
}

impl Space {
    /// A space whose mean is still zero; `seed` is the build's and decides the rotation.
    pub(crate) fn new(metric: Metric, shape: Shape, norm_max: f64, seed: u64) -> Self {
        let dim = dim_of(metric, shape);
        let rotation = Rotation::new(dim, Random::new(seed, LANE_ROTATION).at(0));
        Self { metric, shape, norm_max, mean: vec![0.0; dim], rotation }
    }

    /// Dimensions of the routing space.
    pub(crate) fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Embeds a stored vector.
    pub(crate) fn embed(&self, row: &[u8], out: &mut [f32]) {
        let (head, tail) = self.widen(row, out);
        if self.metric == Metric::InnerProduct {
            let rest = self.norm_max * self.norm_max - norm2(head);
            tail[0] = rest.max(0.0).sqrt() as f32;
        }
        self.finish(out);
    }

    /// By how much squared distances to a stored vector come out too large, because it is longer than any was when the space was
    /// made; `wide` has room for its elements.
    pub(crate) fn excess(&self, row: &[u8], wide: &mut [f32]) -> f64 {
        if self.metric != Metric::InnerProduct {
            return 0.0;
        }
        self.shape.widen(row, wide);
        (norm2(wide) - self.norm_max * self.norm_max).max(0.0)
    }

    /// Embeds a query.
    pub(crate) fn embed_query(&self, row: &[u8], out: &mut [f32]) {
        let (head, _) = self.widen(row, out);
        if self.metric == Metric::InnerProduct {
            scale(head, self.norm_max);
        }
        self.finish(out);
    }

    /// The metric's distance that a squared distance in the routing space stands for, from a query of norm `query_norm`
    /// (which matters to the inner product alone).
    pub(crate) fn metric_distance(&self, squared: f32, query_norm: f64) -> f32 {
        let squared = f64::from(squared);
        match self.metric {
            // Of the last there are no lists.
            Metric::L2 | Metric::Manhattan => squared as f32,
            Metric::Cosine => (squared / 2.0) as f32,
            Metric::InnerProduct if self.norm_max > 0.0 => {
                let norm = self.norm_max;
                (-(2.0 * norm * norm - squared) * query_norm / (2.0 * norm)) as f32
            }
            Metric::InnerProduct => 0.0,
        }
    }

    /// The squared distance in the routing space that a distance of the metric stands for; the inverse of
    /// [`Space::metric_distance`].
    pub(crate) fn routing_distance(&self, distance: f32, query_norm: f64) -> f32 {
        let distance = f64::from(distance);
        match self.metric {
            Metric::L2 | Metric::Manhattan => distance as f32,
            Metric::Cosine => (2.0 * distance) as f32,
            Metric::InnerProduct if query_norm > 0.0 => {
                let norm = self.norm_max;
                (2.0 * norm * norm + 2.0 * norm * distance / query_norm) as f32
            }
            Metric::InnerProduct => 0.0,
        }
    }

    /// What stored vectors and queries have in common: their elements in `f32`, and zeros in the dimensions behind.
    fn widen<'o>(&self, row: &[u8], out: &'o mut [f32]) -> (&'o mut [f32], &'o mut [f32]) {
        let (head, tail) = out.split_at_mut(self.shape.dim);
        self.shape.widen(row, head);
        if self.metric == Metric::Cosine {
            scale(head, 1.0);
        }
        tail.fill(0.0);
        (head, tail)
    }

    fn finish(&self, out: &mut [f32]) {
        self.rotation.apply(out);
        out.iter_mut().zip(&self.mean).for_each(|(x, mean)| *x -= mean);
    }
}

/// Dimensions of the routing space for vectors of a shape.
pub(crate) fn dim_of(metric: Metric, shape: Shape) -> usize {
    padded(shape.dim + usize::from(metric == Metric::InnerProduct))
}

/// Σ x², in `f64`.
pub(crate) fn norm2(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

/// Scales a vector to a norm; a zero vector stays.
fn scale(x: &mut [f32], norm: f64) {
    let now = norm2(x).sqrt();
    if now > 0.0 {
        let factor = norm / now;
        x.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
    }
}
