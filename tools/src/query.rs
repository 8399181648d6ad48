//! `nearline query`: search an index for every vector of a file.

use std::path::PathBuf;

use nearline::{Answer, SearchOptions};
use nearline_datasets::VectorFile;
use serde::Serialize;

use crate::args::{Nprobe, Recall};
use crate::opened::{self, Opened};
use crate::output::{self, IdOutput, Output};
use crate::search::{self, Batch, Tally};
use crate::size::Size;
use crate::table::Table;
use crate::{args, interrupt, machine, print, size, source};

/// Bytes of queries and answers held at a time.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of buffers in front of the files.
const BUFFER_BYTES: u64 = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    search: opened::Args,
    /// Recall to reach [default: 0.95]
    #[arg(long, conflicts_with = "nprobe")]
    target_recall: Option<Recall>,
    /// Lists to probe, or all
    #[arg(long)]
    nprobe: Option<Nprobe>,
    /// Threads that search, 0 for one a core
    #[arg(long, default_value_t = 0, value_parser = args::threads)]
    threads: usize,
    /// File for the ids, nearest first: .ibin (u32 ids) or .i64bin (u64 ids)
    #[arg(long)]
    output: PathBuf,
    /// File for the microseconds of each query, as f32
    #[arg(long)]
    lat: Option<PathBuf>,
    /// File for totals as JSON: wall_s, reads, read_bytes, enters, cut, residency
    #[arg(long)]
    stats: Option<PathBuf>,
}

#[derive(Serialize)]
struct Summary {
    queries: u64,
    k: usize,
    threads: usize,
    mean_us: f64,
    p50_us: f64,
    p99_us: f64,
    qps: f64,
    lists_per_query: f64,
    /// Lists and pages that the cache had.
    cached_per_query: f64,
    reads_per_query: f64,
    bytes_per_query: f64,
    enters_per_query: f64,
    /// Queries that --max-bytes-read or --max-ms cut short.
    cut: u64,
    /// What of the lists is held in RAM.
    residency: &'static str,
    rss_bytes: u64,
}

#[derive(Serialize)]
struct Stats {
    wall_s: f64,
    reads: u64,
    read_bytes: u64,
    enters: u64,
    cut: u64,
    residency: &'static str,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let k = args.search.k;
    let held = |queries: &VectorFile| {
        let per_query = query_bytes(queries, k);
        let batch = batch_rows(queries, k) as u64 * per_query as u64;
        Ok(batch.saturating_add(queries.count().saturating_mul(4)).saturating_add(BUFFER_BYTES))
    };
    let mut opened = Opened::new(&args.search, args.threads, held)?;
    let mut ids = IdOutput::create(&args.output, opened.queries.count(), k)?;
    let options = args.search.options(args.target_recall, args.nprobe);
    let (tally, mut latencies) = search_all(&mut opened, &options, &mut ids)?;
    if let Some(path) = &args.lat {
        write(path, bytemuck::cast_slice(&latencies))?;
    }
    if let Some(path) = &args.stats {
        let stats = Stats {
            wall_s: tally.wall_s,
            reads: tally.reads,
            read_bytes: tally.bytes,
            enters: tally.enters,
            cut: tally.cut,
            residency: opened.residency(),
        };
        write(path, &serde_json::to_vec(&stats)?)?;
    }
    ids.finish()?;
    report(args, &summary(&tally, &mut latencies, &opened, k), &opened)
}

/// Bytes held for a query and its answer.
fn query_bytes(queries: &VectorFile, k: usize) -> usize {
    queries.row_bytes() + k * size_of::<u64>()
}

fn batch_rows(queries: &VectorFile, k: usize) -> usize {
    let fit = BATCH_BYTES / query_bytes(queries, k);
    fit.max(64).min(usize::try_from(queries.count()).unwrap_or(usize::MAX))
}

/// Reads queries, searches for them and writes ids, batch after batch.
fn search_all(
    opened: &mut Opened,
    options: &SearchOptions,
    output: &mut IdOutput,
) -> anyhow::Result<(Tally, Vec<f32>)> {
    let (k, row_bytes) = (options.k, opened.queries.row_bytes());
    let rows = batch_rows(&opened.queries, k);
    let (mut block, mut ids) = (vec![0; rows * row_bytes], vec![0; rows * k]);
    let mut latencies = vec![0.0; usize::try_from(opened.queries.count())?];
    let (mut tally, mut first) = (Tally::default(), 0);
    let mut reader = opened.queries.rows(0)?;
    loop {
        let read = reader.read(&mut block)?;
        if read == 0 {
            return Ok((tally, latencies));
        }
        let rows = &block[..read * row_bytes];
        source::check_rows(&opened.queries, rows, first as u64, opened.directed())?;
        let kept = &mut ids[..read * k];
        let batch = Batch {
            rows,
            row_bytes,
            latencies: &mut latencies[first..first + read],
            kept: &mut *kept,
            kept_per_query: k,
            first,
        };
        tally.add(&search::run(&mut opened.searchers, options, opened.overlap, batch, &keep_ids)?);
        output.write(kept)?;
        first += read;
    }
}

fn keep_ids(_: usize, answer: &Answer, slots: &mut [u64]) {
    slots.fill(output::NO_ID);
    for (slot, hit) in slots.iter_mut().zip(&answer.hits) {
        *slot = hit.id;
    }
}

fn write(path: &std::path::Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut output = Output::create(path)?;
    output.write(bytes)?;
    output.finish()
}

fn summary(tally: &Tally, latencies: &mut [f32], opened: &Opened, k: usize) -> Summary {
    let latency = search::latency(latencies);
    Summary {
        queries: tally.queries,
        k,
        threads: opened.searchers.len(),
        mean_us: latency.mean_us,
        p50_us: latency.p50_us,
        p99_us: latency.p99_us,
        qps: tally.qps(),
        lists_per_query: tally.per_query(tally.lists),
        cached_per_query: tally.per_query(tally.cached),
        reads_per_query: tally.per_query(tally.reads),
        bytes_per_query: tally.per_query(tally.bytes),
        enters_per_query: tally.per_query(tally.enters),
        cut: tally.cut,
        residency: opened.residency(),
        rss_bytes: machine::peak_rss_bytes(),
    }
}

fn report(args: &Args, summary: &Summary, opened: &Opened) -> anyhow::Result<()> {
    if args.search.json {
        return print::json(summary);
    }
    let mut table =
        Table::new(["queries", "k", "mean µs", "p50 µs", "p99 µs", "QPS", "lists", "reads", "bytes"]);
    table.row([
        size::count(summary.queries),
        summary.k.to_string(),
        format!("{:.0}", summary.mean_us),
        format!("{:.0}", summary.p50_us),
        format!("{:.0}", summary.p99_us),
        format!("{:.0}", summary.qps),
        format!("{:.1}", summary.lists_per_query),
        format!("{:.1}", summary.reads_per_query),
        Size(summary.bytes_per_query as u64).to_string(),
    ]);
    print::line(table)?;
    let Summary { threads, residency, cut, .. } = summary;
    let (rss, io) = (Size(summary.rss_bytes), opened.index.io());
    print::line(format!("{threads} threads, peak RAM {rss}, residency {residency}, {io}"))?;
    if *cut > 0 {
        print::line(format!("{} queries cut short by --max-bytes-read or --max-ms", size::count(*cut)))?;
    }
    print::line(format!("ids in {}", args.output.display()))
}
