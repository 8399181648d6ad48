//! The live tier of a collection: who tends it, and when.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Weak};

use nearline_storage::StorageError;

use super::{Collection, Inner};
use crate::error::OpenError;
use crate::live_tier::{LiveTier, LiveTierState, TierError, TierUse, remove, verify_left};
use crate::state::State;

/// What a collection has of its live tier.
#[derive(Debug)]
pub(super) struct Keeper {
    tier: Arc<LiveTier>,
    /// The collection itself: who is at work in sled must not keep it open.
    inner: Weak<Inner>,
}

impl Keeper {
    pub(super) fn new(inner: &Weak<Inner>, root: &Path, store_id: u64, wanted: TierUse) -> Option<Self> {
        match wanted {
            TierUse::LeaveAlone => None,
            TierUse::Remove => {
                // One that cannot be removed has a stamp that will not fit some day.
                let _ = remove(root);
                None
            }
            TierUse::Use(options) => {
                let tier = Arc::new(LiveTier::new(store_id, options));
                Some(Self { tier, inner: Weak::clone(inner) })
            }
        }
    }
}

impl Inner {
    /// Lets the live tier follow the segments, in a thread of its own if there is something to do. It is in nobody's
    /// way there, whatever it does: neither flushes nor lookups wait for it.
    pub(super) fn tend_tier(&self) {
        let Some(Keeper { tier, inner }) = &self.keeper else { return };
        if tier.next(&self.state()).is_none() || !tier.begin() {
            return;
        }
        let (tended, inner) = (Arc::clone(tier), Weak::clone(inner));
        let work = move || {
            let done = catch_unwind(AssertUnwindSafe(|| tend(&tended, &inner)));
            if done.is_err() {
                tended.fail(TierError::new("tend", "a panic, reported where it happened"));
                tended.end(true);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("nearline-tier".to_owned()).spawn(work) {
            tier.fail(TierError::new("start a thread", error));
            tier.end(true);
        }
    }

    /// Lets go of the live tier, for good. The folder stays.
    pub(super) fn close_tier(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.tier.close();
        }
    }

    pub(super) fn tier_state(&self) -> LiveTierState {
        self.keeper.as_ref().map_or(LiveTierState::Unused, |keeper| keeper.tier.state())
    }

    /// Checks the live tier against the segments, one that is not in use, too.
    pub(super) fn verify_tier(&self, store_id: u64, state: &State) -> Result<(), OpenError> {
        let verified = match &self.keeper {
            Some(keeper) => keeper.tier.verify(state),
            None => verify_left(self.disk.root(), store_id, state),
        };
        Ok(verified?)
    }
}

#[cfg(test)]
impl Inner {
    /// Puts an entry whose checksum is right and whose row is not.
    pub(super) fn plant_in_tier(&self, id: crate::PointId, row: nearline_index::RowId) {
        self.keeper.as_ref().unwrap().tier.plant(id, row);
    }
}

impl Collection {
    /// Removes a live tier that is not in use. It is made anew when it is worth it.
    pub(crate) fn remove_tier(&self) -> Result<(), OpenError> {
        let root = self.shared.inner.disk.root();
        let removed = remove(root).map_err(|error| StorageError::io(root, "remove the live tier", error));
        Ok(removed?)
    }
}

/// Does all there is to do, one step after another.
fn tend(tier: &Arc<LiveTier>, inner: &Weak<Inner>) {
    loop {
        let is_failed = !steps(tier, inner);
        if tier.end(is_failed) {
            return;
        }
    }
}

/// Says whether all went well.
fn steps(tier: &Arc<LiveTier>, inner: &Weak<Inner>) -> bool {
    loop {
        // Not kept open meanwhile.
        let Some(state) = inner.upgrade().map(|inner| inner.state()) else { return true };
        let Some(step) = tier.next(&state) else { return true };
        let done = tier.run(step, &state);
        let is_failed = done.is_err();
        let Some(inner) = inner.upgrade() else { return true };
        inner.change(|state| state.tier = done.ok().flatten());
        if is_failed {
            return false;
        }
    }
}
