//! Two small click models, and how they are trained together with a table.

#[cfg(test)]
mod tests;

use nearline::embedding::Table;

use crate::DIM;
use crate::data::Data;
use crate::learner::Learner;
use crate::score::loss;

/// Rows of a step.
pub(crate) const BATCH: usize = 128;
/// Epochs at most.
pub(crate) const EPOCHS: usize = 20;
/// Epochs without a better loss on validation, before training ends.
pub(crate) const PATIENCE: usize = 2;
const HIDDEN: usize = 32;

/// What is made of the rows of a sample's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The sum of the products of all pairs.
    FactorizationMachine,
    /// A network of one hidden layer over the products of all pairs, as in DLRM.
    Interactions,
}

/// A model: bias, and of the network `[hidden][pairs + 1]`, then `[hidden]`.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    kind: Kind,
    dim: usize,
    weights: Vec<f32>,
    means: Vec<f32>,
    squares: Vec<f32>,
    steps: i32,
}

/// A model and a table that were trained together, as they were when validation was best.
pub(crate) struct Trained {
    pub(crate) table: Box<dyn Table>,
    pub(crate) model: Model,
    /// Log-loss on validation.
    pub(crate) valid: f64,
}

/// Trains until validation gets no better.
pub(crate) fn fit(kind: Kind, data: &Data, first: impl Learner, rate: f32, seed: u64) -> Trained {
    let mut training = Training::new(kind, data, first, rate, seed);
    let (table, model) = (training.learner.table(), training.model.clone());
    let mut best = Trained { table, model, valid: f64::INFINITY };
    let mut waited = 0;
    for epoch in 0..EPOCHS {
        for batch in shuffled(&data.train, seed, epoch).chunks(BATCH) {
            training.step(data, batch);
        }
        let table = training.learner.table();
        let valid = training.model.valid(data, &*table);
        if valid < best.valid {
            best = Trained { table, model: training.model.clone(), valid };
            waited = 0;
        } else {
            waited += 1;
        }
        if waited == PATIENCE {
            break;
        }
    }
    best
}

/// The rows of an epoch, in an order by chance.
pub(crate) fn shuffled(rows: &[usize], seed: u64, epoch: usize) -> Vec<usize> {
    let mut order = rows.to_vec();
    order.sort_by_key(|&row| mix(row as u64 ^ mix(seed << 20 | epoch as u64)));
    order
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 31)
}

/// A model and a table on their way.
pub(crate) struct Training<L> {
    pub(crate) model: Model,
    pub(crate) learner: L,
    rate: f32,
    /// Steps so far.
    pub(crate) steps: u64,
}

impl<L: Learner> Training<L> {
    pub(crate) fn new(kind: Kind, data: &Data, learner: L, rate: f32, seed: u64) -> Self {
        Self { model: Model::new(kind, DIM, data.fields.len(), seed), learner, rate, steps: 0 }
    }

    /// The ids of a batch, and their rows.
    pub(crate) fn rows(&mut self, data: &Data, batch: &[usize]) -> (Vec<u64>, Vec<f32>) {
        let ids: Vec<u64> = batch.iter().flat_map(|&row| data.row(row)).copied().collect();
        let rows = self.learner.rows(&ids);
        (ids, rows)
    }

    /// One batch: rows, forward, back, both moved.
    pub(crate) fn step(&mut self, data: &Data, batch: &[usize]) {
        let (ids, rows) = self.rows(data, batch);
        let (of_rows, of_weights) = self.model.gradients(data, batch, &rows);
        self.move_by(&ids, &of_rows, &of_weights);
    }

