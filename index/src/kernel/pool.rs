//! Rows of compressed tables, summed without being written out in between: what they are, and the scalar twins of the
//! loops that are written by hand for x86.

use half::f16;

use super::generic::{LANES, fold, widen_one};

/// Rows are asked for so many ids before they are added: from 24 on memory answers soon enough, and caches still hold them.
pub const AHEAD: usize = 24;

/// Bags of ids, one after another.
#[derive(Clone, Copy, Debug)]
pub struct Bags<'a> {
    pub(crate) ids: &'a [u64],
    /// Bag `i` has the ids from `offsets[i]` to `offsets[i + 1]`.
    pub(crate) offsets: &'a [u64],
    pub(crate) weights: Option<&'a [f32]>,
}

impl<'a> Bags<'a> {
    /// Each bag, and with it the ids [`AHEAD`] places later.
    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = Bag<'a>> {
        let (ids, weights) = (self.ids, self.weights);
        let later = |at: usize| (at + AHEAD).min(ids.len());
        self.offsets.windows(2).map(move |pair| {
            let range = pair[0] as usize..pair[1] as usize;
            let coming = &ids[later(range.start)..later(range.end)];
            Bag { ids: &ids[range.clone()], weights: weights.map(|weights| &weights[range]), coming }
        })
    }

    /// The ids that come before any of [`Bags::iter`].
    pub(crate) fn first(&self) -> &'a [u64] {
        &self.ids[..AHEAD.min(self.ids.len())]
    }
}

/// The ids of one bag, whose rows are added.
#[derive(Debug, Clone, Copy)]
pub struct Bag<'a> {
    /// Numbers of rows, in the order in which these are added.
    pub ids: &'a [u64],
    /// A weight for each id; 1 if there are none.
    pub weights: Option<&'a [f32]>,
    /// Rows wanted soon: the processor is asked for one of them with each of the bag.
    pub coming: &'a [u64],
}

impl<'a> Bag<'a> {
    /// A bag that no others come after.
    pub fn new(ids: &'a [u64], weights: Option<&'a [f32]>) -> Self {
        Self { ids, weights, coming: &[] }
    }

    /// Ids and weights in order.
    #[inline(always)]
    fn weighted(&self) -> impl Iterator<Item = (u64, f32)> {
        let weight = |i: usize| self.weights.map_or(1.0, |weights| weights[i]);
        self.ids.iter().enumerate().map(move |(i, &id)| (id, weight(i)))
    }
}

/// Rows of integer codes, each with a scale and a bias, back to back.
#[derive(Debug, Clone, Copy)]
pub struct CodeRows<'a> {
    /// All rows.
    pub bytes: &'a [u8],
    /// Bytes of a row.
    pub stride: usize,
    /// Bits of a code: 8, 4 or 2.
    pub bits: usize,
    /// Where in a row the codes begin, the first in the lowest bits.
    pub codes: usize,
    /// Where in a row the scale is; the bias is behind it.
    pub params: usize,
    /// Both in `f32`, or both in `f16`.
    pub is_wide: bool,
}

impl CodeRows<'_> {
    /// One of them.
    #[inline(always)]
    pub(super) fn row(&self, id: u64) -> &[u8] {
        &self.bytes[id as usize * self.stride..][..self.stride]
    }

    /// Scale and bias of a row.
    #[inline(always)]
    pub(super) fn params(&self, row: &[u8]) -> (f32, f32) {
        let half = |at: usize| widen_one(f16::from_le_bytes([row[at], row[at + 1]]));
        let wide = |at: usize| f32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
        match self.is_wide {
            true => (wide(self.params), wide(self.params + 4)),
            false => (half(self.params), half(self.params + 2)),
        }
    }
}

/// Rows of codes that name a centroid for each part.
#[derive(Debug, Clone, Copy)]
pub struct CentroidRows<'a> {
    /// All rows.
    pub codes: &'a [u8],
    /// Bytes of a row.
    pub stride: usize,
    /// Two codes a byte, the first in the lower half; else one.
    pub is_packed: bool,
    /// `[part][centroid][width]`.
    pub centroids: &'a [f32],
    /// Centroids of a part.
    pub per_part: usize,
    /// Values of a part.
    pub width: usize,
}

impl CentroidRows<'_> {
    /// The codes of one of them.
    #[inline(always)]
    pub(super) fn row(&self, id: u64) -> &[u8] {
        &self.codes[id as usize * self.stride..][..self.stride]
    }

    /// The centroid of a part of a row.
    #[inline(always)]
    pub(super) fn centroid(&self, row: &[u8], part: usize) -> &[f32] {
        let code = if self.is_packed { (row[part / 2] >> (part % 2 * 4)) & 15 } else { row[part] };
        &self.centroids[(part * self.per_part + usize::from(code)) * self.width..][..self.width]
    }
}

#[inline(always)]
pub(super) fn pool_f32(rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
    pool_f32_from(0, rows, bag, out);
}

#[inline(always)]
pub(super) fn pool_f16(rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
    pool_f16_from(0, rows, bag, out);
}

#[inline(always)]
pub(super) fn pool_bf16(rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
    pool_bf16_from(0, rows, bag, out);
}

/// Values of rows from `first` on (as of all whose names end so).
#[inline(always)]
pub(super) fn pool_f32_from(first: usize, rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
    pool_values(first, rows, bag, out, f32::from_le_bytes);
}

