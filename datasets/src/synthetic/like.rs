//! Growing a real set to any size.

use rayon::prelude::*;

use super::RowSource;
use super::hash::{Normal, RowHash};
use crate::ground_truth::{Search, thread_pool};
use crate::load::load_all;
use crate::{DatasetError, ElementType, Metric, RawVectors, Result, VectorFile, check_finite};

/// Nearest other anchors that an anchor moves towards.
const NEIGHBORS: usize = 32;
/// Moves of each vector; 4 is its square root.
const STEPS: u64 = 16;
/// Rows made by one task.
const TASK_ROWS: usize = 256;
/// Leading vectors looked at to see whether a set is of unit length, and how far off they may be.
const UNIT_SAMPLE: usize = 1000;
const UNIT_TOLERANCE: f64 = 5e-3;

/// Vectors like those of a real set, the anchors, in any number:
///
/// x(id) = a_i + Σ over 16 draws of g (neighbour - a_i), i = id mod anchors
///
/// A real vector is moved inside the span of its 32 nearest other anchors, each step a bell-shaped random number
/// of spread `sigma`/4. Bytes are then rounded (half to even) and clipped, vectors of unit length normalized. All
/// random numbers are hashes of (seed, id, draw).
///
/// `sigma` = 0.9 suits SIFT-like bytes, 0.7 to 0.9 embeddings of text; keep at least one anchor per 50 vectors.
/// **Queries must be real vectors that are no anchors**: generated ones share their anchors with the base and are
/// far too easy.
pub struct LikeGenerator {
    anchors: Vec<f32>,
    /// [`NEIGHBORS`] per anchor, nearest first.
    neighbors: Vec<u32>,
    dim: usize,
    element: ElementType,
    unit: bool,
    seed: u64,
    weight: f32,
    normal: Normal,
}

impl LikeGenerator {
    /// Loads the anchors (at least 33, finite) and finds the neighbours of each by brute force, on `threads` threads
    /// (0 = all cores), telling `progress` the anchors compared and their number. Bytes give bytes, f16 and
    /// f32 give f32.
    ///
    /// # Errors
    /// Too few anchors, NaN or infinity, and all errors of reading.
    pub fn new(
        anchors: &VectorFile,
        seed: u64,
        sigma: f64,
        threads: usize,
        progress: &dyn Fn(u64, u64),
    ) -> Result<LikeGenerator> {
        let raw = load_all(anchors)?;
        if raw.count <= NEIGHBORS || raw.count as u64 > 1 << 32 {
            let what = format!("{}: anchors", anchors.path().display());
            return Err(DatasetError::argument(what, raw.count, format!("{} to 2^32", NEIGHBORS + 1)));
        }
        check_finite(raw.element, &raw.bytes, raw.dim, 0, anchors.path())?;
        let neighbors = neighbors(anchors, &raw, threads, progress)?;
        let (element, unit) = match raw.element {
            ElementType::F32 | ElementType::F16 => (ElementType::F32, is_unit(&raw)),
            bytes => (bytes, false),
        };
        let (anchors, weight, normal) = (raw.to_f32(), (sigma / 4.0) as f32, Normal::new());
        Ok(Self { anchors, neighbors, dim: raw.dim, element, unit, seed, weight, normal })
    }

    /// Makes one row. Every operation is rounded to f32 in this order.
    fn row(&self, id: u64, out: &mut [f32]) {
        let at = (id % (self.anchors.len() / self.dim) as u64) as usize;
        let anchor = self.anchor(at);
        let hash = RowHash::new(self.seed, id);
        out.copy_from_slice(anchor);
        for step in 0..STEPS {
            let pick = (hash.bits(2 * step) >> 59) as usize; // 5 bits: one of 32
            let neighbor = self.anchor(self.neighbors[at * NEIGHBORS + pick] as usize);
            let g = hash.normal(2 * step + 1, self.normal) * self.weight;
            for ((x, n), a) in out.iter_mut().zip(neighbor).zip(anchor) {
                *x += g * (n - a);
            }
        }
        if self.unit {
            let squares: Vec<f64> = out.iter().map(|&x| f64::from(x) * f64::from(x)).collect();
            let norm = pairwise_sum(&squares).sqrt();
            out.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
        }
    }

    fn anchor(&self, at: usize) -> &[f32] {
        &self.anchors[at * self.dim..(at + 1) * self.dim]
    }
}

impl RowSource for LikeGenerator {
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
            let (mut values, mut made) = (vec![0.0; self.dim], Vec::with_capacity(row));
            for (out, id) in out.chunks_exact_mut(row).zip(first + (task * TASK_ROWS) as u64..) {
                self.row(id, &mut values);
                made.clear();
                self.element.narrow(&values, &mut made);
                out.copy_from_slice(&made);
            }
        });
    }
}

/// The nearest other anchors of each anchor, by squared distance, ties by the smaller row.
fn neighbors(
    file: &VectorFile,
    anchors: &RawVectors,
    threads: usize,
    progress: &dyn Fn(u64, u64),
) -> Result<Vec<u32>> {
    let pool = thread_pool(threads)?;
    let mut search = Search::new(anchors, Metric::L2, NEIGHBORS + 1)?;
    let mut first = 0;
    for block in anchors.bytes.chunks(search.block_rows() * anchors.row_bytes()) {
        pool.install(|| search.add(block, first, file.path()))?;
        first += (block.len() / anchors.row_bytes()) as u64;
        progress(first, anchors.count as u64);
    }
    let nearest = search.finish();
    // an anchor with more than 32 smaller twins is not among its own 33 nearest: those are then others
    let others = |at: usize| nearest.row(at).0.iter().copied().filter(move |&id| id as usize != at);
    Ok((0..anchors.count).flat_map(|at| others(at).take(NEIGHBORS)).collect())
}

fn is_unit(raw: &RawVectors) -> bool {
    let rows = raw.count.min(UNIT_SAMPLE);
    let mut values = vec![0.0; raw.dim];
    (0..rows).all(|i| {
        raw.element.widen(raw.row(i), &mut values);
        let norm = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        (norm - 1.0).abs() < UNIT_TOLERANCE
    })
}

/// Sum in the order of NumPy: eight running sums up to 128 numbers, halves (of a multiple of 8) beyond.
fn pairwise_sum(values: &[f64]) -> f64 {
    if values.len() < 8 {
        return values.iter().sum();
    }
    if values.len() > 128 {
        let (left, right) = values.split_at(values.len() / 2 / 8 * 8);
        return pairwise_sum(left) + pairwise_sum(right);
    }
    let (eights, rest) = values.as_chunks::<8>();
    let mut r = eights[0];
    for eight in &eights[1..] {
        r.iter_mut().zip(eight).for_each(|(sum, v)| *sum += v);
    }
    let sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    rest.iter().fold(sum, |sum, v| sum + v)
}
