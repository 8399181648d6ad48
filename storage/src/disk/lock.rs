//! The lock of a folder: one exclusive holder, or any number of shared ones, across processes.

use std::any::Any;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::error::{Result, StorageError};

/// The file that is locked. It has no content and is never removed.
pub(crate) const LOCK_NAME: &str = "LOCK";

/// Who else may hold the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Other shared holders: for readers that never write.
    Shared,
    /// Nobody: for the one writer.
    Exclusive,
}

/// The lock of a folder, released when dropped, or when the process ends however it does.
#[derive(Debug)]
#[must_use = "the lock is released when this value is dropped"]
pub struct FolderLock {
    _held: Option<Box<dyn Any + Send + Sync>>,
}

impl FolderLock {
    /// Of a part of a folder whose owner holds the lock.
    pub(crate) fn of_owner() -> Self {
        Self { _held: None }
    }

    /// Keeps `held` until the lock is dropped.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn holding(held: impl Any + Send + Sync) -> Self {
        Self { _held: Some(Box::new(held)) }
    }
}

/// Locks a real folder without waiting.
///
/// In a folder that cannot be written, nobody can be writing: a shared lock is then granted even if there is no
/// file to lock.
pub(crate) fn lock_folder(root: &Path, mode: LockMode) -> Result<FolderLock> {
    let path = root.join(LOCK_NAME);
    let file = match open(&path, mode) {
        Ok(file) => file,
        Err(error) if mode == LockMode::Shared && is_read_only(&error) => {
            return Ok(FolderLock { _held: None });
        }
        Err(error) => return Err(StorageError::io(&path, "open the lock file", error)),
    };
    let locked = match mode {
        LockMode::Shared => file.try_lock_shared(),
        LockMode::Exclusive => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(FolderLock { _held: Some(Box::new(file)) }),
        Err(TryLockError::WouldBlock) => Err(StorageError::Locked { dir: root.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(StorageError::io(&path, "lock", error)),
    }
}

fn open(path: &Path, mode: LockMode) -> io::Result<File> {
    match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path) {
        Err(error) if mode == LockMode::Shared && is_read_only(&error) => match File::open(path) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Err(error),
            other => other,
        },
        other => other,
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}
