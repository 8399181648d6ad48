//! Why the f32 filter cannot lose a neighbour.
//!
//! For a query q and a row x let p = q·x, and let `w` and `h` depend on the row only. The filter compares
//! g = p w - h, larger is nearer, which orders rows as the metric does:
//!
//! | metric | w | h | key of the pair | g ≥ τ, when key ≤ T |
//! |---|---|---|---|---|
//! | l2 | 1 | \|x\|²/2 | \|q-x\|² = \|q\|² - 2g | τ = (\|q\|² - T)/2 |
//! | ip | 1 | 0 | -p = -g | τ = -T |
//! | cosine | 1/\|x\| | 0 | 1 - g/\|q\| | τ = \|q\| (1 - T) |
//!
//! T is the key of the query's k-th best row so far, so a row with g < τ is not among the k nearest. The computed
//! ĝ differs from g by at most E (below), hence **a row with ĝ < τ - E has g < τ and may be dropped; every
//! other row is computed in f64.**
//!
//! E, with u = 2^-24, γ = d u / (1 - d u), d ≤ 65,535:
//! * p̂ is a sum of d products in f32: |p̂ - p| ≤ γ Σ|q_i x_i| + η ≤ γ |q||x| + η in any order of summation (Higham,
//!   *Accuracy and Stability of Numerical Algorithms*, eq. 3.5, and Cauchy-Schwarz); η = d 2^-149 is for
//!   products that underflow.
//! * ŵ and ĥ are f64 values rounded to f32, each within 1.01 u (the f64 error, below 2^-36, is the 0.01);
//!   ĝ = fl(fl(p̂ ŵ) - ĥ) has two more roundings. Together, as 1 + γ < 1.004,
//!   |ĝ - g| ≤ w|x||q| (γ + 3.2u) + 2.1u h + 2wη + 2^-148.
//! * The keys themselves are computed in f64. Their error is below 2^-36 of |q||x| (ip, cosine), less than
//!   u |q||x| w; under l2 it is below 2^-36 of the key, for which τ is lowered by that much of T and of |q|².
//!
//! Here E = |q| S (γ + 8u) + 8u H + 2Wη + 2^-148, with S, H and W the largest w|x|, h and w of a panel of rows.
//! Nothing overflows while |q| and |x| are at most 2^60 and w is at most 2^60; outside that E = ∞ and every row is
//! computed in f64. The threshold τ - E is rounded down to f32, and the comparison keeps a NaN.

use crate::Metric;

const U: f64 = 1.0 / (1 << 24) as f64;
const F64_ERROR: f64 = 1.0 / (1u64 << 36) as f64;
/// Largest norm, and largest 1/norm under cosine, for which f32 is safe.
const SAFE: f64 = (1u64 << 60) as f64;
/// 2^-148.
const TINY: f64 = f64::from_bits((1023 - 148) << 52);

/// What the bound needs to know of a panel of rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extremes {
    /// Largest norm |x|.
    pub(super) norm: f64,
    /// Largest w.
    pub(super) w: f64,
    /// Largest w |x|.
    pub(super) scaled: f64,
    /// Largest h.
    pub(super) h: f64,
}

/// Rows of the panel whose computed g is below this are not among the k nearest of a query of norm
/// `query`, when its k-th best key so far is `limit` (infinite if there are not k yet).
pub(super) fn threshold(metric: Metric, dim: usize, query: f64, limit: f64, rows: &Extremes) -> f32 {
    let tau = match metric {
        Metric::L2 => (query * query * (1.0 - F64_ERROR) - limit * (1.0 + F64_ERROR)) / 2.0,
        Metric::InnerProduct => -limit,
        Metric::Cosine => query * (1.0 - limit),
    };
    // the nearest f32 is at most half a step above
    ((tau - slack(dim, query, rows)) as f32).next_down()
}

fn slack(dim: usize, query: f64, rows: &Extremes) -> f64 {
    if query > SAFE || rows.norm > SAFE || rows.w > SAFE {
        return f64::INFINITY;
    }
    let d = dim as f64;
    let gamma = d * U / (1.0 - d * U);
    let underflow = rows.w * d * TINY + TINY;
    query * rows.scaled * (gamma + 8.0 * U) + 8.0 * U * rows.h + underflow
}
