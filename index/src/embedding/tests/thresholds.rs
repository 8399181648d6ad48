//! Which rows and dimensions OptEmbed's search keeps.

use proptest::prelude::*;

use super::super::*;
use super::search::{plain, rows_of};
use super::values;

const SIZES: [u64; 3] = [3, 1, 4];

/// Thresholds that stand at the same value in all fields.
fn at(value: f32, sizes: &[u64], dim: usize) -> Thresholds {
    let mut thresholds = Thresholds::new(sizes, dim).unwrap();
    thresholds.step(&[], &vec![dim; sizes.len()], &[], &mut [], 1.0, value).unwrap();
    assert!(thresholds.values().iter().all(|&found| found == value));
    thresholds
}

/// What has the derivative that a step is given.
fn smooth_step(x: f32) -> f32 {
    let far = x.abs().min(1.0);
    let near = far.min(0.4);
    (2.0 * near - 2.0 * near * near + 0.4 * (far - near)).copysign(x)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Rows in a search are those of the table that its result becomes.
    #[test]
    fn rows_are_those_of_the_result(seed: u64, dim in 1usize..7, threshold in 0.0..3.0f32, step: u64) {
        let rows = values(seed, 8 * dim);
        let thresholds = at(threshold, &SIZES, dim);
        let widths = thresholds.draw(step, seed);
        prop_assert!(widths.iter().all(|width| (1..=dim).contains(width)));
        prop_assert_eq!(&widths, &thresholds.draw(step, seed));
        let input = FitInput::new(&rows, dim, None, 1 << 20, 0).unwrap();
        let result = Masked::import(&input, &SIZES, &widths, thresholds.values()).unwrap();
        let (mut masked, ids) = (rows.clone(), (0..8).collect::<Vec<u64>>());
        thresholds.mask(&ids, &widths, &mut masked).unwrap();
        prop_assert_eq!(&masked, &rows_of(&result));
        let kept = thresholds.kept(&rows).unwrap();
        let values: u64 = kept.iter().zip(&widths).map(|(kept, &width)| kept * width as u64).sum();
        prop_assert_eq!(result.bytes().total(), 4 * (8 + values));
    }

    /// Gradients of thresholds and rows are those of finite differences, with a smooth step where whether a row is left out
    /// depends on them.
    #[test]
    fn gradients_are_those_of_a_smooth_step(seed: u64, threshold in 0.3..2.0f32, width in 0usize..5) {
        const DIM: usize = 4;
        let (row, gradient) = (values(seed, DIM), values(seed ^ 1, DIM));
        let mut thresholds = at(threshold, &[2], DIM);
        let mut of_row = gradient.clone();
        thresholds.step(&[1], &[width], &row, &mut of_row, 1e-2, 0.0).unwrap();
        let size = |row: &[f32]| row.iter().map(|x| x.abs()).sum::<f32>();
        let kept = if size(&row) > threshold { 1.0 } else { 0.0 };
        let product = dot(&row[..width], &gradient);
        let loss = |row: &[f32], threshold: f32| {
            kept * dot(&row[..width], &gradient) + product * smooth_step(size(row) - threshold)
        };
        const STEP: f32 = 1e-2;
        let slope = (loss(&row, threshold + STEP) - loss(&row, threshold - STEP)) / (2.0 * STEP);
        let found = (threshold - thresholds.values()[0]) / 1e-2;
        // At the ends of its pieces a difference takes in both.
        let allowed = 0.05 + 0.25 * product.abs();
        prop_assert!((slope - found).abs() < allowed, "{} {}", slope, found);
        for j in (0..DIM).filter(|&j| row[j].abs() > 2.0 * STEP) {
            let moved = |by: f32| {
                let mut row = row.clone();
                row[j] += by;
                loss(&row, threshold)
            };
            let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            prop_assert!((slope - of_row[j]).abs() < allowed, "{}: {} {}", j, slope, of_row[j]);
        }
    }

    /// No generation has more values than allowed, none loses what was best, and the same seed gives the same ones.
    #[test]
    fn generations_fit_and_get_no_worse(
        seed: u64,
        kept in prop::collection::vec(0u64..20, 1..6),
        dim in 1usize..9,
        more in 0u64..200,
        population in 1usize..9,
    ) {
        let values_max = kept.iter().sum::<u64>() + more;
        let rules = EvolutionRules { population, parents: 4, chance: 0.3, seed };
        let new = || Evolution::new(&kept, dim, values_max, rules).unwrap();
        let (mut evolution, mut again) = (new(), new());
        let worth = values(seed, kept.len());
        let of = |(&width, x): (&usize, &f32)| width as f64 * f64::from(*x);
        let loss = |widths: &Vec<usize>| widths.iter().zip(&worth).map(of).sum::<f64>();
        let mut least = f64::INFINITY;
        for _ in 0..5 {
            prop_assert_eq!(evolution.population().len(), population);
            for widths in evolution.population() {
                let count: u64 = kept.iter().zip(widths).map(|(kept, &width)| kept * width as u64).sum();
                prop_assert!(count <= values_max && widths.iter().all(|width| (1..=dim).contains(width)));
            }
            let losses: Vec<f64> = evolution.population().iter().map(loss).collect();
            least = losses.iter().copied().fold(least, f64::min);
            evolution.advance(&losses).unwrap();
            again.advance(&losses).unwrap();
            let (widths, best) = evolution.best().unwrap();
            prop_assert_eq!((best, loss(&widths.to_vec())), (least, least));
        }
        prop_assert_eq!(evolution, again);
    }
}

