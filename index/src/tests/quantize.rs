//! Codes against the formulas they come from, and against the theory of their errors.

use proptest::prelude::*;

use crate::quantize::{
    BLOCK, Bounds, CodeShape, CodedList, CodedQuery, Encoded, Scale, SignEstimates, encode,
};
use crate::random::Random;
use crate::rotation::Rotation;

/// Numbers of a normal distribution (the sum of twelve uniform ones, close enough).
pub(super) fn normal(seed: u64, count: usize) -> Vec<f32> {
    let random = Random::new(seed, 1);
    let uniform = |i: u64| random.at(i) as f64 / u64::MAX as f64;
    (0..count as u64).map(|i| ((0..12).map(|j| uniform(12 * i + j)).sum::<f64>() - 6.0) as f32).collect()
}

/// Random directions, row-major.
fn units(seed: u64, dim: usize, count: usize) -> Vec<f32> {
    let mut rows = normal(seed, dim * count);
    for row in rows.chunks_exact_mut(dim) {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    }
    rows
}

fn coded(shape: CodeShape, encoded: &Encoded) -> CodedList<'_> {
    CodedList { shape, signs: &encoded.signs, records: &encoded.records, bounds: encoded.bounds, slots: None }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    super::naive(a, b)
}

/// What a list says of one entry and a query.
#[derive(Debug, PartialEq)]
struct Estimates {
    signs: f32,
    lower: f32,
    full: f32,
}

fn estimates(list: &CodedList<'_>, centroid: &[f32], query: &[f32]) -> Vec<Estimates> {
    let mut coded = CodedQuery::default();
    coded.set(list.shape, query);
    let to_centroid = distance(query, centroid) as f32;
    let mut signs = SignEstimates::default();
    let mut all = Vec::new();
    for entry in 0..list.len() {
        if entry % BLOCK == 0 {
            coded.sign_block(list, entry / BLOCK, to_centroid, &mut signs);
        }
        let (signs, lower) = (signs.estimate[entry % BLOCK], signs.lower[entry % BLOCK]);
        all.push(Estimates { signs, lower, full: coded.full(list, entry, to_centroid) });
    }
    all
}

/// Errors of many estimates.
#[derive(Debug, Default)]
struct Errors {
    sum: f64,
    squares: f64,
    count: f64,
    /// How many kept to their bound.
    within: f64,
}

impl Errors {
    fn add(&mut self, error: f64, within: bool) {
        self.sum += error;
        self.squares += error * error;
        self.count += 1.0;
        self.within += f64::from(u8::from(within));
    }

    fn sigma(&self) -> f64 {
        (self.squares / self.count).sqrt()
    }

    /// The mean error in units of what chance would make it.
    fn mean(&self) -> f64 {
        self.sum / self.count.sqrt() / self.sigma()
    }
}

/// Errors of the product of unit vectors, ⟨o, q⟩ = (2 - d²)/2, by signs and by all bits; the true distances are those
/// to the decoded vectors under least squares.
fn errors(shape: CodeShape, scale: Scale, vectors: usize, queries: usize) -> [Errors; 2] {
    let (mut rows, centroid) = (units(1, shape.dim, vectors), vec![0.0; shape.dim]);
    let encoded = encode(shape, scale, &centroid, &rows, &vec![0; vectors]);
    let list = coded(shape, &encoded);
    if scale == Scale::LeastSquares {
        rows.chunks_exact_mut(shape.dim)
            .enumerate()
            .for_each(|(entry, row)| list.decode(entry, &centroid, row));
    }
    let mut errors = [Errors::default(), Errors::default()];
    for query in units(2, shape.dim, queries).chunks_exact(shape.dim) {
        for (said, row) in estimates(&list, &centroid, query).iter().zip(rows.chunks_exact(shape.dim)) {
            let right = distance(row, query);
            errors[0].add((f64::from(said.signs) - right) / 2.0, f64::from(said.lower) <= right);
            let error = f64::from(said.full) - right;
            errors[1].add(error / 2.0, error.abs() <= f64::from(list.bounds.full_slope));
        }
    }
    errors
}

