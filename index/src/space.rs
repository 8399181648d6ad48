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
//! The mean of the sample is subtracted, so that dot products of centred vectors lose no digits.

use crate::metric::Metric;
use crate::vector::Shape;

/// The map from stored vectors and queries into the routing space.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Space {
    pub(crate) metric: Metric,
    pub(crate) shape: Shape,
    /// M, the largest norm of the data; 0 but for inner products.
    pub(crate) norm_max: f64,
    /// Subtracted from every embedded vector; [`Space::dim`] values.
    pub(crate) mean: Vec<f32>,
}

impl Space {
    /// A space whose mean is still zero.
    pub(crate) fn new(metric: Metric, shape: Shape, norm_max: f64) -> Self {
        let mut space = Self { metric, shape, norm_max, mean: Vec::new() };
        space.mean = vec![0.0; space.dim()];
        space
    }

    /// Dimensions of the routing space.
    pub(crate) fn dim(&self) -> usize {
        dim_of(self.metric, self.shape)
    }

    /// Embeds a stored vector.
    pub(crate) fn embed(&self, row: &[u8], out: &mut [f32]) {
        let (head, tail) = self.widen(row, out);
        if self.metric == Metric::InnerProduct {
            let rest = self.norm_max * self.norm_max - norm2(head);
            tail.fill(rest.max(0.0).sqrt() as f32);
        }
        self.centre(out);
    }

    /// Embeds a query.
    pub(crate) fn embed_query(&self, row: &[u8], out: &mut [f32]) {
        let (head, tail) = self.widen(row, out);
        if self.metric == Metric::InnerProduct {
            scale(head, self.norm_max);
            tail.fill(0.0);
        }
        self.centre(out);
    }

    /// What stored vectors and queries have in common: their elements in `f32`, and the place for one more.
    fn widen<'o>(&self, row: &[u8], out: &'o mut [f32]) -> (&'o mut [f32], &'o mut [f32]) {
        let (head, tail) = out.split_at_mut(self.shape.dim);
        self.shape.widen(row, head);
        if self.metric == Metric::Cosine {
            scale(head, 1.0);
        }
        (head, tail)
    }

    fn centre(&self, out: &mut [f32]) {
        out.iter_mut().zip(&self.mean).for_each(|(x, mean)| *x -= mean);
    }
}

/// Dimensions of the routing space for vectors of a shape.
pub(crate) fn dim_of(metric: Metric, shape: Shape) -> usize {
    shape.dim + usize::from(metric == Metric::InnerProduct)
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
