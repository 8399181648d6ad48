//! One optimizer for the parameters of all methods.

use crate::error::{IndexError, Result};

use super::gradients::{Gradients, Shape, Train};

/// How parameters move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `w −= rate·g`.
    Sgd {
        /// The learning rate.
        rate: f32,
    },
    /// Row-wise Adagrad: `h += Σ g²/width`, then `w −= rate/(√h + epsilon)·g`. The squares are added in eight sums, by
    /// position modulo 8, and these as a tree: bit for bit as TBE trains.
    Adagrad {
        /// The learning rate.
        rate: f32,
        /// What keeps the divisor from being zero.
        epsilon: f32,
    },
    /// Adam with bias correction; the number of steps is the optimizer's. Only rows with a gradient move.
    Adam {
        /// The learning rate.
        rate: f32,
        /// How much of the mean is kept.
        beta1: f32,
        /// How much of the mean square is kept.
        beta2: f32,
        /// What keeps the divisor from being zero.
        epsilon: f32,
    },
}

impl Rule {
    /// Values of state for a row of parameters.
    pub(super) fn state_width(&self, width: usize) -> usize {
        match self {
            Self::Sgd { .. } => 0,
            Self::Adagrad { .. } => 1,
            Self::Adam { .. } => 2 * width,
        }
    }

    /// Refuses constants that cannot be.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_finite() {
            return Ok(());
        }
        Err(IndexError::option("optimizer", format!("{self:?}"), "finite constants, decays in 0..1"))
    }

    /// Its number and constants, as they are stored.
    pub(super) fn number(&self) -> (u64, [f32; 4]) {
        match *self {
            Self::Sgd { rate } => (1, [rate, 0.0, 0.0, 0.0]),
            Self::Adagrad { rate, epsilon } => (2, [rate, epsilon, 0.0, 0.0]),
            Self::Adam { rate, beta1, beta2, epsilon } => (3, [rate, beta1, beta2, epsilon]),
        }
    }

    /// The rule of a number and constants.
    pub(super) fn of_number(number: u64, [a, b, c, d]: [f32; 4]) -> Option<Self> {
        match number {
            1 => Some(Self::Sgd { rate: a }),
            2 => Some(Self::Adagrad { rate: a, epsilon: b }),
            3 => Some(Self::Adam { rate: a, beta1: b, beta2: c, epsilon: d }),
            _ => None,
        }
    }

    fn is_finite(&self) -> bool {
        match *self {
            Self::Sgd { rate } => rate.is_finite(),
            Self::Adagrad { rate, epsilon } => rate.is_finite() && epsilon.is_finite(),
            Self::Adam { rate, beta1, beta2, epsilon } => {
                rate.is_finite()
                    && epsilon.is_finite()
                    && [beta1, beta2].iter().all(|b| (0.0..1.0).contains(b))
            }
        }
    }
}

/// A rule and what it remembers of each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    rule: Rule,
    shapes: Vec<Shape>,
    /// `[segment][row][state]`.
    state: Vec<Vec<f32>>,
    steps: u64,
}

impl Optimizer {
    /// An optimizer for parameters of these shapes, before the first step.
    ///
    /// # Errors
    /// When a constant of the rule is no number, or a decay not in 0..1.
    pub fn new(rule: Rule, shapes: Vec<Shape>) -> Result<Self> {
        rule.check()?;
        let zeros = |shape: &Shape| vec![0.0; shape.rows as usize * rule.state_width(shape.width)];
        let state = shapes.iter().map(zeros).collect();
        Ok(Self { rule, shapes, state, steps: 0 })
    }

    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What it remembers, by segment.
    pub fn state(&self) -> &[Vec<f32>] {
        &self.state
    }

    /// Goes on from a state told before.
    ///
    /// # Errors
    /// When it is one of other shapes, or has a value that is no number.
    pub fn restore(&mut self, state: Vec<Vec<f32>>, steps: u64) -> Result<()> {
        super::check_len("segments of state", state.len(), self.state.len())?;
        for (found, expected) in state.iter().zip(&self.state) {
            super::check_len("state of a segment", found.len(), expected.len())?;
            super::check_finite("state of a segment", 1, found)?;
        }
        (self.state, self.steps) = (state, steps);
        Ok(())
    }

    /// Moves rows along their gradients, which have been added up by row.
    pub fn step(&mut self, table: &mut dyn Train, gradients: &Gradients) {
        self.steps += 1;
        for (segment, row, gradient) in gradients.iter() {
            let width = self.rule.state_width(self.shapes[segment].width);
            let state = &mut self.state[segment][row as usize * width..][..width];
            move_row(self.rule, self.steps, table.row_mut(segment, row), gradient, state);
        }
    }
}

/// Moves one row.
pub fn move_row(rule: Rule, steps: u64, row: &mut [f32], gradient: &[f32], state: &mut [f32]) {
    match rule {
        Rule::Sgd { rate } => row.iter_mut().zip(gradient).for_each(|(w, g)| *w = kept(*w, *w - rate * g)),
        Rule::Adagrad { rate, epsilon } => {
            state[0] = kept(state[0], state[0] + square_sum(gradient) / row.len() as f32);
            let factor = rate / (state[0].sqrt() + epsilon);
            row.iter_mut().zip(gradient).for_each(|(w, g)| *w = kept(*w, *w - factor * g));
        }
        Rule::Adam { rate, beta1, beta2, epsilon } => {
            let steps = i32::try_from(steps).unwrap_or(i32::MAX);
            let (first, second) = (1.0 - beta1.powi(steps), 1.0 - beta2.powi(steps));
            let (means, squares) = state.split_at_mut(row.len());
            for ((w, &g), (m, v)) in row.iter_mut().zip(gradient).zip(means.iter_mut().zip(squares)) {
                *m = kept(*m, beta1 * *m + (1.0 - beta1) * g);
                *v = kept(*v, beta2 * *v + (1.0 - beta2) * g * g);
                *w = kept(*w, *w - rate * (*m / first) / ((*v / second).sqrt() + epsilon));
            }
        }
    }
}

/// Where a value moves to: at most to the ends of what numbers reach, nowhere if that is none. What is stored is finite.
fn kept(from: f32, to: f32) -> f32 {
    if to.is_nan() { from } else { to.clamp(f32::MIN, f32::MAX) }
}

/// Eight sums by position, added as a tree.
fn square_sum(gradient: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    gradient.iter().enumerate().for_each(|(j, g)| sums[j % 8] += g * g);
    ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
}
