//! Filling the live tier, keeping it, and letting it go.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLockWriteGuard, TryLockError};
use std::time::{Duration, Instant};

use nearline_index::RowId;

use super::entry::{self, STAMP_KEY, Stamp, segments_digest};
use super::store::{Store, sync_files};
use super::{Covered, FOLDER, LiveTier, Open, SET_ASIDE, Slot, Step, TierError, locked};
use crate::collection::live_ids;
use crate::segment::Segment;
use crate::state::State;

/// A file in the folder while it is not known whether all of it is sound. Found by an opening, that of before did not
/// come to an end, and is not tried again.
pub(super) const UNPROVED: &str = "unproved";
/// Entries between two looks whether to stop.
const LOOK_UP: u64 = 1024;
/// How long closing waits for others.
const CLOSING: Duration = Duration::from_secs(2);
/// How long changes wait for those who read, of whom one may go through all of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a tier's folder is there, or one that was set aside.
pub(crate) fn is_left(root: &Path) -> bool {
    root.join(FOLDER).exists() || root.join(SET_ASIDE).exists()
}

/// Removes the tier of a collection that nobody has open. It goes at once: half of one is never found.
pub(crate) fn remove(root: &Path) -> io::Result<()> {
    let (folder, aside) = (root.join(FOLDER), root.join(SET_ASIDE));
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    if folder.exists() {
        fs::rename(&folder, &aside)?;
        fs::remove_dir_all(&aside)?;
    }
    Ok(())
}

impl LiveTier {
    /// Takes it upon the caller to do what is due. Whoever is at it already looks again at the end.
    pub(crate) fn begin(&self) -> bool {
        let mut status = locked(&self.status);
        let is_free = !status.working && !status.stopping;
        status.again = !is_free;
        status.working |= is_free;
        is_free
    }

    /// Ends what [`LiveTier::begin`] began, unless there is more.
    pub(crate) fn end(&self, is_failed: bool) -> bool {
        let mut status = locked(&self.status);
        let again = std::mem::take(&mut status.again) && !is_failed && !status.stopping;
        status.working = again;
        drop(status);
        self.told.notify_all();
        !again
    }

    /// Does a step; what is known from then on. Nothing of it is `state`'s business: readers are served by tables meanwhile.
    ///
    /// # Errors
    /// When anything failed; then the tier is off and its folder gone, if that can be.
    pub(crate) fn run(self: &Arc<Self>, step: Step, state: &State) -> Result<Option<Covered>, TierError> {
        let done = match step {
            Step::Adopt => self.adopt(state).or_else(|_| {
                // What an earlier process left is worth no more than to be made anew.
                self.retire()?;
                Ok(None)
            }),
            Step::Build { from } => self.build(&state.segments[from..], state),
            Step::Extend => self.extend(state),
            Step::Retire => self.retire().map(|()| None),
        };
        done.inspect_err(|error| {
            self.fail(error.clone());
            // What cannot be removed now is, before it is made anew.
            let _ = self.retire();
        })
    }

    fn is_stopping(&self) -> bool {
        locked(&self.status).stopping
    }

    /// Makes it anew. `None` if there are enough of them already, or if the collection is being closed.
    fn build(
        self: &Arc<Self>,
        segments: &[Arc<Segment>],
        state: &State,
    ) -> Result<Option<Covered>, TierError> {
        self.retire()?;
        let Some(slot) = self.take_slot() else { return Ok(None) };
        let folder = self.folder();
        locked(&self.status).is_left = true;
        let made = fs::create_dir(&folder).and_then(|()| File::create(folder.join(UNPROVED)).map(drop));
        made.map_err(|error| TierError::new("make a folder", error))?;
        let store = Store::open(&folder, self.options.memory_bytes)?;
        let first = segments.first().map_or(RowId(0), |segment| segment.info.first);
        let stamp = Stamp { store_id: self.store_id, first, end: first, segments: 0, entries: 0, sum: 0 };
        let mut open = Open { store, number: 0, stamp, _slot: slot };
        if !open.take_in(segments, state, || self.is_stopping())? {
            return Ok(None);
        }
        proved(&folder)?;
        self.install(open)
    }

    /// Opens and proves what an earlier process left. `None` if it is not of these segments, or unfinished.
    fn adopt(self: &Arc<Self>, state: &State) -> Result<Option<Covered>, TierError> {
        let folder = self.folder();
        let Some(slot) = self.take_slot() else { return Ok(None) };
        if !folder.exists() || folder.join(UNPROVED).exists() {
            self.retire()?;
            return Ok(None);
        }
        File::create(folder.join(UNPROVED)).map_err(|error| TierError::new("make a file", error))?;
        let store = Store::open(&folder, self.options.memory_bytes)?;
        let Some(stamp) = prove(&store, &folder, self.store_id, state)? else {
            store.close();
            self.retire()?;
            return Ok(None);
        };
        proved(&folder)?;
        self.install(Open { store, number: 0, stamp, _slot: slot })
    }

    fn install(self: &Arc<Self>, mut open: Open) -> Result<Option<Covered>, TierError> {
        let number = {
            let mut status = locked(&self.status);
            status.number += 1;
            status.number
        };
        open.number = number;
        let (first, end) = (open.stamp.first, open.stamp.end);
        let mut place = self.write().ok_or_else(|| TierError::new("install", "a lookup does not end"))?;
        *place = Some(open);
        Ok(Some(Covered { tier: Arc::clone(self), number, first, end }))
    }

