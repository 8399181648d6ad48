//! MGQE: product quantisation where frequent rows may choose among more centroids.

use crate::error::{IndexError, Result};

use super::gradients::{Gradients, Shape, Train};
use super::product::{Codebook, divisors, weighted_error};
use super::segment::{Segment, Segments};
use super::table::{Method, Table};
use super::{FitInput, check_len};

/// Centroids of a part that frequent rows choose among.
const HOT: usize = 256;
/// Those that all others choose among, the first ones.
const COLD: usize = 64;
/// The share of rows that are frequent, unless told otherwise.
const HOT_SHARE: f64 = 0.1;

/// Rows of 8 bits a part for the `hot` most frequent, of 6 bits for the others.
///
/// Rows lie by falling frequency; `remap` has the place of each id, unless ids come in that order already.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiered {
    rows: usize,
    hot: usize,
    book: Codebook,
    hot_codes: Vec<u8>,
    cold_codes: Vec<u8>,
    remap: Option<Vec<u32>>,
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
        let mut table = Self {
            rows: input.rows(),
            hot,
            hot_codes: vec![0; hot * parts],
            cold_codes: vec![0; (input.rows() - hot) * cold_bytes(parts)],
            book,
            remap: (!is_ordered).then_some(remap),
        };
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
        self.hot
    }

    /// How far the table is from rows, each counting as often as it is asked for.
    pub fn error(&self, input: &FitInput<'_>) -> f64 {
        weighted_error(input, self)
    }

    fn place(&self, id: u64) -> usize {
        self.remap.as_ref().map_or(id as usize, |remap| remap[id as usize] as usize)
    }

    /// Gives a row the codes of the nearest centroids it may choose among.
    fn encode(&mut self, id: u64, values: &[f32]) {
        let (place, parts) = (self.place(id), self.book.parts());
        let mut codes = vec![0; parts];
        let is_hot = place < self.hot;
        self.book.encode(values, if is_hot { HOT } else { COLD }, &mut codes);
        if is_hot {
            self.hot_codes[place * parts..][..parts].copy_from_slice(&codes);
            return;
        }
        let row = &mut self.cold_codes[(place - self.hot) * cold_bytes(parts)..][..cold_bytes(parts)];
        row.fill(0);
        for (part, &code) in codes.iter().enumerate() {
            let (byte, shift) = (part * 6 / 8, part * 6 % 8);
            row[byte] |= code << shift;
            if shift > 2 {
                row[byte + 1] |= code >> (8 - shift);
            }
        }
    }

    fn codes(&self, id: u64) -> Vec<u8> {
        let (place, parts) = (self.place(id), self.book.parts());
        if place < self.hot {
            return self.hot_codes[place * parts..][..parts].to_vec();
        }
        let row = &self.cold_codes[(place - self.hot) * cold_bytes(parts)..][..cold_bytes(parts)];
        let code = |part: usize| {
            let (byte, shift) = (part * 6 / 8, part * 6 % 8);
            let next = row.get(byte + 1).copied().unwrap_or(0);
            ((u16::from_le_bytes([row[byte], next]) >> shift) & 63) as u8
        };
        (0..parts).map(code).collect()
    }

    pub(super) fn open(
        rows: usize,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let [hot, parts] = *params else { return Ok(None) };
        if hot > rows as u64 || parts > dim as u64 {
            return Ok(None);
        }
        let (hot, parts) = (hot as usize, parts as usize);
        let remap = match segments.has("remap") {
            true => Some(segments.words("remap", rows)?),
            false => None,
        };
        if remap.as_ref().is_some_and(|remap| remap.iter().any(|&place| place as usize >= rows)) {
            return Ok(None);
        }
        let book = Codebook::open(dim, parts, HOT, segments)?;
        let hot_codes = segments.bytes("hot", hot * parts)?;
        let cold_codes = segments.bytes("cold", (rows - hot).saturating_mul(cold_bytes(parts)))?;
        Ok(Some(Self { rows, hot, book, hot_codes, cold_codes, remap }))
    }
}

/// Bytes of the codes of a row of 6 bits a part.
fn cold_bytes(parts: usize) -> usize {
    (parts * 6).div_ceil(8)
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
        self.rows as u64
    }

    fn dim(&self) -> usize {
        self.book.dim()
    }

    fn params(&self) -> Vec<u64> {
        vec![self.hot as u64, self.book.parts() as u64]
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        let parts = self.book.parts();
        let mut segments = vec![
            Segment::bytes("hot", parts, &self.hot_codes),
            Segment::bytes("cold", cold_bytes(parts), &self.cold_codes),
            self.book.segment(),
        ];
        segments.extend(self.remap.as_ref().map(|remap| Segment::words("remap", 1, remap)));
        segments
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        self.book.decode(&self.codes(id), out);
    }

    fn products(&self, query: &[f32], ids: &[u64], out: &mut [f32]) {
        let products = self.book.products(query);
        ids.iter().zip(out).for_each(|(&id, out)| *out = self.book.dot(&products, &self.codes(id)));
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
        check_len("rows in training", rows.len(), table.rows * table.book.dim())?;
        Ok(Self { table, shadow: rows, pull })
    }

    /// Chooses the codes of some rows anew, as has to be done after they moved.
    ///
    /// # Errors
    /// When an id is out of range.
    pub fn recode(&mut self, ids: &[u64]) -> Result<()> {
        super::table::check_ids(ids, self.table.rows())?;
        let dim = self.table.book.dim();
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
        let (dim, width) = (self.table.book.dim(), self.table.book.width());
        vec![
            Shape { rows: self.table.rows as u64, width: dim },
            Shape { rows: (self.table.book.centroids().len() / width) as u64, width },
        ]
    }

    /// The row's values take its gradient as if there were no codes; centroids are pulled to them.
    fn vjp(&self, id: u64, gradient: &[f32], out: &mut Gradients) {
        let (dim, width) = (self.table.book.dim(), self.table.book.width());
        out.push(0, id, gradient.iter().copied());
        let row = &self.shadow[id as usize * dim..][..dim];
        for (part, (code, row)) in self.table.codes(id).into_iter().zip(row.chunks_exact(width)).enumerate() {
            let at = self.table.book.at(part, code);
            let centroid = &self.table.book.centroids()[at..][..width];
            let pulls = centroid.iter().zip(row).map(|(c, x)| 2.0 * self.pull * (c - x));
            out.push(1, (at / width) as u64, pulls);
        }
    }

    fn row_mut(&mut self, segment: usize, row: u64) -> &mut [f32] {
        let (dim, width) = (self.table.book.dim(), self.table.book.width());
        match segment {
            0 => &mut self.shadow[row as usize * dim..][..dim],
            _ => &mut self.table.book.centroids_mut()[row as usize * width..][..width],
        }
    }
}
