//! Ids by field, for searches that decide field by field.

use crate::error::{IndexError, Result};

use super::mixed::check_fields;
use super::table::check_ids;
use super::{DIM_MAX, check_finite, check_len};

/// Fields whose ids lie one after another, and rows of theirs of so many values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fields {
    /// First id of each.
    firsts: Vec<u64>,
    rows: u64,
    dim: usize,
}

impl Fields {
    /// The fields of so many rows each.
    ///
    /// # Errors
    /// When there are none, one has no rows, or there are too many rows or dimensions.
    pub(super) fn new(sizes: &[u64], dim: usize) -> Result<Self> {
        if !(1..=DIM_MAX).contains(&dim) {
            return Err(IndexError::option("dimensions", dim, format!("1 to {DIM_MAX}")));
        }
        if sizes.is_empty() {
            return Err(IndexError::option("fields", 0, "1 or more"));
        }
        let rows = sizes.iter().fold(0u64, |sum, &size| sum.saturating_add(size));
        check_fields(rows, sizes)?;
        let add = |next: &mut u64, size: &u64| {
            *next += size;
            Some(*next - size)
        };
        let firsts = sizes.iter().scan(0, add).collect();
        Ok(Self { firsts, rows, dim })
    }

    pub(super) fn count(&self) -> usize {
        self.firsts.len()
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows of each.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> {
        let ends = self.firsts[1..].iter().chain([&self.rows]);
        self.firsts.iter().zip(ends).map(|(first, end)| end - first)
    }

    /// The field of an id, which has one.
    pub(super) fn of(&self, id: u64) -> usize {
        self.firsts.partition_point(|&first| first <= id) - 1
    }

    /// Refuses what are not all rows, back to back.
    pub(super) fn check_all(&self, values: &[f32]) -> Result<()> {
        let expected = usize::try_from(self.rows).unwrap_or(usize::MAX).saturating_mul(self.dim);
        check_len("values of all rows", values.len(), expected)?;
        check_finite("values of all rows", self.dim, values)
    }

    /// Refuses what are not the rows of ids, back to back.
    pub(super) fn check(&self, ids: &[u64], values: &[f32]) -> Result<()> {
        check_ids(ids, self.rows)?;
        check_len("values of rows", values.len(), ids.len() * self.dim)?;
        check_finite("values of rows", self.dim, values)
    }
}
