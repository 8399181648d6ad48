//! DHE: a row is what a small network makes of many hashes of its id.

mod mish;

use crate::error::{IndexError, Result};
use crate::random::Random;

use super::gradients::{Gradients, Shape, Train};
use super::linear::add_rows;
use super::segment::{Segment, Segments};
use super::table::{Method, Table};
use super::uniform_values;
use mish::{mish, mish_slope};

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
/// Ids that go through the network together on the way back: what layers saw of them stays in the caches.
const TOGETHER: usize = 128;

/// `k` hashes in -1..1, then five times a linear layer, a normalisation and Mish, then a linear layer.
///
/// Normalisations use the mean and variance measured by [`DeepHash::measure`], which training does not move.
#[derive(Clone, Debug, PartialEq)]
pub struct DeepHash {
    rows: u64,
    dim: usize,
    width: usize,
    seed: u64,
    /// `a` and `b` of each hash.
    functions: Vec<[u64; 2]>,
    /// Of each layer `[in + 1][out]`, the bias last.
    weights: Vec<Vec<f32>>,
    /// Of each hidden layer `[unit]`: factor, addend, mean, variance.
    norms: Vec<Vec<f32>>,
}

/// What a layer saw of some ids, for the way back.
struct Seen {
    /// `[id][in]`
    inputs: Vec<f32>,
    /// `[id][out]`, after the linear layer.
    outputs: Vec<f32>,
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
        let mut table = Self::empty(rows, dim, hashes, width, seed);
        for layer in 0..=LAYERS {
            let (inputs, outputs) = table.shape(layer);
            let scale = (3.0 / inputs as f32).sqrt();
            let mut values = uniform_values(seed, LANE + 1 + layer as u64, inputs * outputs, scale);
            values.resize((inputs + 1) * outputs, 0.0);
            table.weights.push(values);
        }
        table.norms = vec![[1.0, 0.0, 0.0, 1.0].repeat(width); LAYERS];
        table.measure();
        Ok(table)
    }

    /// A network without weights.
    fn empty(rows: u64, dim: usize, hashes: usize, width: usize, seed: u64) -> Self {
        let random = Random::new(seed, LANE);
        let drawn = |i: u64| u128::from(random.at(i));
        let function = |i: u64| [drawn(2 * i) % (PRIME - 1) + 1, drawn(2 * i + 1) % PRIME].map(|x| x as u64);
        let functions = (0..hashes as u64).map(function).collect();
        Self { rows, dim, width, seed, functions, weights: Vec::new(), norms: Vec::new() }
    }

    /// Sets the mean and variance of each unit to those over some of the ids, layer by layer.
    pub fn measure(&mut self) {
        let ids = Random::new(self.seed, LANE + 9).strata(MEASURED, self.rows);
        let mut inputs = self.hashed(&ids);
        let n = ids.len().max(1) as f32;
        for layer in 0..LAYERS {
            let outputs = self.linear(layer, &inputs);
            for unit in 0..self.width {
                let of_unit = || outputs.iter().skip(unit).step_by(self.width);
                let mean = of_unit().sum::<f32>() / n;
                let variance = of_unit().map(|x| (x - mean).powi(2)).sum::<f32>() / n;
                self.norms[layer][unit * 4 + 2..][..2].copy_from_slice(&[mean, variance]);
            }
            inputs = self.activate(layer, &outputs);
        }
    }

    /// Units of a hidden layer.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Inputs and outputs of a layer.
    fn shape(&self, layer: usize) -> (usize, usize) {
        let inputs = if layer == 0 { self.functions.len() } else { self.width };
        (inputs, if layer == LAYERS { self.dim } else { self.width })
    }

    /// `((a·id + b) mod p mod buckets) / (buckets − 1) · 2 − 1` of each function: `[id][function]`.
    fn hashed(&self, ids: &[u64]) -> Vec<f32> {
        let hash = |id: u64, [a, b]: [u64; 2]| {
            let bucket = modulo_prime(u128::from(a) * u128::from(id) + u128::from(b)) % BUCKETS;
            (bucket as f64 / (BUCKETS - 1) as f64 * 2.0 - 1.0) as f32
        };
        ids.iter().flat_map(|&id| self.functions.iter().map(move |&function| hash(id, function))).collect()
    }

    /// Bias and weighted inputs, added in their order: `[id][out]`.
    fn linear(&self, layer: usize, inputs: &[f32]) -> Vec<f32> {
        let (width, outputs) = self.shape(layer);
        let (weights, bias) = self.weights[layer].split_at(width * outputs);
        let mut out = bias.repeat(inputs.len() / width);
        let pairs = inputs.chunks_exact(width).zip(out.chunks_exact_mut(outputs));
        pairs.for_each(|(inputs, out)| add_rows(inputs, weights, out));
        out
    }

    fn activate(&self, layer: usize, outputs: &[f32]) -> Vec<f32> {
        let norms = self.norms[layer].as_chunks::<4>().0;
        let of_id = |of_id: &[f32], out: &mut [f32]| {
            let units = of_id.iter().zip(norms).zip(out);
            units.for_each(|((&x, &norm), out)| *out = mish(normalize(x, norm)));
        };
        let mut out = vec![0.0; outputs.len()];
        let pairs = outputs.chunks_exact(self.width).zip(out.chunks_exact_mut(self.width));
        pairs.for_each(|(outputs, out)| of_id(outputs, out));
        out
    }

    /// The rows of ids, and what each layer saw.
    fn forward(&self, ids: &[u64], mut see: impl FnMut(Seen)) -> Vec<f32> {
        let mut inputs = self.hashed(ids);
        for layer in 0..LAYERS {
            let outputs = self.linear(layer, &inputs);
            let next = self.activate(layer, &outputs);
            see(Seen { inputs, outputs });
            inputs = next;
        }
        let rows = self.linear(LAYERS, &inputs);
        see(Seen { inputs, outputs: Vec::new() });
        rows
    }

    /// Adds the gradients of a linear layer, `[in + 1][out]`, of ids with gradients `[id][out]` of what it gave; gives those of
    /// its inputs.
    fn back(&self, layer: usize, inputs: &[f32], gradients: &[f32], sums: &mut [f32]) -> Vec<f32> {
        let (width, outputs) = self.shape(layer);
        let (of_weights, of_bias) = sums.split_at_mut(width * outputs);
        let by_input = transposed(inputs, width);
        let ids = inputs.len() / width;
        let pairs = by_input.chunks_exact(ids).zip(of_weights.chunks_exact_mut(outputs));
        pairs.for_each(|(factors, sums)| add_rows(factors, gradients, sums));
        add_rows(&vec![1.0; ids], gradients, of_bias);
        let by_output = transposed(&self.weights[layer][..width * outputs], outputs);
        let mut of_inputs = vec![0.0; inputs.len()];
        let pairs = gradients.chunks_exact(outputs).zip(of_inputs.chunks_exact_mut(width));
        pairs.for_each(|(factors, out)| add_rows(factors, &by_output, out));
        of_inputs
    }

    /// Adds the gradients of a normalisation and Mish, `[unit][4]`; what comes in are gradients of what these gave, what goes
    /// out, of what they got.
    fn back_norm(&self, layer: usize, outputs: &[f32], gradients: &mut [f32], sums: &mut [f32]) {
        let norms = self.norms[layer].as_chunks::<4>().0;
        let rows = gradients.chunks_exact_mut(self.width).zip(outputs.chunks_exact(self.width));
        for (gradients, outputs) in rows {
            let units = gradients.iter_mut().zip(outputs).zip(norms).zip(sums.as_chunks_mut::<4>().0);
            for (((g, &x), &norm), sums) in units {
                let [factor, _, mean, variance] = norm;
                let (slope, root) = (*g * mish_slope(normalize(x, norm)), (variance + EPSILON).sqrt());
                sums[0] += slope * (x - mean) / root;
                sums[1] += slope;
                *g = slope * factor / root;
            }
        }
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
        let mut table = Self::empty(rows, dim, hashes, width, seed);
        for (layer, name) in WEIGHTS.iter().enumerate() {
            let (inputs, outputs) = table.shape(layer);
            table.weights.push(segments.floats(name, (inputs + 1) * outputs)?);
        }
        for name in NORMS {
            table.norms.push(segments.floats(name, 4 * width)?);
        }
        Ok(Some(table))
    }
}

