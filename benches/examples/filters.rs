//! Filtered queries: what they cost and find, by how many points match, and whether that has to do with the vectors.
//!
//! ```text
//! cargo run --release -p nearline-benches --example filters -- [base.fbin query.fbin [MEMORY_MIB]]
//! ```
//!
//! The collection is made of an index that is built offline. Each point has two numbers from 0 to 9,999, each as often as
//! the others: `n` has nothing to do with its vector, `c` says how far it lies in some direction, so that points with
//! similar numbers lie side by side, and most queries elsewhere.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nearline::{
    BuildOptions, Collection, Condition, Database, FieldType, Filter, FromIndex, OpenError, Payload, PointId,
    Query, Silent, VectorSlice, build,
};
use nearline_benches::live::{K, recall, rss_bytes, vectors};
use nearline_benches::measure::percentile;
use nearline_datasets::{ElementType, Kind, VectorFile, generate, generate_queries};

/// As the program `nearline` has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Numbers that payloads have.
const NUMBERS: u64 = 10_000;
/// Queries whose recall is compared with exact answers.
const LOOK: usize = 50;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = tempfile::tempdir()?;
    let (base, queries, rest) = match &args[..] {
        [base, queries, rest @ ..] => (PathBuf::from(base), PathBuf::from(queries), rest),
        _ => {
            let (base, queries) = (folder.path().join("base.fbin"), folder.path().join("query.fbin"));
            generate(Kind::Deep, 30_000, 48, ElementType::F32, 1)?.write_to(&base)?;
            generate_queries(Kind::Deep, 200, 48, ElementType::F32, 1)?.write_to(&queries)?;
            (base, queries, &[][..])
        }
    };
    let memory_mib: u64 = rest.first().map_or(Ok(128), |memory| memory.parse())?;
    let (base, queries) = (VectorFile::open(&base)?, VectorFile::open(&queries)?);
    let asked = vectors(&mut queries.rows(0)?, queries.dim(), queries.count().min(1_000))?;
    let points = make(folder.path(), &base, &asked[0], memory_mib << 20)?;
    println!("field    matching   p50 us   p99 us  recall  least k  lists  pages  strategy");
    measure(&points, &asked, base.count(), None)?;
    for field in ["n", "c"] {
        for share in [0.5, 0.1, 0.01, 0.001, 0.000_1] {
            measure(&points, &asked, base.count(), Some((field, share)))?;
        }
    }
    println!("{} MiB of memory are taken, {memory_mib} MiB are allowed", rss_bytes()?.0 >> 20);
    Ok(())
}

fn make(folder: &Path, base: &VectorFile, direction: &[f32], memory_bytes: u64) -> Result<Collection> {
    let rows = vectors(&mut base.rows(0)?, base.dim(), base.count())?;
    let along: Vec<f32> =
        rows.iter().map(|row| row.iter().zip(direction).map(|(a, b)| a * b).sum()).collect();
    let values: Vec<f32> = rows.into_iter().flatten().collect();
    let options = BuildOptions { memory_bytes: 256 << 20, ..BuildOptions::default() };
    build(&folder.join("index"), &VectorSlice::from_f32(base.dim(), &values)?, &options, &Silent)?;
    drop(values);
    let mut order: Vec<u64> = (0..base.count()).collect();
    order.sort_by(|&a, &b| along[a as usize].total_cmp(&along[b as usize]));
    let mut number = vec![0; order.len()];
    for (place, &row) in (0..).zip(&order) {
        number[row as usize] = place * NUMBERS / base.count();
    }
    let payload =
        |row: u64| Payload::new().with("n", (row * 7_919) % NUMBERS).with("c", number[row as usize]);
    let database = Database::builder(folder.join("db")).memory_budget(memory_bytes).open()?;
    let points = (0..base.count()).map(|row| Ok::<_, OpenError>((PointId::from(row), payload(row))));
    let points = database.create_from_index("points", FromIndex::new(folder.join("index")).points(points))?;
    points.create_field_index("n", FieldType::Integer)?;
    points.create_field_index("c", FieldType::Integer)?;
    points.wait_idle()?;
    Ok(points)
}

fn measure(points: &Collection, asked: &[Vec<f32>], count: u64, field: Option<(&str, f64)>) -> Result<()> {
    let (name, share) = field.unwrap_or(("", 1.0));
    let below = (share * NUMBERS as f64) as u64;
    let filter = field.map(|_| Filter::must([Condition::range(name).lt(below)]));
    let (mut latency, mut lists, mut pages, mut strategy, mut least) = (Vec::new(), 0, 0, None, K);
    for query in asked {
        let mut query = Query::nearest(query.clone()).k(K);
        if let Some(filter) = &filter {
            query = query.filter(filter.clone());
        }
        let answer = points.query(&query)?;
        latency.push(answer.report.total_us);
        (lists, pages) = (lists + answer.report.lists, pages + answer.report.pages);
        (strategy, least) = (Some(answer.report.strategy), least.min(answer.hits.len()));
    }
    latency.sort_by(f64::total_cmp);
    let (each, strategy) = (asked.len() as f64, strategy.context("no queries")?);
    println!(
        "{name:>5} {:>11.0} {:>8.0} {:>8.0}  {:.3} {least:>8} {:>6.1} {:>6.1}  {strategy:?}",
        share * count as f64,
        percentile(&latency, 0.5),
        percentile(&latency, 0.99),
        recall(points, &asked[..LOOK.min(asked.len())], filter.as_ref())?,
        lists as f64 / each,
        pages as f64 / each,
    );
    Ok(())
}
