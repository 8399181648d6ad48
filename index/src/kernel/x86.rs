//! The generic loops compiled for AVX2 and AVX-512. Possession of a value proves that the processor can.
//!
//! Where compilers do not find the instructions (lookups by shuffle, bits to lanes, sums within a register), the
//! loops are written with intrinsics at the end, and give the bits of the generic ones.

#![expect(unsafe_code, reason = "calling code compiled for an instruction set the build does not assume")]

use std::arch::x86_64::*;

use half::f16;

use super::lanes::{nibble_bits, signs, turns, word};
use super::{
    Bag, Bags, CODE_BLOCK, CentroidRows, CodeRows, GRID_STEPS, GridSums, SignTerms, Sums, TILE_PANELS,
    TILE_QUERIES, Tile, generic,
};

mod pool;
mod pool_wide;

macro_rules! isa {
    ($(#[$doc:meta])* $isa:ident, $module:ident, $by_hand:ident, $features:literal, [$($feature:tt),+]) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) struct $isa(());

        impl $isa {
            /// Looks whether the processor has the instruction set.
            pub(super) fn detect() -> Option<Self> {
                ($(is_x86_feature_detected!($feature))&&+).then_some(Self(()))
            }

            wrap!($module, tile(panels: &[f32], queries: &[&[f32]; TILE_QUERIES], out: &mut Tile<TILE_PANELS, TILE_QUERIES>));
            wrap!($module, row(panels: &[f32], query: &[f32], out: &mut [f32]));
            wrap!($module, l2_f32(q: &[f32], x: &[f32]) -> f64);
            wrap!($module, l2_f16(q: &[f32], x: &[f16]) -> f64);
            wrap!($module, sums_f32(q: &[f32], x: &[f32]) -> Sums);
            wrap!($module, sums_f16(q: &[f32], x: &[f16]) -> Sums);
            wrap!($module, l2_u8(q: &[u8], x: &[u8]) -> u64);
            wrap!($module, dot_u8(q: &[u8], x: &[u8]) -> u64);
            wrap!($module, l1_f32(q: &[f32], x: &[f32]) -> f64);
            wrap!($module, l1_f16(q: &[f32], x: &[f16]) -> f64);
            wrap!($module, l1_u8(q: &[u8], x: &[u8]) -> u64);
            wrap!($module, l1_i8(q: &[i8], x: &[i8]) -> u64);
            wrap!($module, widen(x: &[f16], out: &mut [f32]));
            wrap!($module, sum_rows(rows: &[f32], picked: &[u32], scale: f32, out: &mut [f32]));

            pub(super) fn prefetch(self, bytes: &[u8]) {
                prefetch(bytes);
            }

            pub(super) fn prefetch_rows(self, rows: &[u8], stride: usize, ids: &[u64]) {
                let row = |&id: &u64| rows.get((id as usize).checked_mul(stride)?..)?.get(..stride);
                ids.iter().filter_map(row).for_each(prefetch);
            }

            wrap!($module, rotate(factors: &[f32], first: usize, x: &mut [f32]));
            wrap!($module, fastscan(codes: &[u8], table: &[u8], out: &mut [u32; CODE_BLOCK]));
            wrap!($module, code_dot(bits: usize, signs: &[u8], entry: usize, planes: &[u8], query: &[f32]) -> f32);
            wrap!($module, unpack(bits: usize, signs: &[u8], entry: usize, planes: &[u8], out: &mut [f32]));
            wrap!($module, grid_sums(magnitudes: &[f32], top: f32, steps: &[f32; GRID_STEPS]) -> [GridSums; GRID_STEPS]);
            wrap!($module, grid_codes(vector: &[f32], magnitudes: &[f32], top: f32, step: f32, out: &mut [u8]));
            wrap!($module, sign_table(query: &[f32], per_step: f32, table: &mut [u8]) -> f32);
            wrap!($module, sign_estimates(sums: &[u32; CODE_BLOCK], factors: &[u8; 4 * CODE_BLOCK], terms: &SignTerms, estimates: &mut [f32; CODE_BLOCK], lower: &mut [f32; CODE_BLOCK]));
            wrap!($module, up_to(values: &[f32; CODE_BLOCK], limit: f32) -> u32);
            wrap!($module, residual(vector: &[f32], centroid: &[f32], residual: &mut [f32], magnitudes: &mut [f32]));
            wrap!($module, grid_points(codes: &[u8], bits: usize, points: &mut [f32], signs: &mut [f32]));
            wrap!($module, pool_f32(rows: &[u8], bag: &Bag<'_>, out: &mut [f32]));
            wrap!($module, pool_f16(rows: &[u8], bag: &Bag<'_>, out: &mut [f32]));
            wrap!($module, pool_bf16(rows: &[u8], bag: &Bag<'_>, out: &mut [f32]));
            wrap!($module, pool_codes(rows: &CodeRows<'_>, bag: &Bag<'_>, out: &mut [f32]));
            wrap!($module, sum_codes(rows: &CodeRows<'_>, bags: &Bags<'_>, dim: usize, out: &mut [f32]));
            wrap!($module, pool_centroids(rows: &CentroidRows<'_>, bag: &Bag<'_>, out: &mut [f32]));
            wrap!($module, code_products(rows: &CodeRows<'_>, ids: &[u64], query: &[f32], out: &mut [f32]));
        }

        mod $module {
            use super::*;
            pub(super) use super::$by_hand::{code_dot, fastscan, pool_codes, rotate, sum_codes, up_to};
            pub(super) use super::pool::{pool_bf16, pool_centroids, pool_f16, pool_f32};
            compiled!($features, tile(panels: &[f32], queries: &[&[f32]; TILE_QUERIES], out: &mut Tile<TILE_PANELS, TILE_QUERIES>));
            compiled!($features, row(panels: &[f32], query: &[f32], out: &mut [f32]));
            compiled!($features, l2_f32(q: &[f32], x: &[f32]) -> f64);
            compiled!($features, l2_f16(q: &[f32], x: &[f16]) -> f64);
            compiled!($features, sums_f32(q: &[f32], x: &[f32]) -> Sums);
            compiled!($features, sums_f16(q: &[f32], x: &[f16]) -> Sums);
            compiled!($features, l2_u8(q: &[u8], x: &[u8]) -> u64);
            compiled!($features, dot_u8(q: &[u8], x: &[u8]) -> u64);
            compiled!($features, l1_f32(q: &[f32], x: &[f32]) -> f64);
            compiled!($features, l1_f16(q: &[f32], x: &[f16]) -> f64);
            compiled!($features, l1_u8(q: &[u8], x: &[u8]) -> u64);
            compiled!($features, l1_i8(q: &[i8], x: &[i8]) -> u64);
            compiled!($features, widen(x: &[f16], out: &mut [f32]));
            compiled!($features, sum_rows(rows: &[f32], picked: &[u32], scale: f32, out: &mut [f32]));
            compiled!($features, unpack(bits: usize, signs: &[u8], entry: usize, planes: &[u8], out: &mut [f32]));
            compiled!($features, grid_sums(magnitudes: &[f32], top: f32, steps: &[f32; GRID_STEPS]) -> [GridSums; GRID_STEPS]);
            compiled!($features, grid_codes(vector: &[f32], magnitudes: &[f32], top: f32, step: f32, out: &mut [u8]));
            compiled!($features, sign_table(query: &[f32], per_step: f32, table: &mut [u8]) -> f32);
            compiled!($features, sign_estimates(sums: &[u32; CODE_BLOCK], factors: &[u8; 4 * CODE_BLOCK], terms: &SignTerms, estimates: &mut [f32; CODE_BLOCK], lower: &mut [f32; CODE_BLOCK]));
            compiled!($features, residual(vector: &[f32], centroid: &[f32], residual: &mut [f32], magnitudes: &mut [f32]));
            compiled!($features, grid_points(codes: &[u8], bits: usize, points: &mut [f32], signs: &mut [f32]));
            compiled!($features, code_products(rows: &CodeRows<'_>, ids: &[u64], query: &[f32], out: &mut [f32]));
        }
    };
}

macro_rules! wrap {
    ($module:ident, $name:ident ( $($arg:ident : $type:ty),* ) $(-> $result:ty)?) => {
        pub(super) fn $name(self, $($arg: $type),*) $(-> $result)? {
            // SAFETY: `self` exists only if `detect` saw the features the callee is compiled for.
            unsafe { $module::$name($($arg),*) }
        }
    };
}

macro_rules! compiled {
    ($features:literal, $name:ident ( $($arg:ident : $type:ty),* ) $(-> $result:ty)?) => {
        #[target_feature(enable = $features)]
        pub(super) fn $name($($arg: $type),*) $(-> $result)? {
            generic::$name($($arg),*)
        }
    };
}

isa!(
    /// AVX2 with fused multiply-add.
    Avx2, avx2, avx2_by_hand, "avx2,fma,f16c", ["avx2", "fma", "f16c"]
);
isa!(
    /// AVX-512 as every server since Skylake has it.
    Avx512, avx512, avx512_by_hand, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c",
    ["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "f16c"]
);

/// Bytes of a cache line.
const LINE: usize = 64;

#[inline(always)]
fn prefetch(bytes: &[u8]) {
    (0..bytes.len()).step_by(LINE).chain(bytes.len().checked_sub(1)).for_each(|at| prefetch_at(bytes, at));
}

/// Part of what every x86-64 processor can.
#[inline(always)]
fn prefetch_at(bytes: &[u8], at: usize) {
    // SAFETY: prefetching changes nothing, whatever the address, and SSE is always there.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(at).cast()) }
}

/// Groups whose bytes, of 255 at most, add up within 16 bits: 256 of them have 4 KiB of codes.
const FLUSH_BYTES: usize = 4096;

/// Calls a function of as many lower bits as codes of `bits` bits have.
macro_rules! by_lower_bits {
    ($bits:expr, $name:ident $args:tt) => {
        match $bits {
            1 => $name::<0> $args,
            2 => $name::<1> $args,
            3 => $name::<2> $args,
            4 => $name::<3> $args,
            5 => $name::<4> $args,
            6 => $name::<5> $args,
            7 => $name::<6> $args,
            8 => $name::<7> $args,
            bits => panic!("codes of {bits} bits"),
        }
    };
}

mod avx512_by_hand {
    /// Compilers make scattered writes of these loops if there are instructions for them.
    pub(super) use super::avx2_by_hand::rotate;
    pub(super) use super::pool::pool_codes;
    pub(super) use super::pool_wide::sum_codes;
    use super::*;

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load(bytes: &[u8; 64]) -> __m512i {
        // SAFETY: the 64 bytes are there; the instruction asks for no alignment.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load_f32(values: &[f32; 16]) -> __m512 {
        // SAFETY: as above, of 16 values.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn store_f32(sums: __m512, out: &mut [f32; 16]) {
        // SAFETY: there is room for 16 values; the instruction asks for no alignment.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sums) }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn up_to(values: &[f32; CODE_BLOCK], limit: f32) -> u32 {
        let limit = _mm512_set1_ps(limit);
        let bits = |half: &[f32; 16]| u32::from(_mm512_cmp_ps_mask::<_CMP_NGT_UQ>(load_f32(half), limit));
        let (low, high) = (values.first_chunk(), values.last_chunk());
        low.map_or(0, bits) | high.map_or(0, bits) << 16
    }

    /// Four groups at a time. Sums are kept in 16 bits, of even entries (with the odd ones above them, which do not
    /// matter until they are taken away at the end) and of odd ones.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn fastscan(codes: &[u8], table: &[u8], out: &mut [u32; CODE_BLOCK]) {
        assert_eq!(codes.len(), table.len());
        assert_eq!(codes.len() % 64, 0);
        let nibble = _mm512_set1_epi8(15);
        let mut sums = [_mm512_setzero_si512(); 2];
        for (codes, table) in codes.chunks(FLUSH_BYTES).zip(table.chunks(FLUSH_BYTES)) {
            let zero = _mm512_setzero_si512();
            let (mut low_even, mut low_odd, mut high_even, mut high_odd) = (zero, zero, zero, zero);
            for (codes, table) in codes.as_chunks().0.iter().zip(table.as_chunks().0) {
                let (codes, table) = (load(codes), load(table));
                let low = _mm512_shuffle_epi8(table, _mm512_and_si512(codes, nibble));
                let high =
                    _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble));
                low_even = _mm512_add_epi16(low_even, low);
                low_odd = _mm512_add_epi16(low_odd, _mm512_srli_epi16::<8>(low));
                high_even = _mm512_add_epi16(high_even, high);
                high_odd = _mm512_add_epi16(high_odd, _mm512_srli_epi16::<8>(high));
            }
            low_even = _mm512_sub_epi16(low_even, _mm512_slli_epi16::<8>(low_odd));
            high_even = _mm512_sub_epi16(high_even, _mm512_slli_epi16::<8>(high_odd));
            let low =
                halves(_mm512_unpacklo_epi16(low_even, low_odd), _mm512_unpackhi_epi16(low_even, low_odd));
            let high = halves(
                _mm512_unpacklo_epi16(high_even, high_odd),
                _mm512_unpackhi_epi16(high_even, high_odd),
            );
            let all = quarters(low, high);
            let (first, last) = (_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
            sums[0] = _mm512_add_epi32(sums[0], _mm512_cvtepu16_epi32(first));
            sums[1] = _mm512_add_epi32(sums[1], _mm512_cvtepu16_epi32(last));
        }
        for (out, sums) in out.as_chunks_mut::<16>().0.iter_mut().zip(sums) {
            // SAFETY: 16 values of 32 bits are there to be written.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) }
        }
    }

    /// Of two times four quarters: `[a0 + a2, a1 + a3, b0 + b2, b1 + b3]`.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn halves(a: __m512i, b: __m512i) -> __m512i {
        let low = _mm512_shuffle_i64x2::<0b01_00_01_00>(a, b);
        _mm512_add_epi16(low, _mm512_shuffle_i64x2::<0b11_10_11_10>(a, b))
    }

    /// Of two times four quarters: `[a0 + a1, a2 + a3, b0 + b1, b2 + b3]`.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn quarters(a: __m512i, b: __m512i) -> __m512i {
        let even = _mm512_shuffle_i64x2::<0b10_00_10_00>(a, b);
        _mm512_add_epi16(even, _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b))
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn code_dot(bits: usize, signs: &[u8], entry: usize, planes: &[u8], query: &[f32]) -> f32 {
        by_lower_bits!(bits, dot_of(signs, entry, planes, query))
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn dot_of<const EX: usize>(signs: &[u8], entry: usize, planes: &[u8], query: &[f32]) -> f32 {
        generic::check_code::<EX>(signs, entry, planes, query.len());
        // The entry's byte goes to all 32-bit lanes of its group, and lane j looks at bit j of the nibble.
        let byte = _mm512_set1_epi8((entry % 16) as i8);
        let shift = entry / 16 * 4;
        let bit = _mm512_sllv_epi32(_mm512_set1_epi32(1 << shift), load_i32(const { &nibble_bits() }));
        let mut sums = _mm512_setzero_ps();
        for (i, (query, signs)) in query.as_chunks().0.iter().zip(signs.as_chunks().0).enumerate() {
            let positive = _mm512_test_epi32_mask(_mm512_shuffle_epi8(load(signs), byte), bit);
            let lower = lower_bits::<EX>(&planes[i * 2 * EX..(i + 1) * 2 * EX]);
            let codes = _mm512_mask_or_epi32(lower, positive, lower, _mm512_set1_epi32(1 << EX));
            sums = _mm512_fmadd_ps(_mm512_cvtepi32_ps(codes), load_f32(query), sums);
        }
        fold(sums)
    }

    /// The `EX` lower bits of sixteen codes: each part of the planes in all lanes, rotated into its place.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn lower_bits<const EX: usize>(planes: &[u8]) -> __m512i {
        let mut codes = _mm512_setzero_si512();
        let mut rest = planes;
        if EX & 4 != 0 {
            let words = _mm512_set1_epi64(word::<8>(rest).cast_signed());
            let turned = _mm512_rorv_epi32(words, load_i32(const { &turns(4, 2, 0, EX & 3) }));
            codes = _mm512_and_si512(turned, _mm512_set1_epi32(15 << (EX & 3)));
            rest = &rest[8..];
        }
        if EX & 2 != 0 {
            let words = _mm512_set1_epi32(word::<4>(rest) as i32);
            let turned = _mm512_rorv_epi32(words, load_i32(const { &turns(2, 1, 0, EX & 1) }));
            codes = _mm512_or_si512(codes, _mm512_and_si512(turned, _mm512_set1_epi32(3 << (EX & 1))));
            rest = &rest[4..];
        }
        if EX & 1 != 0 {
            let words = _mm512_set1_epi16(word::<2>(rest) as i16);
            let turned = _mm512_rorv_epi32(words, load_i32(const { &turns(1, 1, 0, 0) }));
            codes = _mm512_or_si512(codes, _mm512_and_si512(turned, _mm512_set1_epi32(1)));
        }
        codes
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load_i32(values: &[i32; 16]) -> __m512i {
        // SAFETY: the 16 values are there; the instruction asks for no alignment.
        unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
    }

    /// Adds the lanes, halves first.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn fold(sums: __m512) -> f32 {
        let sums = _mm512_add_ps(sums, _mm512_shuffle_f32x4::<0b01_00_11_10>(sums, sums));
        let sums = _mm512_add_ps(sums, _mm512_shuffle_f32x4::<0b10_11_00_01>(sums, sums));
        let sums = _mm512_add_ps(sums, _mm512_permute_ps::<0b01_00_11_10>(sums));
        let sums = _mm512_add_ps(sums, _mm512_permute_ps::<0b10_11_00_01>(sums));
        _mm512_cvtss_f32(sums)
    }
}

mod avx2_by_hand {
    pub(super) use super::pool::{pool_codes, sum_codes};
    use super::*;

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn load(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: the 32 bytes are there; the instruction asks for no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn load_f32(values: &[f32; 8]) -> __m256 {
        // SAFETY: as above, of 8 values.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn load_half(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: as above, of 16 bytes.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn store_f32(values: __m256, out: &mut [f32; 8]) {
        // SAFETY: there is room for 8 values; the instruction asks for no alignment.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), values) }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn up_to(values: &[f32; CODE_BLOCK], limit: f32) -> u32 {
        let limit = _mm256_set1_ps(limit);
        let mut bits = 0;
        for (part, values) in values.as_chunks().0.iter().enumerate() {
            let above = _mm256_cmp_ps::<_CMP_NGT_UQ>(load_f32(values), limit);
            bits |= _mm256_movemask_ps(above).cast_unsigned() << (8 * part);
        }
        bits
    }

    /// Two groups at a time, with the sums of even and odd entries as in the version for AVX-512.
    #[target_feature(enable = "avx2")]
    pub(super) fn fastscan(codes: &[u8], table: &[u8], out: &mut [u32; CODE_BLOCK]) {
        assert_eq!(codes.len(), table.len());
        assert_eq!(codes.len() % 64, 0);
        let nibble = _mm256_set1_epi8(15);
        *out = [0; CODE_BLOCK];
        for (codes, table) in codes.chunks(FLUSH_BYTES).zip(table.chunks(FLUSH_BYTES)) {
            let zero = _mm256_setzero_si256();
            let (mut low_even, mut low_odd, mut high_even, mut high_odd) = (zero, zero, zero, zero);
            for (codes, table) in codes.as_chunks().0.iter().zip(table.as_chunks().0) {
                let (codes, table) = (load(codes), load(table));
                let low = _mm256_shuffle_epi8(table, _mm256_and_si256(codes, nibble));
                let high =
                    _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble));
                low_even = _mm256_add_epi16(low_even, low);
                low_odd = _mm256_add_epi16(low_odd, _mm256_srli_epi16::<8>(low));
                high_even = _mm256_add_epi16(high_even, high);
                high_odd = _mm256_add_epi16(high_odd, _mm256_srli_epi16::<8>(high));
            }
            let (first, last) = out.split_at_mut(16);
            add_entries(low_even, low_odd, first);
            add_entries(high_even, high_odd, last);
        }
    }

    /// Adds the sums of two groups to those of sixteen entries.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn add_entries(even: __m256i, odd: __m256i, out: &mut [u32]) {
        let even = _mm256_sub_epi16(even, _mm256_slli_epi16::<8>(odd));
        let (a, b) = (_mm256_unpacklo_epi16(even, odd), _mm256_unpackhi_epi16(even, odd));
        let groups = [_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b)];
        let sums = _mm256_add_epi16(groups[0], groups[1]);
        let mut values = [0u16; 16];
        // SAFETY: 16 values of 16 bits are there to be written.
        unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), sums) };
        for (out, value) in out.iter_mut().zip(values) {
            *out += u32::from(value);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn code_dot(bits: usize, signs: &[u8], entry: usize, planes: &[u8], query: &[f32]) -> f32 {
        by_lower_bits!(bits, dot_of(signs, entry, planes, query))
    }

    #[target_feature(enable = "avx2,fma")]
    fn dot_of<const EX: usize>(signs: &[u8], entry: usize, planes: &[u8], query: &[f32]) -> f32 {
        generic::check_code::<EX>(signs, entry, planes, query.len());
        let byte = _mm256_set1_epi8((entry % 16) as i8);
        let shift = entry / 16 * 4;
        let bit = _mm256_sllv_epi32(_mm256_set1_epi32(1 << shift), load_i32(const { &nibble_bits() }));
        let mut sums = [_mm256_setzero_ps(); 2];
        for (i, query) in query.as_chunks::<8>().0.iter().enumerate() {
            let signs = _mm256_shuffle_epi8(load(&signs.as_chunks().0[i]), byte);
            let positive = _mm256_cmpeq_epi32(_mm256_and_si256(signs, bit), bit);
            let positive = _mm256_and_si256(positive, _mm256_set1_epi32(1 << EX));
            let planes = &planes[i / 2 * 2 * EX..(i / 2 + 1) * 2 * EX];
            let lower = if i % 2 == 0 { lower_bits::<EX, 0>(planes) } else { lower_bits::<EX, 8>(planes) };
            let codes = _mm256_cvtepi32_ps(_mm256_or_si256(lower, positive));
            sums[i % 2] = _mm256_fmadd_ps(codes, load_f32(query), sums[i % 2]);
        }
        fold(_mm256_add_ps(sums[0], sums[1]))
    }

    /// A field of `mask`'s width from each lane.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn part(words: __m256i, shifts: __m256i, mask: i32) -> __m256i {
        _mm256_and_si256(_mm256_srlv_epi32(words, shifts), _mm256_set1_epi32(mask))
    }

    /// The `EX` lower bits of eight codes, those of the sixteen from `FIRST` on.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn lower_bits<const EX: usize, const FIRST: usize>(planes: &[u8]) -> __m256i {
        let mut codes = _mm256_setzero_si256();
        let mut rest = planes;
        if EX & 4 != 0 {
            let words = _mm256_set1_epi64x(word::<8>(rest).cast_signed());
            codes = part(words, load_i32(const { &turns(4, 2, FIRST, 0) }), 15);
            rest = &rest[8..];
        }
        if EX & 2 != 0 {
            let words = _mm256_set1_epi32(word::<4>(rest) as i32);
            let pairs = part(words, load_i32(const { &turns(2, 1, FIRST, 0) }), 3);
            codes = _mm256_or_si256(_mm256_slli_epi32::<2>(codes), pairs);
            rest = &rest[4..];
        }
        if EX & 1 != 0 {
            let words = _mm256_set1_epi32(word::<2>(rest) as i32);
            let ones = part(words, load_i32(const { &turns(1, 1, FIRST, 0) }), 1);
            codes = _mm256_or_si256(_mm256_slli_epi32::<1>(codes), ones);
        }
        codes
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn load_i32(values: &[i32; 8]) -> __m256i {
        // SAFETY: the 8 values are there; the instruction asks for no alignment.
        unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
    }

    /// Adds the lanes, halves first.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn fold(sums: __m256) -> f32 {
        let sums = _mm256_add_ps(sums, _mm256_permute2f128_ps::<1>(sums, sums));
        let sums = _mm256_add_ps(sums, _mm256_permute_ps::<0b01_00_11_10>(sums));
        let sums = _mm256_add_ps(sums, _mm256_permute_ps::<0b10_11_00_01>(sums));
        _mm256_cvtss_f32(sums)
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn rotate(factors: &[f32], first: usize, x: &mut [f32]) {
        let span = generic::multiply(factors, first, x);
        for row in span.as_chunks_mut().0 {
            sixteen(row);
        }
        generic::wide_steps(span);
        generic::pairs(x);
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn sixteen(row: &mut [f32; 16]) {
        let (halves, _) = row.as_chunks_mut::<8>();
        let (low, high) = (eight(load_f32(&halves[0])), eight(load_f32(&halves[1])));
        let both = [_mm256_add_ps(low, high), _mm256_sub_ps(low, high)];
        halves.iter_mut().zip(both).for_each(|(half, x)| store_f32(x, half));
    }

    /// Adds to every value its partner's, or takes it from that: a product with ±1 is exact, so the fused
    /// multiply-add rounds as addition and subtraction do.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn eight(x: __m256) -> __m256 {
        let x = _mm256_fmadd_ps(x, load_f32(const { &signs(1) }), _mm256_permute_ps::<0b10_11_00_01>(x));
        let x = _mm256_fmadd_ps(x, load_f32(const { &signs(2) }), _mm256_permute_ps::<0b01_00_11_10>(x));
        _mm256_fmadd_ps(x, load_f32(const { &signs(4) }), _mm256_permute2f128_ps::<1>(x, x))
    }
}
