//! AutoSrh's search: how much each dimension matters to rows that are asked for about equally often.

use crate::error::{IndexError, Result};

use super::table::check_ids;
use super::{check_finite, check_len};

/// A factor in 0..=1 for each dimension of each group of rows. While it is searched, a model is given rows times their
/// factors; rows learn from training data, factors from validation, and in the end the products of least magnitude are left
/// out ([`super::Sparse::prune`] of [`Saliency::fold`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Saliency {
    dim: usize,
    /// The group of each row.
    groups: Vec<u32>,
    /// `[group][dimension]`.
    factors: Vec<f32>,
}

impl Saliency {
    /// Factors of 1 for `groups` groups of about as many rows each, the most frequent ones together.
    ///
    /// # Errors
    /// When there are no rows, no dimensions, or no groups, or more groups than rows.
    pub fn new(frequencies: &[u64], dim: usize, groups: usize) -> Result<Self> {
        if dim == 0 {
            return Err(IndexError::option("dimensions", dim, "1 or more"));
        }
        if !(1..=frequencies.len()).contains(&groups) {
            return Err(IndexError::option("groups of rows", groups, format!("1 to {}", frequencies.len())));
        }
        let mut order: Vec<usize> = (0..frequencies.len()).collect();
        order.sort_by_key(|&row| (std::cmp::Reverse(frequencies[row]), row));
        let mut group_of = vec![0; frequencies.len()];
        for (place, row) in order.into_iter().enumerate() {
            group_of[row] = (place * groups / frequencies.len()) as u32;
        }
        Ok(Self { dim, groups: group_of, factors: vec![1.0; groups * dim] })
    }

    /// `[group][dimension]`.
    pub fn factors(&self) -> &[f32] {
        &self.factors
    }

    /// Multiplies rows of ids, back to back, or gradients of the products, which become gradients of the rows.
    ///
    /// # Errors
    /// When an id is out of range, or values do not fit or are no numbers.
    pub fn scale(&self, ids: &[u64], rows: &mut [f32]) -> Result<()> {
        self.check(ids, rows)?;
        for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(self.dim)) {
            let factors = &self.factors[self.groups[id as usize] as usize * self.dim..];
            row.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor);
        }
        Ok(())
    }

    /// A step: `rows` are those of the ids without factors, `gradients` those of their products. A factor moves against its
    /// gradient, `Σ x·g`, and by `pull` towards 0, both times `rate`, and stays in 0..=1.
    ///
    /// # Errors
    /// As [`Saliency::scale`], and when a constant is no number. Nothing has changed then.
    pub fn step(&mut self, ids: &[u64], rows: &[f32], gradients: &[f32], rate: f32, pull: f32) -> Result<()> {
        self.check(ids, rows)?;
        self.check(ids, gradients)?;
        check_finite("rate and pull", 2, &[rate, pull])?;
        let mut slopes = vec![0.0; self.factors.len()];
        let pairs = rows.chunks_exact(self.dim).zip(gradients.chunks_exact(self.dim));
        for (&id, (row, gradient)) in ids.iter().zip(pairs) {
            let slopes = &mut slopes[self.groups[id as usize] as usize * self.dim..];
            slopes.iter_mut().zip(row.iter().zip(gradient)).for_each(|(slope, (x, g))| *slope += x * g);
        }
        for (factor, slope) in self.factors.iter_mut().zip(slopes) {
            let moved = *factor - rate * (slope + pull);
            // What is no number any more stays what it was.
            *factor = if moved.is_nan() { *factor } else { moved.clamp(0.0, 1.0) };
        }
        Ok(())
    }

    /// All rows times their factors.
    ///
    /// # Errors
    /// When values are not the rows that there are factors for.
    pub fn fold(&self, rows: &[f32]) -> Result<Vec<f32>> {
        let ids: Vec<u64> = (0..self.groups.len() as u64).collect();
        let mut folded = rows.to_vec();
        self.scale(&ids, &mut folded)?;
        Ok(folded)
    }

    fn check(&self, ids: &[u64], values: &[f32]) -> Result<()> {
        check_ids(ids, self.groups.len() as u64)?;
        check_len("values of rows", values.len(), ids.len() * self.dim)?;
        check_finite("values of rows", self.dim, values)
    }
}
