//! How the program ends: one line that says what was wrong, and a code that says which kind of wrong.

use std::error::Error;
use std::fmt;
use std::io;

use nearline::{BehaviorError, IndexError, OpenError, QueryError, StorageError, TableError, WriteError};
use nearline_datasets::DatasetError;
use nearline_server::ServeError;

use crate::size::Size;

/// Exit codes other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A fault of the program or the machine.
    Internal = 1,
    /// Arguments that make no sense.
    Usage = 2,
    /// A file or value that does not fit.
    BadInput = 3,
    /// Too little memory or disk.
    Budget = 4,
    /// Not an index, a damaged one, or one of a newer format.
    Corrupt = 5,
    /// `--min-recall` was not reached.
    BelowRecall = 6,
    /// Stopped by a signal; a build can be resumed.
    Interrupted = 130,
}

/// An error found by the command line itself.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// An error with the exit code it leads to.
pub(crate) fn fail(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    Failure { exit, message: message.into() }.into()
}

/// Arguments that make no sense.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    fail(Exit::Usage, message)
}

/// A file or value that does not fit.
pub(crate) fn bad_input(message: impl Into<String>) -> anyhow::Error {
    fail(Exit::BadInput, message)
}

/// Stopped by a signal.
pub(crate) fn interrupted() -> anyhow::Error {
    fail(Exit::Interrupted, "interrupted")
}

/// The exit code of an error.
pub(crate) fn code(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Internal)
}

/// The exit code of an error that is not wrapped yet.
pub(crate) fn code_of(error: &(dyn Error + 'static)) -> Exit {
    of_cause(error).unwrap_or(Exit::Internal)
}

fn of_cause(cause: &(dyn Error + 'static)) -> Option<Exit> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.exit);
    }
    if let Some(error) = cause.downcast_ref::<IndexError>() {
        return Some(of_index(error));
    }
    if let Some(error) = cause.downcast_ref::<StorageError>() {
        return Some(of_storage(error));
    }
    if let Some(error) = cause.downcast_ref::<OpenError>() {
        return Some(of_opening(error));
    }
    if let Some(error) = cause.downcast_ref::<WriteError>() {
        return Some(of_writing(error));
    }
    if let Some(error) = cause.downcast_ref::<TableError>() {
        return Some(of_table(error));
    }
    if let Some(error) = cause.downcast_ref::<QueryError>() {
        return Some(of_reading(error));
    }
    if let Some(error) = cause.downcast_ref::<BehaviorError>() {
        return Some(of_behaviors(error));
    }
    if let Some(error) = cause.downcast_ref::<ServeError>() {
        return Some(of_serving(error));
    }
    if let Some(error) = cause.downcast_ref::<DatasetError>() {
        return Some(of_dataset(error));
    }
    cause.downcast_ref::<io::Error>().map(of_io)
}

fn of_index(error: &IndexError) -> Exit {
    match error {
        IndexError::Storage(error) => of_own_files(error),
        IndexError::Source(error) => of_cause(error.as_ref()).unwrap_or(Exit::BadInput),
        IndexError::BadInput { .. } => Exit::BadInput,
        IndexError::BadOption { .. } | IndexError::Occupied { .. } => Exit::Usage,
        IndexError::Budget { .. } => Exit::Budget,
        IndexError::NotAnIndex { .. } => Exit::Corrupt,
        IndexError::Interrupted => Exit::Interrupted,
        _ => Exit::Internal,
    }
}

fn of_table(error: &TableError) -> Exit {
    match error {
        TableError::Bad { .. } | TableError::Unsupported { .. } => Exit::BadInput,
        TableError::Storage(error) | TableError::Poisoned { cause: error } => of_own_files(error),
        _ => Exit::Internal,
    }
}

fn of_behaviors(error: &BehaviorError) -> Exit {
    match error {
        BehaviorError::Storage(error) => of_own_files(error),
        BehaviorError::Full { .. } => Exit::Budget,
        BehaviorError::Poisoned { cause } => of_own_files(cause),
        _ => Exit::BadInput,
    }
}

fn of_opening(error: &OpenError) -> Exit {
    match error {
        OpenError::Missing { what: "database", .. } => Exit::Corrupt,
        OpenError::Missing { .. } | OpenError::Schema { .. } | OpenError::Source(_) => Exit::BadInput,
        OpenError::Name { .. } | OpenError::Exists { .. } | OpenError::InUse { .. } => Exit::Usage,
        OpenError::Storage(error) => of_own_files(error),
        OpenError::Table(error) => of_table(error),
        OpenError::Index(error) => of_index(error),
        _ => Exit::Internal,
    }
}

fn of_writing(error: &WriteError) -> Exit {
    match error {
        WriteError::Vector { .. }
        | WriteError::Payload { .. }
        | WriteError::Questions { .. }
        | WriteError::TooLarge { .. } => Exit::BadInput,
        WriteError::Filter(_)
        | WriteError::PayloadPath(_)
        | WriteError::FieldPath(_)
        | WriteError::FieldType { .. }
        | WriteError::FieldIndexes { .. } => Exit::Usage,
        WriteError::Name(error) => of_opening(error),
        WriteError::Poisoned { cause: error } | WriteError::Storage(error) => of_own_files(error),
        WriteError::Index(error) => of_index(error),
        _ => Exit::Internal,
    }
}

fn of_reading(error: &QueryError) -> Exit {
    match error {
        QueryError::Bad { .. } | QueryError::Filter(_) => Exit::Usage,
        QueryError::Storage(error) => of_own_files(error),
        QueryError::Index(error) => of_index(error),
        _ => Exit::Internal,
    }
}

fn of_serving(error: &ServeError) -> Exit {
    match error {
        ServeError::Config(_) | ServeError::Listen { .. } => Exit::Usage,
        _ => Exit::Internal,
    }
}

/// Of files that others of the same folder name: they must be there.
fn of_own_files(error: &StorageError) -> Exit {
    if let StorageError::NotFound { .. } = error { Exit::Corrupt } else { of_storage(error) }
}

fn of_storage(error: &StorageError) -> Exit {
    match error {
        StorageError::DiskFull { .. } => Exit::Budget,
        StorageError::Corrupt { .. }
        | StorageError::UnexpectedEnd { .. }
        | StorageError::Version { .. }
        | StorageError::Features { .. } => Exit::Corrupt,
        StorageError::Locked { .. } | StorageError::Exists { .. } => Exit::Usage,
        StorageError::NotFound { .. } => Exit::BadInput,
        StorageError::Io { source, .. } => of_io(source),
        _ => Exit::Internal,
    }
}

fn of_dataset(error: &DatasetError) -> Exit {
    match error {
        DatasetError::Io { source, .. } => of_io(source),
        _ => Exit::BadInput,
    }
}

fn of_io(error: &io::Error) -> Exit {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge | Kind::OutOfMemory => Exit::Budget,
        Kind::NotFound
        | Kind::PermissionDenied
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::ReadOnlyFilesystem
        | Kind::InvalidInput
        | Kind::InvalidFilename => Exit::BadInput,
        _ => Exit::Internal,
    }
}

