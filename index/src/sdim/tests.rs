//! The mathematics against its naive twin, the published figures and the laws it must obey.

use proptest::prelude::*;

use super::*;
use crate::kernel::Kernel;
use crate::random::Random;

/// Uniform in -1..1.
fn values(seed: u64, count: usize) -> Vec<f32> {
    let random = Random::new(seed, 9);
    (0..count as u64).map(|i| (random.at(i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

fn table_of(family: &SignFamily, vectors: &[f32]) -> BucketTable {
    let shape = family.shape();
    let mut table = BucketTable::new(shape);
    let signatures = family.signatures(vectors).unwrap();
    for (vector, signature) in vectors.chunks(shape.dim()).zip(signatures.chunks(shape.words())) {
        table.add(vector, signature).unwrap();
    }
    table
}

fn interest_of(family: &SignFamily, table: &BucketTable, normalize: Normalize, query: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; query.len()];
    let signatures = family.signatures(query).unwrap();
    ServingTable::new(table, normalize).interest(&signatures, &mut out).unwrap();
    out
}

/// The formula word by word: no table, no panels.
fn naive_interest(family: &SignFamily, vectors: &[f32], normalize: Normalize, query: &[f32]) -> Vec<f64> {
    let shape = family.shape();
    let (dim, mut sum, mut count) = (shape.dim(), vec![0.0; shape.dim()], 0);
    let signature = |x: &[f32]| family.signatures(x).unwrap();
    let of_query = signature(query);
    for group in 0..shape.groups() {
        let mut bag = vec![0.0; dim];
        for vector in vectors.chunks(dim) {
            if shape.bucket(&signature(vector), group) == shape.bucket(&of_query, group) {
                count += 1;
                bag.iter_mut().zip(vector).for_each(|(bag, &x)| *bag += f64::from(x));
            }
        }
        let length = bag.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        let divisor = if normalize == Normalize::L2 { length } else { 1.0 };
        sum.iter_mut().zip(&bag).for_each(|(sum, bag)| *sum += bag / divisor);
    }
    let divisor = if normalize == Normalize::Count { count.max(1) } else { shape.groups() };
    sum.iter().map(|x| x / divisor as f64).collect()
}

#[test]
fn the_golden_vector_comes_out_exactly() {
    let shape = SignShape::new(4, 2, 2).unwrap();
    let planes = [1., 0., 0., 0., 0., 1., 0., 0., 1., -1., 0., 0., 0., 0., 1., -2.];
    let family = SignFamily::from_projections(shape, &planes).unwrap();
    let history =
        [3., 4., 0., 0., 3., -4., 0., 0., -1., 2., 2., 0., 6., 8., 0., 1., 0., 5., 1., 0., 2., 1., 4., 2.];
    let query = [2., 1., 3., 1.];
    let buckets = |vectors: &[f32]| -> Vec<[usize; 2]> {
        let signatures = family.signatures(vectors).unwrap();
        signatures.chunks(1).map(|one| [shape.bucket(one, 0), shape.bucket(one, 1)]).collect()
    };
    assert_eq!(buckets(&history), [[3, 0], [1, 1], [2, 2], [3, 0], [2, 2], [3, 1]]);
    assert_eq!(buckets(&query), [[3, 3]]);
    // The last behaviour is masked.
    let table = table_of(&family, &history[..20]);
    assert_eq!((&table.sums()[12..16], &table.sums()[28..]), (&[9., 12., 0., 1.][..], &[0.0; 4][..]));
    assert_eq!((table.counts()[3], table.counts()[7]), (2, 0));
    assert_eq!(interest_of(&family, &table, Normalize::None, &query), [4.5, 6.0, 0.0, 0.5]);
    let l2 = interest_of(&family, &table, Normalize::L2, &query);
    // As many digits as were published.
    let published = [0.299_335_54, 0.399_114_07, 0.0, 0.033_259_50];
    assert!(
        l2.iter().zip(published).all(|(&found, printed)| (f64::from(found) - printed).abs() <= 1e-8),
        "{l2:?}"
    );
    assert_eq!(interest_of(&family, &table, Normalize::Count, &query), [4.5, 6.0, 0.0, 0.5]);
}

#[test]
fn planes_of_a_checkpoint_are_the_same_turned() {
    let shape = SignShape::new(3, 2, 2).unwrap();
    let rotations = values(1, 12);
    let family = SignFamily::from_rotations(shape, &rotations).unwrap();
    for hash in 0..4 {
        for j in 0..3 {
            assert_eq!(family.projections()[hash * 3 + j], rotations[j * 4 + hash]);
        }
    }
}

#[test]
fn what_cannot_be_is_refused_and_zero_falls_into_bucket_zero() {
    for (dim, groups, bits) in [(0, 1, 1), (65_536, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 17), (1, 4097, 1)] {
        assert!(SignShape::new(dim, groups, bits).is_err(), "{dim} {groups} {bits}");
    }
    assert!(SignShape::new(8192, 512, 2).is_err() && SignShape::new(1024, 1, 16).is_err());
    let shape = SignShape::new(3, 5, 16).unwrap();
    let family = SignFamily::from_seed(shape, 7).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(family.signatures(&[0.0, bad, 1.0]).is_err());
        assert!(BucketTable::new(shape).add(&[0.0, bad, 1.0], &[0; 2]).is_err());
        assert!(exact_attention(&[bad], &[1.0], 1, 1.0).is_err());
    }
    assert!(family.signatures(&[1.0; 4]).is_err());
    assert!(SignFamily::from_projections(shape, &[1.0; 3]).is_err());
    let zero = family.signatures(&[0.0, -0.0, 0.0]).unwrap();
    assert_eq!(zero, [0, 0]);
    assert!((0..5).all(|group| shape.bucket(&zero, group) == 0));
}

#[test]
fn normal_numbers_are_normal() {
    let shape = SignShape::new(1000, 50, 1).unwrap();
    let family = SignFamily::from_seed(shape, 3).unwrap();
    let moment = |power: i32| {
        let sum: f64 = family.projections().iter().map(|&x| f64::from(x).powi(power)).sum();
        sum / family.projections().len() as f64
    };
    // Standard errors at 50,000 numbers: 0.0045, 0.0063, 0.017, 0.044.
    for (power, expected, error) in [(1, 0.0, 0.0045), (2, 1.0, 0.0063), (3, 0.0, 0.0173), (4, 3.0, 0.0438)] {
        assert!((moment(power) - expected).abs() < 5.0 * error, "{power}: {}", moment(power));
    }
    assert_eq!(family.projections(), SignFamily::from_seed(shape, 3).unwrap().projections());
}

/// Without l2 the expectation is Σ w s: a z-test with the exact covariance of collisions.
#[test]
fn interest_is_unbiased() {
    let (dim, tau, groups, families) = (4, 3, 64, 60);
    let shape = SignShape::new(dim, groups, tau).unwrap();
    let (history, query) = (values(5, 12 * dim), values(6, dim));
    let angle = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a * b)).sum() };
        (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).clamp(-1.0, 1.0).acos()
    };
    let rows: Vec<&[f32]> = history.chunks(dim).collect();
    let weight = |row: &[f32]| collision_weight(angle(&query, row).cos(), tau);
    let both = |a: &[f32], b: &[f32]| {
        let angles = angle(&query, a) + angle(&query, b) + angle(a, b);
        (1.0 - angles / std::f64::consts::TAU).powi(tau as i32)
    };
    let mut mean = vec![0.0; dim];
    for seed in 0..families {
        let family = SignFamily::from_seed(shape, seed).unwrap();
        let found = interest_of(&family, &table_of(&family, &history), Normalize::None, &query);
        mean.iter_mut().zip(&found).for_each(|(mean, &x)| *mean += f64::from(x) / families as f64);
    }
    for j in 0..dim {
        let expected: f64 = rows.iter().map(|row| weight(row) * f64::from(row[j])).sum();
        let mut variance = 0.0;
        for a in &rows {
            for b in &rows {
                variance += (both(a, b) - weight(a) * weight(b)) * f64::from(a[j]) * f64::from(b[j]);
            }
        }
        let z = (mean[j] - expected) / (variance / (groups as f64 * families as f64)).sqrt();
        assert!(z.abs() < 4.5, "dimension {j}: {z}");
    }
}

