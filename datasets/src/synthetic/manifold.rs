//! Families of vectors drawn from a curved, clustered manifold.

use std::sync::Arc;

use rayon::prelude::*;

use super::RowSource;
use super::hash::{Normal, RowHash, splitmix};
use super::math::{pow_21_16, tanh};
use super::model::Model;
use crate::dots::{LANES, TILE, products};
use crate::format::check_dim;
use crate::{ElementType, Kind, Result};

/// Rows made by one task.
const TASK_ROWS: usize = 256;
/// Scale of the unit vectors' components as bytes: 4 standard deviations reach 128.
const BYTE_SCALE: f32 = 32.0;
/// Norm of a SIFT-like vector of 128 components.
const SIFT_NORM: f64 = 512.0;
/// Lanes of a row's random numbers.
const CLUSTER: u64 = 0;
const LATENT: u64 = 1;
const NOISE: u64 = 1 << 16;

/// Vectors that behave like learnt descriptors: neither uniform (where nothing can be searched) nor round
/// blobs (where everything can).
///
/// A row picks one of 3,072 clusters, which form 96 groups and have Zipf-like weights; a point of the cluster in a
/// latent space of 32 (deep) or 34 (sift) dimensions, with a spread of its own in every direction; a fixed random
/// map (a layer, tanh, a layer) bends that space into `dim` dimensions; a little noise is added in all of them.
/// `deep` is then normalized to length 1; `sift` is rectified, raised to the power 21/16, scaled to norm
/// 512 (dim/128)^(1/2) and rounded to 0 … 255.
///
/// | element | deep | sift |
/// |---|---|---|
/// | f32, f16 | as it is | whole numbers, 0 … 255 |
/// | u8 | 32 dim^(1/2) x + 128, rounded and clipped | as it is |
/// | i8 | 32 dim^(1/2) x, rounded and clipped | halved |
///
/// Every random number is a hash of (seed, row, lane) and all arithmetic is IEEE without library functions, so a
/// row is the same whoever makes it, in any range, on any machine.
///
/// Measured with seed 1, squared distance, exact 100 nearest of 500 or 1,000 queries. The dimension is
/// [`intrinsic_dimension`](crate::intrinsic_dimension), printed by
/// `cargo run --release -p nearline-datasets --example difficulty -- deep 1000000 96 f32 1000 FOLDER`; recall@10
/// is that of an inverted file with 1,788 k-means lists over 200,000 vectors at so many lists probed.
///
/// | set | dimension at 200,000 | at 1,000,000 | 1 list | 4 | 16 | 64 | 128 |
/// |---|---|---|---|---|---|---|---|
/// | `deep`, 96 x f32 | 17.2 | 18.4 | 0.420 | 0.706 | 0.902 | 0.981 | 0.996 |
/// | `sift`, 128 x u8 | 18.2 | 19.1 | 0.410 | 0.697 | 0.894 | 0.978 | 0.994 |
/// | real SIFT descriptors, 128 x u8 | 20.8 | | 0.266 | 0.546 | 0.821 | 0.965 | |
/// | uniform bytes, for comparison | | | 0.021 | 0.055 | 0.136 | 0.307 | |
/// | round blobs, for comparison | | | 0.835 | 0.999 | 1.000 | 1.000 | |
///
/// So these sets are somewhat easier to route than real descriptors: use them for size and speed, real sets for
/// quality.
#[derive(Clone)]
pub struct Generator {
    model: Arc<Model>,
    kind: Kind,
    dim: usize,
    element: ElementType,
    seed: u64,
}

impl Generator {
    /// Draws the model of a family; its rows are the base, [`queries`](Self::queries) has the queries.
    ///
    /// # Errors
    /// A dimension outside 1 to 65,535.
    pub fn new(kind: Kind, dim: usize, element: ElementType, seed: u64) -> Result<Generator> {
        check_dim("generated vectors".as_ref(), dim as u64)?;
        let model = Arc::new(Model::new(kind, dim, seed));
        Ok(Self { model, kind, dim, element, seed: splitmix(seed ^ 0x6261_7365_0000) })
    }

