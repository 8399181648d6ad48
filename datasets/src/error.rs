//! What can be wrong with a file of vectors: each error is one line naming the file, what was found, what
//! was expected and, where it is not obvious, what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Result of everything in this crate.
pub type Result<T> = std::result::Result<T, DatasetError>;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What was tried: "open", "read", "write" …
        action: &'static str,
        /// The system's own words.
        source: io::Error,
    },
    /// The name does not end in a known extension.
    #[error("{}: unknown extension {found:?}, expected one of {expected}: rename or convert the file", file.display())]
    Extension {
        /// The file.
        file: PathBuf,
        /// The extension found (without `.gz`).
        found: String,
        /// The known extensions.
        expected: &'static str,
    },
    /// Nothing in it.
    #[error("{}: empty file, expected a header followed by data: copy or make it again", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The file's length and its header disagree (truncated or oversized).
    #[error(
        "{}: {} file: found {found} bytes, expected {expected} ({shape}): copy or make it again",
        file.display(), if found < expected { "truncated" } else { "oversized" }
    )]
    Size {
        /// The file.
        file: PathBuf,
        /// Bytes found (after decompression; for an oversized gzip stream at least so many).
        found: u64,
        /// Bytes that the header promises.
        expected: u64,
        /// The shape that `expected` follows from, in words.
        shape: String,
    },
    /// A header field that cannot be right.
    #[error("{}: bad {field}: found {found}, expected {expected}", file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// A `fvecs`/`bvecs`/`ivecs` file whose rows differ in length.
    #[error(
        "{}: mixed dimensions: row {row} has {found}, expected {expected} as in row 0: write the rows again with one dimension",
        file.display()
    )]
    MixedDimensions {
        /// The file.
        file: PathBuf,
        /// The first row that differs.
        row: u64,
        /// Its dimension.
        found: u32,
        /// The dimension of row 0.
        expected: u32,
    },
    /// NaN or infinity among the vectors.
    #[error(
        "{}: row {row} has {found} at component {component}, expected finite numbers: remove or repair that row",
        file.display()
    )]
    NotFinite {
        /// The file.
        file: PathBuf,
        /// Row number, from 0.
        row: u64,
        /// Component, from 0.
        component: usize,
        /// The value.
        found: f32,
    },
    /// A vector of length zero where a direction is needed.
    #[error(
        "{}: row {row} is all zeros, expected a direction (cosine): remove the row or use l2 or ip",
        file.display()
    )]
    ZeroVector {
        /// The file.
        file: PathBuf,
        /// Row number, from 0.
        row: u64,
    },
    /// The gzip stream is damaged.
    #[error("{}: corrupt gzip stream ({source}), expected a whole one: copy it again", file.display())]
    Gzip {
        /// The file.
        file: PathBuf,
        /// The decoder's own words.
        source: io::Error,
    },
    /// An argument that does not fit the data.
    #[error("{what}: found {found}, expected {expected}")]
    Argument {
        /// Which argument, with the file it was to be used with where there is one.
        what: String,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
}

impl DatasetError {
    pub(crate) fn io(file: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { file: file.to_owned(), action, source }
    }

    pub(crate) fn header(
        file: &Path,
        field: &'static str,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        let (found, expected) = (found.to_string(), expected.to_string());
        Self::Header { file: file.to_owned(), field, found, expected }
    }

    pub(crate) fn argument(what: impl ToString, found: impl ToString, expected: impl ToString) -> Self {
        Self::Argument { what: what.to_string(), found: found.to_string(), expected: expected.to_string() }
    }
}
