//! STABLE-RPS: all rows, one after another, go round and round one array.

use crate::error::{IndexError, Result};
use crate::random::Random;

use super::gradients::{Gradients, Shape, Train};
use super::runs::Run;
use super::segment::{Segment, Segments};
use super::signed_runs::{SignedRuns, turn};
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
    layout: CyclicLayout,
    array: Vec<f32>,
}

/// Where in the array the values of a row are, and their signs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CyclicLayout {
    rows: u64,
    dim: usize,
    seed: u64,
    /// Values of the array.
    len: u64,
}

impl CyclicLayout {
    /// Nothing if there is no such table.
    pub(super) fn open(rows: u64, dim: usize, params: &[u64], len: u64) -> Option<Self> {
        let [seed] = *params else { return None };
        rows.checked_mul(dim as u64)?;
        (len > 0).then_some(Self { rows, dim, seed, len })
    }
}

impl SignedRuns for CyclicLayout {
    fn shape(&self) -> (u64, usize, u64) {
        (self.rows, self.dim, self.len)
    }

    /// The runs of a row: one more wherever the array ends, or a round does.
    fn each_run(&self, id: u64, mut take: impl FnMut(Run)) {
        let hashes = Random::new(self.seed, LANE + 1);
        let first = id * self.dim as u64;
        let (mut round, mut done) = (first / self.len, first % self.len);
        let mut wanted = self.dim as u64;
        while wanted > 0 {
            let at = hashes.below(round, self.len) + done;
            let at = if at < self.len { at } else { at - self.len };
            let len = wanted.min(self.len - done).min(self.len - at);
            take(Run { first: at, len: len as u32 });
            (wanted, done) = (wanted - len, done + len);
            if done == self.len {
                (round, done) = (round + 1, 0);
            }
        }
    }

    fn turn(&self, id: u64, values: &mut [f32]) {
        let signs = Random::new(self.seed, LANE + 2);
        turn(values, id * self.dim as u64, |word| signs.at(word));
    }
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
        let len = (budget_bytes / 4).min(rows * dim as u64).max(1);
        let array = uniform_values(seed, LANE, len as usize, scale);
        Ok(Self { layout: CyclicLayout { rows, dim, seed, len }, array })
    }

    /// Means of the values that share a place, each times its sign and counting as often as it is asked for.
    ///
    /// # Errors
    /// As [`Cyclic::new`].
    pub fn fit(input: &FitInput<'_>) -> Result<Self> {
        let mut table = Self::new(input.rows() as u64, input.dim(), input.budget_bytes(), 0.0, input.seed())?;
        if table.array.len() == input.values().len() {
            for id in 0..input.rows() {
                table.layout.each_value(id as u64, input.row(id), |at, x| table.array[at] = x);
            }
            return Ok(table);
        }
        let mut sums = vec![0f64; table.array.len()];
        let mut totals = vec![0f64; table.array.len()];
        for (id, weight) in input.weights().into_iter().enumerate() {
            let weight = f64::from(weight);
            table.layout.each_value(id as u64, input.row(id), |at, x| {
                sums[at] += weight * f64::from(x);
                totals[at] += weight;
            });
        }
        table.array = sums.iter().zip(&totals).map(|(sum, total)| (sum / total) as f32).collect();
        Ok(table)
    }

    pub(super) fn open(
        rows: u64,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let len = segments.len("array")?;
        let Some(layout) = CyclicLayout::open(rows, dim, params, len as u64) else { return Ok(None) };
        Ok(Some(Self { layout, array: segments.floats("array", len)? }))
    }
}

impl Table for Cyclic {
    fn method(&self) -> Method {
        Method::Cyclic
    }

    fn rows(&self) -> u64 {
        self.layout.rows
    }

    fn dim(&self) -> usize {
        self.layout.dim
    }

    fn params(&self) -> Vec<u64> {
        vec![self.layout.seed]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        vec![Segment::floats("array", 1, &self.array)]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        self.layout.read(id, &self.array, out);
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
        self.layout.each_value(id, gradient, |at, g| out.push(0, at as u64, [g]));
    }

    fn row_mut(&mut self, _segment: usize, row: u64) -> &mut [f32] {
        &mut self.array[row as usize..][..1]
    }
}
