//! The innermost loops, chosen once for the processor at hand.
//!
//! Two kinds of arithmetic live here:
//!
//! * **Routing** works on [`PANEL`] centroids at a time, stored dimension by dimension (a *panel*), in `f32`.
//!   Every lane adds its products strictly in order of dimension with fused multiply-add, so that every
//!   instruction set gives the same bits and the scalar twin is the definition.
//! * **Answers** are computed in `f64` from the stored elements and rounded to `f32` once, so that they do not
//!   depend on the order of summation in any way a user could see.
//!
//! The loops are written once, in `generic`, and compiled once more for each instruction set by the thin
//! wrappers in `x86`.

mod codes;
mod generic;
mod hadamard;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod pool;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

use half::f16;

pub(crate) use generic::{LANES, fold};
pub use pool::{AHEAD, Bag, Bags, CentroidRows, CodeRows};

/// Centroids that are laid side by side in one panel.
pub const PANEL: usize = 16;
/// Panels that one call of [`Kernel::tile`] works through.
pub const TILE_PANELS: usize = 2;
/// Queries that one call of [`Kernel::tile`] works through.
pub const TILE_QUERIES: usize = 6;

/// Entries of one block of packed sign codes.
pub const CODE_BLOCK: usize = 32;
/// Grids that one call of [`Kernel::grid_sums`] tries.
pub const GRID_STEPS: usize = 4;

/// Dot products of one tile: `[query][panel][lane]`.
pub type Tile<const P: usize, const Q: usize> = [[[f32; PANEL]; P]; Q];

/// The sums an answer's distance is made of, exact but for the rounding of `f64`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sums {
    /// Σ q·x
    pub dot: f64,
    /// Σ x·x
    pub norm: f64,
}

/// How well a grid of codes fits: its values `x` for the magnitudes `y` of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GridSums {
    /// Σ y·x
    pub dot: f32,
    /// Σ x·x
    pub norm: f32,
}

/// What estimates from signs are made of, the same for all entries of a list.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SignTerms {
    /// The query's squared distance to the list's centroid.
    pub distance: f32,
    /// The product of query and signs is `step` times the table's sum, plus `bias`.
    pub step: f32,
    /// See `step`.
    pub bias: f32,
    /// How far the product may be off.
    pub error: f32,
    /// How far the estimates may be off if the product is right.
    pub spread: f32,
}

/// The instruction sets there are wrappers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Isa {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
}

/// The loops for one instruction set. Holding one proves that the processor has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Isa);

