//! ROBE: rows are chunks of one array, each found by a hash.

use crate::error::{IndexError, Result};
use crate::random::Random;

use super::gradients::{Gradients, Shape, Train};
use super::runs::Run;
use super::segment::{Segment, Segments};
use super::signed_runs::{SignedRuns, turn};
use super::table::{Method, Table};
use super::{FitInput, uniform_values};

/// What hashes, signs and first values are drawn for, among the uses of a seed.
const LANE: u64 = 0x20be;

/// Which of two readings of the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RobeRules {
    /// Values of a chunk (Z).
    pub chunk: usize,
    /// Whether a chunk may run over the end of the array and go on at its beginning.
    pub is_wrapping: bool,
    /// Whether each value has a sign of its own.
    pub is_signed: bool,
}

/// A value is `s(id, j) · M[h(id, ⌊j/Z⌋) + j mod Z]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Robe {
    layout: RobeLayout,
    array: Vec<f32>,
}

/// Where in the array the values of a row are, and their signs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RobeLayout {
    rows: u64,
    dim: usize,
    rules: RobeRules,
    seed: u64,
    /// Values of the array.
    len: u64,
}

impl RobeLayout {
    /// Nothing if there is no such table.
    pub(super) fn open(rows: u64, dim: usize, params: &[u64], len: u64) -> Option<Self> {
        let [chunk, flags, seed] = *params else { return None };
        if !(1..=dim as u64).contains(&chunk) || len < chunk || flags > 3 {
            return None;
        }
        // Words of signs are counted by that.
        rows.checked_mul(64 * (dim as u64).div_ceil(chunk))?;
        let rules =
            RobeRules { chunk: chunk as usize, is_wrapping: flags & 1 == 1, is_signed: flags & 2 == 2 };
        Some(Self { rows, dim, rules, seed, len })
    }

    fn chunks(&self) -> u64 {
        self.dim.div_ceil(self.rules.chunk) as u64
    }
}

impl SignedRuns for RobeLayout {
    fn shape(&self) -> (u64, usize, u64) {
        (self.rows, self.dim, self.len)
    }

    /// The runs of a row: one a chunk, and one more where it goes on at the beginning.
    fn each_run(&self, id: u64, mut take: impl FnMut(Run)) {
        let RobeRules { chunk, is_wrapping, .. } = self.rules;
        let (hashes, chunks) = (Random::new(self.seed, LANE + 1), self.chunks());
        let range = if is_wrapping { self.len } else { self.len - chunk as u64 + 1 };
        for number in 0..chunks {
            let first = hashes.below(id * chunks + number, range);
            let wanted = chunk.min(self.dim - number as usize * chunk) as u64;
            let len = wanted.min(self.len - first);
            take(Run { first, len: len as u32 });
            if len < wanted {
                take(Run { first: 0, len: (wanted - len) as u32 });
            }
        }
    }

    fn turn(&self, id: u64, values: &mut [f32]) {
        if self.rules.is_signed {
            let (signs, first) = (Random::new(self.seed, LANE + 2), id * self.chunks() * 64);
            turn(values, 0, |word| signs.at(first + word));
        }
    }
}

impl Robe {
    /// An array as large as a budget allows, with random values in `±scale`.
    ///
    /// # Errors
    /// When a chunk is not 1 to `dim` values, or the budget too small for one chunk.
    pub fn new(
        rows: u64,
        dim: usize,
        budget_bytes: u64,
        rules: RobeRules,
        scale: f32,
        seed: u64,
    ) -> Result<Self> {
        if !(1..=dim).contains(&rules.chunk) {
            return Err(IndexError::option("values of a chunk", rules.chunk, format!("1 to {dim}")));
        }
        let needed = rules.chunk as u64 * 4;
        if budget_bytes < needed {
            let fix = "allow more bytes";
            return Err(IndexError::Budget { what: "one chunk", needed, allowed: budget_bytes, fix });
        }
        let len = (budget_bytes / 4).min(rows * dim as u64).max(rules.chunk as u64);
        let array = uniform_values(seed, LANE, len as usize, scale);
        Ok(Self { layout: RobeLayout { rows, dim, rules, seed, len }, array })
    }

    /// Means of the values that share a place, each times its sign and counting as often as it is asked for.
    ///
    /// # Errors
    /// As [`Robe::new`].
    pub fn fit(input: &FitInput<'_>, rules: RobeRules) -> Result<Self> {
        let mut table =
            Self::new(input.rows() as u64, input.dim(), input.budget_bytes(), rules, 0.0, input.seed())?;
        let mut sums = vec![0f64; table.array.len()];
        let mut totals = vec![0f64; table.array.len()];
        for (id, weight) in input.weights().into_iter().enumerate() {
            let weight = f64::from(weight);
            table.layout.each_value(id as u64, input.row(id), |at, x| {
                sums[at] += weight * f64::from(x);
                totals[at] += weight;
            });
        }
        let means = sums
            .iter()
            .zip(&totals)
            .map(|(sum, &total)| if total > 0.0 { (sum / total) as f32 } else { 0.0 });
        table.array = means.collect();
        Ok(table)
    }

    pub(super) fn open(
        rows: u64,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let len = segments.len("array")?;
        let Some(layout) = RobeLayout::open(rows, dim, params, len as u64) else { return Ok(None) };
        Ok(Some(Self { layout, array: segments.floats("array", len)? }))
    }
}

impl Table for Robe {
    fn method(&self) -> Method {
        Method::Robe
    }

    fn rows(&self) -> u64 {
        self.layout.rows
    }

    fn dim(&self) -> usize {
        self.layout.dim
    }

    fn params(&self) -> Vec<u64> {
        let RobeRules { chunk, is_wrapping, is_signed } = self.layout.rules;
        vec![chunk as u64, u64::from(is_wrapping) | u64::from(is_signed) << 1, self.layout.seed]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        vec![Segment::floats("array", 1, &self.array)]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        self.layout.read(id, &self.array, out);
    }
}

impl Train for Robe {
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
