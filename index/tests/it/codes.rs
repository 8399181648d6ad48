//! The loops of codes: every instruction set gives the bits of the scalar twin, and that what the definition says.

use nearline_index::kernel::{CODE_BLOCK, GRID_STEPS, GridSums, Kernel, SignTerms};
use proptest::prelude::*;

/// Equal to the bit, any NaN being as good as another.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

fn number() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![8 => -10.0f32..10.0, 1 => Just(0.0f32), 1 => Just(-0.0f32), 1 => Just(1e-40f32)]
}

fn any_number() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![
        8 => number(),
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN]),
    ]
}

/// A multiple of 16 dimensions, and so many numbers for each.
fn vectors(count: usize, number: impl Strategy<Value = f32> + Clone) -> impl Strategy<Value = Vec<Vec<f32>>> {
    (1usize..12).prop_flat_map(move |sixteens| {
        prop::collection::vec(prop::collection::vec(number.clone(), sixteens * 16), count)
    })
}

fn bytes(count: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![6 => prop::collection::vec(any::<u8>(), count), 1 => Just(vec![255; count])]
}

/// The code of one dimension, bit by bit as the format has it.
fn naive_code(bits: usize, signs: &[u8], entry: usize, planes: &[u8], dimension: usize) -> u32 {
    let bit = |bytes: &[u8], i: usize| u32::from(bytes[i / 8] >> (i % 8) & 1);
    let nibble = entry / 16 * 4 + dimension % 4;
    let sign = bit(&signs[dimension / 4 * 16 + entry % 16..], nibble);
    let lower = bits - 1;
    let (mut code, mut plane, lane) = (sign, &planes[dimension / 16 * 2 * lower..], dimension % 16);
    for width in [4, 2, 1].into_iter().filter(|width| lower & width != 0) {
        // Four bits take turns between two words.
        let at = if width == 4 { lane % 2 * 32 + lane / 2 * 4 } else { lane * width };
        code = (0..width).rev().fold(code, |code, i| code << 1 | bit(plane, at + i));
        plane = &plane[2 * width..];
    }
    code
}

