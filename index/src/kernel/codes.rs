//! The loops of quantized vectors: scanning signs by table, products with whole codes, and choosing codes.
//!
//! How codes are packed is described in `quantize`.

use super::generic::{LANES, fold};
use super::{CODE_BLOCK, GRID_STEPS, GridSums, SignTerms};

/// Entries in the low nibbles of a block; as many are in the high ones.
const HALF: usize = CODE_BLOCK / 2;

/// Sums the table's values for the 32 entries of one block: 16 bytes of codes and of table a group of four
/// dimensions.
#[inline(always)]
pub(super) fn fastscan(codes: &[u8], table: &[u8], out: &mut [u32; CODE_BLOCK]) {
    assert_eq!(codes.len(), table.len());
    assert_eq!(codes.len() % (4 * HALF), 0);
    *out = [0; CODE_BLOCK];
    for (codes, table) in codes.as_chunks::<HALF>().0.iter().zip(table.as_chunks::<16>().0) {
        for entry in 0..HALF {
            out[entry] += u32::from(table[usize::from(codes[entry] & 15)]);
            out[HALF + entry] += u32::from(table[usize::from(codes[entry] >> 4)]);
        }
    }
}

/// A bit for each value that is not above the limit.
#[inline(always)]
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "what is no number is not above")]
pub(super) fn up_to(values: &[f32; CODE_BLOCK], limit: f32) -> u32 {
    let mut bits = 0;
    for (i, value) in values.iter().enumerate() {
        bits |= u32::from(!(*value > limit)) << i;
    }
    bits
}

/// The table of a query for `fastscan`: for each four dimensions and each pattern of their signs, what the dimensions
/// whose signs agree with the query's are worth, `|q| * per_step` each, rounded. The result is the sum of the squared
/// roundings.
#[inline(always)]
pub(super) fn sign_table(query: &[f32], per_step: f32, table: &mut [u8]) -> f32 {
    assert_eq!(table.len(), query.len() * 4);
    let mut squares = [0.0; LANES];
    for (group, table) in query.as_chunks::<4>().0.iter().zip(table.as_chunks_mut::<LANES>().0) {
        let mut exact = [0.0; LANES];
        for (j, q) in group.iter().enumerate() {
            let worth = q.abs() * per_step;
            let (positive, negative) = if *q > 0.0 { (worth, 0.0) } else { (0.0, worth) };
            for (pattern, exact) in exact.iter_mut().enumerate() {
                *exact += if pattern >> j & 1 == 1 { positive } else { negative };
            }
        }
        for (pattern, exact) in exact.into_iter().enumerate() {
            let rounded = exact + MAGIC;
            table[pattern] = rounded.to_bits() as u8;
            let off = (rounded - MAGIC) - exact;
            squares[pattern] = off.mul_add(off, squares[pattern]);
        }
    }
    fold(squares)
}

/// Estimates and lower bounds from the table's sums and the block's factors, 32 addends and 32 scales in `bf16`.
#[inline(always)]
pub(super) fn sign_estimates(
    sums: &[u32; CODE_BLOCK],
    factors: &[u8; 4 * CODE_BLOCK],
    terms: &SignTerms,
    estimates: &mut [f32; CODE_BLOCK],
    lower: &mut [f32; CODE_BLOCK],
) {
    let (adds, scales) = factors.as_chunks::<2>().0.split_at(CODE_BLOCK);
    for i in 0..CODE_BLOCK {
        let (add, scale) = (widen_bf16(adds[i]), widen_bf16(scales[i]));
        let product = terms.step * sums[i].cast_signed() as f32 + terms.bias;
        let estimate = (add + terms.distance) + scale * product;
        let known = if estimate.abs() <= f32::MAX { estimate } else { f32::MAX };
        let bound = known - (terms.spread + scale.abs() * terms.error);
        estimates[i] = known;
        lower[i] = if bound.abs() <= f32::MAX { bound } else { f32::NEG_INFINITY };
    }
}