/// The standard deviations for 1 to 5 bits are those of a simulation of the papers' estimator.
#[test]
fn errors_are_unbiased_and_of_the_size_the_theory_says() {
    for (dim, sigmas) in [
        (96, [0.078, 0.035, 0.019, 0.011, 0.005]),
        (128, [0.065, 0.031, 0.016, 0.009, 0.004]),
        (768, [0.027, 0.014, 0.007, 0.004, 0.002]),
    ] {
        for bits in 1..=8 {
            let [signs, full] = errors(CodeShape { dim, bits }, Scale::Unbiased, 300, 20);
            println!("{dim} dimensions, {bits} bits: signs {:.5} all {:.5}", signs.sigma(), full.sigma());
            assert!(signs.mean().abs() < 4.0 && full.mean().abs() < 4.0, "{dim} {bits} {signs:?} {full:?}");
            assert!((0.85..1.15).contains(&(signs.sigma() / sigmas[0])), "{dim} {bits} {signs:?}");
            if let Some(sigma) = sigmas.get(bits - 1) {
                assert!((0.8..1.15).contains(&(full.sigma() / sigma)), "{dim} {bits} {full:?}");
            } else {
                // Each bit more halves the error.
                assert!(full.sigma() < 0.6f64.powi(bits as i32 - 5) * sigmas[4], "{dim} {bits} {full:?}");
            }
            // 1.9 standard deviations: 97% to one side, 94% to both.
            assert!(
                signs.within > 0.97 * signs.count && full.within > 0.94 * full.count,
                "{signs:?} {full:?}"
            );
        }
    }
}