/// Four times the groups, half the error.
#[test]
fn the_error_falls_with_the_root_of_the_groups() {
    let (dim, tau) = (16, 3);
    let (history, query) = (values(8, 200 * dim), values(9, dim));
    let expected: Vec<f64> = {
        let norm = |x: &[f32]| x.iter().map(|&x| f64::from(x * x)).sum::<f64>().sqrt();
        let mut sum = vec![0.0; dim];
        for row in history.chunks(dim) {
            let dot: f64 = row.iter().zip(&query).map(|(&a, &b)| f64::from(a * b)).sum();
            let weight = collision_weight(dot / norm(row) / norm(&query), tau);
            sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += weight * f64::from(x));
        }
        sum
    };
    let error = |groups: usize| -> f64 {
        let shape = SignShape::new(dim, groups, tau).unwrap();
        let squares = (0..40).map(|seed| {
            let family = SignFamily::from_seed(shape, 100 + seed).unwrap();
            let found = interest_of(&family, &table_of(&family, &history), Normalize::None, &query);
            found.iter().zip(&expected).map(|(&x, e)| (f64::from(x) - e).powi(2)).sum::<f64>()
        });
        squares.sum::<f64>().sqrt()
    };
    let ratio = error(8) / error(128);
    assert!((2.8..5.6).contains(&ratio), "{ratio}, expected 4");
}