#[test]
fn generations_find_what_looking_at_all_finds() {
    for seed in 0..8 {
        let (kept, errors) = ([5, 9, 3], values(seed, 3 * 4));
        // Each field's loss falls with its width, by other amounts.
        let loss = |widths: &[usize]| -> f64 {
            let missing = widths
                .iter()
                .enumerate()
                .flat_map(|(field, &width)| &errors[field * 4 + width..field * 4 + 4]);
            missing.map(|x| f64::from(x.abs())).sum()
        };
        let all = (0..64).map(|n| [n % 4 + 1, n / 4 % 4 + 1, n / 16 + 1]);
        let fits = |widths: &[usize; 3]| kept.iter().zip(widths).map(|(k, w)| k * w).sum::<usize>() <= 40;
        let expected = all.filter(fits).map(|widths| loss(&widths)).fold(f64::INFINITY, f64::min);
        let rules = EvolutionRules { population: 20, parents: 8, chance: 0.3, seed };
        let mut evolution = Evolution::new(&kept.map(|k| k as u64), 4, 40, rules).unwrap();
        for _ in 0..20 {
            let losses: Vec<f64> = evolution.population().iter().map(|widths| loss(widths)).collect();
            evolution.advance(&losses).unwrap();
        }
        assert_eq!(evolution.best().unwrap().1, expected, "{seed}");
    }
}

const DIM: usize = 8;
/// Rows of the fields of a problem with a known answer: the first needs eight dimensions, the second two, the third four,
/// but of its rows every other one is noise.
const FIELDS: [u64; 3] = [10, 10, 20];
const NEEDED: [usize; 3] = [8, 2, 4];
const ROWS: usize = 40;

fn is_noise(id: usize) -> bool {
    id >= 20 && id % 2 == 1
}

fn truth() -> Vec<f32> {
    let field = |id: usize| {
        if id < 10 {
            0
        } else if id < 20 {
            1
        } else {
            2
        }
    };
    let mut rows = values(70, ROWS * DIM);
    for (id, row) in rows.chunks_mut(DIM).enumerate() {
        row.iter_mut().for_each(|x| *x = x.signum() * (0.5 + x.abs() / 2.0));
        row[if is_noise(id) { 0 } else { NEEDED[field(id)] }..].fill(0.0);
    }
    rows
}

/// Trains rows and thresholds together.
fn supernet(seed: u64) -> (Vec<f32>, Thresholds) {
    let (truth, ids) = (truth(), (0..ROWS as u64).collect::<Vec<u64>>());
    let mut table = plain(seed, ROWS as u64, DIM);
    let mut optimizer = Optimizer::new(Rule::Sgd { rate: 0.05 }, table.shapes()).unwrap();
    let mut thresholds = Thresholds::new(&FIELDS, DIM).unwrap();
    for step in 0..1_000 {
        let widths = thresholds.draw(step, seed);
        let rows = rows_of(&table);
        let mut masked = rows.clone();
        thresholds.mask(&ids, &widths, &mut masked).unwrap();
        let noise = values(seed ^ (1_000 + step), ROWS * DIM);
        let wanted = |i: usize| truth[i] + if is_noise(i / DIM) { 0.3 * noise[i] } else { 0.0 };
        let mut gradients: Vec<f32> = masked.iter().enumerate().map(|(i, x)| x - wanted(i)).collect();
        thresholds.step(&ids, &widths, &rows, &mut gradients, 1e-3, 0.9).unwrap();
        train(&mut table, &ids, &gradients, &mut optimizer).unwrap();
    }
    (rows_of(&table), thresholds)
}

