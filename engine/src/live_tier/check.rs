//! Whether the live tier says what the tables of segments say.

use std::io;
use std::path::Path;

use nearline_storage::StorageError;

use super::entry;
use super::keep::{UNPROVED, prove};
use super::store::Store;
use super::{FOLDER, LiveTier, Stamp, TierError};
use crate::point_id::PointId;
use crate::state::State;

/// Bytes of memory for a look at a tier that nobody uses.
const CACHE_BYTES: u64 = 4 << 20;

impl LiveTier {
    /// Checks that it has a row for each living point of the segments it covers, and that its living rows are those of the
    /// tables. Nothing is checked while it is being made: nobody relies on it then.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn verify(&self, state: &State) -> Result<(), StorageError> {
        if locked_off(self) {
            return Ok(());
        }
        let Ok(open) = self.open.try_read() else { return Ok(()) };
        match open.as_ref() {
            Some(open) => compare(&open.store, &open.stamp, &self.folder(), state),
            None => Ok(()),
        }
    }
}

fn locked_off(tier: &LiveTier) -> bool {
    tier.is_off.load(std::sync::atomic::Ordering::Acquire)
}

/// Checks what an earlier process left, as [`LiveTier::verify`] does. One that was not finished, or is of other segments, is
/// not wrong: nobody would use it.
///
/// # Errors
/// The first thing that is wrong, or that it cannot be opened.
pub(crate) fn verify_left(root: &Path, store_id: u64, state: &State) -> Result<(), StorageError> {
    let folder = root.join(FOLDER);
    if !folder.exists() || folder.join(UNPROVED).exists() {
        return Ok(());
    }
    let found = Store::open(&folder, CACHE_BYTES).and_then(|store| {
        let stamp = prove(&store, &folder, store_id, state)?;
        Ok(stamp.map(|stamp| (store, stamp)))
    });
    match found.map_err(|error| unreadable(&folder, error))? {
        Some((store, stamp)) => compare(&store, &stamp, &folder, state),
        None => Ok(()),
    }
}

fn unreadable(folder: &Path, error: TierError) -> StorageError {
    StorageError::io(folder, "read the live tier", io::Error::new(io::ErrorKind::InvalidData, error))
}

fn compare(store: &Store, stamp: &Stamp, folder: &Path, state: &State) -> Result<(), StorageError> {
    let (mut known, mut wrong) = (0u64, None);
    let went = store.for_each(|key, value| {
        let entry = PointId::from_key(key).zip(entry::decode(stamp.store_id, key, value));
        let (id, (row, _)) = entry.ok_or_else(|| TierError::new("verify", "damaged entry"))?;
        let covered = stamp.covered(&state.segments).find(|segment| segment.covers(row));
        let Some(segment) = covered.filter(|_| !state.is_dead(row)) else { return Ok(()) };
        known += 1;
        let found = segment.find(id).map_err(|error| TierError::new("read ids", error))?;
        if found != Some(row) {
            wrong.get_or_insert((row, found));
        }
        Ok(())
    });
    went.map_err(|error| unreadable(folder, error))?;
    if let Some((row, found)) = wrong {
        let right = found.map_or(u64::MAX, |row| row.0.into());
        return Err(StorageError::corrupt(folder, 0, "row of an id", row.0.into(), right));
    }
    let mut living = 0;
    for segment in stamp.covered(&state.segments) {
        for found in segment.ids_from(std::ops::Bound::Unbounded) {
            living += u64::from(!state.is_dead(found?.1));
        }
    }
    if known != living {
        return Err(StorageError::corrupt(folder, 0, "living points", known, living));
    }
    Ok(())
}
