//! What happens in the background: flushing, merging, building field indexes, giving codes to segments.
//!
//! What is to be done is decided from a description of the collection alone; doing it is a separate matter.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::codes::Uncoded;
use super::flush::dead_points;
use super::index::live_in_lists;
use super::{Collection, Inner, locked};
use crate::error::WriteError;
use crate::live_tier::LiveTierState;

/// While points are written, segments side by side are merged when so many are about as large: within this factor.
const FAN: u64 = 4;
/// When none are, two are when the older is not so many times as large as the newer.
const GROWTH: u64 = 3;
/// A segment is rewritten when more than one in so many of its points is dead.
const DEAD_SHARE: u64 = 8;
/// Points in memory that are flushed when nothing was written for a while: every query compares them.
const RESTING: usize = 1_024;
/// How long that is.
const REST: Duration = Duration::from_secs(2);
/// How long after a failure the background tries again by itself.
const RETRY: Duration = Duration::from_secs(1);

/// Something to do in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Job {
    /// Points in memory go into a segment.
    Flush,
    /// So many segments become one, from this one on, without the points that died.
    Merge {
        /// The first, counted from the oldest.
        first: usize,
        /// How many.
        count: usize,
    },
    /// A segment gets the files of field indexes that it lacks.
    Index {
        /// The segment, counted from the oldest.
        segment: usize,
    },
    /// Codes of a segment's vectors come into memory, for filters, or leave it for writers.
    Codes {
        /// The segment, counted from the oldest.
        segment: usize,
    },
}

/// A collection as the choice of jobs sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Bytes of points in memory, and at which they are flushed.
    pub(crate) delta_bytes: usize,
    pub(crate) flush_bytes: usize,
    /// Bytes of calls in the log, and at which they are flushed, too.
    pub(crate) logged: u64,
    pub(crate) log_bytes: u64,
    /// Points of each segment, oldest first, and how many of them are dead.
    pub(crate) segments: Vec<(u64, u64)>,
    /// Whether nothing was written for a while.
    pub(crate) is_resting: bool,
    /// Points in memory.
    pub(crate) in_memory: usize,
    /// The first segment that lacks a file of a field index.
    pub(crate) unindexed: Option<usize>,
    /// The first segment that is to get codes.
    pub(crate) uncoded: Option<Uncoded>,
}

/// The next thing to do, if any.
pub(crate) fn choose(view: &View) -> Option<Job> {
    if let Some(Uncoded { segment, is_less: true, .. }) = view.uncoded {
        return Some(Job::Codes { segment });
    }
    let rests = view.is_resting && view.in_memory >= RESTING;
    if view.delta_bytes >= view.flush_bytes || view.logged >= view.log_bytes || rests {
        return Some(Job::Flush);
    }
    let live: Vec<u64> = view.segments.iter().map(|(points, dead)| points - dead).collect();
    if let Some(job) = if view.is_resting { alike_pair(&live) } else { alike(&live) } {
        return Some(job);
    }
    // What is merged gets its files then.
    if let Some(segment) = view.unindexed {
        return Some(Job::Index { segment });
    }
    let decayed = view.segments.iter().position(|&(points, dead)| dead * DEAD_SHARE > points);
    if let Some(first) = decayed {
        return Some(Job::Merge { first, count: 1 });
    }
    let uncoded = view.uncoded.filter(|uncoded| uncoded.is_large || view.is_resting);
    uncoded.map(|Uncoded { segment, .. }| Job::Codes { segment })
}

/// The newest run of `FAN` segments that are about as large, or older and smaller: each point is written once for each power
/// of `FAN`.
fn alike(live: &[u64]) -> Option<Job> {
    let mut run = (0, 0);
    for (at, points) in live.iter().enumerate().rev() {
        let size = points.max(&1).ilog(FAN);
        run = if size > run.0 { (size, 1) } else { (run.0, run.1 + 1) };
        let is_last = at == 0 || live[at - 1].max(1).ilog(FAN) > run.0;
        if is_last && run.1 >= FAN as usize {
            return Some(Job::Merge { first: at, count: run.1 });
        }
    }
    None
}

/// The newest two of which the older is not much larger.
fn alike_pair(live: &[u64]) -> Option<Job> {
    let pair = (1..live.len()).rev().find(|&at| live[at - 1] < GROWTH * live[at].max(1));
    pair.map(|at| Job::Merge { first: at - 1, count: 2 })
}

