//! Product quantisation: each part of a row is one of a few centroids.

use crate::error::{IndexError, Result};
use crate::kernel::{Bag, CentroidRows, Kernel};
use crate::random::Random;

use super::lloyd::{assign, centroids, nearest};
use super::rows::{RowCodec, Rows, row_of};
use super::segment::{Segment, Segments};
use super::table::{Method, dot};
use super::{FitInput, check_finite, check_len};

/// What centroids are drawn for, among the uses of a seed.
const LANE: u64 = 0x90d;

/// Centroids of each part.
#[derive(Clone, Debug, PartialEq)]
pub struct Codebook {
    dim: usize,
    parts: usize,
    per_part: usize,
    /// `[part][centroid][dim / parts]`.
    centroids: Vec<f32>,
}

impl Codebook {
    /// `per_part` centroids for each of `parts` equal parts of a row: `[part][centroid][dim / parts]`, as Faiss has them.
    ///
    /// # Errors
    /// When the parts are not equal, `per_part` is not 1 to 256, or it is another number of values.
    pub fn new(dim: usize, parts: usize, per_part: usize, centroids: Vec<f32>) -> Result<Self> {
        if parts == 0 || !dim.is_multiple_of(parts) {
            return Err(IndexError::option("parts of a row", parts, format!("a divisor of {dim}")));
        }
        if !(1..=256).contains(&per_part) {
            return Err(IndexError::option("centroids of a part", per_part, "1 to 256"));
        }
        check_len("centroids", centroids.len(), per_part * dim)?;
        check_finite("centroids", dim / parts, &centroids)?;
        Ok(Self { dim, parts, per_part, centroids })
    }

    /// Centroids that rows, each counting by its weight, are near to.
    pub(super) fn train(
        input: &FitInput<'_>,
        weights: &[f32],
        parts: usize,
        per_part: usize,
    ) -> Result<Self> {
        let width = input.dim() / parts.max(1);
        let mut all = Vec::with_capacity(per_part * input.dim());
        for part in 0..parts {
            let points = column(input.values(), input.dim(), part, width);
            let random = Random::new(input.seed(), LANE + part as u64);
            let mut found = centroids(&points, weights, width, per_part, random);
            // With fewer points than centroids the others are never chosen.
            found.resize(per_part * width, 0.0);
            all.append(&mut found);
        }
        Self::new(input.dim(), parts, per_part, all)
    }

    /// The same with 16 centroids a part, or 256, the last of a part as often as it takes.
    fn filled(self) -> Self {
        let (width, per_part) = (self.width(), if self.per_part <= 16 { 16 } else { 256 });
        if per_part == self.per_part {
            return self;
        }
        let mut centroids = Vec::with_capacity(per_part * self.dim);
        for part in 0..self.parts {
            let own = self.part(part);
            centroids.extend_from_slice(own);
            let last = &own[own.len() - width..];
            (self.per_part..per_part).for_each(|_| centroids.extend_from_slice(last));
        }
        Self { per_part, centroids, ..self }
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Parts of a row.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Centroids of a part.
    pub fn per_part(&self) -> usize {
        self.per_part
    }

    /// `[part][centroid][dim / parts]`.
    pub fn centroids(&self) -> &[f32] {
        &self.centroids
    }

    pub(super) fn centroids_mut(&mut self) -> &mut [f32] {
        &mut self.centroids
    }

    pub(super) fn width(&self) -> usize {
        self.dim / self.parts
    }

    /// The centroids of a part.
    pub(super) fn part(&self, part: usize) -> &[f32] {
        &self.centroids[part * self.per_part * self.width()..][..self.per_part * self.width()]
    }

    /// Where a centroid is among all.
    pub(super) fn at(&self, part: usize, code: u8) -> usize {
        (part * self.per_part + usize::from(code)) * self.width()
    }

    /// The nearest among the first `among` centroids of each part.
    pub(super) fn encode(&self, values: &[f32], among: usize, codes: &mut [u8]) {
        for (part, (values, code)) in values.chunks_exact(self.width()).zip(codes).enumerate() {
            *code = nearest(values, &self.part(part)[..among * self.width()]).0 as u8;
        }
    }

    pub(super) fn decode(&self, codes: &[u8], values: &mut [f32]) {
        for (part, (out, &code)) in values.chunks_exact_mut(self.width()).zip(codes).enumerate() {
            out.copy_from_slice(&self.centroids[self.at(part, code)..][..self.width()]);
        }
    }

    /// The product of a query with each centroid: `[part][centroid]`.
    pub(super) fn products(&self, query: &[f32]) -> Vec<f32> {
        let mut products = Vec::with_capacity(self.parts * self.per_part);
        for (part, query) in query.chunks_exact(self.width()).enumerate() {
            products.extend(self.part(part).chunks_exact(self.width()).map(|centroid| dot(query, centroid)));
        }
        products
    }

    /// The product of a query with the row of some codes.
    pub(super) fn dot(&self, products: &[f32], codes: &[u8]) -> f32 {
        let parts = codes.iter().zip(products.chunks_exact(self.per_part));
        parts.map(|(&code, products)| products[usize::from(code)]).sum()
    }

    pub(super) fn segment(&self) -> Segment<'_> {
        Segment::floats("codebook", self.width(), &self.centroids)
    }

