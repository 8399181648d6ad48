//! Distances of answers, against arithmetic in one line.

use half::f16;
use nearline_index::{ElementType, Metric, Scorer, Shape};
use proptest::prelude::*;

use crate::common::{ELEMENTS, METRICS, Rows};

/// The elements of a row, in `f64`.
fn wide(element: ElementType, row: &[u8]) -> Vec<f64> {
    match element {
        ElementType::F32 => row.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        ElementType::F16 => row.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f64()).collect(),
        ElementType::U8 => row.iter().map(|&x| f64::from(x)).collect(),
        ElementType::I8 => row.iter().map(|&x| f64::from(x.cast_signed())).collect(),
    }
}

/// The distance, and how large the terms are that it is the sum of.
fn naive(metric: Metric, q: &[f64], x: &[f64]) -> (f64, f64) {
    let sum = |of: &dyn Fn(f64, f64) -> f64| q.iter().zip(x).map(|(&q, &x)| of(q, x)).sum::<f64>();
    let l2 = sum(&|q, x| (q - x) * (q - x));
    let (dot, size) = (sum(&|q, x| q * x), sum(&|q, x| (q * x).abs()));
    let norms = sum(&|q, _| q * q).sqrt() * sum(&|_, x| x * x).sqrt();
    match metric {
        Metric::L2 => (l2, l2),
        Metric::InnerProduct => (-dot, size),
        Metric::Cosine => (1.0 - dot / norms, 1.0),
        Metric::Manhattan => (sum(&|q, x| (q - x).abs()), sum(&|q, x| q.abs() + x.abs())),
    }
}

fn distances(metric: Metric, query: &[u8], rows: &Rows) -> Vec<f32> {
    let mut out = vec![0.0; rows.len()];
    Scorer::new(metric, rows.shape, query).distances(&rows.bytes, &mut out);
    out
}

/// Whether `found` is `right` rounded to `f32`, but for the rounding of `f64` sums of terms of this size.
fn rounded(found: f32, right: f64, size: f64) -> bool {
    let ulp = f64::from(right.abs() as f32) * f64::from(f32::EPSILON);
    (f64::from(found) - right).abs() <= 0.5 * ulp + 1e-12 * size + 1e-44
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn distances_are_the_naive_ones_rounded_once(
        dim in 1usize..150,
        values in prop::collection::vec(-120.0f32..120.0, 150 * 6),
    ) {
        for element in ELEMENTS {
            let values: Vec<f32> = match element {
                ElementType::U8 => values.iter().map(|x| x.abs().ceil().max(1.0)).collect(),
                ElementType::I8 => values.iter().map(|x| x.signum() * x.abs().ceil().max(1.0)).collect(),
                _ => values.clone(),
            };
            let rows = Rows::of(element, dim, &values[..5 * dim]);
            let query = Rows::of(element, dim, &values[5 * dim..6 * dim]);
            for metric in METRICS.into_iter().chain([Metric::Manhattan]) {
                for (row, &found) in rows.iter().zip(&distances(metric, query.row(0), &rows)) {
                    let (right, size) = naive(metric, &wide(element, query.row(0)), &wide(element, row));
                    prop_assert!(rounded(found, right, size), "{} {}: {} {}", metric, element, found, right);
                }
            }
        }
    }

    #[test]
    fn signed_bytes_are_exact(
        q in prop::collection::vec(any::<i8>(), 1..200),
        seed in any::<u64>(),
    ) {
        let x: Vec<i8> = (0..q.len()).map(|i| (seed.rotate_left(i as u32 % 64) & 0xFF) as u8 as i8).collect();
        let bytes = |v: &[i8]| v.iter().map(|x| x.cast_unsigned()).collect::<Vec<u8>>();
        let rows = Rows { shape: Shape { element: ElementType::I8, dim: q.len() }, bytes: bytes(&x) };
        let l2: i64 = q.iter().zip(&x).map(|(&q, &x)| (i64::from(q) - i64::from(x)).pow(2)).sum();
        let dot: i64 = q.iter().zip(&x).map(|(&q, &x)| i64::from(q) * i64::from(x)).sum();
        let l1: u64 = q.iter().zip(&x).map(|(&q, &x)| u64::from(q.abs_diff(x))).sum();
        prop_assert_eq!(distances(Metric::Manhattan, &bytes(&q), &rows), [l1 as f32]);
        prop_assert_eq!(distances(Metric::L2, &bytes(&q), &rows), [l2 as f32]);
        prop_assert_eq!(distances(Metric::InnerProduct, &bytes(&q), &rows), [-dot as f32]);
    }
}

