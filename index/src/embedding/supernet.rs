//! AutoDim's search: how many dimensions the rows of each field need.

mod choice;
#[cfg(test)]
mod tests;

use crate::error::{IndexError, Result};
use crate::random::Random;

use super::fields::Fields;
use super::mixed::{bias_bytes, field_bytes};
use super::optimizer::{Rule, move_row};
use super::uniform_values;

/// What first weights, and noise, are drawn for, among the uses of a seed.
const WEIGHTS_LANE: u64 = 0xad1;
const NOISE_LANE: u64 = 0xad2;

/// How a [`Supernet`] searches.
#[derive(Clone, Debug, PartialEq)]
pub struct SupernetRules {
    /// The widths to choose among, ascending: 2, 4, … up to all dimensions in the paper.
    pub widths: Vec<usize>,
    /// How projections and biases move.
    pub weights: Rule,
    /// How the chances of widths move.
    pub chances: Rule,
    /// What first weights and noise follow from.
    pub seed: u64,
}

impl SupernetRules {
    fn check(&self, dim: usize) -> Result<()> {
        self.weights.check()?;
        self.chances.check()?;
        let is_ascending = self.widths.windows(2).all(|pair| pair[0] < pair[1]);
        let is_within = |bound: Option<&usize>| bound.is_some_and(|width| (1..=dim).contains(width));
        if is_ascending && is_within(self.widths.first()) && is_within(self.widths.last()) {
            return Ok(());
        }
        let (found, expected) = (format!("{:?}", self.widths), format!("some of 1 to {dim}, ascending"));
        Err(IndexError::option("widths to choose among", found, expected))
    }
}

/// Projections of all candidate widths at once, beside plain rows of all dimensions (Zhao and others, "AutoDim: Field-aware
/// Embedding Dimension Search in Recommender Systems", WWW 2021, section 2.2).
///
/// A model is given `Σ_k p_k·(t[..width_k]·P_k + b_k)` for a row `t`: each field has a projection and a bias for each width,
/// all of them share the row. The shares `p = softmax((a + G)/temperature)` are those of chances that are learned, `a`, and
/// of noise, `G`, by Gumbel's distribution, so that nearly one width at a time is tried. Rows, projections and biases learn
/// from training data, chances from validation. The paper normalises what comes of each width by batch; here first
/// projections are drawn so that it varies alike for all of them, which no lookup depends on. In the end
/// [`super::Mixed`] is trained with the widths found, from the beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Supernet {
    fields: Fields,
    rules: SupernetRules,
    /// `[field][width]`: logarithms of chances, up to a constant each field.
    logits: Vec<f32>,
    /// What the optimizer remembers of each field's.
    logit_state: Vec<f32>,
    logit_steps: u64,
    /// `[field][width]`, adding up to 1 in each field, as noise has made them.
    shares: Vec<f32>,
    temperature: f32,
    /// `[field][width][1 + width][dimension]`: the bias, then the projection.
    layers: Vec<f32>,
    layer_state: Vec<f32>,
    layer_steps: u64,
    /// `[field][1 + dimension][dimension]`: the layers of a field, each times its share, added up.
    mixed: Vec<f32>,
}

impl Supernet {
    /// All widths equally likely, weights by chance, no noise. `sizes` are the rows of each field, which lie one after another.
    ///
    /// # Errors
    /// When there are no fields, rows or dimensions, widths do not ascend within 1 to the dimensions, or a rule is none.
    pub fn new(sizes: &[u64], dim: usize, rules: SupernetRules) -> Result<Self> {
        let fields = Fields::new(sizes, dim)?;
        rules.check(dim)?;
        let (count, choices) = (fields.count(), rules.widths.len());
        let layers = first_layers(&rules, dim, count);
        let rows: usize = rules.widths.iter().map(|width| width + 1).sum();
        let mut net = Self {
            logits: vec![0.0; count * choices],
            logit_state: vec![0.0; count * rules.chances.state_width(choices)],
            logit_steps: 0,
            shares: Vec::new(),
            temperature: 1.0,
            layer_state: vec![0.0; count * rows * rules.weights.state_width(dim)],
            layer_steps: 0,
            mixed: vec![0.0; count * (dim + 1) * dim],
            layers,
            fields,
            rules,
        };
        net.share(1.0, |_| 0.0);
        Ok(net)
    }

    /// New noise for a step with this number: the lower the temperature, the more one width prevails.
    ///
    /// # Errors
    /// When the temperature is not above zero, or no number.
    pub fn draw(&mut self, step: u64, temperature: f32) -> Result<()> {
        if !(temperature.is_finite() && temperature > 0.0) {
            return Err(IndexError::option("temperature", temperature, "a number above 0"));
        }
        let (random, count) = (Random::new(self.rules.seed, NOISE_LANE), self.logits.len() as u64);
        let start = step.wrapping_mul(count);
        self.share(temperature, |i| gumbel(random.at(start.wrapping_add(i as u64))));
        Ok(())
    }

