//! The live tier: the rows of the points in small segments, by their ids, in one ordered store (sled), so that an id is
//! looked up there once instead of in the table of every small segment.
//!
//! It is derived from the tables and never believed further than that. An entry counts if its checksum is right and its
//! row lives: rows are never given twice, so there is no other point it could be of. That there is no entry counts only
//! because the tier is known to be complete for a range of rows: it was filled by this process, or was proved entry by
//! entry against its stamp. Whatever fails, in whatever way, switches it off; then tables are asked, as without it.

mod check;
mod due;
mod entry;
mod keep;
pub(crate) mod store;

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use nearline_index::RowId;

use crate::point_id::PointId;
use crate::segment::SegmentInfo;
use crate::state::State;
use due::{Has, View, choose};
use entry::Stamp;
use store::Store;

pub(crate) use check::verify_left;
pub(crate) use due::Step;
pub(crate) use keep::{is_left, remove};

/// The tier's folder, inside the collection's, and where it goes when something is wrong with it.
pub(crate) const FOLDER: &str = "live";
pub(crate) const SET_ASIDE: &str = "live.quarantine";
/// Bytes of memory for each entry, about.
const ENTRY_BYTES: u64 = 48;

/// What is wrong with the live tier. Nobody's call fails by it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("live tier: {what}: {why}")]
pub(crate) struct TierError {
    what: &'static str,
    why: String,
}

impl TierError {
    pub(crate) fn new(what: &'static str, why: impl Display) -> Self {
        Self { what, why: why.to_string() }
    }
}

/// Whether a collection has a live tier.
#[derive(Clone, Debug, Default)]
pub(crate) enum TierUse {
    /// What there is of one stays, and is not used: for somebody who only looks.
    #[default]
    LeaveAlone,
    /// There is to be none.
    Remove,
    /// There may be one.
    Use(TierOptions),
}

/// What the live tier may take, and when it is worth having.
#[derive(Clone, Debug)]
pub(crate) struct TierOptions {
    /// The folder of the collection, or whatever the tier's own is to be in.
    pub(crate) root: PathBuf,
    /// Bytes of memory of one tier.
    pub(crate) memory_bytes: u64,
    /// Small segments from which on there is one.
    pub(crate) segments_min: usize,
    /// How long after a failure it is tried again.
    pub(crate) retry: Duration,
    /// How many more collections of the database may have one at the same time.
    pub(crate) slots: Arc<AtomicUsize>,
}

/// What the live tier is doing: the rows of points in small segments, by their ids, in one place. It is derived; without
/// it, lookups ask the table of each segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiveTierState {
    /// There is none: there are few small segments, or it is not wanted.
    #[default]
    Unused,
    /// It is opened, filled or extended.
    Building,
    /// It answers.
    Serving {
        /// Its entries, those of points that died since among them.
        entries: u64,
    },
    /// It failed, and is made anew some time later, when points are flushed.
    Off {
        /// What happened.
        why: String,
    },
}

/// What a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// This row was given to the id. Whether it lives is up to the asker's state.
    Row(RowId),
    /// No living row of the range covered is of this id.
    Nothing,
    /// The tables must be asked.
    Unknown,
}

/// What of a state's segments the tier knows: a range of rows. Merging segments does not change the rows of points.
#[derive(Clone, Debug)]
pub(crate) struct Covered {
    tier: Arc<LiveTier>,
    /// Of the tier's contents: those that were made anew may lack what these had.
    number: u64,
    first: RowId,
    end: RowId,
}

impl Covered {
    /// Whether all rows of a segment are known.
    pub(crate) fn has(&self, info: &SegmentInfo) -> bool {
        info.first >= self.first && info.last < self.end
    }

    /// Looks up an id.
    pub(crate) fn find(&self, id: PointId) -> Found {
        match self.tier.find(self.number, &id.key()) {
            // Of points written after the state of whoever asks.
            Found::Row(row) if row >= self.end => Found::Unknown,
            found => found,
        }
    }

    /// Switches the tier off: somebody found that it was wrong.
    pub(crate) fn doubt(&self, why: impl Display) {
        self.tier.fail(TierError::new("answer", why));
    }
}

