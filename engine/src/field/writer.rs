//! Writing the file of a field index: keys sorted within a budget of memory, in runs on disk if there are too many.

use std::collections::BTreeMap;
use std::sync::Arc;

use nearline_index::RowId;
use nearline_storage::{
    BlockCache, Disk, FileHeader, PAGE, StorageError, Table, TableIter, TableOptions, TableWriter,
};
use roaring::RoaringBitmap;

use crate::field::file::{ALL_ROWS, field_header};
use crate::field::index::{FieldFileInfo, FieldIndexInfo, field_name};
use crate::field::key::{Key, keys_of};
use crate::field::rows::{RowSet, add_rows, encode_bitmap, encode_rows};
use crate::path::values_at;
use crate::value::Payload;

/// Runs that become one when there are so many of a size.
const FAN_IN: usize = 16;
/// What a key costs in memory beside its bytes.
const KEY_BYTES: usize = 96;
/// What a row of a key costs.
const ROW_BYTES: usize = 8;
/// No filter: it would be in memory as a whole, while it is written and while it is read.
const OPTIONS: TableOptions = TableOptions { block_bytes: PAGE, filter_bits: 0, keys: None };

/// Takes the payloads of a segment, in order of their rows, and writes the file of one field index.
///
/// Memory: the budget, a bitmap of all rows, and a page or two for each run that is merged. A file whose writer was
/// dropped before [`FieldWriter::finish`], and its runs, are left to whoever removes files that nothing names.
pub(crate) struct FieldWriter {
    disk: Arc<dyn Disk>,
    store_id: u64,
    /// Of the file.
    number: u64,
    index: FieldIndexInfo,
    budget: usize,
    keys: BTreeMap<Key, Vec<u32>>,
    /// What `keys` take.
    bytes: usize,
    rows: RoaringBitmap,
    /// Names of runs by how often they were merged.
    levels: Vec<Vec<String>>,
    runs_made: u64,
}

impl FieldWriter {
    /// A writer of the file `number` that keeps keys of `budget` bytes in memory, or of one payload if that has more.
    pub(crate) fn new(
        disk: &Arc<dyn Disk>,
        store_id: u64,
        number: u64,
        index: FieldIndexInfo,
        budget: usize,
    ) -> Self {
        Self {
            disk: Arc::clone(disk),
            store_id,
            number,
            index,
            budget,
            keys: BTreeMap::new(),
            bytes: 0,
            rows: RoaringBitmap::new(),
            levels: Vec::new(),
            runs_made: 0,
        }
    }

    /// The number of the file.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Takes a payload; its row is above those before it.
    pub(crate) fn push(&mut self, row: RowId, payload: &Payload) -> Result<(), StorageError> {
        self.rows.insert(row.0);
        for key in keys_of(self.index.field_type, values_at(payload, &self.index.path)) {
            self.bytes += ROW_BYTES;
            if let Some(rows) = self.keys.get_mut(&key) {
                rows.push(row.0);
            } else {
                self.bytes += KEY_BYTES + key.len();
                self.keys.insert(key, vec![row.0]);
            }
        }
        if self.bytes > self.budget { self.spill() } else { Ok(()) }
    }

    /// Writes the file and makes its bytes survive a crash; its name is up to the caller.
    pub(crate) fn finish(mut self) -> Result<FieldFileInfo, StorageError> {
        let header = field_header(self.store_id, self.number);
        if !self.levels.is_empty() && !self.keys.is_empty() {
            self.spill()?;
        }
        let mut writer = TableWriter::create(self.disk.as_ref(), &field_name(self.number), header, OPTIONS)?;
        writer.push(ALL_ROWS, &encode_bitmap(std::mem::take(&mut self.rows)))?;
        for (key, rows) in std::mem::take(&mut self.keys) {
            writer.push(&key, &encode_rows(&rows))?;
        }
        let runs: Vec<String> = std::mem::take(&mut self.levels).into_iter().flatten().collect();
        self.merge_into(&mut writer, &runs)?;
        let bytes = writer.finish()?.bytes;
        self.remove(&runs)?;
        Ok(FieldFileInfo { index: self.index.number, number: self.number, bytes })
    }