    /// Moves both by their gradients.
    pub(crate) fn move_by(&mut self, ids: &[u64], of_rows: &[f32], of_weights: &[f32]) {
        self.steps += 1;
        self.model.step(of_weights, self.rate);
        self.learner.step(ids, of_rows);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Model {
    fn new(kind: Kind, dim: usize, fields: usize, seed: u64) -> Self {
        let pairs = fields * (fields - 1) / 2;
        let count = if kind == Kind::Interactions { 1 + HIDDEN * (pairs + 2) } else { 1 };
        let uniform = |i: usize| (mix(mix(seed ^ 0x0d1) ^ i as u64) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        let scale = (3.0 / pairs as f32).sqrt();
        let mut weights: Vec<f32> = (0..count).map(|i| uniform(i) * scale).collect();
        weights[0] = 0.0;
        Self { kind, dim, means: vec![0.0; count], squares: vec![0.0; count], weights, steps: 0 }
    }

    /// Gradients of the rows of a batch, and of the weights.
    pub(crate) fn gradients(&self, data: &Data, batch: &[usize], rows: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let mut of_rows = vec![0.0; rows.len()];
        let mut of_weights = vec![0.0; self.weights.len()];
        let width = data.fields.len() * self.dim;
        for ((&row, rows), of_rows) in batch.iter().zip(rows.chunks(width)).zip(of_rows.chunks_mut(width)) {
            let logit = self.forward(rows);
            let label = if data.labels[row] { 1.0 } else { 0.0 };
            let slope = (1.0 / (1.0 + (-logit).exp()) - label) / batch.len() as f32;
            self.back(rows, slope, of_rows, &mut of_weights);
        }
        (of_rows, of_weights)
    }

    /// Log-loss on validation.
    pub(crate) fn valid(&self, data: &Data, table: &dyn Table) -> f64 {
        let labels: Vec<bool> = data.valid.iter().map(|&row| data.labels[row]).collect();
        loss(&self.predict(data, table, &data.valid), &labels)
    }

    /// Logits of rows of the data.
    pub(crate) fn predict(&self, data: &Data, table: &dyn Table, rows: &[usize]) -> Vec<f32> {
        let mut values = vec![0.0; data.fields.len() * self.dim];
        let one = |&row: &usize| {
            table.lookup(data.row(row), &mut values).expect("ids of the data are the table's");
            self.forward(&values)
        };
        rows.iter().map(one).collect()
    }

    /// Products of all pairs.
    fn pairs(&self, rows: &[f32]) -> Vec<f32> {
        let rows: Vec<&[f32]> = rows.chunks(self.dim).collect();
        (0..rows.len())
            .flat_map(|a| (0..a).map(move |b| (a, b)))
            .map(|(a, b)| dot(rows[a], rows[b]))
            .collect()
    }

    /// What a hidden unit gets, before it is cut at zero.
    fn hidden(&self, pairs: &[f32]) -> Vec<f32> {
        let layer = self.weights[1..1 + HIDDEN * (pairs.len() + 1)].chunks(pairs.len() + 1);
        layer.map(|unit| dot(unit, pairs) + unit[pairs.len()]).collect()
    }

    fn forward(&self, rows: &[f32]) -> f32 {
        let pairs = self.pairs(rows);
        if self.kind == Kind::FactorizationMachine {
            return self.weights[0] + pairs.iter().sum::<f32>();
        }
        let last = &self.weights[self.weights.len() - HIDDEN..];
        self.weights[0] + self.hidden(&pairs).iter().zip(last).map(|(h, w)| h.max(0.0) * w).sum::<f32>()
    }

    /// Adds the gradients of a sample: those of its rows, and of the weights.
    fn back(&self, rows: &[f32], slope: f32, of_rows: &mut [f32], of_weights: &mut [f32]) {
        let pairs = self.pairs(rows);
        let mut of_pairs = vec![slope; pairs.len()];
        of_weights[0] += slope;
        if self.kind == Kind::Interactions {
            of_pairs.fill(0.0);
            let (hidden, first) = (self.hidden(&pairs), self.weights.len() - HIDDEN);
            for (unit, &h) in hidden.iter().enumerate().filter(|(_, h)| **h > 0.0) {
                of_weights[first + unit] += slope * h;
                let (g, at) = (slope * self.weights[first + unit], 1 + unit * (pairs.len() + 1));
                for (i, pair) in pairs.iter().enumerate() {
                    of_weights[at + i] += g * pair;
                    of_pairs[i] += g * self.weights[at + i];
                }
                of_weights[at + pairs.len()] += g;
            }
        }
        let dim = self.dim;
        let fields = rows.len() / dim;
        let all = (0..fields).flat_map(|a| (0..a).map(move |b| (a, b)));
        for ((a, b), g) in all.zip(of_pairs) {
            for j in 0..dim {
                of_rows[a * dim + j] += g * rows[b * dim + j];
                of_rows[b * dim + j] += g * rows[a * dim + j];
            }
        }
    }

    /// A step of Adam.
    fn step(&mut self, gradient: &[f32], rate: f32) {
        self.steps += 1;
        let (first, second) = (1.0 - 0.9f32.powi(self.steps), 1.0 - 0.999f32.powi(self.steps));
        for (i, &g) in gradient.iter().enumerate() {
            self.means[i] = 0.9 * self.means[i] + 0.1 * g;
            self.squares[i] = 0.999 * self.squares[i] + 0.001 * g * g;
            self.weights[i] -= rate * (self.means[i] / first) / ((self.squares[i] / second).sqrt() + 1e-8);
        }
    }
}
