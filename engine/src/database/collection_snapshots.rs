//! Collections made of snapshots, and collections that take the place of others.

use std::path::Path;

use nearline_storage::{Disk, OsDisk};

use super::{Database, check_name, folder_name, locked};
use crate::catalog::Entry;
use crate::collection::{Collection, link_snapshots, snapshot_folder, verify_folder};
use crate::error::OpenError;
use crate::folder;

impl Database {
    /// Makes a new collection of a snapshot.
    ///
    /// # Errors
    /// When there is no such collection or snapshot, the new name is taken or cannot be one, or the disk fails.
    pub fn restore_snapshot(
        &self,
        collection: &str,
        snapshot: &str,
        name: &str,
    ) -> Result<Collection, OpenError> {
        check_name("collection", name)?;
        let inner = &self.inner;
        let mut catalog = locked(&inner.catalog);
        let number = catalog.resolve(collection)?.1.number;
        catalog.check_free(name)?;
        let source = snapshot_folder(&inner.disk.root().join(folder_name(number)), snapshot)?;
        inner.add(&mut catalog, name, |number| {
            let folder = inner.disk.root().join(folder_name(number));
            folder::link_all(&source, &folder)?;
            Collection::set_apart(&OsDisk::new(&folder, inner.options.io)?, number)?;
            Ok(folder::sync(inner.disk.root())?)
        })?;
        drop(catalog);
        self.collection(name)
    }

    /// Puts a collection in the place of another, in one step: `by` gets its name, its aliases and its snapshots, and the other is
    /// dropped.
    ///
    /// # Errors
    /// When one of them is not there, or the disk fails.
    pub fn replace_collection(&self, name: &str, by: &str) -> Result<(), OpenError> {
        let inner = &self.inner;
        let mut catalog = locked(&inner.catalog);
        let entry = |name: &str| {
            let missing = || OpenError::Missing { what: "collection", name: name.to_owned() };
            catalog.collections.get(name).copied().ok_or_else(missing)
        };
        let (old, new) = (entry(name)?, entry(by)?);
        if old == new {
            return Ok(());
        }
        let path = |entry: Entry| inner.disk.root().join(folder_name(entry.number));
        link_snapshots(&path(old), &path(new))?;
        folder::sync(&path(new))?;
        inner.adopt(&mut catalog, |catalog| {
            catalog.collections.remove(by);
            catalog.collections.insert(name.to_owned(), new);
        })?;
        let forgotten = inner.open.forget(&folder_name(old.number));
        drop(catalog);
        inner.name_handle(new.number);
        if let Some(shared) = forgotten.get() {
            shared.inner.mark_dropped();
        }
        // What cannot be removed now is, when the database opens.
        let _ = folder::remove(&path(old));
        Ok(())
    }

    /// Makes a new collection of the files of a snapshot, wherever they come from: `unpack` writes them into the folder it is given,
    /// which is on the disk of the database. They are not believed: all of them are read and checked first.
    ///
    /// # Errors
    /// When `unpack` fails, a file is damaged or missing ([`OpenError::Source`]), the name is taken or cannot be one, or the disk
    /// fails. Then nothing is left of it.
    pub fn import_snapshot(
        &self,
        name: &str,
        unpack: impl FnOnce(&Path) -> Result<(), OpenError>,
    ) -> Result<Collection, OpenError> {
        check_name("collection", name)?;
        let inner = &self.inner;
        let mut catalog = locked(&inner.catalog);
        catalog.check_free(name)?;
        let number = catalog.take_number();
        // It may take long, and others go on meanwhile.
        drop(catalog);
        let path = inner.disk.root().join(folder_name(number));
        inner.or_remove(number, || {
            folder::make_by(&path, unpack)?;
            verify_folder(&path).map_err(OpenError::of_source)?;
            Collection::set_apart(&OsDisk::new(&path, inner.options.io)?, number)?;
            folder::sync_files(&path)?;
            folder::sync(&path)?;
            folder::sync(inner.disk.root())?;
            let mut catalog = locked(&inner.catalog);
            catalog.check_free(name)?;
            inner.adopt(&mut catalog, |catalog| {
                catalog.collections.insert(name.to_owned(), Entry { number });
            })
        })?;
        self.collection(name)
    }
}
