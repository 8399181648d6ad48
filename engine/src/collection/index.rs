//! Building vector indexes, in a thread of its own: it takes long, and points are flushed meanwhile.

use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use nearline_index::{
    BuildOptions, IndexError, Progress, RowId, RowStream, Shape, SourceError, Stage, VectorSource,
};
use nearline_storage::PartDisk;
use roaring::RoaringBitmap;

use super::write::refused;
use super::{Collection, Inner, locked};
use crate::error::WriteError;
use crate::schema::VectorConfig;
use crate::segment::Segment;
use crate::state::State;
use crate::vector_index::{VectorIndex, VectorIndexInfo, finish, prefix};

/// An index is built anew when there is one vector that it lacks to so many that it has, and likewise when of so many one
/// is not dead.
const REST_SHARE: u64 = 32;
const LIVE_SHARE: u64 = 2;
/// How long after a failure it is tried again, at first and at most: each time after twice as long.
const RETRY: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(3_600);

/// One index is built at a time in the process: memory and processors are its, whatever collection it is for.
static BUILDING: Mutex<()> = Mutex::new(());
/// Vectors read at a time.
const READ: usize = 512;

/// The vectors of one name as the choice of builds sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexView {
    /// Vectors in the index, and how many of them are not dead.
    pub(crate) covered: u64,
    pub(crate) live: u64,
    /// Vectors in segments that it lacks.
    pub(crate) rest: u64,
    /// Vectors below which there is no use for an index.
    pub(crate) least: u64,
}

/// Whether an index is to be built.
pub(crate) fn is_due(view: &IndexView) -> bool {
    let IndexView { covered, live, rest, least } = *view;
    let is_large = live + rest >= least.max(1);
    let lacks_many = rest >= least.max(1) && rest.saturating_mul(REST_SHARE) >= covered;
    is_large && (lacks_many || live.saturating_mul(LIVE_SHARE) < covered)
}

/// Builds indexes as they become due, until the collection is closed.
pub(super) fn start(inner: Arc<Inner>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut pause = RETRY;
        while let Some(at) = inner.next_index(pause) {
            let permit = inner.permit();
            let done = if inner.is_closing() { Ok(()) } else { inner.build_index(at) };
            drop(permit);
            pause = if done.is_ok() { RETRY } else { (2 * pause).min(RETRY_MAX) };
            let is_closing = inner.is_closing();
            let mut background = locked(&inner.background);
            background.indexing = None;
            background.index_failed = done.err().filter(|_| !is_closing).map(|error| (error, Instant::now()));
            drop(background);
            inner.changed.notify_all();
        }
    })
}

impl Collection {
    /// Drops all vector indexes, for when [`Collection::verify`] or a query says that one is damaged; the background builds
    /// them anew, and without one this does. They are derived: nothing is lost. Queries compare all vectors meanwhile.
    ///
    /// # Errors
    /// When the disk fails or is full, or vectors cannot be read.
    pub fn rebuild_vector_indexes(&self) -> Result<(), WriteError> {
        let inner = &self.shared.inner;
        let mut files = locked(&inner.files);
        let mut next = files.manifest.clone();
        let old: Vec<String> =
            next.indexes.drain(..).flat_map(|index| index.files().collect::<Vec<_>>()).collect();
        inner.tidying(&mut files, |files| inner.adopt(files, next))?;
        inner.change(|state| state.indexes.clear());
        inner.remove(&mut files, &old);
        drop(files);
        inner.wake();
        while let Some(at) = inner.due_index().filter(|_| !inner.has_background) {
            inner.build_index(at)?;
        }
        Ok(())
    }
}

impl Inner {
    /// Waits until an index is due, for `pause` at least after a failure; `None` when the collection is closed.
    fn next_index(&self, pause: Duration) -> Option<usize> {
        let mut background = locked(&self.background);
        loop {
            if background.stopping || self.is_dropped() {
                return None;
            }
            let due = self.due_index();
            if due.is_none() {
                background.index_failed = None;
            }
            let failed_since = background.index_failed.as_ref().map(|(_, since)| since.elapsed());
            let rests = failed_since.is_some_and(|since| since < pause);
            if let Some(at) = due.filter(|_| !rests) {
                background.indexing = Some((at, Instant::now()));
                return Some(at);
            }
            background = super::maintain::wait(self, background, None);
        }
    }

    /// Whether nobody needs what is being built any more.
    fn is_closing(&self) -> bool {
        self.is_dropped() || locked(&self.background).stopping
    }

