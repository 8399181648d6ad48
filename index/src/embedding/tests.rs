//! Tables against golden bytes, naive twins and finite differences.

mod golden;
mod laws;
mod methods;
mod pooling;
mod runs;
mod search;
mod thresholds;
mod training;
mod vectors;

use crate::random::Random;

/// Uniform in -1..1.
pub(super) fn values(seed: u64, count: usize) -> Vec<f32> {
    let random = Random::new(seed, 9);
    (0..count as u64).map(|i| (random.at(i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}
