//! `nearline demo`: the whole walk, on generated vectors, with nothing but this binary.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use nearline::BuildOptions;
use nearline_datasets::{ElementType, Generator, Kind, VectorFile};

use crate::build::{self, Real};
use crate::progress::{Mode, Reporter};
use crate::recall::{self, Bench};
use crate::size::{self, Size};
use crate::source::Vectors;
use crate::{args, exit, generate, groundtruth, interrupt, machine, opened, print};

const VECTORS: u64 = 100_000;
const QUERIES: u64 = 1_000;
const DIM: usize = 96;
const SEED: u64 = 1;
const K: usize = 10;
const BUILD_MEMORY: Size = Size(128 << 20);
const SEARCH_MEMORY: Size = Size(96 << 20);
/// More than the demo ever has on disk.
const DISK_BYTES: u64 = 1 << 30;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder to work in, created and kept; without it a temporary one, which is removed
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Number of vectors
    #[arg(long, default_value_t = VECTORS, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    count: u64,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t)]
    progress: Mode,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::gently()?;
    let started = Instant::now();
    // removed when dropped, whatever happens until then
    let temporary = match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|e| exit::bad_input(format!("{}: {e}", dir.display())))?;
            None
        }
        None => Some(tempfile::Builder::new().prefix("nearline-demo-").tempdir()?),
    };
    let dir = temporary.as_ref().map(tempfile::TempDir::path).or(args.dir.as_deref());
    walk(&Files::new(dir.unwrap_or(Path::new("."))), args).map_err(nothing_to_resume)?;
    if let Some(temporary) = temporary {
        temporary.close()?;
    }
    let took = size::seconds(started.elapsed().as_secs_f64());
    match &args.dir {
        Some(dir) => print::line(format!("\n{took} in all; everything is kept in {}", dir.display())),
        None => print::line(format!("\n{took} in all; everything is cleaned up (--dir DIR keeps it)")),
    }
}

/// The demo starts anew each time, so an interrupted build in it is not worth a hint.
fn nothing_to_resume(error: anyhow::Error) -> anyhow::Error {
    if exit::code(&error) == exit::Exit::Interrupted { exit::interrupted() } else { error }
}

/// Where the demo puts what.
struct Files {
    dir: PathBuf,
    base: PathBuf,
    queries: PathBuf,
    truth: PathBuf,
    index: PathBuf,
}

impl Files {
    fn new(dir: &Path) -> Self {
        let file = |name| dir.join(name);
        let (base, queries) = (file("base.fbin"), file("queries.fbin"));
        Self { dir: dir.to_owned(), base, queries, truth: file("truth.bin"), index: file("index") }
    }
}

fn walk(files: &Files, args: &Args) -> anyhow::Result<()> {
    check_room(&files.dir, args.count)?;
    let (count, queries) = (size::count(args.count), size::count(QUERIES));
    print::line(format!("{count} vectors x {DIM} f32 and {queries} queries, like those of neural networks"))?;
    prepare(files, args)?;
    interrupt::check()?;
    let real = build_index(files, args)?;
    interrupt::check()?;
    let (vectors, took) = (Size(args.count * DIM as u64 * 4), size::seconds(real.seconds));
    print::line(format!(
        "built in {took}: {} on disk for {vectors} of vectors; peak RAM {}, allowed {BUILD_MEMORY} and 64 MiB for the program",
        Size(real.disk_bytes),
        Size(real.peak_ram_bytes),
    ))?;
    search(files)
}

fn check_room(dir: &Path, count: u64) -> anyhow::Result<()> {
    let needed = DISK_BYTES.max(DISK_BYTES / VECTORS * count);
    match machine::free_disk_bytes(dir) {
        Some(free) if free < needed => {
            let (dir, free, needed) = (dir.display(), Size(free), Size(needed));
            let message =
                format!("{dir}: found {free} of free disk, expected {needed}: choose another --dir");
            Err(exit::fail(exit::Exit::Budget, message))
        }
        _ => Ok(()),
    }
}

/// Generates vectors and queries and finds the exact answers.
fn prepare(files: &Files, args: &Args) -> anyhow::Result<()> {
    let reporter = Reporter::new(args.progress);
    let generator = || Generator::new(Kind::Deep, DIM, ElementType::F32, SEED);
    generate::write(Arc::new(generator()?), args.count, &files.base, "vectors", &reporter)?;
    generate::write(Arc::new(generator()?.queries()), QUERIES, &files.queries, "queries", &reporter)?;
    let base = VectorFile::open(&files.base)?;
    let queries = groundtruth::load(&files.queries, &base, args::Metric::L2)?;
    let truth = groundtruth::find(&base, &queries, args::Metric::L2, K, 0, &reporter)?;
    Ok(truth.write(&files.truth)?)
}

fn build_index(files: &Files, args: &Args) -> anyhow::Result<Real> {
    let vectors = Vectors::open(&files.base)?;
    let io = args::io_mode(None)?;
    let options = BuildOptions { memory_bytes: BUILD_MEMORY.0, io, force: true, ..BuildOptions::default() };
    let started = Instant::now();
    let report = build::build(&files.index, &vectors, &options, args.progress)?;
    Ok(Real::of(&report, started.elapsed().as_secs_f64()))
}

fn search(files: &Files) -> anyhow::Result<()> {
    let args = opened::Args {
        index: files.index.clone(),
        queries: files.queries.clone(),
        k: K,
        memory: Some(SEARCH_MEMORY),
        io: None,
        pin: args::Pin::Auto,
        cache: None,
        rerank: args::Rerank::Auto,
        overlap: None,
        max_bytes_read: None,
        max_ms: None,
        json: false,
    };
    let mut bench = Bench::open(&args, &files.truth, 1)?;
    let (io, ram) = (bench.opened.index.io(), Size(bench.opened.index.info().ram_bytes));
    print::line(format!(
        "searching with one thread for the {K} nearest; the index holds {ram} of RAM; {io}\n"
    ))?;
    print::line(DEMO_HEAD)?;
    for target in recall::TARGETS {
        let row = bench.measure(&args.options(Some(target), None), true)?;
        print::line(line(&row))?;
    }
    Ok(())
}

const DEMO_HEAD: &str =
    "target recall   recall   mean µs    p99 µs       QPS   lists/query   reads/query   bytes/query";

/// A line under [`DEMO_HEAD`]. The process's RAM is that of the build before, so it is not shown again.
fn line(row: &recall::Row) -> String {
    format!(
        "{:>13.2}  {:>7.4}  {:>8.0}  {:>8.0}  {:>8.0}  {:>12.1}  {:>12.1}  {:>12}",
        row.target_recall.unwrap_or(f32::NAN),
        row.recall,
        row.mean_us,
        row.p99_us,
        row.qps,
        row.lists_per_query,
        row.reads_per_query,
        Size(row.bytes_per_query as u64).to_string(),
    )
}
