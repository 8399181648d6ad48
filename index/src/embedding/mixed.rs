//! MDE and AutoDim: fewer dimensions in fields of many rows.

mod layout;

use crate::error::{IndexError, Result};

use super::gradients::{Gradients, Shape, Train};
use super::linear::{directions, project};
use super::segment::{Segment, Segments};
use super::table::{Method, Table};
use super::{FitInput, check_len};

pub(super) use layout::MixedLayout;

/// Halvings of the range in which the exponent is looked for.
const HALVINGS: usize = 40;

/// A row is `t[id] · P_f (+ b_f)`: `width_f` factors times the projection of its field, and a bias where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    layout: MixedLayout,
    /// Of all fields, one after another.
    factors: Vec<f32>,
}

impl Mixed {
    /// Widths by the popularity rule: `width_f = D·(n_min/n_f)^α`, rounded to a power of two, with the least `α` that the
    /// budget allows; factors and projections by singular value decomposition. `sizes` are the rows of each field, which
    /// lie one after another.
    ///
    /// # Errors
    /// When `sizes` are not those of fields, or the budget is too small for one dimension a field.
    pub fn fit(input: &FitInput<'_>, sizes: &[u64]) -> Result<Self> {
        let widths = widths(input, sizes)?;
        Self::fit_widths(input, sizes, &widths)
    }

    /// The same with given widths, such as a search has found.
    ///
    /// # Errors
    /// When `sizes` are not those of fields, a width is not 1 to the number of dimensions, or the budget is too small.
    pub fn fit_widths(input: &FitInput<'_>, sizes: &[u64], widths: &[usize]) -> Result<Self> {
        let dim = input.dim();
        check_fields(input.rows() as u64, sizes)?;
        check_len("widths of fields", widths.len(), sizes.len())?;
        if let Some(&width) = widths.iter().find(|width| !(1..=dim).contains(*width)) {
            return Err(IndexError::option("dimensions of a field", width, format!("1 to {dim}")));
        }
        input.check_budget("factors and projections", bytes(dim, sizes, widths))?;
        let weights = input.weights();
        let (mut layout, mut factors) = (MixedLayout::new(dim), Vec::new());
        for (&size, &width) in sizes.iter().zip(widths) {
            let range = layout.rows as usize..(layout.rows + size) as usize;
            let rows = &input.values()[range.start * dim..range.end * dim];
            let projection = directions(rows, dim, Some(&weights[range]), width);
            let start = factors.len();
            factors.resize(start + size as usize * width, 0.0);
            let pairs = rows.chunks_exact(dim).zip(factors[start..].chunks_exact_mut(width));
            pairs.for_each(|(row, factors)| project(row, &projection, factors));
            // They are in memory: they can be counted.
            let _ = layout.push(size, width, projection);
        }
        Ok(Self { layout, factors })
    }

    /// Adds a bias to each field, of zeros: what AutoDim trains.
    #[must_use]
    pub fn with_bias(mut self) -> Self {
        self.layout.bias = vec![0.0; self.layout.fields.len() * self.layout.dim];
        self
    }

    /// Dimensions of each field.
    pub fn widths(&self) -> Vec<usize> {
        self.layout.fields.iter().map(|field| field.width).collect()
    }

    pub(super) fn open(
        rows: u64,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let Some(layout) = MixedLayout::open(rows, dim, params, segments)? else { return Ok(None) };
        let mut factors = Vec::new();
        for field in &layout.fields {
            factors.append(&mut segments.floats(&field.names[0], field.run().len())?);
        }
        Ok(Some(Self { layout, factors }))
    }
}

/// Refuses sizes of fields that are not all rows.
pub(super) fn check_fields(rows: u64, sizes: &[u64]) -> Result<()> {
    let total = sizes.iter().try_fold(0u64, |sum, &size| sum.checked_add(size));
    if sizes.contains(&0) || total != Some(rows) {
        let expected = format!("sizes above zero that add up to {rows}");
        return Err(IndexError::input("rows of fields", format!("{sizes:?}"), expected));
    }
    Ok(())
}

fn bytes(dim: usize, sizes: &[u64], widths: &[usize]) -> u64 {
    sizes.iter().zip(widths).map(|(&size, &width)| field_bytes(dim, size, width)).sum()
}

