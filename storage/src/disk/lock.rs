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
        Ok(()) => Ok(FolderLock { _held: Some(Box::new(Locked(file))) }),
        Err(TryLockError::WouldBlock) => Err(StorageError::Locked { dir: root.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(StorageError::io(&path, "lock", error)),
    }
}

/// A file that is locked. It is unlocked in so many words: closing it does so only when no process that is just being
/// started has a copy of it.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // It is closed at any rate.
        let _ = self.0.unlock();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_goes_even_if_a_copy_of_its_file_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(&folder.path().join(LOCK_NAME), LockMode::Exclusive).unwrap();
        file.try_lock().unwrap();
        let (copy, locked) = (file.try_clone().unwrap(), Locked(file));
        assert!(lock_folder(folder.path(), LockMode::Exclusive).is_err());
        drop(locked);
        let _lock = lock_folder(folder.path(), LockMode::Exclusive).unwrap();
        drop(copy);
        assert!(lock_folder(folder.path(), LockMode::Shared).is_err());
    }
}
