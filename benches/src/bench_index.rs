//! A small index for micro-benchmarks of the stages inside a search, timed by what the search itself reports.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::Result;
use nearline::{Cost, Probe, SearchOptions, Searcher};
use tempfile::TempDir;

use crate::data::{self, Prepared};
use crate::measure;
use crate::scenario::{Build, Data};

const K: usize = 10;

/// An index of `deep` vectors, with a searcher.
pub struct BenchIndex {
    searcher: RefCell<Searcher>,
    data: Prepared,
    _folder: TempDir,
}

impl BenchIndex {
    /// Generates so many vectors and builds an index in a folder that goes with the value.
    ///
    /// # Errors
    /// Whatever building says.
    pub fn build(count: u64) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let [kind, element, metric] = ["deep", "f32", "l2"].map(str::to_owned);
        let data = Data { kind, count, dim: 96, element, metric, seed: 1, queries: 200 };
        let data = data::prepare(&data, K, folder.path())?;
        let dir = folder.path().join("index");
        measure::build(&data, &Build { memory_mib: 256, seed: 1 }, &dir)?;
        let searcher = RefCell::new(measure::open(&dir)?.searcher());
        Ok(Self { searcher, data, _folder: folder })
    }

    /// The sum over so many searches of one of their times, in microseconds, as a duration.
    ///
    /// # Panics
    /// When a search fails: a benchmark of failures is worth nothing.
    pub fn time(&self, rounds: u64, probe: Probe, part: impl Fn(&Cost) -> f64) -> Duration {
        let sum = self.sum(rounds, probe, part).expect("the index is sound");
        Duration::from_secs_f64(sum / 1e6)
    }

    /// The mean over all queries of one of their costs.
    ///
    /// # Errors
    /// Whatever searching says.
    pub fn mean(&self, probe: Probe, part: impl Fn(&Cost) -> f64) -> Result<f64> {
        let queries = self.data.queries.count as u64;
        Ok(self.sum(queries, probe, part)? / queries as f64)
    }

    fn sum(&self, rounds: u64, probe: Probe, part: impl Fn(&Cost) -> f64) -> Result<f64> {
        let mut searcher = self.searcher.borrow_mut();
        let options = SearchOptions { k: K, probe, ..SearchOptions::default() };
        let mut sum = 0.0;
        for round in 0..rounds {
            let query = self.data.queries.row(round as usize % self.data.queries.count);
            sum += part(&searcher.search(query, &options)?.cost);
        }
        Ok(sum)
    }
}
