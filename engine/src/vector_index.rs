//! A vector index of a collection: posting lists over the vectors of one name.
//!
//! It is an index of `nearline-index` whose files are a part of the collection's folder: `index.N.V.` and a name. Its entries
//! name rows; the vectors themselves are in the segments. What was written since is added to the lists in memory, and what is
//! not there yet is compared one by one. Rows that died since are left out by whoever searches.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use nearline_index::{
    Answer, Delta, Filter, Flat, Index, IndexError, Live, OpenOptions, Pin, Probe, Problem, Rerank, RowFiles,
    RowId, SearchOptions, Searcher, Widen,
};
use nearline_storage::{Decoder, Disk, Encoder, PartDisk, StorageError};
use roaring::RoaringBitmap;

use crate::error::OpenError;
use crate::segment::Segment;

/// Searchers that are kept for the next question: each has buffers of its own.
const SEARCHERS_MAX: usize = 8;
/// Files of an index, at most.
const FILES_MAX: usize = 64;

/// What the manifest knows of a vector index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VectorIndexInfo {
    /// The N of its files.
    pub(crate) number: u64,
    /// The place of the vectors' name in the schema.
    pub(crate) at: usize,
    /// Vectors in it.
    pub(crate) rows: u64,
    /// Rows up to this one are in it, if they had such a vector and lived when it was written.
    pub(crate) last: RowId,
    /// Vectors that it had when it was built as a whole.
    pub(crate) built_rows: u64,
    /// Vectors that it had when `widen` was measured.
    pub(crate) measured_rows: u64,
    /// By which factors more lists are looked at than were when it was built.
    pub(crate) widen: Widen,
    /// The largest of them right after it was built as a whole.
    pub(crate) built_widen: Widen,
    /// Bytes of all files.
    pub(crate) bytes: u64,
    /// The names of all files, behind the prefix.
    pub(crate) names: Vec<String>,
}

impl VectorIndexInfo {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.number).u32(self.at as u32).u64(self.rows).u32(self.last.0);
        out.u64(self.built_rows).u64(self.measured_rows);
        self.widen.factors().iter().for_each(|factor| {
            out.f32(*factor);
        });
        self.built_widen.factors().into_iter().for_each(|factor| {
            out.f32(factor);
        });
        out.u64(self.bytes);
        out.u32(self.names.len() as u32);
        self.names.iter().for_each(|name| {
            out.str(name);
        });
    }

    /// `vectors` is the number of names in the schema, `version` that of the manifest.
    pub(crate) fn decode(
        decoder: &mut Decoder<'_>,
        vectors: usize,
        version: u16,
    ) -> Result<Self, StorageError> {
        let number = decoder.u64()?;
        let place = decoder.offset();
        let at = decoder.u32()? as usize;
        if at >= vectors {
            return Err(decoder.wrong(place, "name of indexed vectors", at as u64, vectors as u64));
        }
        let (rows, last) = (decoder.u64()?, RowId(decoder.u32()?));
        let (built_rows, measured_rows) = (decoder.u64()?, decoder.u64()?);
        let (widen, built_widen) = match version {
            ..6 => (Widen::all(factor(decoder)?), Widen::NONE),
            _ => (factors(decoder)?, factors(decoder)?),
        };
        let bytes = decoder.u64()?;
        let place = decoder.offset();
        let count = decoder.u32()? as usize;
        if count > FILES_MAX {
            return Err(decoder.wrong(place, "files of a vector index", count as u64, FILES_MAX as u64));
        }
        let mut names = Vec::with_capacity(count);
        for _ in 0..count {
            names.push(decoder.str()?.to_owned());
        }
        Ok(Self { number, at, rows, last, built_rows, measured_rows, widen, built_widen, bytes, names })
    }

    /// Reads over what version 3 knew of an index, which kept vectors of its own.
    pub(crate) fn skip_3(decoder: &mut Decoder<'_>) -> Result<(), StorageError> {
        // Number, name, rows, last row, bytes.
        decoder.raw(8 + 4 + 8 + 4 + 8)?;
        for _ in 0..decoder.u32()? {
            decoder.str()?;
        }
        Ok(())
    }

    /// The names of its files.
    pub(crate) fn files(&self) -> impl Iterator<Item = String> {
        let prefix = prefix(self.number, self.at);
        self.names.iter().map(move |name| format!("{prefix}{name}"))
    }
}

fn factors(decoder: &mut Decoder<'_>) -> Result<Widen, StorageError> {
    Ok(Widen::new([factor(decoder)?, factor(decoder)?, factor(decoder)?]))
}