    /// Moves the keys in memory into a run, and merges runs when there are many.
    fn spill(&mut self) -> Result<(), StorageError> {
        let (name, mut writer) = self.new_run()?;
        for (key, rows) in std::mem::take(&mut self.keys) {
            writer.push(&key, &encode_rows(&rows))?;
        }
        self.bytes = 0;
        writer.finish()?;
        let mut made = name;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(made);
            if self.levels[level].len() < FAN_IN {
                break;
            }
            let runs = std::mem::take(&mut self.levels[level]);
            let (name, mut writer) = self.new_run()?;
            self.merge_into(&mut writer, &runs)?;
            writer.finish()?;
            self.remove(&runs)?;
            made = name;
        }
        Ok(())
    }

    fn new_run(&mut self) -> Result<(String, TableWriter), StorageError> {
        let name = format!("{}.{}", field_name(self.number), self.runs_made);
        self.runs_made += 1;
        let writer = TableWriter::create(self.disk.as_ref(), &name, self.run_header(), OPTIONS)?;
        Ok((name, writer))
    }

    /// Runs are read once, past the cache, and never together with other files: they share an identity.
    fn run_header(&self) -> FileHeader {
        FileHeader { kind: *b"FRUN", ..field_header(self.store_id, self.number) }
    }

    /// Appends the keys of runs, each once, with the rows it has in any of them.
    fn merge_into(&self, writer: &mut TableWriter, runs: &[String]) -> Result<(), StorageError> {
        let cache = Arc::new(BlockCache::new(0));
        let open = |name: &String| Table::open(&self.disk, name, self.run_header(), Arc::clone(&cache));
        let tables = runs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut sources: Vec<TableIter<'_>> = tables.iter().map(Table::scan).collect();
        let mut heads = Vec::with_capacity(sources.len());
        for source in &mut sources {
            heads.push(source.next().transpose()?);
        }
        while let Some(key) = heads.iter().flatten().map(|(key, _)| key).min().cloned() {
            let mut rows = RowSet::default();
            for (at, head) in heads.iter_mut().enumerate() {
                if let Some((_, value)) = head.take_if(|(found, _)| *found == key) {
                    add_rows(&value, || tables[at].path().to_owned(), &mut rows)?;
                    *head = sources[at].next().transpose()?;
                }
            }
            writer.push(&key, &encode_bitmap(rows.into_bitmap()))?;
        }
        Ok(())
    }

    fn remove(&self, runs: &[String]) -> Result<(), StorageError> {
        runs.iter().try_for_each(|run| self.disk.remove(run))
    }
}

#[cfg(test)]
mod tests {
    use nearline_storage::SimDisk;

    use super::*;
    use crate::field::FieldType;

    #[test]
    fn the_bytes_do_not_depend_on_the_memory() {
        let write = |budget: usize| {
            let sim = SimDisk::new(0);
            let disk: Arc<dyn Disk> = Arc::new(sim.clone());
            let field_type = FieldType::Keyword;
            let index = FieldIndexInfo { number: 1, path: "f".parse().unwrap(), field_type };
            let mut writer = FieldWriter::new(&disk, 5, 2, index, budget);
            for row in 0..2_000_u32 {
                let words = [format!("w{}", row % 7), format!("u{row}"), format!("v{}", row / 300)];
                writer.push(RowId(row * 3), &Payload::new().with("f", words)).unwrap();
            }
            let runs = writer.runs_made;
            let info = writer.finish().unwrap();
            assert_eq!(sim.list().unwrap(), ["field.000002"], "runs are removed");
            (runs, info, sim.bytes("field.000002").unwrap())
        };
        let (runs, info, bytes) = write(1 << 20);
        assert_eq!((runs, info.bytes), (0, bytes.len() as u64));
        for (budget, least) in [(100_000, 2), (8_000, 20), (0, 2_000)] {
            let (runs, _, same) = write(budget);
            assert!(runs >= least, "{runs} runs within {budget} bytes");
            assert!(same == bytes, "within {budget} bytes");
        }
    }
}