    pub(super) fn open(dim: usize, parts: usize, per_part: usize, segments: Segments<'_>) -> Result<Self> {
        let len = per_part.saturating_mul(dim);
        Self::new(dim, parts, per_part, segments.floats("codebook", len)?)
    }
}

/// One part of all rows.
fn column(rows: &[f32], dim: usize, part: usize, width: usize) -> Vec<f32> {
    rows.chunks_exact(dim).flat_map(|row| &row[part * width..][..width]).copied().collect()
}

/// Divisors of `dim`, the greatest first.
pub(super) fn divisors(dim: usize) -> impl Iterator<Item = usize> {
    (1..=dim).rev().filter(move |parts| dim.is_multiple_of(*parts))
}

/// Rows of one code of 8 bits a part. With 16 centroids a part, two codes share a byte, the first in the lower half.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductCodec {
    book: Codebook,
}

impl ProductCodec {
    /// Rows by these centroids. Where a part has another number than 16 or 256, its last one stands for those that are
    /// missing, and is not chosen in their place.
    pub fn new(book: Codebook) -> Self {
        Self { book: book.filled() }
    }

    /// Centroids fitted to the rows, each row counting as often as it is asked for: as many parts of 8 bits as the budget
    /// allows, or of 4 bits where these come closer to the rows.
    ///
    /// # Errors
    /// When the budget is too small for one part of 16 centroids.
    pub fn fit(input: &FitInput<'_>) -> Result<Rows<Self>> {
        let bytes = |parts: usize, per_part: usize| {
            let row = if per_part <= 16 { parts.div_ceil(2) } else { parts };
            (row * input.rows() + per_part * input.dim() * 4) as u64
        };
        let most =
            |per_part| divisors(input.dim()).find(|&parts| bytes(parts, per_part) <= input.budget_bytes());
        let shapes = [(most(256), 256), (most(16), 16)];
        let mut best: Option<(f64, Rows<Self>)> = None;
        for (parts, per_part) in shapes.into_iter().filter_map(|(parts, per_part)| Some((parts?, per_part))) {
            let table = Self::fit_shape(input, parts, per_part)?;
            let error = weighted_error(input, &table);
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                best = Some((error, table));
            }
        }
        best.map(|(_, table)| table).ok_or_else(|| IndexError::Budget {
            what: "codes and centroids of one part",
            needed: bytes(1, 16),
            allowed: input.budget_bytes(),
            fix: "allow more bytes",
        })
    }

    /// The same with a given number of parts and of centroids a part, 16 or 256.
    ///
    /// # Errors
    /// When there are no such parts, or the budget is too small.
    pub fn fit_shape(input: &FitInput<'_>, parts: usize, per_part: usize) -> Result<Rows<Self>> {
        let book = Codebook::train(input, &input.weights(), parts, per_part)?;
        if per_part > 16 {
            // All rows at once, on all threads.
            let codec = Self::new(book);
            input.check_budget(
                "codes and centroids",
                (input.rows() * parts + per_part * input.dim() * 4) as u64,
            )?;
            let width = codec.book.width();
            let columns = (0..parts).map(|part| {
                assign(&column(input.values(), input.dim(), part, width), width, codec.book.part(part))
            });
            let columns: Vec<Vec<u8>> = columns.collect();
            let codes = (0..input.rows()).flat_map(|row| columns.iter().map(move |column| column[row]));
            return Rows::from_bytes(codec.clone(), codes.collect());
        }
        Rows::fitted(Self::new(book), input)
    }

    /// The centroids.
    pub fn codebook(&self) -> &Codebook {
        &self.book
    }

    fn is_packed(&self) -> bool {
        self.book.per_part <= 16
    }

    /// One code a byte.
    fn codes(&self, row: &[u8]) -> Vec<u8> {
        match self.is_packed() {
            true => (0..self.book.parts).map(|part| (row[part / 2] >> (part % 2 * 4)) & 15).collect(),
            false => row.to_vec(),
        }
    }

    /// The codec of a table's parameters and segments.
    ///
    /// # Errors
    /// When they are not those of product quantisation.
    pub fn of(dim: usize, params: &[u64], segments: Segments<'_>) -> Result<Self> {
        Self::open(dim, params, segments)?.ok_or_else(|| {
            IndexError::input("parameters of product quantisation", format!("{params:?}"), "parts, 16 or 256")
        })
    }

    pub(super) fn open(dim: usize, params: &[u64], segments: Segments<'_>) -> Result<Option<Self>> {
        let [parts, per_part] = *params else { return Ok(None) };
        let book = Codebook::open(dim, parts as usize, per_part as usize, segments)?;
        // A code is any byte: all of them must have a centroid.
        Ok((book.per_part == 16 || book.per_part == 256).then_some(Self { book }))
    }
}

