//! SVD: a row is a few factors times one basis.

use crate::error::{IndexError, Result};

use super::linear::{combine, directions, project};
use super::rows::{RowCodec, Rows, row_of};
use super::segment::{Segment, Segments};
use super::table::{Method, dot};
use super::{FitInput, check_finite, check_len};

/// Rows of `rank` factors in `f32`: a value is `Σ_k factor_k · basis[k][j]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRankCodec {
    dim: usize,
    /// `[rank][dimension]`.
    basis: Vec<f32>,
}

impl LowRankCodec {
    /// Rows by this basis, `[rank][dim]`. Encoding takes its rows for orthonormal.
    ///
    /// # Errors
    /// When the rank is not 1 to `dim`, or a value is no number.
    pub fn new(dim: usize, basis: Vec<f32>) -> Result<Self> {
        let rank = basis.len() / dim.max(1);
        if !(1..=dim).contains(&rank) {
            return Err(IndexError::option("rank", rank, format!("1 to {dim}")));
        }
        check_len("basis", basis.len(), rank * dim)?;
        check_finite("basis", dim, &basis)?;
        Ok(Self { dim, basis })
    }

    /// The singular vectors of the greatest singular values of all rows, each counting as often as it is asked for: as many
    /// as the budget allows.
    ///
    /// # Errors
    /// When the budget is too small for one.
    pub fn fit(input: &FitInput<'_>) -> Result<Rows<Self>> {
        let one = ((input.rows() + input.dim()) * 4) as u64;
        input.check_budget("factors and basis of rank 1", one)?;
        let rank = ((input.budget_bytes() / one) as usize).min(input.dim());
        let basis = directions(input.values(), input.dim(), Some(&input.weights()), rank);
        Rows::fitted(Self::new(input.dim(), basis)?, input)
    }

    /// Factors of a row.
    pub fn rank(&self) -> usize {
        self.basis.len() / self.dim
    }

    /// `[rank][dim]`.
    pub fn basis(&self) -> &[f32] {
        &self.basis
    }

    pub(super) fn open(dim: usize, params: &[u64], segments: Segments<'_>) -> Result<Option<Self>> {
        let [rank] = *params else { return Ok(None) };
        if !(1..=dim as u64).contains(&rank) {
            return Ok(None);
        }
        Self::new(dim, segments.floats("basis", rank as usize * dim)?).map(Some)
    }
}

impl RowCodec for LowRankCodec {
    fn method(&self) -> Method {
        Method::LowRank
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn row_bytes(&self) -> usize {
        self.rank() * 4
    }

    fn params(&self) -> Vec<u64> {
        vec![self.rank() as u64]
    }

    fn shared(&self) -> Vec<Segment<'_>> {
        vec![Segment::floats("basis", self.dim, &self.basis)]
    }

    fn encode(&self, values: &[f32], row: &mut [u8]) {
        let mut factors = vec![0.0; self.rank()];
        project(values, &self.basis, &mut factors);
        row.copy_from_slice(bytemuck::cast_slice(&factors));
    }

    fn decode(&self, row: &[u8], values: &mut [f32]) {
        combine(&bytemuck::pod_collect_to_vec::<u8, f32>(row), &self.basis, values);
    }

    /// Without decoding: the query is brought to the factors once.
    fn products(&self, rows: &[u8], query: &[f32], ids: &[u64], out: &mut [f32]) {
        let query: Vec<f32> =
            self.basis.chunks_exact(self.dim).map(|direction| dot(query, direction)).collect();
        let mut factors = vec![0.0; self.rank()];
        for (&id, out) in ids.iter().zip(out) {
            bytemuck::cast_slice_mut(&mut factors).copy_from_slice(row_of(rows, self.row_bytes(), id));
            *out = dot(&query, &factors);
        }
    }
}
