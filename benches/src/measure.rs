//! Building and searching with a stopwatch.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use nearline::{BuildOptions, Index, IoMode, OpenOptions, Probe, SearchOptions, Silent};
use serde::Serialize;

use crate::data::{Prepared, Source};
use crate::scenario::{Build, Scenario};

/// What one scenario gave at one recall asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The scenario's name.
    pub scenario: String,
    /// Recall asked for.
    pub target_recall: f32,
    /// Mean share of the true neighbours that were found.
    pub recall: f64,
    /// Mean lists probed.
    pub lists_per_query: f64,
    /// Mean reads.
    pub reads_per_query: f64,
    /// Mean bytes read.
    pub bytes_per_query: f64,
    /// Mean time of a query.
    pub mean_us: f64,
    /// Half of the queries are faster.
    pub p50_us: f64,
    /// One in a hundred is slower.
    pub p99_us: f64,
    /// Seconds of the build.
    pub build_seconds: f64,
    /// Bytes of the index.
    pub disk_bytes: u64,
}

/// Builds a scenario's index in `folder` and measures every recall it asks for.
///
/// # Errors
/// Whatever building or searching says.
pub fn run(scenario: &Scenario, data: &Prepared, folder: &Path) -> Result<Vec<Measured>> {
    let began = Instant::now();
    build(data, &scenario.build, folder)?;
    let build_seconds = began.elapsed().as_secs_f64();
    let index = open(folder)?;
    let mut all = Vec::new();
    for &target in &scenario.search.targets {
        index.drop_cache()?;
        let costs = search(&index, data, scenario.search.k, target)?;
        let about = (scenario.name.clone(), build_seconds, index.info().disk_bytes);
        all.push(costs.into_measured(about, target, data.truth.queries * scenario.search.k));
    }
    Ok(all)
}

/// Builds an index in a new folder.
///
/// # Errors
/// Whatever the build says.
pub fn build(data: &Prepared, options: &Build, folder: &Path) -> Result<()> {
    let options = BuildOptions {
        metric: data.metric,
        memory_bytes: options.memory_mib << 20,
        seed: options.seed,
        io: IoMode::from_env(),
        ..BuildOptions::default()
    };
    nearline::build(folder, &Source(&data.base), &options, &Silent)?;
    Ok(())
}

/// Opens an index, to be read as the environment variable `NEARLINE_IO` asks.
///
/// # Errors
/// Whatever opening says.
pub fn open(folder: &Path) -> Result<Index> {
    Ok(Index::open(folder, &OpenOptions { io: IoMode::from_env(), ..OpenOptions::default() })?)
}

/// Sums over all queries.
#[derive(Default)]
struct Costs {
    found: usize,
    lists: u64,
    reads: u64,
    bytes: u64,
    times_us: Vec<f64>,
}

fn search(index: &Index, data: &Prepared, k: usize, target: f32) -> Result<Costs> {
    let mut searcher = index.searcher();
    let options = SearchOptions { k, probe: Probe::TargetRecall(target), ..SearchOptions::default() };
    let mut costs = Costs::default();
    for query in 0..data.truth.queries {
        let began = Instant::now();
        let answer = searcher.search(data.queries.row(query), &options)?;
        costs.times_us.push(began.elapsed().as_secs_f64() * 1e6);
        let (ids, distances) = data.truth.row(query);
        let found = answer.hits.iter().map(|hit| (hit.id, hit.distance));
        costs.found += hits(found, ids, distances, k);
        costs.lists += answer.cost.lists;
        costs.reads += answer.cost.reads;
        costs.bytes += answer.cost.bytes;
    }
    Ok(costs)
}

/// How many of the `k` nearest were found; a row as near as the k-th is as good as it.
fn hits(found: impl Iterator<Item = (u64, f32)>, ids: &[u32], distances: &[f32], k: usize) -> usize {
    let worst = distances.get(k - 1).copied().unwrap_or(f32::INFINITY);
    let ids = &ids[..k.min(ids.len())];
    let is_hit = |(id, distance): &(u64, f32)| {
        ids.iter().any(|&true_id| u64::from(true_id) == *id) || *distance == worst
    };
    found.take(k).filter(is_hit).count()
}

impl Costs {
    fn into_measured(mut self, about: (String, f64, u64), target: f32, wanted: usize) -> Measured {
        let (scenario, build_seconds, disk_bytes) = about;
        let queries = self.times_us.len().max(1) as f64;
        self.times_us.sort_by(f64::total_cmp);
        Measured {
            scenario,
            target_recall: target,
            recall: self.found as f64 / wanted as f64,
            lists_per_query: self.lists as f64 / queries,
            reads_per_query: self.reads as f64 / queries,
            bytes_per_query: self.bytes as f64 / queries,
            mean_us: self.times_us.iter().sum::<f64>() / queries,
            p50_us: percentile(&self.times_us, 0.50),
            p99_us: percentile(&self.times_us, 0.99),
            build_seconds,
            disk_bytes,
        }
    }
}

/// The smallest value that so large a share of all is not above.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99)), (100.0, 198.0));
        assert_eq!(percentile(&[7.0], 0.5), 7.0);
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_tie_with_the_last_counts() {
        let found = [(3, 0.5), (9, 2.0), (8, 2.5)];
        assert_eq!(hits(found.into_iter(), &[3, 4, 5], &[0.5, 2.0, 3.0], 2), 2);
        assert_eq!(hits(found.into_iter(), &[3, 4, 5], &[0.5, 1.0, 3.0], 2), 1);
    }
}