/// The sum of weight times squared error over all rows.
pub(super) fn weighted_error(input: &FitInput<'_>, table: &impl super::Table) -> f64 {
    let mut row = vec![0.0; input.dim()];
    let mut error = 0.0;
    for (i, weight) in input.weights().into_iter().enumerate() {
        table.read(i as u64, &mut row);
        let squared: f32 = row.iter().zip(input.row(i)).map(|(a, b)| (a - b) * (a - b)).sum();
        error += f64::from(weight) * f64::from(squared);
    }
    error
}

impl RowCodec for ProductCodec {
    fn method(&self) -> Method {
        Method::Product
    }

    fn dim(&self) -> usize {
        self.book.dim
    }

    fn row_bytes(&self) -> usize {
        if self.is_packed() { self.book.parts.div_ceil(2) } else { self.book.parts }
    }

    fn params(&self) -> Vec<u64> {
        vec![self.book.parts as u64, self.book.per_part as u64]
    }

    fn shared(&self) -> Vec<Segment<'_>> {
        vec![self.book.segment()]
    }

    fn encode(&self, values: &[f32], row: &mut [u8]) {
        let mut codes = vec![0; self.book.parts];
        self.book.encode(values, self.book.per_part, &mut codes);
        if self.is_packed() {
            row.fill(0);
            codes.iter().enumerate().for_each(|(part, code)| row[part / 2] |= code << (part % 2 * 4));
        } else {
            row.copy_from_slice(&codes);
        }
    }

    fn decode(&self, row: &[u8], values: &mut [f32]) {
        match self.is_packed() {
            true => self.book.decode(&self.codes(row), values),
            false => self.book.decode(row, values),
        }
    }

    fn add(&self, rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
        let rows = CentroidRows {
            codes: rows,
            stride: self.row_bytes(),
            is_packed: self.is_packed(),
            centroids: &self.book.centroids,
            per_part: self.book.per_part,
            width: self.book.width(),
        };
        Kernel::best().pool_centroids(&rows, bag, out);
    }

    /// Without decoding: one look-up a part in a table made once for the query.
    fn products(&self, rows: &[u8], query: &[f32], ids: &[u64], out: &mut [f32]) {
        let products = self.book.products(query);
        for (&id, out) in ids.iter().zip(out) {
            let row = row_of(rows, self.row_bytes(), id);
            *out = match self.is_packed() {
                true => self.book.dot(&products, &self.codes(row)),
                false => self.book.dot(&products, row),
            };
        }
    }
}
