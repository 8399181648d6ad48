//! Embedding tables: compressed rows by id, durable, from memory or from the disk.
//!
//! A table is a folder: one file of named segments, and a **log** of what was written since. The mathematics are those of
//! [`nearline_index::embedding`], which says what a method is.
//!
//! - `file`: the segments on disk, rows by the page; `manifest`: which file is live; `record`: a write in the log.
//! - `row_store`: rows in memory and on the disk, `remap`: by frequency; `shared`: rows that ids share; `runs`: rows
//!   that are runs of values;
//! - `levels`: a table whose levels are in memory as far as is wanted.
//! - `content`: what of it is in memory, and what becomes of a write; `store`: what is open.

mod content;
mod error;
mod file;
mod levels;
mod manifest;
mod memory;
mod record;
mod remap;
mod row_store;
mod runs;
mod shared;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use nearline_index::embedding::{Bags, Method, Pool, Segment};

pub use error::TableError;

pub(crate) use memory::TableMemory;
pub(crate) use store::{Inner, Kept, Limits, Source};

use record::Write;
use store::Version;

/// What a table is and has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TableStats {
    /// How rows are kept.
    pub method: Method,
    /// What says how, besides.
    pub params: Vec<u64>,
    /// Number of rows.
    pub rows: u64,
    /// Values of a row.
    pub dim: usize,
    /// The version: the number of the last write.
    pub version: u64,
    /// What a lookup needs, by segment, in bytes.
    pub segments: Vec<(String, u64)>,
    /// Rows in memory; the others are read when they are asked for. Where rows are runs of values, as many as there would be if
    /// each had the same share of its values in memory.
    pub resident_rows: u64,
    /// Rows changed since the file was written; they are in memory too.
    pub changed_rows: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Reads of rows since the file was opened; each is of a few pages.
    pub reads: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Why the log could not be folded into a new file the last time, if it could not.
    pub compact_error: Option<String>,
}

/// An open table. Clones are handles on the same one; any number of threads may use it.
#[derive(Clone, Debug)]
pub struct EmbeddingTable {
    pub(crate) inner: Arc<Inner>,
}

impl EmbeddingTable {
    /// The table as it is now: what it answers does not change, whatever is written meanwhile.
    pub fn pin(&self) -> TableVersion {
        TableVersion { version: self.inner.version() }
    }

    /// Writes rows anew: durably, all of them or none. Gives the number of the version that has them.
    ///
    /// # Errors
    /// When the table's rows do not stand alone, an id is out of range, values do not fit or are no numbers, or the disk
    /// fails. Nothing is written then, unless [`TableError::is_in_doubt`].
    pub fn put(&self, ids: &[u64], values: &[f32]) -> Result<u64, TableError> {
        self.put_at(ids, values, now())
    }

    /// The same at a time in seconds of the caller's clock, which matters where rows expire: the latest time that was written
    /// is now.
    ///
    /// # Errors
    /// As [`EmbeddingTable::put`].
    pub fn put_at(&self, ids: &[u64], values: &[f32], seconds: u64) -> Result<u64, TableError> {
        let at = self.at(seconds);
        self.inner.submit(&Write::Put { ids: ids.to_vec(), values: values.to_vec(), at })
    }

    /// A step of training: the gradients of rows, those of one id added up, move what the rows are made of. Durably, all of
    /// it or nothing. Gives the number of the version after it.
    ///
    /// # Errors
    /// When the table is not one in training, and as [`EmbeddingTable::put`].
    pub fn train(&self, ids: &[u64], gradients: &[f32]) -> Result<u64, TableError> {
        self.train_at(ids, gradients, now())
    }

    /// The same at a time in seconds, as [`EmbeddingTable::put_at`].
    ///
    /// # Errors
    /// As [`EmbeddingTable::train`].
    pub fn train_at(&self, ids: &[u64], gradients: &[f32], seconds: u64) -> Result<u64, TableError> {
        let at = self.at(seconds);
        self.inner.submit(&Write::Train { ids: ids.to_vec(), gradients: gradients.to_vec(), at })
    }

    /// Lets the rows go that have expired, and forgets ids that were only seen as long ago: durably. Gives the number of the
    /// version without them. Nobody needs to call it: every 64th write does the same. Compaction gives back their space in the
    /// file.
    ///
    /// # Errors
    /// When ids of the table do not come and go, or the disk fails.
    pub fn expire(&self) -> Result<u64, TableError> {
        self.inner.submit(&Write::Expire)
    }

