//! Rows of codes of many bags, added with AVX-512: 64 sums stay in registers while the rows of a bag go by.
//!
//! A processor has two units for whole registers, and both the addition and the multiplication of each sum take one. So all
//! else is left to loads as far as can be: they fill all lanes with a value of memory without those units.

use std::hint::black_box;

use super::avx512_by_hand::store_f32;
use super::*;

/// The sums of bags, from zeros.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) fn sum_codes(rows: &CodeRows<'_>, bags: &Bags<'_>, dim: usize, out: &mut [f32]) {
    match (rows.bits, rows.is_wide) {
        (8, true) => by_weights::<8, true>(rows, bags, dim, out),
        (8, false) => by_weights::<8, false>(rows, bags, dim, out),
        (4, false) => by_weights::<4, false>(rows, bags, dim, out),
        (2, false) => by_weights::<2, false>(rows, bags, dim, out),
        _ => pool::sum_codes(rows, bags, dim, out),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
#[inline]
fn by_weights<const BITS: usize, const IS_WIDE: bool>(
    rows: &CodeRows<'_>,
    bags: &Bags<'_>,
    dim: usize,
    out: &mut [f32],
) {
    if bags.weights.is_some() {
        let weighted = |weights: &[f32], i: usize, bytes: &[u8]| {
            let both = if IS_WIDE { pair(bytes) } else { halves(bytes) };
            spread(_mm_mul_ps(_mm_set1_ps(weights[i]), both))
        };
        sum_bags::<BITS>(rows, bags, dim, weighted, out);
    } else if IS_WIDE {
        sum_bags::<BITS>(rows, bags, dim, |_, _, bytes| whole(bytes), out);
    } else {
        sum_bags::<BITS>(rows, bags, dim, |_, _, bytes| spread(halves(bytes)), out);
    }
}

/// What is left over of a row goes the way of AVX2. Scale and bias of a bag's id `i` are `params(weights, i, bytes)`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
#[inline]
fn sum_bags<const BITS: usize>(
    rows: &CodeRows<'_>,
    bags: &Bags<'_>,
    dim: usize,
    params: impl Fn(&[f32], usize, &[u8]) -> [__m512; 2] + Copy,
    out: &mut [f32],
) {
    let left = dim / 64 * 64;
    for (bag, out) in bags.iter().zip(out.chunks_exact_mut(dim)) {
        sum_bag::<BITS>(rows, &bag, params, out);
        if left < dim {
            out[left..].fill(0.0);
            pool::pool_codes_from(left, rows, &bag, out);
        }
    }
}

/// `out_j = fma(scale, code_j, out_j + bias)` for each id in order, 64 values at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
#[inline]
fn sum_bag<const BITS: usize>(
    rows: &CodeRows<'_>,
    bag: &Bag<'_>,
    params: impl Fn(&[f32], usize, &[u8]) -> [__m512; 2],
    out: &mut [f32],
) {
    let weights = bag.weights.unwrap_or_default();
    for (chunk, out) in out.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let first = rows.codes + chunk * 8 * BITS;
        let mut sums = [_mm512_setzero_ps(); 4];
        for (i, &id) in bag.ids.iter().enumerate() {
            pool::ask(rows.bytes, rows.stride, bag.coming.get(i), first, 8 * BITS);
            let row = rows.row(id);
            let [scale, bias] = params(weights, i, &row[rows.params..]);
            let codes = &row[first..][..8 * BITS];
            for (part, sum) in sums.iter_mut().enumerate() {
                let values = sixteen::<BITS>(&codes[part * 2 * BITS..][..2 * BITS]);
                *sum = _mm512_fmadd_ps(scale, values, _mm512_add_ps(*sum, bias));
            }
        }
        let order = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
        for (sum, out) in sums.into_iter().zip(out.as_chunks_mut().0) {
            store_f32(if BITS == 4 { _mm512_permutexvar_ps(order, sum) } else { sum }, out);
        }
    }
}

/// The next sixteen codes as numbers. Of 4 bits, the first eight are in the even lanes and the others in the odd ones: as they
/// lie if a load fills the register with their 64 bits. Tables turn fields into numbers, whatever is above these.
#[target_feature(enable = "avx512f")]
#[inline]
fn sixteen<const BITS: usize>(codes: &[u8]) -> __m512 {
    match BITS {
        8 => {
            let (low, high) = (word::<8>(codes), word::<8>(&codes[8..]));
            let bytes = _mm_set_epi64x(high.cast_signed(), low.cast_signed());
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
        }
        4 => {
            let numbers = _mm512_setr_ps(
                0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0,
            );
            let turns = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
            let words = _mm512_set1_epi64(word::<8>(codes).cast_signed());
            _mm512_permutexvar_ps(_mm512_srlv_epi32(words, turns), numbers)
        }
        _ => {
            let numbers = _mm512_setr4_ps(0.0, 1.0, 2.0, 3.0);
            let turns = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let words = _mm512_set1_epi32(word::<4>(codes) as i32);
            _mm512_permutevar_ps(numbers, _mm512_srlv_epi32(words, turns))
        }
    }
}

/// Scale and bias in `f32`, in all lanes.
#[target_feature(enable = "avx512f")]
#[inline]
fn whole(bytes: &[u8]) -> [__m512; 2] {
    let lanes = |bytes: &[u8]| _mm512_set1_ps(f32::from_bits(word::<4>(bytes) as u32));
    [lanes(bytes), lanes(&bytes[4..])]
}

/// Scale and bias in `f32`, in the first two lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn pair(bytes: &[u8]) -> __m128 {
    _mm_castsi128_ps(_mm_cvtsi64_si128(word::<8>(bytes).cast_signed()))
}

/// Scale and bias in `f16`, in the first two lanes.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn halves(bytes: &[u8]) -> __m128 {
    _mm_cvtph_ps(_mm_cvtsi32_si128(word::<4>(bytes) as i32))
}

/// The first two lanes, each in all lanes. They go through memory, for spreading what is in a register would take a unit for
/// each: sums with weights took 8% longer so.
#[target_feature(enable = "avx512f,avx2")]
#[inline]
fn spread(both: __m128) -> [__m512; 2] {
    let both: [f32; 2] = bytemuck::cast(_mm_cvtsd_f64(_mm_castps_pd(both)));
    let [scale, bias] = black_box(&both);
    [_mm512_set1_ps(*scale), _mm512_set1_ps(*bias)]
}
