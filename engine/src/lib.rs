//! Nearline, a vector search database in a folder: the public library.
//!
//! What there is so far is the offline index: [`build()`] turns vectors into a folder, [`Index`] opens it, and a
//! [`Searcher`] for each thread answers queries from it. Centroids stay in RAM, everything else on the disk.
//!
//! ```
//! use nearline::{BuildOptions, Index, OpenOptions, SearchOptions, Silent, VectorSlice};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("nearline-doc-{}", std::process::id()));
//! // A thousand vectors of four elements.
//! let values: Vec<f32> = (0..4_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as f32).collect();
//! let vectors = VectorSlice::from_f32(4, &values)?;
//! nearline::build(&folder, &vectors, &BuildOptions::default(), &Silent)?;
//!
//! let index = Index::open(&folder, &OpenOptions::default())?;
//! let mut searcher = index.searcher();
//! let query: Vec<u8> = values[40..44].iter().flat_map(|x| x.to_le_bytes()).collect();
//! let answer = searcher.search(&query, &SearchOptions { k: 3, ..SearchOptions::default() })?;
//! assert_eq!(answer.hits[0].id, 10); // the tenth vector is its own nearest
//! println!("{} lists, {} bytes read", answer.cost.lists, answer.cost.bytes);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```
//!
//! A target of recall is a contract: the build measures, on held-out queries, which settings reach it, and stores
//! them in the index. Memory is a contract too: [`BuildOptions::memory_bytes`] bounds the build and
//! [`OpenOptions::memory_bytes`] the process that searches.

#![forbid(unsafe_code)]

mod behavior;
mod catalog;
mod collection;
mod database;
mod embedding_table;
mod error;
pub mod field;
pub mod filter;
mod folder;
mod formula;
mod live_tier;
mod manifest;
mod path;
mod point;
mod point_id;
mod questions;
mod record;
mod schema;
mod segment;
mod sorter;
mod state;
mod value;
mod vector_index;

#[doc(hidden)]
pub use behavior::fuzzed as fuzzed_behaviors;
pub use behavior::{
    Behavior, BehaviorError, BehaviorOptions, BehaviorReader, BehaviorSpace, BehaviorStats, CANDIDATES_MAX,
    Candidates, EpochInfo, EpochStage, Interests, SimilarBehavior, SourceOffset, Span, TableValues,
    UserTable, WriteReport as BehaviorReport,
};
pub use collection::{
    CalibrationReport, Collection, Durability, EXAMPLES_MAX, Example, FACET_VALUES_MAX, Facet, FacetHit,
    Feedback, FieldIndex, FilterReport, Fusion, Groups, GroupsAnswer, Job, K_MAX, MATRIX_SAMPLE_MAX,
    MMR_CANDIDATES_MAX, Matrix, MatrixAnswer, Mmr, OrderBy, PREFETCH_DEPTH_MAX, PREFETCHES_MAX, Page,
    PointGroup, Query, QueryAnswer, QueryReport, Recommend, RecommendStrategy, ScoredPoint, Scroll, Selector,
    SnapshotFile, SnapshotInfo, Stats, Strategy, UpdateMode, Version, WriteReport,
};
pub use database::{
    AliasChange, Damage, Database, DatabaseBuilder, DatabaseReport, FromIndex, restore_storage,
};
pub use embedding_table::{EmbeddingTable, TableError, TableStats, TableVersion};
pub use error::{OpenError, QueryError, WriteError};
pub use live_tier::LiveTierState;
pub use point::{Point, Vector};
pub use questions::{QUESTIONS_K_MAX, QUESTIONS_MAX, QUESTIONS_MIN};
pub use schema::{Schema, VECTOR_NAME_BYTES_MAX, VECTORS_MAX, VectorConfig};

pub use field::{FIELD_INDEXES_MAX, FieldType};
pub use filter::{
    Checked, Condition, Filter, FilterError, GeoPoint, MatchValue, RangeBound, TextOptions, Tokenizer,
};
pub use formula::{Decay, Expression, FORMULA_DEPTH_MAX, FORMULA_PARTS_MAX, Formula};
pub use path::{FieldPath, PATH_BYTES_MAX, PATH_STEPS_MAX, PathError, elements_at, values_at};
pub use point_id::{PointId, PointIdError, Uuid};
pub use value::{Number, Object, PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, Payload, Value, ValueError};

pub use nearline_index::embedding;
pub use nearline_index::sdim;
pub use nearline_index::{
    Answer, BuildOptions, BuildReport, CALIBRATED_K, CALIBRATED_TARGETS, Calibration, Codec, CopyRule, Cost,
    DIM_MAX, ElementType, FileInfo, Hit, IdSource, Index, IndexError, Info, Measured, Metric, OpenOptions,
    Pin, Pinned, Plan, Probe, Problem, Progress, Rerank, Residency, Result, RouterSetting, RowId, RowStream,
    Scorer, SearchOptions, Searcher, Setting, Shape, Silent, SourceError, Stage, VectorSlice, VectorSource,
    VerifyReport, build, plan, verify,
};
pub use nearline_storage::{IoMode, StorageError};