const WEIGHTS: [&str; LAYERS + 1] = ["weights0", "weights1", "weights2", "weights3", "weights4", "weights5"];
const NORMS: [&str; LAYERS] = ["norm0", "norm1", "norm2", "norm3", "norm4"];

/// What is left of a number below 2^125, divided by 2^61 − 1: 2^61 leaves 1, so that upper bits count as lower ones.
fn modulo_prime(x: u128) -> u64 {
    let fold = |x: u128| (x & PRIME) + (x >> 61);
    let x = fold(fold(x)) as u64;
    if u128::from(x) >= PRIME { x - PRIME as u64 } else { x }
}

/// Rows of `width` values as columns.
fn transposed(rows: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|j| rows.iter().skip(j).step_by(width).copied()).collect()
}

fn normalize(x: f32, [factor, addend, mean, variance]: [f32; 4]) -> f32 {
    factor * (x - mean) / (variance + EPSILON).sqrt() + addend
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
        vec![self.functions.len() as u64, self.width as u64, self.seed]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        let layers = (0..=LAYERS)
            .map(|layer| Segment::floats(WEIGHTS[layer], self.shape(layer).1, &self.weights[layer]));
        let norms = (0..LAYERS).map(|layer| Segment::floats(NORMS[layer], 4, &self.norms[layer]));
        layers.chain(norms).collect()
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        out.copy_from_slice(&self.forward(&[id], drop));
    }
}

