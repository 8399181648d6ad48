//! Hash: ids share rows by their remainder.

use crate::error::{IndexError, Result};

use super::gradients::{Gradients, Shape, Train};
use super::segment::{Segment, Segments};
use super::table::{Method, Table};
use super::{FitInput, uniform_values};

/// What first values are drawn for, among the uses of a seed.
const LANE: u64 = 0x4a5;

/// A row is `T[id mod M]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hash {
    rows: u64,
    dim: usize,
    shared: Vec<f32>,
}

impl Hash {
    /// A table of as many shared rows as a budget allows, with random values in `±scale`.
    ///
    /// # Errors
    /// When the budget is too small for one row.
    pub fn new(rows: u64, dim: usize, budget_bytes: u64, scale: f32, seed: u64) -> Result<Self> {
        let shared = shared_rows(rows, dim, budget_bytes)?;
        Ok(Self { rows, dim, shared: uniform_values(seed, LANE, shared * dim, scale) })
    }

    /// Shared rows that are means of those that share them, each counting as often as it is asked for.
    ///
    /// # Errors
    /// When the budget is too small for one row.
    pub fn fit(input: &FitInput<'_>) -> Result<Self> {
        let (rows, dim) = (input.rows() as u64, input.dim());
        let shared = shared_rows(rows, dim, input.budget_bytes())?;
        let shared = weighted_means(input, shared, |id| id % shared);
        Ok(Self { rows, dim, shared })
    }

    fn place(&self, id: u64) -> usize {
        (id % (self.shared.len() / self.dim) as u64) as usize
    }

    pub(super) fn open(
        rows: u64,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let len = segments.len("shared")?;
        if !params.is_empty() || len == 0 || !len.is_multiple_of(dim) {
            return Ok(None);
        }
        Ok(Some(Self { rows, dim, shared: segments.floats("shared", len)? }))
    }
}

fn shared_rows(rows: u64, dim: usize, budget_bytes: u64) -> Result<usize> {
    let needed = dim as u64 * 4;
    if budget_bytes < needed {
        let fix = "allow more bytes";
        return Err(IndexError::Budget { what: "one shared row", needed, allowed: budget_bytes, fix });
    }
    Ok((budget_bytes / needed).min(rows.max(1)) as usize)
}

/// The mean of all rows that `place` puts at each of `places` places; zeros where there are none.
pub(super) fn weighted_means(
    input: &FitInput<'_>,
    places: usize,
    place: impl Fn(usize) -> usize,
) -> Vec<f32> {
    let dim = input.dim();
    let mut sums = vec![0f64; places * dim];
    let mut totals = vec![0f64; places];
    for (id, weight) in input.weights().into_iter().enumerate() {
        let at = place(id);
        totals[at] += f64::from(weight);
        let sums = &mut sums[at * dim..][..dim];
        sums.iter_mut().zip(input.row(id)).for_each(|(sum, &x)| *sum += f64::from(weight) * f64::from(x));
    }
    let mean =
        |(i, sum): (usize, &f64)| if totals[i / dim] > 0.0 { (sum / totals[i / dim]) as f32 } else { 0.0 };
    sums.iter().enumerate().map(mean).collect()
}

impl Table for Hash {
    fn method(&self) -> Method {
        Method::Hash
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn params(&self) -> Vec<u64> {
        Vec::new()
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        vec![Segment::floats("shared", self.dim, &self.shared)]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        out.copy_from_slice(&self.shared[self.place(id) * self.dim..][..self.dim]);
    }
}

impl Train for Hash {
    fn boxed(&self) -> Box<dyn Train> {
        Box::new(self.clone())
    }

    fn shapes(&self) -> Vec<Shape> {
        vec![Shape { rows: (self.shared.len() / self.dim) as u64, width: self.dim }]
    }

    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        out.push(0, self.place(id) as u64, gradient.iter().copied());
    }

    fn row_mut(&mut self, _segment: usize, row: u64) -> &mut [f32] {
        &mut self.shared[row as usize * self.dim..][..self.dim]
    }
}
