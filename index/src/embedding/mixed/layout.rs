//! MDE and AutoDim but for the factors: fields, their projections and bias.

use crate::error::Result;

use super::super::linear::combine;
use super::super::runs::{Run, Runs, ValuePart};
use super::super::segment::{Dtype, Segments};

/// The rows of one field, of the same number of dimensions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    /// Its first id.
    pub(super) first: u64,
    /// Number of its rows.
    pub(super) rows: u64,
    pub(super) width: usize,
    /// Where its factors, `[row][width]`, begin among all.
    pub(super) start: u64,
    /// `[width][dimension]`.
    pub(super) projection: Vec<f32>,
    pub(super) names: [String; 2],
}

impl Field {
    /// Its factors among all.
    pub(super) fn run(&self) -> std::ops::Range<usize> {
        self.start as usize..(self.start + self.rows * self.width as u64) as usize
    }
}

/// Where the factors of a row are, and what becomes of them.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::embedding) struct MixedLayout {
    pub(super) rows: u64,
    pub(super) dim: usize,
    pub(super) fields: Vec<Field>,
    /// `[field][dimension]`, or nothing.
    pub(super) bias: Vec<f32>,
}

impl MixedLayout {
    pub(super) fn new(dim: usize) -> Self {
        Self { rows: 0, dim, fields: Vec::new(), bias: Vec::new() }
    }

    /// Adds a field behind the others; nothing if there are more values than can be counted.
    pub(super) fn push(&mut self, rows: u64, width: usize, projection: Vec<f32>) -> Option<()> {
        let (number, first, start) = (self.fields.len(), self.rows, self.values());
        let names = [format!("factors{number}"), format!("projection{number}")];
        start.checked_add(rows.checked_mul(width as u64)?)?;
        self.rows = first.checked_add(rows)?;
        self.fields.push(Field { first, rows, width, start, projection, names });
        Some(())
    }

    /// Number of all factors.
    fn values(&self) -> u64 {
        self.fields.last().map_or(0, |field| field.start + field.rows * field.width as u64)
    }

    /// The field of an id, and its factors.
    pub(super) fn place(&self, id: u64) -> (usize, Run) {
        let at = self.fields.partition_point(|field| field.first <= id) - 1;
        let field = &self.fields[at];
        let first = field.start + (id - field.first) * field.width as u64;
        (at, Run { first, len: field.width as u32 })
    }

    /// The row of some factors of a field.
    pub(super) fn row(&self, at: usize, factors: &[f32], out: &mut [f32]) {
        combine(factors, &self.fields[at].projection, out);
        if let Some(bias) = self.bias.chunks_exact(self.dim).nth(at) {
            out.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias);
        }
    }

    /// Nothing if there is no such table. Factors may be missing.
    pub(in crate::embedding) fn open(
        rows: u64,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        if !params.len().is_multiple_of(2) || params.is_empty() {
            return Ok(None);
        }
        let mut layout = Self::new(dim);
        for (number, pair) in params.as_chunks::<2>().0.iter().enumerate() {
            let [size, width] = *pair;
            if !(1..=dim as u64).contains(&width) || size == 0 || size > rows - layout.rows {
                return Ok(None);
            }
            let width = width as usize;
            let projection = segments.floats(&format!("projection{number}"), width * dim)?;
            if layout.push(size, width, projection).is_none() {
                return Ok(None);
            }
        }
        if segments.has("bias") {
            layout.bias = segments.floats("bias", layout.fields.len() * dim)?;
        }
        Ok((layout.rows == rows).then_some(layout))
    }
}

impl Runs for MixedLayout {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn parts(&self) -> Vec<ValuePart> {
        let part = |field: &Field| {
            let values = field.rows * field.width as u64;
            ValuePart { name: field.names[0].clone(), width: field.width, values }
        };
        self.fields.iter().map(part).collect()
    }

    fn runs(&self, id: u64, out: &mut Vec<Run>) {
        out.push(self.place(id).1);
    }

    fn row_of(&self, id: u64, values: &[u8], out: &mut [f32]) {
        self.row(self.place(id).0, &bytemuck::pod_collect_to_vec(values), out);
    }
}
