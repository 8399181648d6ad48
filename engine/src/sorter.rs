//! Sorting pairs within a budget of memory: in runs on disk, if there are too many.

use std::sync::Arc;

use nearline_storage::{
    BlockCache, Disk, FileHeader, PAGE, Pair, StorageError, Table, TableOptions, TableWriter, merge,
};

/// What a pair costs in memory beside its bytes.
const PAIR_BYTES: usize = 64;
const OPTIONS: TableOptions = TableOptions { block_bytes: PAGE, filter_bits: 0, keys: None };

/// Takes keys and values in any order. Of equal keys the last one counts.
///
/// Its files are left to whoever removes them: they are of no use to anybody else.
pub(crate) struct Sorter {
    disk: Arc<dyn Disk>,
    name: String,
    budget: usize,
    pairs: Vec<Pair>,
    bytes: usize,
    runs: Vec<String>,
}

/// What was sorted.
pub(crate) struct Sorted {
    runs: Vec<Table>,
    pairs: Vec<Pair>,
}

impl Sorter {
    /// A sorter that keeps about `budget` bytes in memory; files of its are called `name` and a number.
    pub(crate) fn new(disk: &Arc<dyn Disk>, name: &str, budget: usize) -> Self {
        let (disk, name) = (Arc::clone(disk), name.to_owned());
        Self { disk, name, budget, pairs: Vec::new(), bytes: 0, runs: Vec::new() }
    }

    pub(crate) fn push(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StorageError> {
        self.bytes += PAIR_BYTES + key.len() + value.len();
        self.pairs.push((key, value));
        if self.bytes > self.budget { self.spill() } else { Ok(()) }
    }

    /// Ends what comes in; what came goes out by [`Sorted::pairs`].
    pub(crate) fn finish(mut self) -> Result<Sorted, StorageError> {
        let cache = Arc::new(BlockCache::new(0));
        let open = |(number, name): (usize, &String)| {
            Table::open(&self.disk, name, header(number), Arc::clone(&cache))
        };
        let runs = self.runs.iter().enumerate().map(open).collect::<Result<_, _>>()?;
        self.sort();
        Ok(Sorted { runs, pairs: self.pairs })
    }

    fn spill(&mut self) -> Result<(), StorageError> {
        self.sort();
        let number = self.runs.len();
        let name = format!("{}.{number}", self.name);
        let mut writer = TableWriter::create(self.disk.as_ref(), &name, header(number), OPTIONS)?;
        for (key, value) in std::mem::take(&mut self.pairs) {
            writer.push(&key, &value)?;
        }
        writer.finish()?;
        self.bytes = 0;
        self.runs.push(name);
        Ok(())
    }

    fn sort(&mut self) {
        // The last of equal keys comes first, and those behind it go.
        self.pairs.reverse();
        self.pairs.sort_by(|a, b| a.0.cmp(&b.0));
        self.pairs.dedup_by(|later, kept| later.0 == kept.0);
    }
}

impl Sorted {
    /// All pairs in the order of their keys.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Result<Pair, StorageError>> + '_ {
        type Source<'a> = Box<dyn Iterator<Item = Result<Pair, StorageError>> + 'a>;
        let newest: Source<'_> = Box::new(self.pairs.iter().cloned().map(Ok));
        let older = self.runs.iter().rev().map(|run| -> Source<'_> { Box::new(run.scan()) });
        merge(std::iter::once(newest).chain(older), |_, _| true)
    }
}

/// Runs are read once, past the cache.
fn header(number: usize) -> FileHeader {
    FileHeader { kind: *b"SRUN", file_id: number as u64 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nearline_storage::SimDisk;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// It is a map, whatever the memory.
        #[test]
        fn it_sorts_and_the_last_counts(
            pairs in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..3), any::<u16>()), 0..300),
            budget in 0usize..20_000,
        ) {
            let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(0));
            let mut sorter = Sorter::new(&disk, "sort", budget);
            let mut expected = BTreeMap::new();
            for (key, value) in pairs {
                sorter.push(key.clone(), value.to_le_bytes().to_vec()).unwrap();
                expected.insert(key, value.to_le_bytes().to_vec());
            }
            let sorted = sorter.finish().unwrap();
            let found: Vec<Pair> = sorted.pairs().map(Result::unwrap).collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