/// What a collection is, and what its background is doing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Points.
    pub points: u64,
    /// Points in memory, the log's part of them not yet in segments; those that died since among them.
    pub points_in_memory: u64,
    /// About how many bytes of memory those take.
    pub delta_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Points in segments that are replaced or deleted and still take space.
    pub dead_points: u64,
    /// Bytes of all segments and vector indexes, but for codes of vectors.
    pub disk_bytes: u64,
    /// Bytes of the log.
    pub wal_bytes: u64,
    /// Bytes of memory that open segments and vector indexes take, caches left out.
    pub ram_bytes: u64,
    /// The last write.
    pub lsn: u64,
    /// The last write that is in segments.
    pub flushed_lsn: u64,
    /// What is to be done next in the background.
    pub pending: Option<Job>,
    /// What is being done, and for how many microseconds.
    pub running: Option<(Job, u64)>,
    /// Jobs done since the collection was opened.
    pub jobs_done: u64,
    /// Vector indexes.
    pub indexes: u64,
    /// Vectors that are in them and not dead.
    pub indexed: u64,
    /// Vectors in segments that no index has yet, dead ones among them: they are compared one by one.
    pub not_indexed: u64,
    /// For how many microseconds a vector index has been under way, if one is being built.
    pub indexing: Option<u64>,
    /// What the live tier is doing.
    pub live_tier: LiveTierState,
    /// Why the last job failed; it is tried again.
    pub failure: Option<String>,
}

impl Collection {
    /// What the collection is, and what its background is doing.
    pub fn stats(&self) -> Stats {
        let inner = &self.shared.inner;
        let state = inner.state();
        let (wal_bytes, background) = (locked(&inner.writer).wal.bytes(), locked(&inner.background));
        Stats {
            points: state.live,
            points_in_memory: state.in_memory_len() as u64,
            delta_bytes: state.delta_bytes() as u64,
            segments: state.segments.len() as u64,
            dead_points: state.segments.iter().map(|segment| dead_points(&segment.info, &state)).sum(),
            disk_bytes: state.segments.iter().map(|segment| segment.info.disk_bytes()).sum::<u64>()
                + state.indexes.iter().flatten().map(|listed| listed.index.info.bytes).sum::<u64>(),
            wal_bytes,
            ram_bytes: state.segments.iter().map(|segment| segment.ram_bytes() as u64).sum::<u64>()
                + state.indexes.iter().flatten().map(|listed| listed.ram_bytes()).sum::<u64>(),
            lsn: state.lsn,
            flushed_lsn: state.flushed_lsn,
            pending: choose(&inner.view()),
            running: background.running.map(|(job, since)| (job, since.elapsed().as_micros() as u64)),
            jobs_done: background.jobs_done,
            indexes: state.indexes.iter().flatten().count() as u64,
            indexed: state.indexes.iter().flatten().map(|listed| live_in_lists(&state, listed)).sum(),
            not_indexed: (0..inner.schema.len()).map(|at| inner.index_view(&state, at).rest).sum(),
            indexing: background.indexing.map(|(_, since)| since.elapsed().as_micros() as u64),
            live_tier: inner.tier_state(),
            failure: background
                .failed
                .as_ref()
                .or(background.index_failed.as_ref().map(|(error, _)| error))
                .map(ToString::to_string),
        }
    }

    /// Waits until there is nothing to be done in the background.
    ///
    /// # Errors
    /// Why the last job failed, if one did.
    pub fn wait_idle(&self) -> Result<(), WriteError> {
        let inner = &self.shared.inner;
        if !inner.has_background {
            return Ok(());
        }
        inner.waiting.fetch_add(1, Ordering::AcqRel);
        let done = self.wait_until_idle();
        inner.waiting.fetch_sub(1, Ordering::AcqRel);
        done
    }

    /// Whether there is nothing to be done in the background, nor anything that failed: whether [`Collection::wait_idle`] would
    /// return at once. Points that are flushed only because nobody writes any more count as something to be done.
    pub fn is_idle(&self) -> bool {
        let inner = &self.shared.inner;
        let background = locked(&inner.background);
        let has_failed = background.failed.is_some() || background.index_failed.is_some();
        !has_failed && (!inner.has_background || inner.is_done(&background))
    }

    fn wait_until_idle(&self) -> Result<(), WriteError> {
        let inner = &self.shared.inner;
        let mut background = locked(&inner.background);
        loop {
            if let Some(error) = &background.failed {
                return Err(error.clone());
            }
            if let (Some((error, _)), None) = (&background.index_failed, background.indexing) {
                return Err(error.clone());
            }
            if background.stopping || inner.is_done(&background) {
                return Ok(());
            }
            background = wait(inner, background, None);
        }
    }
}

