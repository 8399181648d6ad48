//! OptEmbed: rows that carry little are left out, and each field keeps its first dimensions only.

use crate::error::{IndexError, Result};

use super::gradients::{Gradients, Shape, Train};
use super::mixed::check_fields;
use super::runs::{Run, Runs, ValuePart};
use super::segment::{Dtype, Segment, Segments};
use super::table::{Method, Table};
use super::{FitInput, check_len};

/// What `remap` has for a row that is left out.
const DROPPED: u32 = u32::MAX;

/// A row is zero if it was left out; else its first `width_f` values are kept and the others are zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Masked {
    layout: MaskedLayout,
    kept: Vec<f32>,
}

/// Which values are kept of a row, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MaskedLayout {
    dim: usize,
    /// First id and width of each field.
    fields: Vec<(u64, usize)>,
    /// Where the values of a row begin, or [`DROPPED`].
    remap: Vec<u32>,
    /// Values kept of all rows.
    len: u64,
}

impl MaskedLayout {
    fn width(&self, id: u64) -> usize {
        let at = self.fields.partition_point(|field| field.0 <= id) - 1;
        self.fields[at].1
    }

    /// The values kept of a row.
    fn run(&self, id: u64) -> Run {
        match self.remap[id as usize] {
            DROPPED => Run { first: 0, len: 0 },
            at => Run { first: at.into(), len: self.width(id) as u32 },
        }
    }

    /// Nothing if there is no such table, or it had to have more values than `len`.
    pub(super) fn open(
        rows: usize,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
        len: u64,
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
        let layout = Self { dim, fields, remap: segments.words("remap", rows)?, len };
        let ends_inside = |id: u64| {
            let run = layout.run(id);
            run.first + u64::from(run.len) <= len
        };
        Ok((0..rows as u64).all(ends_inside).then_some(layout))
    }
}

impl Runs for MaskedLayout {
    fn rows(&self) -> u64 {
        self.remap.len() as u64
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn parts(&self) -> Vec<ValuePart> {
        vec![ValuePart { name: "kept".into(), width: 1, values: self.len }]
    }

    fn runs(&self, id: u64, out: &mut Vec<Run>) {
        out.push(self.run(id));
    }

    fn row_of(&self, _id: u64, values: &[u8], out: &mut [f32]) {
        let (head, tail) = out.split_at_mut(values.len() / size_of::<f32>());
        bytemuck::cast_slice_mut(head).copy_from_slice(values);
        tail.fill(0.0);
    }
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
        let (mut fields, mut remap, mut kept) = (Vec::new(), Vec::with_capacity(input.rows()), Vec::new());
        let mut first = 0;
        for ((&size, &width), &threshold) in sizes.iter().zip(widths).zip(thresholds) {
            fields.push((first, width));
            for id in first..first + size {
                let row = input.row(id as usize);
                let is_kept = row.iter().map(|x| x.abs()).sum::<f32>() > threshold;
                remap.push(if is_kept { kept.len() as u32 } else { DROPPED });
                kept.extend_from_slice(if is_kept { &row[..width] } else { &[] });
            }
            first += size;
        }
        let layout = MaskedLayout { dim: input.dim(), fields, remap, len: kept.len() as u64 };
        let table = Self { layout, kept };
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
        let kept: Vec<f32> = order.iter().flat_map(|&id| input.row(id)).copied().collect();
        let layout = MaskedLayout { dim, fields: vec![(0, dim)], remap, len: kept.len() as u64 };
        Ok(Self { layout, kept })
    }

    pub(super) fn open(
        rows: usize,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let len = segments.len("kept")?;
        let layout = MaskedLayout::open(rows, dim, params, segments, len as u64)?;
        let Some(layout) = layout else { return Ok(None) };
        Ok(Some(Self { layout, kept: segments.floats("kept", len)? }))
    }
}

impl Table for Masked {
    fn method(&self) -> Method {
        Method::Masked
    }

    fn rows(&self) -> u64 {
        self.layout.rows()
    }

    fn dim(&self) -> usize {
        self.layout.dim
    }

    fn params(&self) -> Vec<u64> {
        self.layout.fields.iter().flat_map(|&(first, width)| [first, width as u64]).collect()
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        vec![Segment::words("remap", 1, &self.layout.remap), Segment::floats("kept", 1, &self.kept)]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        let values = self.layout.run(id).of(&self.kept);
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
        let run = self.layout.run(id);
        let places = run.first..run.first + u64::from(run.len);
        places.zip(gradient).for_each(|(place, g)| out.push(0, place, [*g]));
    }

    fn row_mut(&mut self, _segment: usize, row: u64) -> &mut [f32] {
        &mut self.kept[row as usize..][..1]
    }
}