/// A factor by which more lists are looked at.
fn factor(decoder: &mut Decoder<'_>) -> Result<f32, StorageError> {
    let place = decoder.offset();
    let found = decoder.f32()?;
    match found.is_finite() && found >= 1.0 {
        true => Ok(found),
        false => Err(decoder.wrong(place, "factor of lists", found.to_bits().into(), 1f32.to_bits().into())),
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
    pub(crate) index: Index,
    /// Vectors added since `widen` was measured; all, where that is not known.
    pub(crate) unmeasured: u64,
    /// Searchers that nobody uses now.
    searchers: Mutex<Vec<Searcher>>,
}

/// A vector index, and what was added to it since it was written.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) index: Arc<VectorIndex>,
    pub(crate) live: Live,
    /// Rows up to this one are in lists, if they have such a vector and are not dead.
    pub(crate) last: RowId,
}

impl Listed {
    /// An index to which nothing was added.
    pub(crate) fn new(index: VectorIndex, rows: Arc<RowFiles>) -> Self {
        let (live, last) = (index.live(rows), index.info.last);
        Self { index: Arc::new(index), live, last }
    }

    /// Whether its files of vectors are those of these segments.
    pub(crate) fn is_over(&self, segments: &[Arc<Segment>]) -> bool {
        self.live.rows.are(&row_files(segments, self.index.info.at))
    }

    /// The same when there are other segments.
    ///
    /// # Errors
    /// When a file of vectors cannot be opened. The old files have all rows that are in lists.
    pub(crate) fn over(&mut self, disk: &dyn Disk, segments: &[Arc<Segment>]) -> Result<(), IndexError> {
        if !self.is_over(segments) {
            self.live.rows = open_rows(disk, segments, self.index.info.at)?;
        }
        Ok(())
    }

    /// With these entries besides, of rows up to `last`.
    pub(crate) fn with(mut self, delta: Delta, last: RowId) -> Self {
        self.live.delta = Arc::new(delta);
        self.last = self.last.max(last);
        self
    }

    /// Vectors in lists, dead ones among them.
    pub(crate) fn rows(&self) -> u64 {
        self.index.info.rows + self.live.delta.rows()
    }

    /// Bytes of memory, beside what is kept of what is read.
    pub(crate) fn ram_bytes(&self) -> u64 {
        self.index.index.info().ram_bytes + self.live.delta.bytes()
    }
}

/// Opens the files with the vectors of one name.
pub(crate) fn open_rows(
    disk: &dyn Disk,
    segments: &[Arc<Segment>],
    at: usize,
) -> Result<Arc<RowFiles>, IndexError> {
    Ok(Arc::new(RowFiles::new(disk, row_files(segments, at))?))
}

/// The files with the vectors of one name.
fn row_files(segments: &[Arc<Segment>], at: usize) -> Vec<(RangeInclusive<RowId>, Arc<Flat>)> {
    let file = |segment: &Arc<Segment>| {
        let range = segment.info.first..=segment.info.last;
        segment.vectors[at].as_ref().map(|flat| (range, Arc::clone(flat)))
    };
    segments.iter().filter_map(file).collect()
}

/// What is asked of a vector index.
pub(crate) struct Ask<'a> {
    pub(crate) query: &'a [u8],
    pub(crate) k: usize,
    pub(crate) probe: Probe,
    /// Bytes that may be read.
    pub(crate) max_bytes_read: Option<u64>,
    /// Microseconds after which no more reads are begun.
    pub(crate) max_us: Option<u64>,
    /// Whether a row may be answered.
    pub(crate) allows: &'a (dyn Fn(RowId) -> bool + Sync),
    /// About how many of its vectors that are.
    pub(crate) allowed: u64,
}

