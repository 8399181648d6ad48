//! `nearline recall`: measure recall, latency and reads of an index.

use std::path::PathBuf;

use nearline::{Answer, Probe, SearchOptions};
use nearline_datasets::{RawVectors, VectorFile, load_raw};
use serde::Serialize;

use crate::args::{Nprobe, Recall};
use crate::exit::{self, Exit};
use crate::opened::{self, Opened};
use crate::plot::{self, Caption, Picture, Point};
use crate::search::{self, Batch};
use crate::size::{self, Size};
use crate::truth::{self, Truth};
use crate::{args, interrupt, machine, print, source};

/// Targets measured when nothing else is asked for.
pub(crate) const TARGETS: [Recall; 3] = [Recall(0.90), Recall(0.95), Recall(0.99)];
/// A sweep ends at this recall.
const SWEEP_RECALL: f64 = 0.999;
/// Bytes of buffers in front of files.
const BUFFER_BYTES: u64 = 2 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    search: opened::Args,
    /// Exact answers, as `groundtruth` writes them
    #[arg(long)]
    groundtruth: PathBuf,
    /// Recalls to reach; one row each [default: 0.90 0.95 0.99]
    #[arg(long, num_args = 1.., conflicts_with_all = ["nprobe", "sweep"])]
    target_recall: Vec<Recall>,
    /// Lists to probe, or all; one row each
    #[arg(long, num_args = 1.., conflicts_with = "sweep")]
    nprobe: Vec<Nprobe>,
    /// 1, 2, 4, … lists until recall is 0.999
    #[arg(long)]
    sweep: bool,
    /// Threads that search, 0 for one a core
    #[arg(long, default_value_t = 1, value_parser = args::threads)]
    threads: usize,
    /// Drop the index from the system's cache before each row
    #[arg(long)]
    cold: bool,
    /// Exit with 6 if any row's recall is below
    #[arg(long)]
    min_recall: Option<Recall>,
    #[command(flatten)]
    plot: plot::Args,
}

/// A row as JSON.
#[derive(Serialize)]
struct Labelled<'a> {
    system: &'a str,
    #[serde(flatten)]
    row: &'a Row,
}

/// What was measured with one setting.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) k: usize,
    pub(crate) target_recall: Option<f32>,
    pub(crate) nprobe: Option<u64>,
    pub(crate) recall: f64,
    pub(crate) queries: u64,
    pub(crate) threads: usize,
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) qps: f64,
    pub(crate) lists_per_query: f64,
    /// Lists and pages that the cache had.
    pub(crate) cached_per_query: f64,
    pub(crate) reads_per_query: f64,
    pub(crate) bytes_per_query: f64,
    pub(crate) enters_per_query: f64,
    pub(crate) reranked_per_query: f64,
    pub(crate) entries_per_query: f64,
    pub(crate) refined_per_query: f64,
    pub(crate) route_us: f64,
    pub(crate) scan_us: f64,
    pub(crate) rerank_us: f64,
    /// Queries that --max-bytes-read or --max-ms cut short.
    pub(crate) cut: u64,
    /// What of the lists is held in RAM.
    pub(crate) residency: &'static str,
    /// What the kernel read from storage for this process meanwhile.
    pub(crate) kernel_bytes_per_query: f64,
    /// The process's largest resident size so far.
    pub(crate) rss_bytes: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let picture = Picture::open(&args.plot)?;
    let mut bench = Bench::open(&args.search, &args.groundtruth, args.threads)?;
    if !args.search.json {
        print::line(format!("residency {}, {}", bench.opened.residency(), bench.opened.index.io()))?;
        print::line(HEAD)?;
    }
    let rows = measure(args, &mut bench)?;
    if let Some(picture) = picture {
        picture.draw(&caption(args, &bench), rows.iter().map(point).collect())?;
    }
    let lowest = rows.iter().map(|row| row.recall).fold(f64::INFINITY, f64::min);
    match args.min_recall {
        Some(Recall(min)) if lowest < f64::from(min) => {
            let dir = args.search.index.display();
            Err(exit::fail(
                Exit::BelowRecall,
                format!("{dir}: found recall {lowest:.4}, expected at least {min}"),
            ))
        }
        _ => Ok(()),
    }
}

