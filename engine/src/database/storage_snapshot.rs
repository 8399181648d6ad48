//! Snapshots of all there is: collections with their aliases, behaviour spaces and embedding tables, each as it was at one moment.
//!
//! Such a snapshot is the folder of a database, made of links. So is what its files are copied to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nearline_storage::{Disk, IoMode, OsDisk, StorageError};

use super::spaces::space_folder_name;
use super::tables::{table_folder_name, wrong_table};
use super::{Database, check_name, folder_name, locked};
use crate::catalog::{CATALOG, Catalog, Entry};
use crate::collection::snapshot::{DRAFT, FOLDER, snapshot_folder};
use crate::collection::{SnapshotFile, SnapshotInfo, verify_folder};
use crate::embedding_table::Inner as Table;
use crate::error::{OpenError, WriteError};
use crate::folder::{self, names_in};

impl Database {
    /// Keeps all collections with their aliases, all behaviour spaces and all embedding tables as they are now, under a name: each as
    /// it is at one moment, one after the other. Snapshots of collections are not in it. It takes no space until something changes.
    ///
    /// # Errors
    /// When there is such a snapshot, something cannot be written, or the disk fails. Then nothing is left of it.
    pub fn snapshot_storage(&self, name: &str) -> Result<(), WriteError> {
        check_name("snapshot", name)?;
        let root = self.inner.disk.root();
        let (all, target) = (root.join(FOLDER), root.join(FOLDER).join(name));
        let _alone = locked(&self.inner.keeping);
        if target.exists() {
            return Err(OpenError::Exists { what: "snapshot", name: name.to_owned() }.into());
        }
        let draft = all.join(DRAFT);
        let made = self.fill_storage(&draft).and_then(|()| {
            folder::rename(&draft, &target)?;
            folder::sync(&all)?;
            Ok(folder::sync(root)?)
        });
        if made.is_err() {
            // The first error is the one to tell.
            let _ = folder::clear(&draft);
        }
        made
    }

    /// The names of all snapshots of all there is, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn storage_snapshots(&self) -> Result<Vec<String>, OpenError> {
        Ok(names_in(&self.inner.disk.root().join(FOLDER))?)
    }

    /// When such a snapshot was made, and how large it is.
    ///
    /// # Errors
    /// When there is none of this name, or its folder cannot be read.
    pub fn storage_snapshot_info(&self, name: &str) -> Result<SnapshotInfo, OpenError> {
        let catalog = snapshot_folder(self.inner.disk.root(), name)?.join(CATALOG);
        let made = fs::metadata(&catalog).and_then(|about| about.modified());
        let created = made.map_err(|error| StorageError::io(&catalog, "look at", error))?;
        let bytes = self.storage_snapshot_files(name)?.iter().map(|file| file.bytes).sum();
        Ok(SnapshotInfo { name: name.to_owned(), created, bytes })
    }

    /// The files of such a snapshot, sorted by name, to be copied elsewhere: names of those in folders have a slash in them. Files and
    /// folders of these names are a database, and [`restore_storage`] makes one of them that is checked first.
    ///
    /// # Errors
    /// When there is none of this name, or its folder cannot be read.
    pub fn storage_snapshot_files(&self, name: &str) -> Result<Vec<SnapshotFile>, OpenError> {
        Ok(files_below(&snapshot_folder(self.inner.disk.root(), name)?)?)
    }

    /// Drops such a snapshot; the space of what only it had comes back.
    ///
    /// # Errors
    /// When there is none of this name, or the disk fails.
    pub fn drop_storage_snapshot(&self, name: &str) -> Result<(), OpenError> {
        let _alone = locked(&self.inner.keeping);
        let path = snapshot_folder(self.inner.disk.root(), name)?;
        // It goes at once: half of one must not be found.
        let draft = storage_draft(self.inner.disk.root());
        folder::clear(&draft)?;
        folder::rename(&path, &draft)?;
        path.parent().map_or(Ok(()), folder::sync)?;
        Ok(folder::remove(&draft)?)
    }

    fn fill_storage(&self, draft: &Path) -> Result<(), WriteError> {
        let mut kept = locked(&self.inner.catalog).clone();
        folder::fill(draft, &[], draft)?;
        // What is dropped meanwhile is left out.
        let mut there = kept.collections.clone();
        for (name, entry) in &kept.collections {
            let path = draft.join(folder_name(entry.number));
            let is_there = |catalog: &Catalog| catalog.collections.values().any(|other| other == entry);
            let collection = self.collection_in(entry.number, name);
            let done = collection.map_err(WriteError::from).and_then(|collection| collection.keep_in(&path));
            self.unless_dropped(done, is_there, &path, || there.remove(name))?;
        }
        kept.aliases.retain(|_, target| there.contains_key(target));
        kept.collections = there;
        let mut there = kept.spaces.clone();
        for (name, entry) in &kept.spaces {
            let path = draft.join(space_folder_name(entry.number));
            let is_there = |catalog: &Catalog| catalog.spaces.values().any(|other| other == entry);
            let done = self.behavior_space(name).and_then(|space| space.keep_in(&path, entry.number));
            self.unless_dropped(done.map_err(WriteError::from), is_there, &path, || there.remove(name))?;
        }
        kept.spaces = there;
        let mut there = kept.tables.clone();
        for (name, entry) in &kept.tables {
            let path = draft.join(table_folder_name(entry.number));
            let is_there = |catalog: &Catalog| catalog.tables.values().any(|other| other == entry);
            let done =
                self.embedding_table(name).and_then(|table| table.inner.keep_in(&path).map_err(wrong_table));
            self.unless_dropped(done.map_err(WriteError::from), is_there, &path, || there.remove(name))?;
        }
        kept.tables = there;
        let disk = OsDisk::new(draft, IoMode::Pread).map_err(OpenError::from)?;
        Ok(folder::replace_in(draft, || kept.write(&disk))?)
    }

    /// What went wrong, but not with what is not there any more: that is forgotten.
    fn unless_dropped(
        &self,
        done: Result<(), WriteError>,
        is_there: impl FnOnce(&Catalog) -> bool,
        path: &Path,
        forget: impl FnOnce() -> Option<Entry>,
    ) -> Result<(), WriteError> {
        if done.is_ok() || is_there(&locked(&self.inner.catalog)) {
            return done;
        }
        forget();
        Ok(folder::clear(path)?)
    }
}