#[test]
fn bytes_at_their_extremes_do_not_overflow_in_the_longest_vector() {
    const DIM: usize = 65_535;
    let cases = [
        (ElementType::U8, 0.0, 255.0, 255.0 * 255.0, 0.0),
        (ElementType::U8, 255.0, 255.0, 0.0, -255.0 * 255.0),
        (ElementType::I8, -128.0, 127.0, 255.0 * 255.0, 128.0 * 127.0),
        (ElementType::I8, -128.0, -128.0, 0.0, -128.0 * 128.0),
    ];
    for (element, q, x, l2, ip) in cases {
        let (query, rows) = (Rows::of(element, DIM, &[q; DIM]), Rows::of(element, DIM, &[x; DIM]));
        let exact = |one: f64| (one * DIM as f64) as f32;
        assert_eq!(distances(Metric::L2, query.row(0), &rows), [exact(l2)], "{element} {q} {x}");
        let l1 = f64::from(q - x).abs();
        assert_eq!(distances(Metric::Manhattan, query.row(0), &rows), [exact(l1)], "{element} {q} {x}");
        assert_eq!(distances(Metric::InnerProduct, query.row(0), &rows), [exact(ip)], "{element} {q} {x}");
    }
}

#[test]
fn equal_distances_are_equal_bits() {
    for element in ELEMENTS {
        // Orthogonal to the query, and zero: an inner product of nothing but zeros of either sign.
        let rows = Rows::of(element, 2, &[0.0, 1.0, 0.0, 0.0]);
        let mut rows = rows.repeated(1);
        if element == ElementType::F32 {
            rows.bytes.extend(Rows::of(element, 2, &[-0.0, -1.0, -0.0, -0.0]).bytes);
        }
        let query = Rows::of(element, 2, &[1.0, 0.0]);
        for found in distances(Metric::InnerProduct, query.row(0), &rows) {
            assert_eq!(found.to_bits(), 0, "{element}");
        }
        let found = distances(Metric::L2, query.row(0), &query);
        assert_eq!(found[0].to_bits(), 0, "{element}");
    }
}

#[test]
fn a_vector_is_at_no_distance_of_itself_and_two_of_its_opposite() {
    for element in [ElementType::F32, ElementType::F16, ElementType::I8] {
        let rows = Rows::of(element, 3, &[1.0, 2.0, 3.0, -1.0, -2.0, -3.0, 2.0, 4.0, 6.0]);
        assert_eq!(distances(Metric::Cosine, rows.row(0), &rows), [0.0, 2.0, 0.0], "{element}");
    }
}

#[test]
fn a_row_is_scored_the_same_wherever_it_stands() {
    for element in ELEMENTS {
        let (rows, queries) = Rows::generate(element, 67, 33, 1);
        for metric in METRICS {
            let all = distances(metric, queries.row(0), &rows);
            for (row, &together) in rows.iter().zip(&all) {
                let alone = Rows { shape: rows.shape, bytes: row.to_vec() };
                let alone = distances(metric, queries.row(0), &alone)[0];
                assert_eq!(alone.to_bits(), together.to_bits(), "{metric} {element}");
            }
        }
    }
}
