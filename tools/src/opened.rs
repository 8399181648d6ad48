//! An index opened within a budget, and queries that suit it.

use std::path::{Path, PathBuf};

use nearline::{Database, Hit, Index, IndexError, Metric, OpenOptions, Probe, SearchOptions, Searcher};
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
    /// What of the lists is held in RAM within --memory
    #[arg(long, value_enum, default_value_t)]
    pub(crate) pin: args::Pin,
    /// Memory that keeps what was read, out of --memory [default: what is not pinned, a quarter of what
    /// would hold whole lists at least]
    #[arg(long)]
    pub(crate) cache: Option<Size>,
    /// Which candidates are compared with the raw vectors
    #[arg(long, value_enum, default_value_t)]
    pub(crate) rerank: args::Rerank,
    /// Queries a thread has under way together, so that one computes while others wait for the disk [default: 1
    /// with one thread, 4 with more]
    #[arg(long, value_parser = args::positive)]
    pub(crate) overlap: Option<usize>,
    /// Bytes a query may read at most, such as 256KiB; its answer is cut short there
    #[arg(long)]
    pub(crate) max_bytes_read: Option<Size>,
    /// Milliseconds after which a query begins no more reads
    #[arg(long)]
    pub(crate) max_ms: Option<f64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    /// The options of one search.
    pub(crate) fn options(&self, target: Option<Recall>, nprobe: Option<Nprobe>) -> SearchOptions {
        let probe = match (nprobe, target) {
            (Some(Nprobe::Lists(lists)), _) => Probe::Lists(lists),
            (Some(Nprobe::All), _) => Probe::All,
            (None, target) => Probe::TargetRecall(target.map_or(DEFAULT_TARGET, |target| target.0)),
        };
        SearchOptions {
            k: self.k,
            probe,
            rerank: self.rerank.into(),
            max_bytes_read: self.max_bytes_read.map(|size| size.0),
            max_us: self.max_ms.map(|ms| (ms * 1e3) as u64),
        }
    }
}

/// An index, its searchers and a file of queries for it.
pub(crate) struct Opened {
    pub(crate) index: Index,
    pub(crate) searchers: Vec<Searcher>,
    pub(crate) queries: VectorFile,
    /// Queries a searcher has under way together.
    pub(crate) overlap: usize,
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
        let options = OpenOptions {
            memory_bytes: args.memory.map(|memory| memory.0.saturating_sub(held)),
            threads,
            io: args::io_mode(args.io)?,
            pin: args.pin.into(),
            cache_bytes: args.cache.map(|cache| cache.0),
        };
        let index = open(&args.index, args.memory, held, &options)?;
        let info = index.info();
        source::check_shape(&queries, info.element.name(), info.dim, &args.index.display().to_string())?;
        if args.k as u64 > info.rows {
            let (dir, k, rows) = (args.index.display(), args.k, info.rows);
            return Err(exit::bad_input(format!(
                "--k for {dir}: found {k}, expected at most its {rows} vectors"
            )));
        }
        let searchers = (0..threads).map(|_| index.searcher()).collect();
        let overlap = args.overlap.unwrap_or(if threads == 1 { 1 } else { OVERLAP });
        Ok(Self { index, searchers, queries, overlap })
    }

    /// The name of what of the lists is held in RAM.
    pub(crate) fn residency(&self) -> &'static str {
        self.index.info().pinned.residency.name()
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

/// Queries a thread has under way together, when there are several threads: what counts then is throughput.
const OVERLAP: usize = 4;

/// Opens an index so that it and `held` bytes besides fit into `memory`.
pub(crate) fn open(
    dir: &Path,
    memory: Option<Size>,
    held: u64,
    options: &OpenOptions,
) -> anyhow::Result<Index> {
    let threads = options.threads;
    match (Index::open(dir, options), memory) {
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
        (Err(error), _) => Err(not_opened(dir, error)),
    }
}

/// Why an index was not opened; of a database, what to do with one.
pub(crate) fn not_opened(dir: &Path, error: IndexError) -> anyhow::Error {
    if !matches!(error, IndexError::NotAnIndex { .. }) || !Database::is_in(dir) {
        return error.into();
    }
    let fix = "what is in it is listed by nearline collections, table list and behaviors list, and asked through \
               nearline serve or the library";
    exit::bad_input(format!("{}: found a database, expected an index: {fix}", dir.display()))
}

/// The recall aimed at when nothing else is asked for.
const DEFAULT_TARGET: f32 = 0.95;
