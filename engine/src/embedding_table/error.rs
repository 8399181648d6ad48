//! What can go wrong with embedding tables.

use std::sync::Arc;

use nearline_index::IndexError;
use nearline_storage::StorageError;

/// Why a table was not made, changed or asked. Nothing of a write took effect, unless [`TableError::is_in_doubt`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A value that cannot be.
    #[error("{what}: {found}; expected {expected}")]
    Bad {
        /// The argument.
        what: String,
        /// Its value.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// What the table's method cannot do.
    #[error("a table of method {method} cannot {what}; {fix}")]
    Unsupported {
        /// The method.
        method: String,
        /// What was asked.
        what: &'static str,
        /// What can be done instead.
        fix: &'static str,
    },
    /// An earlier write may or may not have reached the disk. The table goes on answering; open it anew to write.
    #[error("the table takes no writes until it is opened anew: {cause}")]
    Poisoned {
        /// What happened.
        cause: Arc<StorageError>,
    },
    /// The disk failed, or its bytes are damaged.
    #[error(transparent)]
    Storage(Arc<StorageError>),
}

impl TableError {
    pub(crate) fn bad(what: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Bad { what: what.into(), found: found.to_string(), expected: expected.into() }
    }

    /// Whether the write may be found after the table was opened anew, although this call failed.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Poisoned { .. })
    }

    /// Whether the same call may succeed later without anything being mended: there was no space on the disk.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_no_space())
    }
}

impl From<StorageError> for TableError {
    fn from(error: StorageError) -> Self {
        Self::Storage(Arc::new(error))
    }
}

impl From<IndexError> for TableError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Storage(error) => error.into(),
            IndexError::BadInput { name, found, expected } => Self::bad(name, found, expected),
            IndexError::BadOption { option, found, expected } => Self::bad(option, found, expected),
            other => Self::bad("table", other, "what fits"),
        }
    }
}
