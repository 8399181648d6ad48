//! A collection that grows while it is searched: speed, recall, latency and memory on the way, and afterwards.
//!
//! ```text
//! cargo run --release -p nearline-benches --example live -- base.fbin query.fbin [COUNT] [MEMORY_MIB]
//! ```
//!
//! Without files, vectors are generated. Writes wait while recall is measured; latencies are those of one thread that asks
//! all the time while another writes.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use nearline::{Collection, Database, FieldType, Filter, Metric, Payload, Point, Query, Schema};
use nearline_datasets::{ElementType, Kind, RowReader, VectorFile, generate, generate_queries};

/// Points of a call.
const BATCH: u64 = 1_000;
/// Points between two looks at the recall.
const STEP: u64 = 50_000;
/// Queries of a look, each answered exactly as well.
const LOOK: usize = 50;
const K: usize = 10;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = tempfile::tempdir()?;
    let (base, queries, number) = match &args[..] {
        [base, queries, rest @ ..] if Path::new(base).exists() => {
            (PathBuf::from(base), PathBuf::from(queries), rest)
        }
        rest => {
            let (base, queries) = (folder.path().join("base.fbin"), folder.path().join("query.fbin"));
            let count = rest.first().map_or(Ok(30_000), |count| count.parse())?;
            generate(Kind::Deep, count, 48, ElementType::F32, 1)?.write_to(&base)?;
            generate_queries(Kind::Deep, 500, 48, ElementType::F32, 1)?.write_to(&queries)?;
            (base, queries, rest)
        }
    };
    let (base, queries) = (VectorFile::open(&base)?, VectorFile::open(&queries)?);
    let count = number.first().map_or(Ok(base.count()), |count| count.parse())?.min(base.count());
    let memory_mib: u64 = number.get(1).map_or(Ok(128), |memory| memory.parse())?;
    let queries = vectors(&mut queries.rows(0)?, queries.dim(), queries.count().min(500))?;
    run(&folder.path().join("db"), &base, &queries, count, memory_mib)
}

fn run(folder: &Path, base: &VectorFile, queries: &[Vec<f32>], count: u64, memory_mib: u64) -> Result<()> {
    let open = || Database::builder(folder).memory_budget(memory_mib << 20).open();
    let database = open()?;
    let points = database.create_collection("points", Schema::single(base.dim(), Metric::L2))?;
    points.create_field_index("n", FieldType::Integer)?;
    let mut rows = base.rows(0)?;
    let mut writing = 0.0;
    println!("      points   points/s   p50 us   p99 us  recall  worst so far  not indexed  RSS MB");
    let mut worst: f64 = 1.0;
    for first in (0..count).step_by(STEP as usize) {
        let ids = first..(first + STEP).min(count);
        let (seconds, latency) = grow(&points, ids, &mut rows, queries)?;
        writing += seconds;
        let recall = recall(&points, queries, None)?;
        worst = worst.min(recall);
        let (done, stats) = (first + STEP.min(count - first), points.stats());
        println!(
            "{done:>12} {:>10.0} {:>8.0} {:>8.0}  {recall:.3}   {worst:>10.3} {:>12} {:>7}",
            STEP.min(count - first) as f64 / seconds,
            percentile(&latency, 0.5),
            percentile(&latency, 0.99),
            stats.not_indexed + stats.points_in_memory,
            peak_rss_mb(),
        );
    }
    println!("{count} points in {writing:.1} s: {:.0} a second", count as f64 / writing);
    let started = Instant::now();
    points.wait_idle()?;
    println!("idle after {:.1} s more; {:?}", started.elapsed().as_secs_f64(), points.stats());
    searches(&points, queries, count)?;
    drop((points, database));
    let started = Instant::now();
    let points = open()?.collection("points")?;
    println!("opened in {:.1} ms; peak RSS {} MB", started.elapsed().as_secs_f64() * 1e3, peak_rss_mb());
    anyhow::ensure!(points.count(None)? == count);
    Ok(())
}

