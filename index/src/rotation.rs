//! A random rotation that takes `O(dim log dim)` steps: rounds of random signs, fast Hadamard transforms and
//! Givens rotations (the "FHT-Kac" walk of the RaBitQ library; Kac's walk for the parts between powers of two).
//!
//! Codes are good when no dimension of a residual stands out, and their error bounds hold over the choice of a
//! random rotation. This one costs no matrix, and only additions and multiplications in a fixed order, so that it
//! gives the same bits on every machine.

use crate::kernel::Kernel;
use crate::random::Random;

/// Rounds of signs, transform and pairs. Two already mix every dimension with every other.
const ROUNDS: usize = 4;
/// Dimensions of the routing space come in groups of so many.
const GROUP: usize = 16;
/// What the signs are drawn for.
const LANE: u64 = 0x0070_7461;

/// The rotation of vectors of `dim` values that belongs to a seed.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    dim: usize,
    /// `ROUNDS` times `dim` factors: random signs, times what makes the round's steps keep lengths.
    factors: Vec<f32>,
}

/// The dimension of rotated vectors: `dim` filled up with zeros to the next multiple of 16.
pub(crate) fn padded(dim: usize) -> usize {
    dim.next_multiple_of(GROUP)
}

impl Rotation {
    /// # Panics
    /// When `dim` is no positive multiple of 16.
    pub(crate) fn new(dim: usize, seed: u64) -> Self {
        assert!(dim > 0 && dim == padded(dim), "{dim} dimensions are no multiple of {GROUP}");
        let random = Random::new(seed, LANE);
        let length = 1 << dim.ilog2();
        let mut factors = Vec::with_capacity(ROUNDS * dim);
        for round in 0..ROUNDS {
            let span = span(round, dim, length);
            for i in 0..dim {
                let draw = random.at((round * dim + i) as u64);
                let sign = if draw >> 63 == 0 { 1.0 } else { -1.0 };
                // One factor √½ for the pairs, and one for each of the transform's additions.
                let transform = if span.contains(&i) { f64::from(length as u32) } else { 1.0 };
                factors.push((sign * (0.5 / transform).sqrt()) as f32);
            }
        }
        Self { dim, factors }
    }

    /// Rotates a vector of `dim` values in place.
    ///
    /// # Panics
    /// When the vector is of another length.
    pub(crate) fn apply(&self, x: &mut [f32]) {
        assert_eq!(x.len(), self.dim);
        let kernel = Kernel::best();
        let length = 1 << self.dim.ilog2();
        for (round, factors) in self.factors.chunks_exact(self.dim).enumerate() {
            kernel.rotate(factors, span(round, self.dim, length).start, x);
        }
    }
}

/// The dimensions that a round transforms: the first or the last power of two.
fn span(round: usize, dim: usize, length: usize) -> std::ops::Range<usize> {
    if round.is_multiple_of(2) { 0..length } else { dim - length..dim }
}