macro_rules! dispatch {
    ($self:ident . $name:ident ( $($arg:expr),* )) => {
        match $self.0 {
            Isa::Scalar => generic::$name($($arg),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => isa.$name($($arg),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(isa) => isa.$name($($arg),*),
        }
    };
}

impl Kernel {
    /// The best loops for this processor, found out once.
    pub fn best() -> Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().pop().unwrap_or(Kernel(Isa::Scalar)))
    }

    /// Every kernel this processor can run, the scalar twin first and the best last.
    pub fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "only x86 adds to it"))]
        let mut kernels = vec![Kernel(Isa::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(x86::Avx2::detect().map(|isa| Kernel(Isa::Avx2(isa))));
            kernels.extend(x86::Avx512::detect().map(|isa| Kernel(Isa::Avx512(isa))));
        }
        kernels
    }

    /// The name of the instruction set.
    pub fn name(self) -> &'static str {
        match self.0 {
            Isa::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
        }
    }

    /// Dot products of [`TILE_QUERIES`] queries with the rows of [`TILE_PANELS`] panels lying one after another.
    ///
    /// `panels` holds `TILE_PANELS * dim * PANEL` values, every query `dim`.
    ///
    /// # Panics
    /// When the lengths do not agree.
    pub fn tile(
        self,
        panels: &[f32],
        queries: &[&[f32]; TILE_QUERIES],
        out: &mut Tile<TILE_PANELS, TILE_QUERIES>,
    ) {
        dispatch!(self.tile(panels, queries, out));
    }

    /// Dot products of one query with the rows of consecutive panels: `out` gets `PANEL` values a panel.
    ///
    /// # Panics
    /// When `panels` does not hold `out.len() * query.len()` values or `out` is no whole number of panels.
    pub fn row(self, panels: &[f32], query: &[f32], out: &mut [f32]) {
        dispatch!(self.row(panels, query, out));
    }

    /// Σ (q−x)² of two `f32` vectors, in `f64`.
    ///
    /// # Panics
    /// When the lengths differ (as for all below up to the bytes).
    pub fn l2_f32(self, q: &[f32], x: &[f32]) -> f64 {
        dispatch!(self.l2_f32(q, x))
    }

    /// Σ q·x and Σ x·x of two `f32` vectors, in `f64`.
    pub fn sums_f32(self, q: &[f32], x: &[f32]) -> Sums {
        dispatch!(self.sums_f32(q, x))
    }

    /// Σ (q−x)² of a query widened to `f32` and an `f16` vector, in `f64`.
    pub fn l2_f16(self, q: &[f32], x: &[f16]) -> f64 {
        dispatch!(self.l2_f16(q, x))
    }

    /// Σ q·x and Σ x·x of a query widened to `f32` and an `f16` vector, in `f64`.
    pub fn sums_f16(self, q: &[f32], x: &[f16]) -> Sums {
        dispatch!(self.sums_f16(q, x))
    }

    /// Σ (q−x)² of two vectors of unsigned bytes, exactly.
    pub fn l2_u8(self, q: &[u8], x: &[u8]) -> u64 {
        dispatch!(self.l2_u8(q, x))
    }

    /// Σ q·x of two vectors of unsigned bytes, exactly.
    pub fn dot_u8(self, q: &[u8], x: &[u8]) -> u64 {
        dispatch!(self.dot_u8(q, x))
    }

    /// Σ |q−x| of two `f32` vectors, in `f64`.
    pub fn l1_f32(self, q: &[f32], x: &[f32]) -> f64 {
        dispatch!(self.l1_f32(q, x))
    }

    /// Σ |q−x| of a query widened to `f32` and an `f16` vector, in `f64`.
    pub fn l1_f16(self, q: &[f32], x: &[f16]) -> f64 {
        dispatch!(self.l1_f16(q, x))
    }

    /// Σ |q−x| of two vectors of unsigned bytes, exactly.
    pub fn l1_u8(self, q: &[u8], x: &[u8]) -> u64 {
        dispatch!(self.l1_u8(q, x))
    }

    /// Σ |q−x| of two vectors of signed bytes, exactly.
    pub fn l1_i8(self, q: &[i8], x: &[i8]) -> u64 {
        dispatch!(self.l1_i8(q, x))
    }

    /// Widens `f16` values to `f32`, exactly.
    pub fn widen(self, x: &[f16], out: &mut [f32]) {
        dispatch!(self.widen(x, out));
    }

    /// The sum of some rows of `out.len()` values, times `scale`, by their numbers. No rows sum to zeros.
    ///
    /// # Panics
    /// When `rows` has no row of one of the numbers.
    pub fn sum_rows(self, rows: &[f32], picked: &[u32], scale: f32, out: &mut [f32]) {
        dispatch!(self.sum_rows(rows, picked, scale, out));
    }

    /// One round of the random rotation of `x`: every value times its factor, the Hadamard transform (unscaled)
    /// of the greatest power of two of values that starts at `first`, then sums and differences of the pairs
    /// `(x[i], x[i + len/2])`.
    ///
    /// # Panics
    /// When the lengths differ, are no multiple of 16, or the transform does not fit.
    pub fn rotate(self, factors: &[f32], first: usize, x: &mut [f32]) {
        dispatch!(self.rotate(factors, first, x));
    }

    /// A query's table for [`Kernel::fastscan`], 16 bytes for each four dimensions. The byte of a pattern (bit `j` is
    /// dimension `j`) is the sum of `|q| * per_step`, rounded, over the dimensions where the pattern has 1 and `q` is
    /// positive, or 0 and it is not. Gives the sum of the squares of what was lost by rounding.
    ///
    /// # Panics
    /// When `table` does not hold four bytes a dimension.
    pub fn sign_table(self, query: &[f32], per_step: f32, table: &mut [u8]) -> f32 {
        dispatch!(self.sign_table(query, per_step, table))
    }

    /// Sums a table's bytes for the 32 entries of one block of sign codes, exactly. Each group of four dimensions
    /// has 16 bytes of `codes`, the low nibbles of which belong to entries 0..16 and the high ones to 16..32, and
    /// 16 bytes of `table`, one for each nibble.
    ///
    /// # Panics
    /// When the lengths differ or are no multiple of 64.
    pub fn fastscan(self, codes: &[u8], table: &[u8], out: &mut [u32; CODE_BLOCK]) {
        dispatch!(self.fastscan(codes, table, out));
    }

    /// Estimates of squared distances, `addend + distance + scale * product`, and their lower bounds, from the sums
    /// of [`Kernel::fastscan`] and 32 addends and 32 scales in `bf16`. An estimate that is no number is the greatest
    /// there is, a bound that is none is `-∞`.
    pub fn sign_estimates(
        self,
        sums: &[u32; CODE_BLOCK],
        factors: &[u8; 4 * CODE_BLOCK],
        terms: &SignTerms,
        estimates: &mut [f32; CODE_BLOCK],
        lower: &mut [f32; CODE_BLOCK],
    ) {
        dispatch!(self.sign_estimates(sums, factors, terms, estimates, lower));
    }

    /// Which of 32 values are not above a limit: bit `i` for `values[i]`. What is no number is not.
    pub fn up_to(self, values: &[f32; CODE_BLOCK], limit: f32) -> u32 {
        dispatch!(self.up_to(values, limit))
    }

    /// Σ u·q of the codes `u` in `0..2^bits` of one of 32 entries and a query of `dim` values. The highest bits are
    /// in the block's `signs`, `dim * 4` bytes, the others in the entry's `planes`, `dim / 8 * (bits - 1)` bytes.
    ///
    /// # Panics
    /// When the lengths do not agree, `bits` is not in `1..=8` or `dim` no multiple of 16 (as for the next two).
    pub fn code_dot(self, bits: usize, signs: &[u8], entry: usize, planes: &[u8], query: &[f32]) -> f32 {
        dispatch!(self.code_dot(bits, signs, entry, planes, query))
    }

    /// The codes of one entry, as numbers.
    pub fn unpack(self, bits: usize, signs: &[u8], entry: usize, planes: &[u8], out: &mut [f32]) {
        dispatch!(self.unpack(bits, signs, entry, planes, out));
    }

    /// A vector less its centroid, and the absolute values of that in parts of the greatest.
    ///
    /// # Panics
    /// When the lengths differ or are no multiple of 16.
    pub fn residual(self, vector: &[f32], centroid: &[f32], residual: &mut [f32], magnitudes: &mut [f32]) {
        dispatch!(self.residual(vector, centroid, residual, magnitudes));
    }

    /// How well the magnitudes, `0.0..=1.0`, fit the grids with values `m + ½`, `m` in `0..=top`: every magnitude,
    /// times the grid's step, is cut down to a value.
    pub fn grid_sums(
        self,
        magnitudes: &[f32],
        top: f32,
        steps: &[f32; GRID_STEPS],
    ) -> [GridSums; GRID_STEPS] {
        dispatch!(self.grid_sums(magnitudes, top, steps))
    }

    /// The codes of a vector with these magnitudes on one such grid: `top + 1 + m` where the vector is positive,
    /// `top - m` where it is negative.
    pub fn grid_codes(self, vector: &[f32], magnitudes: &[f32], top: f32, step: f32, out: &mut [u8]) {
        dispatch!(self.grid_codes(vector, magnitudes, top, step, out));
    }

    /// The points `u - (2^bits - 1)/2` of codes `u`, and ±½ for their highest bits.
    ///
    /// # Panics
    /// When the lengths differ or `bits` is not in `1..=8`.
    pub fn grid_points(self, codes: &[u8], bits: usize, points: &mut [f32], signs: &mut [f32]) {
        dispatch!(self.grid_points(codes, bits, points, signs));
    }

    /// Asks the processor to fetch the cache lines that some bytes lie in. Changes nothing else.
    pub fn prefetch(self, bytes: &[u8]) {
        dispatch!(self.prefetch(bytes));
    }

    /// Adds rows of `f32` values, back to back, to `out`, in the order of a bag's ids: `out_j = fma(w, x_j, out_j)`, `w` being
    /// 1 without weights. Meanwhile the rows that come are asked for.
    ///
    /// # Panics
    /// When there is no row of one of the ids, or too few weights (as for the next six).
    pub fn pool_f32(self, rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
        dispatch!(self.pool_f32(rows, bag, out));
    }

    /// The same of `f16` values.
    pub fn pool_f16(self, rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
        dispatch!(self.pool_f16(rows, bag, out));
    }

    /// The same of `bf16` values.
    pub fn pool_bf16(self, rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
        dispatch!(self.pool_bf16(rows, bag, out));
    }

    /// Adds rows of codes to `out`, in their order: `out_j = fma(w·scale, code_j, out_j + w·bias)`.
    pub fn pool_codes(self, rows: &CodeRows<'_>, bag: &Bag<'_>, out: &mut [f32]) {
        dispatch!(self.pool_codes(rows, bag, out));
    }

    /// The same sums of bags from zeros, back to back, `dim` values each, whatever `out` holds.
    pub fn sum_codes(self, rows: &CodeRows<'_>, bags: &Bags<'_>, dim: usize, out: &mut [f32]) {
        dispatch!(self.sum_codes(rows, bags, dim, out));
    }

    /// Adds rows of centroids to `out`, in their order: `out_j = fma(w, x_j, out_j)`.
    pub fn pool_centroids(self, rows: &CentroidRows<'_>, bag: &Bag<'_>, out: &mut [f32]) {
        dispatch!(self.pool_centroids(rows, bag, out));
    }

    /// Products of a query with rows of codes: `scale·Σ q_j·code_j + bias·Σ q_j`.
    pub fn code_products(self, rows: &CodeRows<'_>, ids: &[u64], query: &[f32], out: &mut [f32]) {
        dispatch!(self.code_products(rows, ids, query, out));
    }

    /// Asks the processor to fetch rows of `stride` bytes, of ids that have one. Changes nothing else.
    pub fn prefetch_rows(self, rows: &[u8], stride: usize, ids: &[u64]) {
        dispatch!(self.prefetch_rows(rows, stride, ids));
    }
}
