//! BitStack: levels of signs and magnitudes of low rank, the last of which can be left off.

use half::f16;

use crate::error::{IndexError, Result};

use super::FitInput;
use super::linear::{combine, directions, project};
use super::segment::{Dtype, Segment, Segments};
use super::table::{Method, Table};

/// Levels at most.
const LEVELS_MAX: usize = 64;
/// The bit of an `f32` that makes it negative.
const SIGN: u32 = 1 << 31;

/// One level: `sign_j · Σ_k u_k · v[k][j]` is added to a row.
#[derive(Clone, Debug, PartialEq)]
struct Level {
    /// `[row]`: a bit a value, the first the highest, 1 for what is not negative; then `rank` factors in `f16`.
    rows: Vec<u8>,
    /// `[rank][dimension]`, values of `f16`.
    basis: Vec<f32>,
}

/// Rows of `⌈dim/8⌉ + 2·rank` bytes a level.
#[derive(Clone, Debug, PartialEq)]
pub struct BitStack {
    rows: usize,
    dim: usize,
    rank: usize,
    levels: Vec<Level>,
    names: Vec<[String; 2]>,
}

impl BitStack {
    /// As many levels of rank 1 as the budget allows, each fitted to what the ones before leave.
    ///
    /// # Errors
    /// When the budget is too small for one level.
    pub fn fit(input: &FitInput<'_>) -> Result<Self> {
        Self::fit_rank(input, 1)
    }

    /// The same with magnitudes of another rank.
    ///
    /// # Errors
    /// When the rank is not 1 to the number of dimensions, or the budget is too small for one level.
    pub fn fit_rank(input: &FitInput<'_>, rank: usize) -> Result<Self> {
        if !(1..=input.dim()).contains(&rank) {
            return Err(IndexError::option("rank of magnitudes", rank, format!("1 to {}", input.dim())));
        }
        let mut table =
            Self { rows: input.rows(), dim: input.dim(), rank, levels: Vec::new(), names: Vec::new() };
        let level = (table.rows * table.row_bytes() + 2 * rank * table.dim) as u64;
        input.check_budget("one level of signs and magnitudes", level)?;
        let mut rest = input.values().to_vec();
        for _ in 0..(input.budget_bytes() / level).min(LEVELS_MAX as u64) {
            let level = table.fit_level(&mut rest);
            table.push(level);
        }
        Ok(table)
    }

    /// Levels there are.
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Leaves off all levels but the first `levels`, of which there is at least one.
    pub fn truncate(&mut self, levels: usize) {
        self.levels.truncate(levels.max(1));
        self.names.truncate(levels.max(1));
    }

    fn row_bytes(&self) -> usize {
        self.dim.div_ceil(8) + 2 * self.rank
    }

    fn push(&mut self, level: Level) {
        let number = self.levels.len();
        self.names.push([format!("level{number}"), format!("basis{number}")]);
        self.levels.push(level);
    }

    fn fit_level(&self, rest: &mut [f32]) -> Level {
        let magnitudes: Vec<f32> = rest.iter().map(|x| x.abs()).collect();
        let exact = directions(&magnitudes, self.dim, None, self.rank);
        let basis: Vec<f32> = exact.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
        let mut rows = vec![0; self.rows * self.row_bytes()];
        let (mut factors, mut level) = (vec![0.0; self.rank], vec![0.0; self.dim]);
        let pairs = rest.chunks_exact_mut(self.dim).zip(rows.chunks_exact_mut(self.row_bytes()));
        for (i, (rest, row)) in pairs.enumerate() {
            project(&magnitudes[i * self.dim..][..self.dim], &exact, &mut factors);
            let (signs, stored) = row.split_at_mut(self.dim.div_ceil(8));
            rest.iter().enumerate().for_each(|(j, &x)| signs[j / 8] |= u8::from(x >= 0.0) << (7 - j % 8));
            for (stored, &factor) in stored.chunks_exact_mut(2).zip(&factors) {
                stored.copy_from_slice(&f16::from_f32(factor).to_le_bytes());
            }
            self.level_row(row, &basis, &mut factors, &mut level);
            rest.iter_mut().zip(&level).for_each(|(rest, x)| *rest -= x);
        }
        Level { rows, basis }
    }

    /// What a level adds to a row; `factors` has room for those of one.
    fn level_row(&self, row: &[u8], basis: &[f32], factors: &mut [f32], out: &mut [f32]) {
        let (signs, stored) = row.split_at(self.dim.div_ceil(8));
        for (factor, &bytes) in factors.iter_mut().zip(stored.as_chunks::<2>().0) {
            *factor = f16::from_le_bytes(bytes).to_f32();
        }
        combine(factors, basis, out);
        for (out, signs) in out.chunks_mut(8).zip(signs) {
            let negative = u32::from(!signs) << 24;
            for (j, out) in out.iter_mut().enumerate() {
                *out = f32::from_bits(out.to_bits() ^ ((negative << j) & SIGN));
            }
        }
    }

    pub(super) fn open(
        rows: usize,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let [rank, levels] = *params else { return Ok(None) };
        if !(1..=dim as u64).contains(&rank) || !(1..=LEVELS_MAX as u64).contains(&levels) {
            return Ok(None);
        }
        let mut table = Self { rows, dim, rank: rank as usize, levels: Vec::new(), names: Vec::new() };
        for level in 0..levels {
            let bytes = rows.saturating_mul(table.row_bytes());
            let rows = segments.bytes(&format!("level{level}"), bytes)?;
            let basis = segments.halves(&format!("basis{level}"), table.rank * dim)?;
            table.push(Level { rows, basis });
        }
        Ok(Some(table))
    }
}

impl Table for BitStack {
    fn method(&self) -> Method {
        Method::BitStack
    }

    fn rows(&self) -> u64 {
        self.rows as u64
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn params(&self) -> Vec<u64> {
        vec![self.rank as u64, self.levels.len() as u64]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        let mut segments = Vec::with_capacity(2 * self.levels.len());
        for (level, [rows, basis]) in self.levels.iter().zip(&self.names) {
            segments.push(Segment::bytes(rows, self.row_bytes(), &level.rows));
            let halves: Vec<u8> = level.basis.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
            let name = basis.as_str().into();
            segments.push(Segment { name, dtype: Dtype::F16, width: self.dim, bytes: halves.into() });
        }
        segments
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        let (mut factors, mut here) = (vec![0.0; self.rank], vec![0.0; self.dim]);
        let range = id as usize * self.row_bytes()..(id as usize + 1) * self.row_bytes();
        out.fill(0.0);
        for level in &self.levels {
            self.level_row(&level.rows[range.clone()], &level.basis, &mut factors, &mut here);
            out.iter_mut().zip(&here).for_each(|(out, x)| *out += x);
        }
    }
}
