//! The oracle's side of Nearline: vector file formats of the field, realistic generators and exact
//! ground truth. It shares no code with what it judges.
//!
//! | want | take |
//! |---|---|
//! | read a file of vectors in bounded memory | [`VectorFile`], [`RowReader`] |
//! | read a small one at once | [`load_f32`], [`load_raw`] |
//! | write one | [`VectorWriter`] |
//! | row numbers and other ids | [`IdFile`], [`read_ids`], [`write_ids`] |
//! | exact nearest neighbours | [`ground_truth()`], [`GroundTruth`] |
//! | vectors of any number, the same on every machine | [`generate`], [`Generator`], [`LikeGenerator`] |
//! | the real data sets of the tests | [`catalog`] |
//!
//! Every reader checks what it reads: a file that is truncated, too long or lies in its header is
//! refused with one line that names the file, what was found and what was expected.
//!
//! ```
//! use nearline_datasets::*;
//!
//! # fn main() -> nearline_datasets::Result<()> {
//! # let dir = tempfile::tempdir().expect("a temporary directory");
//! let (base, queries) = (dir.path().join("base.fbin"), dir.path().join("query.fbin"));
//! generate(Kind::Deep, 1000, 16, ElementType::F32, 1)?.write_to(&base)?;
//! generate_queries(Kind::Deep, 5, 16, ElementType::F32, 1)?.write_to(&queries)?;
//!
//! let truth = ground_truth(&VectorFile::open(&base)?, &load_raw(&queries)?, Metric::L2, 10, 0, &|_, _| {})?;
//! assert_eq!(truth.row(0).0.len(), 10);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod bin;
pub mod catalog;
mod dots;
mod element;
mod error;
mod format;
mod ground_truth;
mod ids;
mod load;
mod metric;
mod npy;
mod output;
mod rows;
mod stream;
mod synthetic;
mod vecs;
mod vector_file;
mod writer;

pub use element::{ElementType, check_finite};
pub use error::{DatasetError, Result};
pub use format::MAX_DIM;
pub use ground_truth::{GroundTruth, ground_truth, intrinsic_dimension};
pub use ids::{IdFile, read_ids, write_ids};
pub use load::{RawVectors, load_f32, load_raw};
pub use metric::Metric;
pub use rows::RowReader;
pub use synthetic::{Generated, Generator, Kind, LikeGenerator, RowSource, generate, generate_queries};
pub use vector_file::VectorFile;
pub use writer::VectorWriter;

// Elements are handed out as they stand in the file, which is little-endian in every format.
const _: () = assert!(cfg!(target_endian = "little"), "nearline-datasets needs a little-endian machine");
