//! A vector index of a collection: posting lists over the vectors of one name, as far as they were written when it was built.
//!
//! It is an index of `nearline-index` whose files are a part of the collection's folder: `index.N.V.` and a name. It knows its
//! vectors by their *places*, 0 to their number; `index.N.V.covered` has the row at each. Rows that died since are left out by
//! whoever searches, rows written since are compared one by one.

use std::sync::{Arc, Mutex, PoisonError};

use nearline_index::{
    Answer, Filter, Index, IndexError, OpenOptions, Pin, Probe, Problem, Rerank, RowId, SearchOptions,
    Searcher,
};
use nearline_storage::{Decoder, Disk, Encoder, PartDisk, StorageError};
use roaring::RoaringBitmap;

use crate::error::OpenError;
use crate::manifest::{read_bitmap, write_bitmap};

const COVERED_KIND: [u8; 4] = *b"COVR";
const COVERED: &str = "covered";
/// Searchers that are kept for the next question: each has buffers of its own.
const SEARCHERS_MAX: usize = 8;
/// Files of an index, at most.
const FILES_MAX: usize = 64;

/// What the manifest knows of a vector index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VectorIndexInfo {
    /// The N of its files.
    pub(crate) number: u64,
    /// The place of the vectors' name in the schema.
    pub(crate) at: usize,
    /// Vectors in it.
    pub(crate) rows: u64,
    /// Rows up to this one are in it, if they had such a vector and lived when it was built.
    pub(crate) last: RowId,
    /// Bytes of all files.
    pub(crate) bytes: u64,
    /// The names of all files, behind the prefix.
    pub(crate) names: Vec<String>,
}

impl VectorIndexInfo {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.number).u32(self.at as u32).u64(self.rows).u32(self.last.0).u64(self.bytes);
        out.u32(self.names.len() as u32);
        self.names.iter().for_each(|name| {
            out.str(name);
        });
    }

    /// `vectors` is the number of names in the schema.
    pub(crate) fn decode(decoder: &mut Decoder<'_>, vectors: usize) -> Result<Self, StorageError> {
        let number = decoder.u64()?;
        let place = decoder.offset();
        let at = decoder.u32()? as usize;
        if at >= vectors {
            return Err(decoder.wrong(place, "name of indexed vectors", at as u64, vectors as u64));
        }
        let (rows, last, bytes) = (decoder.u64()?, RowId(decoder.u32()?), decoder.u64()?);
        let place = decoder.offset();
        let count = decoder.u32()? as usize;
        if count > FILES_MAX {
            return Err(decoder.wrong(place, "files of a vector index", count as u64, FILES_MAX as u64));
        }
        let mut names = Vec::with_capacity(count);
        for _ in 0..count {
            names.push(decoder.str()?.to_owned());
        }
        Ok(Self { number, at, rows, last, bytes, names })
    }

    /// The names of its files.
    pub(crate) fn files(&self) -> impl Iterator<Item = String> {
        let prefix = prefix(self.number, self.at);
        self.names.iter().map(move |name| format!("{prefix}{name}"))
    }
}

/// What the names of an index's files begin with.
pub(crate) fn prefix(number: u64, at: usize) -> String {
    format!("index.{number:06}.{at:02}.")
}

/// The number of the index that a file of this name is a part of.
pub(crate) fn index_number(name: &str) -> Option<u64> {
    name.strip_prefix("index.")?.split('.').next()?.parse().ok()
}

/// An open vector index.
#[derive(Debug)]
pub(crate) struct VectorIndex {
    pub(crate) info: VectorIndexInfo,
    index: Index,
    /// The rows in it, in order of their places.
    covered: RoaringBitmap,
    /// Where rows follow each other: the first place of each run, and the row there.
    runs: Vec<(u32, u32)>,
    /// Searchers that nobody uses now.
    searchers: Mutex<Vec<Searcher>>,
}

/// What is asked of a vector index.
pub(crate) struct Ask<'a> {
    pub(crate) query: &'a [u8],
    pub(crate) k: usize,
    pub(crate) target_recall: f32,
    /// Whether a row may be answered.
    pub(crate) allows: &'a (dyn Fn(RowId) -> bool + Sync),
    /// About how many of its vectors that are.
    pub(crate) allowed: u64,
}

