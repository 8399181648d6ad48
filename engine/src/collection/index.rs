//! Vector indexes: building them, adding to them, and writing them anew, in a thread of its own.
//!
//! What is to be done is decided from a description of the index alone.

mod choose;
mod source;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use nearline_index::{
    BuildOptions, FoldOptions, Grown, IndexError, Live, Progress, RowFiles, RowId, Stage, VectorSource, Widen,
};
use nearline_storage::Disk;

pub(super) use self::choose::IndexJob;
use self::choose::{IndexView, ListedView, choose_index};
pub(super) use self::source::covered;
use self::source::{READ, Source};
use super::calibrate::{measured_by, widen_of};
use super::flush::dead_points;
use super::write::refused;
use super::{Collection, Inner, locked};
use crate::error::WriteError;
use crate::questions::Questions;
use crate::schema::VectorConfig;
use crate::segment::Segment;
use crate::state::State;
use crate::vector_index::{Listed, VectorIndex, VectorIndexInfo, listed, open_rows, part};

/// How long after a failure it is tried again, at first and at most: each time after twice as long.
const RETRY: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(3_600);
/// Writers wait when more than one in so many of the vectors that make an index worth it is in no list: every query reads
/// and compares those.
const REST_SHARE: u64 = 4;
/// For how long a call waits at most.
const WAIT_MOST: Duration = Duration::from_secs(2);

/// How widely an index must be searched is measured anew when it has so many times as many vectors, or as few, or when one
/// vector in so many was added since, by about so many queries.
const MEASURED: f64 = 1.5;
const MEASURED_SHARE: u64 = 4;
const MEASURED_BY: u64 = 200;
/// One with so many times as many vectors as when it was last measured is growing: that is done often then, and lists wait for it,
/// so it is done roughly, by fewer queries.
const GROWING: f64 = 1.1;
const GROWING_BY: u64 = 64;

/// Rows that stand in for queries when an index is built.
const CALIBRATION_ROWS: u64 = 200;

/// One index is built at a time in the process: memory and processors are its, whatever collection it is for.
static BUILDING: Mutex<()> = Mutex::new(());
/// Vectors added at a time.
const ADD: usize = 4_096;

