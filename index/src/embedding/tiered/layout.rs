//! MGQE but for the codes: centroids, and where the codes of a row are.

use std::borrow::Cow;

use crate::error::Result;

use super::super::product::Codebook;
use super::super::runs::{Run, Runs, ValuePart};
use super::super::segment::{Dtype, Segments};
use super::HOT;

/// Where the codes of a row are, and what they stand for. `remap` has the place of each id, unless ids come in the order of
/// places.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::embedding) struct TieredLayout {
    pub(super) rows: usize,
    pub(super) hot: usize,
    pub(super) book: Codebook,
    pub(super) remap: Option<Vec<u32>>,
}

impl TieredLayout {
    /// The place of an id.
    pub(super) fn place(&self, id: u64) -> usize {
        self.remap.as_ref().map_or(id as usize, |remap| remap[id as usize] as usize)
    }

    /// Bytes of the codes of all frequent rows.
    pub(super) fn hot_bytes(&self) -> usize {
        self.hot * self.book.parts()
    }

    /// Bytes of the codes of all other rows.
    pub(super) fn cold_bytes(&self) -> usize {
        (self.rows - self.hot) * cold_bytes(self.book.parts())
    }

    /// Where the codes of a row are, a byte being a value.
    pub(super) fn run(&self, id: u64) -> Run {
        let (place, parts) = (self.place(id), self.book.parts());
        let (first, len) = match place.checked_sub(self.hot) {
            None => (place * parts, parts),
            Some(among) => (self.hot_bytes() + among * cold_bytes(parts), cold_bytes(parts)),
        };
        Run { first: first as u64, len: len as u32 }
    }

    /// The codes of a row, one a byte.
    pub(super) fn codes<'a>(&self, id: u64, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.place(id) < self.hot {
            return bytes.into();
        }
        let code = |part: usize| {
            let (byte, shift) = (part * 6 / 8, part * 6 % 8);
            let next = bytes.get(byte + 1).copied().unwrap_or(0);
            ((u16::from_le_bytes([bytes[byte], next]) >> shift) & 63) as u8
        };
        (0..self.book.parts()).map(code).collect()
    }

    /// Nothing if there is no such table.
    pub(in crate::embedding) fn open(
        rows: usize,
        dim: usize,
        params: &[u64],
        segments: Segments<'_>,
    ) -> Result<Option<Self>> {
        let [hot, parts] = *params else { return Ok(None) };
        if hot > rows as u64 || parts > dim as u64 || rows.checked_mul(dim).is_none() {
            return Ok(None);
        }
        let remap = match segments.has("remap") {
            true => Some(segments.words("remap", rows)?),
            false => None,
        };
        if remap.as_ref().is_some_and(|remap| remap.iter().any(|&place| place as usize >= rows)) {
            return Ok(None);
        }
        let book = Codebook::open(dim, parts as usize, HOT, segments)?;
        Ok(Some(Self { rows, hot: hot as usize, book, remap }))
    }
}

impl Runs for TieredLayout {
    fn rows(&self) -> u64 {
        self.rows as u64
    }

    fn dim(&self) -> usize {
        self.book.dim()
    }

    fn dtype(&self) -> Dtype {
        Dtype::U8
    }

    fn parts(&self) -> Vec<ValuePart> {
        let parts = self.book.parts();
        vec![
            ValuePart { name: "hot".into(), width: parts, values: self.hot_bytes() as u64 },
            ValuePart { name: "cold".into(), width: cold_bytes(parts), values: self.cold_bytes() as u64 },
        ]
    }

    fn runs(&self, id: u64, out: &mut Vec<Run>) {
        out.push(self.run(id));
    }

    fn row_of(&self, id: u64, values: &[u8], out: &mut [f32]) {
        self.book.decode(&self.codes(id, values), out);
    }

    /// Without decoding: one look-up a part in a table made once for the query.
    fn products(&self, query: &[f32], rows: &[(u64, &[u8])], out: &mut [f32]) {
        let products = self.book.products(query);
        let rows = rows.iter().zip(out);
        rows.for_each(|(&(id, bytes), out)| *out = self.book.dot(&products, &self.codes(id, bytes)));
    }
}

/// Bytes of the codes of a row of 6 bits a part.
pub(super) fn cold_bytes(parts: usize) -> usize {
    (parts * 6).div_ceil(8)
}
