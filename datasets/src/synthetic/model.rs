//! What a family of vectors is made of: drawn once from the seed, then only read.

use super::hash::{Normal, RowHash, splitmix};
use super::math::{exp, pow};
use crate::Kind;
use crate::dots::{Column, LANES};

/// Clusters: groups of groups.
const SUPER: usize = 96;
const SUB: usize = 32;
/// Most hidden units: beyond, large dimensions would cost more and be no more realistic.
const MAX_HIDDEN: usize = 512;

/// Draws of one model, each kind of parameter in its own lane.
struct Draws {
    seed: u64,
    normal: Normal,
}

impl Draws {
    fn normal(&self, lane: u64, i: usize) -> f64 {
        f64::from(RowHash::new(self.seed, i as u64).normal(lane, self.normal))
    }

    fn bits(&self, lane: u64, i: usize) -> u64 {
        RowHash::new(self.seed, i as u64).bits(lane)
    }
}

/// Parameters of a family; see [`Generator`](super::Generator) for their meaning.
pub(super) struct Model {
    /// Latent dimensions.
    pub(super) latent: usize,
    /// Ambient noise per component.
    pub(super) noise: f32,
    /// Cumulative probability of each cluster.
    cumulative: Vec<f64>,
    /// `latent` per cluster.
    centers: Vec<f32>,
    scales: Vec<f32>,
    /// Latent to hidden, plus a bias.
    pub(super) inner: Layer,
    pub(super) bias: Vec<f32>,
    /// Hidden to output.
    pub(super) outer: Layer,
}

/// A matrix in panels of [`LANES`] outputs, padded with zeros.
pub(super) struct Layer {
    columns: Vec<Column>,
    inputs: usize,
}

impl Layer {
    fn new(inputs: usize, outputs: usize, weight: impl Fn(usize, usize) -> f32) -> Self {
        let mut columns = vec![[0.0; LANES]; inputs * outputs.div_ceil(LANES)];
        for output in 0..outputs {
            for input in 0..inputs {
                columns[output / LANES * inputs + input][output % LANES] = weight(input, output);
            }
        }
        Self { columns, inputs }
    }

    /// Panels in order of outputs.
    pub(super) fn panels(&self) -> impl Iterator<Item = &[Column]> {
        self.columns.chunks_exact(self.inputs)
    }
}

impl Model {
    pub(super) fn new(kind: Kind, dim: usize, seed: u64) -> Self {
        let (latent, noise) = match kind {
            Kind::Deep => (32, 0.08),
            Kind::Sift => (34, 0.07),
        };
        let draws = Draws { seed: splitmix(seed ^ 0x6D6F_6465_6C00), normal: Normal::new() };
        let hidden = (2 * dim).min(MAX_HIDDEN).next_multiple_of(LANES);
        let root = (latent as f64).sqrt();
        let inner = Layer::new(latent, hidden, |i, h| (draws.normal(4, h * latent + i) / root) as f32);
        let outer = outer_weights(&draws, hidden, dim);
        Self {
            latent,
            noise,
            cumulative: cumulative(&draws),
            centers: centers(&draws, latent),
            scales: scales(&draws, latent),
            inner,
            bias: (0..hidden).map(|h| (draws.normal(5, h) * 0.3) as f32).collect(),
            outer: Layer::new(hidden, dim, |h, o| outer[h * dim + o]),
        }
    }

    /// Center and spread of the cluster that a uniform number picks.
    pub(super) fn cluster(&self, uniform: f64) -> (&[f32], &[f32]) {
        let last = self.cumulative.len() - 1;
        let cluster = self.cumulative.partition_point(|&c| c <= uniform).min(last);
        let range = cluster * self.latent..(cluster + 1) * self.latent;
        (&self.centers[range.clone()], &self.scales[range])
    }
}

/// Zipf-like weights whose head is not extreme, in random order, summed up to 1.
fn cumulative(draws: &Draws) -> Vec<f64> {
    let count = SUPER * SUB;
    let mut weights: Vec<f64> = (0..count).map(|i| pow((i + 8) as f64, -0.6)).collect();
    shuffle(&mut weights, |i| draws.bits(0, i));
    let total: f64 = weights.iter().sum();
    weights
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += weight / total;
            Some(*sum)
        })
        .collect()
}

fn centers(draws: &Draws, latent: usize) -> Vec<f32> {
    let group = |i: usize| draws.normal(1, i / (latent * SUB) * latent + i % latent);
    (0..SUPER * SUB * latent).map(|i| (group(i) + draws.normal(2, i) * 0.65) as f32).collect()
}

/// Spread of each cluster: log-normal as a whole and in each direction.
fn scales(draws: &Draws, latent: usize) -> Vec<f32> {
    let whole = |i: usize| exp(draws.normal(6, i / latent) * 0.25) * 0.85;
    (0..SUPER * SUB * latent).map(|i| (exp(draws.normal(3, i) * 0.35) * whole(i)) as f32).collect()
}

/// Hidden x dim: normal, a decaying spectrum, then a random rotation that spreads it over all components.
fn outer_weights(draws: &Draws, hidden: usize, dim: usize) -> Vec<f32> {
    let root = (hidden as f64).sqrt();
    let spectrum: Vec<f64> = (0..dim).map(|i| pow((i + 4) as f64, -0.35) / root).collect();
    let rotation = Rotation::new(draws, dim);
    let mut out = Vec::with_capacity(hidden * dim);
    for h in 0..hidden {
        let mut row: Vec<f64> = (0..dim).map(|i| draws.normal(7, h * dim + i) * spectrum[i]).collect();
        rotation.apply(&mut row);
        out.extend(row.iter().map(|&w| w as f32));
    }
    out
}

/// A random orthogonal map in O(d log d): rounds of plane rotations of random pairs.
struct Rotation {
    /// (i, j, cos, sin)
    planes: Vec<(usize, usize, f64, f64)>,
}

impl Rotation {
    fn new(draws: &Draws, dim: usize) -> Self {
        let rounds = 2 * (dim.ilog2() as usize + 1);
        let mut order: Vec<usize> = (0..dim).collect();
        let mut planes = Vec::with_capacity(rounds * dim / 2);
        for round in 0..rounds {
            shuffle(&mut order, |i| draws.bits(8, round * dim + i));
            for pair in order.chunks_exact(2) {
                let (x, y) = (draws.normal(9, planes.len()), draws.normal(10, planes.len()));
                let norm = (x * x + y * y).sqrt();
                if norm > 0.0 {
                    planes.push((pair[0], pair[1], x / norm, y / norm));
                }
            }
        }
        Self { planes }
    }

    fn apply(&self, row: &mut [f64]) {
        for &(i, j, cos, sin) in &self.planes {
            (row[i], row[j]) = (cos * row[i] - sin * row[j], sin * row[i] + cos * row[j]);
        }
    }
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], bits: impl Fn(usize) -> u64) {
    for i in (1..items.len()).rev() {
        items.swap(i, (bits(i) % (i as u64 + 1)) as usize);
    }
}
