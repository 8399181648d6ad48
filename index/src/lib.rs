//! The disk-backed vector index of Nearline.
//!
//! Centroids stay in RAM, posting lists on the SSD; a query reads its lists in one parallel round (SPANN, Chen et
//! al., 2021). This crate knows vectors and dense rows, never points, payloads or names.
//!
//! A map, in reading order:
//! - `search`: [`Index`] opens a folder, [`Searcher`] answers; `router` finds lists, `posting` is a list, `topk`
//!   keeps the best.
//! - [`build()`]: one file a stage under `build/`; `cluster` and `assign` are the algorithms.
//! - `metric`, `kernel`, `panels`, `space`: distances, from the exact ones of answers to the fast ones of routing.
//! - `manifest`, `centroids`, `directory`, `calibration`, `ids`: the files, byte by byte in `docs/format.md`.

#[cfg(target_endian = "big")]
compile_error!("files are little-endian and are used in place");

mod assign;
mod build;
mod calibration;
mod centroids;
mod cluster;
mod directory;
mod error;
mod ids;
#[doc(hidden)]
pub mod kernel;
mod manifest;
mod metric;
mod panels;
mod posting;
mod random;
mod record;
mod router;
mod search;
mod space;
#[cfg(test)]
mod tests;
mod topk;
mod vector;
mod verify;

pub use build::{BuildOptions, BuildReport, IdSource, Plan, Progress, Silent, Stage, build, build_on, plan};
pub use calibration::{CALIBRATED_K, CALIBRATED_TARGETS, Calibration, RouterSetting, Setting};
pub use error::{IndexError, Result, SourceError};
pub use metric::{Metric, Scorer};
pub use posting::Codec;
pub use search::{Answer, Cost, FileInfo, Hit, Index, Info, OpenOptions, Probe, SearchOptions, Searcher};
pub use vector::{DIM_MAX, ElementType, RowId, RowStream, Shape, VectorSlice, VectorSource};
pub use verify::{Problem, VerifyReport, verify};