/// `bf16` is the upper half of `f32`.
#[inline(always)]
fn widen_bf16(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// Σ u·q of one entry's codes `u` in `0..2^bits` and a query.
#[inline(always)]
pub(super) fn code_dot(bits: usize, signs: &[u8], entry: usize, planes: &[u8], query: &[f32]) -> f32 {
    match bits {
        1 => dot_of::<0>(signs, entry, planes, query),
        2 => dot_of::<1>(signs, entry, planes, query),
        3 => dot_of::<2>(signs, entry, planes, query),
        4 => dot_of::<3>(signs, entry, planes, query),
        5 => dot_of::<4>(signs, entry, planes, query),
        6 => dot_of::<5>(signs, entry, planes, query),
        7 => dot_of::<6>(signs, entry, planes, query),
        8 => dot_of::<7>(signs, entry, planes, query),
        _ => panic!("codes of {bits} bits"),
    }
}

/// The codes `u` of one entry, as numbers.
#[inline(always)]
pub(super) fn unpack(bits: usize, signs: &[u8], entry: usize, planes: &[u8], out: &mut [f32]) {
    match bits {
        1 => unpack_of::<0>(signs, entry, planes, out),
        2 => unpack_of::<1>(signs, entry, planes, out),
        3 => unpack_of::<2>(signs, entry, planes, out),
        4 => unpack_of::<3>(signs, entry, planes, out),
        5 => unpack_of::<4>(signs, entry, planes, out),
        6 => unpack_of::<5>(signs, entry, planes, out),
        7 => unpack_of::<6>(signs, entry, planes, out),
        8 => unpack_of::<7>(signs, entry, planes, out),
        _ => panic!("codes of {bits} bits"),
    }
}

#[inline(always)]
fn dot_of<const EX: usize>(signs: &[u8], entry: usize, planes: &[u8], query: &[f32]) -> f32 {
    check_code::<EX>(signs, entry, planes, query.len());
    let (query, _) = query.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (i, (query, signs)) in query.iter().zip(signs.as_chunks().0).enumerate() {
        let codes = codes_of::<EX>(signs, entry, &planes[i * 2 * EX..(i + 1) * 2 * EX]);
        for lane in 0..LANES {
            sums[lane] = (codes[lane] as f32).mul_add(query[lane], sums[lane]);
        }
    }
    fold(sums)
}

#[inline(always)]
fn unpack_of<const EX: usize>(signs: &[u8], entry: usize, planes: &[u8], out: &mut [f32]) {
    check_code::<EX>(signs, entry, planes, out.len());
    let (out, _) = out.as_chunks_mut::<LANES>();
    for (i, (out, signs)) in out.iter_mut().zip(signs.as_chunks().0).enumerate() {
        let codes = codes_of::<EX>(signs, entry, &planes[i * 2 * EX..(i + 1) * 2 * EX]);
        *out = codes.map(|code| code as f32);
    }
}

/// Whether the parts of an entry's code are as long as its dimensions want them.
#[inline(always)]
pub(super) fn check_code<const EX: usize>(signs: &[u8], entry: usize, planes: &[u8], dim: usize) {
    assert!(entry < CODE_BLOCK && dim.is_multiple_of(LANES));
    assert_eq!(signs.len(), dim * CODE_BLOCK / 8);
    assert_eq!(planes.len(), dim / 8 * EX);
}

/// The codes of sixteen dimensions: signs from the block, `EX` lower bits from `2 * EX` bytes of planes.
#[inline(always)]
fn codes_of<const EX: usize>(signs: &[u8; 4 * HALF], entry: usize, planes: &[u8]) -> [i32; LANES] {
    let at = entry % HALF;
    let word = |plane: &[u8]| u32::from_le_bytes(std::array::from_fn(|i| plane[i]));
    let sign = word(&[signs[at], signs[at + HALF], signs[at + 2 * HALF], signs[at + 3 * HALF]]);
    let sign = sign >> (entry / HALF * 4);
    let mut codes: [u32; LANES] = std::array::from_fn(|lane| (sign >> (lane / 4 * 8 + lane % 4) & 1) << EX);
    let mut rest = planes;
    if EX & 4 != 0 {
        let words = [word(rest), word(&rest[4..])];
        rest = &rest[8..];
        for (lane, code) in codes.iter_mut().enumerate() {
            *code |= (words[lane % 2] >> (lane / 2 * 4) & 15) << (EX & 3);
        }
    }
    if EX & 2 != 0 {
        let word = word(rest);
        rest = &rest[4..];
        for (lane, code) in codes.iter_mut().enumerate() {
            *code |= (word >> (lane * 2) & 3) << (EX & 1);
        }
    }
    if EX & 1 != 0 {
        let word = u32::from(u16::from_le_bytes([rest[0], rest[1]]));
        for (lane, code) in codes.iter_mut().enumerate() {
            *code |= word >> lane & 1;
        }
    }
    codes.map(u32::cast_signed)
}

/// The residual of a vector, and its absolute values in parts of the greatest.
#[inline(always)]
pub(super) fn residual(vector: &[f32], centroid: &[f32], residual: &mut [f32], magnitudes: &mut [f32]) {
    assert!(vector.len() == centroid.len() && vector.len() == residual.len());
    assert!(vector.len() == magnitudes.len() && vector.len().is_multiple_of(LANES));
    for i in 0..vector.len() {
        residual[i] = vector[i] - centroid[i];
    }
    let mut greatest = [f32::MIN_POSITIVE; LANES];
    for chunk in residual.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let r = chunk[lane].abs();
            greatest[lane] = if r > greatest[lane] { r } else { greatest[lane] };
        }
    }
    let greatest = greatest.iter().fold(0.0, |a: f32, &b| a.max(b));
    for (y, r) in magnitudes.iter_mut().zip(residual) {
        *y = r.abs() / greatest;
    }
}

