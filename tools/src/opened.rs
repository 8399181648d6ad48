//! An index opened within a budget, and queries that suit it.

use std::path::{Path, PathBuf};

use nearline::{Hit, Index, IndexError, IoMode, Metric, OpenOptions, Probe, SearchOptions, Searcher};
use nearline_datasets::VectorFile;

use crate::args::{self, Nprobe, Recall};
use crate::exit::{self, Exit};
use crate::size::Size;
use crate::{machine, source};

/// What every search from the command line needs.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Folder of the index
    #[arg(long)]
    pub(crate) index: PathBuf,
    /// Vectors to search for, of the index's type and dimension
    #[arg(long)]
    pub(crate) queries: PathBuf,
    /// Neighbours of each query
    #[arg(long, value_parser = args::positive, default_value_t = 10)]
    pub(crate) k: usize,
    /// Memory this process may use, such as 256MiB [default: what is needed]
    #[arg(long)]
    pub(crate) memory: Option<Size>,
    /// How the disk is read [default: NEARLINE_IO, or auto]
    #[arg(long, value_enum)]
    pub(crate) io: Option<args::Io>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// An index, its searchers and a file of queries for it.
pub(crate) struct Opened {
    pub(crate) index: Index,
    pub(crate) searchers: Vec<Searcher>,
    pub(crate) queries: VectorFile,
}

impl Opened {
    /// Opens both, when besides the index the process holds `held(queries)` bytes.
    pub(crate) fn new(
        args: &Args,
        threads: usize,
        held: impl FnOnce(&VectorFile) -> anyhow::Result<u64>,
    ) -> anyhow::Result<Self> {
        let queries = VectorFile::open(&args.queries)?;
        let held = held(&queries)?;
        let threads = machine::threads(threads);
        let held = held.saturating_add((threads as u64).saturating_mul(candidate_bytes(args.k)));
        let index = open(&args.index, args.memory, held, threads, args::io_mode(args.io)?)?;
        let info = index.info();
        source::check_shape(&queries, info.element.name(), info.dim, &args.index.display().to_string())?;
        if args.k as u64 > info.rows {
            let (dir, k, rows) = (args.index.display(), args.k, info.rows);
            return Err(exit::bad_input(format!(
                "--k for {dir}: found {k}, expected at most its {rows} vectors"
            )));
        }
        let searchers = (0..threads).map(|_| index.searcher()).collect::<Result<_, _>>()?;
        Ok(Self { index, searchers, queries })
    }

    /// Whether queries need a direction.
    pub(crate) fn directed(&self) -> bool {
        self.index.info().metric == Metric::Cosine
    }
}

/// Bytes a searching thread takes for the best so far, with all their copies, and for the hits made of them.
fn candidate_bytes(k: usize) -> u64 {
    const COPIES_MAX: usize = 8;
    let candidate = size_of::<(f32, u32)>() * COPIES_MAX;
    (k as u64).saturating_mul((candidate + size_of::<Hit>()) as u64)
}

/// Opens an index so that it and `held` bytes besides fit into `memory`.
pub(crate) fn open(
    dir: &Path,
    memory: Option<Size>,
    held: u64,
    threads: usize,
    io: IoMode,
) -> anyhow::Result<Index> {
    let memory_bytes = memory.map(|memory| memory.0.saturating_sub(held));
    match (Index::open(dir, &OpenOptions { memory_bytes, threads, io }), memory) {
        (Ok(index), _) => Ok(index),
        (Err(IndexError::Budget { what, needed, .. }), Some(memory)) => {
            let enough = needed.saturating_add(held).div_ceil(1 << 20);
            let message = format!(
                "{}: {what}: found --memory {memory}, expected at least {enough}MiB for the index, {threads} threads \
                 and {} of queries and answers: raise --memory or lower --threads",
                dir.display(),
                Size(held)
            );
            Err(exit::fail(Exit::Budget, message))
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// The options of one search.
pub(crate) fn options(k: usize, target: Option<Recall>, nprobe: Option<Nprobe>) -> SearchOptions {
    let probe = match (nprobe, target) {
        (Some(Nprobe::Lists(lists)), _) => Probe::Lists(lists),
        (Some(Nprobe::All), _) => Probe::All,
        (None, target) => Probe::TargetRecall(target.map_or(DEFAULT_TARGET, |target| target.0)),
    };
    SearchOptions { k, probe }
}

/// The recall aimed at when nothing else is asked for.
const DEFAULT_TARGET: f32 = 0.95;
