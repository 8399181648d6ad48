//! Tables whose rows are so many bytes each.

use std::sync::Arc;

use crate::error::{IndexError, Result};
use crate::kernel::{AHEAD, Bag, Bags, Kernel};

use super::segment::Segment;
use super::table::{Method, Pool, Table, add_row, check_ids, dot, finish};
use super::{FitInput, check_finite, check_len};

/// How one row becomes bytes and back. What rows share is in the codec.
pub trait RowCodec: Send + Sync + std::fmt::Debug {
    /// Which method this is.
    fn method(&self) -> Method;
    /// Values of a row.
    fn dim(&self) -> usize;
    /// Bytes of a row.
    fn row_bytes(&self) -> usize;
    /// As [`Table::params`].
    fn params(&self) -> Vec<u64>;
    /// What rows share.
    fn shared(&self) -> Vec<Segment<'_>> {
        Vec::new()
    }
    /// Values to bytes. Both have the codec's lengths.
    fn encode(&self, values: &[f32], row: &mut [u8]);
    /// Bytes to values. Both have the codec's lengths.
    fn decode(&self, row: &[u8], values: &mut [f32]);

    /// As [`Table::add`], the rows lying back to back.
    fn add(&self, rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
        let mut values = vec![0.0; self.dim()];
        for (i, &id) in bag.ids.iter().enumerate() {
            self.decode(row_of(rows, self.row_bytes(), id), &mut values);
            add_row(&values, bag, i, out);
        }
    }

    /// The sums of bags, back to back, whatever `out` holds. Ids and lengths were checked.
    fn sum(&self, rows: &[u8], bags: &Bags<'_>, out: &mut [f32]) {
        out.fill(0.0);
        for (bag, out) in bags.iter().zip(out.chunks_exact_mut(self.dim())) {
            self.add(rows, &bag, out);
        }
    }

    /// As [`Table::products`], the rows lying back to back.
    fn products(&self, rows: &[u8], query: &[f32], ids: &[u64], out: &mut [f32]) {
        let mut values = vec![0.0; self.dim()];
        for (&id, out) in ids.iter().zip(out) {
            self.decode(row_of(rows, self.row_bytes(), id), &mut values);
            *out = dot(query, &values);
        }
    }
}

/// One of rows that lie back to back.
pub(super) fn row_of(rows: &[u8], row_bytes: usize, id: u64) -> &[u8] {
    &rows[id as usize * row_bytes..][..row_bytes]
}

/// A codec and rows of it.
#[derive(Debug)]
pub struct Rows<C> {
    codec: C,
    /// Rows from `start` on, where a line of the cache begins: so as few lines as can be are fetched for one.
    bytes: Vec<u8>,
    start: usize,
}

impl<C: RowCodec> Rows<C> {
    /// Bytes of a line of the cache. With as much room behind rows [`Rows::from_bytes`] need not move them to other memory.
    pub const LINE: usize = 64;

    /// Rows that are bytes already.
    ///
    /// # Errors
    /// When they are not whole rows.
    pub fn from_bytes(codec: C, bytes: Vec<u8>) -> Result<Self> {
        if !bytes.len().is_multiple_of(codec.row_bytes()) {
            let expected = format!("whole rows of {}", codec.row_bytes());
            return Err(IndexError::input("rows", format!("{} bytes", bytes.len()), expected));
        }
        Ok(Self::aligned(codec, bytes))
    }

    /// Moves rows to where a line begins, without a second copy of them.
    fn aligned(codec: C, mut bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        bytes.reserve_exact(Self::LINE);
        // Where it cannot be told it does not matter.
        let start = bytes.as_ptr().align_offset(Self::LINE) % Self::LINE;
        bytes.resize(len + start, 0);
        bytes.copy_within(..len, start);
        Self { codec, bytes, start }
    }

    /// Encodes rows, back to back.
    ///
    /// # Errors
    /// When they are not whole rows of finite values.
    pub fn encode(codec: C, values: &[f32]) -> Result<Self> {
        let (dim, row_bytes) = (codec.dim(), codec.row_bytes());
        check_len("rows to encode", values.len(), values.len() / dim * dim)?;
        check_finite("rows to encode", dim, values)?;
        let mut bytes = vec![0; values.len() / dim * row_bytes];
        let pairs = values.chunks_exact(dim).zip(bytes.chunks_exact_mut(row_bytes));
        pairs.for_each(|(values, row)| codec.encode(values, row));
        Ok(Self::aligned(codec, bytes))
    }

    /// Encodes the rows of a fit, if they fit into its budget.
    pub(super) fn fitted(codec: C, input: &FitInput<'_>) -> Result<Self> {
        let shared: usize = codec.shared().iter().map(|segment| segment.bytes.len()).sum();
        input.check_budget("rows of a table", (input.rows() * codec.row_bytes() + shared) as u64)?;
        Self::encode(codec, input.values())
    }