#[test]
fn rows_that_are_noise_go_and_fields_keep_the_dimensions_they_need() {
    for seed in 0..3 {
        let (rows, thresholds) = supernet(seed);
        let kept = thresholds.kept(&rows).unwrap();
        assert_eq!(kept, [10, 10, 10], "{:?}", thresholds.values());
        let values_max = 10 * NEEDED.iter().sum::<usize>() as u64;
        let rules = EvolutionRules { population: 30, parents: 10, chance: 0.3, seed };
        let mut evolution = Evolution::new(&kept, DIM, values_max, rules).unwrap();
        let input = FitInput::new(&rows, DIM, None, 4 * (ROWS as u64 + values_max), 0).unwrap();
        let result = |widths: &[usize]| Masked::import(&input, &FIELDS, widths, thresholds.values()).unwrap();
        let loss = |widths: &Vec<usize>| -> f64 {
            let pairs = rows_of(&result(widths)).into_iter().zip(truth());
            pairs.map(|(x, t)| f64::from((x - t) * (x - t))).sum()
        };
        for _ in 0..30 {
            let losses: Vec<f64> = evolution.population().iter().map(loss).collect();
            evolution.advance(&losses).unwrap();
        }
        let (widths, _) = evolution.best().unwrap();
        assert_eq!(widths, NEEDED, "{seed}");
        for (id, row) in rows_of(&result(widths)).chunks(DIM).enumerate() {
            assert_eq!(row.iter().all(|&x| x == 0.0), is_noise(id), "{id}");
        }
    }
    assert_eq!(supernet(1), supernet(1));
}

#[test]
fn searches_of_rows_and_widths_refuse_what_does_not_fit() {
    assert!(Thresholds::new(&[], 4).is_err() && Thresholds::new(&[2, 0], 4).is_err());
    let mut thresholds = at(0.5, &[2, 1], 2);
    let before = thresholds.clone();
    assert!(thresholds.mask(&[3], &[2, 2], &mut [0.0; 2]).unwrap_err().to_string().contains("ids below 3"));
    assert!(thresholds.mask(&[0], &[2], &mut [0.0; 2]).is_err());
    assert!(thresholds.mask(&[0], &[2, 3], &mut [0.0; 2]).unwrap_err().to_string().contains("at most 2"));
    assert!(thresholds.step(&[0], &[2, 2], &[1.0; 2], &mut [f32::NAN; 2], 0.1, 0.0).is_err());
    assert!(thresholds.step(&[0], &[2, 2], &[1.0; 2], &mut [1.0; 2], 0.1, f32::NAN).is_err());
    assert!(thresholds.kept(&[1.0; 4]).is_err());
    thresholds.step(&[0], &[2, 2], &[f32::MAX; 2], &mut [f32::MAX; 2], f32::MAX, 0.0).unwrap();
    assert_eq!(thresholds, before);
    let rules = EvolutionRules { population: 4, parents: 2, chance: 0.1, seed: 0 };
    let new = |kept: &[u64], dim, most, rules| Evolution::new(kept, dim, most, rules);
    assert!(new(&[], 4, 9, rules).is_err() && new(&[1], 0, 9, rules).is_err());
    for (population, parents, chance) in [(0, 1, 0.1), (1, 0, 0.1), (1, 1, 1.1), (1, 1, f64::NAN)] {
        assert!(new(&[1], 4, 9, EvolutionRules { population, parents, chance, seed: 0 }).is_err());
    }
    let error = new(&[5, 5], 4, 9, rules).unwrap_err().to_string();
    assert!(error.contains("40 bytes needed, 36 bytes allowed"), "{error}");
    let mut evolution = new(&[5, 5], 4, 10, rules).unwrap();
    let before = evolution.clone();
    assert!(evolution.best().is_none());
    assert!(evolution.advance(&[0.0; 3]).is_err() && evolution.advance(&[0.0, f64::NAN, 0.0, 0.0]).is_err());
    assert_eq!(evolution, before);
}
