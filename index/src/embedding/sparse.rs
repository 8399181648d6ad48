//! DeepLight and AutoSrh: the values that matter, and where they are.

use half::f16;

use crate::error::{IndexError, Result};

use super::FitInput;
use super::segment::{Dtype, Segment, Segments};
use super::table::{Method, Table};

/// Rows that share one offset.
const GROUP: usize = 64;

/// A bit for each value, the first the lowest; the values whose bit is 1, in `f16`; how many come before each 64 rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparse {
    rows: usize,
    dim: usize,
    bits: Vec<u8>,
    offsets: Vec<u32>,
    values: Vec<f16>,
}

impl Sparse {
    /// The values of greatest magnitude, as many as the budget allows.
    ///
    /// # Errors
    /// When the budget is too small for the bits and one value.
    pub fn fit(input: &FitInput<'_>) -> Result<Self> {
        let fixed = (input.rows() * input.dim().div_ceil(8) + 4 * input.rows().div_ceil(GROUP)) as u64;
        input.check_budget("bits, offsets and one value", fixed + 2)?;
        let most = ((input.budget_bytes() - fixed) / 2) as usize;
        Self::prune(input.values(), input.dim(), most)
    }

    /// The `most` values of greatest magnitude, of equals those that come first, that are not zero.
    ///
    /// # Errors
    /// When values are not whole rows, or more are kept than an offset can count.
    pub fn prune(values: &[f32], dim: usize, most: usize) -> Result<Self> {
        super::check_len("rows to prune", values.len(), values.len() / dim * dim)?;
        let mut order: Vec<u32> = (0..values.len() as u32).filter(|&i| values[i as usize] != 0.0).collect();
        if order.len() > most {
            let by_magnitude = |a: &u32, b: &u32| {
                let magnitude = |i: &u32| values[*i as usize].abs();
                magnitude(b).total_cmp(&magnitude(a)).then(a.cmp(b))
            };
            order.select_nth_unstable_by(most, by_magnitude);
            order.truncate(most);
            order.sort_unstable();
        }
        let (rows, row_bytes) = (values.len() / dim, dim.div_ceil(8));
        let mut table =
            Self { rows, dim, bits: vec![0; rows * row_bytes], offsets: Vec::new(), values: Vec::new() };
        for &i in &order {
            let (row, j) = (i as usize / dim, i as usize % dim);
            table.bits[row * row_bytes + j / 8] |= 1 << (j % 8);
            table.values.push(f16::from_f32(values[i as usize]));
        }
        table.offsets = table.count();
        Ok(table)
    }

    /// Values that are kept.
    pub fn kept(&self) -> usize {
        self.values.len()
    }

    /// How many values come before each group of rows.
    fn count(&self) -> Vec<u32> {
        let mut before = 0;
        let groups = self.bits.chunks(GROUP * self.dim.div_ceil(8));
        groups
            .map(|group| {
                let here = before;
                before += ones(group);
                here
            })
            .collect()
    }

    pub(super) fn open(
        rows: usize,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        if !params.is_empty() {
            return Ok(None);
        }
        let bits = segments.bytes("bits", rows.saturating_mul(dim.div_ceil(8)))?;
        let values = segments.halves("values", segments.len("values")?)?;
        let offsets = segments.words("offsets", rows.div_ceil(GROUP))?;
        let values = values.into_iter().map(f16::from_f32).collect();
        let table = Self { rows, dim, bits, offsets, values };
        let spare = if dim.is_multiple_of(8) { 0 } else { 0xFF << (dim % 8) };
        let is_clean =
            table.bits.chunks(dim.div_ceil(8)).all(|row| row.last().is_none_or(|&last| last & spare == 0));
        if !is_clean || table.count() != table.offsets || ones(&table.bits) as usize != table.values.len() {
            let found = format!("{} bits for {} values", ones(&table.bits), table.values.len());
            return Err(IndexError::input("segment bits", found, "one bit a value, counted by the offsets"));
        }
        Ok(Some(table))
    }
}

fn ones(bytes: &[u8]) -> u32 {
    bytes.iter().map(|byte| byte.count_ones()).sum()
}

impl Table for Sparse {
    fn method(&self) -> Method {
        Method::Sparse
    }

    fn rows(&self) -> u64 {
        self.rows as u64
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn params(&self) -> Vec<u64> {
        Vec::new()
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        let halves = Segment {
            name: "values".into(),
            dtype: Dtype::F16,
            width: 1,
            bytes: bytemuck::cast_slice(&self.values).into(),
        };
        vec![
            Segment::bytes("bits", self.dim.div_ceil(8), &self.bits),
            Segment::words("offsets", 1, &self.offsets),
            halves,
        ]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        let (row, row_bytes) = (id as usize, self.dim.div_ceil(8));
        let group = row / GROUP;
        let before = ones(&self.bits[group * GROUP * row_bytes..row * row_bytes]);
        let mut at = (self.offsets[group] + before) as usize;
        let bits = &self.bits[row * row_bytes..][..row_bytes];
        for (j, out) in out.iter_mut().enumerate() {
            let is_kept = bits[j / 8] >> (j % 8) & 1 == 1;
            *out = if is_kept { self.values[at].to_f32() } else { 0.0 };
            at += usize::from(is_kept);
        }
    }
}
