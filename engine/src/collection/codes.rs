//! Codes of vectors in memory, for filters: which segments are to have them, and where they come from.
//!
//! Where a filter says which rows may be answered, a search by their codes reads few vectors (see
//! [`RowCodes`](nearline_index::RowCodes)). Codes are made in the space of the vector index, with as many bits as the memory
//! for them has room for, and kept in files of their own, so that they are read and not made again when the collection is
//! opened.

use std::sync::Arc;

use nearline_index::RowCodes;

use super::{Collection, Inner, locked};
use crate::error::{OpenError, WriteError};
use crate::segment::{Segment, codes_files};
use crate::state::State;

/// Segments with fewer vectors than those that make an index worth it, divided by this, get none: theirs are soon read.
const LEAST_SHARE: u64 = 16;
/// While points are written, segments get codes that have one in so many of all points: they are not merged soon.
const LARGE_SHARE: u64 = 4;

/// A segment that is to get codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uncoded {
    /// The segment, counted from the oldest.
    pub(crate) segment: usize,
    /// Whether it has a large part of all points.
    pub(crate) is_large: bool,
}

/// The codes that a segment is to get.
struct Due {
    segment: usize,
    at: usize,
    bits: u8,
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
    /// The first segment that is to get codes, if there is memory for them.
    pub(super) fn uncoded(&self, state: &State) -> Option<Uncoded> {
        let Due { segment, .. } = self.due_codes(state, None)?;
        let points = state.segments[segment].info.points;
        Some(Uncoded { segment, is_large: points * LARGE_SHARE >= state.live })
    }

    /// Codes that some segment is to get, or this one.
    fn due_codes(&self, state: &State, only: Option<usize>) -> Option<Due> {
        let bits = self.code_bits(state)?;
        let held: u64 = state.segments.iter().map(|segment| segment.codes_bytes()).sum();
        let least = (self.limits.index_rows / LEAST_SHARE).max(1);
        let is_due = |segment: &Segment, at: usize| {
            let (Some(flat), Some(config)) = (&segment.vectors[at], self.schema.config(at)) else {
                return false;
            };
            let there = segment.codes(at);
            let is_wanted = there.is_none_or(|codes| codes.bits() > bits) && flat.rows() >= least;
            let bytes = RowCodes::bytes_of(config.metric, config.shape(), flat.rows(), bits);
            let before = there.map_or(0, |codes| codes.ram_bytes());
            is_wanted && held - before + bytes <= self.limits.codes_bytes
        };
        let indexed = |at: &usize| state.indexes.get(*at).is_some_and(Option::is_some);
        let places = (0..state.segments.len()).filter(|segment| only.is_none_or(|only| only == *segment));
        places
            .flat_map(|segment| (0..self.schema.len()).filter(indexed).map(move |at| (segment, at)))
            .find(|&(segment, at)| is_due(&state.segments[segment], at))
            .map(|(segment, at)| Due { segment, at, bits })
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
        let Some(Due { at, bits, .. }) = self.due_codes(&state, Some(segment)) else { return Ok(()) };
        let segment = Arc::clone(&state.segments[segment]);
        let Some(codes) = self.make_codes(&state, &segment, at, bits)? else { return Ok(()) };
        let codes = Arc::new(codes);
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
        if let Some(codes) = there.filter(|codes| codes.bits() == bits) {
            return Ok(Some(codes));
        }
        let made = RowCodes::build(flat, &listed.index.index, bits, || self.has_time())?;
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
