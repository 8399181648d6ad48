//! Vectors by row, asked for in order of the rows.

use super::Flat;
use crate::error::Result;
use crate::vector::RowId;

/// Gives the vectors of rows; an extent that rows asked for one after another lie in is read and checked once.
#[derive(Debug)]
pub struct FlatWalk<'a> {
    flat: &'a Flat,
    /// Where the extent lies that was read last, its rows, and their vectors one after another.
    offset: u64,
    rows: Vec<u32>,
    vectors: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'a> FlatWalk<'a> {
    pub(super) fn new(flat: &'a Flat) -> Self {
        Self { flat, offset: 0, rows: Vec::new(), vectors: Vec::new(), buffer: Vec::new() }
    }

    /// The vector of a row, if it is there.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn get(&mut self, row: RowId) -> Result<Option<&[u8]>> {
        let Some((range, at)) = self.flat.place_of(row) else { return Ok(None) };
        // Extents lie behind the file's header page: none is at 0.
        if range.offset != self.offset {
            self.offset = 0;
            let page = self.flat.page(range, &mut self.buffer)?;
            self.rows.clear();
            self.vectors.clear();
            for (row, vector) in (0..page.len()).filter_map(|at| page.get(at)) {
                self.rows.push(row);
                self.vectors.extend_from_slice(vector);
            }
            self.offset = range.offset;
        }
        let found = self.rows.get(at).copied();
        if found != Some(row.0) {
            return Err(self.flat.other_row(range.offset, found, row));
        }
        let bytes = self.flat.layout.shape.row_bytes();
        Ok(Some(&self.vectors[at * bytes..][..bytes]))
    }
}
