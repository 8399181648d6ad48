//! The loops themselves, in plain Rust: the scalar twin, and the source of every wrapper.
//!
//! `#[inline(always)]` lets a wrapper compile them again with its own instruction set.

use std::ops::AddAssign;

use half::f16;

pub(super) use super::codes::{
    check_code, code_dot, fastscan, grid_codes, grid_points, grid_sums, prefetch, residual, sign_estimates,
    sign_table, unpack, up_to,
};
pub(super) use super::hadamard::{multiply, pairs, rotate, wide_steps};
pub(super) use super::pool::{
    code_products, pool_bf16, pool_bf16_from, pool_centroids, pool_centroids_from, pool_codes,
    pool_codes_from, pool_f16, pool_f16_from, pool_f32, pool_f32_from, prefetch_rows, sum_codes,
};
use super::{PANEL, Sums, TILE_PANELS, TILE_QUERIES, Tile};

/// Partial sums, and dimensions that are worked on at a time: as many `f32` as an AVX-512 register holds.
pub(crate) const LANES: usize = 16;

#[inline(always)]
pub(super) fn tile(
    panels: &[f32],
    queries: &[&[f32]; TILE_QUERIES],
    out: &mut Tile<TILE_PANELS, TILE_QUERIES>,
) {
    *out = tile_of::<TILE_PANELS, TILE_QUERIES>(panels, queries);
}

#[inline(always)]
pub(super) fn row(panels: &[f32], query: &[f32], out: &mut [f32]) {
    const WIDE: usize = 4;
    let panel = query.len() * PANEL;
    assert_eq!(panels.len(), out.len() * query.len());
    assert_eq!(out.len() % PANEL, 0);
    let mut wide = panels.chunks_exact(panel * WIDE);
    let mut wide_out = out.chunks_exact_mut(PANEL * WIDE);
    for (panels, out) in wide.by_ref().zip(wide_out.by_ref()) {
        let [sums] = tile_of::<WIDE, 1>(panels, &[query]);
        out.copy_from_slice(sums.as_flattened());
    }
    let narrow_out = wide_out.into_remainder().chunks_exact_mut(PANEL);
    for (panel, out) in wide.remainder().chunks_exact(panel).zip(narrow_out) {
        let [[sums]] = tile_of::<1, 1>(panel, &[query]);
        out.copy_from_slice(&sums);
    }
}

/// Dot products of `Q` queries with the rows of `P` panels. Each lane adds in order of dimension.
#[inline(always)]
fn tile_of<const P: usize, const Q: usize>(panels: &[f32], queries: &[&[f32]; Q]) -> Tile<P, Q> {
    let dim = queries[0].len();
    assert_eq!(panels.len(), P * dim * PANEL);
    assert!(queries.iter().all(|query| query.len() == dim));
    let panels: [&[[f32; PANEL]]; P] = std::array::from_fn(|p| {
        let panel = &panels[p * dim * PANEL..(p + 1) * dim * PANEL];
        panel.as_chunks().0
    });
    let mut sums = [[[0.0; PANEL]; P]; Q];
    for j in 0..dim {
        for q in 0..Q {
            let x = queries[q][j];
            for p in 0..P {
                for lane in 0..PANEL {
                    sums[q][p][lane] = panels[p][j][lane].mul_add(x, sums[q][p][lane]);
                }
            }
        }
    }
    sums
}

#[inline(always)]
pub(super) fn l2_f32(q: &[f32], x: &[f32]) -> f64 {
    l2(q, x, f64::from)
}

#[inline(always)]
pub(super) fn l2_f16(q: &[f32], x: &[f16]) -> f64 {
    l2(q, x, |x| f64::from(widen_one(x)))
}

#[inline(always)]
pub(super) fn sums_f32(q: &[f32], x: &[f32]) -> Sums {
    sums(q, x, f64::from)
}

#[inline(always)]
pub(super) fn sums_f16(q: &[f32], x: &[f16]) -> Sums {
    sums(q, x, |x| f64::from(widen_one(x)))
}

#[inline(always)]
pub(super) fn widen(x: &[f16], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    for (out, &x) in out.iter_mut().zip(x) {
        *out = widen_one(x);
    }
}

/// Each element is added in the order of `picked`, from 0.0 on, so that no instruction set changes a bit.
#[inline(always)]
pub(super) fn sum_rows(rows: &[f32], picked: &[u32], scale: f32, out: &mut [f32]) {
    const WIDE: usize = 4 * LANES;
    let dim = out.len();
    let (wide, tail) = out.as_chunks_mut::<WIDE>();
    for (chunk, out) in wide.iter_mut().enumerate() {
        let mut sums = [0.0; WIDE];
        for &row in picked {
            let start = row as usize * dim + chunk * WIDE;
            let part = &rows[start..start + WIDE];
            for lane in 0..WIDE {
                sums[lane] += part[lane];
            }
        }
        *out = sums.map(|sum| sum * scale);
    }
    let first = wide.len() * WIDE;
    for (i, out) in tail.iter_mut().enumerate() {
        let sum = picked.iter().fold(0.0, |sum, &row| sum + rows[row as usize * dim + first + i]);
        *out = sum * scale;
    }
}

