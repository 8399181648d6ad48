//! Rows of so many bytes each: the first in memory, the others in the file.

use std::collections::HashMap;
use std::sync::Arc;

use nearline_index::embedding::{AHEAD, RowCodec, Rows, Table};
use nearline_storage::StorageError;

use super::error::TableError;
use super::file::{TableFile, TableFileWriter};

/// Rows written to a new file at a time.
const WRITTEN_ROWS: u64 = 1 << 15;

/// Rows that stand alone: the first ones in memory, the others in the file, changed ones beside.
#[derive(Clone)]
pub(super) struct RowStore {
    pub(super) rows: u64,
    pub(super) hot: Arc<Rows<Arc<dyn RowCodec>>>,
    pub(super) changed: HashMap<u64, Box<[u8]>>,
    pub(super) file: Arc<TableFile>,
}

impl RowStore {
    /// The rows of a file, as many of them in memory as so many bytes hold.
    pub(super) fn load(
        file: Arc<TableFile>,
        codec: Arc<dyn RowCodec>,
        resident_bytes: u64,
    ) -> Result<Self, TableError> {
        let row_bytes = codec.row_bytes();
        if row_bytes != file.row_bytes() {
            return Err(TableError::bad("bytes of a row", file.row_bytes(), row_bytes.to_string()));
        }
        let rows = file.stored_rows();
        let hot = (resident_bytes / row_bytes as u64).min(rows);
        let mut bytes = Vec::with_capacity(hot as usize * row_bytes);
        file.read_rows(0, hot, &mut bytes)?;
        let hot = Arc::new(Rows::from_bytes(codec, bytes)?);
        Ok(Self { rows, hot, changed: HashMap::new(), file })
    }

    /// Answers from rows in memory; or, where some of the rows are on the disk, from those asked for, in which the first id is
    /// 0, the second 1.
    pub(super) fn ask(
        &self,
        ids: &[u64],
        answer: impl FnOnce(&dyn Table, &[u64]) -> nearline_index::Result<()>,
    ) -> Result<(), TableError> {
        if self.is_whole() {
            return Ok(answer(&*self.hot, ids)?);
        }
        let gathered = self.gather(ids)?;
        let places: Vec<u64> = (0..ids.len() as u64).collect();
        Ok(answer(&gathered, &places)?)
    }

    fn is_whole(&self) -> bool {
        self.hot.rows() == self.rows && self.changed.is_empty()
    }

    pub(super) fn put(&mut self, ids: &[u64], values: &[f32]) {
        let codec = self.hot.codec();
        for (&id, values) in ids.iter().zip(values.chunks_exact(codec.dim())) {
            let mut row = vec![0; codec.row_bytes()];
            codec.encode(values, &mut row);
            self.changed.insert(id, row.into());
        }
    }

    /// The rows asked for, in their order: those on the disk in one round of reads.
    pub(super) fn gather(&self, ids: &[u64]) -> Result<Rows<Arc<dyn RowCodec>>, TableError> {
        let codec = Arc::clone(self.hot.codec());
        let row_bytes = codec.row_bytes();
        if let Some(at) = ids.iter().position(|&id| id >= self.rows) {
            let found = format!("{} at place {at}", ids[at]);
            return Err(TableError::bad("ids", found, format!("ids below {}", self.rows)));
        }
        // With room to begin at a line.
        let mut bytes = Vec::with_capacity(ids.len() * row_bytes + Rows::<Arc<dyn RowCodec>>::LINE);
        bytes.resize(ids.len() * row_bytes, 0);
        let mut cold = Vec::new();
        for (at, (&id, out)) in ids.iter().zip(bytes.chunks_exact_mut(row_bytes)).enumerate() {
            self.hot.prefetch(ids.get(at + AHEAD..=at + AHEAD).unwrap_or_default());
            match self.changed.get(&id) {
                Some(row) => out.copy_from_slice(row),
                None if id < self.hot.rows() => {
                    out.copy_from_slice(&self.hot.row_bytes()[id as usize * row_bytes..][..row_bytes]);
                }
                None => cold.push((id, at)),
            }
        }
        if !cold.is_empty() {
            self.file
                .read_places(&cold, |at, row| bytes[at * row_bytes..][..row_bytes].copy_from_slice(row))?;
        }
        Ok(Rows::from_bytes(codec, bytes)?)
    }

    /// Writes all rows, changed ones as they are now.
    pub(super) fn write(&self, out: &mut TableFileWriter) -> Result<(), StorageError> {
        let row_bytes = self.hot.codec().row_bytes();
        let mut bytes = Vec::new();
        let mut from = 0;
        while from < self.rows {
            let to = (from + WRITTEN_ROWS).min(self.rows);
            bytes.clear();
            self.file.read_rows(from, to, &mut bytes)?;
            for (id, row) in (from..to).zip(bytes.chunks_exact_mut(row_bytes)) {
                if let Some(changed) = self.changed.get(&id) {
                    row.copy_from_slice(changed);
                }
            }
            out.rows(row_bytes, &bytes)?;
            from = to;
        }
        Ok(())
    }
}
