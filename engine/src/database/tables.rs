//! Embedding tables of a database.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use nearline_index::embedding::{Dynamic, RowCodec, Rule, Table, Train};
use nearline_storage::{Disk, OsDisk, StorageError};

use super::{Database, Inner, check_name, locked, store_id};
use crate::catalog::{Catalog, Entry};
use crate::embedding_table::{EmbeddingTable, Inner as Store, Kept, Limits, Source, TableError};
use crate::error::OpenError;

const WHAT: &str = "embedding table";
/// The share of the memory that rows of all tables have, one in so many bytes, and that of the log of each.
pub(super) const RESIDENT_SHARE: u64 = 2;
const LOG_SHARE: u64 = 8;
const LOG_BYTES_MAX: u64 = 256 << 20;

impl Database {
    /// Makes a table of what was fitted, to be served. Its name has nothing to do with those of collections.
    ///
    /// # Errors
    /// When the name is taken or cannot be one, or the disk fails.
    pub fn create_embedding_table(&self, name: &str, table: &dyn Table) -> Result<EmbeddingTable, OpenError> {
        self.create_table(name, |disk, id| Store::create(disk, id, &Source::Served(table)))
    }

    /// Makes a table of what was fitted whose rows lie by how often each is asked for, so that the most frequent ones are in
    /// memory where not all are. Ids stay what they are, in answers and in whatever the table is written as. `frequencies` has
    /// one number for each row; of equals the lower id comes first. Unless they lie so already, where each row lies takes 4
    /// bytes a row more, always in memory.
    ///
    /// # Errors
    /// As [`Database::create_embedding_table`], when the rows of the table do not stand alone, when there are more than 2^32
    /// of them, or another number of frequencies.
    pub fn create_embedding_table_by_frequency(
        &self,
        name: &str,
        table: &dyn Table,
        frequencies: &[u64],
    ) -> Result<EmbeddingTable, OpenError> {
        self.create_table(name, |disk, id| Store::create(disk, id, &Source::ByFrequency(table, frequencies)))
    }

    /// Makes a table to be trained, by a rule.
    ///
    /// # Errors
    /// As [`Database::create_embedding_table`], and when a constant of the rule cannot be.
    pub fn create_trained_table(
        &self,
        name: &str,
        table: &dyn Train,
        rule: Rule,
    ) -> Result<EmbeddingTable, OpenError> {
        self.create_table(name, |disk, id| Store::create(disk, id, &Source::Trained(table, rule)))
    }

    /// Makes a table whose ids come and go: any number is an id ([`Dynamic`]).
    ///
    /// # Errors
    /// As [`Database::create_embedding_table`].
    pub fn create_dynamic_table(&self, name: &str, table: &Dynamic) -> Result<EmbeddingTable, OpenError> {
        self.create_table(name, |disk, id| Store::create(disk, id, &Source::Dynamic(table)))
    }

    /// Makes a table of rows that come some at a time, so that it may be larger than memory. `next` is given an empty vector
    /// and adds the next rows to it, back to back; none are the end.
    ///
    /// # Errors
    /// As [`Database::create_embedding_table`], when rows are not whole or not finite, and what `next` says.
    pub fn create_table_of_rows(
        &self,
        name: &str,
        codec: Arc<dyn RowCodec>,
        mut next: impl FnMut(&mut Vec<f32>) -> Result<(), TableError>,
    ) -> Result<EmbeddingTable, OpenError> {
        self.create_table(name, |disk, id| Store::create_of_rows(disk, id, &codec, &mut next))
    }

    /// Refuses what no table could be made of at present: a name that cannot be one, or is taken. To be asked before a long fit.
    ///
    /// # Errors
    /// As [`Database::create_embedding_table`] would say.
    pub fn check_embedding_table_name(&self, name: &str) -> Result<(), OpenError> {
        check_name(WHAT, name)?;
        check_free(&locked(&self.inner.catalog), name)
    }

    fn create_table(
        &self,
        name: &str,
        make: impl FnOnce(&OsDisk, u64) -> Result<(), TableError>,
    ) -> Result<EmbeddingTable, OpenError> {
        self.check_embedding_table_name(name)?;
        let inner = &self.inner;
        // Writing it may take long, and others go on meanwhile.
        let number = locked(&inner.catalog).take_number();
        let path = inner.disk.root().join(table_folder_name(number));
        let made = (|| {
            fs::create_dir(&path).map_err(|error| StorageError::io(&path, "make a folder", error))?;
            make(&OsDisk::new(&path, inner.options.io)?, store_id(number))?;
            Ok::<_, TableError>(inner.disk.sync_dir()?)
        })();
        let mut catalog = locked(&inner.catalog);
        // Whoever was done first has the name.
        if let Err(error) = made.map_err(wrong_table).and_then(|()| check_free(&catalog, name)) {
            drop(catalog);
            // What cannot be removed now is, when the database opens.
            let _ = fs::remove_dir_all(&path);
            return Err(error);
        }
        inner.adopt(&mut catalog, |catalog| {
            catalog.tables.insert(name.to_owned(), Entry { number });
        })?;
        drop(catalog);
        self.embedding_table(name)
    }

