//! Snapshots: a collection as it was, under a name.
//!
//! Files never change, so a snapshot is links to them and a manifest of its own. What is in memory is flushed first. It is
//! read where it lies ([`Collection::as_of`]), or made a collection of its own
//! ([`Database::restore_snapshot`](crate::Database::restore_snapshot)).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nearline_storage::{BlockCache, Disk, IoMode, OsDisk, StorageError};

use super::verify::{verify_fields, verify_questions};
use super::{Collection, Inner, METADATA, locked, metadata};
use crate::database::check_name;
use crate::error::{OpenError, WriteError};
use crate::folder::{self, names_in};
use crate::manifest::{MANIFEST, Manifest, read_dead};
use crate::segment::Segment;
use crate::vector_index::VectorIndex;

/// The folder of snapshots, inside the collection's.
pub(crate) const FOLDER: &str = "snapshots";
/// A snapshot that is being made, or dropped.
pub(crate) const DRAFT: &str = ".draft";
/// Bytes of blocks that are held while a snapshot is verified.
const SNAPSHOT_CACHE_BYTES: usize = 4 << 20;

/// What a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: SystemTime,
    /// Bytes of its files. Those that the collection or another snapshot has, too, take their space once.
    pub bytes: u64,
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotFile {
    /// Its name in the folder of the snapshot. One of a collection has no other folders in it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

impl Collection {
    /// Keeps all points as they are now, under a name. It takes no space until points change.
    ///
    /// # Errors
    /// When there is such a snapshot, or the disk fails.
    pub fn snapshot(&self, name: &str) -> Result<(), WriteError> {
        check_name("snapshot", name)?;
        let inner = &self.shared.inner;
        // Nobody may merge before the links are there: points would be gone whose deaths are in the log only.
        let mut files = locked(&inner.files);
        inner.flush_files(&mut files)?;
        let root = inner.disk.root();
        let (folder, target) = (root.join(FOLDER), root.join(FOLDER).join(name));
        if target.exists() {
            return Err(OpenError::Exists { what: "snapshot", name: name.to_owned() }.into());
        }
        let draft = folder.join(DRAFT);
        let made = inner
            .link_files(&files.manifest, &draft)
            .and_then(|()| folder::rename(&draft, &target))
            .and_then(|()| folder::sync(&folder))
            .and_then(|()| folder::sync(root));
        if made.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_dir_all(&draft);
        }
        Ok(made?)
    }

    /// Makes a folder that is this collection as it is now, by links.
    pub(crate) fn keep_in(&self, draft: &Path) -> Result<(), WriteError> {
        let inner = &self.shared.inner;
        // As for a snapshot.
        let mut files = locked(&inner.files);
        inner.flush_files(&mut files)?;
        Ok(inner.link_files(&files.manifest, draft)?)
    }

    /// Lets the files that a copy of a snapshot will write have other numbers than those of the original and of other
    /// copies: what is cached of files is known by them. `number` is the copy's own.
    pub(crate) fn set_apart(copy: &dyn Disk, number: u64) -> Result<(), OpenError> {
        let mut manifest = Manifest::read(copy)?;
        let low = manifest.next_number & u64::from(u32::MAX);
        manifest.next_number = (number << 32) | low;
        Ok(folder::replace_in(copy.root(), || manifest.write(copy))?)
    }

    /// The names of all snapshots, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn snapshots(&self) -> Result<Vec<String>, OpenError> {
        Ok(names_in(&self.shared.inner.disk.root().join(FOLDER))?)
    }

    /// When a snapshot was made, and how large it is.
    ///
    /// # Errors
    /// When there is none of this name, or its folder cannot be read.
    pub fn snapshot_info(&self, name: &str) -> Result<SnapshotInfo, OpenError> {
        let root = self.shared.inner.disk.root();
        let info = describe(&snapshot_folder(root, name)?, name);
        if info.is_err() {
            // It may have been dropped meanwhile.
            snapshot_folder(root, name)?;
        }
        Ok(info?)
    }

    /// The files of a snapshot, sorted by name, to be copied elsewhere. They do not change; dropping the snapshot removes
    /// them, but not from who has them open.
    ///
    /// # Errors
    /// When there is none of this name, or its folder cannot be read.
    pub fn snapshot_files(&self, name: &str) -> Result<Vec<SnapshotFile>, OpenError> {
        let folder = snapshot_folder(self.shared.inner.disk.root(), name)?;
        let file = |name: String| {
            let path = folder.join(&name);
            match fs::metadata(&path) {
                Ok(metadata) => Ok(SnapshotFile { bytes: metadata.len(), name, path }),
                Err(error) => Err(StorageError::io(&path, "measure", error)),
            }
        };
        Ok(names_in(&folder)?.into_iter().map(file).collect::<Result<_, _>>()?)
    }

    /// Reads every file of a snapshot and checks it.
    pub(crate) fn verify_snapshot(&self, name: &str) -> Result<(), OpenError> {
        verify_folder(&snapshot_folder(self.shared.inner.disk.root(), name)?)
    }

    /// Drops a snapshot; the space of what only it had comes back. Who reads it ([`Collection::as_of`]) goes on, and the space
    /// comes back then.
    ///
    /// # Errors
    /// When there is none of this name, or the disk fails.
    pub fn drop_snapshot(&self, name: &str) -> Result<(), OpenError> {
        let inner = &self.shared.inner;
        let folder = snapshot_folder(inner.disk.root(), name)?;
        // It goes at once: half of one must not be found.
        let _files = locked(&inner.files);
        let draft = inner.disk.root().join(FOLDER).join(DRAFT);
        folder::clear(&draft)?;
        {
            // Whoever asks for the name from now on does not mean this one.
            let mut versions = locked(&inner.versions);
            versions.remove(name);
            folder::rename(&folder, &draft)?;
        }
        Ok(folder::remove(&draft)?)
    }
}

