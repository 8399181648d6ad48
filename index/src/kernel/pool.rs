//! Rows of compressed tables, summed without being written out in between.

use half::f16;

use super::generic::{LANES, fold, widen_one};
use super::{CentroidRows, CodeRows};

/// Values that stay in registers while the rows of a bag go by.
const WIDE: usize = 4 * LANES;

#[inline(always)]
pub(super) fn pool_f32(rows: &[u8], ids: &[u64], weights: Option<&[f32]>, out: &mut [f32]) {
    pool_values::<4>(rows, ids, weights, out, f32::from_le_bytes);
}

#[inline(always)]
pub(super) fn pool_f16(rows: &[u8], ids: &[u64], weights: Option<&[f32]>, out: &mut [f32]) {
    pool_values::<2>(rows, ids, weights, out, |bytes| widen_one(f16::from_le_bytes(bytes)));
}

#[inline(always)]
pub(super) fn pool_bf16(rows: &[u8], ids: &[u64], weights: Option<&[f32]>, out: &mut [f32]) {
    pool_values::<2>(rows, ids, weights, out, |bytes| {
        f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
    });
}

/// `out_j = fma(w, x_j, out_j)` for each id in order, so that no instruction set changes a bit.
#[inline(always)]
fn pool_values<const N: usize>(
    rows: &[u8],
    ids: &[u64],
    weights: Option<&[f32]>,
    out: &mut [f32],
    widen: impl Fn([u8; N]) -> f32,
) {
    let stride = out.len() * N;
    let (wide, tail) = out.as_chunks_mut::<WIDE>();
    for (chunk, out) in wide.iter_mut().enumerate() {
        let mut sums = *out;
        for (i, &id) in ids.iter().enumerate() {
            let weight = weights.map_or(1.0, |weights| weights[i]);
            let row = &rows[id as usize * stride..][..stride];
            let values = &row[chunk * WIDE * N..][..WIDE * N].as_chunks::<N>().0;
            for lane in 0..WIDE {
                sums[lane] = weight.mul_add(widen(values[lane]), sums[lane]);
            }
        }
        *out = sums;
    }
    let first = wide.len() * WIDE * N;
    for (i, &id) in ids.iter().enumerate() {
        let weight = weights.map_or(1.0, |weights| weights[i]);
        let row = &rows[id as usize * stride..][..stride];
        let values = row[first..].as_chunks::<N>().0;
        for (out, &value) in tail.iter_mut().zip(values) {
            *out = weight.mul_add(widen(value), *out);
        }
    }
}

#[inline(always)]
pub(super) fn pool_codes(rows: &CodeRows<'_>, ids: &[u64], weights: Option<&[f32]>, out: &mut [f32]) {
    match rows.bits {
        8 => pool_bits::<8>(rows, ids, weights, out),
        4 => pool_bits::<4>(rows, ids, weights, out),
        2 => pool_bits::<2>(rows, ids, weights, out),
        bits => panic!("rows of {bits} bits a value"),
    }
}

/// `out_j = fma(w·scale, code_j, out_j + w·bias)` for each id in order.
#[inline(always)]
fn pool_bits<const BITS: usize>(rows: &CodeRows<'_>, ids: &[u64], weights: Option<&[f32]>, out: &mut [f32]) {
    let (wide, tail) = out.as_chunks_mut::<WIDE>();
    for (chunk, out) in wide.iter_mut().enumerate() {
        let mut sums = *out;
        for (i, &id) in ids.iter().enumerate() {
            let weight = weights.map_or(1.0, |weights| weights[i]);
            let row = rows.row(id);
            let (scale, bias) = rows.params(row);
            let (scale, bias) = (weight * scale, weight * bias);
            let codes = &row[rows.codes + chunk * WIDE * BITS / 8..][..WIDE * BITS / 8];
            let values = unpack_wide::<BITS>(codes);
            for lane in 0..WIDE {
                sums[lane] = scale.mul_add(values[lane], sums[lane] + bias);
            }
        }
        *out = sums;
    }
    pool_tail::<BITS>(rows, ids, weights, wide.len() * WIDE, tail);
}