/// Elements of one size, so that sums are exact, or of any.
fn element(is_tame: bool) -> BoxedStrategy<f32> {
    if is_tame {
        prop_oneof![3 => 1.0f32..100.0, 3 => -100.0f32..-1.0, 1 => Just(0.0)].boxed()
    } else {
        prop_oneof![4 => -10.0f32..10.0, 1 => Just(0.0), 1 => Just(1e-20), 1 => Just(3e8)].boxed()
    }
}

fn case() -> impl Strategy<Value = (SignFamily, Vec<f32>, bool)> {
    (1usize..40, 1usize..9, 1usize..8, 0usize..24, any::<bool>(), any::<u64>()).prop_flat_map(
        |(dim, groups, bits, count, is_tame, seed)| {
            let family = SignFamily::from_seed(SignShape::new(dim, groups, bits).unwrap(), seed).unwrap();
            let history = prop::collection::vec(element(is_tame), dim * count);
            (Just(family), history, Just(is_tame))
        },
    )
}

proptest! {
    #[test]
    fn every_processor_hashes_alike_and_as_one_plane_after_the_other((family, history, _) in case()) {
        let shape = family.shape();
        let dim = shape.dim();
        let count = history.len() / dim;
        let signatures = family.signatures(&history).unwrap();
        for kernel in Kernel::available() {
            prop_assert_eq!(&signatures, &family.signatures_with(kernel, &history, count));
        }
        for (vector, signature) in history.chunks(dim).zip(signatures.chunks(shape.words())) {
            for hash in 0..shape.words() * 64 {
                let bit = signature[hash / 64] >> (hash % 64) & 1;
                let plane = family.projections().chunks(dim).nth(hash);
                let dot = plane.map_or(0.0, |plane| {
                    plane.iter().zip(vector).fold(0.0f32, |sum, (&r, &x)| r.mul_add(x, sum))
                });
                prop_assert_eq!(bit, u64::from(dot > 0.0));
                if hash < shape.hashes() {
                    let in_group = shape.bucket(signature, hash / shape.bits()) >> (hash % shape.bits()) & 1;
                    prop_assert_eq!(bit, in_group as u64);
                }
            }
        }
    }

    #[test]
    fn interest_is_what_the_formula_says((family, history, _) in case(), seed in any::<u64>()) {
        let shape = family.shape();
        let queries = values(seed, 3 * shape.dim());
        let table = table_of(&family, &history);
        for normalize in [Normalize::None, Normalize::L2, Normalize::Count] {
            let serving = ServingTable::new(&table, normalize);
            let mut out = vec![9.0; queries.len()];
            let signatures = family.signatures(&queries).unwrap();
            interest_jagged(&[&serving, &serving], &[1, 2], &signatures, &mut out).unwrap();
            for (query, found) in queries.chunks(shape.dim()).zip(out.chunks(shape.dim())) {
                let naive = naive_interest(&family, &history, normalize, query);
                let scale = history.iter().fold(1.0, |most: f64, &x| most.max(f64::from(x).abs()));
                let scale = if normalize == Normalize::L2 { 1.0 } else { scale * history.len() as f64 };
                for (&found, expected) in found.iter().zip(&naive) {
                    prop_assert!((f64::from(found) - expected).abs() <= 1e-5 * scale, "{found} {expected}");
                }
            }
        }
    }

    #[test]
    fn any_order_of_coming_and_going_equals_a_rebuild(
        (family, history, is_tame) in case(),
        order in prop::collection::vec(any::<u64>(), 24),
        gone in prop::collection::vec(any::<bool>(), 24),
    ) {
        let shape = family.shape();
        let rows: Vec<&[f32]> = history.chunks(shape.dim()).collect();
        let signature = |at: usize| family.signatures(rows[at]).unwrap();
        let mut places: Vec<usize> = (0..rows.len()).collect();
        places.sort_by_key(|&at| order[at]);
        let mut table = BucketTable::new(shape);
        places.iter().for_each(|&at| table.add(rows[at], &signature(at)).unwrap());
        for &at in places.iter().rev().filter(|&&at| gone[at]) {
            table.remove(rows[at], &signature(at)).unwrap();
        }
        let mut halves = [BucketTable::new(shape), BucketTable::new(shape)];
        let mut rebuilt = BucketTable::new(shape);
        for at in (0..rows.len()).filter(|&at| !gone[at]) {
            rebuilt.add(rows[at], &signature(at)).unwrap();
            halves[at % 2].add(rows[at], &signature(at)).unwrap();
        }
        let [mut merged, other] = halves;
        merged.merge(&other).unwrap();
        prop_assert!(!is_tame || table.is_exact());
        for table in [table, merged] {
            prop_assert_eq!(table.counts(), rebuilt.counts());
            prop_assert_eq!(table.len(), rebuilt.len());
            if table.is_exact() {
                prop_assert_eq!(table.sums(), rebuilt.sums());
            }
            for (sums, &count) in table.sums().chunks(shape.dim()).zip(table.counts()) {
                prop_assert!(count > 0 || sums.iter().all(|sum| sum.to_bits() == 0));
            }
        }
    }

    #[test]
    fn the_most_alike_are_those_of_a_sort(
        words in 1usize..4,
        seed in any::<u64>(),
        count in 0usize..60,
        k in 0usize..20,
    ) {
        let random = Random::new(seed, 1);
        // Few bits, so that many are equal.
        let signatures: Vec<u64> = (0..(count * words) as u64).map(|i| random.at(i) & 0x7).collect();
        let query: Vec<u64> = (0..words as u64).map(|i| random.at(1 << 40 | i) & 0x7).collect();
        let mut all: Vec<Alike> = signatures.chunks(words).enumerate().map(|(at, signature)| {
            let distance = (0..64 * words).filter(|bit| (signature[bit / 64] ^ query[bit / 64]) >> (bit % 64) & 1 == 1);
            Alike { distance: distance.count() as u32, at }
        }).collect();
        all.sort();
        all.truncate(k);
        prop_assert_eq!(hamming_top_k(&query, &signatures, k).unwrap(), all);
    }

    #[test]
    fn attention_is_that_of_a_sum_in_f64(
        dim in 1usize..70, len in 0usize..90, count in 0usize..9, seed in any::<u64>(), scale in -3.0f32..3.0,
    ) {
        let (queries, behaviors) = (values(seed, count * dim), values(seed ^ 1, len * dim));
        let found = exact_attention(&queries, &behaviors, dim, scale).unwrap();
        prop_assert_eq!(found.len(), queries.len());
        for (query, found) in queries.chunks(dim).zip(found.chunks(dim)) {
            let mut sum = vec![0.0; dim];
            let mut weights = 0.0;
            for behavior in behaviors.chunks(dim) {
                let dot: f64 = query.iter().zip(behavior).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                let weight = (f64::from(scale) * dot).exp();
                weights += weight;
                sum.iter_mut().zip(behavior).for_each(|(sum, &x)| *sum += weight * f64::from(x));
            }
            for (&found, sum) in found.iter().zip(sum) {
                let expected = if len == 0 { 0.0 } else { sum / weights };
                prop_assert!((f64::from(found) - expected).abs() < 1e-4, "{found} {expected}");
            }
        }
    }
}