    /// How likely each width is in each field, without noise: `[field][width]`.
    pub fn chances(&self) -> Vec<f32> {
        self.logits.chunks(self.rules.widths.len()).flat_map(|logits| softmax(logits, 1.0, |_| 0.0)).collect()
    }

    /// Rows of ids, back to back, become what a model is given.
    ///
    /// # Errors
    /// When an id is out of range, or values do not fit or are no numbers.
    pub fn mix(&self, ids: &[u64], rows: &mut [f32]) -> Result<()> {
        self.fields.check(ids, rows)?;
        let dim = self.fields.dim();
        for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(dim)) {
            let (bias, projection) = self.of_field(id).split_at(dim);
            let mut out = bias.to_vec();
            for (x, direction) in row.iter().zip(projection.chunks_exact(dim)) {
                out.iter_mut().zip(direction).for_each(|(out, p)| *out += x * p);
            }
            row.copy_from_slice(&out);
        }
        Ok(())
    }

    /// A step on training data: `rows` are those of the ids as they are, `gradients` those of what the model was given, which
    /// become gradients of the rows. Projections and biases move, those of fields that the ids are of.
    ///
    /// # Errors
    /// As [`Supernet::mix`]. Nothing has changed then.
    pub fn step(&mut self, ids: &[u64], rows: &[f32], gradients: &mut [f32]) -> Result<()> {
        let moments = self.moments(ids, rows, gradients)?;
        let dim = self.fields.dim();
        for (&id, gradient) in ids.iter().zip(gradients.chunks_exact_mut(dim)) {
            let projection = &self.of_field(id)[dim..];
            let dot = |direction: &[f32]| direction.iter().zip(&*gradient).map(|(p, g)| p * g).sum();
            let of_row: Vec<f32> = projection.chunks_exact(dim).map(dot).collect();
            gradient.copy_from_slice(&of_row);
        }
        self.layer_steps += 1;
        for (field, moments) in moments.into_iter().enumerate().filter(|(_, moments)| !moments.is_empty()) {
            self.move_layers(field, &moments);
        }
        self.mix_layers();
        Ok(())
    }

    /// A step on validation: chances of widths move, those of fields that the ids are of; rows and gradients are those of
    /// [`Supernet::step`].
    ///
    /// # Errors
    /// As [`Supernet::mix`]. Nothing has changed then.
    pub fn step_chances(&mut self, ids: &[u64], rows: &[f32], gradients: &[f32]) -> Result<()> {
        let moments = self.moments(ids, rows, gradients)?;
        let choices = self.rules.widths.len();
        self.logit_steps += 1;
        for (field, moments) in moments.iter().enumerate().filter(|(_, moments)| !moments.is_empty()) {
            let slopes: Vec<f32> =
                (0..choices).map(|at| dot(&self.layers[self.layer(field, at)], moments)).collect();
            let shares = &self.shares[field * choices..][..choices];
            let mean = dot(shares, &slopes);
            // The derivative of a softmax; noise is constant.
            let of_logits: Vec<f32> =
                shares.iter().zip(&slopes).map(|(p, slope)| p * (slope - mean) / self.temperature).collect();
            let width = self.rules.chances.state_width(choices);
            let state = &mut self.logit_state[field * width..][..width];
            let logits = &mut self.logits[field * choices..][..choices];
            move_row(self.rules.chances, self.logit_steps, logits, &of_logits, state);
        }
        Ok(())
    }

    /// The likeliest widths of all fields together with which [`super::Mixed`], biases included, takes no more than so many
    /// bytes, or slightly less likely ones: those that are best at a price of a byte, the least that will do. With bytes enough
    /// each field has its own likeliest width, as in the paper, of equals the least.
    ///
    /// # Errors
    /// When the least widths take more.
    pub fn widths(&self, budget_bytes: u64) -> Result<Vec<usize>> {
        let (dim, widths) = (self.fields.dim(), &self.rules.widths);
        let costs = |size| widths.iter().map(move |&width| field_bytes(dim, size, width) + bias_bytes(dim));
        let costs: Vec<u64> = self.fields.sizes().flat_map(costs).collect();
        match choice::likeliest(&self.logits, &costs, widths.len(), budget_bytes) {
            Ok(choice) => Ok(choice.into_iter().map(|at| widths[at]).collect()),
            Err(needed) => {
                let (what, fix) = ("the least widths to choose among", "allow more bytes, or narrower rows");
                Err(IndexError::Budget { what, needed, allowed: budget_bytes, fix })
            }
        }
    }

    /// Sums of each field over its ids: of gradients, and of the products of a row's values with them, `[1 + dimension][dimension]`;
    /// nothing for fields without ids. All gradients of weights follow from these.
    fn moments(&self, ids: &[u64], rows: &[f32], gradients: &[f32]) -> Result<Vec<Vec<f32>>> {
        self.fields.check(ids, rows)?;
        self.fields.check(ids, gradients)?;
        let dim = self.fields.dim();
        let mut moments = vec![Vec::new(); self.fields.count()];
        let pairs = rows.chunks_exact(dim).zip(gradients.chunks_exact(dim));
        for (&id, (row, gradient)) in ids.iter().zip(pairs) {
            let sums = &mut moments[self.fields.of(id)];
            sums.resize((dim + 1) * dim, 0.0);
            for (x, sums) in [&1.0].into_iter().chain(row).zip(sums.chunks_exact_mut(dim)) {
                sums.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += x * g);
            }
        }
        Ok(moments)
    }

    /// What rows of an id's field are multiplied by.
    fn of_field(&self, id: u64) -> &[f32] {
        let len = (self.fields.dim() + 1) * self.fields.dim();
        &self.mixed[self.fields.of(id) * len..][..len]
    }

    /// Rows of the layers of one width before this one, of all fields.
    fn layer_rows(&self, field: usize, at: usize) -> usize {
        let rows = |widths: &[usize]| widths.iter().map(|width| width + 1).sum::<usize>();
        field * rows(&self.rules.widths) + rows(&self.rules.widths[..at])
    }

    /// Where the values of a layer are.
    fn layer(&self, field: usize, at: usize) -> std::ops::Range<usize> {
        let (first, dim) = (self.layer_rows(field, at), self.fields.dim());
        first * dim..(first + self.rules.widths[at] + 1) * dim
    }

    fn move_layers(&mut self, field: usize, moments: &[f32]) {
        let dim = self.fields.dim();
        let width = self.rules.weights.state_width(dim);
        for at in 0..self.rules.widths.len() {
            let share = self.shares[field * self.rules.widths.len() + at];
            let (first, range) = (self.layer_rows(field, at), self.layer(field, at));
            let rows = self.layers[range].chunks_exact_mut(dim).zip(moments.chunks_exact(dim));
            for (number, (row, sums)) in rows.enumerate() {
                let gradient: Vec<f32> = sums.iter().map(|sum| share * sum).collect();
                let state = &mut self.layer_state[(first + number) * width..][..width];
                move_row(self.rules.weights, self.layer_steps, row, &gradient, state);
            }
        }
    }

    /// Makes shares of chances and of noise.
    fn share(&mut self, temperature: f32, noise: impl Fn(usize) -> f64) {
        let choices = self.rules.widths.len();
        let fields = self.logits.chunks(choices).enumerate();
        let shares =
            fields.flat_map(|(field, logits)| softmax(logits, temperature, |at| noise(field * choices + at)));
        self.shares = shares.collect();
        self.temperature = temperature;
        self.mix_layers();
    }

    /// Adds up layers. A layer has the first rows of what its field is multiplied by, since widths are prefixes of rows.
    fn mix_layers(&mut self) {
        let (dim, choices) = (self.fields.dim(), self.rules.widths.len());
        self.mixed.fill(0.0);
        for field in 0..self.fields.count() {
            for at in 0..choices {
                let (share, range) = (self.shares[field * choices + at], self.layer(field, at));
                let mixed = self.mixed[field * (dim + 1) * dim..].iter_mut();
                mixed.zip(&self.layers[range]).for_each(|(sum, x)| *sum += share * x);
            }
        }
    }
}

