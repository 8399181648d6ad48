//! What can go wrong above the bytes.

use std::path::PathBuf;

use nearline_storage::StorageError;

/// The result of an index operation.
pub type Result<T, E = IndexError> = std::result::Result<T, E>;

/// An error of the input's own reader, passed on as it is.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Why an index could not be built, opened or searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The disk failed, or its bytes are damaged.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The input of a build could not be read.
    #[error("{0}")]
    Source(SourceError),
    /// A vector, a query or a set of them does not fit.
    #[error("{name}: {found}; expected {expected}")]
    BadInput {
        /// The file or argument.
        name: String,
        /// What it holds.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// An option is out of its range.
    #[error("{option}: {found}; expected {expected}")]
    BadOption {
        /// The option's name.
        option: &'static str,
        /// The value given.
        found: String,
        /// The values that are allowed.
        expected: String,
    },
    /// The memory or disk allowed is too small.
    #[error("{what}: {needed} bytes needed, {allowed} bytes allowed; {fix}")]
    Budget {
        /// What does not fit.
        what: &'static str,
        /// Bytes that would suffice.
        needed: u64,
        /// Bytes that are allowed or free.
        allowed: u64,
        /// How to go on.
        fix: &'static str,
    },
    /// The folder holds no finished index.
    #[error("{dir}: not an index: {found}")]
    NotAnIndex {
        /// The folder.
        dir: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The folder cannot be built into as asked.
    #[error("{dir}: {found}; {fix}")]
    Occupied {
        /// The folder.
        dir: PathBuf,
        /// What is there.
        found: &'static str,
        /// How to go on.
        fix: &'static str,
    },
    /// The user interrupted the build; it can be resumed.
    #[error("interrupted; continue with --resume")]
    Interrupted,
}

impl IndexError {
    /// A value that does not fit, with what would.
    pub(crate) fn input(
        name: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::BadInput { name: name.into(), found: found.into(), expected: expected.into() }
    }

    /// An option out of range.
    pub(crate) fn option(option: &'static str, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::BadOption { option, found: found.to_string(), expected: expected.into() }
    }
}
