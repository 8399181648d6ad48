//! Nearline, a vector search database in a folder: the public library.

#![forbid(unsafe_code)]

pub use nearline_index::*;
pub use nearline_storage::{IoMode, StorageError};