/// Starts the background of a collection.
pub(super) fn start(inner: Arc<Inner>) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("nearline-merge".to_owned()).spawn(move || {
        nearline_storage::work_in_background();
        while inner.next_work() {
            inner.work();
        }
    })
}

impl Inner {
    pub(super) fn view(&self) -> View {
        let state = self.state();
        View {
            delta_bytes: state.delta_bytes(),
            flush_bytes: self.limits.flush_bytes,
            logged: state.logged,
            log_bytes: self.limits.log_bytes,
            segments: state
                .segments
                .iter()
                .map(|segment| {
                    (segment.info.points, dead_points(&segment.info, &state).min(segment.info.points))
                })
                .collect(),
            is_resting: self.is_resting(),
            in_memory: state.in_memory_len(),
            unindexed: state.segments.iter().position(|segment| !state.missing_fields(segment).is_empty()),
            uncoded: self.uncoded(&state, self.is_tight(&state)),
        }
    }

    /// Whether somebody waits until there is nothing to do.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Whether nothing is done in the background, and nothing will be unless something is written.
    fn is_done(&self, background: &super::Background) -> bool {
        let uncoded = self.uncoded(&self.state(), false);
        let resting = View { is_resting: true, uncoded, ..self.view() };
        background.running.is_none()
            && background.indexing.is_none()
            && choose(&resting).is_none()
            && self.due_index(Duration::MAX).is_none()
    }

    /// Whether nothing was written for a while, or somebody waits as if it were so.
    pub(super) fn is_resting(&self) -> bool {
        let is_fresh = locked(&self.written).is_some_and(|written| written.elapsed() < REST);
        !is_fresh || self.is_awaited()
    }

    /// Waits for something to do. Says whether to go on.
    fn next_work(&self) -> bool {
        let mut background = locked(&self.background);
        while !background.stopping && !background.has_work {
            let retry = background.failed.as_ref().map(|_| RETRY);
            background = wait(self, background, retry);
            background.has_work |=
                background.failed.is_some() || (self.is_resting() && choose(&self.view()).is_some());
        }
        background.has_work = false;
        !background.stopping
    }

    /// Does all there is to do, one job after another.
    fn work(&self) {
        loop {
            let job = choose(&self.view());
            let mut background = locked(&self.background);
            let Some(job) = job.filter(|_| !background.stopping) else {
                background.running = None;
                background.failed = None;
                break;
            };
            background.running = Some((job, Instant::now()));
            drop(background);
            let done = self.run(job);
            let mut background = locked(&self.background);
            background.jobs_done += 1;
            background.failed = done.err();
            if background.failed.is_some() {
                background.running = None;
                break;
            }
            drop(background);
            self.changed.notify_all();
        }
        self.changed.notify_all();
    }

    pub(crate) fn run(&self, job: Job) -> Result<(), WriteError> {
        match job {
            Job::Flush => self.flush(),
            Job::Merge { first, count } => self.merge(first, count),
            Job::Index { segment } => self.build_fields(segment),
            Job::Codes { segment } => self.give_codes(segment),
        }
    }

    /// Makes writers wait while too many points are in memory and the background is at it, or flush them themselves.
    pub(super) fn wait_for_room(&self) -> Result<(), WriteError> {
        let state = self.state();
        let (delta_bytes, logged) = (state.delta_bytes(), state.logged);
        drop(state);
        if !self.has_background {
            // The log is bounded, too, where nobody looks after it but the writers.
            let is_full = delta_bytes >= self.limits.delta_bytes || logged >= self.limits.log_bytes;
            return if is_full { self.flush() } else { Ok(()) };
        }
        if delta_bytes < self.limits.delta_bytes {
            return Ok(());
        }
        self.wake();
        let mut background = locked(&self.background);
        // Nor does what a job says that has begun already.
        let done_before = background.jobs_done + u64::from(background.running.is_some());
        while self.state().delta_bytes() >= self.limits.delta_bytes && !background.stopping {
            // What failed before says nothing: there may be space by now.
            if let (Some(error), true) = (&background.failed, background.jobs_done > done_before) {
                return Err(error.clone());
            }
            background = wait(self, background, None);
        }
        Ok(())
    }
}

