//! Every method: budgets, reopening, determinism, what each is known for.

use super::super::*;
use super::values;

const DIM: usize = 16;
const ROWS: usize = 300;

/// How often a row is asked for: a few often, most hardly ever, in no order.
fn frequencies(rows: usize) -> Vec<u64> {
    (0..rows as u64).map(|i| 1 + 5000 / (1 + i * 37 % rows as u64)).collect()
}

/// Fits every method that can be fitted.
fn fit_all(input: &FitInput<'_>) -> Vec<(&'static str, Result<Box<dyn Table>>)> {
    fn boxed<T: Table + 'static>(table: Result<T>) -> Result<Box<dyn Table>> {
        Ok(Box::new(table?))
    }
    let rules = RobeRules { chunk: 8, is_wrapping: false, is_signed: true };
    vec![
        ("float", boxed(FloatCodec::fit(input))),
        ("rowwise", boxed(RowwiseCodec::fit(input))),
        ("uniform", boxed(UniformCodec::fit(input))),
        ("step", boxed(StepCodec::fit(input))),
        ("product", boxed(ProductCodec::fit(input))),
        ("residual", boxed(ResidualCodec::fit(input))),
        ("low rank", boxed(LowRankCodec::fit(input))),
        ("bit stack", boxed(BitStack::fit(input))),
        ("hash", boxed(Hash::fit(input))),
        ("robe", boxed(Robe::fit(input, rules))),
        ("cyclic", boxed(Cyclic::fit(input))),
        ("adaptive", boxed(Adaptive::fit(input))),
        ("deduplicated", boxed(Deduplicated::fit(input, 2))),
        ("tensor train", boxed(TensorTrain::fit(input))),
        ("mixed", boxed(Mixed::fit(input, &[20, 80, 200]))),
        ("masked", boxed(Masked::fit(input))),
        ("sparse", boxed(Sparse::fit(input))),
        ("tiered", boxed(Tiered::fit(input))),
    ]
}

/// Tables that are trained only.
fn new_all(budget: u64, seed: u64) -> Vec<(&'static str, Box<dyn Table>)> {
    let compositional = Compositional::new(ROWS as u64, DIM, budget, Combine::Multiply, 0.1, seed).unwrap();
    let network = DeepHash::new(ROWS as u64, DIM, budget, 32, seed).unwrap();
    vec![("compositional", Box::new(compositional)), ("deep hash", Box::new(network))]
}

fn all_rows(table: &dyn Table) -> Vec<u32> {
    let ids: Vec<u64> = (0..table.rows()).collect();
    let mut out = vec![0.0; ids.len() * table.dim()];
    table.lookup(&ids, &mut out).unwrap();
    out.iter().map(|x| x.to_bits()).collect()
}

fn reopened(table: &dyn Table) -> Box<dyn Table> {
    let segments = table.segments();
    open(table.method(), table.rows(), table.dim(), &table.params(), Segments(&segments)).unwrap()
}

#[test]
fn no_table_takes_more_than_its_budget_and_the_least_is_told() {
    let (rows, frequencies) = (values(3, ROWS * DIM), frequencies(ROWS));
    for budget in [0, 40, 300, 1000, 2500, 5000, 9000, 20_000, 40_000] {
        let input = FitInput::new(&rows, DIM, Some(&frequencies), budget, 1).unwrap();
        for (name, table) in fit_all(&input) {
            match table {
                Ok(table) => {
                    assert!(table.bytes().total() <= budget, "{name}: {:?} of {budget}", table.bytes())
                }
                Err(crate::IndexError::Budget { needed, allowed, .. }) => {
                    assert!(needed > allowed && allowed == budget, "{name}");
                }
                Err(other) => panic!("{name} with {budget}: {other}"),
            }
        }
    }
}

