//! A disk that asks before each operation.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use nearline_storage::{BatchFiles, Disk, DiskFile, FolderLock, LockMode, SimDisk, StorageError};

type Result<T> = std::result::Result<T, StorageError>;

/// What is about to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act<'a> {
    /// A file of this name is synced.
    Sync(&'a str),
    SyncFolder,
    /// A file gets this name.
    Rename {
        to: &'a str,
    },
    Other,
}

/// What is asked.
pub(crate) trait Rule: Debug + Send + Sync + 'static {
    /// Whether a sync does not happen, though whoever wanted it is told so.
    fn skips(&self, act: Act<'_>) -> bool;
}

/// A disk with a rule.
#[derive(Debug)]
pub(crate) struct RuledDisk<R> {
    disk: SimDisk,
    rule: Arc<R>,
}

impl<R: Rule> RuledDisk<R> {
    pub(crate) fn new(disk: &SimDisk, rule: R) -> Self {
        Self { disk: disk.clone(), rule: Arc::new(rule) }
    }

    fn before(&self) -> &SimDisk {
        self.rule.skips(Act::Other);
        &self.disk
    }

    fn file(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(RuledFile { file, name: name.to_owned(), rule: Arc::clone(&self.rule) })
    }
}

impl<R: Rule> Disk for RuledDisk<R> {
    fn root(&self) -> &Path {
        self.disk.root()
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.before().open(name)?))
    }

    fn open_rw(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.before().open_rw(name)?))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.before().create(name)?))
    }

    fn list(&self) -> Result<Vec<String>> {
        self.before().list()
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.rule.skips(Act::Rename { to });
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.before().remove(name)
    }

    fn sync_dir(&self) -> Result<()> {
        if self.rule.skips(Act::SyncFolder) { Ok(()) } else { self.disk.sync_dir() }
    }

    fn open_batch(&self, names: &[&str]) -> Result<Arc<dyn BatchFiles>> {
        self.before().open_batch(names)
    }

    fn lock(&self, mode: LockMode) -> Result<FolderLock> {
        self.disk.lock(mode)
    }
}

/// A file of such a disk.
#[derive(Debug)]
struct RuledFile<R> {
    file: Arc<dyn DiskFile>,
    name: String,
    rule: Arc<R>,
}

impl<R: Rule> RuledFile<R> {
    fn before(&self) -> &dyn DiskFile {
        self.rule.skips(Act::Other);
        self.file.as_ref()
    }
}

impl<R: Rule> DiskFile for RuledFile<R> {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn len(&self) -> Result<u64> {
        self.before().len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.before().read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.before().write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.before().set_len(len)
    }

    fn sync(&self) -> Result<()> {
        if self.rule.skips(Act::Sync(&self.name)) { Ok(()) } else { self.file.sync() }
    }

    fn drop_cache(&self) -> Result<()> {
        self.file.drop_cache()
    }
}