impl VectorIndex {
    /// Opens an index, which keeps so many bytes of what it reads.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        store_id: u64,
        info: VectorIndexInfo,
        cache_bytes: u64,
    ) -> Result<Self, OpenError> {
        let part = part(disk, info.number, info.at);
        let covered = read_bitmap(&part, COVERED, COVERED_KIND, store_id ^ info.number)?;
        let options =
            OpenOptions { pin: Pin::Nothing, cache_bytes: Some(cache_bytes), ..OpenOptions::default() };
        let index = Index::open_on(Arc::new(part), &options)?;
        let checks = [
            ("vectors of an index", index.info().rows, info.rows),
            ("rows that an index covers", covered.len(), info.rows),
            ("last row of an index", covered.max().unwrap_or(0).max(info.last.0).into(), info.last.0.into()),
        ];
        if let Some((what, found, expected)) =
            checks.into_iter().find(|(_, found, expected)| found != expected)
        {
            let file = disk.root().join(prefix(info.number, info.at) + COVERED);
            return Err(StorageError::corrupt(&file, 0, what, found, expected).into());
        }
        let runs = runs(&covered);
        Ok(Self { info, index, covered, runs, searchers: Mutex::default() })
    }

    /// The row at a place.
    fn row(&self, place: RowId) -> RowId {
        let run = self.runs.partition_point(|&(first, _)| first <= place.0).saturating_sub(1);
        let (first, row) = self.runs.get(run).copied().unwrap_or_default();
        RowId(row + (place.0 - first))
    }

    /// Of its vectors, those whose rows are in `rows`.
    pub(crate) fn count_of(&self, rows: &RoaringBitmap) -> u64 {
        self.covered.intersection_len(rows)
    }

    /// The nearest of its vectors that may be answered: their rows, with exact distances, and what they cost. `None` if its
    /// files are gone already, because there is a newer one.
    pub(crate) fn search(&self, ask: &Ask<'_>) -> Result<Option<Answer>, IndexError> {
        let free = self.searchers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut searcher = match free.map_or_else(|| self.index.searcher(), Ok) {
            Ok(searcher) => searcher,
            Err(IndexError::Storage(StorageError::NotFound { .. })) => return Ok(None),
            Err(error) => return Err(error),
        };
        let options = SearchOptions {
            k: ask.k.min(self.info.rows as usize),
            probe: Probe::TargetRecall(ask.target_recall),
            rerank: Rerank::Exact,
            ..SearchOptions::default()
        };
        let allows = |place| (ask.allows)(self.row(place));
        let share = ask.allowed as f32 / self.info.rows.max(1) as f32;
        let mut answer = searcher.search_where(ask.query, &options, Filter { allows: &allows, share })?;
        for hit in &mut answer.hits {
            hit.row = self.row(hit.row);
        }
        let mut searchers = self.searchers.lock().unwrap_or_else(PoisonError::into_inner);
        if searchers.len() < SEARCHERS_MAX {
            searchers.push(searcher);
        }
        drop(searchers);
        Ok(Some(answer))
    }

    /// Bytes of memory it takes, beside what it keeps of what it reads.
    pub(crate) fn ram_bytes(&self) -> u64 {
        let runs = self.runs.len() * size_of::<(u32, u32)>();
        self.index.info().ram_bytes + (self.covered.serialized_size() + runs) as u64
    }

    /// Reads all of an index and checks that it has the vectors of these living rows, and of no others but dead ones.
    pub(crate) fn verify(
        disk: &Arc<dyn Disk>,
        store_id: u64,
        info: &VectorIndexInfo,
        living: &RoaringBitmap,
        dead: &RoaringBitmap,
    ) -> Result<(), OpenError> {
        let covered = Self::verify_files(disk, store_id, info)?;
        let wrong = (&covered - dead) ^ living;
        if let Some(row) = wrong.min() {
            let file = disk.root().join(prefix(info.number, info.at) + COVERED);
            let found = u64::from(covered.contains(row));
            return Err(StorageError::corrupt(&file, 0, "row of a vector index", found, 1 - found).into());
        }
        Ok(())
    }

    /// Reads all files of an index and checks them. Returns the rows in it.
    pub(crate) fn verify_files(
        disk: &Arc<dyn Disk>,
        store_id: u64,
        info: &VectorIndexInfo,
    ) -> Result<RoaringBitmap, OpenError> {
        let opened = Self::open(disk, store_id, info.clone(), 0)?;
        let part = Arc::new(part(disk, info.number, info.at));
        let report = nearline_index::verify_on(part, &mut |_, _| ())?;
        match report.problems.into_iter().next() {
            Some(Problem { file, message }) => {
                Err(OpenError::Damaged { file: prefix(info.number, info.at) + &file, message })
            }
            None => Ok(opened.covered),
        }
    }
}

/// Where rows follow each other: the first place of each run, and the row there.
fn runs(rows: &RoaringBitmap) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (place, row) in (0..).zip(rows) {
        if runs.last().is_none_or(|&(first, start)| row - start != place - first) {
            runs.push((place, row));
        }
    }
    runs
}

fn part(disk: &Arc<dyn Disk>, number: u64, at: usize) -> PartDisk {
    PartDisk::new(Arc::clone(disk), prefix(number, at))
}

/// Ends the files of an index that was built: adds which row is at which place, and tells what the manifest is to know.
pub(crate) fn finish(
    disk: &Arc<dyn Disk>,
    store_id: u64,
    (number, at): (u64, usize),
    covered: &RoaringBitmap,
    last: RowId,
) -> Result<VectorIndexInfo, OpenError> {
    let part = part(disk, number, at);
    write_bitmap(&part, COVERED, COVERED_KIND, store_id ^ number, covered)?;
    let names = part.list()?;
    let mut bytes = 0;
    for name in &names {
        bytes += part.open(name)?.len()?;
    }
    Ok(VectorIndexInfo { number, at, rows: covered.len(), last, bytes, names })
}
