//! DeepLight and AutoSrh: the values that matter, and where they are.

use half::f16;

use crate::error::{IndexError, Result};

use super::FitInput;
use super::runs::{Run, Runs, ValuePart};
use super::segment::{Dtype, Segment, Segments};
use super::table::{Method, Table};

/// Rows that share one offset.
const GROUP: usize = 64;

/// A bit for each value, the first the lowest; the values whose bit is 1, in `f16`; how many come before each 64 rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparse {
    layout: SparseLayout,
    values: Vec<f16>,
}

/// Which values are kept of a row, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SparseLayout {
    rows: usize,
    dim: usize,
    bits: Vec<u8>,
    offsets: Vec<u32>,
}

impl SparseLayout {
    fn row_bytes(&self) -> usize {
        self.dim.div_ceil(8)
    }

    /// The bits of a row.
    fn bits(&self, id: u64) -> &[u8] {
        &self.bits[id as usize * self.row_bytes()..][..self.row_bytes()]
    }

    /// The values kept of a row.
    fn run(&self, id: u64) -> Run {
        let (row, row_bytes) = (id as usize, self.row_bytes());
        let group = row / GROUP;
        let before = ones(&self.bits[group * GROUP * row_bytes..row * row_bytes]);
        Run { first: u64::from(self.offsets[group]) + before, len: ones(self.bits(id)) as u32 }
    }

    /// The row of the values kept of it.
    fn row(&self, id: u64, values: impl IntoIterator<Item = f16>, out: &mut [f32]) {
        out.fill(0.0);
        let mut values = values.into_iter();
        for (&byte, out) in self.bits(id).iter().zip(out.chunks_mut(8)) {
            let mut left = byte;
            while left != 0 {
                let value = values.next().map_or(0.0, f16::to_f32);
                out[left.trailing_zeros() as usize] = value;
                left &= left - 1;
            }
        }
    }

    /// How many values come before each group of rows.
    fn counts(&self) -> impl Iterator<Item = u64> {
        let groups = self.bits.chunks(GROUP * self.row_bytes());
        groups.scan(0, |before, group| {
            let here = *before;
            *before += ones(group);
            Some(here)
        })
    }

    /// Nothing if there is no such table.
    pub(super) fn open(
        rows: usize,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
        values: u64,
    ) -> Result<Option<Self>> {
        if !params.is_empty() {
            return Ok(None);
        }
        let bits = segments.bytes("bits", rows.saturating_mul(dim.div_ceil(8)))?;
        let offsets = segments.words("offsets", rows.div_ceil(GROUP))?;
        let layout = Self { rows, dim, bits, offsets };
        let spare = if dim.is_multiple_of(8) { 0 } else { 0xFF << (dim % 8) };
        let mut lasts = layout.bits.chunks(dim.div_ceil(8)).filter_map(|row| row.last());
        let is_clean = lasts.all(|&last| last & spare == 0);
        let is_counted = layout.counts().eq(layout.offsets.iter().map(|&offset| offset.into()));
        if !is_clean || !is_counted || ones(&layout.bits) != values {
            let found = format!("{} bits for {values} values", ones(&layout.bits));
            return Err(IndexError::input("segment bits", found, "one bit a value, counted by the offsets"));
        }
        Ok(Some(layout))
    }
}

impl Runs for SparseLayout {
    fn rows(&self) -> u64 {
        self.rows as u64
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn dtype(&self) -> Dtype {
        Dtype::F16
    }

    fn parts(&self) -> Vec<ValuePart> {
        vec![ValuePart { name: "values".into(), width: 1, values: ones(&self.bits) }]
    }

    fn runs(&self, id: u64, out: &mut Vec<Run>) {
        out.push(self.run(id));
    }

    fn row_of(&self, id: u64, values: &[u8], out: &mut [f32]) {
        let values = values.as_chunks::<2>().0.iter();
        self.row(id, values.map(|&bytes| f16::from_le_bytes(bytes)), out);
    }
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
    /// When values are not whole rows, or more than an offset can count.
    pub fn prune(values: &[f32], dim: usize, most: usize) -> Result<Self> {
        super::check_len("rows to prune", values.len(), values.len() / dim * dim)?;
        if u32::try_from(values.len()).is_err() {
            return Err(IndexError::option("values to prune", values.len(), format!("at most {}", u32::MAX)));
        }
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
        let mut bits = vec![0; rows * row_bytes];
        for &i in &order {
            let (row, j) = (i as usize / dim, i as usize % dim);
            bits[row * row_bytes + j / 8] |= 1 << (j % 8);
        }
        let values = order.iter().map(|&i| f16::from_f32(values[i as usize])).collect();
        let mut layout = SparseLayout { rows, dim, bits, offsets: Vec::new() };
        layout.offsets = layout.counts().map(|count| count as u32).collect();
        Ok(Self { layout, values })
    }

    /// Values that are kept.
    pub fn kept(&self) -> usize {
        self.values.len()
    }

    pub(super) fn open(
        rows: usize,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let len = segments.len("values")?;
        let layout = SparseLayout::open(rows, dim, params, segments, len as u64)?;
        let Some(layout) = layout else { return Ok(None) };
        let values = segments.halves("values", len)?.into_iter().map(f16::from_f32).collect();
        Ok(Some(Self { layout, values }))
    }
}

fn ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|&word| u64::from_le_bytes(word).count_ones());
    words.chain(rest.iter().map(|byte| byte.count_ones())).map(u64::from).sum()
}

impl Table for Sparse {
    fn method(&self) -> Method {
        Method::Sparse
    }

    fn rows(&self) -> u64 {
        self.layout.rows as u64
    }

    fn dim(&self) -> usize {
        self.layout.dim
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
            Segment::bytes("bits", self.layout.row_bytes(), &self.layout.bits),
            Segment::words("offsets", 1, &self.layout.offsets),
            halves,
        ]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        self.layout.row(id, self.layout.run(id).of(&self.values).iter().copied(), out);
    }
}