/// The same for the last values of rows, from `first` on.
#[inline(always)]
fn pool_tail<const BITS: usize>(
    rows: &CodeRows<'_>,
    ids: &[u64],
    weights: Option<&[f32]>,
    first: usize,
    tail: &mut [f32],
) {
    if tail.is_empty() {
        return;
    }
    for (i, &id) in ids.iter().enumerate() {
        let weight = weights.map_or(1.0, |weights| weights[i]);
        let row = rows.row(id);
        let (scale, bias) = rows.params(row);
        let (scale, bias) = (weight * scale, weight * bias);
        let codes = &row[rows.codes + first * BITS / 8..];
        for (j, out) in tail.iter_mut().enumerate() {
            *out = scale.mul_add(code::<BITS>(codes, j), *out + bias);
        }
    }
}

/// What whole steps of [`WIDE`] values leave over.
#[inline(always)]
pub(super) fn pool_codes_tail(rows: &CodeRows<'_>, ids: &[u64], weights: Option<&[f32]>, out: &mut [f32]) {
    let first = out.len() / WIDE * WIDE;
    let tail = &mut out[first..];
    match rows.bits {
        8 => pool_tail::<8>(rows, ids, weights, first, tail),
        4 => pool_tail::<4>(rows, ids, weights, first, tail),
        2 => pool_tail::<2>(rows, ids, weights, first, tail),
        bits => panic!("rows of {bits} bits a value"),
    }
}

/// Code `j` of a row, as a number.
#[inline(always)]
fn code<const BITS: usize>(codes: &[u8], j: usize) -> f32 {
    let byte = codes[j * BITS / 8];
    f32::from((byte >> (j * BITS % 8)) & (0xFF >> (8 - BITS)))
}

/// The next codes, by whole words so that lanes differ in the shift alone.
#[inline(always)]
fn unpack_wide<const BITS: usize>(codes: &[u8]) -> [f32; WIDE] {
    let mut values = [0.0; WIDE];
    if BITS == 8 {
        for lane in 0..WIDE {
            values[lane] = f32::from(codes[lane]);
        }
        return values;
    }
    let per_word = 32 / BITS;
    let words = codes.as_chunks::<4>().0;
    for (word, values) in words.iter().zip(values.chunks_exact_mut(per_word)) {
        let word = u32::from_le_bytes(*word);
        for (lane, value) in values.iter_mut().enumerate() {
            *value = ((word >> (lane * BITS)) & (0xFF >> (8 - BITS))) as i32 as f32;
        }
    }
    values
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
pub(super) fn pool_centroids(rows: &CentroidRows<'_>, ids: &[u64], weights: Option<&[f32]>, out: &mut [f32]) {
    match rows.width {
        4 => pool_parts::<4>(rows, ids, weights, out),
        8 => pool_parts::<8>(rows, ids, weights, out),
        16 => pool_parts::<16>(rows, ids, weights, out),
        width => {
            for (part, out) in out.chunks_exact_mut(width).enumerate() {
                for (i, &id) in ids.iter().enumerate() {
                    let weight = weights.map_or(1.0, |weights| weights[i]);
                    for (out, &x) in out.iter_mut().zip(rows.centroid(id, part)) {
                        *out = weight.mul_add(x, *out);
                    }
                }
            }
        }
    }
}

/// The same for a width that is known: a part's sums stay in registers, and its centroids in the nearest cache.
#[inline(always)]
fn pool_parts<const WIDTH: usize>(
    rows: &CentroidRows<'_>,
    ids: &[u64],
    weights: Option<&[f32]>,
    out: &mut [f32],
) {
    for (part, out) in out.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
        let mut sums = *out;
        for (i, &id) in ids.iter().enumerate() {
            let weight = weights.map_or(1.0, |weights| weights[i]);
            let centroid = rows.centroid(id, part);
            for lane in 0..WIDTH {
                sums[lane] = weight.mul_add(centroid[lane], sums[lane]);
            }
        }
        *out = sums;
    }
}

/// Only a hint, which this text has no words for.
#[inline(always)]
pub(super) fn prefetch_rows(_rows: &[u8], _stride: usize, _ids: &[u64]) {}
