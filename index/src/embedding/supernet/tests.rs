//! The supernet against sums of projections one by one, finite differences and a problem with a known answer.

use proptest::prelude::*;

use super::super::tests::values;
use super::super::{FitInput, Hash, Mixed, Optimizer, Table, Train, train};
use super::*;

const SIZES: [u64; 2] = [3, 2];
const DIM: usize = 4;

fn net(seed: u64, rate: f32) -> Supernet {
    let (weights, chances) = (Rule::Sgd { rate }, Rule::Sgd { rate });
    let mut net =
        Supernet::new(&SIZES, DIM, SupernetRules { widths: vec![1, 2, 4], weights, chances, seed }).unwrap();
    // Neither biases of zero nor equal chances.
    net.layers = values(seed ^ 1, net.layers.len());
    net.logits = values(seed ^ 2, net.logits.len());
    net.draw(seed % 9, 0.7).unwrap();
    net
}

/// Each row with each projection, one after another.
fn naive(net: &Supernet, ids: &[u64], rows: &[f32]) -> Vec<f32> {
    let one = |(&id, row): (&u64, &[f32])| -> Vec<f32> {
        let (field, mut out) = (usize::from(id >= SIZES[0]), vec![0.0; DIM]);
        for (at, &width) in net.rules.widths.iter().enumerate() {
            let layer = &net.layers[net.layer(field, at)];
            for j in 0..DIM {
                let product: f32 = (0..width).map(|i| row[i] * layer[(i + 1) * DIM + j]).sum();
                out[j] += net.shares[field * 3 + at] * (layer[j] + product);
            }
        }
        out
    };
    ids.iter().zip(rows.chunks(DIM)).flat_map(one).collect()
}

/// Half the squared error, and its gradient.
fn loss(net: &Supernet, ids: &[u64], rows: &[f32], target: &[f32]) -> (f64, Vec<f32>) {
    let mut mixed = rows.to_vec();
    net.mix(ids, &mut mixed).unwrap();
    let errors: Vec<f32> = mixed.iter().zip(target).map(|(x, t)| x - t).collect();
    (errors.iter().map(|&e| f64::from(e * e) / 2.0).sum(), errors)
}

