//! Rows of so many bytes each: the first in memory, the others in the file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use nearline_index::embedding::{AHEAD, RowCodec, Rows, Table};
use nearline_storage::StorageError;

use super::error::TableError;
use super::file::{TableFile, TableFileWriter, Wanted};

/// Rows written to a new file at a time.
const WRITTEN_ROWS: u64 = 1 << 15;

/// Rows that stand alone: the first ones in memory, the others in the file, changed ones beside. All of these go by
/// **place**: the id itself, or what the remap says of it.
#[derive(Clone)]
pub(super) struct RowStore {
    pub(super) rows: u64,
    pub(super) hot: Arc<Rows<Arc<dyn RowCodec>>>,
    pub(super) changed: HashMap<u64, Box<[u8]>>,
    pub(super) file: Arc<TableFile>,
    /// The place of each id, unless rows lie in the order of ids.
    remap: Option<Arc<[u32]>>,
}

impl RowStore {
    /// The rows of a file, as many of them in memory as so many bytes hold besides the remap, which always is.
    pub(super) fn load(
        file: Arc<TableFile>,
        codec: Arc<dyn RowCodec>,
        remap: Option<Arc<[u32]>>,
        resident_bytes: u64,
    ) -> Result<Self, TableError> {
        let row_bytes = codec.row_bytes();
        if row_bytes != file.row_bytes() {
            return Err(TableError::bad("bytes of a row", file.row_bytes(), row_bytes.to_string()));
        }
        let rows = file.stored_rows();
        let resident_bytes = resident_bytes.saturating_sub(remap_bytes(remap.as_deref()));
        let hot = (resident_bytes / row_bytes as u64).min(rows);
        let mut bytes = Vec::with_capacity(hot as usize * row_bytes);
        file.read_rows(0, hot, &mut bytes)?;
        let hot = Arc::new(Rows::from_bytes(codec, bytes)?);
        Ok(Self { rows, hot, changed: HashMap::new(), file, remap })
    }

    /// What the remap takes, in memory as in the file; 0 if there is none.
    pub(super) fn remap_bytes(&self) -> u64 {
        remap_bytes(self.remap.as_deref())
    }

    /// The places of ids. Where there is no remap they are the ids, unchecked: who reads by them checks.
    fn places<'a>(&self, ids: &'a [u64]) -> Result<Cow<'a, [u64]>, TableError> {
        let Some(remap) = &self.remap else { return Ok(Cow::Borrowed(ids)) };
        self.check(ids)?;
        Ok(ids.iter().map(|&id| u64::from(remap[id as usize])).collect())
    }

    /// Refuses ids, or places, that are out of range.
    fn check(&self, ids: &[u64]) -> Result<(), TableError> {
        match ids.iter().position(|&id| id >= self.rows) {
            Some(at) => {
                let found = format!("{} at place {at}", ids[at]);
                Err(TableError::bad("ids", found, format!("ids below {}", self.rows)))
            }
            None => Ok(()),
        }
    }

    /// Answers from rows in memory; or, where some of the rows are on the disk, from those asked for, in which the first id is
    /// 0, the second 1.
    pub(super) fn ask(
        &self,
        ids: &[u64],
        answer: impl FnOnce(&dyn Table, &[u64]) -> nearline_index::Result<()>,
    ) -> Result<(), TableError> {
        let places = self.places(ids)?;
        if self.is_whole() {
            return Ok(answer(&*self.hot, &places)?);
        }
        let gathered = self.read(&places)?;
        let numbers: Vec<u64> = (0..ids.len() as u64).collect();
        Ok(answer(&gathered, &numbers)?)
    }

    fn is_whole(&self) -> bool {
        self.hot.rows() == self.rows && self.changed.is_empty()
    }

    /// Writes rows anew; ids and values were checked.
    pub(super) fn put(&mut self, ids: &[u64], values: &[f32]) -> Result<(), TableError> {
        let places = self.places(ids)?;
        let codec = self.hot.codec();
        for (&place, values) in places.iter().zip(values.chunks_exact(codec.dim())) {
            let mut row = vec![0; codec.row_bytes()];
            codec.encode(values, &mut row);
            self.changed.insert(place, row.into());
        }
        Ok(())
    }

    /// The rows asked for, in their order: those on the disk in one round of reads.
    pub(super) fn gather(&self, ids: &[u64]) -> Result<Rows<Arc<dyn RowCodec>>, TableError> {
        self.read(&self.places(ids)?)
    }

    /// The same by their places.
    fn read(&self, places: &[u64]) -> Result<Rows<Arc<dyn RowCodec>>, TableError> {
        self.check(places)?;
        let codec = Arc::clone(self.hot.codec());
        let row_bytes = codec.row_bytes();
        // With room to begin at a line.
        let mut bytes = Vec::with_capacity(places.len() * row_bytes + Rows::<Arc<dyn RowCodec>>::LINE);
        bytes.resize(places.len() * row_bytes, 0);
        let mut cold = Vec::new();
        for (at, (&place, out)) in places.iter().zip(bytes.chunks_exact_mut(row_bytes)).enumerate() {
            self.hot.prefetch(places.get(at + AHEAD..=at + AHEAD).unwrap_or_default());
            match self.changed.get(&place) {
                Some(row) => out.copy_from_slice(row),
                None if place < self.hot.rows() => {
                    out.copy_from_slice(&self.hot.row_bytes()[place as usize * row_bytes..][..row_bytes]);
                }
                None => cold.push(Wanted { first: place, len: 1, at: at * row_bytes }),
            }
        }
        if !cold.is_empty() {
            self.file.read_runs(&cold, &mut bytes)?;
        }
        Ok(Rows::from_bytes(codec, bytes)?)
    }

    /// Writes all rows, changed ones as they are now, and the remap.
    pub(super) fn write(&self, out: &mut TableFileWriter) -> Result<(), StorageError> {
        let row_bytes = self.hot.codec().row_bytes();
        let mut bytes = Vec::new();
        let mut from = 0;
        while from < self.rows {
            let to = (from + WRITTEN_ROWS).min(self.rows);
            bytes.clear();
            self.file.read_rows(from, to, &mut bytes)?;
            for (place, row) in (from..to).zip(bytes.chunks_exact_mut(row_bytes)) {
                if let Some(changed) = self.changed.get(&place) {
                    row.copy_from_slice(changed);
                }
            }
            out.rows(row_bytes, &bytes)?;
            from = to;
        }
        self.remap.as_deref().map_or(Ok(()), |remap| out.remap(remap))
    }
}

fn remap_bytes(remap: Option<&[u32]>) -> u64 {
    remap.map_or(0, |remap| size_of_val(remap) as u64)
}
