//! Every instruction set gives the bits of the scalar twin, and the scalar twin what one line of arithmetic gives.

use half::f16;
use nearline_index::kernel::{Kernel, PANEL, TILE_PANELS, TILE_QUERIES, Tile};
use proptest::prelude::*;

/// Numbers of all sizes, zeros and subnormals among them, but no sum of a few hundred products overflows.
fn number() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![
        8 => -100.0f32..100.0,
        1 => proptest::num::f32::SUBNORMAL,
        1 => prop::sample::select(vec![0.0f32, -0.0, 1e-30, -1e15, 3.0e15, f32::MIN_POSITIVE, 1.0, -1.0]),
    ]
}

/// Numbers with no mercy.
fn any_number() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![
        8 => number(),
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN]),
    ]
}

/// Two vectors of the same length, at odd places of their allocation.
fn pair<T: std::fmt::Debug + Clone>(
    element: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = (Vec<T>, Vec<T>)> {
    (1usize..140).prop_flat_map(move |dim| {
        (prop::collection::vec(element.clone(), dim), prop::collection::vec(element.clone(), dim))
    })
}

/// Equal to the bit, any NaN being as good as another.
fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn same32(a: f32, b: f32) -> bool {
    same(f64::from(a), f64::from(b))
}

fn scalar() -> Kernel {
    Kernel::available()[0]
}

/// Equal but for the rounding of sums whose terms add up to `size` in absolute value.
fn close(a: f64, b: f64, size: f64) -> bool {
    (a - b).abs() <= 1e-12 * size
}

#[test]
fn this_processor_runs_more_than_the_scalar_twin_where_it_can() {
    let names: Vec<&str> = Kernel::available().iter().map(|kernel| kernel.name()).collect();
    assert_eq!(names[0], "scalar");
    assert_eq!(names.last(), Some(&Kernel::best().name()));
    #[cfg(target_arch = "x86_64")]
    assert_eq!(names.contains(&"avx2"), is_x86_feature_detected!("avx2"));
    println!("kernels: {names:?}");
}

#[test]
fn f16_widens_as_the_library_says_for_every_pattern() {
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    for kernel in Kernel::available() {
        // At odd lengths too, so that the tail takes another way.
        for skip in [0, 1, 7] {
            let mut wide = vec![0.0; all.len() - skip];
            kernel.widen(&all[skip..], &mut wide);
            for (x, wide) in all[skip..].iter().zip(&wide) {
                let right = x.to_f32();
                assert!(same32(*wide, right), "{}: {:#06x} became {wide}", kernel.name(), x.to_bits());
                assert_eq!(wide.is_sign_negative(), right.is_sign_negative(), "{:#06x}", x.to_bits());
            }
        }
    }
}

#[test]
fn bytes_at_their_extremes_do_not_overflow_in_the_longest_vector() {
    let (low, high) = (vec![0u8; 65_535], vec![255u8; 65_535]);
    for kernel in Kernel::available() {
        assert_eq!(kernel.l2_u8(&low, &high), 65_535 * 255 * 255, "{}", kernel.name());
        assert_eq!(kernel.dot_u8(&high, &high), 65_535 * 255 * 255, "{}", kernel.name());
        // Beyond one piece of the sum.
        let long = vec![255u8; 200_001];
        assert_eq!(kernel.dot_u8(&long, &long), 200_001 * 255 * 255, "{}", kernel.name());
    }
}

#[test]
fn sums_of_nothing_are_zero() {
    for kernel in Kernel::available() {
        assert_eq!(kernel.l2_f32(&[], &[]).to_bits(), 0);
        assert_eq!(kernel.dot_u8(&[], &[]), 0);
        kernel.row(&[], &[1.0], &mut []);
        kernel.widen(&[], &mut []);
    }
}

#[test]
fn lengths_that_differ_are_refused() {
    for kernel in Kernel::available() {
        let panics = [
            std::panic::catch_unwind(|| kernel.l2_f32(&[1.0; 40], &[1.0; 39])).is_err(),
            std::panic::catch_unwind(|| kernel.sums_f32(&[1.0; 39], &[1.0; 40])).is_err(),
            std::panic::catch_unwind(|| kernel.l2_u8(&[1; 64], &[1; 65])).is_err(),
            std::panic::catch_unwind(|| kernel.row(&[0.0; 64], &[1.0; 4], &mut [0.0; 15])).is_err(),
            std::panic::catch_unwind(|| kernel.widen(&[f16::ONE; 3], &mut [0.0; 4])).is_err(),
        ];
        assert_eq!(panics, [true; 5], "{}", kernel.name());
    }
}

/// Cases, and dimensions of panels: Miri is slow.
const CASES: u32 = if cfg!(miri) { 2 } else { 256 };
const DIMS: usize = if cfg!(miri) { 6 } else { 70 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn float_sums_agree_with_the_scalar_twin_to_the_bit((q, x) in pair(any_number())) {
        let half: Vec<f16> = x.iter().map(|&x| f16::from_f32(x)).collect();
        for kernel in Kernel::available() {
            let name = kernel.name();
            prop_assert!(same(kernel.l2_f32(&q, &x), scalar().l2_f32(&q, &x)), "{}", name);
            prop_assert!(same(kernel.l2_f16(&q, &half), scalar().l2_f16(&q, &half)), "{}", name);
            prop_assert!(same(kernel.l1_f32(&q, &x), scalar().l1_f32(&q, &x)), "{}", name);
            prop_assert!(same(kernel.l1_f16(&q, &half), scalar().l1_f16(&q, &half)), "{}", name);
            let pairs = [
                (kernel.sums_f32(&q, &x), scalar().sums_f32(&q, &x)),
                (kernel.sums_f16(&q, &half), scalar().sums_f16(&q, &half)),
            ];
            for (ours, twin) in pairs {
                prop_assert!(same(ours.dot, twin.dot) && same(ours.norm, twin.norm), "{}", name);
            }
        }
    }

    #[test]
    fn the_scalar_twin_is_the_arithmetic_it_claims_to_be((q, x) in pair(number())) {
        let wide = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let half: Vec<f16> = x.iter().map(|&x| f16::from_f32(x.clamp(-6e4, 6e4))).collect();
        let widened: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
        let kernel = scalar();
        for (x, l2, l1, sums) in [
            (&x, kernel.l2_f32(&q, &x), kernel.l1_f32(&q, &x), kernel.sums_f32(&q, &x)),
            (&widened, kernel.l2_f16(&q, &half), kernel.l1_f16(&q, &half), kernel.sums_f16(&q, &half)),
        ] {
            let (q, x) = (wide(&q), wide(x));
            let naive: f64 = q.iter().zip(&x).map(|(q, x)| (q - x) * (q - x)).sum();
            prop_assert!(close(l2, naive, naive), "{} {}", l2, naive);
            let naive: f64 = q.iter().zip(&x).map(|(q, x)| (q - x).abs()).sum();
            prop_assert!(close(l1, naive, naive), "{} {}", l1, naive);
            let naive: f64 = q.iter().zip(&x).map(|(q, x)| q * x).sum();
            let size: f64 = q.iter().zip(&x).map(|(q, x)| (q * x).abs()).sum();
            prop_assert!(close(sums.dot, naive, size), "{} {}", sums.dot, naive);
            let naive: f64 = x.iter().map(|x| x * x).sum();
            prop_assert!(close(sums.norm, naive, naive), "{} {}", sums.norm, naive);
        }
    }

    #[test]
    fn byte_sums_are_exact((q, x) in pair(any::<u8>())) {
        let l2: u64 = q.iter().zip(&x).map(|(&q, &x)| u64::from(q.abs_diff(x)).pow(2)).sum();
        let dot: u64 = q.iter().zip(&x).map(|(&q, &x)| u64::from(q) * u64::from(x)).sum();
        let l1: u64 = q.iter().zip(&x).map(|(&q, &x)| u64::from(q.abs_diff(x))).sum();
        let signed = |v: &[u8]| v.iter().map(|x| x.cast_signed()).collect::<Vec<i8>>();
        let (p, y) = (signed(&q), signed(&x));
        let l1_signed: u64 = p.iter().zip(&y).map(|(&p, &y)| u64::from(p.abs_diff(y))).sum();
        for kernel in Kernel::available() {
            prop_assert_eq!(kernel.l1_u8(&q, &x), l1, "{}", kernel.name());
            prop_assert_eq!(kernel.l1_i8(&p, &y), l1_signed, "{}", kernel.name());
            prop_assert_eq!(kernel.l2_u8(&q, &x), l2, "{}", kernel.name());
            prop_assert_eq!(kernel.dot_u8(&q, &x), dot, "{}", kernel.name());
        }
    }

    #[test]
    fn tiles_and_rows_agree_with_the_scalar_twin_to_the_bit(
        dim in 1..DIMS,
        panels in 1usize..8,
        values in prop::collection::vec(any_number(), DIMS * PANEL * 8),
        queries in prop::collection::vec(any_number(), DIMS * TILE_QUERIES),
    ) {
        let queries: [&[f32]; TILE_QUERIES] = std::array::from_fn(|q| &queries[q * dim..][..dim]);
        let values = &values[..panels * dim * PANEL];
        let mut twin = vec![0.0; panels * PANEL];
        scalar().row(values, queries[0], &mut twin);
        for kernel in Kernel::available() {
            let mut out = vec![0.0; panels * PANEL];
            kernel.row(values, queries[0], &mut out);
            prop_assert!(out.iter().zip(&twin).all(|(a, b)| same32(*a, *b)), "{}", kernel.name());
        }
        if panels >= TILE_PANELS {
            let values = &values[..TILE_PANELS * dim * PANEL];
            for kernel in Kernel::available() {
                let mut out: Tile<TILE_PANELS, TILE_QUERIES> = [[[0.0; PANEL]; TILE_PANELS]; TILE_QUERIES];
                kernel.tile(values, &queries, &mut out);
                for (query, out) in queries.iter().zip(&out) {
                    let mut row = vec![0.0; TILE_PANELS * PANEL];
                    scalar().row(values, query, &mut row);
                    let same = out.as_flattened().iter().zip(&row).all(|(a, b)| same32(*a, *b));
                    prop_assert!(same, "{}", kernel.name());
                }
            }
        }
    }

    #[test]
    fn a_row_of_panels_is_a_dot_product_a_lane(
        dim in 1..DIMS,
        values in prop::collection::vec(number(), DIMS * PANEL * 5),
        query in prop::collection::vec(number(), DIMS),
    ) {
        let mut out = vec![0.0; 5 * PANEL];
        let (values, query) = (&values[..5 * dim * PANEL], &query[..dim]);
        scalar().row(values, query, &mut out);
        for (row, &ours) in out.iter().enumerate() {
            let at = |j: usize| f64::from(values[(row / PANEL * dim + j) * PANEL + row % PANEL]);
            let naive: f64 = (0..dim).map(|j| at(j) * f64::from(query[j])).sum();
            let size: f64 = (0..dim).map(|j| (at(j) * f64::from(query[j])).abs()).sum();
            let error = (f64::from(ours) - naive).abs();
            prop_assert!(error <= 1e-7 * dim as f64 * size + 1e-36, "{} {}", ours, naive);
        }
    }
}

proptest! {
    #[test]
    fn sums_of_rows(
        (dim, rows, picked, scale) in (1usize..200, 1usize..9).prop_flat_map(|(dim, count)| {
            let rows = prop::collection::vec(number(), dim * count);
            (Just(dim), rows, prop::collection::vec(0..count as u32, 0..20), -2.0f32..2.0)
        })
    ) {
        let naive: Vec<f32> = (0..dim)
            .map(|i| picked.iter().fold(0.0f32, |sum, &row| sum + rows[row as usize * dim + i]) * scale)
            .collect();
        for kernel in Kernel::available() {
            let mut out = vec![7.0; dim];
            kernel.sum_rows(&rows, &picked, scale, &mut out);
            prop_assert!(out.iter().zip(&naive).all(|(&a, &b)| same32(a, b)), "{}", kernel.name());
        }
    }
}
