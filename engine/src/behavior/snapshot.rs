//! Snapshots: a space as it was, under a name. Files never change, so it is links to them.

use std::fs;
use std::path::Path;

use nearline_storage::{Disk, IoMode, OsDisk, StorageError};

use super::manifest::{Manifest, SPACE};
use super::store::locked;
use super::{BehaviorError, BehaviorSpace, Inner};
use crate::collection::snapshot as folders;
use crate::database::check_name;
use crate::error::OpenError;
use crate::folder;

impl BehaviorSpace {
    /// Keeps all there is now under a name. It takes no space until behaviours change.
    ///
    /// # Errors
    /// When there is such a snapshot, or the disk fails.
    pub fn snapshot(&self, name: &str) -> Result<(), OpenError> {
        check_name("snapshot", name)?;
        let inner = &self.inner;
        // So that others wait for little below.
        inner.flush().map_err(|error| inner.unwritten(&error))?;
        // Nobody may remove files before the links are there.
        let _alone = locked(&inner.filing);
        let mut writer = locked(&inner.writer);
        inner.checkpoint(&mut writer).map_err(|error| inner.unwritten(&error))?;
        let root = inner.disk.root();
        let (folder, target) = (root.join(folders::FOLDER), root.join(folders::FOLDER).join(name));
        if target.exists() {
            return Err(OpenError::Exists { what: "snapshot", name: name.to_owned() });
        }
        let draft = folder.join(folders::DRAFT);
        let made = folder::fill(root, &names_of(&writer.manifest), &draft)
            .and_then(|()| folder::rename(&draft, &target))
            .and_then(|()| folder::sync(&folder))
            .and_then(|()| folder::sync(root));
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
        Ok(folder::names_in(&self.inner.disk.root().join(folders::FOLDER))?)
    }

    /// Drops a snapshot; the space of what only it had comes back.
    ///
    /// # Errors
    /// When there is none of this name, or the disk fails.
    pub fn drop_snapshot(&self, name: &str) -> Result<(), OpenError> {
        let root = self.inner.disk.root();
        let folder = folders::snapshot_folder(root, name)?;
        // It goes at once: half of one must not be found.
        let _alone = locked(&self.inner.filing);
        let all = root.join(folders::FOLDER);
        let draft = all.join(folders::DRAFT);
        let gone = folder::clear(&draft).and_then(|()| folder::rename(&folder, &draft));
        Ok(gone.and_then(|()| folder::sync(&all)).and_then(|()| folder::remove(&draft))?)
    }

    /// Makes a folder that is this space as it is now, by links; `number` as for [`BehaviorSpace::set_apart`].
    pub(crate) fn keep_in(&self, draft: &Path, number: u64) -> Result<(), OpenError> {
        let inner = &self.inner;
        // As for a snapshot.
        inner.flush().map_err(|error| inner.unwritten(&error))?;
        let _alone = locked(&inner.filing);
        let mut writer = locked(&inner.writer);
        inner.checkpoint(&mut writer).map_err(|error| inner.unwritten(&error))?;
        folder::fill(inner.disk.root(), &names_of(&writer.manifest), draft)?;
        Ok(Self::set_apart(&OsDisk::new(draft, IoMode::Pread)?, number)?)
    }

    /// Makes a folder of links to a snapshot a space of its own: its log begins anew, and its files have other numbers than those
    /// of the original and of other copies, because what is cached of files is known by them. `number` is the copy's own.
    pub(crate) fn set_apart(copy: &dyn Disk, number: u64) -> Result<(), StorageError> {
        let mut manifest = Manifest::read(copy)?;
        manifest.base += std::mem::take(&mut manifest.lsn);
        manifest.next_number = (number << 32) | (manifest.next_number & u64::from(u32::MAX));
        folder::replace_in(copy.root(), || manifest.write(copy))
    }
}

impl Inner {
    fn unwritten(&self, error: &BehaviorError) -> StorageError {
        let error = std::io::Error::other(error.to_string());
        StorageError::io(self.disk.root(), "write what is in memory", error)
    }
}

fn names_of(manifest: &Manifest) -> Vec<String> {
    manifest.names().chain([SPACE.to_owned()]).collect()
}