/// Measures all settings, and prints each as it comes.
fn measure(args: &Args, bench: &mut Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for options in settings(args, bench.opened.index.info().lists) {
        let row = bench.measure(&options, args.cold)?;
        if args.search.json {
            print::json(&Labelled { system: &args.plot.label, row: &row })?
        } else {
            print::line(row.text())?
        }
        let enough = args.sweep && row.recall >= SWEEP_RECALL;
        rows.push(row);
        if enough {
            break;
        }
    }
    Ok(rows)
}

/// What was measured, in words.
fn caption(args: &Args, bench: &Bench) -> Caption {
    let (label, info, k) = (&args.plot.label, bench.opened.index.info(), args.search.k);
    let (rows, dim, element, metric) =
        (size::count(info.rows), info.dim, info.element.name(), info.metric.name());
    let queries = size::count(bench.queries.count as u64);
    let threads = match bench.opened.searchers.len() {
        1 => "1 thread".into(),
        threads => format!("{threads} threads"),
    };
    let memory = args.search.memory.map_or(String::new(), |memory| format!(", memory {memory}"));
    let cold = if args.cold { ", cache dropped before each row" } else { "" };
    Caption {
        title: format!("Recall@{k} against throughput, latency and bytes read"),
        subtitle: format!(
            "{label}: {rows} x {dim} {element}, {metric}; k = {k}, {queries} queries, {threads}{memory}{cold}"
        ),
        recall: format!("recall@{k}"),
    }
}

fn point(row: &Row) -> Point {
    let &Row { recall, qps, p99_us, bytes_per_query, .. } = row;
    Point { recall, qps, p99_us, bytes_per_query: Some(bytes_per_query).filter(|&bytes| bytes > 0.0) }
}

fn settings(args: &Args, lists: u64) -> Vec<SearchOptions> {
    let probe = |nprobe| args.search.options(None, Some(nprobe));
    if args.sweep {
        let powers = std::iter::successors(Some(1_u64), |n| n.checked_mul(2)).take_while(|&n| n < lists);
        return powers.map(|n| probe(Nprobe::Lists(n as usize))).chain([probe(Nprobe::All)]).collect();
    }
    if !args.nprobe.is_empty() {
        return args.nprobe.iter().map(|&nprobe| probe(nprobe)).collect();
    }
    let targets = if args.target_recall.is_empty() { &TARGETS[..] } else { &args.target_recall };
    targets.iter().map(|&target| args.search.options(Some(target), None)).collect()
}

/// An index, queries and their exact answers, ready to measure with.
pub(crate) struct Bench {
    pub(crate) opened: Opened,
    queries: RawVectors,
    truth: Truth,
    k: usize,
}

impl Bench {
    pub(crate) fn open(
        args: &opened::Args,
        groundtruth: &std::path::Path,
        threads: usize,
    ) -> anyhow::Result<Self> {
        let mut truth = None;
        let held = |queries: &VectorFile| {
            check_truth_fits(groundtruth, args.memory)?;
            let read = truth::read(groundtruth)?;
            truth = Some(Truth::new(&read, groundtruth, queries, args.k)?);
            // a latency and a count for each query, besides itself and its answers
            let per_query = queries.row_bytes() as u64 + truth::query_bytes(args.k) + 8;
            Ok(queries.count().saturating_mul(per_query).saturating_add(BUFFER_BYTES))
        };
        let opened = Opened::new(args, threads, held)?;
        let queries = load_raw(&args.queries)?;
        source::check_rows(&opened.queries, &queries.bytes, 0, opened.directed())?;
        let truth = truth.ok_or_else(|| exit::bad_input("no ground truth"))?;
        let truth = truth.of_metric(opened.index.info().metric);
        Ok(Self { opened, queries, truth, k: args.k })
    }

