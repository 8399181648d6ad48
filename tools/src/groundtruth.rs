//! `nearline groundtruth`: exact nearest neighbours by brute force.

use std::path::{Path, PathBuf};

use nearline_datasets::{GroundTruth, RawVectors, VectorFile, ground_truth, load_raw};

use crate::progress::{Mode, Reporter};
use crate::{args, interrupt, source};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Vectors to search
    #[arg(long)]
    base: PathBuf,
    /// Vectors to search for
    #[arg(long)]
    queries: PathBuf,
    /// How distances are measured
    #[arg(long, value_enum)]
    metric: args::Metric,
    /// Neighbours of each query
    #[arg(long, value_parser = args::positive, default_value_t = 100)]
    k: usize,
    /// File to write: u32 queries, u32 k, u32 ids, f32 distances
    #[arg(long)]
    output: PathBuf,
    /// Threads, 0 for one a core
    #[arg(long, default_value_t = 0, value_parser = args::threads)]
    threads: usize,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t)]
    progress: Mode,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let reporter = Reporter::new(args.progress);
    let base = VectorFile::open(&args.base)?;
    let queries = load(&args.queries, &base, args.metric)?;
    let truth = find(&base, &queries, args.metric, args.k, args.threads, &reporter)?;
    truth.write(&args.output)?;
    Ok(())
}

/// Loads queries for `base` and checks them, so that errors name their file.
pub(crate) fn load(path: &Path, base: &VectorFile, metric: args::Metric) -> anyhow::Result<RawVectors> {
    let file = VectorFile::open(path)?;
    source::check_shape(&file, base.element().name(), base.dim(), &base.path().display().to_string())?;
    let queries = load_raw(path)?;
    source::check_rows(&file, &queries.bytes, 0, metric == args::Metric::Cosine)?;
    Ok(queries)
}

/// Finds the `k` nearest rows of `base` for every query.
pub(crate) fn find(
    base: &VectorFile,
    queries: &RawVectors,
    metric: args::Metric,
    k: usize,
    threads: usize,
    reporter: &Reporter,
) -> anyhow::Result<GroundTruth> {
    reporter.start("groundtruth", 0, base.count());
    let truth = ground_truth(base, queries, metric.try_into()?, k, threads, &|done, _| reporter.set(done))?;
    reporter.finish();
    Ok(truth)
}
