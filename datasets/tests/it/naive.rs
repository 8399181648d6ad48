//! Ground truth against its naive twin.

use std::path::{Path, PathBuf};

use nearline_datasets::{
    DatasetError, ElementType, GroundTruth, Metric, RawVectors, VectorFile, ground_truth, load_raw,
};
use proptest::prelude::*;

use crate::support::{folder, splitmix, write};

/// What is asked for, computed in the plainest way.
fn brute_force(base: &RawVectors, queries: &RawVectors, metric: Metric, k: usize) -> GroundTruth {
    let (b, q) = (base.to_f32(), queries.to_f32());
    let mut truth = GroundTruth { queries: queries.count, k, ids: Vec::new(), distances: Vec::new() };
    for q in q.chunks_exact(base.dim) {
        let mut all: Vec<(f64, u32)> = b.chunks_exact(base.dim).map(|x| key(metric, q, x)).zip(0..).collect();
        all.sort_by(|a, b| a.partial_cmp(b).unwrap());
        for &(key, row) in &all[..k] {
            truth.ids.push(row);
            truth.distances.push(if metric == Metric::InnerProduct { -key as f32 } else { key as f32 });
        }
    }
    truth
}

fn key(metric: Metric, q: &[f32], x: &[f32]) -> f64 {
    let pairs = || q.iter().zip(x).map(|(&q, &x)| (f64::from(q), f64::from(x)));
    let dot: f64 = pairs().map(|(q, x)| q * x).sum();
    let norm = |v: &[f32]| v.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    match metric {
        Metric::L2 => pairs().map(|(q, x)| (q - x) * (q - x)).sum(),
        Metric::InnerProduct => -dot,
        Metric::Cosine => 1.0 - dot / (norm(q) * norm(x)),
    }
}

fn raw(element: ElementType, dim: usize, values: &[f32]) -> RawVectors {
    let mut bytes = Vec::new();
    element.narrow(values, &mut bytes);
    RawVectors { element, dim, count: values.len() / dim, bytes }
}

fn save(folder: &Path, vectors: &RawVectors) -> PathBuf {
    let path = folder.join("base.npy");
    write(&path, vectors.element, vectors.dim, &vectors.bytes);
    path
}

fn agree(base: &RawVectors, queries: &RawVectors, metric: Metric, k: usize) {
    let folder = folder();
    let file = VectorFile::open(&save(folder.path(), base)).unwrap();
    let found = ground_truth(&file, queries, metric, k, 2, &|_, _| {}).unwrap();
    let expected = brute_force(base, queries, metric, k);
    assert_eq!(found.ids, expected.ids, "{metric} {}", base.element);
    assert_eq!(found.distances, expected.distances, "{metric} {}", base.element);
}

/// Numbers of a given spread; few different ones when `coarse`, so that there are many ties.
fn numbers(n: usize, seed: u64, scale: f32, coarse: bool) -> Vec<f32> {
    let number = |i: u64| {
        let bits = splitmix(seed ^ i << 20) >> 40;
        let bits = if coarse { bits >> 22 << 22 } else { bits };
        (bits as f32 / (1 << 24) as f32 - 0.4) * scale
    };
    (0..n as u64).map(number).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn as_the_naive_twin(
        (n, k) in (1usize..200).prop_flat_map(|n| (Just(n), 1..=n)),
        queries in 1usize..11,
        dim in 1usize..70,
        seed in any::<u64>(),
        scale in prop_oneof![Just(1.0f32), Just(100.0), Just(1e-25), Just(1e25), Just(1e-42), Just(3e38)],
        coarse in any::<bool>(),
        element in 0usize..4,
        metric in 0usize..3,
    ) {
        let (element, metric) = (ElementType::ALL[element], Metric::ALL[metric]);
        let scale = if element == ElementType::F32 { scale } else { 100.0 };
        let mut base = numbers(n * dim, seed, scale, coarse);
        let mut query = numbers(queries * dim, !seed, scale, coarse);
        // a direction for everyone
        base.iter_mut().step_by(dim).for_each(|v| *v = scale / 2.0);
        query.iter_mut().step_by(dim).for_each(|v| *v = scale / 2.0);
        agree(&raw(element, dim, &base), &raw(element, dim, &query), metric, k);
    }
}

