//! The disk-backed vector index of Nearline.
//!
//! Centroids stay in RAM, posting lists of codes on the SSD, read a few ahead of the one that is scored; what the codes
//! leave undecided is compared with the raw vectors. This crate knows vectors and dense rows, never points, payloads or
//! names.
//!
//! A map, in reading order:
//! - `search`: [`Index`] opens a folder, [`Searcher`] answers; `router` finds lists, `posting` is a list, `rows` the raw
//!   vectors.
//! - `flat`: vectors without an index, compared one by one.
//! - `live`: an index that changes: entries added in RAM, and files written anew with them.
//! - `adopt`: an index with vectors of its own, taken over by whoever keeps vectors outside.
//! - [`build()`]: one file a stage under `build/`; `cluster`, `tree` and `assign` are the algorithms.
//! - `quantize`: codes and what they say of distances; `space`, `rotation`: where they are made.
//! - `metric`, `kernel`, `panels`: distances, from the exact ones of answers to the fast ones of routing.
//! - [`sdim`]: signatures, buckets and interest of long histories; it uses none of the above but the loops.
//! - [`embedding`]: compressed tables of rows by id: every method's lookup, fit and gradients; it uses the loops alone.
//! - `manifest`, `centroids`, `directory`, `calibration`, `ids`: the files, byte by byte in `docs/format.md`.

#[cfg(target_endian = "big")]
compile_error!("files are little-endian and are used in place");

mod adopt;
mod assign;
mod build;
mod calibration;
mod centroids;
mod cluster;
mod directory;
pub mod embedding;
mod error;
mod finite;
mod flat;
mod ids;
#[doc(hidden)]
pub mod kernel;
mod live;
mod manifest;
mod metric;
mod panels;
mod posting;
mod quantize;
mod random;
mod rank;
mod rotation;
mod router;
mod rows;
pub mod sdim;
mod search;
mod slots;
mod space;
#[cfg(test)]
mod tests;
mod topk;
mod tree;
mod vector;
mod verify;

pub use adopt::{Adoption, SlotFile};
pub use assign::CopyRule;
pub use build::{BuildOptions, BuildReport, IdSource, Plan, Progress, Silent, Stage, build, build_on, plan};
pub use calibration::{CALIBRATED_K, CALIBRATED_TARGETS, Calibration, Residency, RouterSetting, Setting};
pub use error::{IndexError, Result, SourceError};
pub use flat::{
    AllowedRows, CodeAsk, Flat, FlatSummary, FlatWalk, FlatWriter, Nearest, Picked, RowCodes, RowSet,
};
pub use live::{
    Delta, FoldOptions, FoldReport, Grown, Live, Measured, RowFiles, Widen, fold, measure, measure_questions,
};
pub use metric::{Distances, Metric, Scorer};
pub use posting::Codec;
pub use search::{
    Answer, Cost, FileInfo, Filter, Hit, Index, Info, OpenOptions, Pin, Pinned, Probe, Rerank, SearchOptions,
    Searcher,
};
pub use vector::{DIM_MAX, ElementType, RowId, RowStream, Shape, VectorSlice, VectorSource};
pub use verify::{Problem, VerifyReport, verify, verify_on, verify_outside};