#[test]
fn bounds_hold_for_decoded_vectors_too() {
    for bits in 1..=8 {
        let [signs, full] = errors(CodeShape { dim: 96, bits }, Scale::LeastSquares, 300, 20);
        assert!(signs.within > 0.97 * signs.count, "{bits} {signs:?}");
        assert!(full.sigma() < 1e-6, "{bits} {full:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 100 }))]

    #[test]
    fn estimates_are_the_formula(
        (entries, sixteens, bits) in (1usize..100, 1usize..9, 1usize..9),
        seed in any::<u64>(),
        scale in prop::sample::select(vec![Scale::Unbiased, Scale::LeastSquares]),
    ) {
        let shape = CodeShape { dim: sixteens * 16, bits };
        let (centroid, query) = (normal(seed, shape.dim), normal(seed ^ 1, shape.dim));
        let vectors = normal(seed ^ 2, shape.dim * entries);
        let rows: Vec<u32> = (7..).take(entries).collect();
        let encoded = encode(shape, scale, &centroid, &vectors, &rows);
        prop_assert_eq!(encoded.signs.len(), shape.blocks(entries) * shape.block_bytes());
        prop_assert_eq!(encoded.records.len(), entries * shape.record_bytes());
        let list = coded(shape, &encoded);
        prop_assert_eq!(list.len(), entries);
        let mut decoded = vec![0.0; shape.dim];
        for (entry, said) in estimates(&list, &centroid, &query).iter().enumerate() {
            let vector = &vectors[entry * shape.dim..][..shape.dim];
            prop_assert_eq!(list.row(entry), rows[entry]);
            list.decode(entry, &centroid, &mut decoded);
            // |q - c - S·x|² differs from RaBitQ's estimate by S²|x|² - |r|².
            let mut right = distance(&query, &decoded);
            if scale == Scale::Unbiased {
                right += distance(&centroid, vector) - distance(&centroid, &decoded);
            }
            prop_assert!((f64::from(said.full) - right).abs() < 1e-5 * (right + shape.dim as f64), "{:?} {}", said, right);
            prop_assert!(said.lower <= said.signs);
            if bits == 1 {
                // The same, but for factors of two bytes and a table of single ones.
                let width = f64::from(said.signs - said.lower);
                prop_assert!(f64::from(said.signs - said.full).abs() <= width, "{:?}", said);
            }
        }
    }
}

#[test]
fn what_is_not_there_has_no_error() {
    let (shape, same) = (CodeShape { dim: 32, bits: 4 }, normal(1, 32));
    for scale in [Scale::Unbiased, Scale::LeastSquares] {
        let none = encode(shape, scale, &same, &[], &[]);
        assert_eq!(none, Encoded { signs: Vec::new(), records: Vec::new(), bounds: Bounds::default() });
        let encoded = encode(shape, scale, &same, &same, &[5]);
        assert_eq!(encoded.bounds, Bounds::default());
        let right = distance(&same, &[0.0; 32]) as f32;
        let all = estimates(&coded(shape, &encoded), &same, &[0.0; 32]);
        assert_eq!(all, [Estimates { signs: right, lower: right, full: right }]);
    }
}

#[test]
fn no_size_of_numbers_loses_an_entry() {
    let (bits, dim, zero, one) = (4, 32, [0.0; 32], normal(1, 32));
    let shape = CodeShape { dim, bits };
    for scale in [Scale::Unbiased, Scale::LeastSquares] {
        for size in [f32::MAX, 1e30, 1e20, 1e15, 1e-15, 1e-20, 1e-30, 1e-45] {
            let numbers = [one.clone(), normal(2, dim)].concat();
            let vectors: Vec<f32> = numbers.iter().map(|x| x.clamp(-1.0, 1.0) * size).collect();
            let encoded = encode(shape, scale, &zero, &vectors, &[1, 2]);
            let list = coded(shape, &encoded);
            for query in [&zero[..], &one, &vectors[..dim], &[f32::MAX; 32], &[-f32::MAX; 32], &[1e-45; 32]] {
                for (said, vector) in estimates(&list, &zero, query).iter().zip(vectors.chunks_exact(dim)) {
                    assert!(said.signs.is_finite() && said.full.is_finite(), "{size} {said:?}");
                    assert!(said.lower <= said.signs, "{size} {said:?}");
                    let unsure = f64::from(list.bounds.full_slope) * distance(query, &zero).sqrt();
                    let right = distance(query, vector);
                    let low = f64::from(said.lower).min(f64::from(said.full) - 1.5 * unsure);
                    assert!(low <= right * 1.000_01 || right > 1e38, "{size} {said:?} {right}");
                }
            }
        }
    }
}

#[test]
fn the_longest_vectors_work() {
    let shape = CodeShape { dim: 65_552, bits: 3 };
    let (mut vectors, mut query) = (normal(1, 2 * shape.dim), normal(2, shape.dim));
    let mut centroid = vec![0.5; shape.dim];
    // Unrotated, the centroid's direction would be one that no residual is random in.
    let rotation = Rotation::new(shape.dim, 1);
    for x in vectors.chunks_exact_mut(shape.dim).chain([&mut query[..], &mut centroid]) {
        rotation.apply(x);
    }
    let encoded = encode(shape, Scale::Unbiased, &centroid, &vectors, &[1, 2]);
    let list = coded(shape, &encoded);
    let unsure = f64::from(list.bounds.full_slope) * distance(&query, &centroid).sqrt();
    for (said, vector) in estimates(&list, &centroid, &query).iter().zip(vectors.chunks_exact(shape.dim)) {
        let right = distance(&query, vector);
        assert!((f64::from(said.full) - right).abs() <= unsure, "{said:?} {right}");
        assert!(f64::from(said.lower) <= right, "{said:?} {right}");
    }
}

/// 1 - cos² of the angle to the best point of any grid, by trying all steps at which a value changes, in order.
fn exact_loss(magnitudes: &[f64], top: usize) -> f64 {
    let mut critical: Vec<(f64, usize)> = Vec::new();
    for (i, y) in magnitudes.iter().enumerate().filter(|(_, y)| **y > 0.0) {
        critical.extend((1..=top).map(|m| (m as f64 / y, i)));
    }
    critical.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut point = vec![0.5; magnitudes.len()];
    let mut dot = magnitudes.iter().sum::<f64>() / 2.0;
    let mut norm = magnitudes.len() as f64 / 4.0;
    let mut best = dot * dot / norm;
    for (_, i) in critical {
        norm += 2.0 * point[i] + 1.0;
        point[i] += 1.0;
        dot += magnitudes[i];
        best = best.max(dot * dot / norm);
    }
    1.0 - best / magnitudes.iter().map(|y| y * y).sum::<f64>()
}

#[test]
fn the_step_found_is_hardly_worse_than_the_best() {
    const VECTORS: usize = 50;
    for (dim, bits) in [32, 96, 768].into_iter().flat_map(|dim| (2..=8).map(move |bits| (dim, bits))) {
        let (shape, centroid, vectors) = (CodeShape { dim, bits }, vec![0.0; dim], normal(3, dim * VECTORS));
        let encoded = encode(shape, Scale::LeastSquares, &centroid, &vectors, &[0; VECTORS]);
        let (mut ours, mut exact, mut decoded) = (0.0, 0.0, vec![0.0; dim]);
        for (entry, vector) in vectors.chunks_exact(dim).enumerate() {
            coded(shape, &encoded).decode(entry, &centroid, &mut decoded);
            // The decoded vector is the projection: its squared distance is the sine's square.
            ours += distance(&decoded, vector) / distance(&centroid, vector);
            let magnitudes: Vec<f64> = vector.iter().map(|x| f64::from(x.abs())).collect();
            exact += exact_loss(&magnitudes, (1 << (bits - 1)) - 1);
        }
        println!("{dim} dimensions, {bits} bits: {:.3e}, {:.3} of the best", ours / 50.0, ours / exact);
        // Eight bits have finer teeth than the steps that are tried. The error is the root of this.
        let allowed = if bits < 8 { 1.015 } else { 1.03 };
        assert!(ours <= allowed * exact, "{dim} {bits}: {ours} {exact}");
    }
}