    /// Searches for every query.
    pub(crate) fn measure(&mut self, options: &SearchOptions, cold: bool) -> anyhow::Result<Row> {
        if cold {
            self.opened.index.drop_cache()?;
        }
        let (mut latencies, mut right) = (vec![0.0; self.queries.count], vec![0; self.queries.count]);
        let batch = Batch {
            rows: &self.queries.bytes,
            row_bytes: self.queries.row_bytes(),
            latencies: &mut latencies,
            kept: &mut right,
            kept_per_query: 1,
            first: 0,
        };
        let truth = &self.truth;
        let keep = |query, answer: &Answer, kept: &mut [u32]| kept.fill(truth.right(query, &answer.hits));
        let before = machine::process_io().read_bytes;
        let tally = search::run(&mut self.opened.searchers, options, self.opened.overlap, batch, &keep)?;
        let kernel_bytes = machine::process_io().read_bytes - before;
        let latency = search::latency(&mut latencies);
        let right: u64 = right.iter().map(|&right| u64::from(right)).sum();
        Ok(Row {
            k: self.k,
            target_recall: target(options),
            nprobe: self.nprobe(options),
            recall: right as f64 / (self.queries.count * self.k) as f64,
            queries: tally.queries,
            threads: self.opened.searchers.len(),
            mean_us: latency.mean_us,
            p50_us: latency.p50_us,
            p99_us: latency.p99_us,
            qps: tally.qps(),
            lists_per_query: tally.per_query(tally.lists),
            cached_per_query: tally.per_query(tally.cached),
            reads_per_query: tally.per_query(tally.reads),
            bytes_per_query: tally.per_query(tally.bytes),
            enters_per_query: tally.per_query(tally.enters),
            reranked_per_query: tally.per_query(tally.reranked),
            entries_per_query: tally.per_query(tally.entries),
            refined_per_query: tally.per_query(tally.refined),
            route_us: tally.us_per_query(tally.route_us),
            scan_us: tally.us_per_query(tally.scan_us),
            rerank_us: tally.us_per_query(tally.rerank_us),
            cut: tally.cut,
            residency: self.opened.residency(),
            kernel_bytes_per_query: tally.per_query(kernel_bytes),
            rss_bytes: machine::peak_rss_bytes(),
        })
    }

    /// The lists a setting probes at most, as it says itself or as it was calibrated.
    fn nprobe(&self, options: &SearchOptions) -> Option<u64> {
        let info = self.opened.index.info();
        match options.probe {
            Probe::Lists(lists) => Some(lists as u64),
            Probe::All => Some(info.lists),
            Probe::TargetRecall(target) => info
                .calibration
                .setting(info.pinned.residency, self.k, target)
                .map(|setting| u64::from(setting.nprobe)),
        }
    }
}

fn target(options: &SearchOptions) -> Option<f32> {
    match options.probe {
        Probe::TargetRecall(target) => Some(target),
        _ => None,
    }
}

/// Reading the exact answers takes as much memory as their file.
fn check_truth_fits(path: &std::path::Path, memory: Option<Size>) -> anyhow::Result<()> {
    let bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
    let needed = bytes + (16 << 20);
    match memory {
        Some(memory) if memory.0 < needed => {
            let mib = needed.div_ceil(1 << 20);
            let message = format!("{}: found --memory {memory}, expected at least {mib}MiB", path.display());
            Err(exit::fail(Exit::Budget, message))
        }
        _ => Ok(()),
    }
}

/// Headings for [`Row::text`].
pub(crate) const HEAD: &str = "target  nprobe  recall   mean µs    p50 µs    p99 µs       QPS   lists   reads   bytes/query   peak RAM     cut";

impl Row {
    /// A line under [`HEAD`].
    pub(crate) fn text(&self) -> String {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        format!(
            "{:>6}  {:>6}  {:.4}  {:>8.0}  {:>8.0}  {:>8.0}  {:>8.0}  {:>6.1}  {:>6.1}  {:>12}  {:>9}  {:>6}",
            or_dash(self.target_recall.map(|target| target.to_string())),
            or_dash(self.nprobe.map(|nprobe| nprobe.to_string())),
            self.recall,
            self.mean_us,
            self.p50_us,
            self.p99_us,
            self.qps,
            self.lists_per_query,
            self.reads_per_query,
            Size(self.bytes_per_query as u64).to_string(),
            Size(self.rss_bytes).to_string(),
            self.cut,
        )
    }
}
