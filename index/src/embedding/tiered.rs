//! MGQE: product quantisation where frequent rows may choose among more centroids.

mod layout;

use std::borrow::Cow;

use crate::error::{IndexError, Result};

use super::gradients::{Gradients, Shape, Train};
use super::product::{Codebook, divisors, weighted_error};
use super::runs::Runs;
use super::segment::{Segment, Segments};
use super::table::{Method, Table};
use super::{FitInput, check_len};

pub(super) use layout::TieredLayout;
use layout::cold_bytes;

/// Centroids of a part that frequent rows choose among.
const HOT: usize = 256;
/// Those that all others choose among, the first ones.
const COLD: usize = 64;
/// The share of rows that are frequent, unless told otherwise.
const HOT_SHARE: f64 = 0.1;

/// Rows of 8 bits a part for the `hot` most frequent, of 6 bits for the others.
///
/// Rows lie by falling frequency.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiered {
    layout: TieredLayout,
    /// Those of the frequent rows, then those of the others.
    codes: Vec<u8>,
}

impl Tiered {
    /// As many parts as the budget allows, a tenth of the rows being frequent.
    ///
    /// # Errors
    /// When the budget is too small for one part.
    pub fn fit(input: &FitInput<'_>) -> Result<Self> {
        let hot = (input.rows() as f64 * HOT_SHARE).ceil() as usize;
        let parts = divisors(input.dim()).find(|&parts| bytes(input, hot, parts) <= input.budget_bytes());
        let needed = bytes(input, hot, 1);
        input.check_budget("codes and centroids of one part", needed)?;
        Self::fit_shape(input, hot, parts.unwrap_or(1))
    }

    /// The same with a given number of frequent rows and of parts.
    ///
    /// # Errors
    /// When there are no such parts or rows, or the budget is too small.
    pub fn fit_shape(input: &FitInput<'_>, hot: usize, parts: usize) -> Result<Self> {
        if hot > input.rows() {
            return Err(IndexError::option("frequent rows", hot, format!("at most {}", input.rows())));
        }
        input.check_budget("codes and centroids", bytes(input, hot, parts))?;
        let order = input.by_frequency();
        let book = Self::train(input, &order, hot, parts)?;
        let is_ordered = order.iter().enumerate().all(|(at, &row)| at == row as usize);
        let mut remap = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &row)| remap[row as usize] = at as u32);
        let layout = TieredLayout { rows: input.rows(), hot, book, remap: (!is_ordered).then_some(remap) };
        let codes = vec![0; layout.hot_bytes() + layout.cold_bytes()];
        let mut table = Self { layout, codes };
        for row in 0..input.rows() {
            table.encode(row as u64, input.row(row));
        }
        Ok(table)
    }

    /// The first centroids are those of all rows, the others those of what frequent rows have left over.
    fn train(input: &FitInput<'_>, order: &[u32], hot: usize, parts: usize) -> Result<Codebook> {
        let weights = input.weights();
        let cold = Codebook::train(input, &weights, parts, COLD)?;
        let mut only_hot = vec![0.0; weights.len()];
        order[..hot].iter().for_each(|&row| only_hot[row as usize] = weights[row as usize]);
        let more = Codebook::train(input, &only_hot, parts, HOT - COLD)?;
        let mut all = Vec::with_capacity(HOT * input.dim());
        for part in 0..parts {
            all.extend_from_slice(cold.part(part));
            all.extend_from_slice(more.part(part));
        }
        Codebook::new(input.dim(), parts, HOT, all)
    }

    /// Frequent rows.
    pub fn hot(&self) -> usize {
        self.layout.hot
    }

    /// How far the table is from rows, each counting as often as it is asked for.
    pub fn error(&self, input: &FitInput<'_>) -> f64 {
        weighted_error(input, self)
    }

    /// Gives a row the codes of the nearest centroids it may choose among.
    fn encode(&mut self, id: u64, values: &[f32]) {
        let (layout, run) = (&self.layout, self.layout.run(id));
        let row = &mut self.codes[run.first as usize..][..run.len as usize];
        if layout.place(id) < layout.hot {
            layout.book.encode(values, HOT, row);
            return;
        }
        let mut codes = vec![0; layout.book.parts()];
        layout.book.encode(values, COLD, &mut codes);
        row.fill(0);
        for (part, &code) in codes.iter().enumerate() {
            let (byte, shift) = (part * 6 / 8, part * 6 % 8);
            row[byte] |= code << shift;
            if shift > 2 {
                row[byte + 1] |= code >> (8 - shift);
            }
        }
    }

    /// The codes of a row, one a byte.
    fn codes(&self, id: u64) -> Cow<'_, [u8]> {
        self.layout.codes(id, self.layout.run(id).of(&self.codes))
    }

    pub(super) fn open(
        rows: usize,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let Some(layout) = TieredLayout::open(rows, dim, params, segments)? else { return Ok(None) };
        let mut codes = segments.bytes("hot", layout.hot_bytes())?;
        codes.append(&mut segments.bytes("cold", layout.cold_bytes())?);
        Ok(Some(Self { layout, codes }))
    }
}

