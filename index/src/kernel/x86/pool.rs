//! Rows of a bag, added with AVX2: up to 64 sums stay in registers while the rows go by, and the lines of a row that
//! comes are asked for with each.

use super::avx2_by_hand::{load, load_f32, load_half, load_i32, store_f32};
use super::*;

/// How plain values are kept, and how many bytes one takes.
const F32: usize = 0;
const F16: usize = 1;
const BF16: usize = 2;
const VALUE_BYTES: [usize; 3] = [4, 2, 2];

/// Where the fields of 4 and of 2 bits in a word begin, eight by eight.
const FOURS: [i32; 8] = [0, 4, 8, 12, 16, 20, 24, 28];
const TWOS: [[i32; 8]; 2] = [[0, 2, 4, 6, 8, 10, 12, 14], [16, 18, 20, 22, 24, 26, 28, 30]];
/// What a field of 2 bits stands for, in each half of a register.
const TWO_BITS: [f32; 8] = [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0];

/// Sixteen sums.
type Sixteen = [__m256; 2];

/// Calls a function for 64 values at a time from `first` on, then for 32 and for 16; gives where it stopped.
macro_rules! by_registers {
    ($first:expr, $out:ident, $name:ident::<$($kind:tt),+>($rows:expr, $bag:expr)) => {{
        let mut at = $first;
        while $out.len() - at >= 64 {
            $name::<$($kind,)+ 4>($rows, $bag, at, $out);
            at += 64;
        }
        if $out.len() - at >= 32 {
            $name::<$($kind,)+ 2>($rows, $bag, at, $out);
            at += 32;
        }
        if $out.len() - at >= 16 {
            $name::<$($kind,)+ 1>($rows, $bag, at, $out);
            at += 16;
        }
        at
    }};
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn pool_f32(rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
    let first = by_registers!(0, out, add_values::<F32>(rows, bag));
    generic::pool_f32_from(first, rows, bag, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn pool_f16(rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
    let first = by_registers!(0, out, add_values::<F16>(rows, bag));
    generic::pool_f16_from(first, rows, bag, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn pool_bf16(rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
    let first = by_registers!(0, out, add_values::<BF16>(rows, bag));
    generic::pool_bf16_from(first, rows, bag, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn pool_codes(rows: &CodeRows<'_>, bag: &Bag<'_>, out: &mut [f32]) {
    pool_codes_from(0, rows, bag, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn pool_codes_from(first: usize, rows: &CodeRows<'_>, bag: &Bag<'_>, out: &mut [f32]) {
    let first = match (rows.bits, rows.is_wide) {
        (8, true) => by_registers!(first, out, add_codes::<8, true>(rows, bag)),
        (8, false) => by_registers!(first, out, add_codes::<8, false>(rows, bag)),
        (4, false) => by_registers!(first, out, add_codes::<4, false>(rows, bag)),
        (2, false) => by_registers!(first, out, add_codes::<2, false>(rows, bag)),
        _ => first,
    };
    generic::pool_codes_from(first, rows, bag, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn pool_centroids(rows: &CentroidRows<'_>, bag: &Bag<'_>, out: &mut [f32]) {
    let first = match (rows.width, rows.is_packed) {
        (4, false) => by_registers!(0, out, add_centroids::<4, false>(rows, bag)),
        (8, false) => by_registers!(0, out, add_centroids::<8, false>(rows, bag)),
        (16, false) => by_registers!(0, out, add_centroids::<16, false>(rows, bag)),
        (4, true) => by_registers!(0, out, add_centroids::<4, true>(rows, bag)),
        (8, true) => by_registers!(0, out, add_centroids::<8, true>(rows, bag)),
        (16, true) => by_registers!(0, out, add_centroids::<16, true>(rows, bag)),
        _ => 0,
    };
    generic::pool_centroids_from(first, rows, bag, out);
}

/// Asks for `len` bytes of a row that comes, from `first` on, and for its last one.
#[inline(always)]
pub(super) fn ask(rows: &[u8], stride: usize, coming: Option<&u64>, first: usize, len: usize) {
    let Some(&id) = coming else { return };
    let row = (id as usize).wrapping_mul(stride);
    (0..len).step_by(LINE).for_each(|at| prefetch_at(rows, row.wrapping_add(first + at)));
    prefetch_at(rows, row.wrapping_add(stride - 1));
}

/// `out_j = fma(w, x_j, out_j)` for `16·N` values from `first` on.
#[target_feature(enable = "avx2,fma,f16c")]
fn add_values<const KIND: usize, const N: usize>(rows: &[u8], bag: &Bag<'_>, first: usize, out: &mut [f32]) {
    let (stride, bytes) = (out.len() * VALUE_BYTES[KIND], 16 * VALUE_BYTES[KIND]);
    let begin = first * VALUE_BYTES[KIND];
    let mut sums = load_sums::<N>(first, out);
    for (i, &id) in bag.ids.iter().enumerate() {
        ask(rows, stride, bag.coming.get(i), begin, N * bytes);
        let weight = _mm256_set1_ps(bag.weights.map_or(1.0, |weights| weights[i]));
        let row = &rows[id as usize * stride..][..stride];
        let values = &row[begin..][..N * bytes];
        for (k, sums) in sums.iter_mut().enumerate() {
            let [low, high] = widen::<KIND>(&values[k * bytes..][..bytes]);
            *sums = [_mm256_fmadd_ps(weight, low, sums[0]), _mm256_fmadd_ps(weight, high, sums[1])];
        }
    }
    store_sums(sums, first, out);
}

/// `out_j = fma(w·scale, code_j, out_j + w·bias)`.
#[target_feature(enable = "avx2,fma,f16c")]
fn add_codes<const BITS: usize, const IS_WIDE: bool, const N: usize>(
    rows: &CodeRows<'_>,
    bag: &Bag<'_>,
    first: usize,
    out: &mut [f32],
) {
    let begin = rows.codes + first * BITS / 8;
    let mut sums = load_sums::<N>(first, out);
    for (i, &id) in bag.ids.iter().enumerate() {
        ask(rows.bytes, rows.stride, bag.coming.get(i), begin, N * 2 * BITS);
        let weight = _mm256_set1_ps(bag.weights.map_or(1.0, |weights| weights[i]));
        let row = rows.row(id);
        let [scale, bias] = params::<IS_WIDE>(&row[rows.params..]);
        let (scale, bias) = (_mm256_mul_ps(weight, scale), _mm256_mul_ps(weight, bias));
        let codes = &row[begin..][..N * 2 * BITS];
        for (k, sums) in sums.iter_mut().enumerate() {
            let [low, high] = unpack::<BITS>(&codes[k * 2 * BITS..][..2 * BITS]);
            let (a, b) = (_mm256_add_ps(sums[0], bias), _mm256_add_ps(sums[1], bias));
            *sums = [_mm256_fmadd_ps(scale, low, a), _mm256_fmadd_ps(scale, high, b)];
        }
    }
    store_sums(sums, first, out);
}

/// `out_j = fma(w, x_j, out_j)`, `x` being the centroids' values.
#[target_feature(enable = "avx2,fma,f16c")]
fn add_centroids<const WIDTH: usize, const IS_PACKED: bool, const N: usize>(
    rows: &CentroidRows<'_>,
    bag: &Bag<'_>,
    first: usize,
    out: &mut [f32],
) {
    let rows = &CentroidRows { width: WIDTH, is_packed: IS_PACKED, ..*rows };
    let mut sums = load_sums::<N>(first, out);
    for (i, &id) in bag.ids.iter().enumerate() {
        ask(rows.codes, rows.stride, bag.coming.get(i), 0, 1);
        let weight = _mm256_set1_ps(bag.weights.map_or(1.0, |weights| weights[i]));
        let row = rows.row(id);
        for (k, sums) in sums.iter_mut().enumerate() {
            let low = eight::<WIDTH>(rows, row, first / WIDTH + 16 * k / WIDTH, 0);
            let high = eight::<WIDTH>(rows, row, first / WIDTH + (16 * k + 8) / WIDTH, 8 % WIDTH);
            *sums = [_mm256_fmadd_ps(weight, low, sums[0]), _mm256_fmadd_ps(weight, high, sums[1])];
        }
    }
    store_sums(sums, first, out);
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_sums<const N: usize>(first: usize, out: &[f32]) -> [Sixteen; N] {
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (sums, out) in sums.iter_mut().zip(out[first..].as_chunks::<16>().0) {
        let (halves, _) = out.as_chunks();
        *sums = [load_f32(&halves[0]), load_f32(&halves[1])];
    }
    sums
}

#[target_feature(enable = "avx2")]
#[inline]
fn store_sums<const N: usize>(sums: [Sixteen; N], first: usize, out: &mut [f32]) {
    for (sums, out) in sums.iter().zip(out[first..].as_chunks_mut::<16>().0) {
        let (halves, _) = out.as_chunks_mut();
        store_f32(sums[0], &mut halves[0]);
        store_f32(sums[1], &mut halves[1]);
    }
}

/// Sixteen plain values.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn widen<const KIND: usize>(bytes: &[u8]) -> Sixteen {
    let (halves, _) = bytes.as_chunks::<16>();
    match KIND {
        F32 => {
            let (halves, _) = bytes.as_chunks();
            [_mm256_castsi256_ps(load(&halves[0])), _mm256_castsi256_ps(load(&halves[1]))]
        }
        F16 => [_mm256_cvtph_ps(load_half(&halves[0])), _mm256_cvtph_ps(load_half(&halves[1]))],
        _ => {
            let upper = |half| _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(load_half(half)));
            [_mm256_castsi256_ps(upper(&halves[0])), _mm256_castsi256_ps(upper(&halves[1]))]
        }
    }
}

/// Sixteen codes, the first in the lowest bits.
#[target_feature(enable = "avx2")]
#[inline]
fn unpack<const BITS: usize>(codes: &[u8]) -> Sixteen {
    match BITS {
        8 => {
            let bytes = |at: usize| _mm_cvtsi64_si128(word::<8>(&codes[at..]).cast_signed());
            let (low, high) = (_mm256_cvtepu8_epi32(bytes(0)), _mm256_cvtepu8_epi32(bytes(8)));
            [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]
        }
        4 => {
            let fields = |at: usize| {
                let words = _mm256_set1_epi32(word::<4>(&codes[at..]) as i32);
                _mm256_and_si256(_mm256_srlv_epi32(words, load_i32(&FOURS)), _mm256_set1_epi32(15))
            };
            [_mm256_cvtepi32_ps(fields(0)), _mm256_cvtepi32_ps(fields(4))]
        }
        _ => {
            // The table is asked by the lowest two bits of each lane, whatever is above them.
            let words = _mm256_set1_epi32(word::<4>(codes) as i32);
            let fields = |at: &[i32; 8]| _mm256_srlv_epi32(words, load_i32(at));
            let value = |fields| _mm256_permutevar_ps(load_f32(&TWO_BITS), fields);
            [value(fields(&TWOS[0])), value(fields(&TWOS[1]))]
        }
    }
}

/// Scale and bias in all lanes.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn params<const IS_WIDE: bool>(bytes: &[u8]) -> [__m256; 2] {
    if IS_WIDE {
        let both = word::<8>(bytes);
        let lanes = |bits: u64| _mm256_set1_ps(f32::from_bits(bits as u32));
        return [lanes(both), lanes(both >> 32)];
    }
    let both = _mm256_cvtph_ps(_mm_set1_epi32(word::<4>(bytes) as i32));
    [_mm256_moveldup_ps(both), _mm256_movehdup_ps(both)]
}

/// Eight values from `at` on of the centroids of a part and, if that has but four, of the next.
#[target_feature(enable = "avx2")]
#[inline]
fn eight<const WIDTH: usize>(rows: &CentroidRows<'_>, row: &[u8], part: usize, at: usize) -> __m256 {
    if WIDTH >= 8 {
        return load_f32(&rows.centroid(row, part).as_chunks().0[at / 8]);
    }
    let (low, high) = (rows.centroid(row, part), rows.centroid(row, part + 1));
    let four = |values: &[f32]| load_half(&bytemuck::cast_slice(values).as_chunks().0[0]);
    _mm256_castsi256_ps(_mm256_set_m128i(four(high), four(low)))
}
