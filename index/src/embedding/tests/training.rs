//! Gradients against finite differences, optimizers against their definitions.

use super::super::*;
use super::values;

const DIM: usize = 8;
const ROWS: usize = 60;

/// `Σ g·row(id)` changes with each parameter as the vector-Jacobian product says.
fn check(name: &str, table: &mut dyn Train) {
    let gradient = values(21, DIM);
    for id in [0, 7, 59] {
        let loss = |table: &dyn Train| -> f64 {
            let mut row = vec![0.0; DIM];
            table.read(id, &mut row);
            row.iter().zip(&gradient).map(|(&x, &g)| f64::from(x) * f64::from(g)).sum()
        };
        let mut found = Gradients::default();
        table.vjp(id, &gradient, &mut found);
        found.coalesce();
        let triples: Vec<(usize, u64, Vec<f32>)> =
            found.iter().map(|(segment, row, gradient)| (segment, row, gradient.to_vec())).collect();
        let shapes = table.shapes();
        assert!(!triples.is_empty() || name == "masked", "{name}");
        for (segment, row, gradient) in triples {
            assert!(row < shapes[segment].rows && gradient.len() == shapes[segment].width, "{name}");
            for (j, expected) in gradient.into_iter().enumerate() {
                let before = table.row_mut(segment, row)[j];
                let step = 1e-2f32.max(before.abs() * 1e-2);
                let mut at = |value: f32| {
                    table.row_mut(segment, row)[j] = value;
                    loss(table)
                };
                let slope =
                    (at(before + step) - at(before - step)) / f64::from((before + step) - (before - step));
                table.row_mut(segment, row)[j] = before;
                let allowed = 2e-3 + 2e-2 * slope.abs();
                // Means and variances of a network are measured, not trained.
                let is_measured = name == "deep hash" && segment > 5 && j >= 2;
                let expected = f64::from(expected);
                assert!(
                    is_measured || (slope - expected).abs() < allowed,
                    "{name}: segment {segment}, row {row}, {j}: {slope}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn gradients_of_all_methods_are_those_of_finite_differences() {
    let rows = values(20, ROWS * DIM);
    let frequencies: Vec<u64> = (0..ROWS as u64).rev().collect();
    let input = FitInput::new(&rows, DIM, Some(&frequencies), 1000, 1).unwrap();
    let n = ROWS as u64;
    check("hash", &mut Hash::new(n, DIM, 320, 0.5, 1).unwrap());
    check("multiply", &mut Compositional::new(n, DIM, 700, Combine::Multiply, 0.5, 1).unwrap());
    check("add", &mut Compositional::new(n, DIM, 700, Combine::Add, 0.5, 1).unwrap());
    for (is_wrapping, is_signed) in [(false, false), (true, true)] {
        let rules = RobeRules { chunk: 3, is_wrapping, is_signed };
        check("robe", &mut Robe::new(n, DIM, 80, rules, 0.5, 1).unwrap());
    }
    check("cyclic", &mut Cyclic::new(n, DIM, 200, 0.5, 1).unwrap());
    check("adaptive", &mut Adaptive::fit(&input).unwrap());
    check("deduplicated", &mut Deduplicated::fit(&input, 2).unwrap());
    check("tensor train", &mut TensorTrain::new(n, DIM, 1000, 0.5, 1).unwrap());
    check("mixed", &mut Mixed::fit(&input, &[10, 50]).unwrap().with_bias());
    check("masked", &mut Masked::fit(&input).unwrap());
    check("deep hash", &mut DeepHash::new(n, DIM, 4000, 6, 1).unwrap());
}

#[test]
fn a_row_in_training_takes_its_gradient_and_pulls_its_centroids() {
    let rows = values(22, 400 * DIM);
    let input = FitInput::new(&rows, DIM, None, 1 << 20, 1).unwrap();
    let table = Tiered::fit_shape(&input, 40, 2).unwrap();
    let mut training = TieredTraining::new(table, rows.clone(), 0.25).unwrap();
    // The term of the loss, `pull·‖centroid − row‖²`, by finite differences.
    let loss = |training: &TieredTraining, row: &[f32]| -> f64 {
        let mut found = vec![0.0; DIM];
        training.read(9, &mut found);
        found.iter().zip(row).map(|(c, x)| 0.25 * f64::from((c - x) * (c - x))).sum()
    };
    let mut gradients = Gradients::default();
    training.vjp(9, &[0.5; DIM], &mut gradients);
    let triples: Vec<_> = gradients.iter().map(|(s, row, g)| (s, row, g.to_vec())).collect();
    assert_eq!((triples[0].0, triples[0].1, &triples[0].2[..]), (0, 9, &[0.5; DIM][..]));
    let row = &rows[9 * DIM..10 * DIM];
    for (segment, place, gradient) in &triples[1..] {
        for (j, expected) in gradient.iter().enumerate() {
            let before = training.row_mut(*segment, *place)[j];
            let mut at = |value: f32| {
                training.row_mut(*segment, *place)[j] = value;
                loss(&training, row)
            };
            let slope = (at(before + 0.01) - at(before - 0.01)) / 0.02;
            training.row_mut(*segment, *place)[j] = before;
            assert!((slope - f64::from(*expected)).abs() < 1e-3, "{slope} {expected}");
        }
    }
    // A row that moved far is coded anew.
    training.row_mut(0, 9).fill(0.9);
    training.recode(&[9]).unwrap();
    let mut found = vec![0.0; DIM];
    training.read(9, &mut found);
    assert!(found.iter().all(|x| (x - 0.9).abs() < 0.5), "{found:?}");
    assert!(training.recode(&[400]).is_err());
}

#[test]
fn gradients_of_one_id_are_added_up_before_the_step() {
    let mut table = Hash::new(4, 2, 32, 0.0, 1).unwrap();
    let mut optimizer = Optimizer::new(Rule::Adagrad { rate: 1.0, epsilon: 0.0 }, table.shapes()).unwrap();
    train(&mut table, &[1, 2, 1], &[1.0, 0.0, 5.0, 5.0, 2.0, 4.0], &mut optimizer).unwrap();
    let mut row = [0.0; 2];
    table.read(1, &mut row);
    // One step along (3, 4): h = (9 + 16)/2.
    let factor = 1.0 / 12.5f32.sqrt();
    assert_eq!(row, [-(factor * 3.0), -(factor * 4.0)]);
    assert_eq!(optimizer.state()[0][1], 12.5);
}

#[test]
fn steps_that_cannot_be_taken_change_nothing() {
    let mut table = Hash::new(4, 2, 32, 0.5, 1).unwrap();
    let before = table.clone();
    let mut optimizer = Optimizer::new(Rule::Sgd { rate: 1.0 }, table.shapes()).unwrap();
    let mut refused = |ids: &[u64], gradients: &[f32]| {
        let error = train(&mut table, ids, gradients, &mut optimizer).unwrap_err();
        assert_eq!(table, before);
        error.to_string()
    };
    assert_eq!(refused(&[0, 4], &[0.0; 4]), "ids: 4 at place 1; expected ids below 4");
    assert_eq!(refused(&[0], &[0.0; 4]), "gradients: 4 values; expected 2");
    assert!(refused(&[0], &[0.0, f32::NAN]).contains("NaN at element 1 of row 0"));
    assert!(Optimizer::new(Rule::Sgd { rate: f32::NAN }, vec![]).is_err());
    assert!(Optimizer::new(Rule::Adam { rate: 0.1, beta1: 1.0, beta2: 0.9, epsilon: 1e-8 }, vec![]).is_err());
}

#[test]
fn adagrad_adds_in_the_stated_order() {
    for width in [1, 3, 8, 16, 37] {
        let (mut row, mut state) = (values(23, width), vec![0.125]);
        let (mut expected, mut h) = (row.clone(), 0.125f32);
        for step in 0..3 {
            let gradient = values(24 + step, width);
            let mut p = [0f32; 8];
            for (j, g) in gradient.iter().enumerate() {
                p[j % 8] += g * g;
            }
            h += (((p[0] + p[1]) + (p[2] + p[3])) + ((p[4] + p[5]) + (p[6] + p[7]))) / width as f32;
            let factor = 0.05 / (h.sqrt() + 1e-8);
            expected.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= factor * g);
            move_row(Rule::Adagrad { rate: 0.05, epsilon: 1e-8 }, 1, &mut row, &gradient, &mut state);
        }
        assert_eq!((row, state[0]), (expected, h), "{width}");
    }
}

#[test]
fn adam_corrects_its_bias() {
    let (mut row, mut state) = (vec![1.0], vec![0.0; 2]);
    let rule = Rule::Adam { rate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    // With a constant gradient every step is as long as the rate, from the first on.
    for step in 1..=5 {
        move_row(rule, step, &mut row, &[0.3], &mut state);
        assert!((row[0] - (1.0 - 0.1 * step as f32)).abs() < 1e-4, "{row:?}");
    }
}

/// What a network makes of hashes of an id, value by value and in f64.
fn naive_row(table: &DeepHash, id: u64) -> Vec<f64> {
    let segments = table.segments();
    let named = |name: String| -> (usize, Vec<f32>) {
        let segment = segments.iter().find(|segment| segment.name == name).unwrap();
        (segment.width, bytemuck::pod_collect_to_vec(&segment.bytes))
    };
    let [hashes, _, seed] = table.params()[..] else { panic!("{:?}", table.params()) };
    let (random, prime) = (crate::random::Random::new(seed, 0xd4e), (1u128 << 61) - 1);
    let hash = |i: u64| {
        let (a, b) =
            (u128::from(random.at(2 * i)) % (prime - 1) + 1, u128::from(random.at(2 * i + 1)) % prime);
        ((a * u128::from(id) + b) % prime % 1_000_000) as f64 / 999_999.0 * 2.0 - 1.0
    };
    let mut values: Vec<f64> = (0..hashes).map(hash).collect();
    for layer in 0..=5 {
        values.push(1.0);
        let (width, weights) = named(format!("weights{layer}"));
        let sum = |unit: usize| -> f64 {
            values.iter().enumerate().map(|(j, x)| x * f64::from(weights[j * width + unit])).sum()
        };
        values = (0..width).map(sum).collect();
        if layer < 5 {
            let (_, norms) = named(format!("norm{layer}"));
            for (x, norm) in values.iter_mut().zip(norms.as_chunks::<4>().0) {
                let [factor, addend, mean, variance] = norm.map(f64::from);
                let y = factor * (*x - mean) / (variance + 1e-5).sqrt() + addend;
                *x = y * y.exp().ln_1p().tanh();
            }
        }
    }
    values
}

#[test]
fn networks_are_what_their_definition_says_and_ids_together_what_they_are_alone() {
    // More ids than go through at a time, layers of more units than are added at a time, ids of all 64 bits.
    for (dim, budget, hashes) in [(5, 3000, 3), (16, 400_000, 300)] {
        let rows = u64::MAX;
        let table = DeepHash::new(rows, dim, budget, hashes, 7).unwrap();
        let ids: Vec<u64> = (0..150u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % rows).collect();
        let mut found = vec![0.0; ids.len() * dim];
        table.lookup(&ids, &mut found).unwrap();
        for (&id, row) in ids.iter().zip(found.chunks_exact(dim)).step_by(29) {
            for (&x, expected) in row.iter().zip(naive_row(&table, id)) {
                assert!((f64::from(x) - expected).abs() < 1e-4, "{id}: {x} for {expected}");
            }
        }
        let gradients = values(33, ids.len() * dim);
        let (mut alone, mut together) = (Gradients::default(), Gradients::default());
        let pairs = ids.iter().zip(gradients.chunks_exact(dim));
        pairs.for_each(|(&id, gradient)| table.vjp(id, gradient, &mut alone));
        alone.coalesce();
        table.vjp_all(&ids, &gradients, &mut together);
        assert_eq!(alone.iter().count(), together.iter().count());
        for ((segment, row, alone), (segment2, row2, together)) in alone.iter().zip(together.iter()) {
            assert_eq!((segment, row), (segment2, row2));
            for (a, b) in alone.iter().zip(together) {
                assert!((a - b).abs() <= 1e-4 * (1.0 + a.abs()), "{segment} {row}: {a} and {b}");
            }
        }
    }
}

#[test]
fn networks_learn() {
    let mut table = DeepHash::new(20, 4, 60_000, 64, 1).unwrap();
    let target = values(30, 20 * 4);
    let rule = Rule::Adam { rate: 3e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    let mut optimizer = Optimizer::new(rule, table.shapes()).unwrap();
    let ids: Vec<u64> = (0..20).collect();
    let mut rows = vec![0.0; 80];
    let mut error = || {
        table.lookup(&ids, &mut rows).unwrap();
        let gradients: Vec<f32> = rows.iter().zip(&target).map(|(x, t)| x - t).collect();
        train(&mut table, &ids, &gradients, &mut optimizer).unwrap();
        gradients.iter().map(|g| g * g).sum::<f32>()
    };
    let first = error();
    let last = (0..300).map(|_| error()).last().unwrap();
    assert!(last < first * 0.05, "{first} {last}");
}

#[test]
fn rows_and_what_is_remembered_of_them_stay_numbers() {
    let rules = [
        Rule::Sgd { rate: 1e30 },
        Rule::Adagrad { rate: 1e30, epsilon: 0.0 },
        Rule::Adam { rate: 1e30, beta1: 0.9, beta2: 0.999, epsilon: 0.0 },
    ];
    for rule in rules {
        let (mut row, mut state) = (vec![1.0; DIM], vec![0.0; rule.state_width(DIM)]);
        for (step, gradient) in
            [1e20, f32::MAX, f32::MIN, 0.0, f32::INFINITY, f32::NAN, 1.0].into_iter().enumerate()
        {
            optimizer::move_row(rule, step as u64 + 1, &mut row, &[gradient; DIM], &mut state);
            assert!(
                row.iter().chain(&state).all(|value| value.is_finite()),
                "{rule:?}, {gradient}: {row:?}, {state:?}"
            );
        }
    }
}