#[test]
fn what_is_reopened_answers_bit_for_bit_and_nothing_else_opens() {
    let (rows, frequencies) = (values(4, ROWS * DIM), frequencies(ROWS));
    let input = FitInput::new(&rows, DIM, Some(&frequencies), 20_000, 1).unwrap();
    let fitted = fit_all(&input).into_iter().map(|(name, table)| (name, table.unwrap()));
    for (name, table) in fitted.chain(new_all(9000, 1)) {
        let again = reopened(&*table);
        assert_eq!(all_rows(&*again), all_rows(&*table), "{name}");
        assert_eq!(again.segments(), table.segments(), "{name}");
        let (segments, params) = (table.segments(), table.params());
        let refused = |rows, dim, params: &[u64], segments: &[Segment<'_>]| {
            open(table.method(), rows, dim, params, Segments(segments)).is_err()
        };
        assert!(refused(table.rows(), 0, &params, &segments), "{name}");
        assert!(refused(table.rows(), DIM, &[params.clone(), vec![99]].concat(), &segments), "{name}");
        for at in 0..segments.len() {
            let mut fewer = segments.clone();
            fewer.remove(at);
            let is_optional = ["remap", "bias"].contains(&&*segments[at].name) && name == "tiered";
            assert!(is_optional || refused(table.rows(), DIM, &params, &fewer), "{name} without {at}");
            let mut shorter = segments.clone();
            shorter[at].bytes.to_mut().pop();
            assert!(refused(table.rows(), DIM, &params, &shorter), "{name} with a shorter {at}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let (rows, frequencies) = (values(5, ROWS * DIM), frequencies(ROWS));
    let input = FitInput::new(&rows, DIM, Some(&frequencies), 20_000, 7).unwrap();
    let bytes_of = |threads| -> Vec<Vec<u8>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let tables = pool.install(|| fit_all(&input));
        let of = |table: Box<dyn Table>| table.segments().iter().flat_map(|one| one.bytes.to_vec()).collect();
        tables.into_iter().map(|(_, table)| of(table.unwrap())).collect()
    };
    assert_eq!(bytes_of(1), bytes_of(4));
}

#[test]
fn pooling_and_products_are_those_of_the_rows() {
    let (rows, frequencies) = (values(6, ROWS * DIM), frequencies(ROWS));
    let input = FitInput::new(&rows, DIM, Some(&frequencies), 20_000, 1).unwrap();
    let fitted = fit_all(&input).into_iter().map(|(name, table)| (name, table.unwrap()));
    let ids = [5, 299, 5, 0, 17, 123];
    let (weights, query) = (values(7, ids.len()), values(8, DIM));
    for (name, table) in fitted.chain(new_all(9000, 1)) {
        let mut found = vec![0.0; ids.len() * DIM];
        table.lookup(&ids, &mut found).unwrap();
        let bags = Bags::new(&ids, &[0, 4, 4, 6], Some(&weights)).unwrap();
        let mut pooled = vec![9.0; 3 * DIM];
        table.pool(&bags, Pool::Mean, &mut pooled).unwrap();
        let mut products = vec![0.0; ids.len()];
        table.dot(&query, &ids, &mut products).unwrap();
        for j in 0..DIM {
            let sum =
                |range: std::ops::Range<usize>| range.map(|i| weights[i] * found[i * DIM + j]).sum::<f32>();
            assert!((pooled[j] - sum(0..4) / 4.0).abs() < 1e-5, "{name}");
            assert_eq!(pooled[DIM + j], 0.0, "{name}");
            assert!((pooled[2 * DIM + j] - sum(4..6) / 2.0).abs() < 1e-5, "{name}");
        }
        for (row, product) in found.chunks(DIM).zip(&products) {
            let expected: f32 = row.iter().zip(&query).map(|(x, q)| x * q).sum();
            assert!((expected - product).abs() < 1e-4, "{name}: {expected} {product}");
        }
    }
}

#[test]
fn with_the_bytes_of_plain_rows_nothing_is_lost_where_nothing_need_be() {
    let rows = values(9, ROWS * DIM);
    let expected: Vec<u32> = rows.iter().map(|x| x.to_bits()).collect();
    let input = FitInput::new(&rows, DIM, None, (ROWS * DIM * 4) as u64, 3).unwrap();
    let cyclic = Cyclic::fit(&input).unwrap();
    assert_eq!((all_rows(&cyclic), cyclic.bytes().ratio()), (expected.clone(), 1.0));
    assert_eq!(all_rows(&Hash::fit(&input).unwrap()), expected);
    let more = FitInput::new(&rows, DIM, None, (ROWS * DIM * 4 + ROWS * 4) as u64, 3).unwrap();
    assert_eq!(all_rows(&Adaptive::fit(&more).unwrap()), expected);
    assert_eq!(all_rows(&Masked::fit(&more).unwrap()), expected);
}

#[test]
fn every_place_of_a_cyclic_array_is_used_equally_often() {
    let ones = vec![1.0; ROWS * DIM];
    let input = FitInput::new(&ones, DIM, None, 4 * 700, 3).unwrap();
    let table = Cyclic::fit(&input).unwrap();
    let mut used = vec![0; 700];
    let mut gradients = Gradients::default();
    (0..ROWS as u64).for_each(|id| table.vjp(id, &[1.0; DIM], &mut gradients));
    gradients.iter().for_each(|(_, place, _)| used[place as usize] += 1);
    // 4800 values in 700 places: six times or seven.
    assert!(used.iter().all(|&times| times == 6 || times == 7), "{used:?}");
}

#[test]
fn blocks_that_are_copies_are_kept_once_without_loss() {
    let mut rows = values(10, 60 * DIM);
    let first: Vec<f32> = rows[..20 * DIM].to_vec();
    rows[20 * DIM..40 * DIM].copy_from_slice(&first);
    let input = FitInput::new(&rows, DIM, None, (40 * DIM * 4 + 30 * 4) as u64, 3).unwrap();
    let table = Deduplicated::fit(&input, 2).unwrap();
    assert_eq!(table.unique(), 20);
    assert_eq!(all_rows(&table), rows.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
}

/// The root of the sum of squared errors over that of squares.
fn relative_error(table: &dyn Table, rows: &[f32]) -> f64 {
    let found = all_rows(table);
    let square = |x: f64| x * x;
    let errors: f64 =
        found.iter().zip(rows).map(|(&a, &b)| square(f64::from(f32::from_bits(a)) - f64::from(b))).sum();
    (errors / rows.iter().map(|&x| square(x.into())).sum::<f64>()).sqrt()
}

#[test]
fn levels_can_be_left_off_and_each_helps() {
    let rows = values(11, 400 * 64);
    let input = FitInput::new(&rows, 64, None, 400 * 40 + 4 * 128, 3).unwrap();
    let mut table = BitStack::fit(&input).unwrap();
    assert_eq!(table.levels(), 4);
    let mut errors = vec![];
    while table.levels() > 1 {
        errors.push(relative_error(&table, &rows));
        table.truncate(table.levels() - 1);
        assert_eq!(table.bytes().total(), table.levels() as u64 * (400 * 10 + 128));
    }
    assert!(errors.windows(2).all(|pair| pair[0] < pair[1] * 0.8), "{errors:?}");
    assert_eq!(all_rows(&*reopened(&table)), all_rows(&table));
}

/// `Σ_levels sign_j · Σ_k u_k · v[k][j]`, read from the segments bit by bit.
#[test]
fn levels_are_what_their_definition_says() {
    let half = |bytes: &[u8]| half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
    for (dim, rank, rows) in [(1, 1, 3), (7, 2, 9), (16, 1, 5), (33, 3, 4), (100, 20, 40)] {
        let input_rows = values(17, rows * dim);
        let input = FitInput::new(&input_rows, dim, None, 100_000, 3).unwrap();
        let table = BitStack::fit_rank(&input, rank).unwrap();
        let segments = table.segments();
        let mut found = vec![0.0; dim];
        for id in 0..rows {
            table.read(id as u64, &mut found);
            for (j, &found) in found.iter().enumerate() {
                let mut expected = 0.0;
                for level in segments.chunks(2) {
                    let row = &level[0].bytes[id * level[0].width..][..level[0].width];
                    let factors = &row[dim.div_ceil(8)..];
                    let term =
                        |k: usize| half(&factors[2 * k..]) * half(&level[1].bytes[2 * (k * dim + j)..]);
                    let sum: f32 = (0..rank).map(term).sum();
                    expected += if row[j / 8] & (0x80 >> (j % 8)) == 0 { -sum } else { sum };
                }
                assert!((found - expected).abs() <= 1e-5, "{dim} {rank}: {found} for {expected}");
            }
        }
    }
}

#[test]
fn frequent_rows_come_out_better_where_frequencies_are_known() {
    let (rows, frequencies) = (values(12, 2000 * DIM), frequencies(2000));
    let known = FitInput::new(&rows, DIM, Some(&frequencies), 1 << 20, 3).unwrap();
    let unknown = FitInput::new(&rows, DIM, None, 1 << 20, 3).unwrap();
    let error = |table: &dyn Table| -> f64 {
        let mut row = [0.0; DIM];
        let of = |id: usize| {
            table.read(id as u64, &mut row);
            let squared: f32 = row.iter().zip(&rows[id * DIM..]).map(|(a, b)| (a - b) * (a - b)).sum();
            f64::from(squared) * frequencies[id] as f64
        };
        (0..2000).map(of).sum()
    };
    let plain = error(&ProductCodec::fit_shape(&unknown, 4, 16).unwrap());
    let weighted = error(&ProductCodec::fit_shape(&known, 4, 16).unwrap());
    assert!(weighted < plain * 0.95, "{weighted} {plain}");
    let tiered = Tiered::fit_shape(&known, 200, 4).unwrap();
    assert!(tiered.error(&known) < plain);
}

#[test]
fn widths_of_fields_follow_the_popularity_rule_and_searches_can_say_otherwise() {
    let rows = values(13, 1110 * DIM);
    let sizes = [10, 100, 1000];
    let input = FitInput::new(&rows, DIM, None, 30_000, 3).unwrap();
    let widths = Mixed::fit(&input, &sizes).unwrap().widths();
    assert!(widths[0] >= widths[1] && widths[1] >= widths[2] && widths[0] > widths[2], "{widths:?}");
    assert_eq!(Mixed::fit_widths(&input, &sizes, &[16, 8, 2]).unwrap().widths(), [16, 8, 2]);
    assert!(Mixed::fit_widths(&input, &sizes, &[16, 8]).is_err());
    assert!(Mixed::fit_widths(&input, &sizes, &[16, 17, 2]).is_err());
    assert!(Mixed::fit(&input, &[10, 100]).unwrap_err().to_string().contains("add up to 1110"));
    let whole = FitInput::new(&rows, DIM, None, 1 << 20, 3).unwrap();
    assert!(relative_error(&Mixed::fit(&whole, &sizes).unwrap(), &rows) < 1e-6);
    let masked = Masked::import(&whole, &sizes, &[16, 8, 0], &[0.0, 1e9, 0.0]).unwrap();
    let mut row = [1.0; DIM];
    masked.read(5, &mut row);
    assert_eq!(row, rows[5 * DIM..6 * DIM]);
    for id in [10, 110] {
        masked.read(id, &mut row);
        assert_eq!(row, [0.0; DIM]);
    }
}

#[test]
fn the_greatest_values_are_the_ones_kept() {
    let rows = values(14, 200 * 12);
    let table = Sparse::prune(&rows, 12, 240).unwrap();
    assert_eq!(table.kept(), 240);
    let mut sorted: Vec<f32> = rows.iter().map(|x| x.abs()).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let least = sorted[sorted.len() - 240];
    let mut row = [0.0; 12];
    for (id, expected) in rows.chunks(12).enumerate() {
        table.read(id as u64, &mut row);
        for (found, x) in row.iter().zip(expected) {
            let kept = if x.abs() >= least { half::f16::from_f32(*x).to_f32() } else { 0.0 };
            assert_eq!(*found, kept);
        }
    }
}

#[test]
fn quotients_and_remainders_go_no_further_than_the_root() {
    let least = 2 * 18 * DIM as u64 * 4;
    assert!(Compositional::new(ROWS as u64, DIM, least, Combine::Add, 0.1, 0).is_ok());
    let error = Compositional::new(ROWS as u64, DIM, least - 200, Combine::Add, 0.1, 0).unwrap_err();
    assert!(error.to_string().contains("bytes needed"), "{error}");
    // All rows apart: no two ids have the same pair.
    let table = Compositional::new(ROWS as u64, DIM, least * 2, Combine::Multiply, 0.1, 0).unwrap();
    let rows = all_rows(&table);
    let unique: std::collections::HashSet<&[u32]> = rows.chunks(DIM).collect();
    assert_eq!(unique.len(), ROWS);
}
