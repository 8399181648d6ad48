//! DHE: a row is what a small network makes of many hashes of its id.

use crate::error::{IndexError, Result};
use crate::random::Random;

use super::gradients::{Gradients, Shape, Train};
use super::segment::{Segment, Segments};
use super::table::{Method, Table, dot};
use super::uniform_values;

/// What hashes and first values are drawn for, among the uses of a seed.
const LANE: u64 = 0xd4e;
/// Values that a hash can have.
const BUCKETS: u64 = 1_000_000;
/// A prime that hashes are taken modulo of, far above any number of buckets and below 2^61, so that products fit 128 bits.
const PRIME: u128 = (1 << 61) - 1;
/// Hidden layers.
const LAYERS: usize = 5;
/// What keeps the divisor of a normalisation from being zero.
const EPSILON: f32 = 1e-5;
/// Ids that statistics are measured over.
const MEASURED: u64 = 256;

/// `k` hashes in -1..1, then five times a linear layer, a normalisation and Mish, then a linear layer.
///
/// Normalisations use the mean and variance measured by [`DeepHash::measure`], which training does not move.
#[derive(Clone, Debug, PartialEq)]
pub struct DeepHash {
    rows: u64,
    dim: usize,
    hashes: usize,
    width: usize,
    seed: u64,
    /// Of each layer `[out][in + 1]`, the bias last.
    weights: Vec<Vec<f32>>,
    /// Of each hidden layer `[unit]`: factor, addend, mean, variance.
    norms: Vec<Vec<f32>>,
}

/// What a layer saw, for the way back.
struct Seen {
    input: Vec<f32>,
    /// After the linear layer.
    linear: Vec<f32>,
}

impl DeepHash {
    /// A network as wide as a budget allows.
    ///
    /// # Errors
    /// When there are no hashes, or the budget is too small for a width of 1.
    pub fn new(rows: u64, dim: usize, budget_bytes: u64, hashes: usize, seed: u64) -> Result<Self> {
        if hashes == 0 {
            return Err(IndexError::option("hashes", hashes, "at least 1"));
        }
        let bytes = |w: usize| {
            4 * ((hashes + 1) * w + (LAYERS - 1) * w * (w + 1) + dim * (w + 1) + 4 * LAYERS * w) as u64
        };
        if bytes(1) > budget_bytes {
            let fix = "allow more bytes, or fewer hashes";
            return Err(IndexError::Budget {
                what: "a network of width 1",
                needed: bytes(1),
                allowed: budget_bytes,
                fix,
            });
        }
        let width = (1..).take_while(|&width| bytes(width) <= budget_bytes).last().unwrap_or(1);
        let mut table = Self { rows, dim, hashes, width, seed, weights: Vec::new(), norms: Vec::new() };
        for layer in 0..=LAYERS {
            let (outputs, inputs) = table.shape(layer);
            let scale = (3.0 / inputs as f32).sqrt();
            let mut values = uniform_values(seed, LANE + 1 + layer as u64, outputs * (inputs + 1), scale);
            values.chunks_exact_mut(inputs + 1).for_each(|row| row[inputs] = 0.0);
            table.weights.push(values);
        }
        table.norms = vec![[1.0, 0.0, 0.0, 1.0].repeat(width); LAYERS];
        table.measure();
        Ok(table)
    }

    /// Sets the mean and variance of each unit to those over some of the ids, layer by layer.
    pub fn measure(&mut self) {
        let ids = Random::new(self.seed, LANE + 9).strata(MEASURED, self.rows);
        let mut inputs: Vec<Vec<f32>> = ids.iter().map(|&id| self.hashed(id)).collect();
        for layer in 0..LAYERS {
            let outputs: Vec<Vec<f32>> = inputs.iter().map(|input| self.linear(layer, input)).collect();
            for unit in 0..self.width {
                let n = outputs.len().max(1) as f32;
                let mean = outputs.iter().map(|output| output[unit]).sum::<f32>() / n;
                let variance = outputs.iter().map(|output| (output[unit] - mean).powi(2)).sum::<f32>() / n;
                self.norms[layer][unit * 4 + 2..][..2].copy_from_slice(&[mean, variance]);
            }
            inputs = outputs.iter().map(|output| self.activate(layer, output)).collect();
        }
    }

    /// Units of a hidden layer.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Outputs and inputs of a layer.
    fn shape(&self, layer: usize) -> (usize, usize) {
        let inputs = if layer == 0 { self.hashes } else { self.width };
        (if layer == LAYERS { self.dim } else { self.width }, inputs)
    }

    /// `((a·id + b) mod p mod buckets) / (buckets − 1) · 2 − 1`
    fn hashed(&self, id: u64) -> Vec<f32> {
        let random = Random::new(self.seed, LANE);
        let hash = |i: u64| {
            let a = u128::from(random.at(2 * i)) % (PRIME - 1) + 1;
            let b = u128::from(random.at(2 * i + 1)) % PRIME;
            let bucket = (a * u128::from(id) + b) % PRIME % u128::from(BUCKETS);
            (bucket as f64 / (BUCKETS - 1) as f64 * 2.0 - 1.0) as f32
        };
        (0..self.hashes as u64).map(hash).collect()
    }

