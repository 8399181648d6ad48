//! ROBE: rows are chunks of one array, each found by a hash.

use crate::error::{IndexError, Result};
use crate::random::Random;

use super::gradients::{Gradients, Shape, Train};
use super::segment::{Segment, Segments};
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
    rows: u64,
    dim: usize,
    rules: RobeRules,
    seed: u64,
    array: Vec<f32>,
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
        let len = (budget_bytes / 4).min(rows * dim as u64).max(rules.chunk as u64) as usize;
        Ok(Self { rows, dim, rules, seed, array: uniform_values(seed, LANE, len, scale) })
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
            for (&x, (at, sign)) in input.row(id).iter().zip(table.places(id as u64)) {
                sums[at] += weight * f64::from(sign * x);
                totals[at] += weight;
            }
        }
        let means = sums
            .iter()
            .zip(&totals)
            .map(|(sum, &total)| if total > 0.0 { (sum / total) as f32 } else { 0.0 });
        table.array = means.collect();
        Ok(table)
    }

    /// Where each value of a row is, and its sign.
    fn places(&self, id: u64) -> impl Iterator<Item = (usize, f32)> {
        let RobeRules { chunk, is_wrapping, is_signed } = self.rules;
        let len = self.array.len();
        let (hashes, signs) = (Random::new(self.seed, LANE + 1), Random::new(self.seed, LANE + 2));
        let range = if is_wrapping { len } else { len - chunk + 1 } as u64;
        let chunks = self.dim.div_ceil(chunk) as u64;
        let mut start = 0;
        (0..self.dim).map(move |j| {
            if j.is_multiple_of(chunk) {
                start = hashes.below(id * chunks + (j / chunk) as u64, range) as usize;
            }
            let is_negative = is_signed && signs.at(id * chunks * 64 + (j / 64) as u64) >> (j % 64) & 1 == 1;
            ((start + j % chunk) % len, if is_negative { -1.0 } else { 1.0 })
        })
    }

    pub(super) fn open(
        rows: u64,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let [chunk, flags, seed] = *params else { return Ok(None) };
        let len = segments.len("array")?;
        if !(1..=dim as u64).contains(&chunk) || len < chunk as usize || flags > 3 {
            return Ok(None);
        }
        let rules =
            RobeRules { chunk: chunk as usize, is_wrapping: flags & 1 == 1, is_signed: flags & 2 == 2 };
        Ok(Some(Self { rows, dim, rules, seed, array: segments.floats("array", len)? }))
    }
}

impl Table for Robe {
    fn method(&self) -> Method {
        Method::Robe
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn params(&self) -> Vec<u64> {
        let flags = u64::from(self.rules.is_wrapping) | u64::from(self.rules.is_signed) << 1;
        vec![self.rules.chunk as u64, flags, self.seed]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        vec![Segment::floats("array", 1, &self.array)]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        out.iter_mut().zip(self.places(id)).for_each(|(out, (at, sign))| *out = sign * self.array[at]);
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
        self.places(id).zip(gradient).for_each(|((at, sign), g)| out.push(0, at as u64, [sign * g]));
    }

    fn row_mut(&mut self, _segment: usize, row: u64) -> &mut [f32] {
        &mut self.array[row as usize..][..1]
    }
}