impl VectorIndex {
    /// Opens an index, which keeps so many bytes of what it reads.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        info: VectorIndexInfo,
        cache_bytes: u64,
    ) -> Result<Self, OpenError> {
        let options =
            OpenOptions { pin: Pin::Nothing, cache_bytes: Some(cache_bytes), ..OpenOptions::default() };
        let index = Index::open_on(Arc::new(part(disk, info.number, info.at)), &options)?;
        let found = index.info().rows;
        if found != info.rows {
            let file = disk.root().join(prefix(info.number, info.at));
            return Err(StorageError::corrupt(&file, 0, "vectors of an index", found, info.rows).into());
        }
        Ok(Self { unmeasured: info.rows, info, index, searchers: Mutex::default() })
    }

    /// The same index, of which something else is known now.
    pub(crate) fn known_as(&self, info: VectorIndexInfo) -> Self {
        Self { info, index: self.index.clone(), unmeasured: 0, searchers: Mutex::default() }
    }

    /// What a search goes by while nothing was added.
    pub(crate) fn live(&self, rows: Arc<RowFiles>) -> Live {
        Live { rows, delta: Arc::default(), widen: self.info.widen }
    }

    /// The nearest of the vectors in lists that may be answered: their rows, with exact distances, and what they cost.
    pub(crate) fn search(&self, ask: &Ask<'_>, live: &Live) -> Result<Answer, IndexError> {
        let free = self.searchers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut searcher = free.unwrap_or_else(|| self.index.searcher());
        let rows = self.info.rows + live.delta.rows();
        let options = SearchOptions {
            k: ask.k.min(rows as usize),
            probe: ask.probe,
            rerank: Rerank::Exact,
            max_bytes_read: ask.max_bytes_read,
            max_us: ask.max_us,
        };
        let filter = Filter { allows: ask.allows, share: ask.allowed as f32 / rows.max(1) as f32 };
        let answer = searcher.search_live(ask.query, &options, filter, live)?;
        let mut searchers = self.searchers.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have other files open would keep them on the disk.
        searchers.retain(|other| other.is_over(&live.rows));
        if searchers.len() < SEARCHERS_MAX {
            searchers.push(searcher);
        }
        drop(searchers);
        Ok(answer)
    }

    /// Reads all of an index and checks that it has the vectors of these living rows, each once, and of no others but dead
    /// ones.
    pub(crate) fn verify(
        disk: &Arc<dyn Disk>,
        info: &VectorIndexInfo,
        living: &RoaringBitmap,
        dead: &RoaringBitmap,
    ) -> Result<(), OpenError> {
        let found = Self::verify_files(disk, info)?;
        let wrong = (&found - dead) ^ living;
        if let Some(row) = wrong.min() {
            let file = disk.root().join(prefix(info.number, info.at));
            let found = u64::from(found.contains(row));
            return Err(StorageError::corrupt(&file, 0, "row of a vector index", found, 1 - found).into());
        }
        Ok(())
    }

    /// Reads all files of an index and checks them. Returns the rows in it.
    pub(crate) fn verify_files(
        disk: &Arc<dyn Disk>,
        info: &VectorIndexInfo,
    ) -> Result<RoaringBitmap, OpenError> {
        let (mut rows, mut twice) = (RoaringBitmap::new(), None);
        let mut see = |row: RowId| {
            if !rows.insert(row.0) {
                twice.get_or_insert(row);
            }
        };
        let part = Arc::new(part(disk, info.number, info.at));
        let report = nearline_index::verify_outside(part, &mut see, &mut |_, _| ())?;
        if let Some(Problem { file, message }) = report.problems.into_iter().next() {
            return Err(OpenError::Damaged { file: prefix(info.number, info.at) + &file, message });
        }
        let file = disk.root().join(prefix(info.number, info.at));
        if let Some(row) = twice {
            return Err(StorageError::corrupt(&file, 0, "second entry of a row", row.0.into(), 0).into());
        }
        if rows.len() != info.rows {
            return Err(StorageError::corrupt(&file, 0, "rows of an index", rows.len(), info.rows).into());
        }
        Ok(rows)
    }
}

/// The part of a folder that has the files of an index.
pub(crate) fn part(disk: &Arc<dyn Disk>, number: u64, at: usize) -> PartDisk {
    PartDisk::new(Arc::clone(disk), prefix(number, at))
}

/// What the manifest is to know of the files of an index that were written; the rest is as in `info`.
pub(crate) fn listed(disk: &Arc<dyn Disk>, info: VectorIndexInfo) -> Result<VectorIndexInfo, StorageError> {
    let part = part(disk, info.number, info.at);
    let names = part.list()?;
    let mut bytes = 0;
    for name in &names {
        bytes += part.open(name)?.len()?;
    }
    Ok(VectorIndexInfo { bytes, names, ..info })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> VectorIndexInfo {
        VectorIndexInfo {
            number: 7,
            at: 1,
            rows: 900,
            last: RowId(1_234),
            built_rows: 800,
            measured_rows: 850,
            widen: Widen::new([1.25, 1.5, 2.5]),
            built_widen: Widen::new([1.0, 1.25, 2.0]),
            bytes: 4_096,
            names: vec!["lists".to_owned(), "router".to_owned()],
        }
    }

    fn decoded(bytes: &[u8], version: u16) -> Result<VectorIndexInfo, StorageError> {
        VectorIndexInfo::decode(&mut Decoder::new(bytes, std::path::Path::new("COLLECTION"), 0), 2, version)
    }

    #[test]
    fn what_is_known_of_an_index_comes_back() {
        let mut out = Encoder::new();
        info().encode(&mut out);
        assert_eq!(decoded(out.as_bytes(), 6).unwrap(), info());
        let told = decoded(&out.as_bytes()[..40], 6).unwrap_err().to_string();
        assert!(told.contains("COLLECTION"), "{told}");
    }

    /// Versions 4 and 5 knew one factor, and not what it was when the index was built.
    #[test]
    fn what_older_versions_knew_of_an_index_is_read() {
        for version in [4, 5] {
            let mut out = Encoder::new();
            out.u64(7).u32(1).u64(900).u32(1_234).u64(800).u64(850).f32(1.5).u64(4_096).u32(2);
            out.str("lists");
            out.str("router");
            let expected = VectorIndexInfo { widen: Widen::all(1.5), built_widen: Widen::NONE, ..info() };
            assert_eq!(decoded(out.as_bytes(), version).unwrap(), expected);
        }
    }
}
