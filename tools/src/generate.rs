//! `nearline generate`: files of realistic vectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use nearline_datasets::{
    ElementType, Generated, Generator, LikeGenerator, RowSource, VectorFile, VectorWriter,
};

use crate::exit::{self, Exit};
use crate::progress::{Mode, Reporter};
use crate::size::Size;
use crate::{args, interrupt, machine};

/// Bytes made between two writes.
const BLOCK_BYTES: usize = 8 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Family of vectors
    #[arg(long, value_enum)]
    kind: Kind,
    /// Number of vectors
    #[arg(long, value_parser = args::positive)]
    count: usize,
    /// Elements per vector [default: 96 for deep, 128 for sift; with like that of --anchors]
    #[arg(long)]
    dim: Option<usize>,
    /// Type of the elements [default: f32 for deep, u8 for sift; with like that of --anchors]
    #[arg(long, value_enum)]
    dtype: Option<Dtype>,
    /// Decides everything: the same seed gives the same bytes on every machine
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// File to write: fvecs, bvecs, fbin, f16bin, u8bin, i8bin or npy
    #[arg(long)]
    output: PathBuf,
    /// Number of queries to write too
    #[arg(long, value_parser = args::positive, requires = "queries_output")]
    queries: Option<usize>,
    /// File for the queries
    #[arg(long, requires = "queries")]
    queries_output: Option<PathBuf>,
    /// Real vectors to grow from, for --kind like
    #[arg(long)]
    anchors: Option<PathBuf>,
    /// Spread around the anchors, for --kind like: 0.9 suits SIFT, 0.7 to 0.9 embeddings of text
    #[arg(long, default_value_t = 0.9)]
    sigma: f64,
    /// Threads, 0 for one a core
    #[arg(long, default_value_t = 0, value_parser = args::threads)]
    threads: usize,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t)]
    progress: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Unit-length descriptors of a neural network, like DEEP
    Deep,
    /// Non-negative histograms of norm about 512, like SIFT
    Sift,
    /// Like the real vectors of --anchors, in any number
    Like,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    F32,
    F16,
    U8,
    I8,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::gently()?;
    let reporter = Reporter::new(args.progress);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads).build()?;
    let (base, queries) = sources(args, &reporter)?;
    pool.install(|| {
        write(base, args.count as u64, &args.output, "vectors", &reporter)?;
        if let (Some(count), Some(output), Some(source)) = (args.queries, &args.queries_output, queries) {
            write(source, count as u64, output, "queries", &reporter)?;
        }
        Ok(())
    })
}

type Source = Arc<dyn RowSource>;

/// Where vectors and queries come from.
fn sources(args: &Args, reporter: &Reporter) -> anyhow::Result<(Source, Option<Source>)> {
    let kind = match args.kind {
        Kind::Deep => nearline_datasets::Kind::Deep,
        Kind::Sift => nearline_datasets::Kind::Sift,
        Kind::Like => return Ok((like(args, reporter)?, None)),
    };
    if args.anchors.is_some() {
        return Err(exit::usage("--anchors: found with --kind deep or sift, expected with --kind like only"));
    }
    let deep = args.kind == Kind::Deep;
    let dim = args.dim.unwrap_or(if deep { 96 } else { 128 });
    let dtype = match args.dtype.unwrap_or(if deep { Dtype::F32 } else { Dtype::U8 }) {
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        Dtype::U8 => ElementType::U8,
        Dtype::I8 => ElementType::I8,
    };
    let generator = || Generator::new(kind, dim, dtype, args.seed);
    Ok((Arc::new(generator()?), Some(Arc::new(generator()?.queries()))))
}

fn like(args: &Args, reporter: &Reporter) -> anyhow::Result<Source> {
    if args.dim.is_some() || args.dtype.is_some() || args.queries.is_some() {
        return Err(exit::usage(
            "--kind like: found --dim, --dtype or --queries, expected none: shape and type are those of --anchors, \
             and queries are real vectors held out from them",
        ));
    }
    let Some(anchors) = &args.anchors else {
        return Err(exit::usage("--kind like: found no --anchors, expected a file of real vectors"));
    };
    let anchors = VectorFile::open(anchors)?;
    reporter.start("anchors", 0, anchors.count());
    let progress = |done, _| reporter.set(done);
    Ok(Arc::new(LikeGenerator::new(&anchors, args.seed, args.sigma, args.threads, &progress)?))
}

/// Writes `count` vectors to a file, which appears when it is whole.
pub(crate) fn write(
    source: Source,
    count: u64,
    path: &Path,
    stage: &'static str,
    reporter: &Reporter,
) -> anyhow::Result<()> {
    let mut rows = Generated::new(source, 0, count)?;
    let row_bytes = rows.row_bytes();
    let mut writer = VectorWriter::create(path, rows.element(), rows.dim())?;
    check_room(path, count.saturating_mul(row_bytes as u64))?;
    reporter.start(stage, 0, count);
    let mut block = vec![0; (BLOCK_BYTES / row_bytes).max(1) * row_bytes];
    loop {
        interrupt::check()?;
        match rows.read(&mut block) {
            0 => break,
            made => writer.write_rows(&block[..made * row_bytes])?,
        }
        reporter.set(writer.count());
    }
    writer.finish()?;
    reporter.finish();
    Ok(())
}

fn check_room(path: &Path, needed: u64) -> anyhow::Result<()> {
    match machine::free_disk_bytes(path) {
        Some(free) if free < needed => {
            let (needed, free) = (Size(needed), Size(free));
            let message =
                format!("{}: found {free} of free disk, expected {needed}: free some", path.display());
            Err(exit::fail(Exit::Budget, message))
        }
        _ => Ok(()),
    }
}