impl Train for DeepHash {
    fn boxed(&self) -> Box<dyn Train> {
        Box::new(self.clone())
    }

    /// The layers, then the normalisations.
    fn shapes(&self) -> Vec<Shape> {
        let layers = (0..=LAYERS).map(|layer| {
            let (inputs, outputs) = self.shape(layer);
            Shape { rows: inputs as u64 + 1, width: outputs }
        });
        layers.chain((0..LAYERS).map(|_| Shape { rows: self.width as u64, width: 4 })).collect()
    }

    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        self.vjp_all(&[id], gradient, out);
    }

    /// Of many ids at once: all of them move all parameters, whose gradients are therefore added up here.
    fn vjp_all(&self, ids: &[u64], gradients: &[f32], out: &mut Gradients) {
        let shapes = self.shapes();
        let zeros = |shape: &Shape| vec![0.0; shape.rows as usize * shape.width];
        let mut sums: Vec<Vec<f32>> = shapes.iter().map(zeros).collect();
        for (ids, gradients) in ids.chunks(TOGETHER).zip(gradients.chunks(TOGETHER * self.dim)) {
            let mut seen = Vec::with_capacity(LAYERS + 1);
            self.forward(ids, |layer| seen.push(layer));
            let mut gradients = self.back(LAYERS, &seen[LAYERS].inputs, gradients, &mut sums[LAYERS]);
            for layer in (0..LAYERS).rev() {
                let Seen { inputs, outputs } = &seen[layer];
                self.back_norm(layer, outputs, &mut gradients, &mut sums[LAYERS + 1 + layer]);
                gradients = self.back(layer, inputs, &gradients, &mut sums[layer]);
            }
        }
        for (segment, (sums, shape)) in sums.iter().zip(&shapes).enumerate() {
            let rows = (0..).zip(sums.chunks_exact(shape.width));
            rows.for_each(|(row, gradient)| out.push(segment, row, gradient.iter().copied()));
        }
    }

    fn row_mut(&mut self, segment: usize, row: u64) -> &mut [f32] {
        if segment > LAYERS {
            return &mut self.norms[segment - LAYERS - 1][row as usize * 4..][..4];
        }
        let width = self.shape(segment).1;
        &mut self.weights[segment][row as usize * width..][..width]
    }
}
