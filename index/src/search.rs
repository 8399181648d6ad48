//! Searching: route, read, score, keep the best.

mod open;
mod searcher;

pub(crate) use open::open_file;
pub use open::{FileInfo, Index, Info, OpenOptions};
pub use searcher::{Answer, Cost, Hit, Probe, SearchOptions, Searcher};
