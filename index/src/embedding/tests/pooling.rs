//! Pooled rows on every instruction set, held to what the sums are said to be, word by word: over bits of any kind.

use half::{bf16, f16};
use proptest::prelude::*;

use super::super::table::check_ids;
use super::super::*;
use super::values;
use crate::kernel::{CentroidRows, CodeRows, Kernel};

/// Rows that all tests draw from.
const ROWS: usize = 7;

/// Bytes of any kind: of floats, one in a few hundred is infinite or no number.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let random = Random::new(seed, 11);
    let mut bytes: Vec<u8> = (0..count.div_ceil(8) as u64).flat_map(|i| random.at(i).to_le_bytes()).collect();
    bytes.truncate(count);
    bytes
}

fn wild(seed: u64, count: usize) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(&bytes(seed, 4 * count))
}

/// Rows, weights for some seeds, and ids to be asked for meanwhile, some of which are no row's.
fn bag_of(seed: u64, count: usize) -> (Vec<u64>, Option<Vec<f32>>, Vec<u64>) {
    let random = Random::new(seed, 12);
    let ids = (0..count as u64).map(|i| random.at(i) % ROWS as u64).collect();
    let coming = (0..count as u64 / 2).map(|i| random.at(1000 + i) >> (i % 64)).collect();
    (ids, seed.is_multiple_of(2).then(|| values(seed, count)), coming)
}

/// Adds the rows of a bag value by value: `term` is given a row, the place of a value in it, its weight and the sum so far.
fn naive(bag: &Bag<'_>, out: &mut [f32], term: impl Fn(usize, usize, f32, f32) -> f32) {
    for (i, &id) in bag.ids.iter().enumerate() {
        let weight = bag.weights.map_or(1.0, |weights| weights[i]);
        out.iter_mut().enumerate().for_each(|(j, sum)| *sum = term(id as usize, j, weight, *sum));
    }
}

/// Bits, but for what is no number.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() }).collect()
}

/// Holds what every kernel makes of a bag to the naive sums.
fn check(
    bag: &Bag<'_>,
    dim: usize,
    term: impl Fn(usize, usize, f32, f32) -> f32,
    pool: impl Fn(Kernel, &mut [f32]),
) -> Result<(), TestCaseError> {
    let mut expected = values(5, dim);
    naive(bag, &mut expected, term);
    for kernel in Kernel::available() {
        let mut out = values(5, dim);
        pool(kernel, &mut out);
        prop_assert_eq!(bits(&out), bits(&expected), "{} of {} values", kernel.name(), dim);
    }
    Ok(())
}