/// Biases of zero, and projections under which rows of all widths vary alike.
fn first_layers(rules: &SupernetRules, dim: usize, fields: usize) -> Vec<f32> {
    let mut layers = Vec::new();
    for number in 0..fields * rules.widths.len() {
        let width = rules.widths[number % rules.widths.len()];
        layers.extend(std::iter::repeat_n(0.0, dim));
        // Uniform in ±√(3/width) has the variance 1/width, and a product of rows with it that of one value.
        let scale = (3.0 / width as f32).sqrt();
        layers.extend(uniform_values(rules.seed, WEIGHTS_LANE + ((number as u64) << 16), width * dim, scale));
    }
    layers
}

/// `exp((x + noise)/temperature)`, over their sum.
fn softmax(logits: &[f32], temperature: f32, noise: impl Fn(usize) -> f64) -> Vec<f32> {
    let raised = |(at, &x): (usize, &f32)| (f64::from(x) + noise(at)) / f64::from(temperature);
    let raised: Vec<f64> = logits.iter().enumerate().map(raised).collect();
    let most = raised.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = raised.iter().map(|x| (x - most).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.iter().map(|power| (power / total) as f32).collect()
}

/// A value by Gumbel's distribution, of 64 bits by chance.
fn gumbel(bits: u64) -> f64 {
    let uniform = ((bits >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
    -(-uniform.ln()).ln()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
