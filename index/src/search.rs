//! Searching an index.

mod block;
mod context;
mod job;
mod open;
mod options;
mod pool;
mod rerank;
mod residency;
mod scan;
mod searcher;
pub(crate) mod stop;

pub(crate) use job::{STOP_STEP, ahead, ahead_at_first};
pub use open::{FileInfo, Index, Info, OpenOptions, Pin, Pinned};
pub(crate) use open::{Inner, open_file};
pub use options::{Answer, Cost, Filter, Hit, Probe, Rerank, SearchOptions};
pub(crate) use rerank::ROWS_AHEAD;
pub(crate) use scan::aligned;
pub use searcher::Searcher;