impl Inner {
    /// Makes a folder of links to all that a manifest names, and of a manifest of its own: who opens a copy of it begins a log of its
    /// own.
    fn link_files(&self, manifest: &Manifest, draft: &Path) -> Result<(), StorageError> {
        let root = self.disk.root();
        let mut names = manifest.files();
        names.extend(root.join(METADATA).is_file().then(|| METADATA.to_owned()));
        folder::fill(root, &names, draft)?;
        let alone = Manifest { flushed_lsn: 0, ..manifest.clone() };
        folder::replace_in(draft, || alone.write(&OsDisk::new(draft, IoMode::Pread)?))
    }
}

fn describe(folder: &Path, name: &str) -> Result<SnapshotInfo, StorageError> {
    let about = |file: &str| {
        let path = folder.join(file);
        path.metadata().map_err(|error| StorageError::io(&path, "look at", error))
    };
    let mut bytes = 0;
    for file in names_in(folder)? {
        bytes += about(&file)?.len();
    }
    // Of its files only the manifest is of its own.
    let created = about(MANIFEST)?.modified();
    let created = created.map_err(|error| StorageError::io(&folder.join(MANIFEST), "look at", error))?;
    Ok(SnapshotInfo { name: name.to_owned(), created, bytes })
}

/// Reads every file of a snapshot and checks it.
pub(crate) fn verify_folder(folder: &Path) -> Result<(), OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(folder, IoMode::Pread)?);
    let manifest = Manifest::read(disk.as_ref())?;
    metadata::read(disk.as_ref())?;
    if let Some(number) = manifest.dead {
        read_dead(disk.as_ref(), manifest.store_id, number)?;
    }
    // What the collection's own files left in the cache says nothing of these.
    let cache = Arc::new(BlockCache::new(SNAPSHOT_CACHE_BYTES));
    for info in &manifest.indexes {
        VectorIndex::verify_files(&disk, info)?;
    }
    verify_questions(disk.as_ref(), &manifest)?;
    manifest.segments.into_iter().try_for_each(|info| {
        let segment = Segment::open(&disk, manifest.store_id, &manifest.schema, info, &cache)?;
        segment.verify(disk.as_ref(), manifest.store_id)?;
        verify_fields(&manifest.fields, &segment)
    })
}

/// Where snapshots of a collection begin: there is something only while one is made, or after a crash.
pub(crate) fn snapshot_draft(collection: &Path) -> PathBuf {
    collection.join(FOLDER).join(DRAFT)
}

/// The folder of a snapshot that is there.
pub(crate) fn snapshot_folder(collection: &Path, name: &str) -> Result<PathBuf, OpenError> {
    check_name("snapshot", name)?;
    let folder = collection.join(FOLDER).join(name);
    if folder.is_dir() {
        Ok(folder)
    } else {
        Err(OpenError::Missing { what: "snapshot", name: name.to_owned() })
    }
}

/// Gives a collection the snapshots of another, by links.
pub(crate) fn link_snapshots(from: &Path, to: &Path) -> Result<(), StorageError> {
    let (from, to) = (from.join(FOLDER), to.join(FOLDER));
    let names = names_in(&from)?;
    for name in &names {
        // Half of one must not be found.
        folder::link_all(&from.join(name), &to.join(DRAFT))?;
        folder::clear(&to.join(name))?;
        folder::rename(&to.join(DRAFT), &to.join(name))?;
    }
    if names.is_empty() { Ok(()) } else { folder::sync(&to) }
}
