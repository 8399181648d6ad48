//! STABLE-RPS: all rows, one after another, go round and round one array.

use crate::error::{IndexError, Result};
use crate::random::Random;

use super::gradients::{Gradients, Shape, Train};
use super::segment::{Segment, Segments};
use super::table::{Method, Table};
use super::{FitInput, uniform_values};

/// What hashes, signs and first values are drawn for, among the uses of a seed.
const LANE: u64 = 0x2b5;

/// Value `i = id·dim + j` is `±M[(h(i div |M|) + i mod |M|) mod |M|]`.
///
/// Every place is used equally often, but for one; a row is one run of places, or two. With as many places as values
/// nothing is shared and nothing lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Cyclic {
    rows: u64,
    dim: usize,
    seed: u64,
    array: Vec<f32>,
}

impl Cyclic {
    /// An array as large as a budget allows, with random values in `±scale`.
    ///
    /// # Errors
    /// When the budget is too small for one value.
    pub fn new(rows: u64, dim: usize, budget_bytes: u64, scale: f32, seed: u64) -> Result<Self> {
        if budget_bytes < 4 {
            let fix = "allow more bytes";
            return Err(IndexError::Budget { what: "one value", needed: 4, allowed: budget_bytes, fix });
        }
        let len = (budget_bytes / 4).min(rows * dim as u64).max(1) as usize;
        Ok(Self { rows, dim, seed, array: uniform_values(seed, LANE, len, scale) })
    }

    /// Means of the values that share a place, each times its sign and counting as often as it is asked for.
    ///
    /// # Errors
    /// As [`Cyclic::new`].
    pub fn fit(input: &FitInput<'_>) -> Result<Self> {
        let mut table = Self::new(input.rows() as u64, input.dim(), input.budget_bytes(), 0.0, input.seed())?;
        if table.array.len() == input.values().len() {
            for (i, &x) in input.values().iter().enumerate() {
                let (at, sign) = table.place(i as u64);
                table.array[at] = sign * x;
            }
            return Ok(table);
        }
        let weights = input.weights();
        let mut sums = vec![0f64; table.array.len()];
        let mut totals = vec![0f64; table.array.len()];
        for (i, &x) in input.values().iter().enumerate() {
            let (at, sign) = table.place(i as u64);
            let weight = f64::from(weights[i / input.dim()]);
            sums[at] += weight * f64::from(sign * x);
            totals[at] += weight;
        }
        table.array = sums.iter().zip(&totals).map(|(sum, total)| (sum / total) as f32).collect();
        Ok(table)
    }

    /// Where a value is, and its sign.
    fn place(&self, i: u64) -> (usize, f32) {
        let len = self.array.len() as u64;
        let start = Random::new(self.seed, LANE + 1).below(i / len, len);
        let is_negative = Random::new(self.seed, LANE + 2).at(i / 64) >> (i % 64) & 1 == 1;
        (((start + i % len) % len) as usize, if is_negative { -1.0 } else { 1.0 })
    }

    fn places(&self, id: u64) -> impl Iterator<Item = (usize, f32)> {
        let first = id * self.dim as u64;
        (first..first + self.dim as u64).map(|i| self.place(i))
    }

    pub(super) fn open(
        rows: u64,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let [seed] = *params else { return Ok(None) };
        let len = segments.len("array")?;
        if len == 0 || rows.checked_mul(dim as u64).is_none() {
            return Ok(None);
        }
        Ok(Some(Self { rows, dim, seed, array: segments.floats("array", len)? }))
    }
}

impl Table for Cyclic {
    fn method(&self) -> Method {
        Method::Cyclic
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn params(&self) -> Vec<u64> {
        vec![self.seed]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        vec![Segment::floats("array", 1, &self.array)]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        out.iter_mut().zip(self.places(id)).for_each(|(out, (at, sign))| *out = sign * self.array[at]);
    }
}

impl Train for Cyclic {
    fn boxed(&self) -> Box<dyn Train> {
        Box::new(self.clone())
    }

    fn shapes(&self) -> Vec<Shape> {
        vec![Shape { rows: self.array.len() as u64, width: 1 }]
    }

    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        self.places(id).zip(gradient).for_each(|((at, sign), g)| out.push(0, at as u64, [sign * g]));
    }

    fn row_mut(&mut self, _segment: usize, row: u64) -> &mut [f32] {
        &mut self.array[row as usize..][..1]
    }
}