/// Writes vectors while another thread asks; the seconds that took, and the latencies in microseconds.
fn grow(
    points: &Collection,
    ids: Range<u64>,
    rows: &mut RowReader,
    queries: &[Vec<f32>],
) -> Result<(f64, Vec<f64>)> {
    let (done, latency) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let started = Instant::now();
    let seconds = std::thread::scope(|scope| -> Result<f64> {
        let asking = scope.spawn(|| -> Result<()> {
            for query in queries.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let report = points.query(&Query::nearest(query.clone()).k(K))?.report;
                latency.lock().expect("no thread panics").push(report.total_us);
            }
            Ok(())
        });
        let written = write(points, ids, rows, queries[0].len());
        let seconds = started.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        asking.join().expect("no panic")?;
        written.map(|()| seconds)
    })?;
    Ok((seconds, latency.into_inner()?))
}

fn write(points: &Collection, ids: Range<u64>, rows: &mut RowReader, dim: usize) -> Result<()> {
    for first in ids.clone().step_by(BATCH as usize) {
        let batch = vectors(rows, dim, BATCH.min(ids.end - first))?;
        // The numbers come in no order that has to do with the vectors.
        let payload = |id: u64| Payload::new().with("n", (id * 7_919) % 10_000);
        points.upsert(
            (first..).zip(batch).map(|(id, vector)| Point::new(id).vector(vector).payload(payload(id))),
        )?;
    }
    Ok(())
}

/// The recall by exact answers of the same collection.
fn recall(points: &Collection, queries: &[Vec<f32>], filter: Option<&Filter>) -> Result<f64> {
    let (mut found, mut wanted) = (0, 0);
    for query in queries.iter().take(LOOK) {
        let mut query = Query::nearest(query.clone()).k(K);
        if let Some(filter) = filter {
            query = query.filter(filter.clone());
        }
        let (fast, exact) = (points.query(&query)?, points.query(&query.clone().target_recall(1.0))?);
        wanted += exact.hits.len();
        found += fast.hits.iter().filter(|hit| exact.hits.iter().any(|right| right.id == hit.id)).count();
        anyhow::ensure!(fast.hits.len() == exact.hits.len(), "{} of {}", fast.hits.len(), exact.hits.len());
    }
    Ok(if wanted == 0 { 1.0 } else { found as f64 / wanted as f64 })
}

/// Latencies at rest, without a filter and with filters of all kinds of selectivity.
fn searches(points: &Collection, queries: &[Vec<f32>], count: u64) -> Result<()> {
    println!("     matching   p50 us   p99 us  recall  lists  pages  strategy");
    for share in [1.0, 0.5, 0.1, 0.01, 0.001, 0.000_1] {
        let filter = Filter::must([nearline::Condition::range("n").lt((share * 1e4) as u64)]);
        let filter = Some(filter).filter(|_| share < 1.0);
        let mut latency = Vec::new();
        let (mut lists, mut pages, mut strategy) = (0, 0, None);
        for query in queries {
            let mut query = Query::nearest(query.clone()).k(K);
            if let Some(filter) = &filter {
                query = query.filter(filter.clone());
            }
            let report = points.query(&query)?.report;
            latency.push(report.total_us);
            lists += report.lists;
            pages += report.pages;
            strategy = Some(report.strategy);
        }
        let n = queries.len() as f64;
        println!(
            "{:>13.0} {:>8.0} {:>8.0}  {:.3} {:>6.1} {:>6.1}  {:?}",
            share * count as f64,
            percentile(&latency, 0.5),
            percentile(&latency, 0.99),
            recall(points, queries, filter.as_ref())?,
            lists as f64 / n,
            pages as f64 / n,
            strategy.context("no queries")?,
        );
    }
    Ok(())
}

fn vectors(rows: &mut RowReader, dim: usize, count: u64) -> Result<Vec<Vec<f32>>> {
    let mut out = Vec::with_capacity(count as usize);
    let mut row = vec![0u8; dim * 4];
    while (out.len() as u64) < count && rows.read(&mut row)? > 0 {
        out.push(row.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect());
    }
    Ok(out)
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

fn peak_rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1_024
}
