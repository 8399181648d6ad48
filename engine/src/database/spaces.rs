//! Behaviour spaces of a database.

use std::fs;
use std::sync::Arc;

use nearline_storage::{Disk, OsDisk, StorageError};

use super::{Database, Inner, check_name, locked, store_id};
use crate::behavior::{BehaviorError, BehaviorOptions, BehaviorSpace, Handle, Inner as Space, Limits};
use crate::catalog::Entry;
use crate::collection::snapshot_folder;
use crate::error::OpenError;
use crate::folder;

const WHAT: &str = "behavior space";
/// Shares of the memory: one in so many bytes for changes, for tables, for histories, and for items.
const DIRTY_SHARE: u64 = 16;
const DIRTY_BYTES_MAX: u64 = 64 << 20;
const TABLES_SHARE: u64 = 8;
const KEPT_SHARE: u64 = 16;

impl Database {
    /// Makes an empty behaviour space. Its name has nothing to do with those of collections.
    ///
    /// # Errors
    /// When the name is taken or cannot be one, the options are wrong, or the disk fails.
    pub fn create_behavior_space(
        &self,
        name: &str,
        options: BehaviorOptions,
    ) -> Result<BehaviorSpace, OpenError> {
        check_name(WHAT, name)?;
        let inner = &self.inner;
        let mut catalog = locked(&inner.catalog);
        if catalog.spaces.contains_key(name) {
            return Err(OpenError::Exists { what: WHAT, name: name.to_owned() });
        }
        let number = catalog.take_number();
        let epoch = options.epoch(store_id(number)).map_err(wrong_options)?;
        let path = inner.disk.root().join(space_folder_name(number));
        let made = (|| {
            fs::create_dir(&path).map_err(|error| StorageError::io(&path, "make a folder", error))?;
            Space::create(&OsDisk::new(&path, inner.options.io)?, &epoch)?;
            inner.disk.sync_dir()
        })();
        if let Err(error) = made {
            // What cannot be removed now is, when the database opens.
            let _ = fs::remove_dir_all(&path);
            return Err(error.into());
        }
        inner.adopt(&mut catalog, |catalog| {
            catalog.spaces.insert(name.to_owned(), Entry { number });
        })?;
        drop(catalog);
        self.behavior_space(name)
    }

    /// Opens a behaviour space.
    ///
    /// # Errors
    /// When there is none, or its files cannot be read.
    pub fn behavior_space(&self, name: &str) -> Result<BehaviorSpace, OpenError> {
        let inner = &self.inner;
        let entry = locked(&inner.catalog).spaces.get(name).copied();
        let missing = || OpenError::Missing { what: WHAT, name: name.to_owned() };
        let folder = space_folder_name(entry.ok_or_else(missing)?.number);
        let open = || {
            let space = Arc::new(Handle::new(inner.open_space(&folder)?));
            // A build goes on where it was.
            space.resume()?;
            Ok(space)
        };
        let is_in_use = |error: &StorageError| matches!(error, StorageError::Locked { .. });
        match inner.open_spaces.get_or_open(&folder, open, is_in_use) {
            // It may have been dropped meanwhile.
            Err(_) if locked(&inner.catalog).spaces.get(name) != entry.as_ref() => Err(missing()),
            Err(StorageError::Locked { dir }) => Err(OpenError::InUse { dir }),
            opened => Ok(BehaviorSpace { inner: opened? }),
        }
    }

    /// Makes a space of a snapshot of another, by links: it takes no space until one of them changes.
    ///
    /// # Errors
    /// When there is no such space or snapshot, the name is taken or cannot be one, or the disk fails.
    pub fn restore_behavior_snapshot(
        &self,
        space: &str,
        snapshot: &str,
        name: &str,
    ) -> Result<BehaviorSpace, OpenError> {
        check_name(WHAT, name)?;
        let inner = &self.inner;
        let mut catalog = locked(&inner.catalog);
        let missing = || OpenError::Missing { what: WHAT, name: space.to_owned() };
        let entry = catalog.spaces.get(space).copied().ok_or_else(missing)?;
        if catalog.spaces.contains_key(name) {
            return Err(OpenError::Exists { what: WHAT, name: name.to_owned() });
        }
        let root = inner.disk.root();
        let source = snapshot_folder(&root.join(space_folder_name(entry.number)), snapshot)?;
        let number = catalog.take_number();
        let folder = root.join(space_folder_name(number));
        let made = (|| {
            folder::link_all(&source, &folder)?;
            BehaviorSpace::set_apart(&OsDisk::new(&folder, inner.options.io)?, number)?;
            folder::sync(root)
        })();
        if let Err(error) = made {
            // What cannot be removed now is, when the database opens.
            let _ = fs::remove_dir_all(&folder);
            return Err(error.into());
        }
        inner.adopt(&mut catalog, |catalog| {
            catalog.spaces.insert(name.to_owned(), Entry { number });
        })?;
        drop(catalog);
        self.behavior_space(name)
    }

    /// The names of all behaviour spaces, sorted.
    pub fn behavior_spaces(&self) -> Vec<String> {
        locked(&self.inner.catalog).spaces.keys().cloned().collect()
    }

    /// Drops a behaviour space. Handles on it go on answering, and refuse writes when they need more files.
    ///
    /// # Errors
    /// When there is none of this name, or the disk fails.
    pub fn drop_behavior_space(&self, name: &str) -> Result<(), OpenError> {
        let inner = &self.inner;
        let mut catalog = locked(&inner.catalog);
        let Some(entry) = catalog.spaces.get(name).copied() else {
            return Err(OpenError::Missing { what: WHAT, name: name.to_owned() });
        };
        inner.adopt(&mut catalog, |catalog| {
            catalog.spaces.remove(name);
        })?;
        let folder = space_folder_name(entry.number);
        inner.open_spaces.forget(&folder);
        // What cannot be removed now is, when the database opens.
        let _ = fs::remove_dir_all(inner.disk.root().join(&folder));
        Ok(())
    }
}

impl Inner {
    fn open_space(&self, folder: &str) -> Result<Space, StorageError> {
        let disk = Arc::new(OsDisk::new(&self.disk.root().join(folder), self.options.io)?);
        let memory = self.options.memory_bytes;
        let dirty = (memory / DIRTY_SHARE).min(DIRTY_BYTES_MAX);
        let limits = Limits {
            dirty: dirty as usize,
            log: 4 * dirty,
            log_segment: dirty,
            aside: true,
            tables: (memory / TABLES_SHARE) as usize,
            histories: (memory / KEPT_SHARE) as usize,
            items: (memory / KEPT_SHARE) as usize,
        };
        Space::open(disk, limits, Arc::clone(&self.cache), Some(Arc::clone(&self.lock)))
    }
}

pub(super) fn space_folder_name(number: u64) -> String {
    format!("behaviors.{number:06}")
}

fn wrong_options(error: BehaviorError) -> OpenError {
    match error {
        BehaviorError::Bad { what, found, expected } => {
            OpenError::Schema { found: format!("{what}: {found}"), expected }
        }
        other => {
            OpenError::Schema { found: other.to_string(), expected: "options a space can have".to_owned() }
        }
    }
}