/// The live tier of a collection.
#[derive(Debug)]
pub(crate) struct LiveTier {
    store_id: u64,
    options: TierOptions,
    /// Held for writing while entries are written: nobody reads what may wait for a write.
    open: RwLock<Option<Open>>,
    is_off: AtomicBool,
    status: Mutex<Status>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct Status {
    /// Whether somebody is at work, and shall look again at the end.
    working: bool,
    again: bool,
    stopping: bool,
    /// Whether there may be a folder, open or not.
    is_left: bool,
    /// Of the contents last made.
    number: u64,
    failed: Option<(TierError, Instant)>,
}

/// The contents.
#[derive(Debug)]
struct Open {
    store: Store,
    number: u64,
    stamp: Stamp,
    _slot: Slot,
}

/// One of the tiers that a database may have.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LiveTier {
    /// That of a collection. Nothing is opened.
    pub(crate) fn new(store_id: u64, options: TierOptions) -> Self {
        let is_left = is_left(&options.root);
        Self {
            store_id,
            options,
            open: RwLock::default(),
            is_off: AtomicBool::new(false),
            status: Mutex::new(Status { is_left, ..Status::default() }),
            told: Condvar::new(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.options.root.join(FOLDER)
    }

    fn find(&self, number: u64, key: &[u8]) -> Found {
        if self.is_off.load(Ordering::Acquire) {
            return Found::Unknown;
        }
        let Ok(open) = self.open.try_read() else { return Found::Unknown };
        let Some(open) = open.as_ref().filter(|open| open.number == number) else { return Found::Unknown };
        let found = open.store.get(key).and_then(|value| {
            let Some(value) = value else { return Ok(Found::Nothing) };
            let row = entry::decode(self.store_id, key, &value);
            row.map(|(row, _)| Found::Row(row)).ok_or_else(|| TierError::new("look up", "damaged entry"))
        });
        found.unwrap_or_else(|error| {
            self.fail(error);
            Found::Unknown
        })
    }

    /// Switches it off. Whoever tends it removes it.
    pub(crate) fn fail(&self, error: TierError) {
        self.is_off.store(true, Ordering::Release);
        let mut status = locked(&self.status);
        // The first says most.
        status.failed.get_or_insert((error, Instant::now()));
    }

    /// What it is doing.
    pub(crate) fn state(&self) -> LiveTierState {
        let status = locked(&self.status);
        if status.working {
            return LiveTierState::Building;
        }
        if let Some((error, _)) = &status.failed {
            return LiveTierState::Off { why: error.to_string() };
        }
        drop(status);
        match self.open.try_read() {
            Ok(open) => open
                .as_ref()
                .map_or(LiveTierState::Unused, |open| LiveTierState::Serving { entries: open.stamp.entries }),
            Err(_) => LiveTierState::Building,
        }
    }

    /// What is to be done about it, as a state is.
    pub(crate) fn next(&self, state: &State) -> Option<Step> {
        let mut status = locked(&self.status);
        if status.stopping {
            return None;
        }
        if let Some((_, since)) = &status.failed {
            match status.is_left {
                true => return Some(Step::Retire),
                false if since.elapsed() < self.options.retry => return None,
                false => status.failed = None,
            }
            self.is_off.store(false, Ordering::Release);
        }
        let is_left = status.is_left;
        drop(status);
        let view = self.view(state, is_left);
        // Others may have all there may be.
        let is_refused = view.has.is_none() && self.options.slots.load(Ordering::Acquire) == 0;
        choose(&view).filter(|step| *step == Step::Retire || !is_refused)
    }

    fn view(&self, state: &State, is_left: bool) -> View {
        let open = self.open.try_read().ok();
        let has = open.as_ref().and_then(|open| open.as_ref()).map(|open| {
            let stamp = &open.stamp;
            let more = || state.segments.iter().filter(|segment| segment.info.last >= stamp.end);
            Has {
                segments: stamp.covered(&state.segments).count(),
                entries: stamp.entries,
                more_segments: more().count(),
                more_points: more().map(|segment| segment.info.points).sum(),
                is_stamped: stamp.names(&state.segments),
            }
        });
        View {
            segments: state.segments.iter().map(|segment| segment.info.points).collect(),
            is_left: is_left && has.is_none(),
            has,
            segments_min: self.options.segments_min,
            entries_max: self.options.memory_bytes / ENTRY_BYTES,
        }
    }
}
