//! Which points match a filter: by asking every payload. The slow path that is always right.

use std::cell::RefCell;

use roaring::RoaringBitmap;

use super::Inner;
use crate::error::QueryError;
use crate::filter::Checked;
use crate::segment::Segment;
use crate::state::State;

impl Inner {
    /// The rows of all points that are not dead and match.
    pub(crate) fn matching(&self, state: &State, filter: &Checked) -> Result<RoaringBitmap, QueryError> {
        let mut rows = RoaringBitmap::new();
        for segment in &state.segments {
            self.matching_in(segment, state, filter, &mut rows)?;
        }
        for point in state.live_in_memory() {
            let has_vector =
                |name: &str| self.schema.find(name).is_some_and(|(at, _)| point.vectors[at].is_some());
            if filter.matches(point.id, &point.payload, has_vector) {
                rows.insert(point.row.0);
            }
        }
        Ok(rows)
    }

    fn matching_in(
        &self,
        segment: &Segment,
        state: &State,
        filter: &Checked,
        rows: &mut RoaringBitmap,
    ) -> Result<(), QueryError> {
        for point in segment.scan() {
            let (row, id, payload) = point?;
            if state.is_dead(row) {
                continue;
            }
            let failed = RefCell::new(None);
            let has_vector = |name: &str| {
                let Some((at, _)) = self.schema.find(name) else { return false };
                let found = segment.vectors[at].as_ref().map(|vectors| {
                    // Mostly all points have it, and nothing needs to be read.
                    if vectors.rows() == segment.info.points {
                        Ok(true)
                    } else {
                        vectors.get(row).map(|v| v.is_some())
                    }
                });
                found.unwrap_or(Ok(false)).unwrap_or_else(|error| {
                    failed.replace(Some(error));
                    false
                })
            };
            if filter.matches(id, &payload, has_vector) {
                rows.insert(row.0);
            }
            if let Some(error) = failed.into_inner() {
                return Err(error.into());
            }
        }
        Ok(())
    }
}