/// The error as one line. Every error of ours says all there is to say itself.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let text = error.chain().find_map(budget).unwrap_or_else(|| error.to_string());
    text.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Too little memory, in units that people read, with the exact numbers beside.
fn budget(cause: &(dyn Error + 'static)) -> Option<String> {
    let Some(IndexError::Budget { what, needed, allowed, fix }) = cause.downcast_ref() else { return None };
    let bytes = |bytes: u64| format!("{} ({bytes} bytes)", Size(bytes));
    Some(format!("{what}: {} needed, {} allowed; {fix}", bytes(*needed), bytes(*allowed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn codes_follow_the_types() {
        let file = PathBuf::from("f");
        let full = || io::Error::from_raw_os_error(28);
        let dataset = |source| DatasetError::Io { file: "f".into(), action: "write", source };
        let cases: [(anyhow::Error, Exit); 9] = [
            (usage("x"), Exit::Usage),
            (interrupted(), Exit::Interrupted),
            (dataset(full()).into(), Exit::Budget),
            (DatasetError::Empty { file: file.clone() }.into(), Exit::BadInput),
            (IndexError::Source(Box::new(dataset(full()))).into(), Exit::Budget),
            (IndexError::Source("odd".into()).into(), Exit::BadInput),
            (IndexError::Storage(StorageError::Locked { dir: file.clone() }).into(), Exit::Usage),
            (StorageError::Version { file, found: 9, supported: 1 }.into(), Exit::Corrupt),
            (anyhow::anyhow!("what?"), Exit::Internal),
        ];
        for (error, exit) in cases {
            assert_eq!(code(&error), exit, "{error}");
        }
    }

    #[test]
    fn budgets_are_said_in_units() {
        let error = IndexError::Budget {
            what: "assign",
            needed: 34_849_878,
            allowed: 1 << 20,
            fix: "raise --memory",
        };
        let expected =
            "assign: 33.2 MiB (34849878 bytes) needed, 1.00 MiB (1048576 bytes) allowed; raise --memory";
        assert_eq!(one_line(&error.into()), expected);
    }

    #[test]
    fn errors_are_one_line() {
        assert_eq!(one_line(&usage("a:\n  b\n\nc\r\n")), "a: b c");
    }
}
