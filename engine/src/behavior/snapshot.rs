//! Snapshots: a space as it was, under a name. Files never change, so it is links to them.

use std::fs;

use nearline_storage::{Disk, StorageError};

use super::BehaviorSpace;
use super::manifest::{EPOCH, Manifest, SPACE};
use super::store::locked;
use crate::collection::snapshot as folders;
use crate::database::check_name;
use crate::error::OpenError;

impl BehaviorSpace {
    /// Keeps all there is now under a name. It takes no space until behaviours change.
    ///
    /// # Errors
    /// When there is such a snapshot, or the disk fails.
    pub fn snapshot(&self, name: &str) -> Result<(), OpenError> {
        check_name("snapshot", name)?;
        let inner = &self.inner;
        // Nobody may remove files before the links are there.
        let mut writer = locked(&inner.writer);
        inner.checkpoint(&mut writer).map_err(|error| {
            let error = std::io::Error::other(error.to_string());
            StorageError::io(inner.disk.root(), "write what is in memory", error)
        })?;
        let root = inner.disk.root();
        let (folder, target) = (root.join(folders::FOLDER), root.join(folders::FOLDER).join(name));
        if target.exists() {
            return Err(OpenError::Exists { what: "snapshot", name: name.to_owned() });
        }
        let draft = folder.join(folders::DRAFT);
        let names: Vec<String> = writer.manifest.names().chain([EPOCH, SPACE].map(str::to_owned)).collect();
        let made = folders::fill(root, &names, &draft)
            .and_then(|()| {
                fs::rename(&draft, &target).map_err(|error| StorageError::io(&target, "rename", error))
            })
            .and_then(|()| folders::sync(&folder))
            .and_then(|()| inner.disk.sync_dir());
        if made.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_dir_all(&draft);
        }
        Ok(made?)
    }

    /// The names of all snapshots, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn snapshots(&self) -> Result<Vec<String>, OpenError> {
        Ok(folders::names_in(&self.inner.disk.root().join(folders::FOLDER))?)
    }

    /// Drops a snapshot; the space of what only it had comes back.
    ///
    /// # Errors
    /// When there is none of this name, or the disk fails.
    pub fn drop_snapshot(&self, name: &str) -> Result<(), OpenError> {
        let root = self.inner.disk.root();
        let folder = folders::snapshot_folder(root, name)?;
        // It goes at once: half of one must not be found.
        let _writer = locked(&self.inner.writer);
        let draft = root.join(folders::FOLDER).join(folders::DRAFT);
        let gone = folders::clear(&draft)
            .and_then(|()| fs::rename(&folder, &draft))
            .and_then(|()| fs::remove_dir_all(&draft));
        Ok(gone.map_err(|error| StorageError::io(&folder, "remove", error))?)
    }

    /// Makes a folder of links to a snapshot a space of its own: its log begins anew, and its files have other numbers than those
    /// of the original and of other copies, because what is cached of files is known by them. `number` is the copy's own.
    pub(crate) fn set_apart(copy: &dyn Disk, number: u64) -> Result<(), StorageError> {
        let mut manifest = Manifest::read(copy)?;
        manifest.base += std::mem::take(&mut manifest.lsn);
        manifest.next_number = (number << 32) | (manifest.next_number & u64::from(u32::MAX));
        manifest.write(copy)
    }
}