fn is_near(slope: f64, gradient: f32) -> bool {
    (slope - f64::from(gradient)).abs() < 1e-2 + 2e-2 * slope.abs()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rows_are_those_of_projections_one_by_one(seed: u64, ids in prop::collection::vec(0u64..5, 0..9)) {
        let (net, rows) = (net(seed, 0.1), values(seed, ids.len() * DIM));
        let mut mixed = rows.clone();
        net.mix(&ids, &mut mixed).unwrap();
        for (found, expected) in mixed.iter().zip(naive(&net, &ids, &rows)) {
            prop_assert!((found - expected).abs() < 1e-5, "{} {}", found, expected);
        }
    }

    /// Gradients of rows, weights and chances are those of finite differences.
    #[test]
    fn everything_moves_against_its_slope(seed: u64, ids in prop::collection::vec(0u64..5, 1..5)) {
        const STEP: f32 = 1e-2;
        let (net, mut rows) = (net(seed, 1.0), values(seed, ids.len() * DIM));
        let target = values(seed ^ 3, rows.len());
        let (_, errors) = loss(&net, &ids, &rows, &target);
        let slope = |up: f64, down: f64| (up - down) / (2.0 * f64::from(STEP));
        let (mut moved, mut of_rows) = (net.clone(), errors.clone());
        moved.step(&ids, &rows, &mut of_rows).unwrap();
        for (i, &gradient) in of_rows.iter().enumerate() {
            let mut at = |by: f32| {
                rows[i] += by;
                loss(&net, &ids, &rows, &target).0
            };
            let (up, down) = (at(STEP), at(-2.0 * STEP));
            rows[i] += STEP;
            prop_assert!(is_near(slope(up, down), gradient), "row {}: {} {}", i, slope(up, down), gradient);
        }
        for i in 0..net.layers.len() {
            let at = |by: f32| {
                let mut other = net.clone();
                other.layers[i] += by;
                other.mix_layers();
                loss(&other, &ids, &rows, &target).0
            };
            let (up, down, gradient) = (at(STEP), at(-STEP), net.layers[i] - moved.layers[i]);
            prop_assert!(is_near(slope(up, down), gradient), "weight {}: {} {}", i, slope(up, down), gradient);
        }
        let mut moved = net.clone();
        moved.step_chances(&ids, &rows, &errors).unwrap();
        for i in 0..net.logits.len() {
            let at = |by: f32| {
                let mut other = net.clone();
                other.logits[i] += by;
                other.draw(seed % 9, 0.7).unwrap();
                loss(&other, &ids, &rows, &target).0
            };
            let (up, down, gradient) = (at(STEP), at(-STEP), net.logits[i] - moved.logits[i]);
            prop_assert!(is_near(slope(up, down), gradient), "chance {}: {} {}", i, slope(up, down), gradient);
        }
    }

    /// The most likely width comes out as often as it is likely.
    #[test]
    fn noise_tries_widths_by_their_chances(seed: u64) {
        let mut net = net(seed, 0.1);
        let chances = net.chances();
        let mut won = [0; 6];
        for step in 0..4_000 {
            net.draw(step, 0.05).unwrap();
            for field in 0..2 {
                let shares = &net.shares[field * 3..][..3];
                prop_assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                let most = (0..3).max_by(|&a, &b| shares[a].total_cmp(&shares[b])).unwrap();
                won[field * 3 + most] += 1;
            }
        }
        for (won, chance) in won.iter().zip(&chances) {
            prop_assert!((*won as f32 / 4_000.0 - chance).abs() < 0.05, "{:?} {:?}", won, chances);
        }
    }
}

const WIDE: usize = 8;
const ROWS: u64 = 24;

/// Rows of the first field have eight directions, those of the second two; half of the rest is noise.
fn truth() -> Vec<f32> {
    let rows = values(50, ROWS as usize * WIDE);
    let directions = values(51, 2 * WIDE);
    let flat = |row: &[f32]| -> Vec<f32> {
        (0..WIDE).map(|j| 1.5 * (row[0] * directions[j] + row[1] * directions[WIDE + j])).collect()
    };
    let (first, second) = rows.split_at(ROWS as usize / 2 * WIDE);
    first.iter().copied().chain(second.chunks(WIDE).flat_map(flat)).collect()
}

fn with_noise(rows: &[f32], seed: u64) -> Vec<f32> {
    rows.iter().zip(values(seed, rows.len())).map(|(x, noise)| x + 0.4 * noise).collect()
}