/// Bytes of a fit, the remap counted where there is one.
fn bytes(input: &FitInput<'_>, hot: usize, parts: usize) -> u64 {
    let order = input.by_frequency();
    let is_ordered = order.iter().enumerate().all(|(at, &row)| at == row as usize);
    let remap = if is_ordered { 0 } else { 4 * input.rows() };
    (hot * parts + (input.rows() - hot) * cold_bytes(parts) + HOT * input.dim() * 4 + remap) as u64
}

impl Table for Tiered {
    fn method(&self) -> Method {
        Method::Tiered
    }

    fn rows(&self) -> u64 {
        self.layout.rows as u64
    }

    fn dim(&self) -> usize {
        self.layout.book.dim()
    }

    fn params(&self) -> Vec<u64> {
        vec![self.layout.hot as u64, self.layout.book.parts() as u64]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        let TieredLayout { book, remap, .. } = &self.layout;
        let (hot, cold) = self.codes.split_at(self.layout.hot_bytes());
        let mut segments = vec![
            Segment::bytes("hot", book.parts(), hot),
            Segment::bytes("cold", cold_bytes(book.parts()), cold),
            book.segment(),
        ];
        segments.extend(remap.as_ref().map(|remap| Segment::words("remap", 1, remap)));
        segments
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        self.layout.book.decode(&self.codes(id), out);
    }

    fn products(&self, query: &[f32], ids: &[u64], out: &mut [f32]) {
        let codes = |&id: &u64| (id, self.layout.run(id).of(&self.codes));
        self.layout.products(query, &ids.iter().map(codes).collect::<Vec<_>>(), out);
    }
}

/// A tiered table in training: every row has values of its own beside its codes, and these are what its gradient moves.
#[derive(Clone, Debug)]
pub struct TieredTraining {
    table: Tiered,
    shadow: Vec<f32>,
    pull: f32,
}

impl TieredTraining {
    /// Goes on from a table and the rows it stands for. `pull` is how much centroids follow these: the factor of
    /// `‖centroid − row‖²` in the loss.
    ///
    /// # Errors
    /// When there are other rows than the table's.
    pub fn new(table: Tiered, rows: Vec<f32>, pull: f32) -> Result<Self> {
        check_len("rows in training", rows.len(), table.layout.rows * table.layout.book.dim())?;
        Ok(Self { table, shadow: rows, pull })
    }

    /// Chooses the codes of some rows anew, as has to be done after they moved.
    ///
    /// # Errors
    /// When an id is out of range.
    pub fn recode(&mut self, ids: &[u64]) -> Result<()> {
        super::table::check_ids(ids, self.table.rows())?;
        let dim = self.table.layout.book.dim();
        for &id in ids {
            let values = self.shadow[id as usize * dim..][..dim].to_vec();
            self.table.encode(id, &values);
        }
        Ok(())
    }

    /// The table.
    pub fn table(&self) -> &Tiered {
        &self.table
    }
}

impl Table for TieredTraining {
    fn method(&self) -> Method {
        Method::Tiered
    }

    fn rows(&self) -> u64 {
        self.table.rows()
    }

    fn dim(&self) -> usize {
        self.table.dim()
    }

    fn params(&self) -> Vec<u64> {
        self.table.params()
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        self.table.segments()
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        self.table.read(id, out);
    }
}

impl Train for TieredTraining {
    fn boxed(&self) -> Box<dyn Train> {
        Box::new(self.clone())
    }

    fn shapes(&self) -> Vec<Shape> {
        let (dim, width) = (self.table.layout.book.dim(), self.table.layout.book.width());
        vec![
            Shape { rows: self.table.layout.rows as u64, width: dim },
            Shape { rows: (self.table.layout.book.centroids().len() / width) as u64, width },
        ]
    }

    /// The row's values take its gradient as if there were no codes; centroids are pulled to them.
    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        let (dim, width) = (self.table.layout.book.dim(), self.table.layout.book.width());
        out.push(0, id, gradient.iter().copied());
        let row = &self.shadow[id as usize * dim..][..dim];
        for (part, (code, row)) in self.table.codes(id).iter().zip(row.chunks_exact(width)).enumerate() {
            let at = self.table.layout.book.at(part, *code);
            let centroid = &self.table.layout.book.centroids()[at..][..width];
            let pulls = centroid.iter().zip(row).map(|(c, x)| 2.0 * self.pull * (c - x));
            out.push(1, (at / width) as u64, pulls);
        }
    }

    fn row_mut(&mut self, segment: usize, row: u64) -> &mut [f32] {
        let (dim, width) = (self.table.layout.book.dim(), self.table.layout.book.width());
        match segment {
            0 => &mut self.shadow[row as usize * dim..][..dim],
            _ => &mut self.table.layout.book.centroids_mut()[row as usize * width..][..width],
        }
    }
}
