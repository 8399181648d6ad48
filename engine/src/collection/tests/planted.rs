//! Mistakes planted below a collection, to show that the tests of crashes would notice them: each is a sync that does not
//! happen. (Those of the log itself are in the storage crate.)

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearline_storage::{
    BatchReader, Disk, DiskFile, FolderLock, LockMode, SimDisk, StorageError, Window, is_temp_name,
};

use super::Step;
use super::crash::days;
use crate::manifest::MANIFEST;

type Result<T> = std::result::Result<T, StorageError>;

/// A mistake about durability that somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A manifest names files that begin so, though their bytes are not durable.
    Unsynced(&'static str),
    /// A manifest takes the place of the old one before its own bytes are durable.
    ManifestUnsynced,
    /// A manifest is written before the names of its files are durable.
    NamesAfterManifest,
    /// The log is cut, and old files removed, before the new manifest is durable.
    CutBeforeManifest,
    /// Points are merged away though the log of what killed them is not durable.
    MergeBeforeDeaths,
    /// An index leaves points out though the log of what killed them is not durable.
    IndexBeforeDeaths,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    /// Whether a merge, or the build of an index, is under way.
    static STEP: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Tells what is done from now on.
pub(super) fn doing(step: &Step) {
    STEP.set(match step {
        Step::Merge { .. } => Some(Bug::MergeBeforeDeaths),
        Step::Index { .. } => Some(Bug::IndexBeforeDeaths),
        _ => None,
    });
}

/// Whether a step that should make the log durable does not.
pub(super) fn is_skipped_in(step: &Step) -> bool {
    doing(step);
    PLANTED.get().is_some() && PLANTED.get() == STEP.get()
}

/// The disk as collections get it: as it is, or careless.
pub(super) fn disk_of(disk: &SimDisk) -> Arc<dyn Disk> {
    let disk = Arc::new(disk.clone());
    match PLANTED.get() {
        None => disk,
        Some(bug) => Arc::new(Careless { disk, bug, renamed: AtomicBool::new(false) }),
    }
}

/// A disk that skips some syncs.
#[derive(Debug)]
struct Careless {
    disk: Arc<SimDisk>,
    bug: Bug,
    /// Whether the manifest was the last to be renamed, and the folder was not synced since.
    renamed: AtomicBool,
}

impl Careless {
    fn file(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let is_manifest = is_temp_name(name) && name.starts_with(MANIFEST);
        let in_step = match self.bug {
            Bug::Unsynced(start) if name.starts_with(start) => false,
            Bug::ManifestUnsynced if is_manifest => false,
            Bug::MergeBeforeDeaths | Bug::IndexBeforeDeaths if name.starts_with("wal.") => true,
            _ => return file,
        };
        Arc::new(CarelessFile { file, bug: self.bug, in_step })
    }
}

impl Disk for Careless {
    fn root(&self) -> &Path {
        self.disk.root()
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn open_rw(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.disk.open_rw(name)?))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.disk.create(name)?))
    }

    fn list(&self) -> Result<Vec<String>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.renamed.store(to == MANIFEST, Ordering::Relaxed);
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> Result<()> {
        let after_manifest = self.renamed.swap(false, Ordering::Relaxed);
        match self.bug {
            Bug::NamesAfterManifest if !after_manifest => Ok(()),
            Bug::CutBeforeManifest if after_manifest => Ok(()),
            _ => self.disk.sync_dir(),
        }
    }

    fn batch_reader(&self, names: &[&str], window: Window) -> Result<Box<dyn BatchReader>> {
        self.disk.batch_reader(names, window)
    }

    fn lock(&self, mode: LockMode) -> Result<FolderLock> {
        self.disk.lock(mode)
    }
}

/// A file that is not synced, ever or while a step goes on.
#[derive(Debug)]
struct CarelessFile {
    file: Arc<dyn DiskFile>,
    bug: Bug,
    in_step: bool,
}

impl DiskFile for CarelessFile {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        if self.in_step && STEP.get() != Some(self.bug) { self.file.sync() } else { Ok(()) }
    }

    fn drop_cache(&self) -> Result<()> {
        self.file.drop_cache()
    }
}

/// Runs days with a mistake in them until it is noticed.
fn caught(bug: Bug, tries: u64) {
    PLANTED.set(Some(bug));
    let found = (0..tries).find_map(|seed| days(seed).err().map(|wrong| (seed, wrong)));
    PLANTED.set(None);
    let Some((seed, wrong)) = found else { panic!("{bug:?} got through {tries} seeds") };
    println!("{bug:?}: seed {seed}: {wrong}");
    assert_eq!(days(seed), Ok(()), "without {bug:?}");
}

#[test]
fn every_planted_mistake_is_caught() {
    for start in ["points.", "ids.", "vectors.", "dead.", "field.", "index."] {
        caught(Bug::Unsynced(start), 200);
    }
    caught(Bug::ManifestUnsynced, 200);
    caught(Bug::NamesAfterManifest, 200);
    caught(Bug::CutBeforeManifest, 200);
    caught(Bug::MergeBeforeDeaths, 1000);
    caught(Bug::IndexBeforeDeaths, 1000);
}
