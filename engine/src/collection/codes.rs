//! Codes of vectors in memory, for filters: which segments are to have them, and where they come from.
//!
//! Where a filter says which rows may be answered, a search by their codes reads few vectors (see
//! [`RowCodes`](nearline_index::RowCodes)). Codes are made in the space of the vector index, with as many bits as the memory
//! for them has room for, and kept in files of their own, so that they are read and not made again when the collection is
//! opened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nearline_index::RowCodes;

use super::{Collection, Inner, locked};
use crate::error::{OpenError, WriteError};
use crate::segment::{Segment, codes_files};
use crate::state::State;

/// Segments with fewer vectors than those that make an index worth it, divided by this, get none: theirs are soon read.
const LEAST_SHARE: u64 = 16;
/// While points are written, segments get codes that have one in so many of all points: they are not merged soon.
const LARGE_SHARE: u64 = 4;
/// While memory is tight, codes are signs alone, and new ones may take one in so many bytes.
const SIGNS_SHARE: u64 = 2;
/// It is while points in memory are more than one in so many of those at which they are flushed, and so long after.
const CROWDED_SHARE: usize = 2;
const QUIET: Duration = Duration::from_secs(10);

/// A segment that is to get codes, or others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uncoded {
    /// The segment, counted from the oldest.
    pub(crate) segment: usize,
    /// Whether it has a large part of all points.
    pub(crate) is_large: bool,
    /// Whether it is to have less than it has: memory is needed.
    pub(crate) is_less: bool,
}

/// The codes that a segment is to get: as many bits as these, or signs alone of what it has.
struct Due {
    segment: usize,
    at: usize,
    bits: u8,
    is_less: bool,
}

impl Collection {
    /// Removes the files of codes; they are made again.
    pub(crate) fn remove_codes(&self) -> Result<(), OpenError> {
        let disk = self.shared.inner.disk.as_ref();
        codes_files(disk, |_| true)?.iter().try_for_each(|name| disk.remove(name))?;
        Ok(())
    }
}

impl Inner {
    /// The first segment that is to get codes, or others. Where memory `is_tight`, they are signs alone.
    pub(super) fn uncoded(&self, state: &State, is_tight: bool) -> Option<Uncoded> {
        let Due { segment, is_less, .. } = self.due_codes(state, None, is_tight)?;
        let points = state.segments[segment].info.points;
        Some(Uncoded { segment, is_large: points * LARGE_SHARE >= state.live, is_less })
    }

    /// Whether memory is needed for something else: for many points that were written lately, unless somebody waits as if they had
    /// not been, or for an index.
    pub(super) fn is_tight(&self, state: &State) -> bool {
        let mut crowded = locked(&self.crowded);
        // Points that rest in memory are no more tomorrow.
        if !self.is_resting() && state.delta_bytes() * CROWDED_SHARE >= self.limits.flush_bytes {
            *crowded = Some(Instant::now());
        }
        let is_crowded = crowded.is_some_and(|crowded| crowded.elapsed() < QUIET);
        self.writes_lists.load(Ordering::Acquire) || (is_crowded && !self.is_awaited())
    }

    /// Codes that some segment is to get, or this one.
    fn due_codes(&self, state: &State, only: Option<usize>, is_tight: bool) -> Option<Due> {
        let places = (0..state.segments.len()).filter(|segment| only.is_none_or(|only| only == *segment));
        let indexed = |at: &usize| state.indexes.get(*at).is_some_and(Option::is_some);
        let all = places
            .flat_map(|segment| (0..self.schema.len()).filter(indexed).map(move |at| (segment, at)))
            .collect::<Vec<_>>();
        let has_more = |&(segment, at): &(usize, usize)| {
            state.segments[segment].codes(at).is_some_and(|codes| codes.bits() > 1)
        };
        if let Some(&(segment, at)) = all.iter().find(|place| is_tight && has_more(place)) {
            return Some(Due { segment, at, bits: 1, is_less: true });
        }
        // When an index is to be built, memory will be needed for that.
        let is_ample = !is_tight && self.due_index(Duration::MAX).is_none();
        let bits = if is_ample { self.code_bits(state).unwrap_or(1) } else { 1 };
        let most = self.limits.codes_bytes / if is_ample { 1 } else { SIGNS_SHARE };
        let held: u64 = state.segments.iter().map(|segment| segment.codes_bytes()).sum();
        let least = (self.limits.index_rows / LEAST_SHARE).max(1);
        let is_due = |&(segment, at): &(usize, usize)| {
            let segment = &state.segments[segment];
            let (Some(flat), Some(config)) = (&segment.vectors[at], self.schema.config(at)) else {
                return false;
            };
            let there = segment.codes(at);
            // Others than there are, if they are better by those bits: or if there is no room for as many.
            let is_wanted =
                there.is_none_or(|codes| is_ample && codes.bits() != bits) && flat.rows() >= least;
            let bytes = RowCodes::bytes_of(config.metric, config.shape(), flat.rows(), bits);
            let before = there.map_or(0, |codes| codes.ram_bytes());
            let fits = (held - before).saturating_add(bytes) <= most;
            is_wanted && fits && !locked(&self.uncodable).contains(&(segment.info.number, at))
        };
        let (segment, at) = all.into_iter().find(is_due)?;
        Some(Due { segment, at, bits, is_less: false })
    }

