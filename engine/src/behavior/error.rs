//! What can go wrong with behaviours.

use std::sync::Arc;

use nearline_index::IndexError;
use nearline_storage::StorageError;

/// Why behaviours were not written or a question about them not answered. Nothing of a write took effect, unless
/// [`BehaviorError::is_in_doubt`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BehaviorError {
    /// A value that cannot be.
    #[error("{what}: {found}; expected {expected}")]
    Bad {
        /// The argument.
        what: &'static str,
        /// Its value.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// An item that has no vector.
    #[error(
        "item {item} has no vector in epoch {epoch} of this space; put it first (put_items), or give the vector itself"
    )]
    UnknownItem {
        /// The item.
        item: u64,
        /// The epoch that would count by it.
        epoch: u32,
    },
    /// An epoch that does not answer.
    #[error(
        "epoch {epoch} does not answer in this space: it is not there, or not built yet; those that do: {known}"
    )]
    UnknownEpoch {
        /// Its number.
        epoch: u32,
        /// The numbers of those that answer.
        known: String,
    },
    /// The vector of an item would change.
    #[error(
        "item {item} has another vector already, and behaviours are counted by it; vectors of items do not change \
         within an epoch: make a new epoch for new embeddings"
    )]
    ItemChanged {
        /// The item.
        item: u64,
    },
    /// What cannot be written to files any more; see the cause. What is there is still answered.
    #[error("{bytes} bytes of behaviours wait to be written to files, at most {max} may: {cause}")]
    Full {
        /// Bytes in memory.
        bytes: u64,
        /// Bytes in memory at most.
        max: u64,
        /// Why they were not written.
        cause: String,
    },
    /// An earlier write may or may not have reached the disk. The space goes on answering; open it anew to write.
    #[error("the space takes no writes until it is opened anew: {cause}")]
    Poisoned {
        /// What happened.
        cause: Arc<StorageError>,
    },
    /// The disk failed, or its bytes are damaged.
    #[error(transparent)]
    Storage(Arc<StorageError>),
}

impl BehaviorError {
    pub(crate) fn bad(
        what: &'static str,
        found: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        Self::Bad { what, found: found.to_string(), expected: expected.into() }
    }

    /// Whether the write may be found after the space was opened anew, although this call failed.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Poisoned { .. })
    }

    /// Whether the same call may succeed later without anything being mended: there was no space on the disk.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_no_space())
    }
}

impl From<StorageError> for BehaviorError {
    fn from(error: StorageError) -> Self {
        Self::Storage(Arc::new(error))
    }
}

impl From<IndexError> for BehaviorError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Storage(error) => error.into(),
            IndexError::BadInput { found, expected, .. } => Self::bad("vectors", found, expected),
            other => Self::bad("vectors", other, "what the space was made for"),
        }
    }
}
