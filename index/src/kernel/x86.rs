//! The generic loops compiled for AVX2 and AVX-512. Possession of a value proves that the processor can.

#![expect(unsafe_code, reason = "calling code compiled for an instruction set the build does not assume")]

use half::f16;

use super::{Sums, TILE_PANELS, TILE_QUERIES, Tile, generic};

macro_rules! isa {
    ($(#[$doc:meta])* $isa:ident, $module:ident, $features:literal, [$($feature:tt),+]) => {
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
            wrap!($module, widen(x: &[f16], out: &mut [f32]));
        }

        mod $module {
            use super::*;
            compiled!($features, tile(panels: &[f32], queries: &[&[f32]; TILE_QUERIES], out: &mut Tile<TILE_PANELS, TILE_QUERIES>));
            compiled!($features, row(panels: &[f32], query: &[f32], out: &mut [f32]));
            compiled!($features, l2_f32(q: &[f32], x: &[f32]) -> f64);
            compiled!($features, l2_f16(q: &[f32], x: &[f16]) -> f64);
            compiled!($features, sums_f32(q: &[f32], x: &[f32]) -> Sums);
            compiled!($features, sums_f16(q: &[f32], x: &[f16]) -> Sums);
            compiled!($features, l2_u8(q: &[u8], x: &[u8]) -> u64);
            compiled!($features, dot_u8(q: &[u8], x: &[u8]) -> u64);
            compiled!($features, widen(x: &[f16], out: &mut [f32]));
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
    Avx2, avx2, "avx2,fma,f16c", ["avx2", "fma", "f16c"]
);
isa!(
    /// AVX-512 as every server since Skylake has it.
    Avx512, avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c",
    ["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "f16c"]
);
