//! OptEmbed: rows that carry little are left out, and each field keeps its first dimensions only.

use crate::error::{IndexError, Result};

use super::gradients::{Gradients, Shape, Train};
use super::mixed::check_fields;
use super::segment::{Segment, Segments};
use super::table::{Method, Table};
use super::{FitInput, check_len};

/// What `remap` has for a row that is left out.
const DROPPED: u32 = u32::MAX;

/// A row is zero if it was left out; else its first `width_f` values are kept and the others are zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Masked {
    dim: usize,
    /// First id and width of each field.
    fields: Vec<(u64, usize)>,
    /// Where the values of a row begin, or [`DROPPED`].
    remap: Vec<u32>,
    kept: Vec<f32>,
}

impl Masked {
    /// What a search has found: the rows of each field, how many of their dimensions are kept, and below which sum of
    /// absolute values a row is left out.
    ///
    /// # Errors
    /// When these are not one each for a field, a width is above the number of dimensions, or the budget is too small.
    pub fn import(input: &FitInput<'_>, sizes: &[u64], widths: &[usize], thresholds: &[f32]) -> Result<Self> {
        check_fields(input.rows() as u64, sizes)?;
        check_len("widths of fields", widths.len(), sizes.len())?;
        check_len("thresholds of fields", thresholds.len(), sizes.len())?;
        if let Some(&width) = widths.iter().find(|width| **width > input.dim()) {
            return Err(IndexError::option(
                "dimensions of a field",
                width,
                format!("at most {}", input.dim()),
            ));
        }
        let mut table = Self {
            dim: input.dim(),
            fields: Vec::new(),
            remap: Vec::with_capacity(input.rows()),
            kept: Vec::new(),
        };
        let mut first = 0;
        for ((&size, &width), &threshold) in sizes.iter().zip(widths).zip(thresholds) {
            table.fields.push((first, width));
            for id in first..first + size {
                let row = input.row(id as usize);
                let is_kept = row.iter().map(|x| x.abs()).sum::<f32>() > threshold;
                table.remap.push(if is_kept { table.kept.len() as u32 } else { DROPPED });
                table.kept.extend_from_slice(if is_kept { &row[..width] } else { &[] });
            }
            first += size;
        }
        input.check_budget("rows kept and their places", table.bytes().total())?;
        Ok(table)
    }

    /// All dimensions of the rows whose absolute values, times how often they are asked for, add up to the most.
    ///
    /// # Errors
    /// When the budget is too small for the remap and one row.
    pub fn fit(input: &FitInput<'_>) -> Result<Self> {
        let (rows, dim) = (input.rows(), input.dim());
        input.check_budget("places of rows and one row", (rows * 4 + dim * 4) as u64)?;
        let most = ((input.budget_bytes() as usize - rows * 4) / (dim * 4)).min(rows);
        let weights = input.weights();
        let worth = |id: usize| input.row(id).iter().map(|x| x.abs()).sum::<f32>() * weights[id];
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by(|&a, &b| worth(b).total_cmp(&worth(a)).then(a.cmp(&b)));
        order.truncate(most);
        order.sort_unstable();
        let mut remap = vec![DROPPED; rows];
        order.iter().enumerate().for_each(|(at, &id)| remap[id] = (at * dim) as u32);
        let kept = order.iter().flat_map(|&id| input.row(id)).copied().collect();
        Ok(Self { dim, fields: vec![(0, dim)], remap, kept })
    }

    fn width(&self, id: u64) -> usize {
        let at = self.fields.partition_point(|field| field.0 <= id) - 1;
        self.fields[at].1
    }

    /// The values kept of a row.
    fn values(&self, id: u64) -> &[f32] {
        match self.remap[id as usize] {
            DROPPED => &[],
            at => &self.kept[at as usize..][..self.width(id)],
        }
    }

    pub(super) fn open(
        rows: usize,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        if !params.len().is_multiple_of(2) || params.is_empty() {
            return Ok(None);
        }
        let pairs = params.as_chunks::<2>().0;
        let fields: Vec<(u64, usize)> = pairs.iter().map(|&[first, width]| (first, width as usize)).collect();
        let is_sorted = fields[0].0 == 0 && fields.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !is_sorted || fields.iter().any(|field| field.1 > dim) {
            return Ok(None);
        }
        let kept = segments.floats("kept", segments.len("kept")?)?;
        let table = Self { dim, fields, remap: segments.words("remap", rows)?, kept };
        let ends_inside = |(id, &at): (usize, &u32)| {
            at == DROPPED || at as usize + table.width(id as u64) <= table.kept.len()
        };
        Ok(table.remap.iter().enumerate().all(ends_inside).then_some(table))
    }
}

impl Table for Masked {
    fn method(&self) -> Method {
        Method::Masked
    }

    fn rows(&self) -> u64 {
        self.remap.len() as u64
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn params(&self) -> Vec<u64> {
        self.fields.iter().flat_map(|&(first, width)| [first, width as u64]).collect()
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        vec![Segment::words("remap", 1, &self.remap), Segment::floats("kept", 1, &self.kept)]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        let values = self.values(id);
        let (head, tail) = out.split_at_mut(values.len());
        head.copy_from_slice(values);
        tail.fill(0.0);
    }
}

impl Train for Masked {
    fn boxed(&self) -> Box<dyn Train> {
        Box::new(self.clone())
    }

    fn shapes(&self) -> Vec<Shape> {
        vec![Shape { rows: self.kept.len() as u64, width: 1 }]
    }

    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        let first = u64::from(self.remap[id as usize]);
        for (j, g) in gradient.iter().take(self.values(id).len()).enumerate() {
            out.push(0, first + j as u64, [*g]);
        }
    }

    fn row_mut(&mut self, _segment: usize, row: u64) -> &mut [f32] {
        &mut self.kept[row as usize..][..1]
    }
}