#[inline(always)]
pub(super) fn l2_u8(q: &[u8], x: &[u8]) -> u64 {
    integer_sum(q, x, |q, x| {
        let difference = i32::from(q) - i32::from(x);
        (difference * difference) as u32
    })
}

#[inline(always)]
pub(super) fn l1_f32(q: &[f32], x: &[f32]) -> f64 {
    l1(q, x, f64::from)
}

#[inline(always)]
pub(super) fn l1_f16(q: &[f32], x: &[f16]) -> f64 {
    l1(q, x, |x| f64::from(widen_one(x)))
}

#[inline(always)]
pub(super) fn l1_u8(q: &[u8], x: &[u8]) -> u64 {
    integer_sum(q, x, |q, x| u32::from(q.abs_diff(x)))
}

#[inline(always)]
pub(super) fn l1_i8(q: &[i8], x: &[i8]) -> u64 {
    integer_sum(q, x, |q, x| u32::from(q.abs_diff(x)))
}

#[inline(always)]
pub(super) fn dot_u8(q: &[u8], x: &[u8]) -> u64 {
    integer_sum(q, x, |q, x| u32::from(q) * u32::from(x))
}

#[inline(always)]
fn integer_sum<T: Copy>(q: &[T], x: &[T], term: impl Fn(T, T) -> u32) -> u64 {
    // So many terms of at most 255² fit an u32.
    const CHUNK: usize = 1 << 16;
    assert_eq!(q.len(), x.len());
    q.chunks(CHUNK)
        .zip(x.chunks(CHUNK))
        .map(|(q, x)| u64::from(q.iter().zip(x).map(|(&q, &x)| term(q, x)).sum::<u32>()))
        .sum()
}

#[inline(always)]
fn l2<T: Copy>(q: &[f32], x: &[T], widen: impl Fn(T) -> f64) -> f64 {
    assert_eq!(q.len(), x.len());
    let (q_chunks, q_tail) = q.as_chunks::<LANES>();
    let (x_chunks, x_tail) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (q, x) in q_chunks.iter().zip(x_chunks) {
        for lane in 0..LANES {
            let difference = f64::from(q[lane]) - widen(x[lane]);
            sums[lane] = difference.mul_add(difference, sums[lane]);
        }
    }
    for (lane, (&q, &x)) in q_tail.iter().zip(x_tail).enumerate() {
        let difference = f64::from(q) - widen(x);
        sums[lane] = difference.mul_add(difference, sums[lane]);
    }
    fold(sums)
}

#[inline(always)]
fn l1<T: Copy>(q: &[f32], x: &[T], widen: impl Fn(T) -> f64) -> f64 {
    assert_eq!(q.len(), x.len());
    let (q_chunks, q_tail) = q.as_chunks::<LANES>();
    let (x_chunks, x_tail) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (q, x) in q_chunks.iter().zip(x_chunks) {
        for lane in 0..LANES {
            sums[lane] += (f64::from(q[lane]) - widen(x[lane])).abs();
        }
    }
    for (lane, (&q, &x)) in q_tail.iter().zip(x_tail).enumerate() {
        sums[lane] += (f64::from(q) - widen(x)).abs();
    }
    fold(sums)
}

#[inline(always)]
fn sums<T: Copy>(q: &[f32], x: &[T], widen: impl Fn(T) -> f64) -> Sums {
    assert_eq!(q.len(), x.len());
    let (q_chunks, q_tail) = q.as_chunks::<LANES>();
    let (x_chunks, x_tail) = x.as_chunks::<LANES>();
    let (mut dot, mut norm) = ([0.0; LANES], [0.0; LANES]);
    for (q, x) in q_chunks.iter().zip(x_chunks) {
        for lane in 0..LANES {
            let x = widen(x[lane]);
            dot[lane] = x.mul_add(f64::from(q[lane]), dot[lane]);
            norm[lane] = x.mul_add(x, norm[lane]);
        }
    }
    for (lane, (&q, &x)) in q_tail.iter().zip(x_tail).enumerate() {
        let x = widen(x);
        dot[lane] = x.mul_add(f64::from(q), dot[lane]);
        norm[lane] = x.mul_add(x, norm[lane]);
    }
    Sums { dot: fold(dot), norm: fold(norm) }
}

/// Adds the lanes pairwise, halves first, as a tree of vector registers would.
#[inline(always)]
pub(crate) fn fold<T: Copy + AddAssign>(mut sums: [T; LANES]) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

/// Widens one `f16` by bit arithmetic that compilers turn into vector code: the exponent is moved by a
/// multiplication, which also normalises subnormals, and infinities and NaN keep their exponent of ones.
#[inline(always)]
pub(super) fn widen_one(x: f16) -> f32 {
    const EXPONENT: u32 = 0x7F80_0000;
    const MOVE: f32 = f32::from_bits((127 + 112) << 23); // 2^112, the difference of the exponents' biases
    let bits = u32::from(x.to_bits());
    let magnitude = (bits & 0x7FFF) << 13;
    let scaled = (f32::from_bits(magnitude) * MOVE).to_bits();
    let special = if magnitude >= 0x0F80_0000 { EXPONENT } else { 0 };
    f32::from_bits(scaled | special | ((bits & 0x8000) << 16))
}
