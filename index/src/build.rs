//! Building an index from a file of vectors, out of core, in stages that can be resumed.
//!
//! `sample → cluster → assign → sort → copy → encode → calibrate → publish`. Each stage reads files and writes files; memory
//! stays within the budget whatever the input's size, and a small file remembers what is done. The same input,
//! options and seed give the same bytes, whatever the number of threads.

mod assign;
mod bits;
mod calibrate;
mod cluster;
mod copy;
mod encode;
mod partition;
mod plan;
mod publish;
mod run;
mod sample;
mod sort;
mod state;

use nearline_storage::IoMode;

pub(crate) use assign::breadth;
pub(crate) use copy::RATIO_MAX;
#[cfg(test)]
pub(crate) use plan::nodes_of;
pub(crate) use plan::{CALIBRATION_ROWS, fresh_sizes};
pub use plan::{Plan, plan};
pub use run::{build, build_on};
pub(crate) use state::STATE;

use crate::assign::CopyRule;
use crate::metric::Metric;
use crate::posting::Codec;
use crate::vector::VectorSource;

/// How an index is built.
#[derive(Clone, Copy)]
pub struct BuildOptions<'a> {
    /// How distances are measured.
    pub metric: Metric,
    /// What postings hold; `None` leaves the bits to a look at the data.
    pub codec: Option<Codec>,
    /// Keep a raw copy of every vector, to answer with exact distances. Lists of raw vectors need none.
    pub rerank: bool,
    /// Whoever searches keeps the vectors and hands them over ([`crate::Live`]): the index keeps no copy of its own, and
    /// entries name rows as [`VectorSource::row`] gives them.
    pub rows_outside: bool,
    /// Rows that stand in for queries at most: fewer are faster, more are surer.
    pub calibration_rows: u64,
    /// Bytes of memory the build may use, besides the program itself (64 MiB are set aside for that).
    pub memory_bytes: u64,
    /// Worker threads; 0 means one a core. The files do not depend on it.
    pub threads: usize,
    /// Decides every random choice.
    pub seed: u64,
    /// Lists a vector is in at most, 1 to 8; `None` means 2, and 4 for lists of raw vectors.
    pub replicas: Option<usize>,
    /// Which lists those are.
    pub copy_rule: CopyRule,
    /// Vectors per centroid, on average: more means fewer centroids in RAM and longer lists. `None` fills two pages.
    pub list_vectors: Option<usize>,
    /// Go on with an interrupted build instead of refusing.
    pub resume: bool,
    /// Replace an index or an interrupted build that is in the folder.
    pub force: bool,
    /// How the new index is read.
    pub io: IoMode,
    /// A point id for every row, if it is not the row's number.
    pub ids: Option<&'a dyn IdSource>,
    /// Queries like those the index will see. Without them, rows of the data stand in.
    pub calibration_queries: Option<&'a dyn VectorSource>,
}

impl Default for BuildOptions<'_> {
    fn default() -> Self {
        Self {
            metric: Metric::L2,
            codec: None,
            rerank: true,
            rows_outside: false,
            calibration_rows: CALIBRATION_ROWS,
            memory_bytes: 1 << 30,
            threads: 0,
            seed: 1,
            replicas: None,
            copy_rule: CopyRule::default(),
            list_vectors: None,
            resume: false,
            force: false,
            io: IoMode::Auto,
            ids: None,
            calibration_queries: None,
        }
    }
}

impl BuildOptions<'_> {
    /// The number of worker threads this means.
    pub fn worker_threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

/// Where a build gets point ids from.
pub trait IdSource: Send + Sync {
    /// The name to use in errors, usually a path.
    fn name(&self) -> String;
    /// Number of ids.
    fn count(&self) -> u64;
    /// As [`VectorSource::version`].
    fn version(&self) -> u64 {
        0
    }
    /// Fills `out` with the ids of the rows from `from` on.
    fn ids(&self, from: u64, out: &mut [u64]) -> Result<(), crate::error::SourceError>;
}

/// The stages of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Read and check all vectors, keep a sample.
    Sample,
    /// Cluster the sample.
    Cluster,
    /// Find the nearest list of every vector and write it to a partition.
    Assign,
    /// Sort each partition by list, split lists that are too long, and write the file of rows.
    Sort,
    /// Find the lists where a copy of a vector helps.
    Copy,
    /// Write the posting lists.
    Encode,
    /// Find the settings that reach each recall.
    Calibrate,
    /// Make the index visible.
    Publish,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 8] = [
        Self::Sample,
        Self::Cluster,
        Self::Assign,
        Self::Sort,
        Self::Copy,
        Self::Encode,
        Self::Calibrate,
        Self::Publish,
    ];

    /// The stage's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Cluster => "cluster",
            Self::Assign => "assign",
            Self::Sort => "sort",
            Self::Copy => "copy",
            Self::Encode => "encode",
            Self::Calibrate => "calibrate",
            Self::Publish => "publish",
        }
    }
}

/// Told what a build is doing; asked whether it shall go on.
pub trait Progress: Send + Sync {
    /// A stage begins; `total` units of work lie ahead, `done` of them behind already when resuming.
    fn stage(&self, stage: Stage, done: u64, total: u64);
    /// So many units more are done.
    fn advance(&self, units: u64);
    /// Whether the user wants to stop. The build then leaves what can be resumed.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Shows nothing and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: Stage, _: u64, _: u64) {}
    fn advance(&self, _: u64) {}
}

/// What a build did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BuildReport {
    /// What was predicted.
    pub plan: Plan,
    /// Seconds of each stage that ran, in order.
    pub seconds: Vec<(&'static str, f64)>,
    /// Vectors in the index.
    pub rows: u64,
    /// Posting lists.
    pub lists: u64,
    /// Entries in all lists: copies included.
    pub entries: u64,
    /// Mean entries of a list, weighted by size: Σc²/Σc. It predicts what a probe reads.
    pub list_entries_weighted: f64,
    /// Bytes of the index on disk.
    pub disk_bytes: u64,
    /// Largest number of bytes of temporary files.
    pub temp_bytes: u64,
}
