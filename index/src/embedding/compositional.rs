//! CompoEmb (QR): a row of quotients with a row of remainders.

use crate::error::{IndexError, Result};

use super::gradients::{Gradients, Shape, Train};
use super::segment::{Segment, Segments};
use super::table::{Method, Table};
use super::uniform_values;

/// What first values are drawn for, among the uses of a seed.
const LANE: u64 = 0x92;

/// What becomes of the two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combine {
    /// Their product, value by value.
    Multiply,
    /// Their sum.
    Add,
}

/// A row is `Q[id div c] ⊙ R[id mod c]`, or their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Compositional {
    rows: u64,
    dim: usize,
    remainders: u64,
    combine: Combine,
    /// `[quotient][dimension]`.
    quotient_rows: Vec<f32>,
    /// `[remainder][dimension]`.
    remainder_rows: Vec<f32>,
}

impl Compositional {
    /// The fewest remainders, so the most quotients, that a budget allows; quotients begin with random values in
    /// `±scale`, remainders with the same around what changes nothing.
    ///
    /// # Errors
    /// When the budget is below that of `√rows` remainders: no choice goes further.
    pub fn new(
        rows: u64,
        dim: usize,
        budget_bytes: u64,
        combine: Combine,
        scale: f32,
        seed: u64,
    ) -> Result<Self> {
        let bytes = |remainders: u64| (rows.div_ceil(remainders) + remainders) * dim as u64 * 4;
        let root = (rows as f64).sqrt().ceil().max(1.0) as u64;
        if bytes(root) > budget_bytes {
            let fix = "allow more bytes, or choose a method that goes further";
            let what = "rows of quotients and remainders";
            return Err(IndexError::Budget { what, needed: bytes(root), allowed: budget_bytes, fix });
        }
        // Bytes fall with the number of remainders up to the root.
        let (mut low, mut high) = (1, root);
        while low < high {
            let middle = low.midpoint(high);
            if bytes(middle) <= budget_bytes { high = middle } else { low = middle + 1 }
        }
        let quotients = rows.div_ceil(low);
        let neutral = if combine == Combine::Multiply { 1.0 } else { 0.0 };
        let mut remainder_rows = uniform_values(seed, LANE + 1, low as usize * dim, scale);
        remainder_rows.iter_mut().for_each(|value| *value += neutral);
        let quotient_rows = uniform_values(seed, LANE, quotients as usize * dim, scale);
        Ok(Self { rows, dim, remainders: low, combine, quotient_rows, remainder_rows })
    }

    fn pair(&self, id: u64) -> (&[f32], &[f32]) {
        let (quotient, remainder) = (id / self.remainders, id % self.remainders);
        (
            &self.quotient_rows[quotient as usize * self.dim..][..self.dim],
            &self.remainder_rows[remainder as usize * self.dim..][..self.dim],
        )
    }

    pub(super) fn open(
        rows: u64,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let [remainders, combine] = *params else { return Ok(None) };
        if !(1..=rows.max(1)).contains(&remainders) || combine > 1 {
            return Ok(None);
        }
        let len = |rows: u64| (rows as usize).saturating_mul(dim);
        Ok(Some(Self {
            rows,
            dim,
            remainders,
            combine: if combine == 0 { Combine::Multiply } else { Combine::Add },
            quotient_rows: segments.floats("quotients", len(rows.div_ceil(remainders)))?,
            remainder_rows: segments.floats("remainders", len(remainders))?,
        }))
    }
}

impl Table for Compositional {
    fn method(&self) -> Method {
        Method::Compositional
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn params(&self) -> Vec<u64> {
        vec![self.remainders, self.combine as u64]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        vec![
            Segment::floats("quotients", self.dim, &self.quotient_rows),
            Segment::floats("remainders", self.dim, &self.remainder_rows),
        ]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        let (quotient, remainder) = self.pair(id);
        for ((out, q), r) in out.iter_mut().zip(quotient).zip(remainder) {
            *out = if self.combine == Combine::Multiply { q * r } else { q + r };
        }
    }
}

impl Train for Compositional {
    fn boxed(&self) -> Box<dyn Train> {
        Box::new(self.clone())
    }

    fn shapes(&self) -> Vec<Shape> {
        let shape = |values: &[f32]| Shape { rows: (values.len() / self.dim) as u64, width: self.dim };
        vec![shape(&self.quotient_rows), shape(&self.remainder_rows)]
    }

    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        let (quotient, remainder) = self.pair(id);
        let is_product = self.combine == Combine::Multiply;
        let of = |other: f32, g: f32| if is_product { other * g } else { g };
        let scaled =
            |other: &[f32]| other.iter().zip(gradient).map(|(&other, &g)| of(other, g)).collect::<Vec<_>>();
        out.push(0, id / self.remainders, scaled(remainder));
        out.push(1, id % self.remainders, scaled(quotient));
    }

    fn row_mut(&mut self, segment: usize, row: u64) -> &mut [f32] {
        let rows = if segment == 0 { &mut self.quotient_rows } else { &mut self.remainder_rows };
        &mut rows[row as usize * self.dim..][..self.dim]
    }
}