    /// Takes in the segments that came since.
    fn extend(self: &Arc<Self>, state: &State) -> Result<Option<Covered>, TierError> {
        let mut place = self.write().ok_or_else(|| TierError::new("extend", "a lookup does not end"))?;
        let Some(open) = place.as_mut() else { return Ok(None) };
        // One that was merged of old and new is among them: its old rows are put again.
        let more = state.segments.partition_point(|segment| segment.info.last < open.stamp.end);
        open.take_in(&state.segments[more..], state, || self.is_stopping())?;
        let (number, first, end) = (open.number, open.stamp.first, open.stamp.end);
        Ok(Some(Covered { tier: Arc::clone(self), number, first, end }))
    }

    /// Closes it and removes its folder.
    fn retire(&self) -> Result<(), TierError> {
        self.let_go();
        remove(&self.options.root).map_err(|error| TierError::new("remove", error))?;
        locked(&self.status).is_left = false;
        Ok(())
    }

    fn let_go(&self) {
        if let Some(open) = self.write().and_then(|mut place| place.take()) {
            open.store.close();
        }
    }

    /// Stops all work and closes it; the folder stays. Nothing is begun any more.
    pub(crate) fn close(&self) {
        let mut status = locked(&self.status);
        status.stopping = true;
        let deadline = Instant::now() + CLOSING;
        while status.working {
            let left = deadline.saturating_duration_since(Instant::now());
            let (next, waited) = match self.told.wait_timeout(status, left) {
                Ok(waited) => waited,
                Err(poisoned) => poisoned.into_inner(),
            };
            status = next;
            if waited.timed_out() {
                // Whoever does not come to an end in sled is left there.
                return;
            }
        }
        drop(status);
        self.let_go();
    }

    /// The contents, to change them; `None` if lookups do not end.
    fn write(&self) -> Option<RwLockWriteGuard<'_, Option<Open>>> {
        let since = Instant::now();
        loop {
            match self.open.try_write() {
                Ok(place) => return Some(place),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_micros(100)),
            }
            let most = if self.is_stopping() { CLOSING } else { PATIENCE };
            if since.elapsed() > most {
                return None;
            }
        }
    }

    fn take_slot(&self) -> Option<Slot> {
        let slots = &self.options.slots;
        let less = |left: usize| left.checked_sub(1);
        slots.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok()?;
        Some(Slot(Arc::clone(slots)))
    }
}

#[cfg(test)]
impl LiveTier {
    /// Puts an entry whose checksum is right, whatever its row is.
    pub(crate) fn plant(&self, id: crate::PointId, row: RowId) {
        let place = self.write().unwrap();
        let (value, _) = entry::encode(self.store_id, &id.key(), row);
        place.as_ref().unwrap().store.put(&id.key(), &value).unwrap();
    }
}

impl Open {
    /// Puts the living points of some segments, makes that durable, and only then stamps it. Says whether it came to an end.
    fn take_in(
        &mut self,
        segments: &[Arc<Segment>],
        state: &State,
        is_stopping: impl Fn() -> bool,
    ) -> Result<bool, TierError> {
        let stamp = &mut self.stamp;
        for (count, found) in (1..).zip(live_ids(segments, state)) {
            let (id, row) = found.map_err(|error| TierError::new("read ids", error))?;
            let key = id.key();
            let (value, check) = entry::encode(stamp.store_id, &key, row);
            match self.store.put(&key, &value)? {
                Some(old) => {
                    let (_, old) = entry::decode(stamp.store_id, &key, &old)
                        .ok_or_else(|| TierError::new("put", "the entry that was there is damaged"))?;
                    stamp.sum = stamp.sum.wrapping_sub(old.into());
                }
                None => stamp.entries += 1,
            }
            stamp.sum = stamp.sum.wrapping_add(check.into());
            if count % LOOK_UP == 0 && is_stopping() {
                return Ok(false);
            }
        }
        let end = segments.iter().map(|segment| RowId(segment.info.last.0.saturating_add(1))).max();
        stamp.end = end.map_or(stamp.end, |end| end.max(stamp.end));
        stamp.segments = segments_digest(stamp.covered(&state.segments).map(|segment| &segment.info));
        self.store.sync()?;
        self.store.put(STAMP_KEY, &self.stamp.encode())?;
        self.store.sync()?;
        Ok(true)
    }
}

/// Says durably that all of a folder is sound.
fn proved(folder: &Path) -> Result<(), TierError> {
    let removed = fs::remove_file(folder.join(UNPROVED)).and_then(|()| sync_files(folder));
    removed.map_err(|error| TierError::new("remove a file", error))
}

/// Goes through all of a store. Its stamp, if that is of the segments there are and the entries are those it counts.
pub(super) fn prove(
    store: &Store,
    folder: &Path,
    store_id: u64,
    state: &State,
) -> Result<Option<Stamp>, TierError> {
    let Some(bytes) = store.get(STAMP_KEY)? else { return Ok(None) };
    let stamp = Stamp::decode(&bytes, folder).map_err(|error| TierError::new("read the stamp", error))?;
    if stamp.store_id != store_id || !stamp.names(&state.segments) {
        return Ok(None);
    }
    let (mut entries, mut sum) = (0u64, 0u64);
    store.for_each(|key, value| {
        let decoded = entry::decode(store_id, key, value);
        let (_, check) = decoded.ok_or_else(|| TierError::new("prove", "damaged entry"))?;
        entries += 1;
        sum = sum.wrapping_add(check.into());
        Ok(())
    })?;
    if (entries, sum) != (stamp.entries, stamp.sum) {
        let why = format!("{entries} entries of sum {sum:x}; expected {} of {:x}", stamp.entries, stamp.sum);
        return Err(TierError::new("prove", why));
    }
    Ok(Some(stamp))
}
