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
    let mut first = by_registers!(0, out, add_values::<F32>(rows, bag));
    if out.len() - first >= 8 {
        add_eight(rows, bag, first, out);
        first += 8;
    }
    if out.len() - first >= 4 {
        add_four(rows, bag, first, out);
        first += 4;
    }
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
pub(super) fn sum_codes(rows: &CodeRows<'_>, bags: &Bags<'_>, dim: usize, out: &mut [f32]) {
    out.fill(0.0);
    for (bag, out) in bags.iter().zip(out.chunks_exact_mut(dim)) {
        pool_codes(rows, &bag, out);
    }
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
    let first = match (rows.width, rows.per_part, rows.is_packed) {
        (2, 256, false) => by_registers!(0, out, add_centroids::<2, 256>(rows, bag)),
        (4, 256, false) => by_registers!(0, out, add_centroids::<4, 256>(rows, bag)),
        (8, 256, false) => by_registers!(0, out, add_centroids::<8, 256>(rows, bag)),
        (16, 256, false) => by_registers!(0, out, add_centroids::<16, 256>(rows, bag)),
        (2, 16, true) => by_registers!(0, out, add_centroids::<2, 16>(rows, bag)),
        (4, 16, true) => by_registers!(0, out, add_centroids::<4, 16>(rows, bag)),
        (8, 16, true) => by_registers!(0, out, add_centroids::<8, 16>(rows, bag)),
        (16, 16, true) => by_registers!(0, out, add_centroids::<16, 16>(rows, bag)),
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

/// The same for eight values of `f32`.
#[target_feature(enable = "avx2,fma")]
fn add_eight(rows: &[u8], bag: &Bag<'_>, first: usize, out: &mut [f32]) {
    let stride = out.len() * 4;
    let out = &mut out[first..].as_chunks_mut().0[0];
    let mut sums = load_f32(out);
    for (i, &id) in bag.ids.iter().enumerate() {
        let weight = _mm256_set1_ps(bag.weights.map_or(1.0, |weights| weights[i]));
        let values = &rows[id as usize * stride..][..stride][first * 4..].as_chunks().0[0];
        sums = _mm256_fmadd_ps(weight, _mm256_castsi256_ps(load(values)), sums);
    }
    store_f32(sums, out);
}

/// The same for four.
#[target_feature(enable = "avx2,fma")]
fn add_four(rows: &[u8], bag: &Bag<'_>, first: usize, out: &mut [f32]) {
    let stride = out.len() * 4;
    let out = &mut out[first..].as_chunks_mut::<4>().0[0];
    let mut sums = _mm_castsi128_ps(load_half(&bytemuck::cast(*out)));
    for (i, &id) in bag.ids.iter().enumerate() {
        let weight = _mm_set1_ps(bag.weights.map_or(1.0, |weights| weights[i]));
        let values = &rows[id as usize * stride..][..stride][first * 4..].as_chunks().0[0];
        sums = _mm_fmadd_ps(weight, _mm_castsi128_ps(load_half(values)), sums);
    }
    *out = bytemuck::cast([
        _mm_cvtsd_f64(_mm_castps_pd(sums)),
        _mm_cvtsd_f64(_mm_castps_pd(_mm_movehl_ps(sums, sums))),
    ]);
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

/// `out_j = fma(w, x_j, out_j)`, `x` being the values of centroids: `PER_PART` of them for `WIDTH` values, in codes of 8 bits,
/// or of 4 bits if there are 16. Steps begin where a byte of codes does.
#[target_feature(enable = "avx2,fma,f16c")]
fn add_centroids<const WIDTH: usize, const PER_PART: usize, const N: usize>(
    rows: &CentroidRows<'_>,
    bag: &Bag<'_>,
    first: usize,
    out: &mut [f32],
) {
    // Of known lengths, so that no code can lead out of them.
    let per_byte = if PER_PART == 16 { 2 } else { 1 };
    let (begin, len) = (first / WIDTH / per_byte, (16 * N / WIDTH).div_ceil(per_byte));
    let centroids = &rows.centroids[first * PER_PART..][..16 * N * PER_PART];
    let mut sums = load_sums::<N>(first, out);
    for (i, &id) in bag.ids.iter().enumerate() {
        ask(rows.codes, rows.stride, bag.coming.get(i), 0, 1);
        let weight = _mm256_set1_ps(bag.weights.map_or(1.0, |weights| weights[i]));
        let codes = &rows.row(id)[begin..][..len];
        for (k, sums) in sums.iter_mut().enumerate() {
            let low = eight::<WIDTH, PER_PART>(centroids, codes, 16 * k);
            let high = eight::<WIDTH, PER_PART>(centroids, codes, 16 * k + 8);
            *sums = [_mm256_fmadd_ps(weight, low, sums[0]), _mm256_fmadd_ps(weight, high, sums[1])];
        }
    }
    store_sums(sums, first, out);
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_sums<const N: usize>(first: usize, out: &[f32]) -> [Sixteen; N] {
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    let (halves, _) = out[first..][..N * 16].as_chunks();
    for (k, sums) in sums.iter_mut().enumerate() {
        *sums = [load_f32(&halves[2 * k]), load_f32(&halves[2 * k + 1])];
    }
    sums
}

#[target_feature(enable = "avx2")]
#[inline]
fn store_sums<const N: usize>(sums: [Sixteen; N], first: usize, out: &mut [f32]) {
    let (halves, _) = out[first..][..N * 16].as_chunks_mut();
    for (k, sums) in sums.iter().enumerate() {
        store_f32(sums[0], &mut halves[2 * k]);
        store_f32(sums[1], &mut halves[2 * k + 1]);
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
        let lanes = |bytes: &[u8]| _mm256_set1_ps(f32::from_bits(word::<4>(bytes) as u32));
        return [lanes(bytes), lanes(&bytes[4..])];
    }
    let both = _mm256_cvtph_ps(_mm_set1_epi32(word::<4>(bytes) as i32));
    [_mm256_moveldup_ps(both), _mm256_movehdup_ps(both)]
}

/// Eight values from `at` on.
#[target_feature(enable = "avx2")]
#[inline]
fn eight<const WIDTH: usize, const PER_PART: usize>(centroids: &[f32], codes: &[u8], at: usize) -> __m256 {
    if WIDTH >= 8 {
        return load_f32(&centroids[place::<WIDTH, PER_PART>(codes, at)..].as_chunks().0[0]);
    }
    if WIDTH == 2 {
        let two = |at: usize| {
            let values = &centroids[place::<WIDTH, PER_PART>(codes, at)..].as_chunks::<2>().0[0];
            bytemuck::cast::<[f32; 2], i64>(*values)
        };
        return _mm256_castsi256_ps(_mm256_set_epi64x(two(at + 6), two(at + 4), two(at + 2), two(at)));
    }
    let four = |at: usize| {
        let values = &centroids[place::<WIDTH, PER_PART>(codes, at)..][..4];
        load_half(&bytemuck::cast_slice(values).as_chunks().0[0])
    };
    _mm256_castsi256_ps(_mm256_set_m128i(four(at + 4), four(at)))
}

/// Where among the centroids a value is.
#[inline(always)]
fn place<const WIDTH: usize, const PER_PART: usize>(codes: &[u8], at: usize) -> usize {
    let part = at / WIDTH;
    let code = if PER_PART == 16 { (codes[part / 2] >> (part % 2 * 4)) & 15 } else { codes[part] };
    (part * PER_PART + usize::from(code)) * WIDTH + at % WIDTH
}