    /// The codec.
    pub fn codec(&self) -> &C {
        &self.codec
    }

    /// The rows, back to back.
    pub fn row_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn row(&self, id: u64) -> &[u8] {
        row_of(self.row_bytes(), self.codec.row_bytes(), id)
    }

    /// Asks the processor for the rows of some ids. Those that are not here are passed over.
    pub fn prefetch(&self, ids: &[u64]) {
        Kernel::best().prefetch_rows(self.row_bytes(), self.codec.row_bytes(), ids);
    }

    /// Writes a row anew.
    ///
    /// # Errors
    /// When the id is out of range, or the values do not fit or are no numbers.
    pub fn put(&mut self, id: u64, values: &[f32]) -> Result<()> {
        check_ids(&[id], self.rows())?;
        check_len("row to put", values.len(), self.codec.dim())?;
        check_finite("row to put", self.codec.dim(), values)?;
        let row_bytes = self.codec.row_bytes();
        self.codec.encode(values, &mut self.bytes[self.start + id as usize * row_bytes..][..row_bytes]);
        Ok(())
    }

    pub(super) fn parts_mut(&mut self) -> (&C, &mut [u8]) {
        (&self.codec, &mut self.bytes[self.start..])
    }
}

impl<C: RowCodec> Table for Rows<C> {
    fn method(&self) -> Method {
        self.codec.method()
    }

    fn rows(&self) -> u64 {
        (self.row_bytes().len() / self.codec.row_bytes()) as u64
    }

    fn dim(&self) -> usize {
        self.codec.dim()
    }

    fn params(&self) -> Vec<u64> {
        self.codec.params()
    }

    fn segments(&self) -> Vec<Segment<'_>> {
        let mut segments = vec![Segment::bytes("rows", self.codec.row_bytes(), self.row_bytes())];
        segments.extend(self.codec.shared());
        segments
    }

    fn read(&self, id: u64, out: &mut [f32]) {
        self.codec.decode(self.row(id), out);
    }

    fn add(&self, bag: &Bag<'_>, out: &mut [f32]) {
        self.codec.add(self.row_bytes(), bag, out);
    }

    fn products(&self, query: &[f32], ids: &[u64], out: &mut [f32]) {
        self.codec.products(self.row_bytes(), query, ids, out);
    }

    /// Asks for rows some ids before they are read.
    fn lookup(&self, ids: &[u64], out: &mut [f32]) -> Result<()> {
        check_ids(ids, self.rows())?;
        check_len("rows to fill", out.len(), ids.len() * self.dim())?;
        self.prefetch(&ids[..AHEAD.min(ids.len())]);
        for (at, (&id, out)) in ids.iter().zip(out.chunks_exact_mut(self.dim())).enumerate() {
            self.prefetch(ids.get(at + AHEAD..=at + AHEAD).unwrap_or_default());
            self.read(id, out);
        }
        Ok(())
    }

    /// Asks for rows some ids before they are added.
    fn pool(&self, bags: &Bags<'_>, pool: Pool, out: &mut [f32]) -> Result<()> {
        check_ids(bags.ids(), self.rows())?;
        check_len("bags to fill", out.len(), bags.len() * self.dim())?;
        self.prefetch(bags.first());
        self.codec.sum(self.row_bytes(), bags, out);
        if pool == Pool::Mean {
            let pairs = bags.iter().zip(out.chunks_exact_mut(self.dim()));
            pairs.for_each(|(bag, out)| finish(pool, bag.ids.len(), out));
        }
        Ok(())
    }
}

impl<C: RowCodec + ?Sized> RowCodec for Arc<C> {
    fn method(&self) -> Method {
        (**self).method()
    }

    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn row_bytes(&self) -> usize {
        (**self).row_bytes()
    }

    fn params(&self) -> Vec<u64> {
        (**self).params()
    }

    fn shared(&self) -> Vec<Segment<'_>> {
        (**self).shared()
    }

    fn encode(&self, values: &[f32], row: &mut [u8]) {
        (**self).encode(values, row);
    }

    fn decode(&self, row: &[u8], values: &mut [f32]) {
        (**self).decode(row, values);
    }

    fn add(&self, rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
        (**self).add(rows, bag, out);
    }

    fn sum(&self, rows: &[u8], bags: &Bags<'_>, out: &mut [f32]) {
        (**self).sum(rows, bags, out);
    }

    fn products(&self, rows: &[u8], query: &[f32], ids: &[u64], out: &mut [f32]) {
        (**self).products(rows, query, ids, out);
    }
}