    /// As many bits a dimension as there is memory for, if all vectors that have an index get codes.
    fn code_bits(&self, state: &State) -> Option<u8> {
        let bytes = |bits: u8| -> u64 {
            let of_name = |at: usize| {
                let config = self.schema.config(at).filter(|_| state.indexes[at].is_some())?;
                let vectors = state.segments.iter().map(|segment| segment.info.vectors[at]).sum();
                Some(RowCodes::bytes_of(config.metric, config.shape(), vectors, bits))
            };
            (0..state.indexes.len()).filter_map(of_name).sum()
        };
        RowCodes::BITS.into_iter().find(|&bits| bytes(bits) <= self.limits.codes_bytes)
    }

    /// Gives a segment codes: those of its file if they are what is wanted, or new ones. Files may be flushed and merged
    /// meanwhile: then nobody needs them.
    pub(super) fn give_codes(&self, segment: usize) -> Result<(), WriteError> {
        let state = self.state();
        let due = self.due_codes(&state, Some(segment), self.is_tight(&state));
        let Some(Due { at, bits, is_less, .. }) = due else { return Ok(()) };
        let segment = Arc::clone(&state.segments[segment]);
        let codes = match segment.codes(at).filter(|_| is_less) {
            Some(codes) => Some(codes.signs_only()),
            None => match self.make_codes(&state, &segment, at, bits) {
                Err(error) => {
                    locked(&self.uncodable).insert((segment.info.number, at));
                    return Err(error);
                }
                made => made?,
            },
        };
        let Some(codes) = codes.map(Arc::new) else { return Ok(()) };
        let mut files = locked(&self.files);
        self.change(|state| {
            for there in state.segments.iter_mut().filter(|there| there.info.number == segment.info.number) {
                *there = Arc::new(there.with_codes(at, Arc::clone(&codes)));
            }
        });
        let is_there = files.manifest.segments.iter().any(|info| info.number == segment.info.number);
        if !is_there {
            self.remove_codes(&mut files, &[segment]);
        }
        Ok(())
    }

    /// `None` if the collection is being closed.
    fn make_codes(
        &self,
        state: &State,
        segment: &Segment,
        at: usize,
        bits: u8,
    ) -> Result<Option<RowCodes>, WriteError> {
        let (Some(flat), Some(listed), Some(config)) =
            (&segment.vectors[at], &state.indexes[at], self.schema.config(at))
        else {
            return Ok(None);
        };
        let (disk, store_id) = (self.disk.as_ref(), locked(&self.files).manifest.store_id);
        // What is damaged is made again.
        let there = segment.read_codes(disk, store_id, at, config.metric).ok().flatten();
        match there {
            Some(codes) if codes.bits() == bits => return Ok(Some(codes)),
            Some(codes) if bits == 1 => return Ok(Some(codes.signs_only())),
            _ => {}
        }
        let goes_on = || Ok::<_, WriteError>(self.has_time()? && !self.is_dropped());
        let made = match segment.codes(at) {
            Some(codes) => codes.with_bits(flat, bits, goes_on)?,
            None => RowCodes::build(flat, &listed.index.index, bits, goes_on)?,
        };
        if let Some(codes) = &made {
            // What cannot be written now is made again the next time.
            let _ = segment.write_codes(disk, store_id, at, codes);
        }
        Ok(made)
    }

    /// Removes the files of codes of segments that are gone.
    pub(super) fn remove_codes(&self, files: &mut super::Files, segments: &[Arc<Segment>]) {
        let is_gone = |number| segments.iter().any(|segment| segment.info.number == number);
        match codes_files(self.disk.as_ref(), is_gone) {
            Ok(names) => self.remove(files, &names),
            Err(_) => files.untidy = true,
        }
    }
}
