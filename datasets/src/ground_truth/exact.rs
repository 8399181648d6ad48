//! The values that decide: one pair of vectors at a time, in f64.

use crate::Metric;

/// Sort key of a pair, smaller is nearer: squared distance, minus the inner product, or 1 - cosine. `pairs`
/// yields the components of query and row; `norms` are their Euclidean lengths (used under cosine only).
///
/// The sum runs in one fixed order, so the key is the same on every machine. Its relative error is below 2^-36
/// of the squared distance or of the product of the norms: at most (d + 2) 2^-53 with d <= 65,535.
pub(super) fn key(metric: Metric, pairs: impl Iterator<Item = (f32, f32)>, norms: (f64, f64)) -> f64 {
    let wide = pairs.map(|(q, x)| (f64::from(q), f64::from(x)));
    let key = match metric {
        Metric::L2 => wide.map(|(q, x)| (q - x) * (q - x)).sum(),
        Metric::InnerProduct => -wide.map(|(q, x)| q * x).sum::<f64>(),
        Metric::Cosine => 1.0 - wide.map(|(q, x)| q * x).sum::<f64>() / (norms.0 * norms.1),
    };
    key + 0.0 // -0.0 becomes 0.0
}

/// The value that is reported for a key, rounded once.
pub(super) fn value(metric: Metric, key: f64) -> f32 {
    match metric {
        Metric::L2 | Metric::Cosine => key as f32,
        Metric::InnerProduct => (0.0 - key) as f32,
    }
}

/// Sum of squares in f64.
pub(super) fn norm2(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|v| f64::from(v) * f64::from(v)).sum()
}