#[test]
fn norms_of_every_size_side_by_side() {
    for metric in Metric::ALL {
        let mut base = numbers(600 * 33, 5, 1.0, false);
        for (i, row) in base.chunks_exact_mut(33).enumerate() {
            let scale = [1e-20, 1e-3, 1.0, 1e3, 1e18, 1e30][i % 6];
            row.iter_mut().for_each(|v| *v *= scale);
        }
        agree(&raw(ElementType::F32, 33, &base), &raw(ElementType::F32, 33, &base[..33 * 13]), metric, 40);
    }
}

#[test]
fn near_twins_far_from_the_origin() {
    // differences of the last bits, where |x|² - 2qx in f32 alone would be useless
    let values: Vec<f32> = numbers(2000 * 24, 9, 1e-3, false).iter().map(|v| v + 1000.0).collect();
    let (base, queries) = (raw(ElementType::F32, 24, &values), raw(ElementType::F32, 24, &values[..24 * 9]));
    for metric in Metric::ALL {
        agree(&base, &queries, metric, 25);
    }
}

#[test]
fn several_blocks_in_order() {
    let values = numbers(70_001 * 3, 2, 1.0, true);
    let (base, queries) = (raw(ElementType::I8, 3, &values), raw(ElementType::I8, 3, &[0.0, 0.0, 0.0]));
    agree(&base, &queries, Metric::L2, 70_001);
    let folder = folder();
    let file = VectorFile::open(&save(folder.path(), &base)).unwrap();
    let told = std::cell::RefCell::new(Vec::new());
    ground_truth(&file, &queries, Metric::L2, 1, 1, &|done, total| told.borrow_mut().push((done, total)))
        .unwrap();
    let told = told.into_inner();
    assert!(told.len() > 1 && told.is_sorted() && *told.last().unwrap() == (70_001, 70_001), "{told:?}");
}

#[test]
fn refusals() {
    let folder = folder();
    let base = raw(ElementType::F32, 2, &[1.0, 2.0, 3.0, 4.0, 0.0, 0.0]);
    let path = save(folder.path(), &base);
    let run = |queries: &RawVectors, metric, k| -> DatasetError {
        ground_truth(&VectorFile::open(&path).unwrap(), queries, metric, k, 1, &|_, _| {}).unwrap_err()
    };
    let check = |error: DatasetError, words: &str| assert!(error.to_string().contains(words), "{error}");
    let query = raw(ElementType::F32, 2, &[1.0, 1.0]);
    check(run(&query, Metric::L2, 0), "found 0, expected 1 to 3");
    check(run(&query, Metric::L2, 4), "found 4, expected 1 to 3");
    check(run(&raw(ElementType::F32, 1, &[1.0]), Metric::L2, 1), "dimension of the queries");
    check(run(&raw(ElementType::I8, 2, &[1.0, 1.0]), Metric::L2, 1), "type of the queries");
    check(run(&raw(ElementType::F32, 2, &[]), Metric::L2, 1), "bytes of the queries");
    check(run(&raw(ElementType::F32, 2, &[1.0, f32::NAN]), Metric::L2, 1), "row 0 has NaN at component 1");
    check(run(&raw(ElementType::F32, 2, &[0.0, 0.0]), Metric::Cosine, 1), "queries: row 0 is all zeros");
    check(run(&query, Metric::Cosine, 1), "base.npy: row 2 is all zeros");
    save(folder.path(), &raw(ElementType::F32, 2, &[1.0, 2.0, f32::INFINITY, 4.0]));
    check(run(&query, Metric::L2, 1), "base.npy: row 1 has inf at component 0");
    assert_eq!(load_raw(&path).unwrap().count, 2);
}