/// The grid's points of codes of `bits` bits, and those of their highest bits alone, all centred.
#[inline(always)]
pub(super) fn grid_points(codes: &[u8], bits: usize, points: &mut [f32], signs: &mut [f32]) {
    assert!(codes.len() == points.len() && codes.len() == signs.len() && (1..=8).contains(&bits));
    let middle = ((1u32 << bits) - 1) as f32 * 0.5;
    let half = (1u32 << (bits - 1)) as f32;
    for i in 0..codes.len() {
        let code = f32::from(codes[i]);
        points[i] = code - middle;
        signs[i] = if code >= half { 0.5 } else { -0.5 };
    }
}

/// For several grids, Σ y·x and Σ x·x of magnitudes `y` and the grid's values `x` for them.
#[inline(always)]
pub(super) fn grid_sums(magnitudes: &[f32], top: f32, steps: &[f32; GRID_STEPS]) -> [GridSums; GRID_STEPS] {
    let mut sums = [GridSums::default(); GRID_STEPS];
    for (sums, &step) in sums.iter_mut().zip(steps) {
        *sums = grid_sums_of(magnitudes, top, step);
    }
    sums
}

#[inline(always)]
fn grid_sums_of(magnitudes: &[f32], top: f32, step: f32) -> GridSums {
    let (mut dot, mut norm) = ([0.0; LANES], [0.0; LANES]);
    let (chunks, tail) = magnitudes.as_chunks::<LANES>();
    assert!(tail.is_empty());
    for y in chunks {
        for lane in 0..LANES {
            let x = (on_grid(y[lane] * step, top) - MAGIC) + 0.5;
            dot[lane] = x.mul_add(y[lane], dot[lane]);
            norm[lane] = x.mul_add(x, norm[lane]);
        }
    }
    GridSums { dot: fold(dot), norm: fold(norm) }
}

/// The codes of a vector: `top + 1 + m` where it is positive and `top - m` where it is negative, `m` being the
/// number of the grid's step that its magnitude falls into.
#[inline(always)]
pub(super) fn grid_codes(vector: &[f32], magnitudes: &[f32], top: f32, t: f32, out: &mut [u8]) {
    assert_eq!(vector.len(), magnitudes.len());
    assert_eq!(vector.len(), out.len());
    let top_code = top as u32;
    for ((out, &value), &y) in out.iter_mut().zip(vector).zip(magnitudes) {
        let m = on_grid(y * t, top).to_bits() & 0xFF;
        let negative = value.to_bits() >> 31;
        // `top` has all low bits set: its difference from m is its exclusive or with m.
        let code = (m ^ (negative * top_code)) + (1 - negative) * (top_code + 1);
        *out = code as u8;
    }
}

/// Added to a small number, leaves its nearest integer in the lowest bits.
const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23

/// `MAGIC` + ⌊z⌋, at most `MAGIC` + `top`; a whole `z` may count to the step below.
#[inline(always)]
fn on_grid(z: f32, top: f32) -> f32 {
    let z = z - 0.5;
    (if z < top { z } else { top }) + MAGIC
}

/// There is no portable way to ask.
#[inline(always)]
pub(super) fn prefetch(_: &[u8]) {}