    /// Waits until no other index is being built.
    fn permit(&self) -> Option<std::sync::MutexGuard<'static, ()>> {
        loop {
            match BUILDING.try_lock() {
                Ok(permit) => return Some(permit),
                Err(TryLockError::Poisoned(permit)) => return Some(permit.into_inner()),
                Err(TryLockError::WouldBlock) if self.is_closing() => return None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The first name of vectors whose index is due.
    pub(super) fn due_index(&self) -> Option<usize> {
        let state = self.state();
        (0..self.schema.len()).find(|&at| is_due(&self.index_view(&state, at)))
    }

    pub(super) fn index_view(&self, state: &State, at: usize) -> IndexView {
        let can_have = self.schema.config(at).is_some_and(|config| config.metric.has_lists());
        let index = state.indexes.get(at).and_then(Option::as_ref);
        let (covered, last) = index.map_or((0, None), |index| (index.info.rows, Some(index.info.last)));
        let last = last.max(locked(&self.barren).get(&at).copied());
        let dead = index.map_or(0, |index| index.count_of(&state.dead));
        let rest = state.segments.iter().map(|segment| rest_of(state, segment, at, last)).sum();
        let least = if can_have { self.limits.index_rows } else { u64::MAX };
        IndexView { covered, live: covered - dead, rest, least }
    }

    /// Builds the index over all vectors of a name that are in segments.
    pub(crate) fn build_index(&self, at: usize) -> Result<(), WriteError> {
        let Some(config) = self.schema.config(at).copied() else { return Ok(()) };
        let (number, store_id, state) = {
            let mut files = locked(&self.files);
            // What died must be so after a crash, too: it is left out.
            locked(&self.writer).wal.sync().map_err(refused)?;
            let number = files.take_number();
            files.building.insert(number);
            (number, files.manifest.store_id, self.state())
        };
        let last = state.segments.last().map(|segment| segment.info.last);
        let built = self.build_files(&state, at, &config, (number, store_id));
        self.adopt_index(at, number, last, built)
    }

    /// Makes an index that was built the one that counts; `last` is the last row that was looked at.
    pub(super) fn adopt_index(
        &self,
        at: usize,
        number: u64,
        last: Option<RowId>,
        built: Result<Option<VectorIndex>, WriteError>,
    ) -> Result<(), WriteError> {
        let mut files = locked(&self.files);
        files.building.remove(&number);
        let adopted = built.and_then(|index| {
            locked(&self.barren).extend(last.filter(|_| index.is_none()).map(|last| (at, last)));
            let mut next = files.manifest.clone();
            next.indexes.retain(|other| other.at != at);
            next.indexes.extend(index.as_ref().map(|index| index.info.clone()));
            let replaced = files.manifest.indexes.iter().filter(|old| old.at == at);
            let old: Vec<String> = replaced.flat_map(VectorIndexInfo::files).collect();
            self.adopt(&mut files, next)?;
            self.change(|state| {
                state.indexes.resize(self.schema.len(), None);
                state.indexes[at] = index.map(Arc::new);
            });
            Ok(old)
        });
        match adopted {
            Ok(old) => {
                self.remove(&mut files, &old);
                Ok(())
            }
            Err(error) => {
                self.tidy(&mut files);
                Err(error)
            }
        }
    }

    /// Writes the files of an index and opens it; `None` without vectors.
    pub(super) fn build_files(
        &self,
        state: &Arc<State>,
        at: usize,
        config: &VectorConfig,
        (number, store_id): (u64, u64),
    ) -> Result<Option<VectorIndex>, WriteError> {
        let covered = covered(state, at);
        if covered.is_empty() {
            return Ok(None);
        }
        let name = format!("vectors {at} of {}", self.disk.root().display());
        let source = Source { name, state: Arc::clone(state), at, shape: config.shape(), covered: &covered };
        let options = BuildOptions {
            metric: config.metric,
            memory_bytes: self.limits.index_memory,
            threads: std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2),
            ..BuildOptions::default()
        };
        let options = BuildOptions { memory_bytes: enough(&source, &options)?, ..options };
        let part = Arc::new(PartDisk::new(Arc::clone(&self.disk), prefix(number, at)));
        nearline_index::build_on(part, &source, &options, &Closing { inner: self })?;
        let last = state.segments.last().map_or(RowId(0), |segment| segment.info.last);
        let info = finish(&self.disk, store_id, (number, at), &covered, last)?;
        Ok(Some(VectorIndex::open(&self.disk, store_id, info, self.limits.index_cache)?))
    }
}

/// The memory that a build is given: more than its share, if it cannot do with less.
fn enough(source: &Source<'_>, options: &BuildOptions<'_>) -> Result<u64, IndexError> {
    match nearline_index::plan(source, options) {
        Err(IndexError::Budget { needed, .. }) => Ok(needed),
        Err(error) => Err(error),
        Ok(_) => Ok(options.memory_bytes),
    }
}

/// Vectors of a segment behind the last row of an index that are not dead, at most.
pub(super) fn rest_of(state: &State, segment: &Segment, at: usize, last: Option<RowId>) -> u64 {
    let vectors = segment.vectors[at].as_ref().map_or(0, |vectors| vectors.rows());
    let first = last.map_or(0, |last| last.0.saturating_add(1)).max(segment.info.first.0);
    let end = segment.info.last.0;
    if vectors == 0 || first > end {
        return 0;
    }
    vectors.min(u64::from(end - first) + 1 - state.dead.range_cardinality(first..=end))
}

/// The rows that have such a vector and are not dead.
pub(super) fn covered(state: &State, at: usize) -> RoaringBitmap {
    let mut rows = RoaringBitmap::new();
    for vectors in state.segments.iter().filter_map(|segment| segment.vectors[at].as_ref()) {
        rows.extend(vectors.row_set().iter().map(|row| row.0));
    }
    rows -= &*state.dead;
    rows
}

/// The vectors of one name, as they were.
struct Source<'a> {
    name: String,
    state: Arc<State>,
    at: usize,
    shape: Shape,
    covered: &'a RoaringBitmap,
}

