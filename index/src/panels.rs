//! A matrix of `f32` rows laid out in panels, and the squared distances of queries to its rows.

use std::ops::Range;

use crate::kernel::{Kernel, PANEL, TILE_PANELS, TILE_QUERIES};

/// Rows of equal length, 16 side by side: `panel[dimension][row]`. The last panel is filled up with zeros.
#[derive(Debug, Clone, Default)]
pub(crate) struct Panels {
    dim: usize,
    rows: usize,
    values: Vec<f32>,
    /// Σ x² of each row, in `f32`.
    norms: Vec<f32>,
}

impl Panels {
    /// An empty matrix that can take `rows` rows without growing.
    pub(crate) fn with_capacity(dim: usize, rows: usize) -> Self {
        let panels = rows.div_ceil(PANEL);
        Self {
            dim,
            rows: 0,
            values: Vec::with_capacity(panels * PANEL * dim),
            norms: Vec::with_capacity(panels * PANEL),
        }
    }

    pub(crate) fn from_rows(dim: usize, rows: &[f32]) -> Self {
        let mut panels = Self::with_capacity(dim, rows.len() / dim);
        rows.chunks_exact(dim).for_each(|row| panels.push(row));
        panels
    }

    /// Bytes in RAM for so many rows.
    pub(crate) fn bytes(dim: usize, rows: usize) -> usize {
        rows.div_ceil(PANEL) * PANEL * (dim + 1) * size_of::<f32>()
    }

    /// Bytes of memory that it has.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        (self.values.capacity() + self.norms.capacity()) * size_of::<f32>()
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.dim);
        let lane = self.rows % PANEL;
        if lane == 0 {
            self.values.resize(self.values.len() + self.dim * PANEL, 0.0);
            self.norms.resize(self.norms.len() + PANEL, 0.0);
        }
        let start = (self.rows / PANEL) * PANEL * self.dim;
        for (j, &x) in row.iter().enumerate() {
            self.values[start + j * PANEL + lane] = x;
        }
        self.norms[self.rows] = norm(row);
        self.rows += 1;
    }

    /// Copies a row out.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let start = (row / PANEL) * PANEL * self.dim + row % PANEL;
        for (j, out) in out.iter_mut().enumerate() {
            *out = self.values[start + j * PANEL];
        }
    }

    /// Squared distances of one query to the rows of `range`, into `out` (which is resized).
    pub(crate) fn distances(&self, query: &[f32], range: Range<usize>, out: &mut Vec<f32>) {
        let panels = range.start / PANEL..range.end.div_ceil(PANEL);
        out.clear();
        out.resize(panels.len() * PANEL, 0.0);
        Kernel::best().row(self.values_of(&panels), query, out);
        let query_norm = norm(query);
        let norms = &self.norms[panels.start * PANEL..panels.end * PANEL];
        for (out, &row_norm) in out.iter_mut().zip(norms) {
            *out = squared(query_norm, row_norm, *out);
        }
        out.truncate(range.end - panels.start * PANEL);
        out.drain(..range.start - panels.start * PANEL);
    }

    /// Squared distances of many queries to the rows of `range`: `out` gets `range.len()` values a query.
    ///
    /// The same values as [`Panels::distances`] gives, to the bit.
    pub(crate) fn distances_many(&self, queries: &[&[f32]], range: Range<usize>, out: &mut Vec<f32>) {
        out.clear();
        out.resize(queries.len() * range.len(), 0.0);
        if range.is_empty() {
            return;
        }
        let panels = range.start / PANEL..range.end.div_ceil(PANEL);
        let queries: Vec<Query<'_>> = queries.iter().map(|query| (*query, norm(query))).collect();
        for first in panels.step_by(TILE_PANELS) {
            let full = (first + TILE_PANELS) * PANEL * self.dim <= self.values.len();
            for (group, queries) in queries.chunks(TILE_QUERIES).enumerate() {
                let out = &mut out[group * TILE_QUERIES * range.len()..];
                if full {
                    self.tile(first, queries, &range, out);
                } else {
                    self.last_panel(first, queries, &range, out);
                }
            }
        }
    }

    fn tile(&self, first: usize, queries: &[Query<'_>], range: &Range<usize>, out: &mut [f32]) {
        let filled = std::array::from_fn(|q| queries.get(q).unwrap_or(&queries[0]).0);
        let mut dots = [[[0.0; PANEL]; TILE_PANELS]; TILE_QUERIES];
        Kernel::best().tile(self.values_of(&(first..first + TILE_PANELS)), &filled, &mut dots);
        for ((query, dots), out) in queries.iter().zip(&dots).zip(out.chunks_mut(range.len())) {
            self.put(first, query.1, dots.as_flattened(), range, out);
        }
    }

    fn last_panel(&self, first: usize, queries: &[Query<'_>], range: &Range<usize>, out: &mut [f32]) {
        let mut dots = [0.0; PANEL];
        for (query, out) in queries.iter().zip(out.chunks_mut(range.len())) {
            Kernel::best().row(self.values_of(&(first..first + 1)), query.0, &mut dots);
            self.put(first, query.1, &dots, range, out);
        }
    }

    /// Turns the dot products of the panels from `first` on into distances, those inside `range` only.
    fn put(&self, first: usize, query_norm: f32, dots: &[f32], range: &Range<usize>, out: &mut [f32]) {
        let rows = (first * PANEL).max(range.start)..(first * PANEL + dots.len()).min(range.end);
        for row in rows {
            let dot = dots[row - first * PANEL];
            out[row - range.start] = squared(query_norm, self.norms[row], dot);
        }
    }

    fn values_of(&self, panels: &Range<usize>) -> &[f32] {
        &self.values[panels.start * PANEL * self.dim..panels.end * PANEL * self.dim]
    }
}

/// A query and its squared norm.
type Query<'a> = (&'a [f32], f32);

fn squared(a: f32, b: f32, dot: f32) -> f32 {
    (a + b - 2.0 * dot).max(0.0)
}

/// Σ x², rounded once.
fn norm(x: &[f32]) -> f32 {
    Kernel::best().sums_f32(x, x).norm as f32
}
