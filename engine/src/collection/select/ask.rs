//! Asking payloads: the slow way that is always right.

use nearline_index::RowId;
use roaring::RoaringBitmap;

use super::super::Reader;
use super::part_of;
use crate::error::QueryError;
use crate::filter::Checked;
use crate::point_id::PointId;
use crate::segment::Segment;
use crate::value::Payload;

/// Payloads read together.
const CHUNK: usize = 256;
/// A segment is read from front to back when more than one in so many of its points is asked.
const SCAN_SHARE: u64 = 16;

impl Reader<'_> {
    /// Asks the payloads of rows in segments. Says how many there were, and which match.
    pub(in crate::collection) fn ask(
        &self,
        filter: &Checked,
        rows: &RoaringBitmap,
    ) -> Result<(u64, RoaringBitmap), QueryError> {
        let (mut asked, mut matching) = (0, RoaringBitmap::new());
        self.each_flushed(rows, |segment, row, id, payload| {
            asked += 1;
            if self.holds(segment, filter, row, id, payload) {
                matching.insert(row.0);
            }
            Ok(())
        })?;
        Ok((asked, matching))
    }

    /// Hands over the points of rows in segments, one segment after the other.
    pub(in crate::collection) fn each_flushed(
        &self,
        rows: &RoaringBitmap,
        mut take: impl FnMut(&Segment, RowId, PointId, &Payload) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        for segment in &self.state.segments {
            let part = part_of(segment, rows);
            if part.len() * SCAN_SHARE > segment.info.points {
                for point in segment.scan_some(&part) {
                    let (row, id, payload) = point?;
                    take(segment, row, id, &payload)?;
                }
                continue;
            }
            let wanted: Vec<RowId> = part.iter().map(RowId).collect();
            for rows in wanted.chunks(CHUNK) {
                for (&row, document) in rows.iter().zip(segment.documents(rows)?) {
                    if let Some((id, payload)) = document {
                        take(segment, row, id, &payload)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a point of a segment matches.
    fn holds(&self, segment: &Segment, filter: &Checked, row: RowId, id: PointId, payload: &Payload) -> bool {
        let has_vector = |name: &str| {
            let vectors = self.schema.find(name).and_then(|(at, _)| segment.vectors[at].as_ref());
            vectors.is_some_and(|vectors| vectors.row_set().contains(row))
        };
        filter.matches(id, payload, has_vector)
    }
}