/// Searches widths for rows that training and validation each have other errors of.
fn search(seed: u64) -> Supernet {
    let adam = |rate| Rule::Adam { rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    let rules = SupernetRules { widths: vec![2, 4, 8], weights: adam(0.01), chances: adam(0.01), seed };
    let mut net = Supernet::new(&[ROWS / 2; 2], WIDE, rules).unwrap();
    let mut table = Hash::new(ROWS, WIDE, 1 << 20, 0.5, seed).unwrap();
    let mut optimizer = Optimizer::new(adam(0.01), table.shapes()).unwrap();
    let ids: Vec<u64> = (0..ROWS).collect();
    let targets = [with_noise(&truth(), 60), with_noise(&truth(), 61)];
    let mut rows = vec![0.0; ids.len() * WIDE];
    for step in 0..1_500 {
        net.draw(2 * step, 1.0).unwrap();
        table.lookup(&ids, &mut rows).unwrap();
        let mut gradients = loss(&net, &ids, &rows, &targets[0]).1;
        net.step(&ids, &rows, &mut gradients).unwrap();
        train(&mut table, &ids, &gradients, &mut optimizer).unwrap();
        if step >= 300 {
            net.draw(2 * step + 1, 1.0).unwrap();
            table.lookup(&ids, &mut rows).unwrap();
            let gradients = loss(&net, &ids, &rows, &targets[1]).1;
            net.step_chances(&ids, &rows, &gradients).unwrap();
        }
    }
    net
}

#[test]
fn a_field_keeps_the_dimensions_that_it_needs_and_no_more() {
    for seed in 0..3 {
        let net = search(seed);
        assert_eq!(net.widths(u64::MAX).unwrap(), [8, 2], "{:?}", net.chances());
        // With fewer bytes, the one that can do with less has less.
        let bytes = |widths: [u64; 2]| widths.iter().map(|width| (12 + 8) * width * 4 + 8 * 4).sum::<u64>();
        assert_eq!(net.widths(bytes([8, 2])).unwrap(), [8, 2]);
        assert_eq!(net.widths(bytes([2, 2])).unwrap(), [2, 2]);
        let error = net.widths(bytes([2, 2]) - 1).unwrap_err().to_string();
        assert!(error.contains("384 bytes needed, 383 bytes allowed"), "{error}");
        let rows = truth();
        let input = FitInput::new(&rows, WIDE, None, 1 << 20, 0).unwrap();
        let table = Mixed::fit_widths(&input, &[12, 12], &[8, 2]).unwrap().with_bias();
        assert_eq!(table.bytes().total(), bytes([8, 2]));
    }
    assert_eq!(search(0), search(0));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let rule = Rule::Sgd { rate: 0.1 };
    let new = |sizes: &[u64], dim, widths: &[usize], weights| {
        Supernet::new(sizes, dim, SupernetRules { widths: widths.to_vec(), weights, chances: rule, seed: 0 })
    };
    assert!(new(&[], 4, &[1], rule).is_err() && new(&[2, 0], 4, &[1], rule).is_err());
    assert!(new(&[u64::MAX, 1], 4, &[1], rule).is_err() && new(&[2], 0, &[1], rule).is_err());
    for widths in [&[][..], &[2, 2], &[4, 2], &[0, 2], &[2, 5]] {
        let error = new(&[2], 4, widths, rule).unwrap_err().to_string();
        assert!(error.contains("some of 1 to 4, ascending"), "{error}");
    }
    assert!(new(&[2], 4, &[2], Rule::Sgd { rate: f32::NAN }).is_err());
    let mut net = net(1, 0.1);
    let before = net.clone();
    assert!(net.draw(1, 0.0).is_err() && net.draw(1, f32::NAN).is_err());
    assert!(net.mix(&[5], &mut [0.0; 4]).unwrap_err().to_string().contains("ids below 5"));
    assert!(net.mix(&[0], &mut [0.0; 3]).is_err());
    assert!(net.step(&[0], &[1.0; 4], &mut [f32::NAN; 4]).is_err());
    assert!(net.step(&[0], &[f32::INFINITY; 4], &mut [1.0; 4]).is_err());
    assert!(net.step_chances(&[0, 1], &[1.0; 4], &[1.0; 8]).is_err());
    assert_eq!(net, before);
}

#[test]
fn chance_is_finite() {
    assert!([0, 1, u64::MAX - 1, u64::MAX].into_iter().all(|bits| gumbel(bits).is_finite()));
}

#[test]
fn whatever_comes_what_is_learned_stays_a_number() {
    let mut net = net(2, 1e30);
    for step in 0..4 {
        net.draw(step, f32::MIN_POSITIVE).unwrap();
        let mut gradients = [1e30; 8];
        net.step(&[0, 4], &[1e30; 8], &mut gradients).unwrap();
        net.step_chances(&[0, 4], &[1e30; 8], &[1e30; 8]).unwrap();
        assert!(net.layers.iter().chain(&net.logits).chain(&net.shares).all(|x| x.is_finite()));
    }
    assert!(net.widths(u64::MAX).is_ok());
}
