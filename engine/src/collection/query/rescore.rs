//! Ranking the points of prefetches anew by a formula, and getting vectors of points as they are stored.

use std::collections::HashMap;
use std::path::Path;

use nearline_index::RowId;
use nearline_storage::StorageError;
use roaring::RoaringBitmap;

use super::super::Reader;
use super::answer::Ranked;
use crate::error::QueryError;
use crate::formula::{Formula, Point};

/// Payloads read together.
const CHUNK: usize = 256;

impl Reader<'_> {
    /// The points of prefetches by what a formula gives them, best first; of equal ones the oldest.
    pub(super) fn by_formula(
        &self,
        formula: &Formula,
        lists: &[Vec<Ranked>],
        rows: &RoaringBitmap,
    ) -> Result<Vec<Ranked>, QueryError> {
        let formula = formula.check(&|filter| Ok(self.check(filter)?))?;
        let by_row = |list: &Vec<Ranked>| -> HashMap<RowId, f32> {
            list.iter().map(|point| (point.row, point.score)).collect()
        };
        let given: Vec<HashMap<RowId, f32>> = lists.iter().map(by_row).collect();
        let rows: Vec<RowId> = rows.iter().map(RowId).collect();
        let mut ranked = Vec::with_capacity(rows.len());
        for rows in rows.chunks(CHUNK) {
            for (&row, (id, payload)) in rows.iter().zip(self.documents(rows)?) {
                let scores: Vec<Option<f32>> = given.iter().map(|scores| scores.get(&row).copied()).collect();
                let has_vector = |name: &str| self.has_vector(row, name);
                let point = Point { id, payload: &payload, has_vector: &has_vector, scores: &scores };
                ranked.push(Ranked::by_score(row, formula.score(&point)?));
            }
        }
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(ranked)
    }

    fn has_vector(&self, row: RowId, name: &str) -> bool {
        let Some((at, _)) = self.schema.find(name) else { return false };
        if let Some(point) = self.state.in_memory(row) {
            return point.vectors[at].is_some();
        }
        let segment = self.state.segments.iter().find(|segment| segment.covers(row));
        let vectors = segment.and_then(|segment| segment.vectors[at].as_ref());
        vectors.is_some_and(|vectors| vectors.row_set().contains(row))
    }

    /// Vectors of rows that have one, in their order, as they are stored.
    pub(in crate::collection) fn stored_vectors(
        &self,
        at: usize,
        rows: &[RowId],
    ) -> Result<Vec<Box<[u8]>>, QueryError> {
        let mut found: HashMap<RowId, Box<[u8]>> = HashMap::with_capacity(rows.len());
        let mut flushed = Vec::new();
        for &row in rows {
            match self.state.in_memory(row) {
                Some(point) => found.extend(point.vectors[at].clone().map(|bytes| (row, bytes))),
                None => flushed.push(row),
            }
        }
        flushed.sort_unstable();
        for segment in &self.state.segments {
            let Some(vectors) = &segment.vectors[at] else { continue };
            let part = flushed.iter().copied().filter(|&row| segment.covers(row));
            vectors.each_of(part, |row, bytes| {
                found.insert(row, bytes.into());
            })?;
        }
        let missing = |row: &RowId| {
            StorageError::corrupt(Path::new("vectors"), 0, "row without a vector", row.0.into(), row.0.into())
        };
        rows.iter().map(|row| found.remove(row).ok_or_else(|| missing(row).into())).collect()
    }
}
