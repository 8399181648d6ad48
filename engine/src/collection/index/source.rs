//! The vectors of one name as a build reads them.

use std::sync::Arc;

use nearline_index::{RowId, RowStream, Shape, SourceError, VectorSource};
use roaring::RoaringBitmap;

use crate::state::State;

/// Vectors read at a time.
pub(super) const READ: usize = 512;

/// The rows that have such a vector and are not dead.
pub(in crate::collection) fn covered(state: &State, at: usize) -> RoaringBitmap {
    let mut rows = RoaringBitmap::new();
    for vectors in state.segments.iter().filter_map(|segment| segment.vectors[at].as_ref()) {
        rows.extend(vectors.row_set().iter().map(|row| row.0));
    }
    rows -= &*state.dead;
    rows
}

/// The vectors of one name, as they were.
pub(super) struct Source<'a> {
    pub(super) name: String,
    pub(super) state: Arc<State>,
    pub(super) at: usize,
    pub(super) shape: Shape,
    pub(super) covered: &'a RoaringBitmap,
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

    fn row(&self, at: u64) -> RowId {
        RowId(u32::try_from(at).ok().and_then(|at| self.covered.select(at)).unwrap_or(u32::MAX))
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