/// Bytes of a field's factors and projection.
pub(super) fn field_bytes(dim: usize, size: u64, width: usize) -> u64 {
    size.saturating_add(dim as u64).saturating_mul(width as u64 * 4)
}

/// Bytes of a field's bias.
pub(super) fn bias_bytes(dim: usize) -> u64 {
    dim as u64 * 4
}

/// The widths of the popularity rule with the least exponent that fits.
fn widths(input: &FitInput<'_>, sizes: &[u64]) -> Result<Vec<usize>> {
    check_fields(input.rows() as u64, sizes)?;
    let dim = input.dim();
    input.check_budget("one dimension a field", bytes(dim, sizes, &vec![1; sizes.len()]))?;
    let least = sizes.iter().copied().min().unwrap_or(1) as f64;
    let all_as = |width: f64| (width.log2().round().exp2() as usize).clamp(1, dim);
    let widths = |alpha: f64| -> Vec<usize> {
        sizes.iter().map(|&size| all_as(dim as f64 * (least / size as f64).powf(alpha))).collect()
    };
    let fits = |widths: &[usize]| bytes(dim, sizes, widths) <= input.budget_bytes();
    let (mut low, mut high) = (0.0, 64.0);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if fits(&widths(middle)) { high = middle } else { low = middle }
    }
    let mut found = widths(if fits(&widths(0.0)) { 0.0 } else { high });
    // Fields of one size have one width whatever the exponent: then all go down together.
    while !fits(&found) {
        found.iter_mut().for_each(|width| *width = (*width / 2).max(1));
    }
    Ok(found)
}

impl Table for Mixed {
    fn method(&self) -> Method {
        Method::Mixed
    }

    fn rows(&self) -> u64 {
        self.layout.rows
    }

    fn dim(&self) -> usize {
        self.layout.dim
    }

    fn params(&self) -> Vec<u64> {
        self.layout.fields.iter().flat_map(|field| [field.rows, field.width as u64]).collect()
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        let MixedLayout { dim, fields, bias, .. } = &self.layout;
        let mut segments = Vec::with_capacity(2 * fields.len() + 1);
        for field in fields {
            segments.push(Segment::floats(&field.names[0], field.width, &self.factors[field.run()]));
            segments.push(Segment::floats(&field.names[1], *dim, &field.projection));
        }
        if !bias.is_empty() {
            segments.push(Segment::floats("bias", *dim, bias));
        }
        segments
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        let (at, run) = self.layout.place(id);
        self.layout.row(at, run.of(&self.factors), out);
    }
}

impl Train for Mixed {
    fn boxed(&self) -> Box<dyn Train> {
        Box::new(self.clone())
    }

    /// Factors and projection of each field, then the bias.
    fn shapes(&self) -> Vec<Shape> {
        let MixedLayout { dim, fields, bias, .. } = &self.layout;
        let mut shapes = Vec::with_capacity(2 * fields.len() + 1);
        for field in fields {
            shapes.push(Shape { rows: field.rows, width: field.width });
            shapes.push(Shape { rows: field.width as u64, width: *dim });
        }
        shapes.push(Shape { rows: (bias.len() / dim) as u64, width: *dim });
        shapes
    }

    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        let MixedLayout { dim, fields, bias, .. } = &self.layout;
        let (at, run) = self.layout.place(id);
        let field = &fields[at];
        let dot = |direction: &[f32]| gradient.iter().zip(direction).map(|(g, x)| g * x).sum::<f32>();
        out.push(2 * at, id - field.first, field.projection.chunks_exact(*dim).map(dot));
        for (k, factor) in run.of(&self.factors).iter().enumerate() {
            out.push(2 * at + 1, k as u64, gradient.iter().map(|g| factor * g));
        }
        if !bias.is_empty() {
            out.push(2 * fields.len(), at as u64, gradient.iter().copied());
        }
    }

    fn row_mut(&mut self, segment: usize, row: u64) -> &mut [f32] {
        let MixedLayout { dim, fields, bias, .. } = &mut self.layout;
        let (dim, row) = (*dim, row as usize);
        let Some(field) = fields.get_mut(segment / 2) else { return &mut bias[row * dim..][..dim] };
        match segment % 2 {
            0 => &mut self.factors[field.start as usize + row * field.width..][..field.width],
            _ => &mut field.projection[row * dim..][..dim],
        }
    }
}