    /// Opens a table.
    ///
    /// # Errors
    /// When there is none, or its files cannot be read.
    pub fn embedding_table(&self, name: &str) -> Result<EmbeddingTable, OpenError> {
        let inner = &self.inner;
        let entry = locked(&inner.catalog).tables.get(name).copied();
        let missing = || OpenError::Missing { what: WHAT, name: name.to_owned() };
        let folder = table_folder_name(entry.ok_or_else(missing)?.number);
        let open = || Ok(Arc::new(inner.open_table(&folder)?));
        let is_in_use = |error: &TableError| match error {
            TableError::Storage(error) => matches!(**error, StorageError::Locked { .. }),
            _ => false,
        };
        match inner.open_tables.get_or_open(&folder, open, is_in_use) {
            Ok(inner) => Ok(EmbeddingTable { inner }),
            // It may have been dropped meanwhile.
            Err(_) if locked(&inner.catalog).tables.get(name) != entry.as_ref() => Err(missing()),
            Err(error) => Err(wrong_table(error)),
        }
    }

    /// Reads every byte of a table and checks it.
    pub(super) fn verify_embedding_table(&self, name: &str) -> Result<(), OpenError> {
        self.embedding_table(name)?.inner.verify().map_err(wrong_table)
    }

    /// The names of all embedding tables, sorted.
    pub fn embedding_tables(&self) -> Vec<String> {
        locked(&self.inner.catalog).tables.keys().cloned().collect()
    }

    /// Drops a table. Handles on it go on answering.
    ///
    /// # Errors
    /// When there is none of this name, or the disk fails.
    pub fn drop_embedding_table(&self, name: &str) -> Result<(), OpenError> {
        let inner = &self.inner;
        let mut catalog = locked(&inner.catalog);
        let Some(entry) = catalog.tables.get(name).copied() else {
            return Err(OpenError::Missing { what: WHAT, name: name.to_owned() });
        };
        inner.adopt(&mut catalog, |catalog| {
            catalog.tables.remove(name);
        })?;
        let folder = table_folder_name(entry.number);
        inner.open_tables.forget(&folder);
        // What cannot be removed now is, when the database opens.
        let _ = fs::remove_dir_all(inner.disk.root().join(&folder));
        Ok(())
    }
}

impl Inner {
    fn open_table(&self, folder: &str) -> Result<Store, TableError> {
        let path = self.disk.root().join(folder);
        let disk = Arc::new(OsDisk::new(&path, self.options.io)?);
        let log = (self.options.memory_bytes / LOG_SHARE).min(LOG_BYTES_MAX);
        let limits = Limits { resident: 0, log, log_segment: log / 4 };
        Store::open(disk, limits, || {
            let memory = self.table_memory.take(files_bytes(&path)?);
            Ok(Some(Kept { _lock: Arc::clone(&self.lock), memory }))
        })
    }
}

/// Bytes of the files in a folder: a table takes no more memory for its rows.
fn files_bytes(path: &Path) -> Result<u64, StorageError> {
    let failed = |error| StorageError::io(path, "read the folder", error);
    let mut bytes = 0;
    for entry in fs::read_dir(path).map_err(failed)? {
        bytes += entry.and_then(|entry| entry.metadata()).map_err(failed)?.len();
    }
    Ok(bytes)
}

/// Refuses a name that a table has.
fn check_free(catalog: &Catalog, name: &str) -> Result<(), OpenError> {
    match catalog.tables.contains_key(name) {
        true => Err(OpenError::Exists { what: WHAT, name: name.to_owned() }),
        false => Ok(()),
    }
}

pub(super) fn table_folder_name(number: u64) -> String {
    format!("table.{number:06}")
}

pub(super) fn wrong_table(error: TableError) -> OpenError {
    match error {
        TableError::Storage(error) => match Arc::try_unwrap(error) {
            Ok(StorageError::Locked { dir }) => OpenError::InUse { dir },
            Ok(error) => error.into(),
            Err(shared) => OpenError::Storage(shared),
        },
        other => OpenError::Table(other),
    }
}