    /// The same distribution, but other random numbers: queries that are not in the base.
    pub fn queries(&self) -> Generator {
        Self { seed: splitmix(self.seed), ..self.clone() }
    }

    /// Makes up to [`TILE`] rows and appends their bytes.
    fn tile(&self, first: u64, rows: usize, out: &mut Vec<u8>) {
        let normal = Normal::new();
        let hashes: [RowHash; TILE] =
            std::array::from_fn(|i| RowHash::new(self.seed, first.wrapping_add(i as u64)));
        let hidden = self.hidden(&self.latent(&hashes, normal));
        let mut values = [(); TILE].map(|()| Vec::with_capacity(self.dim.next_multiple_of(LANES)));
        for panel in self.model.outer.panels() {
            for (values, sums) in values.iter_mut().zip(products(panel, &hidden)) {
                values.extend(sums.map(|sum| sum / 0.30));
            }
        }
        for (values, hash) in values.iter_mut().zip(hashes).take(rows) {
            values.truncate(self.dim);
            for (value, lane) in values.iter_mut().zip(NOISE..) {
                *value += hash.normal(lane, normal) * self.model.noise;
            }
            match self.kind {
                Kind::Deep => finish_deep(values, self.element),
                Kind::Sift => finish_sift(values, self.element),
            }
            self.element.narrow(values, out);
        }
    }

    fn latent(&self, hashes: &[RowHash; TILE], normal: Normal) -> Vec<[f32; TILE]> {
        let clusters = hashes.map(|hash| self.model.cluster(hash.uniform(CLUSTER)));
        let component = |i: usize, lane: usize| {
            let (center, scale) = clusters[lane];
            center[i] + hashes[lane].normal(LATENT + i as u64, normal) * scale[i]
        };
        (0..self.model.latent).map(|i| std::array::from_fn(|lane| component(i, lane))).collect()
    }

    fn hidden(&self, latent: &[[f32; TILE]]) -> Vec<[f32; TILE]> {
        let mut out = Vec::with_capacity(self.model.bias.len());
        for (panel, bias) in self.model.inner.panels().zip(self.model.bias.chunks_exact(LANES)) {
            let mut sums = products(panel, latent);
            for sums in &mut sums {
                for (sum, bias) in sums.iter_mut().zip(bias) {
                    *sum = tanh(*sum + bias);
                }
            }
            out.extend((0..LANES).map(|h| sums.map(|sums| sums[h])));
        }
        out
    }
}

impl RowSource for Generator {
    fn element(&self) -> ElementType {
        self.element
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn fill(&self, first: u64, out: &mut [u8]) {
        let row = self.row_bytes();
        let whole = out.len() / row * row;
        out[..whole].par_chunks_mut(TASK_ROWS * row).enumerate().for_each(|(task, out)| {
            let first = first + (task * TASK_ROWS) as u64;
            let mut made = Vec::with_capacity(TILE * row);
            for (tile, out) in out.chunks_mut(TILE * row).enumerate() {
                made.clear();
                self.tile(first + (tile * TILE) as u64, out.len() / row, &mut made);
                out.copy_from_slice(&made);
            }
        });
    }
}

fn finish_deep(values: &mut [f32], element: ElementType) {
    let root = (values.len() as f64).sqrt() as f32;
    let (scale, shift) = match element {
        ElementType::F32 | ElementType::F16 => (1.0, 0.0),
        ElementType::U8 => (BYTE_SCALE * root, 128.0),
        ElementType::I8 => (BYTE_SCALE * root, 0.0),
    };
    let norm = norm(values);
    for value in values {
        *value = *value * (1.0 / norm) as f32 * scale + shift;
    }
}

fn finish_sift(values: &mut [f32], element: ElementType) {
    for value in values.iter_mut() {
        *value = pow_21_16((*value + 0.35).max(0.0));
    }
    let scale = (SIFT_NORM * (values.len() as f64 / 128.0).sqrt() / norm(values)) as f32;
    let half = if element == ElementType::I8 { 0.5 } else { 1.0 };
    for value in values {
        *value = (*value * scale).round_ties_even().clamp(0.0, 255.0) * half;
    }
}

/// Euclidean length; never zero.
fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt().max(1e-6)
}
