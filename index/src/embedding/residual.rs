//! Residual quantisation: a row is a sum of centroids, each fitted to what the ones before leave.

use crate::error::{IndexError, Result};
use crate::random::Random;

use super::lloyd::{centroids, nearest};
use super::rows::{RowCodec, Rows, row_of};
use super::segment::{Segment, Segments};
use super::table::{Method, dot};
use super::{FitInput, check_finite, check_len};

/// What centroids are drawn for, among the uses of a seed.
const LANE: u64 = 0x4e5;
/// Centroids of a level.
const PER_LEVEL: usize = 256;
/// Levels at most.
const LEVELS_MAX: usize = 64;

/// Rows of one code of 8 bits a level. The first levels of a row are a row too, of fewer bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct ResidualCodec {
    dim: usize,
    /// `[level][centroid][dimension]`.
    centroids: Vec<f32>,
}

impl ResidualCodec {
    /// Rows by these centroids: `[level][256][dim]`.
    ///
    /// # Errors
    /// When it is no whole number of levels, 1 to 64, or a value is no number.
    pub fn new(dim: usize, centroids: Vec<f32>) -> Result<Self> {
        let levels = centroids.len() / (PER_LEVEL * dim.max(1));
        if !(1..=LEVELS_MAX).contains(&levels) {
            return Err(IndexError::option("levels", levels, format!("1 to {LEVELS_MAX}")));
        }
        check_len("centroids", centroids.len(), levels * PER_LEVEL * dim)?;
        check_finite("centroids", dim, &centroids)?;
        Ok(Self { dim, centroids })
    }

    /// As many levels as the budget allows, each row counting as often as it is asked for.
    ///
    /// # Errors
    /// When the budget is too small for one level.
    pub fn fit(input: &FitInput<'_>) -> Result<Rows<Self>> {
        let level = (input.rows() + PER_LEVEL * input.dim() * 4) as u64;
        input.check_budget("codes and centroids of one level", level)?;
        let levels = ((input.budget_bytes() / level) as usize).min(LEVELS_MAX);
        let (dim, weights) = (input.dim(), input.weights());
        let mut rest = input.values().to_vec();
        let mut all = Vec::with_capacity(levels * PER_LEVEL * dim);
        for level in 0..levels {
            let random = Random::new(input.seed(), LANE + level as u64);
            let mut found = centroids(&rest, &weights, dim, PER_LEVEL, random);
            found.resize(PER_LEVEL * dim, 0.0);
            for rest in rest.chunks_exact_mut(dim) {
                take(rest, &found);
            }
            all.append(&mut found);
        }
        Rows::fitted(Self::new(dim, all)?, input)
    }

    /// Levels of a row.
    pub fn levels(&self) -> usize {
        self.centroids.len() / (PER_LEVEL * self.dim)
    }

    fn level(&self, level: usize) -> &[f32] {
        &self.centroids[level * PER_LEVEL * self.dim..][..PER_LEVEL * self.dim]
    }

    pub(super) fn open(dim: usize, params: &[u64], segments: Segments<'_>) -> Result<Option<Self>> {
        let [levels] = *params else { return Ok(None) };
        if !(1..=LEVELS_MAX as u64).contains(&levels) {
            return Ok(None);
        }
        let len = levels as usize * PER_LEVEL * dim;
        Self::new(dim, segments.floats("codebook", len)?).map(Some)
    }
}

/// Takes the nearest centroid away from what is left of a row; says which.
fn take(rest: &mut [f32], centroids: &[f32]) -> u8 {
    let (code, _) = nearest(rest, centroids);
    let centroid = &centroids[code * rest.len()..][..rest.len()];
    rest.iter_mut().zip(centroid).for_each(|(rest, &x)| *rest -= x);
    code as u8
}

impl RowCodec for ResidualCodec {
    fn method(&self) -> Method {
        Method::Residual
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn row_bytes(&self) -> usize {
        self.levels()
    }

    fn params(&self) -> Vec<u64> {
        vec![self.levels() as u64]
    }

    fn shared(&self) -> Vec<Segment<'_>> {
        vec![Segment::floats("codebook", self.dim, &self.centroids)]
    }

    fn encode(&self, values: &[f32], row: &mut [u8]) {
        let mut rest = values.to_vec();
        row.iter_mut().enumerate().for_each(|(level, code)| *code = take(&mut rest, self.level(level)));
    }

    fn decode(&self, row: &[u8], values: &mut [f32]) {
        values.fill(0.0);
        for (level, &code) in row.iter().enumerate() {
            let centroid = &self.level(level)[usize::from(code) * self.dim..][..self.dim];
            values.iter_mut().zip(centroid).for_each(|(value, &x)| *value += x);
        }
    }

    /// Without decoding: one look-up a level in a table made once for the query.
    fn products(&self, rows: &[u8], query: &[f32], ids: &[u64], out: &mut [f32]) {
        let products: Vec<f32> =
            self.centroids.chunks_exact(self.dim).map(|centroid| dot(query, centroid)).collect();
        for (&id, out) in ids.iter().zip(out) {
            let levels = row_of(rows, self.levels(), id).iter().zip(products.chunks_exact(PER_LEVEL));
            *out = levels.map(|(&code, products)| products[usize::from(code)]).sum();
        }
    }
}