pub(super) fn wait<'a>(
    inner: &Inner,
    background: std::sync::MutexGuard<'a, super::Background>,
    most: Option<Duration>,
) -> std::sync::MutexGuard<'a, super::Background> {
    // Looks again now and then in any case: a wake-up that was missed costs that long, no more.
    let most = most.unwrap_or(Duration::from_millis(200));
    match inner.changed.wait_timeout(background, most) {
        Ok((background, _)) => background,
        Err(poisoned) => poisoned.into_inner().0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_chosen_from_a_description() {
        let view = |delta_bytes, segments: &[(u64, u64)]| View {
            delta_bytes,
            flush_bytes: 100,
            logged: 0,
            log_bytes: 500,
            segments: segments.to_vec(),
            is_resting: false,
            in_memory: 10_000,
            unindexed: None,
            uncoded: None,
        };
        let resting = |view: View| View { is_resting: true, in_memory: 0, ..view };
        let merge = |first, count| Some(Job::Merge { first, count });
        let whole = |sizes: &[u64]| view(0, &sizes.iter().map(|size| (*size, 0)).collect::<Vec<_>>());
        let cases = [
            (view(0, &[]), None),
            (view(99, &[]), None),
            (view(100, &[]), Some(Job::Flush)),
            (view(0, &[(10, 0)]), None),
            (view(0, &[(10, 1)]), None),
            (view(0, &[(10, 2)]), merge(0, 1)),
            (view(0, &[(5, 5)]), merge(0, 1)),
            (view(0, &[(16, 0), (16, 0), (90, 70), (16, 0)]), merge(0, 4)),
            (view(0, &[(900, 200), (90, 0), (10, 0)]), merge(0, 1)),
            (whole(&[63, 63, 16]), None),
            (whole(&[63, 63, 16, 16]), merge(0, 4)),
            (whole(&[64, 63, 16, 16]), None),
            (whole(&[64, 16, 16, 16, 16]), merge(1, 4)),
            (whole(&[64, 64, 64, 16, 16, 16, 16]), merge(3, 4)),
            (whole(&[64, 1, 64, 16]), None),
            (whole(&[64, 1, 64, 64, 16]), merge(0, 4)),
            (whole(&[64, 1, 64, 64, 64, 16]), merge(0, 5)),
            (whole(&[900, 16, 1, 1, 17]), merge(1, 4)),
        ];
        let at_rest = [
            (whole(&[10, 10]), merge(0, 2)),
            (whole(&[30, 10]), None),
            (whole(&[29, 10]), merge(0, 2)),
            (whole(&[900, 90, 10, 5]), merge(2, 2)),
            (view(0, &[(900, 0), (90, 70), (10, 0)]), merge(1, 2)),
            (view(0, &[(900, 200), (90, 0), (10, 0)]), merge(0, 1)),
        ];
        let logged = View { logged: 500, ..whole(&[10, 10]) };
        assert_eq!(choose(&logged), Some(Job::Flush));
        let few = |in_memory| View { in_memory, ..resting(view(1, &[])) };
        assert_eq!((choose(&few(1_023)), choose(&few(1_024))), (None, Some(Job::Flush)));
        let unindexed = |view| View { unindexed: Some(1), ..view };
        assert_eq!(choose(&unindexed(view(100, &[]))), Some(Job::Flush));
        assert_eq!(choose(&unindexed(resting(whole(&[10, 10])))), merge(0, 2));
        assert_eq!(choose(&unindexed(view(0, &[(40, 9), (10, 0)]))), Some(Job::Index { segment: 1 }));
        let uncoded = |is_large, is_less, view| {
            let uncoded = Some(Uncoded { segment: 1, is_large, is_less });
            View { uncoded, ..view }
        };
        let codes = Some(Job::Codes { segment: 1 });
        assert_eq!(choose(&uncoded(false, false, whole(&[90, 10]))), None);
        assert_eq!(choose(&uncoded(true, false, whole(&[90, 10]))), codes);
        assert_eq!(choose(&uncoded(false, false, resting(whole(&[90, 10])))), codes);
        assert_eq!(choose(&uncoded(true, false, view(0, &[(900, 200), (90, 0)]))), merge(0, 1));
        assert_eq!(choose(&uncoded(false, true, view(100, &[(900, 200), (90, 0)]))), codes, "memory first");
        for (view, right) in cases.into_iter().chain(at_rest.map(|(view, job)| (resting(view), job))) {
            assert_eq!(choose(&view), right, "{view:?}");
        }
    }
}
