//! Rows that are made of runs of values, wherever these lie.
//!
//! A table of such a method is a **layout**, which says where the values of a row are and what becomes of them, and the values
//! themselves. Whoever keeps these elsewhere, such as on a disk, needs the layout alone.

use super::float::{FloatCodec, FloatType};
use super::rows::RowCodec;
use super::segment::{Dtype, Segment};
use super::table::{Method, Table, check_ids, dot};
use crate::error::Result;

/// Values that lie one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The place of the first among all values of the table.
    pub first: u64,
    /// How many they are.
    pub len: u32,
}

impl Run {
    /// The run out of all values.
    pub(super) fn of<T>(self, values: &[T]) -> &[T] {
        &values[self.first as usize..][..self.len as usize]
    }
}

/// One of the segments that are values of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePart {
    /// The segment's name.
    pub name: String,
    /// The segment's width.
    pub width: usize,
    /// How many values it has.
    pub values: u64,
}

/// A table but for its values. Ids are the table's, runs lead to values that it has, and this was made sure of when it was
/// opened.
pub trait Runs: Send + Sync + std::fmt::Debug {
    /// Number of rows.
    fn rows(&self) -> u64;
    /// Values of a row.
    fn dim(&self) -> usize;
    /// The type of the values that lie elsewhere.
    fn dtype(&self) -> Dtype;
    /// The segments that these are, in the order they lie in.
    fn parts(&self) -> Vec<ValuePart>;
    /// Adds the runs that a row is made of, in their order; some may be empty.
    fn runs(&self, id: u64, out: &mut Vec<Run>);
    /// Makes a row of the bytes of its runs, back to back. `out` has room for exactly one row.
    fn row_of(&self, id: u64, values: &[u8], out: &mut [f32]);

    /// As [`Table::products`], of ids and the bytes of their runs.
    fn products(&self, query: &[f32], rows: &[(u64, &[u8])], out: &mut [f32]) {
        let mut row = vec![0.0; self.dim()];
        for (&(id, values), out) in rows.iter().zip(out) {
            self.row_of(id, values, &mut row);
            *out = dot(query, &row);
        }
    }
}

/// Names of the segments that are values of rows; a number may follow. None of methods whose rows are no runs. It is what
/// [`Runs::parts`] tells, before there is a layout.
pub(super) fn value_segments(method: Method) -> &'static [&'static str] {
    match method {
        Method::Robe | Method::Cyclic => &["array"],
        Method::Mixed => &["factors"],
        Method::Masked => &["kept"],
        Method::Sparse => &["values"],
        Method::Tiered => &["hot", "cold"],
        _ => &[],
    }
}

/// Whether a segment of a table is values that rows are runs of.
pub fn is_values(method: Method, segment: &str) -> bool {
    let is_number = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    value_segments(method).iter().any(|name| segment.strip_prefix(name).is_some_and(is_number))
}

/// Rows of a layout whose values were asked for: row 0 is the first of them. To others it is a table of plain rows.
#[derive(Debug)]
pub struct Gathered<'a> {
    layout: &'a dyn Runs,
    ids: Vec<u64>,
    runs: Vec<Run>,
    /// Where the values of a row end, in bytes.
    ends: Vec<usize>,
    values: Vec<u8>,
}

impl<'a> Gathered<'a> {
    /// The rows of ids, their values being zeros until they are written.
    ///
    /// # Errors
    /// When an id is out of range.
    pub fn new(layout: &'a dyn Runs, ids: &[u64]) -> Result<Self> {
        check_ids(ids, layout.rows())?;
        let (mut runs, mut ends, mut end) = (Vec::new(), Vec::with_capacity(ids.len()), 0);
        for &id in ids {
            let known = runs.len();
            layout.runs(id, &mut runs);
            let values: usize = runs[known..].iter().map(|run| run.len as usize).sum();
            end += values * layout.dtype().bytes();
            ends.push(end);
        }
        Ok(Self { layout, ids: ids.to_vec(), runs, ends, values: vec![0; end] })
    }

    /// The runs of all rows, and the bytes that they, back to back, are to be written to.
    pub fn parts_mut(&mut self) -> (&[Run], &mut [u8]) {
        (&self.runs, &mut self.values)
    }

    fn row(&self, number: u64) -> (u64, &[u8]) {
        let at = number as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        (self.ids[at], &self.values[start..self.ends[at]])
    }

    fn codec(&self) -> FloatCodec {
        FloatCodec::new(self.layout.dim(), FloatType::F32)
    }
}

impl Table for Gathered<'_> {
    fn method(&self) -> Method {
        self.codec().method()
    }

    fn rows(&self) -> u64 {
        self.ids.len() as u64
    }

    fn dim(&self) -> usize {
        self.layout.dim()
    }

    fn params(&self) -> Vec<u64> {
        self.codec().params()
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        let (codec, dim) = (self.codec(), self.dim());
        let mut values = vec![0.0; self.ids.len() * dim];
        (0..).zip(values.chunks_exact_mut(dim)).for_each(|(number, out)| self.read(number, out));
        let bytes = bytemuck::cast_slice(&values).to_vec().into();
        vec![Segment { name: "rows".into(), dtype: Dtype::U8, width: codec.row_bytes(), bytes }]
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        let (id, values) = self.row(id);
        self.layout.row_of(id, values, out);
    }

    fn products(&self, query: &[f32], ids: &[u64], out: &mut [f32]) {
        let rows: Vec<(u64, &[u8])> = ids.iter().map(|&number| self.row(number)).collect();
        self.layout.products(query, &rows, out);
    }
}
