//! A collection that grows while it is searched: speed, recall, latency and memory on the way, and afterwards.
//!
//! ```text
//! cargo run --release -p nearline-benches --example live -- base.fbin query.fbin [COUNT] [MEMORY_MIB]
//! ```
//!
//! Without files, vectors are generated. Writes wait while recall is measured; latencies are those of one thread that asks
//! all the time while another writes.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use nearline::{Collection, Database, FieldType, Filter, Metric, Query, Schema};
use nearline_benches::live::{BATCH, K, recall, rss_bytes, upsert, vectors, while_asking};
use nearline_benches::measure::percentile;
use nearline_datasets::{ElementType, Kind, VectorFile, generate, generate_queries};

/// Points between two looks at the recall.
const STEP: u64 = 50_000;
/// Queries of a look, each answered exactly as well.
const LOOK: usize = 50;

/// As the program `nearline` has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    println!("      points   points/s   p50 us   p99 us  recall  worst so far  not indexed  peak MiB");
    let mut worst: f64 = 1.0;
    for first in (0..count).step_by(STEP as usize) {
        let ids: Vec<u64> = (first..(first + STEP).min(count)).collect();
        let (seconds, latency) = while_asking(&points, queries, || {
            ids.chunks(BATCH as usize).try_for_each(|ids| upsert(&points, ids, &mut rows, base.dim()))
        })?;
        writing += seconds;
        let recall = recall(&points, look(queries), None)?;
        worst = worst.min(recall);
        let (done, stats) = (first + STEP.min(count - first), points.stats());
        println!(
            "{done:>12} {:>10.0} {:>8.0} {:>8.0}  {recall:.3}   {worst:>10.3} {:>12} {:>9}",
            STEP.min(count - first) as f64 / seconds,
            percentile(&latency, 0.5),
            percentile(&latency, 0.99),
            stats.not_indexed + stats.points_in_memory,
            rss_bytes()?.1 >> 20,
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
    println!(
        "opened in {:.1} ms; peak RSS {} MiB",
        started.elapsed().as_secs_f64() * 1e3,
        rss_bytes()?.1 >> 20
    );
    anyhow::ensure!(points.count(None)? == count);
    Ok(())
}

/// The queries of a look.
fn look(queries: &[Vec<f32>]) -> &[Vec<f32>] {
    &queries[..queries.len().min(LOOK)]
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
        latency.sort_by(f64::total_cmp);
        let n = queries.len() as f64;
        println!(
            "{:>13.0} {:>8.0} {:>8.0}  {:.3} {:>6.1} {:>6.1}  {:?}",
            share * count as f64,
            percentile(&latency, 0.5),
            percentile(&latency, 0.99),
            recall(points, look(queries), filter.as_ref())?,
            lists as f64 / n,
            pages as f64 / n,
            strategy.context("no queries")?,
        );
    }
    Ok(())
}
