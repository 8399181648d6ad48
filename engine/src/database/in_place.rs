//! Opening the folder of an index as a database: the index becomes its first collection.
//!
//! The collection is complete before the catalog names it, and the index's files go after that, when they are links. So a
//! crash leaves an index, or a database with an index beside it that the next opening removes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use nearline_index::Adoption;
use nearline_storage::{Disk as _, IoMode, OsDisk, StorageError};

use super::from_index::{FromIndex, file_in_collection};
use super::leftovers::remove_path;
use super::{Inner, folder_name, locked};
use crate::catalog::{CATALOG, Entry};
use crate::error::OpenError;

/// The name of the collection.
pub(super) const COLLECTION: &str = "default";
/// The number of its folder: the first of all.
const NUMBER: u64 = 1;

/// Whether a folder is that of an index, and of no database.
pub(super) fn is_index(folder: &Path) -> bool {
    Adoption::is_in(folder) && !folder.join(CATALOG).is_file()
}

impl Inner {
    /// Makes the index in the folder a collection; there is no catalog yet.
    pub(super) fn take_index(&self) -> Result<(), OpenError> {
        let root = self.disk.root();
        let draft = root.join(folder_name(NUMBER));
        if draft.exists() {
            remove_path(&draft)?;
        }
        let adoption = Adoption::new(Arc::new(OsDisk::new(root, self.options.io)?), true)?;
        let mut catalog = locked(&self.catalog);
        let number = catalog.take_number();
        let made = self.fill_from(number, &adoption, FromIndex::new(root)).and_then(|()| {
            self.adopt(&mut catalog, |catalog| {
                catalog.collections.insert(COLLECTION.to_owned(), Entry { number });
            })
        });
        if made.is_err() && !root.join(CATALOG).exists() {
            // What cannot be removed now is by the next attempt.
            let _ = fs::remove_dir_all(draft);
        }
        made?;
        Ok(remove_files(root, &adoption)?)
    }
}

/// Removes what a crash left of an index that was made a collection: files that are links to those of the collection. A
/// damaged one, or another, stays.
pub(super) fn finish(root: &Path) -> Result<(), StorageError> {
    if !Adoption::is_in(root) || !root.join(CATALOG).is_file() {
        return Ok(());
    }
    let Ok(adoption) = Adoption::new(Arc::new(OsDisk::new(root, IoMode::Pread)?), true) else {
        return Ok(());
    };
    let collection = root.join(folder_name(NUMBER));
    let is_link = |name: &str| {
        let (here, there) = (root.join(name), collection.join(file_in_collection(&adoption, name)));
        match (fs::metadata(here), fs::metadata(there)) {
            (Ok(here), Ok(there)) => (here.dev(), here.ino()) == (there.dev(), there.ino()),
            (here, _) => here.is_err(),
        }
    };
    let slot_file = adoption.slot_file().map(|file| file.name);
    if adoption.list_files().chain(slot_file.as_deref()).all(is_link) {
        remove_files(root, &adoption)
    } else {
        Ok(())
    }
}

/// Removes the files of an index, at last the one that names all others.
fn remove_files(root: &Path, adoption: &Adoption) -> Result<(), StorageError> {
    let mut names: Vec<&str> = adoption.files().collect();
    // The manifest is the first of them.
    names.reverse();
    let there = names.into_iter().map(|name| root.join(name)).filter(|path| path.exists());
    there.into_iter().try_for_each(|path| remove_path(&path))
}
