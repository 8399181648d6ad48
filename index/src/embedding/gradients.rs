//! Gradients: from rows of a table to rows of its parameters.

use crate::error::Result;

use super::optimizer::Optimizer;
use super::table::{Table, check_ids};
use super::{check_finite, check_len};

/// The rows of one segment of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of rows.
    pub rows: u64,
    /// Values of a row.
    pub width: usize,
}

/// Gradients of rows of parameters: (segment, row, gradient).
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    entries: Vec<Entry>,
    values: Vec<f32>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    segment: usize,
    row: u64,
    start: usize,
    len: usize,
}

impl Gradients {
    /// Adds one.
    pub fn push(&mut self, segment: usize, row: u64, gradient: impl IntoIterator<Item = f32>) {
        let start = self.values.len();
        self.values.extend(gradient);
        self.entries.push(Entry { segment, row, start, len: self.values.len() - start });
    }

    /// Adds up those of one row, in the order they came in; afterwards they are in order of segment and row.
    pub fn coalesce(&mut self) {
        self.entries.sort_by_key(|entry| (entry.segment, entry.row));
        let mut whole: Vec<Entry> = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            match whole.last() {
                Some(last) if (last.segment, last.row) == (entry.segment, entry.row) => {
                    for j in 0..entry.len.min(last.len) {
                        self.values[last.start + j] += self.values[entry.start + j];
                    }
                }
                _ => whole.push(*entry),
            }
        }
        self.entries = whole;
    }

    /// Segment, row and gradient of each.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64, &[f32])> {
        self.entries
            .iter()
            .map(|entry| (entry.segment, entry.row, &self.values[entry.start..entry.start + entry.len]))
    }
}

/// A table whose parameters are trained.
pub trait Train: Table {
    /// The segments of parameters, by number.
    fn shapes(&self) -> Vec<Shape>;
    /// What a gradient of a row is for the parameters it is made of (the vector-Jacobian product). The id is the table's.
    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients);
    /// The same of many ids, whose gradients lie back to back.
    fn vjp_all(&self, ids: &[u64], gradients: &[f32], out: &mut Gradients) {
        let pairs = ids.iter().zip(gradients.chunks_exact(self.dim()));
        pairs.for_each(|(&id, gradient)| self.vjp(id, gradient, out));
    }
    /// Another one like it.
    fn boxed(&self) -> Box<dyn Train>;
    /// A row of parameters.
    fn row_mut(&mut self, segment: usize, row: u64) -> &mut [f32];
}

impl Clone for Box<dyn Train> {
    fn clone(&self) -> Self {
        (**self).boxed()
    }
}

/// One step of training: gradients of rows, back to back, those of one id added up in their order, become gradients of
/// parameters, and the optimizer moves these.
///
/// # Errors
/// When an id is out of range, or gradients do not fit or are no numbers. Nothing has changed then.
pub fn train(table: &mut dyn Train, ids: &[u64], gradients: &[f32], optimizer: &mut Optimizer) -> Result<()> {
    let dim = table.dim();
    check_ids(ids, table.rows())?;
    check_len("gradients", gradients.len(), ids.len() * dim)?;
    check_finite("gradients", dim, gradients)?;
    let mut by_id = Gradients::default();
    let pairs = ids.iter().zip(gradients.chunks_exact(dim));
    pairs.for_each(|(&id, gradient)| by_id.push(0, id, gradient.iter().copied()));
    by_id.coalesce();
    let once: Vec<u64> = by_id.iter().map(|(_, id, _)| id).collect();
    let sums: Vec<f32> = by_id.iter().flat_map(|(_, _, gradient)| gradient).copied().collect();
    let mut by_row = Gradients::default();
    table.vjp_all(&once, &sums, &mut by_row);
    by_row.coalesce();
    optimizer.step(table, &by_row);
    Ok(())
}
