//! What can go wrong, by phase: opening, writing, reading.
//!
//! A user's mistake and a broken disk are never the same variant.

use std::path::PathBuf;
use std::sync::Arc;

use nearline_index::IndexError;
use nearline_storage::StorageError;

use crate::embedding_table::TableError;
use crate::field::FieldType;
use crate::filter::FilterError;
use crate::path::PathError;
use crate::point_id::PointId;
use crate::value::ValueError;

/// Why a database or a collection could not be opened, created or dropped.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A name that cannot be one.
    #[error("{what} {found:?}: expected {expected}")]
    Name {
        /// What is named.
        what: &'static str,
        /// The name given.
        found: String,
        /// What names look like.
        expected: &'static str,
    },
    /// There is none of this name.
    #[error("there is no {what} {name:?}")]
    Missing {
        /// `database`, `collection`, `alias` or `snapshot`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is one of this name already.
    #[error("the {what} {name:?} is there already; drop it, or choose another name")]
    Exists {
        /// `collection` or `snapshot`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A schema that no collection can have.
    #[error("schema: {found}; expected {expected}")]
    Schema {
        /// What is wrong.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// An embedding table that cannot be, or not so.
    #[error(transparent)]
    Table(TableError),
    /// Another process, or another handle of this one, has the folder open.
    #[error("{}: in use by another process or handle; close it there first", .dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// A vector index is damaged. It is made of the points' vectors: [`crate::Collection::rebuild_vector_indexes`] makes it
    /// anew.
    #[error("vector index, {file}: {message}; it can be made anew (rebuild_vector_indexes, verify --repair)")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong, and where.
        message: String,
    },
    /// The disk failed, or its bytes are damaged.
    #[error(transparent)]
    Storage(Arc<StorageError>),
    /// Vectors could not be read.
    #[error(transparent)]
    Index(Arc<IndexError>),
    /// Points that were to be taken could not be had from where they come from.
    #[error("{0}")]
    Source(Arc<dyn std::error::Error + Send + Sync>),
}

impl OpenError {
    /// The same of files that came from elsewhere: where they are damaged, that is where they came from.
    pub(crate) fn of_source(self) -> Self {
        match self {
            Self::Storage(error) if error.is_damage() => Self::Source(error),
            Self::Damaged { .. } => Self::Source(Arc::new(self)),
            other => other,
        }
    }
}

/// Why points were not written. Nothing of the call took effect, unless [`WriteError::is_in_doubt`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A vector does not fit the schema.
    #[error("point {id}, vector {name:?}: {found}; expected {expected}")]
    Vector {
        /// The point.
        id: String,
        /// The vector's name.
        name: String,
        /// What it is.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A payload cannot be kept.
    #[error("point {id}: {source}")]
    Payload {
        /// The point.
        id: String,
        /// What is wrong with it.
        source: ValueError,
    },
    /// What should be a path into payloads is none.
    #[error("path into payloads: {0}")]
    PayloadPath(PathError),
    /// A filter cannot be understood.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The path of a field index is none.
    #[error("field index: {0}")]
    FieldPath(#[from] PathError),
    /// There is an index of another type on the path.
    #[error(
        "field index on {path}: there is one of type {found} already, not {wanted}; \
         drop it (drop_field_index), then create the other"
    )]
    FieldType {
        /// The path.
        path: String,
        /// The type of the index that is there.
        found: FieldType,
        /// The type asked for.
        wanted: FieldType,
    },
    /// The collection has as many field indexes as it may.
    #[error("field index on {path}: the collection has {max} already, as many as it may; drop one first")]
    FieldIndexes {
        /// The path.
        path: String,
        /// Field indexes at most.
        max: usize,
    },
    /// Questions to calibrate with that are none.
    #[error("{what}: {found}; expected {expected}")]
    Questions {
        /// What about them.
        what: &'static str,
        /// What it is.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A name that cannot be one, or is taken.
    #[error(transparent)]
    Name(Arc<OpenError>),
    /// Work in the background panicked. It is tried again.
    #[error("{what} ended in a panic: a mistake of this library; what was printed then says where")]
    Panicked {
        /// The work.
        what: &'static str,
    },
    /// A call is larger than the log takes, or all row numbers are used up.
    #[error("{what}: {found}; at most {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: u64,
        /// How large it may be.
        max: u64,
    },
    /// An earlier write may or may not have reached the disk. The collection goes on answering; open it anew to write.
    #[error("the collection takes no writes until it is opened anew: {cause}")]
    Poisoned {
        /// What happened.
        cause: Arc<StorageError>,
    },
    /// The disk failed, or its bytes are damaged.
    #[error(transparent)]
    Storage(Arc<StorageError>),
    /// Vectors could not be read.
    #[error(transparent)]
    Index(Arc<IndexError>),
}

impl WriteError {
    /// Whether the same call may succeed later without anything being mended: there was no space on the disk.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Storage(error) if matches!(**error, StorageError::DiskFull { .. }))
    }

    /// Whether it was given up because nobody needed it any more.
    pub(crate) fn is_interrupted(&self) -> bool {
        matches!(self, Self::Index(error) if matches!(**error, IndexError::Interrupted))
    }

    /// Whether the write may be found after the collection was opened anew, although this call failed.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Poisoned { .. })
    }
}

/// Why a question was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A value that no such question can have.
    #[error("{what}: {found}; expected {expected}")]
    Bad {
        /// The argument.
        what: &'static str,
        /// Its value.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A point that is an example is not there.
    #[error("there is no point {id}, which is an example")]
    NoPoint {
        /// Its id.
        id: PointId,
    },
    /// A point that is an example has no vector of the name.
    #[error("point {id}, which is an example, has no vector {name:?}")]
    NoVector {
        /// Its id.
        id: PointId,
        /// The name.
        name: String,
    },
    /// A filter cannot be understood.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The disk failed, or its bytes are damaged.
    #[error(transparent)]
    Storage(Arc<StorageError>),
    /// Vectors could not be read.
    #[error(transparent)]
    Index(Arc<IndexError>),
}

impl QueryError {
    pub(crate) fn bad(
        what: &'static str,
        found: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        Self::Bad { what, found: found.to_string(), expected: expected.into() }
    }

    /// Whether the same question may be answered later without anything being mended; never so far.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

macro_rules! from_below {
    ($($error:ty),*) => {$(
        impl From<StorageError> for $error {
            fn from(error: StorageError) -> Self {
                Self::Storage(Arc::new(error))
            }
        }

        impl From<IndexError> for $error {
            fn from(error: IndexError) -> Self {
                match error {
                    IndexError::Storage(error) => error.into(),
                    error => Self::Index(Arc::new(error)),
                }
            }
        }
    )*};
}

from_below!(OpenError, WriteError, QueryError);

impl From<OpenError> for WriteError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Storage(error) => Self::Storage(error),
            OpenError::Index(error) => Self::Index(error),
            // Nothing else comes from what is open.
            other => Self::Name(Arc::new(other)),
        }
    }
}

impl From<WriteError> for OpenError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Storage(error) | WriteError::Poisoned { cause: error } => Self::Storage(error),
            WriteError::Index(error) => Self::Index(error),
            WriteError::Name(error) => (*error).clone(),
            // Nothing else comes of what is there already.
            other => {
                let source = std::io::Error::other(other.to_string());
                Self::Storage(Arc::new(StorageError::io(std::path::Path::new("collection"), "write", source)))
            }
        }
    }
}