#[inline(always)]
pub(super) fn pool_f16_from(first: usize, rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
    pool_values(first, rows, bag, out, |bytes| widen_one(f16::from_le_bytes(bytes)));
}

#[inline(always)]
pub(super) fn pool_bf16_from(first: usize, rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
    pool_values(first, rows, bag, out, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16));
}

/// `out_j = fma(w, x_j, out_j)` for each id in order, so that no instruction set changes a bit.
#[inline(always)]
fn pool_values<const N: usize>(
    first: usize,
    rows: &[u8],
    bag: &Bag<'_>,
    out: &mut [f32],
    widen: impl Fn([u8; N]) -> f32,
) {
    if first == out.len() {
        return;
    }
    let stride = out.len() * N;
    for (id, weight) in bag.weighted() {
        let row = &rows[id as usize * stride..][..stride];
        for (out, &value) in out[first..].iter_mut().zip(&row.as_chunks().0[first..]) {
            *out = weight.mul_add(widen(value), *out);
        }
    }
}

#[inline(always)]
pub(super) fn pool_codes(rows: &CodeRows<'_>, bag: &Bag<'_>, out: &mut [f32]) {
    pool_codes_from(0, rows, bag, out);
}

#[inline(always)]
pub(super) fn sum_codes(rows: &CodeRows<'_>, bags: &Bags<'_>, dim: usize, out: &mut [f32]) {
    out.fill(0.0);
    for (bag, out) in bags.iter().zip(out.chunks_exact_mut(dim)) {
        pool_codes(rows, &bag, out);
    }
}

#[inline(always)]
pub(super) fn pool_codes_from(first: usize, rows: &CodeRows<'_>, bag: &Bag<'_>, out: &mut [f32]) {
    match rows.bits {
        8 => pool_bits::<8>(first, rows, bag, out),
        4 => pool_bits::<4>(first, rows, bag, out),
        2 => pool_bits::<2>(first, rows, bag, out),
        bits => panic!("rows of {bits} bits a value"),
    }
}

/// `out_j = fma(w·scale, code_j, out_j + w·bias)` for each id in order.
#[inline(always)]
fn pool_bits<const BITS: usize>(first: usize, rows: &CodeRows<'_>, bag: &Bag<'_>, out: &mut [f32]) {
    if first == out.len() {
        return;
    }
    for (id, weight) in bag.weighted() {
        let row = rows.row(id);
        let (scale, bias) = rows.params(row);
        let (scale, bias) = (weight * scale, weight * bias);
        let codes = &row[rows.codes..];
        for (j, out) in out.iter_mut().enumerate().skip(first) {
            *out = scale.mul_add(code::<BITS>(codes, j), *out + bias);
        }
    }
}

/// Code `j` of a row, as a number.
#[inline(always)]
fn code<const BITS: usize>(codes: &[u8], j: usize) -> f32 {
    let byte = codes[j * BITS / 8];
    f32::from((byte >> (j * BITS % 8)) & (0xFF >> (8 - BITS)))
}

#[inline(always)]
pub(super) fn code_products(rows: &CodeRows<'_>, ids: &[u64], query: &[f32], out: &mut [f32]) {
    match rows.bits {
        8 => products_of::<8>(rows, ids, query, out),
        4 => products_of::<4>(rows, ids, query, out),
        2 => products_of::<2>(rows, ids, query, out),
        bits => panic!("rows of {bits} bits a value"),
    }
}

#[inline(always)]
fn products_of<const BITS: usize>(rows: &CodeRows<'_>, ids: &[u64], query: &[f32], out: &mut [f32]) {
    let sum = lanes_sum(query, |j| query[j]);
    for (&id, out) in ids.iter().zip(out) {
        let row = rows.row(id);
        let (scale, bias) = rows.params(row);
        let codes = &row[rows.codes..];
        let dot = lanes_sum(query, |j| query[j] * code::<BITS>(codes, j));
        *out = scale.mul_add(dot, bias * sum);
    }
}

/// A sum over dimensions by lanes, folded as a tree.
#[inline(always)]
fn lanes_sum(query: &[f32], term: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    for first in (0..query.len()).step_by(LANES) {
        for (lane, sum) in sums.iter_mut().enumerate().take(query.len() - first) {
            *sum += term(first + lane);
        }
    }
    fold(sums)
}

#[inline(always)]
pub(super) fn pool_centroids(rows: &CentroidRows<'_>, bag: &Bag<'_>, out: &mut [f32]) {
    pool_centroids_from(0, rows, bag, out);
}

/// `out_j = fma(w, x_j, out_j)` for each id in order. `first` is where a part begins.
#[inline(always)]
pub(super) fn pool_centroids_from(first: usize, rows: &CentroidRows<'_>, bag: &Bag<'_>, out: &mut [f32]) {
    if first == out.len() {
        return;
    }
    for (id, weight) in bag.weighted() {
        let row = rows.row(id);
        for (part, out) in out.chunks_exact_mut(rows.width).enumerate().skip(first / rows.width) {
            for (out, &x) in out.iter_mut().zip(rows.centroid(row, part)) {
                *out = weight.mul_add(x, *out);
            }
        }
    }
}

/// Only a hint, which this text has no words for.
#[inline(always)]
pub(super) fn prefetch_rows(_rows: &[u8], _stride: usize, _ids: &[u64]) {}