    fn linear(&self, layer: usize, input: &[f32]) -> Vec<f32> {
        let rows = self.weights[layer].chunks_exact(input.len() + 1);
        rows.map(|row| dot(input, row) + row[input.len()]).collect()
    }

    fn activate(&self, layer: usize, linear: &[f32]) -> Vec<f32> {
        let units = linear.iter().zip(self.norms[layer].as_chunks::<4>().0);
        units.map(|(&x, &norm)| mish(normalize(x, norm))).collect()
    }

    /// All layers, and what each saw.
    fn forward(&self, id: u64) -> (Vec<f32>, Vec<Seen>) {
        let mut input = self.hashed(id);
        let mut seen = Vec::with_capacity(LAYERS);
        for layer in 0..LAYERS {
            let linear = self.linear(layer, &input);
            let next = self.activate(layer, &linear);
            seen.push(Seen { input, linear });
            input = next;
        }
        let out = self.linear(LAYERS, &input);
        seen.push(Seen { input, linear: Vec::new() });
        (out, seen)
    }

    /// Pushes the gradients of a linear layer; gives that of its input.
    fn back(&self, layer: usize, input: &[f32], gradient: &[f32], out: &mut Gradients) -> Vec<f32> {
        let mut of_input = vec![0.0; input.len()];
        for (unit, (&g, row)) in
            gradient.iter().zip(self.weights[layer].chunks_exact(input.len() + 1)).enumerate()
        {
            out.push(layer, unit as u64, input.iter().map(|x| g * x).chain([g]));
            of_input.iter_mut().zip(row).for_each(|(sum, w)| *sum += g * w);
        }
        of_input
    }

    pub(super) fn open(
        rows: u64,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let [hashes, width, seed] = *params else { return Ok(None) };
        if !(1..=1 << 16).contains(&hashes) || !(1..=1 << 16).contains(&width) {
            return Ok(None);
        }
        let (hashes, width) = (hashes as usize, width as usize);
        let mut table = Self { rows, dim, hashes, width, seed, weights: Vec::new(), norms: Vec::new() };
        for (layer, name) in WEIGHTS.iter().enumerate() {
            let (outputs, inputs) = table.shape(layer);
            table.weights.push(segments.floats(name, outputs * (inputs + 1))?);
        }
        for name in NORMS {
            table.norms.push(segments.floats(name, 4 * width)?);
        }
        Ok(Some(table))
    }
}

const WEIGHTS: [&str; LAYERS + 1] = ["layer0", "layer1", "layer2", "layer3", "layer4", "layer5"];
const NORMS: [&str; LAYERS] = ["norm0", "norm1", "norm2", "norm3", "norm4"];

fn normalize(x: f32, [factor, addend, mean, variance]: [f32; 4]) -> f32 {
    factor * (x - mean) / (variance + EPSILON).sqrt() + addend
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `x · tanh(ln(1 + eˣ))`
fn mish(x: f32) -> f32 {
    x * softplus(x).tanh()
}

fn mish_slope(x: f32) -> f32 {
    let t = softplus(x).tanh();
    t + x * (1.0 - t * t) / (1.0 + (-x).exp())
}

impl Table for DeepHash {
    fn method(&self) -> Method {
        Method::DeepHash
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn params(&self) -> Vec<u64> {
        vec![self.hashes as u64, self.width as u64, self.seed]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        let layers = (0..=LAYERS)
            .map(|layer| Segment::floats(WEIGHTS[layer], self.shape(layer).1 + 1, &self.weights[layer]));
        let norms = (0..LAYERS).map(|layer| Segment::floats(NORMS[layer], 4, &self.norms[layer]));
        layers.chain(norms).collect()
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        out.copy_from_slice(&self.forward(id).0);
    }
}

impl Train for DeepHash {
    fn boxed(&self) -> Box<dyn Train> {
        Box::new(self.clone())
    }

    /// The layers, then the normalisations.
    fn shapes(&self) -> Vec<Shape> {
        let layers = (0..=LAYERS).map(|layer| {
            let (outputs, inputs) = self.shape(layer);
            Shape { rows: outputs as u64, width: inputs + 1 }
        });
        layers.chain((0..LAYERS).map(|_| Shape { rows: self.width as u64, width: 4 })).collect()
    }

    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        let (_, seen) = self.forward(id);
        let mut gradient = self.back(LAYERS, &seen[LAYERS].input, gradient, out);
        for layer in (0..LAYERS).rev() {
            let norms = self.norms[layer].as_chunks::<4>().0;
            for (unit, (g, &norm)) in gradient.iter_mut().zip(norms).enumerate() {
                let [factor, _, mean, variance] = norm;
                let (x, root) = (seen[layer].linear[unit], (variance + EPSILON).sqrt());
                let slope = *g * mish_slope(normalize(x, norm));
                out.push(LAYERS + 1 + layer, unit as u64, [slope * (x - mean) / root, slope, 0.0, 0.0]);
                *g = slope * factor / root;
            }
            gradient = self.back(layer, &seen[layer].input, &gradient, out);
        }
    }

    fn row_mut(&mut self, segment: usize, row: u64) -> &mut [f32] {
        if segment > LAYERS {
            return &mut self.norms[segment - LAYERS - 1][row as usize * 4..][..4];
        }
        let width = self.shape(segment).1 + 1;
        &mut self.weights[segment][row as usize * width..][..width]
    }
}
