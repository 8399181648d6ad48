//! AdaptEmb: frequent ids have rows of their own, the others share a few.

use crate::error::{IndexError, Result};

use super::FitInput;
use super::gradients::{Gradients, Shape, Train};
use super::hash::weighted_means;
use super::segment::{Segment, Segments};
use super::table::{Method, Table};

/// The share of what a budget leaves for rows that goes to shared ones.
const SHARED_PART: usize = 10;

/// Where the row of an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Own(usize),
    Shared(usize),
}

/// `remap` has for each id the number of its own row; or for the `k`-th of the others, from 0, all bits of `k` turned over
/// (`−(k + 1)`), and its row is shared row `k mod M`.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptive {
    dim: usize,
    remap: Vec<u32>,
    own: Vec<f32>,
    shared: Vec<f32>,
}

impl Adaptive {
    /// The most frequent rows as they are, shared rows that are means of the others: a tenth of all rows kept are shared.
    ///
    /// # Errors
    /// When the budget is too small for the remap and two rows.
    pub fn fit(input: &FitInput<'_>) -> Result<Self> {
        let (rows, dim) = (input.rows(), input.dim());
        let least = (rows * 4 + 2 * dim * 4) as u64;
        input.check_budget("the remap, one row and one shared row", least)?;
        let kept = ((input.budget_bytes() as usize - rows * 4) / (dim * 4)).min(rows);
        let shared = (kept / SHARED_PART).max(1);
        let hot = if kept == rows { rows } else { kept - shared };
        Self::split(input, hot, if kept == rows { 0 } else { shared })
    }

    /// The same with given numbers of rows of their own and shared ones.
    fn split(input: &FitInput<'_>, hot: usize, shared: usize) -> Result<Self> {
        let mut remap = vec![0; input.rows()];
        let mut own = Vec::with_capacity(hot * input.dim());
        for (at, &row) in input.by_frequency().iter().enumerate() {
            remap[row as usize] = if at < hot { at as u32 } else { !((at - hot) as u32) };
            if at < hot {
                own.extend_from_slice(input.row(row as usize));
            }
        }
        let mut table = Self { dim: input.dim(), remap, own, shared: vec![0.0; shared * input.dim()] };
        if shared > 0 {
            // Rows of their own are put behind the shared ones, and cut off.
            let place = |id: usize| match table.place(id as u64) {
                Place::Own(_) => shared,
                Place::Shared(at) => at,
            };
            let mut means = weighted_means(input, shared + 1, place);
            means.truncate(shared * input.dim());
            table.shared = means;
        }
        Ok(table)
    }

    /// Rows of their own.
    pub fn own_rows(&self) -> usize {
        self.own.len() / self.dim
    }

    fn place(&self, id: u64) -> Place {
        let place = self.remap[id as usize];
        match place as i32 {
            0.. => Place::Own(place as usize),
            _ => Place::Shared(!place as usize % (self.shared.len() / self.dim)),
        }
    }

    fn row(&self, id: u64) -> &[f32] {
        match self.place(id) {
            Place::Own(at) => &self.own[at * self.dim..][..self.dim],
            Place::Shared(at) => &self.shared[at * self.dim..][..self.dim],
        }
    }

    pub(super) fn open(
        rows: usize,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let [own, shared] = *params else { return Ok(None) };
        let len = |rows: u64| (rows as usize).saturating_mul(dim);
        let remap = segments.words("remap", rows)?;
        let is_placed = |&place: &u32| if (place as i32) < 0 { shared > 0 } else { u64::from(place) < own };
        if let Some(at) = remap.iter().position(|place| !is_placed(place)) {
            let found = format!("{} for id {at}", remap[at] as i32);
            return Err(IndexError::input(
                "segment remap",
                found,
                format!("rows below {own}, or shared ones"),
            ));
        }
        let (own, shared) = (segments.floats("own", len(own))?, segments.floats("shared", len(shared))?);
        Ok(Some(Self { dim, remap, own, shared }))
    }
}

impl Table for Adaptive {
    fn method(&self) -> Method {
        Method::Adaptive
    }

    fn rows(&self) -> u64 {
        self.remap.len() as u64
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn params(&self) -> Vec<u64> {
        vec![self.own_rows() as u64, (self.shared.len() / self.dim) as u64]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        vec![
            Segment::words("remap", 1, &self.remap),
            Segment::floats("own", self.dim, &self.own),
            Segment::floats("shared", self.dim, &self.shared),
        ]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        out.copy_from_slice(self.row(id));
    }
}

impl Train for Adaptive {
    fn boxed(&self) -> Box<dyn Train> {
        Box::new(self.clone())
    }

    fn shapes(&self) -> Vec<Shape> {
        let shape = |values: &[f32]| Shape { rows: (values.len() / self.dim) as u64, width: self.dim };
        vec![shape(&self.own), shape(&self.shared)]
    }

    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        let (segment, row) = match self.place(id) {
            Place::Own(at) => (0, at),
            Place::Shared(at) => (1, at),
        };
        out.push(segment, row as u64, gradient.iter().copied());
    }

    fn row_mut(&mut self, segment: usize, row: u64) -> &mut [f32] {
        let rows = if segment == 0 { &mut self.own } else { &mut self.shared };
        &mut rows[row as usize * self.dim..][..self.dim]
    }
}