/// Numbers of all sizes, and such as lie around what has one bit.
fn number() -> impl Strategy<Value = u64> {
    let around = (0u32..64, 0u64..3).prop_map(|(bit, up)| (1u64 << bit).wrapping_add(up).wrapping_sub(1));
    prop_oneof![around, (any::<u64>(), 0u32..64).prop_map(|(number, bits)| number >> bits)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 128 }))]

    #[test]
    fn codes(
        seed: u64, shape in prop::sample::select(vec![(8usize, true), (8, false), (4, false), (2, false)]),
        dim in 1usize..200, count in 0usize..30, is_first: bool, filled in 0usize..9,
    ) {
        let (width, is_wide) = shape;
        let (codes, params) = ((dim * width).div_ceil(8), if is_wide { 8 } else { 4 });
        let stride = codes + params + filled;
        let bytes = bytes(seed, ROWS * stride);
        let rows = CodeRows {
            bytes: &bytes, stride, bits: width, is_wide,
            codes: if is_first { params } else { 0 }, params: if is_first { 0 } else { codes },
        };
        let (ids, weights, coming) = bag_of(seed, count);
        let bag = Bag { ids: &ids, weights: weights.as_deref(), coming: &coming };
        let term = |row: usize, j: usize, weight: f32, sum: f32| {
            let row = &bytes[row * stride..][..stride];
            let half = |at: usize| f16::from_le_bytes([row[at], row[at + 1]]).to_f32();
            let whole = |at: usize| f32::from_le_bytes(row[at..at + 4].try_into().unwrap());
            let at = rows.params;
            let (scale, bias) = if is_wide { (whole(at), whole(at + 4)) } else { (half(at), half(at + 2)) };
            let code = (row[rows.codes + j * width / 8] >> (j * width % 8)) & (0xFF >> (8 - width));
            (weight * scale).mul_add(f32::from(code), sum + weight * bias)
        };
        check(&bag, dim, term, |kernel, out| kernel.pool_codes(&rows, &bag, out))?;
        let offsets = [0, count / 3, count / 3, count].map(|at| at as u64);
        let bags = Bags::new(&ids, &offsets, weights.as_deref()).unwrap();
        let mut expected = vec![0.0; 3 * dim];
        bags.iter().zip(expected.chunks_exact_mut(dim)).for_each(|(bag, out)| naive(&bag, out, term));
        for kernel in Kernel::available() {
            let mut out = vec![f32::NAN; 3 * dim];
            kernel.sum_codes(&rows, &bags, dim, &mut out);
            prop_assert_eq!(bits(&out), bits(&expected), "sums by {}", kernel.name());
        }
    }

    #[test]
    fn plain_values(seed: u64, dim in 1usize..200, count in 0usize..30) {
        let bytes = bytes(seed, ROWS * dim * 4);
        let (ids, weights, coming) = bag_of(seed, count);
        let bag = Bag { ids: &ids, weights: weights.as_deref(), coming: &coming };
        let two = |row: usize, j: usize| [bytes[(row * dim + j) * 2], bytes[(row * dim + j) * 2 + 1]];
        let term = |row: usize, j: usize, weight: f32, sum: f32| {
            let at = (row * dim + j) * 4;
            weight.mul_add(f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()), sum)
        };
        check(&bag, dim, term, |kernel, out| kernel.pool_f32(&bytes, &bag, out))?;
        let term = |row, j, weight: f32, sum| weight.mul_add(f16::from_le_bytes(two(row, j)).to_f32(), sum);
        check(&bag, dim, term, |kernel, out| kernel.pool_f16(&bytes, &bag, out))?;
        let term = |row, j, weight: f32, sum| weight.mul_add(bf16::from_le_bytes(two(row, j)).to_f32(), sum);
        check(&bag, dim, term, |kernel, out| kernel.pool_bf16(&bytes, &bag, out))?;
    }

    #[test]
    fn centroids(
        seed: u64, width in prop::sample::select(vec![1usize, 2, 2, 3, 4, 4, 8, 8, 16, 16, 24, 64]), parts in 1usize..40,
        count in 0usize..30, is_packed: bool,
    ) {
        let (per_part, dim) = (if is_packed { 16 } else { 256 }, width * parts);
        let stride = if is_packed { parts.div_ceil(2) } else { parts };
        let (codes, centroids) = (bytes(seed, ROWS * stride), wild(seed ^ 1, per_part * dim));
        let rows = CentroidRows { codes: &codes, stride, is_packed, centroids: &centroids, per_part, width };
        let (ids, weights, coming) = bag_of(seed, count);
        let bag = Bag { ids: &ids, weights: weights.as_deref(), coming: &coming };
        let term = |row: usize, j: usize, weight: f32, sum: f32| {
            let part = j / width;
            let code = match is_packed {
                true => (codes[row * stride + part / 2] >> (part % 2 * 4)) & 15,
                false => codes[row * stride + part],
            };
            weight.mul_add(centroids[(part * per_part + usize::from(code)) * width + j % width], sum)
        };
        check(&bag, dim, term, |kernel, out| kernel.pool_centroids(&rows, &bag, out))?;
    }

    #[test]
    fn products_with_codes(
        seed: u64, width in prop::sample::select(vec![8usize, 4, 2]), dim in 1usize..200, count in 0usize..9,
    ) {
        let stride = (dim * width).div_ceil(8) + 4;
        let bytes = bytes(seed, ROWS * stride);
        let rows =
            CodeRows { bytes: &bytes, stride, bits: width, codes: 4, params: 0, is_wide: false };
        let (ids, query) = (bag_of(seed, count).0, values(seed, dim));
        let mut expected = vec![0.0; count];
        Kernel::available()[0].code_products(&rows, &ids, &query, &mut expected);
        for kernel in Kernel::available() {
            let mut out = vec![0.0; count];
            kernel.code_products(&rows, &ids, &query, &mut out);
            prop_assert_eq!(bits(&out), bits(&expected), "{}", kernel.name());
        }
    }

    #[test]
    fn ids_out_of_range(ids in prop::collection::vec(number(), 0..9), rows in number()) {
        prop_assert_eq!(check_ids(&ids, rows).is_ok(), ids.iter().all(|&id| id < rows));
    }

    /// Whatever is asked for ahead, bags of a table are the sums of its rows.
    #[test]
    fn bags_of_a_table(seed: u64, dim in 1usize..40, sizes in prop::collection::vec(0usize..60, 0..6), is_mean: bool) {
        let table = Rows::encode(RowwiseCodec::new(dim, 4, Dialect::Tbe).unwrap(), &values(seed, ROWS * dim)).unwrap();
        let offsets: Vec<u64> = sizes.iter().fold(vec![0], |mut all, &size| {
            all.push(all[all.len() - 1] + size as u64);
            all
        });
        let count: usize = sizes.iter().sum();
        let (ids, weights, _) = bag_of(seed, count);
        let bags = Bags::new(&ids, &offsets, weights.as_deref()).unwrap();
        let (mut out, mut rows) = (vec![1.0; sizes.len() * dim], vec![1.0; count * dim]);
        let pool = if is_mean { Pool::Mean } else { Pool::Sum };
        table.pool(&bags, pool, &mut out).unwrap();
        table.lookup(&ids, &mut rows).unwrap();
        let mut row = vec![0.0; dim];
        for (&id, found) in ids.iter().zip(rows.chunks_exact(dim)) {
            table.read(id, &mut row);
            prop_assert_eq!(&row, found);
        }
        for (pair, found) in offsets.windows(2).zip(out.chunks_exact(dim)) {
            let range = pair[0] as usize..pair[1] as usize;
            let mut sum = vec![0.0; dim];
            table.add(&Bag::new(&ids[range.clone()], weights.as_deref().map(|all| &all[range.clone()])), &mut sum);
            let by = if is_mean && !range.is_empty() { 1.0 / range.len() as f32 } else { 1.0 };
            sum.iter_mut().for_each(|value| *value *= by);
            prop_assert_eq!(&sum, found);
        }
    }
}
