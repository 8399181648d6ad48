//! Gradients of the models against finite differences.

use super::*;
use crate::data::made;

const BATCH: [usize; 6] = [0, 1, 2, 3, 4, 5];

/// The mean loss of the batch, by its definition.
fn loss_of(model: &Model, data: &Data, rows: &[f32]) -> f64 {
    let logits: Vec<f32> = rows.chunks(data.fields.len() * DIM).map(|rows| model.forward(rows)).collect();
    let labels = BATCH.map(|row| data.labels[row]);
    loss(&logits, &labels)
}

/// How much `of` changes with a value. The step is so small that hardly a hidden unit begins or ends within it.
fn slope(value: f32, mut of: impl FnMut(f32) -> f64) -> f64 {
    let (below, above) = (value - 2e-4, value + 2e-4);
    (of(above) - of(below)) / f64::from(above - below)
}

fn check(kind: Kind) {
    let data = made();
    let mut model = Model::new(kind, DIM, data.fields.len(), 1);
    let width = BATCH.len() * data.fields.len() * DIM;
    let mut rows: Vec<f32> =
        (0..width as u64).map(|i| (mix(i) >> 40) as f32 / (1u64 << 24) as f32 - 0.5).collect();
    let (of_rows, of_weights) = model.gradients(&data, &BATCH, &rows);
    let close = |name: &str, at: usize, found: f32, expected: f64| {
        let allowed = 1e-3 + 0.02 * expected.abs();
        assert!(
            (f64::from(found) - expected).abs() < allowed,
            "{kind:?}: {name} {at}: {found}, not {expected}"
        );
    };
    for (at, &found) in of_rows.iter().enumerate() {
        let before = rows[at];
        let expected = slope(before, |value| {
            rows[at] = value;
            loss_of(&model, &data, &rows)
        });
        rows[at] = before;
        close("row value", at, found, expected);
    }
    for (at, &found) in of_weights.iter().enumerate() {
        let before = model.weights[at];
        let expected = slope(before, |value| {
            model.weights[at] = value;
            loss_of(&model, &data, &rows)
        });
        model.weights[at] = before;
        close("weight", at, found, expected);
    }
    let greatest = of_weights[1..].iter().chain(&of_rows).fold(0.0, |max: f32, g| max.max(g.abs()));
    assert!(greatest > 0.02, "{kind:?}: gradients of {greatest} say nothing");
}

#[test]
fn gradients_of_both_models_are_those_of_finite_differences() {
    check(Kind::FactorizationMachine);
    check(Kind::Interactions);
}
