//! Real data: exact when everything is probed, and the promised recall when it is not.
//!
//! By default the large sets are left out and few queries are searched exhaustively; `NEARLINE_FULL=1` runs it all.

use nearline_datasets::catalog::{self, DataSet};
use nearline_datasets::{GroundTruth, RawVectors, load_raw};
use nearline_index::*;

use crate::common::{Rows, ask, folder, options};

/// Larger sets only run in full.
const ROWS: usize = 45_000;
/// Queries that are searched exhaustively, but in full.
const QUERIES: usize = 100;
/// With fewer queries than this in a set, chance decides whether half of them meets a target.
const ENOUGH: usize = 300;

/// A set in memory.
struct Loaded {
    name: String,
    metric: Metric,
    rows: Rows,
    queries: Rows,
    truth: GroundTruth,
}

fn ours(raw: RawVectors) -> Rows {
    let element = match raw.element {
        nearline_datasets::ElementType::F32 => ElementType::F32,
        nearline_datasets::ElementType::F16 => ElementType::F16,
        nearline_datasets::ElementType::U8 => ElementType::U8,
        nearline_datasets::ElementType::I8 => ElementType::I8,
    };
    Rows { shape: Shape { element, dim: raw.dim }, bytes: raw.bytes }
}

fn full() -> bool {
    std::env::var_os("NEARLINE_FULL").is_some()
}

fn load(set: &DataSet) -> Option<Loaded> {
    let rows = ours(load_raw(&set.base).unwrap());
    if rows.len() > ROWS && !full() {
        eprintln!("*** SKIPPED: {}, {} rows: set NEARLINE_FULL=1 ***", set.name, rows.len());
        return None;
    }
    let metric = match set.metric {
        nearline_datasets::Metric::L2 => Metric::L2,
        nearline_datasets::Metric::InnerProduct => Metric::InnerProduct,
        nearline_datasets::Metric::Cosine => Metric::Cosine,
    };
    let queries = ours(load_raw(&set.query).unwrap());
    let truth = GroundTruth::read(&set.truth).unwrap();
    assert_eq!((truth.queries, truth.k), (queries.len(), 100), "{}", set.name);
    Some(Loaded { name: set.name.clone(), metric, rows, queries, truth })
}

impl Loaded {
    /// The true rows of a query and their distances as we measure them.
    fn truth(&self, query: usize) -> (&[u32], Vec<f32>) {
        let (ids, values) = self.truth.row(query);
        let sign = if self.metric == Metric::InnerProduct { -1.0 } else { 1.0 };
        (ids, values.iter().map(|value| sign * value).collect())
    }

    fn build(&self, calibration: Option<&Rows>) -> (tempfile::TempDir, Index) {
        let dir = folder();
        let source = calibration.map(Rows::source);
        let queries = source.as_ref().map(|source| source as &dyn VectorSource);
        let chosen = BuildOptions {
            calibration_queries: queries,
            memory_bytes: 512 << 20,
            threads: 0,
            ..options(self.metric)
        };
        build(dir.path(), &self.rows.source(), &chosen, &Silent).unwrap();
        let opened = OpenOptions { io: chosen.io, ..OpenOptions::default() };
        let index = Index::open(dir.path(), &opened).unwrap();
        (dir, index)
    }

    /// Probing everything gives the truth: rows but for ties, distances but for the last digit.
    fn check_exact(&self, index: &Index) {
        let mut searcher = index.searcher();
        let queries = if full() { self.queries.len() } else { self.queries.len().min(QUERIES) };
        let everything = ask(self.truth.k, Probe::All);
        for query in 0..queries {
            let hits = searcher.search(self.queries.row(query), &everything).unwrap().hits;
            let (ids, distances) = self.truth(query);
            assert_eq!(hits.len(), ids.len());
            let last = distances[distances.len() - 1];
            for (hit, &right) in hits.iter().zip(&distances) {
                let name = &self.name;
                assert!(near(hit.distance, right), "{name}, query {query}: {hit:?} is not at {right}");
                let known = ids.contains(&hit.row.0) || near(hit.distance, last);
                assert!(known, "{name}, query {query}: {hit:?} is no neighbour");
            }
        }
    }

    /// Recall@10, lists and bytes a query over the second half of the queries.
    fn measure(&self, index: &Index, target: f32) -> (f64, f64, f64) {
        const K: usize = 10;
        let mut searcher = index.searcher();
        let asked = ask(K, Probe::TargetRecall(target));
        let (mut found, mut lists, mut bytes) = (0, 0, 0);
        let half = self.queries.len() / 2..self.queries.len();
        let count = half.len() as f64;
        for query in half {
            let answer = searcher.search(self.queries.row(query), &asked).unwrap();
            let (_, distances) = self.truth(query);
            let worst = distances[K - 1];
            // Distances may be estimates: what counts is the vector.
            let scorer = Scorer::new(self.metric, self.rows.shape, self.queries.row(query));
            let right = |hit: &&Hit| {
                let mut distance = [0.0];
                scorer.distances(self.rows.row(hit.row.0 as usize), &mut distance);
                distance[0] <= worst || near(distance[0], worst)
            };
            found += answer.hits.iter().filter(right).count();
            lists += answer.cost.lists;
            bytes += answer.cost.bytes;
        }
        (found as f64 / (count * K as f64), lists as f64 / count, bytes as f64 / count / 1024.0)
    }

    fn report(&self, index: &Index, calibration: &str, enough: bool) {
        for target in [0.90f32, 0.95, 0.99] {
            let (recall, lists, kib) = self.measure(index, target);
            let of = index.info().lists;
            println!(
                "{:24} {calibration:8} target {target:.2}: recall@10 {recall:.4}, {lists:.1} of {of} lists, {kib:.0} KB",
                self.name
            );
            if enough {
                let least = f64::from(target) - 0.01;
                assert!(recall >= least, "{}: recall@10 {recall} at {target}", self.name);
            }
        }
    }
}

/// Equal but for the last digits of an `f32`.
fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 4.0 * f32::EPSILON * a.abs().max(b.abs())
}

fn check(set: &DataSet) {
    let Some(loaded) = load(set) else { return };
    let half = loaded.queries.len() / 2;
    let row_bytes = loaded.queries.shape.row_bytes();
    let first =
        Rows { shape: loaded.queries.shape, bytes: loaded.queries.bytes[..half * row_bytes].to_vec() };
    let enough = loaded.queries.len() >= ENOUGH;
    if !enough {
        eprintln!("*** NOT ASSERTED: recall of {}: {} queries only ***", loaded.name, loaded.queries.len());
    }
    let (_dir, index) = loaded.build(Some(&first));
    loaded.check_exact(&index);
    loaded.report(&index, "queries", enough);
    if full() {
        let (_dir, index) = loaded.build(None);
        loaded.report(&index, "rows", false);
    }
}

/// One set after another: a build takes all cores.
#[test]
fn real_sets_are_exact_and_keep_their_promise() {
    let Some(catalog) = catalog::open() else { return };
    catalog.sets().iter().for_each(check);
}