/// Does what there is to do about indexes, until the collection is closed.
pub(super) fn start(inner: Arc<Inner>) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("nearline-index".to_owned()).spawn(move || {
        nearline_storage::work_in_background();
        let mut pause = RETRY;
        while let Some((at, job)) = inner.next_index(pause) {
            let permit = inner.permit();
            // Adding to lists takes little memory; writing them takes what codes had.
            inner.writes_lists.store(job != IndexJob::Add, Ordering::Release);
            let done = if inner.is_closing() { Ok(()) } else { inner.run_contained(at, job) };
            inner.writes_lists.store(false, Ordering::Release);
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
        while let Some((at, job)) = inner.due_index(Duration::MAX).filter(|_| !inner.has_background) {
            let _permit = inner.permit();
            inner.run_index(at, job)?;
        }
        Ok(())
    }
}

impl Inner {
    /// Waits until there is something to do, for `pause` at least after a failure; `None` when the collection is closed.
    fn next_index(&self, pause: Duration) -> Option<(usize, IndexJob)> {
        let mut background = locked(&self.background);
        loop {
            if background.stopping || self.is_dropped() {
                return None;
            }
            let quiet = background.grown.filter(|_| !self.is_awaited());
            let due = self.due_index(quiet.map_or(Duration::MAX, |grown| grown.elapsed()));
            if due.is_none() {
                background.index_failed = None;
            }
            let failed_since = background.index_failed.as_ref().map(|(_, since)| since.elapsed());
            let rests = failed_since.is_some_and(|since| since < pause);
            if let Some((at, job)) = due.filter(|_| !rests) {
                background.indexing = Some((at, Instant::now()));
                return Some((at, job));
            }
            background = super::maintain::wait(self, background, None);
        }
    }

    /// Whether nobody needs what is being built any more.
    pub(super) fn is_closing(&self) -> bool {
        self.is_dropped() || locked(&self.background).stopping
    }

    /// Waits until no other index is being built.
    pub(super) fn permit(&self) -> Option<std::sync::MutexGuard<'static, ()>> {
        loop {
            match BUILDING.try_lock() {
                Ok(permit) => return Some(permit),
                Err(TryLockError::Poisoned(permit)) => return Some(permit.into_inner()),
                Err(TryLockError::WouldBlock) if self.is_closing() => return None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The first name of vectors about whose index there is something to do, when nothing was added for so long. Those that
    /// are only to become better come last.
    pub(super) fn due_index(&self, quiet: Duration) -> Option<(usize, IndexJob)> {
        let state = self.state();
        let due = |at| {
            let view = IndexView { quiet, ..self.index_view(&state, at) };
            choose_index(&view).map(|job| (at, job))
        };
        (0..self.schema.len()).filter_map(due).min_by_key(|&(at, job)| (job == IndexJob::Rebuild, at))
    }

    pub(super) fn index_view(&self, state: &State, at: usize) -> IndexView {
        let can_have = self.schema.config(at).is_some_and(|config| config.metric.has_lists());
        let listed = state.indexes.get(at).and_then(Option::as_ref);
        let last = listed.map(|listed| listed.last).max(locked(&self.barren).get(&at).copied());
        let rest = state.segments.iter().map(|segment| rest_of(state, segment, at, last)).sum();
        let least = if can_have { self.limits.index_rows } else { u64::MAX };
        let view = |listed: &Listed| ListedView {
            rows: listed.index.info.rows,
            added: listed.live.delta.rows(),
            live: live_in_lists(state, listed),
            built: listed.index.info.built_rows,
            bytes: listed.live.delta.bytes(),
            bytes_most: self.limits.index_added,
            widen: listed.live.widen.over(&listed.index.info.built_widen),
            is_outgrown: locked(&self.outgrown).contains(&at),
        };
        IndexView { listed: listed.map(view), rest, least, quiet: Duration::ZERO }
    }

    /// Makes writers wait, for a while at most, as long as very many vectors are in no list and the background is at it: every
    /// query compares them.
    pub(super) fn wait_for_lists(&self) {
        if !self.has_background {
            return;
        }
        let since = Instant::now();
        while self.is_behind() && since.elapsed() < WAIT_MOST {
            let background = locked(&self.background);
            // Where it fails, waiting does not help.
            if background.stopping || background.index_failed.is_some() {
                return;
            }
            drop(super::maintain::wait(self, background, None));
        }
    }

    fn is_behind(&self) -> bool {
        let state = self.state();
        (0..self.schema.len()).any(|at| {
            let IndexView { listed, rest, least, .. } = self.index_view(&state, at);
            rest > if listed.is_some() { least / REST_SHARE } else { least }
        })
    }

    /// As [`Inner::run_index`], where a panic is an error like others: somebody may be waiting.
    fn run_contained(&self, at: usize, job: IndexJob) -> Result<(), WriteError> {
        // What is shared is replaced as a whole, and what was half written has a number that is not used again.
        let done = std::panic::catch_unwind(AssertUnwindSafe(|| self.run_index(at, job)));
        done.unwrap_or(Err(WriteError::Panicked { what: "writing a vector index" }))
    }

    /// Does something about the index of a name.
    pub(crate) fn run_index(&self, at: usize, job: IndexJob) -> Result<(), WriteError> {
        match job {
            IndexJob::Build => self.build_index(at),
            IndexJob::Rebuild => self.rebuild_index(at),
            IndexJob::Add => self.add_to_index(at),
            IndexJob::Fold => self.fold_index(at),
        }
    }

    /// Takes a number for an index that is going to be written, and the state that goes into it.
    fn begin_index(&self) -> Result<(u64, Arc<State>), WriteError> {
        let mut files = locked(&self.files);
        // What died must be so after a crash, too: it is left out.
        let mut writer = locked(&self.writer);
        writer.wal.sync().map_err(refused)?;
        let state = self.state();
        drop(writer);
        let number = files.take_number();
        files.building.insert(number);
        Ok((number, state))
    }

    /// Builds the index over all vectors of a name that are in segments.
    pub(crate) fn build_index(&self, at: usize) -> Result<(), WriteError> {
        self.build_unless(at, &|| self.is_closing())
    }

    /// The same, unless so much is written meanwhile that adding that to lists is of more use.
    fn rebuild_index(&self, at: usize) -> Result<(), WriteError> {
        let gives_way = || !self.is_awaited() && self.is_behind();
        let built = self.build_unless(at, &|| self.is_closing() || gives_way());
        let is_given_up = built.as_ref().is_err_and(WriteError::is_interrupted) && !self.is_closing();
        if is_given_up { Ok(()) } else { built }
    }

    fn build_unless(&self, at: usize, is_cancelled: &(dyn Fn() -> bool + Sync)) -> Result<(), WriteError> {
        let Some(config) = self.schema.config(at).copied() else { return Ok(()) };
        let (number, state) = self.begin_index()?;
        let last = state.segments.last().map(|segment| segment.info.last);
        let built = self.build_files((&state, at), &config, number, is_cancelled);
        self.adopt_index((at, number), None, last, built)
    }

    /// Writes the index of a name with what was added to it, and without what is dead.
    fn fold_index(&self, at: usize) -> Result<(), WriteError> {
        let (number, state) = self.begin_index()?;
        let old = state.indexes.get(at).and_then(Option::as_ref).map(|old| old.index.info.number);
        let folded = match state.indexes.get(at).and_then(Option::as_ref) {
            Some(old) => self.fold_files(&state, old, number),
            None => Ok(None),
        };
        self.adopt_index((at, number), old, None, folded)
    }

    fn fold_files(
        &self,
        state: &Arc<State>,
        old: &Listed,
        number: u64,
    ) -> Result<Option<VectorIndex>, WriteError> {
        let info = &old.index.info;
        let disk: Arc<dyn Disk> = Arc::new(part(&self.disk, number, info.at));
        let options = FoldOptions {
            is_dead: &|row| state.is_dead(row),
            identity: number ^ locked(&self.files).manifest.store_id,
            memory_bytes: self.limits.index_added,
            is_cancelled: &|| self.is_closing(),
        };
        let report = nearline_index::fold(&old.index.index, &old.live, &disk, &options)?;
        if report.rows == 0 {
            return Ok(None);
        }
        let info = VectorIndexInfo { number, rows: report.rows, last: old.last, ..info.clone() };
        let info = listed(&self.disk, info).map_err(refused)?;
        let mut new = VectorIndex::open(&self.disk, info, self.limits.index_cache)?;
        new.unmeasured = old.index.unmeasured.saturating_add(old.live.delta.rows());
        Ok(Some(self.measured(state, old, new)?))
    }

    /// An index that was folded, with what is known of how widely it must be searched; found out anew if it is much larger
    /// or smaller than when it was last, or has many other vectors.
    fn measured(
        &self,
        state: &Arc<State>,
        old: &Listed,
        mut new: VectorIndex,
    ) -> Result<VectorIndex, WriteError> {
        let (rows, measured) = (new.info.rows as f64, new.info.measured_rows.max(1) as f64);
        let is_alike = (1.0 / MEASURED..MEASURED).contains(&(rows / measured));
        if is_alike && new.unmeasured * MEASURED_SHARE < new.info.rows {
            return Ok(new);
        }
        if let Some(questions) = self.questions(new.info.at) {
            return self.asked(new, &questions, &|| self.is_closing());
        }
        let is_growing = rows / measured > GROWING;
        let info = &new.info;
        let mut queries = Vec::new();
        for segment in state.segments.iter().filter(|segment| segment.info.first <= info.last) {
            let Some(flat) = &segment.vectors[info.at] else { continue };
            let by = if is_growing { GROWING_BY } else { MEASURED_BY };
            let step = (info.rows / by).max(1) as usize;
            for row in
                flat.row_set().iter().step_by(step).filter(|row| *row <= info.last && !state.is_dead(*row))
            {
                queries.extend(flat.get(row)?.map(|vector| (row, vector)));
            }
        }
        let live = new.live(Arc::clone(&old.live.rows));
        let is_dead = |row| state.is_dead(row);
        new.info.widen = nearline_index::measure(&new.index, &live, &queries, is_growing, &is_dead, &|| {
            self.is_closing()
        })?;
        new.info.measured_rows = new.info.rows;
        new.unmeasured = 0;
        Ok(new)
    }

    /// An index that was written, with what the questions say of how widely it must be searched.
    fn asked(
        &self,
        mut new: VectorIndex,
        questions: &Questions,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<VectorIndex, WriteError> {
        let (state, rows) = self.rows_now(new.info.at)?;
        let listed = Listed::new(new.known_as(new.info.clone()), rows);
        let measured = measured_by(&state, &listed, questions, is_cancelled)?;
        new.info.widen = widen_of(&measured, new.info.widen);
        new.info.measured_rows = new.info.rows;
        new.unmeasured = 0;
        Ok(new)
    }

    /// The newest state, and the files of the vectors of a name in it, open.
    fn rows_now(&self, at: usize) -> Result<(Arc<State>, Arc<RowFiles>), IndexError> {
        loop {
            let state = self.state();
            let listed = state.indexes.get(at).and_then(Option::as_ref);
            if let Some(listed) = listed.filter(|listed| listed.is_over(&state.segments)) {
                let rows = Arc::clone(&listed.live.rows);
                return Ok((state, rows));
            }
            match open_rows(self.disk.as_ref(), &state.segments, at) {
                // They were merged meanwhile.
                Err(_) if !is_same(&self.state().segments, &state.segments) => {}
                opened => return Ok((state, opened?)),
            }
        }
    }

    /// Adds the vectors that lists lack, some at a time.
    fn add_to_index(&self, at: usize) -> Result<(), WriteError> {
        loop {
            let state = self.state();
            let Some(listed) = state.indexes.get(at).and_then(Option::as_ref) else { return Ok(()) };
            let Some(next) = self.added(listed)? else { return Ok(()) };
            let number = listed.index.info.number;
            self.change(|state| {
                if let Some(listed) = state.indexes.get_mut(at).and_then(Option::as_mut)
                    && listed.index.info.number == number
                {
                    // It may have been calibrated meanwhile.
                    listed.live = Live { widen: listed.live.widen, ..next.live.clone() };
                    listed.last = next.last;
                }
            });
            self.changed.notify_all();
            if self.is_closing() || next.live.delta.bytes() >= self.limits.index_added {
                return Ok(());
            }
        }
    }

    /// An index with some of the vectors that it lacks. `None` if there are none, or if it cannot take them.
    fn added(&self, old: &Listed) -> Result<Option<Listed>, WriteError> {
        let (state, files) = self.rows_now(old.index.info.at)?;
        let mut new = old.clone();
        new.live.rows = files;
        let at = old.index.info.at;
        let (mut rows, mut vectors) = (Vec::new(), Vec::new());
        let mut last = old.last;
        for segment in state.segments.iter().filter(|segment| segment.info.last > old.last) {
            if let Some(flat) = &segment.vectors[at] {
                let mut slot = flat.slot_after(old.last);
                while slot < flat.rows() && rows.len() < ADD {
                    slot = flat.read(slot, READ, |row, vector| {
                        last = last.max(row);
                        if row > old.last && !state.is_dead(row) {
                            rows.push(row);
                            vectors.extend_from_slice(vector);
                        }
                    })?;
                }
                if slot < flat.rows() {
                    break;
                }
            }
            last = segment.info.last;
        }
        if last == old.last {
            return Ok(None);
        }
        match old.live.delta.grow(&old.index.index, &rows, &vectors) {
            Grown::Added(delta) => Ok(Some(new.with(delta, last))),
            Grown::Outgrown => {
                locked(&self.outgrown).insert(at);
                Ok(None)
            }
        }
    }

    /// Makes an index that was written the one that counts; `last` is the last row that was looked at if there is none. One that
    /// was made of another counts only if that still does.
    pub(super) fn adopt_index(
        &self,
        (at, number): (usize, u64),
        made_of: Option<u64>,
        last: Option<RowId>,
        built: Result<Option<VectorIndex>, WriteError>,
    ) -> Result<(), WriteError> {
        let caught_up = built.and_then(|index| index.map(|index| self.catch_up(index)).transpose());
        let mut files = locked(&self.files);
        files.building.remove(&number);
        let is_there = |of: u64| files.manifest.indexes.iter().any(|index| index.number == of);
        if made_of.is_some_and(|of| !is_there(of)) {
            self.tidy(&mut files);
            return Ok(());
        }
        let adopted = caught_up.and_then(|new| {
            locked(&self.barren).extend(last.filter(|_| new.is_none()).map(|last| (at, last)));
            let mut next = files.manifest.clone();
            next.indexes.retain(|other| other.at != at);
            next.indexes.extend(new.as_ref().map(|new| new.index.info.clone()));
            let replaced = files.manifest.indexes.iter().filter(|old| old.at == at);
            let old: Vec<String> = replaced.flat_map(VectorIndexInfo::files).collect();
            self.adopt(&mut files, next)?;
            locked(&self.outgrown).remove(&at);
            self.change(|state| {
                state.indexes.resize(self.schema.len(), None);
                state.indexes[at] = new;
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

    /// Adds to an index what came while it was written, so that queries need not compare all of that.
    fn catch_up(&self, index: VectorIndex) -> Result<Listed, WriteError> {
        let at = index.info.at;
        let mut new = Listed::new(index, self.rows_now(at)?.1);
        loop {
            let state = self.state();
            let behind = |segment: &Arc<Segment>| rest_of(&state, segment, at, Some(new.last));
            let rest: u64 = state.segments.iter().map(behind).sum();
            if rest <= ADD as u64 || new.live.delta.bytes() >= self.limits.index_added || self.is_closing() {
                return Ok(new);
            }
            match self.added(&new)? {
                Some(next) => new = next,
                None => return Ok(new),
            }
        }
    }

    /// Writes the files of an index and opens it; `None` without vectors.
    pub(super) fn build_files(
        &self,
        (state, at): (&Arc<State>, usize),
        config: &VectorConfig,
        number: u64,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<VectorIndex>, WriteError> {
        let covered = covered(state, at);
        if covered.is_empty() {
            return Ok(None);
        }
        let name = format!("vectors {at} of {}", self.disk.root().display());
        let source = Source { name, state: Arc::clone(state), at, shape: config.shape(), covered: &covered };
        let questions = self.questions(at);
        let asked = questions.as_ref().map(Questions::source).transpose()?;
        let options = BuildOptions {
            metric: config.metric,
            rows_outside: true,
            calibration_queries: asked.as_ref().map(|asked| asked as &dyn VectorSource),
            calibration_rows: CALIBRATION_ROWS,
            memory_bytes: self.limits.index_memory,
            threads: std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2),
            ..BuildOptions::default()
        };
        let options = BuildOptions { memory_bytes: enough(&source, &options)?, ..options };
        let disk = Arc::new(part(&self.disk, number, at));
        let report = nearline_index::build_on(disk, &source, &options, &Unless { is_cancelled })?;
        let info = VectorIndexInfo {
            number,
            at,
            rows: report.rows,
            last: state.segments.last().map_or(RowId(0), |segment| segment.info.last),
            built_rows: report.rows,
            measured_rows: report.rows,
            widen: Widen::NONE,
            built_widen: Widen::NONE,
            bytes: 0,
            names: Vec::new(),
        };
        let info = listed(&self.disk, info).map_err(refused)?;
        let mut built = VectorIndex::open(&self.disk, info, self.limits.index_cache)?;
        built.unmeasured = 0;
        if let Some(questions) = &questions {
            built = self.asked(built, questions, is_cancelled)?;
            built.info.built_widen = built.info.widen;
        }
        Ok(Some(built))
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
    let Some(vectors) = &segment.vectors[at] else { return 0 };
    let behind = vectors.rows() - last.map_or(0, |last| vectors.slot_after(last));
    let first = last.map_or(0, |last| last.0.saturating_add(1)).max(segment.info.first.0);
    let end = segment.info.last.0;
    if behind == 0 || first > end {
        return 0;
    }
    behind.min(u64::from(end - first) + 1 - state.dead.range_cardinality(first..=end))
}

/// Whether these are the same segments.
fn is_same(some: &[Arc<Segment>], others: &[Arc<Segment>]) -> bool {
    some.iter().map(Arc::as_ptr).eq(others.iter().map(Arc::as_ptr))
}

/// Vectors in lists that are not dead, about: at most so many.
pub(super) fn live_in_lists(state: &State, listed: &Listed) -> u64 {
    let at = listed.index.info.at;
    let all = state.segments.iter().filter(|segment| segment.info.first <= listed.last).map(|segment| {
        let vectors = segment.vectors[at].as_ref().map_or(0, |vectors| vectors.slot_after(listed.last));
        vectors.min(segment.info.points.saturating_sub(dead_points(&segment.info, state)))
    });
    all.sum::<u64>().min(listed.rows())
}

/// Ends a build when nobody needs it any more.
struct Unless<'a> {
    is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Progress for Unless<'_> {
    fn stage(&self, _: Stage, _: u64, _: u64) {}

    fn advance(&self, _: u64) {}

    fn cancelled(&self) -> bool {
        (self.is_cancelled)()
    }
}