    /// Keeps the first `levels` levels of a table of levels (BitStack) in memory, durably: fewer for fewer bytes, or again more,
    /// up to as many as were fitted, which the file has. Gives the number of the version with them.
    ///
    /// # Errors
    /// When the table is none of levels, there are not so many, or the disk fails.
    pub fn resize(&self, levels: u64) -> Result<u64, TableError> {
        self.inner.submit(&Write::Levels { active: levels })
    }

    /// The time of a write, where the table's method asks for it.
    fn at(&self, seconds: u64) -> Option<u64> {
        self.inner.version().content.is_dynamic().then_some(seconds)
    }

    /// Folds the log into a new file. Nobody needs to call it.
    ///
    /// # Errors
    /// When the disk fails or is full. Nothing is lost then.
    pub fn compact(&self) -> Result<(), TableError> {
        self.inner.compact()
    }

    /// What the table is and has.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn stats(&self) -> Result<TableStats, TableError> {
        let version = self.inner.version();
        let (method, params) = version.content.method();
        let (resident_rows, changed_rows) = version.content.resident();
        let (file_bytes, log_bytes, compact_error) = self.inner.disk_bytes()?;
        let (reads, read_bytes) = version.content.reads();
        Ok(TableStats {
            method,
            params,
            rows: version.content.rows(),
            dim: version.content.dim(),
            version: version.lsn,
            segments: version.content.bytes(),
            resident_rows,
            changed_rows,
            file_bytes,
            log_bytes,
            reads,
            read_bytes,
            compact_error,
        })
    }
}

/// Seconds of the system's clock.
fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// A table at one moment.
#[derive(Clone)]
pub struct TableVersion {
    version: Arc<Version>,
}

impl std::fmt::Debug for TableVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TableVersion").field(&self.version.lsn).finish()
    }
}

impl TableVersion {
    /// The number of the last write in it.
    pub fn number(&self) -> u64 {
        self.version.lsn
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.version.content.rows()
    }

    /// Ids that have rows of their own, sorted: `0..rows`, or, where ids come and go, those that have come.
    pub fn ids(&self) -> impl Iterator<Item = u64> + use<> {
        self.version.content.ids()
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.version.content.dim()
    }

    /// How rows are kept, and what says how, besides.
    pub fn method(&self) -> (Method, Vec<u64>) {
        self.version.content.method()
    }

    /// All that is stored, but for what an optimizer remembers: what [`nearline_index::embedding::open`] wants. All of it is
    /// in memory then.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn segments(&self) -> Result<Vec<Segment<'static>>, TableError> {
        self.version.content.segments()
    }

    /// Rows by id, back to back. Those on the disk are read in one round.
    ///
    /// # Errors
    /// When an id is out of range, or the disk fails.
    pub fn lookup(&self, ids: &[u64]) -> Result<Vec<f32>, TableError> {
        let mut out = vec![0.0; ids.len() * self.dim()];
        self.version.content.ask(ids, |table, ids| table.lookup(ids, &mut out))?;
        Ok(out)
    }

    /// The pooled rows of bags, back to back: bag `i` has the ids from `offsets[i]` to `offsets[i + 1]`.
    ///
    /// # Errors
    /// When offsets do not begin with 0, decrease or do not end with the number of ids, and as [`TableVersion::lookup`].
    pub fn pool(
        &self,
        ids: &[u64],
        offsets: &[u64],
        weights: Option<&[f32]>,
        pool: Pool,
    ) -> Result<Vec<f32>, TableError> {
        let mut out = vec![0.0; Bags::new(ids, offsets, weights)?.len() * self.dim()];
        self.version
            .content
            .ask(ids, |table, ids| table.pool(&Bags::new(ids, offsets, weights)?, pool, &mut out))?;
        Ok(out)
    }

    /// Products of a query with rows.
    ///
    /// # Errors
    /// When the query has another length than rows, and as [`TableVersion::lookup`].
    pub fn dot(&self, query: &[f32], ids: &[u64]) -> Result<Vec<f32>, TableError> {
        let mut out = vec![0.0; ids.len()];
        self.version.content.ask(ids, |table, ids| table.dot(query, ids, &mut out))?;
        Ok(out)
    }
}
