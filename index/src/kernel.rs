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

mod generic;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

use half::f16;

/// Centroids that are laid side by side in one panel.
pub const PANEL: usize = 16;
/// Panels that one call of [`Kernel::tile`] works through.
pub const TILE_PANELS: usize = 2;
/// Queries that one call of [`Kernel::tile`] works through.
pub const TILE_QUERIES: usize = 6;

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
    /// When the lengths differ (as for all four below).
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

    /// Widens `f16` values to `f32`, exactly.
    pub fn widen(self, x: &[f16], out: &mut [f32]) {
        dispatch!(self.widen(x, out));
    }
}