/// Makes a database of a snapshot of all there was in another, wherever its files come from: `fill` writes them into the folder it is
/// given. They are not believed: all of them are read and checked first. The database appears in one step.
///
/// # Errors
/// When there is something at `to` already, `fill` fails, a file is damaged or missing, there is a folder too many, or the disk
/// fails. Then nothing is left of it. Logs, and what tables have in their segments, are checked when they are opened.
pub fn restore_storage(
    to: &Path,
    fill: impl FnOnce(&Path) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    if to.exists() {
        return Err(OpenError::Exists { what: "file or folder", name: to.display().to_string() });
    }
    let (draft, parent) = draft_beside(to);
    folder::clear(&draft)?;
    let made = folder::make_by(&draft, fill).and_then(|()| {
        verify_storage(&draft)?;
        for name in names_in(&draft)?.iter().filter(|name| draft.join(name).is_dir()) {
            folder::sync_files(&draft.join(name))?;
            folder::sync(&draft.join(name))?;
        }
        folder::sync_files(&draft)?;
        folder::sync(&draft)?;
        folder::rename(&draft, to)?;
        Ok(folder::sync(&parent)?)
    });
    if made.is_err() {
        // The first error is the one to tell.
        let _ = folder::clear(&draft);
    }
    made
}

/// A place for what is to be at another, and the folder of both.
fn draft_beside(to: &Path) -> (PathBuf, PathBuf) {
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new(".")).to_owned();
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    (parent.join(format!(".{name}.restoring")), parent)
}

/// Reads every file of a snapshot of all there is and checks it: what its catalog names must be there, and nothing else.
pub(super) fn verify_storage(root: &Path) -> Result<(), OpenError> {
    let disk = OsDisk::new(root, IoMode::Pread)?;
    let catalog = Catalog::read(&disk)?;
    let numbered = |entries: &BTreeMap<String, Entry>, name: fn(u64) -> String| {
        entries.values().map(|entry| name(entry.number)).collect::<Vec<_>>()
    };
    let collections = numbered(&catalog.collections, folder_name);
    let spaces = numbered(&catalog.spaces, space_folder_name);
    let tables = numbered(&catalog.tables, table_folder_name);
    let known = |name: &String| {
        name == CATALOG || [&collections, &spaces, &tables].iter().any(|folders| folders.contains(name))
    };
    if let Some(name) = names_in(root)?.into_iter().find(|name| !known(name)) {
        let (found, expected) = (format!("{name:?} beside the catalog"), "what it names, alone".to_owned());
        return Err(OpenError::Schema { found, expected });
    }
    collections.iter().try_for_each(|name| verify_folder(&root.join(name)))?;
    spaces.iter().try_for_each(|name| crate::behavior::verify_folder(&root.join(name)))?;
    tables.iter().try_for_each(|name| Table::verify_folder(&root.join(name)).map_err(wrong_table))
}

/// Where snapshots of all there is begin: there is something only while one is made, or after a crash.
pub(super) fn storage_draft(root: &Path) -> PathBuf {
    root.join(FOLDER).join(DRAFT)
}

/// The files in a folder and in its folders.
fn files_below(root: &Path) -> Result<Vec<SnapshotFile>, StorageError> {
    let mut files = Vec::new();
    for name in names_in(root)? {
        let path = root.join(&name);
        if path.is_dir() {
            let below = files_below(&path)?.into_iter();
            files.extend(below.map(|file| SnapshotFile { name: format!("{name}/{}", file.name), ..file }));
        } else {
            let about = fs::metadata(&path).map_err(|error| StorageError::io(&path, "measure", error))?;
            files.push(SnapshotFile { name, path, bytes: about.len() });
        }
    }
    Ok(files)
}