proptest! {
    #[test]
    fn fastscan_adds_up_what_the_table_says(
        (codes, table) in (0usize..150).prop_flat_map(|n| (bytes(n * 64), bytes(n * 64))),
    ) {
        let mut right = [0u32; CODE_BLOCK];
        for (i, &code) in codes.iter().enumerate() {
            right[i % 16] += u32::from(table[i / 16 * 16 + usize::from(code & 15)]);
            right[16 + i % 16] += u32::from(table[i / 16 * 16 + usize::from(code >> 4)]);
        }
        for kernel in Kernel::available() {
            let mut out = [7; CODE_BLOCK];
            kernel.fastscan(&codes, &table, &mut out);
            prop_assert_eq!(out, right, "{}", kernel.name());
        }
    }

    #[test]
    fn values_up_to_a_limit_are_told(
        values in prop::collection::vec(any_number(), CODE_BLOCK),
        limit in any_number(),
        equal in 0..CODE_BLOCK,
    ) {
        let Ok(mut values) = <[f32; CODE_BLOCK]>::try_from(values) else { unreachable!() };
        values[equal] = limit;
        for kernel in Kernel::available() {
            let bits = kernel.up_to(&values, limit);
            for (at, value) in values.iter().enumerate() {
                let is_above = value.partial_cmp(&limit) == Some(std::cmp::Ordering::Greater);
                prop_assert_eq!(bits >> at & 1 == 0, is_above, "{} {}", kernel.name(), value);
            }
        }
    }

    #[test]
    fn codes_are_unpacked_and_multiplied(
        bits in 1usize..=8,
        entry in 0usize..CODE_BLOCK,
        (query, signs, planes) in (1usize..12).prop_flat_map(|n| {
            (prop::collection::vec(any_number(), n * 16), bytes(n * 64), bytes(n * 2 * 7))
        }),
    ) {
        let planes = &planes[..query.len() / 8 * (bits - 1)];
        let right: Vec<f32> =
            (0..query.len()).map(|i| naive_code(bits, &signs, entry, planes, i) as f32).collect();
        let product: f64 = right.iter().zip(&query).map(|(&u, &q)| f64::from(u) * f64::from(q)).sum();
        let size: f64 = right.iter().zip(&query).map(|(&u, &q)| (f64::from(u) * f64::from(q)).abs()).sum();
        let twin = Kernel::available()[0].code_dot(bits, &signs, entry, planes, &query);
        if size < 1e30 {
            prop_assert!((f64::from(twin) - product).abs() <= 1e-6 * size + 1e-36, "{} {}", twin, product);
        }
        for kernel in Kernel::available() {
            let mut out = vec![0.0; query.len()];
            kernel.unpack(bits, &signs, entry, planes, &mut out);
            prop_assert_eq!(&out, &right, "{}", kernel.name());
            let dot = kernel.code_dot(bits, &signs, entry, planes, &query);
            prop_assert!(same(&[dot], &[twin]), "{}: {} {}", kernel.name(), dot, twin);
        }
    }

    #[test]
    fn estimates_from_signs_are_numbers_in_order(
        sums in prop::collection::vec(0u32..5_000_000, CODE_BLOCK),
        factors in bytes(4 * CODE_BLOCK),
        terms in prop::collection::vec(any_number(), 5),
    ) {
        let (Ok(sums), Ok(factors)) = (sums.try_into(), factors.try_into()) else { unreachable!() };
        let [distance, step, bias, error, spread] = std::array::from_fn(|i| terms[i]);
        let terms = SignTerms { distance, step, bias, error: error.abs(), spread: spread.abs() };
        let (mut right, mut right_lower) = ([0.0; CODE_BLOCK], [0.0; CODE_BLOCK]);
        Kernel::available()[0].sign_estimates(&sums, &factors, &terms, &mut right, &mut right_lower);
        prop_assert!(right.iter().all(|x| x.is_finite()));
        prop_assert!(right_lower.iter().zip(&right).all(|(lower, x)| lower <= x));
        for kernel in Kernel::available() {
            let (mut out, mut lower) = ([0.0; CODE_BLOCK], [0.0; CODE_BLOCK]);
            kernel.sign_estimates(&sums, &factors, &terms, &mut out, &mut lower);
            prop_assert!(same(&out, &right) && same(&lower, &right_lower), "{}", kernel.name());
        }
    }

    #[test]
    fn tables_count_the_steps_of_agreeing_signs(query in vectors(1, number()), per_step in 0.0f32..6.0) {
        let query = &query[0];
        let worth = |group: usize, pattern: usize| -> f32 {
            let agrees = |j: &usize| (pattern >> j & 1 == 1) == (query[group * 4 + j] > 0.0);
            (0..4).filter(agrees).map(|j| query[group * 4 + j].abs() * per_step).sum()
        };
        let mut right = Vec::new();
        for kernel in Kernel::available() {
            let mut table = vec![0; query.len() * 4];
            let squares = kernel.sign_table(query, per_step, &mut table);
            let mut naive = 0.0;
            for (i, &steps) in table.iter().enumerate() {
                let off = f32::from(steps) - worth(i / 16, i % 16);
                prop_assert!(off.abs() <= 0.5001, "{} {}", kernel.name(), off);
                naive += off * off;
            }
            prop_assert!((squares - naive).abs() <= 1e-3 * (1.0 + naive), "{} {}", squares, naive);
            right.push((table, squares.to_bits()));
        }
        prop_assert!(right.iter().all(|table| *table == right[0]));
    }

    #[test]
    fn grids_are_the_same_everywhere(rows in vectors(2, any_number()), bits in 1usize..=8, step in 0.0f32..200.0) {
        let (vector, centroid, dim) = (&rows[0], &rows[1], rows[0].len());
        let top = ((1u32 << (bits - 1)) - 1) as f32;
        let mut right = None;
        for kernel in Kernel::available() {
            let (mut residual, mut magnitudes) = (vec![0.0; dim], vec![0.0; dim]);
            kernel.residual(vector, centroid, &mut residual, &mut magnitudes);
            let mut codes = vec![0; dim];
            kernel.grid_codes(&residual, &magnitudes, top, step, &mut codes);
            let (mut points, mut signs) = (vec![0.0; dim], vec![0.0; dim]);
            kernel.grid_points(&codes, bits, &mut points, &mut signs);
            for i in 0..dim {
                prop_assert_eq!(residual[i].is_sign_negative(), signs[i] < 0.0);
                prop_assert_eq!(points[i] < 0.0, signs[i] < 0.0);
                let m = points[i].abs() - 0.5;
                prop_assert!(m >= 0.0 && m <= top);
                let exact = magnitudes[i] * step;
                prop_assert!(!exact.is_finite() || (m <= exact && (m == top || exact <= m + 1.0)), "{} {}", m, exact);
            }
            let sums = kernel.grid_sums(&magnitudes, top, &[step, 1.0, 50.0, 0.0]);
            let all = (residual, magnitudes, codes, points, signs, sums);
            let first = right.get_or_insert_with(|| all.clone());
            prop_assert!(same(&first.0, &all.0) && same(&first.1, &all.1), "{}", kernel.name());
            prop_assert_eq!((&first.2, &first.3, &first.4), (&all.2, &all.3, &all.4), "{}", kernel.name());
            prop_assert!(same_sums(&first.5, &all.5), "{}", kernel.name());
        }
    }

    #[test]
    fn a_round_of_the_rotation_is_three_matrices(rows in vectors(2, number()), last in any::<bool>()) {
        let (factors, x, dim) = (&rows[0], &rows[1], rows[0].len());
        let length = 1 << dim.ilog2();
        let first = if last { dim - length } else { 0 };
        let scaled: Vec<f64> = x.iter().zip(factors).map(|(&x, &f)| f64::from(x) * f64::from(f)).collect();
        let mut mixed = scaled.clone();
        for i in 0..length {
            let sign = |j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
            mixed[first + i] = (0..length).map(|j| sign(j) * scaled[first + j]).sum();
        }
        let half = dim / 2;
        let right = (0..dim).map(|i| if i < half { mixed[i] + mixed[i + half] } else { mixed[i - half] - mixed[i] });
        let right: Vec<f64> = right.collect();
        let mut twin = x.clone();
        Kernel::available()[0].rotate(factors, first, &mut twin);
        for (ours, right) in twin.iter().zip(&right) {
            prop_assert!((f64::from(*ours) - right).abs() <= 1e-6 * 100.0 * dim as f64, "{} {}", ours, right);
        }
        for kernel in Kernel::available() {
            let mut out = x.clone();
            kernel.rotate(factors, first, &mut out);
            prop_assert!(same(&out, &twin), "{}", kernel.name());
        }
    }
}

fn same_sums(a: &[GridSums; GRID_STEPS], b: &[GridSums; GRID_STEPS]) -> bool {
    a.iter().zip(b).all(|(a, b)| same(&[a.dot, a.norm], &[b.dot, b.norm]))
}

#[test]
fn anything_can_be_prefetched() {
    let bytes = [7; 1000];
    for kernel in Kernel::available() {
        for end in [0, 1, 63, 64, 65, 1000] {
            kernel.prefetch(&bytes[..end]);
            kernel.prefetch(&bytes[bytes.len() - end..]);
        }
    }
    assert_eq!(bytes, [7; 1000]);
}

#[test]
#[should_panic(expected = "left == right")]
fn lengths_must_agree() {
    Kernel::best().fastscan(&[0; 64], &[0; 128], &mut [0; CODE_BLOCK]);
}
