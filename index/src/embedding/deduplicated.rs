//! Dedup: blocks of rows that are nearly alike are kept once.

use crate::error::{IndexError, Result};

use super::FitInput;
use super::gradients::{Gradients, Shape, Train};
use super::segment::{Segment, Segments};
use super::table::{Method, Table};

/// The share of values that must be nearly alike for a block to stand for another.
const ALIKE: f64 = 0.7;
/// Halvings of the range in which the tolerance is looked for.
const HALVINGS: usize = 30;
/// Blocks that a block is compared with at most.
const COMPARED: usize = 256;

/// A row is `B[map[id div b]·b + id mod b]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Deduplicated {
    rows: u64,
    dim: usize,
    block: usize,
    map: Vec<u32>,
    blocks: Vec<f32>,
}

impl Deduplicated {
    /// Blocks of `block` rows, alike where at least seven values of ten differ by no more than a tolerance: the least one
    /// with which the blocks fit into the budget.
    ///
    /// # Errors
    /// When `block` is 0, or the budget too small for the map and one block.
    pub fn fit(input: &FitInput<'_>, block: usize) -> Result<Self> {
        if block == 0 {
            return Err(IndexError::option("rows of a block", block, "at least 1"));
        }
        let width = block * input.dim();
        let blocks = input.rows().div_ceil(block);
        let mut padded = input.values().to_vec();
        padded.resize(blocks * width, 0.0);
        input.check_budget("the map and one block", (blocks * 4 + width * 4) as u64)?;
        let allowed = (input.budget_bytes() as usize - blocks * 4) / (width * 4);
        let order = by_quantile(&padded, width);
        let mut best = merge(&padded, width, &order, 0.0);
        if best.1.len() > allowed * width {
            let greatest = padded.iter().fold(0.0, |max: f32, x| max.max(x.abs())) * 2.0;
            let (mut low, mut high) = (0.0, greatest);
            best = merge(&padded, width, &order, high);
            for _ in 0..HALVINGS {
                let middle = low + (high - low) / 2.0;
                let found = merge(&padded, width, &order, middle);
                if found.1.len() <= allowed * width { (high, best) = (middle, found) } else { low = middle }
            }
        }
        if best.1.len() > allowed * width {
            let needed = (blocks * 4 + best.1.len() * 4) as u64;
            input.check_budget("blocks of which no two are alike at any tolerance", needed)?;
        }
        Ok(Self { rows: input.rows() as u64, dim: input.dim(), block, map: best.0, blocks: best.1 })
    }

    /// Blocks that are kept.
    pub fn unique(&self) -> usize {
        self.blocks.len() / (self.block * self.dim)
    }

    /// Which of the rows kept is that of an id.
    fn place(&self, id: u64) -> usize {
        let (block, row) = (id as usize / self.block, id as usize % self.block);
        self.map[block] as usize * self.block + row
    }

    pub(super) fn open(
        rows: u64,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let [block] = *params else { return Ok(None) };
        if block == 0 || block > rows.max(1) {
            return Ok(None);
        }
        let width = usize::try_from(block).ok().and_then(|block| block.checked_mul(dim));
        let Some(width) = width.filter(|&width| width > 0) else { return Ok(None) };
        let blocks = segments.floats("blocks", segments.len("blocks")?)?;
        let map = segments.words("map", rows.div_ceil(block) as usize)?;
        let unique = blocks.len() / width;
        if blocks.len() != unique * width || map.iter().any(|&at| at as usize >= unique) {
            return Ok(None);
        }
        Ok(Some(Self { rows, dim, block: block as usize, map, blocks }))
    }
}

/// Blocks in order of the value that three quarters of their values do not exceed: what is alike is not far apart there.
fn by_quantile(values: &[f32], width: usize) -> Vec<(f32, u32)> {
    let quantile = |block: &[f32]| {
        let mut sorted = block.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        sorted[(width * 3 / 4).min(width - 1)]
    };
    let quantiles = values.chunks_exact(width).map(quantile);
    let mut order: Vec<(f32, u32)> = quantiles.zip(0..).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    order
}

/// The map, and the blocks kept: a block is the first of the last ones kept that it is like, or is kept itself.
fn merge(values: &[f32], width: usize, order: &[(f32, u32)], tolerance: f32) -> (Vec<u32>, Vec<f32>) {
    let enough = (width as f64 * ALIKE).ceil() as usize;
    let mut map = vec![0; order.len()];
    let mut kept: Vec<f32> = Vec::new();
    for &(_, block) in order {
        let here = &values[block as usize * width..][..width];
        let is_alike = |other: &[f32]| {
            let alike = here.iter().zip(other).filter(|&(a, b)| (a - b).abs() <= tolerance).count();
            alike >= if tolerance > 0.0 { enough } else { width }
        };
        let unique = kept.len() / width;
        let found = kept.chunks_exact(width).rev().take(COMPARED).position(is_alike);
        map[block as usize] = found.map_or(unique, |back| unique - 1 - back) as u32;
        if found.is_none() {
            kept.extend_from_slice(here);
        }
    }
    (map, kept)
}

impl Table for Deduplicated {
    fn method(&self) -> Method {
        Method::Deduplicated
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn params(&self) -> Vec<u64> {
        vec![self.block as u64]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        vec![Segment::words("map", 1, &self.map), Segment::floats("blocks", self.dim, &self.blocks)]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        out.copy_from_slice(&self.blocks[self.place(id) * self.dim..][..self.dim]);
    }
}

impl Train for Deduplicated {
    fn boxed(&self) -> Box<dyn Train> {
        Box::new(self.clone())
    }

    fn shapes(&self) -> Vec<Shape> {
        vec![Shape { rows: (self.blocks.len() / self.dim) as u64, width: self.dim }]
    }

    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        out.push(0, self.place(id) as u64, gradient.iter().copied());
    }

    fn row_mut(&mut self, _segment: usize, row: u64) -> &mut [f32] {
        &mut self.blocks[row as usize * self.dim..][..self.dim]
    }
}
