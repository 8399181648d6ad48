//! What tables are fitted from.

use crate::error::{IndexError, Result};
use crate::vector::DIM_MAX;

use super::{check_finite, check_len};

/// Rows to be kept in fewer bytes.
#[derive(Clone, Copy, Debug)]
pub struct FitInput<'a> {
    rows: &'a [f32],
    dim: usize,
    frequencies: Option<&'a [u64]>,
    budget_bytes: u64,
    seed: u64,
}

impl<'a> FitInput<'a> {
    /// Rows of `dim` values each, back to back; how often each is asked for, if that is known; how many bytes the table
    /// may take, everything counted; and a seed.
    ///
    /// # Errors
    /// When there is no row, rows are not whole, a value is not finite, or there is another number of frequencies.
    pub fn new(
        rows: &'a [f32],
        dim: usize,
        frequencies: Option<&'a [u64]>,
        budget_bytes: u64,
        seed: u64,
    ) -> Result<Self> {
        if !(1..=DIM_MAX).contains(&dim) {
            return Err(IndexError::option("dimensions", dim, format!("1 to {DIM_MAX}")));
        }
        if rows.is_empty() || !rows.len().is_multiple_of(dim) {
            let expected = format!("one or more whole rows of {dim}");
            return Err(IndexError::input("rows to fit", format!("{} values", rows.len()), expected));
        }
        check_finite("rows to fit", dim, rows)?;
        if let Some(frequencies) = frequencies {
            check_len("frequencies of rows", frequencies.len(), rows.len() / dim)?;
        }
        Ok(Self { rows, dim, frequencies, budget_bytes, seed })
    }

    /// The rows, back to back.
    pub fn values(&self) -> &'a [f32] {
        self.rows
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len() / self.dim
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Bytes the table may take.
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The values of a row.
    pub(super) fn row(&self, row: usize) -> &'a [f32] {
        &self.rows[row * self.dim..][..self.dim]
    }

    /// How much an error in each row counts: its frequency, never quite nothing; 1 for all if none is known.
    pub(super) fn weights(&self) -> Vec<f32> {
        match self.frequencies {
            None => vec![1.0; self.rows()],
            // Half a time for what was never asked for: it may yet be.
            Some(frequencies) => frequencies.iter().map(|&times| (times as f32).max(0.5)).collect(),
        }
    }

    /// Rows by falling frequency; of equals, those that come first.
    pub(super) fn by_frequency(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.rows() as u32).collect();
        if let Some(frequencies) = self.frequencies {
            order.sort_by_key(|&row| std::cmp::Reverse(frequencies[row as usize]));
        }
        order
    }

    /// Refuses a budget below the least that a method needs.
    pub(super) fn check_budget(&self, what: &'static str, needed: u64) -> Result<()> {
        if needed <= self.budget_bytes {
            return Ok(());
        }
        let fix = "allow more bytes, or choose a method that goes further";
        Err(IndexError::Budget { what, needed, allowed: self.budget_bytes, fix })
    }
}