impl VectorSource for Source<'_> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn element(&self) -> nearline_index::ElementType {
        self.shape.element
    }

    fn dim(&self) -> usize {
        self.shape.dim
    }

    fn count(&self) -> u64 {
        self.covered.len()
    }

    fn rows(&self, from: u64) -> Result<Box<dyn RowStream + '_>, SourceError> {
        let from = u32::try_from(from).ok().and_then(|from| self.covered.select(from));
        let first = from.map_or(u32::MAX, |row| row);
        Ok(Box::new(Stream { source: self, first, segment: 0, slot: None }))
    }
}

/// A pass over them.
struct Stream<'a> {
    source: &'a Source<'a>,
    /// Rows before this one are passed over.
    first: u32,
    segment: usize,
    /// Where to go on in the segment.
    slot: Option<u64>,
}

impl RowStream for Stream<'_> {
    fn next_rows(&mut self, out: &mut [u8]) -> Result<usize, SourceError> {
        let row_bytes = self.source.shape.row_bytes();
        let (room, mut count) = (out.len() / row_bytes, 0);
        while count == 0 && room > 0 {
            let Some(segment) = self.source.state.segments.get(self.segment) else { break };
            let Some(vectors) =
                segment.vectors[self.source.at].as_ref().filter(|_| segment.info.last.0 >= self.first)
            else {
                (self.segment, self.slot) = (self.segment + 1, None);
                continue;
            };
            let slot = self.slot.unwrap_or_else(|| vectors.row_set().slots_before(RowId(self.first)).into());
            let mut next = None;
            let end = vectors.read(slot, READ.min(room), |row, vector| {
                if row.0 < self.first || !self.source.covered.contains(row.0) {
                    return;
                }
                if count < room {
                    out[count * row_bytes..][..row_bytes].copy_from_slice(vector);
                    count += 1;
                } else {
                    next.get_or_insert(row.0);
                }
            })?;
            self.slot = Some(end);
            match next {
                // What found no room is read again.
                Some(row) => (self.first, self.slot) = (row, None),
                None if end >= vectors.rows() => (self.segment, self.slot) = (self.segment + 1, None),
                None => {}
            }
        }
        Ok(count)
    }
}

/// Ends a build when its collection is closed or dropped.
struct Closing<'a> {
    inner: &'a Inner,
}

impl Progress for Closing<'_> {
    fn stage(&self, _: Stage, _: u64, _: u64) {}

    fn advance(&self, _: u64) {}

    fn cancelled(&self) -> bool {
        self.inner.is_closing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_chosen_from_a_description() {
        let view = |covered, live, rest| IndexView { covered, live, rest, least: 100 };
        let cases = [
            (view(0, 0, 0), false),
            (view(0, 0, 99), false),
            (view(0, 0, 100), true),
            (view(1_000, 1_000, 99), false),
            (view(1_000, 1_000, 100), true),
            (view(10_000, 10_000, 312), false),
            (view(10_000, 10_000, 313), true),
            (view(1_000, 500, 0), false),
            (view(1_000, 499, 0), true),
            (view(1_000, 99, 0), false),
            (IndexView { least: u64::MAX, ..view(0, 0, 1 << 40) }, false),
        ];
        for (view, right) in cases {
            assert_eq!(is_due(&view), right, "{view:?}");
        }
    }
}