#[test]
fn a_sparse_table_answers_as_a_dense_one() {
    for (seed, normalize) in
        (0..12).zip([Normalize::None, Normalize::L2, Normalize::Count].into_iter().cycle())
    {
        let shape = SignShape::new(7, 5, 1 + seed as usize % 9).unwrap();
        let family = SignFamily::from_seed(shape, seed).unwrap();
        let random = crate::random::Random::new(seed, 77);
        let element = |i: u64| (random.at(i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        let vectors: Vec<f32> = (0..7 * (seed * 11)).map(element).collect();
        let queries: Vec<f32> = (0..7 * 40).map(|i| element(i + 1_000_000)).collect();
        let own = family.signatures(&vectors).unwrap();
        let asked = [family.signatures(&queries).unwrap(), own.clone()].concat();
        let mut table = BucketTable::new(shape);
        for (vector, signature) in vectors.chunks_exact(7).zip(own.chunks_exact(shape.words())) {
            table.add(vector, signature).unwrap();
        }
        let mut expected = vec![0.0; asked.len() / shape.words() * 7];
        let mut found = expected.clone();
        ServingTable::new(&table, normalize).interest(&asked, &mut expected).unwrap();
        let sparse = SparseTable::new(shape, normalize, vectors.clone(), &own).unwrap();
        sparse.interest(&asked, &mut found).unwrap();
        assert_eq!(found, expected, "{seed}");
        assert!(sparse.interest(&asked, &mut found[1..]).is_err());
        assert!(SparseTable::new(shape, normalize, vec![f32::NAN; 7], &own).is_err());
    }
}
