//! What can go wrong with bytes on disk, always naming the file and, where there is one, the offset.

use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// An operation on a file or folder that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system refused an operation.
    #[error("{}: {op}{} failed: {source}", .file.display(), At(*.offset))]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What was attempted, as a verb: `open`, `write`, `sync`.
        op: &'static str,
        /// Where in the file, for reads and writes.
        offset: Option<u64>,
        /// What the operating system said.
        source: io::Error,
    },
    /// No space or quota is left, or the file would grow beyond what the filesystem allows.
    #[error("{}: {op} failed because the disk is full: {source}", .file.display())]
    DiskFull {
        /// The file that could not grow.
        file: PathBuf,
        /// What was attempted.
        op: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The bytes end before something that should be there.
    #[error("{}: wanted {wanted} bytes at offset {offset}, but the data ends at {len}", .file.display())]
    UnexpectedEnd {
        /// The file that is too short.
        file: PathBuf,
        /// Where the missing bytes should start.
        offset: u64,
        /// How many bytes should be there.
        wanted: u64,
        /// Where the file (or the section being decoded) ends.
        len: u64,
    },
    /// The bytes are not what was written.
    #[error("{}: wrong {what} at offset {offset}: found {found:#x}, expected {expected:#x}", .file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where the wrong value lies.
        offset: u64,
        /// Which value is wrong.
        what: &'static str,
        /// The value that was found.
        found: u64,
        /// The value that would be right.
        expected: u64,
    },
    /// The file was written by a Nearline with another format.
    #[error(
        "{}: format version {found}, but this program reads version {supported}; {}",
        .file.display(), version_fix(*.found, *.supported)
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// The version in the file.
        found: u16,
        /// The version this program reads.
        supported: u16,
    },
    /// The file relies on features this build does not have.
    #[error(
        "{}: needs features {unknown:#x} that this build does not know; \
         open it with the Nearline that wrote it, or a later one", .file.display()
    )]
    Features {
        /// The file.
        file: PathBuf,
        /// The required feature bits that are unknown.
        unknown: u64,
    },
    /// A key was pushed into a sorted table that is not above the one before it.
    #[error(
        "{}: entry {entry} has a key that is not above the key before it; \
         push keys in ascending order, each once", .file.display()
    )]
    KeyOrder {
        /// The table that is written.
        file: PathBuf,
        /// The number of the entry, from 0.
        entry: u64,
    },
    /// A key or a value is larger than a sorted table takes.
    #[error("{}: entry {entry} has a {what} of {found} bytes; at most {max} are possible", .file.display())]
    TooLong {
        /// The table that is written.
        file: PathBuf,
        /// The number of the entry, from 0.
        entry: u64,
        /// `key` or `value`.
        what: &'static str,
        /// Its length in bytes.
        found: usize,
        /// The largest length possible.
        max: usize,
    },
    /// Another handle holds the folder in a mode that excludes this one.
    #[error("{}: in use by another process or handle", .dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// An earlier write or sync of a log failed, so nobody knows what of it is on the disk. Trying again would
    /// prove nothing; opening the log anew reads what is there.
    #[error("{}: out of use until the log is opened anew, because this failed: {why}", .file.display())]
    Poisoned {
        /// The file whose state is unknown.
        file: PathBuf,
        /// The first failure.
        why: String,
    },
    /// A record is larger than a log takes.
    #[error("{}: a record of {bytes} bytes, but the log takes at most {max}; split the write", .dir.display())]
    RecordTooLarge {
        /// The log's folder.
        dir: PathBuf,
        /// The bytes of the record.
        bytes: u64,
        /// The bytes a record may have.
        max: u64,
    },
    /// There is no such file.
    #[error("{}: no such file", .file.display())]
    NotFound {
        /// The missing file.
        file: PathBuf,
    },
    /// The file that should be created is already there.
    #[error("{}: exists already", .file.display())]
    Exists {
        /// The file in the way.
        file: PathBuf,
    },
}

/// What to do about a file of another version.
fn version_fix(found: u16, supported: u16) -> &'static str {
    if found < supported {
        "build the index anew (nearline build --force), or write the points of a collection anew"
    } else {
        "open it with the Nearline that wrote it, or a later one"
    }
}

impl StorageError {
    /// Whether there was no space. Nothing was lost: the same call may succeed once there is space again.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    /// Whether the bytes, or the files, are not what they must be; not that the machine failed.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::UnexpectedEnd { .. }
                | Self::Corrupt { .. }
                | Self::Version { .. }
                | Self::Features { .. }
                | Self::NotFound { .. }
        )
    }

    /// Whether a log is of no more use until it is opened anew.
    pub fn is_poisoned(&self) -> bool {
        matches!(self, Self::Poisoned { .. })
    }

    /// Wraps an error of the operating system, sorting out the kinds callers tell apart: a full disk, a
    /// missing file, a file in the way.
    pub fn io(file: &Path, op: &'static str, source: io::Error) -> Self {
        Self::sorted(file, op, None, source)
    }

    /// As [`StorageError::io`], for an operation at an offset in a file.
    pub fn io_at(file: &Path, op: &'static str, offset: u64, source: io::Error) -> Self {
        Self::sorted(file, op, Some(offset), source)
    }

    /// A wrong value at an offset.
    pub fn corrupt(file: &Path, offset: u64, what: &'static str, found: u64, expected: u64) -> Self {
        Self::Corrupt { file: file.to_path_buf(), offset, what, found, expected }
    }

    /// Bytes that end too early: `wanted` bytes were to start at `offset`, but the data ends at `len`.
    pub fn unexpected_end(file: &Path, offset: u64, wanted: u64, len: u64) -> Self {
        Self::UnexpectedEnd { file: file.to_path_buf(), offset, wanted, len }
    }

    fn sorted(file: &Path, op: &'static str, offset: Option<u64>, source: io::Error) -> Self {
        let file = file.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull { file, op, source }
            }
            io::ErrorKind::NotFound => Self::NotFound { file },
            io::ErrorKind::AlreadyExists => Self::Exists { file },
            _ => Self::Io { file, op, offset, source },
        }
    }
}

/// Prints ` at offset N`, or nothing.
struct At(Option<u64>);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(offset) => write!(f, " at offset {offset}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        for errno in [28, 122, 27] {
            let error = StorageError::io(Path::new("f"), "write", io::Error::from_raw_os_error(errno));
            assert!(matches!(error, StorageError::DiskFull { .. }), "errno {errno}: {error}");
        }
        let error = StorageError::io_at(Path::new("f"), "read", 8192, io::Error::from_raw_os_error(5));
        assert!(error.to_string().starts_with("f: read at offset 8192 failed"), "{error}");
    }
}
