//! Exact nearest neighbours: the answer that approximate search is judged by.

mod best;
mod bound;
mod exact;
mod file;
mod panel;
mod search;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::load::RawVectors;
use crate::{DatasetError, Metric, Result, VectorFile, check_finite};
pub(crate) use search::Search;

/// The exact `k` nearest rows of each query.
///
/// Its file (`*.gtK.bin`, big-ann-benchmarks): u32 queries, u32 k, then all ids as u32, then all distances as
/// f32, query by query, nearest first. See [`read`](Self::read) and [`write`](Self::write).
#[derive(Clone, Debug, PartialEq)]
pub struct GroundTruth {
    /// Number of queries.
    pub queries: usize,
    /// Neighbours of each.
    pub k: usize,
    /// `queries * k` row numbers; of equally distant rows the smaller comes first.
    pub ids: Vec<u32>,
    /// `queries * k` values: squared distance (l2), inner product (ip) or 1 - cosine.
    pub distances: Vec<f32>,
}

impl GroundTruth {
    /// Row numbers and values of query `i` (below `queries`), nearest first.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let range = i * self.k..(i + 1) * self.k;
        (&self.ids[range.clone()], &self.distances[range])
    }
}

/// Finds the exact `k` nearest rows of `base` for every query by brute force.
///
/// The base is read once, in order, in blocks of a few MiB, so its size does not matter; `threads` = 0 takes
/// all cores. `progress` hears the rows done and their total after each block. An f32 matrix product with a
/// proven error bound (`bound.rs`) decides which rows can be among the nearest; those are computed in
/// f64, ranked by that value, ties by the smaller row number, and rounded once to f32. For bytes
/// the f64 values are exact under l2 and ip. The result does not depend on `threads`.
///
/// # Errors
/// `k` = 0 or above the number of rows, queries of another dimension or type, more than 2^32 rows, NaN or
/// infinity anywhere, a zero vector under cosine, and all errors of reading.
pub fn ground_truth(
    base: &VectorFile,
    queries: &RawVectors,
    metric: Metric,
    k: usize,
    threads: usize,
    progress: &dyn Fn(u64, u64),
) -> Result<GroundTruth> {
    check_arguments(base, queries, k)?;
    let pool = thread_pool(threads)?;
    let mut search = Search::new(queries, metric, k)?;
    let mut reader = base.rows(0)?;
    let mut current = vec![0; search.block_rows() * base.row_bytes()];
    let mut next = current.clone();
    let (mut first, mut rows) = (0, reader.read(&mut current)?);
    while rows > 0 {
        let bytes = &current[..rows * base.row_bytes()];
        let compute = || {
            check_finite(base.element(), bytes, base.dim(), first, base.path())?;
            search.add(bytes, first, base.path())
        };
        let (computed, read) = pool.install(|| rayon::join(compute, || reader.read(&mut next)));
        computed?;
        first += rows as u64;
        progress(first, base.count());
        rows = read?;
        std::mem::swap(&mut current, &mut next);
    }
    Ok(search.finish())
}

/// Local intrinsic dimension of squared distances: the maximum-likelihood estimate of Levina and Bickel (2004),
/// as used by Amsaleg et al. (KDD 2015), `-1 / mean(ln(d_i / d_k))` over the first k - 1 neighbours of a
/// query, averaged over the queries. NaN when no query has an estimate (`k` = 1, or all distances equal).
pub fn intrinsic_dimension(truth: &GroundTruth) -> f64 {
    let estimates: Vec<f64> =
        (0..truth.queries).map(|i| estimate(truth.row(i).1)).filter(|e| e.is_finite()).collect();
    estimates.iter().sum::<f64>() / estimates.len() as f64
}

fn estimate(squared: &[f32]) -> f64 {
    // ln of a root is half the ln; the floor keeps duplicates of the query from counting as -infinity
    let ln = |d: f32| f64::from(d).max(1e-20).ln() / 2.0;
    let [rest @ .., last] = squared else { return f64::NAN };
    -1.0 / (rest.iter().map(|&d| ln(d) - ln(*last)).sum::<f64>() / rest.len() as f64)
}

/// A pool of so many threads, 0 for all cores.
pub(crate) fn thread_pool(threads: usize) -> Result<ThreadPool> {
    let expected = "fewer, or 0 for all cores";
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| DatasetError::argument("threads", format!("{threads} ({e})"), expected))
}

fn check_arguments(base: &VectorFile, queries: &RawVectors, k: usize) -> Result<()> {
    let about = |what: &str| format!("{} for {}", what, base.path().display());
    if k == 0 || k as u64 > base.count() {
        return Err(DatasetError::argument(about("k"), k, format!("1 to {} (the rows)", base.count())));
    }
    if base.count() > 1 << 32 {
        return Err(DatasetError::argument(about("number of rows"), base.count(), "at most 2^32 (u32 ids)"));
    }
    if queries.dim != base.dim() {
        return Err(DatasetError::argument(about("dimension of the queries"), queries.dim, base.dim()));
    }
    if queries.element != base.element() {
        return Err(DatasetError::argument(about("type of the queries"), queries.element, base.element()));
    }
    Ok(())
}
