//! The items of a table, with their vectors.

use std::path::Path;

use super::column::Wanted;
use super::table::Table;
use crate::exit;

/// Rows read, and items given, together.
const ROWS: usize = 1000;

/// Items, some at a time.
pub(super) struct Items {
    table: Table,
    /// Whether there is a column of their numbers.
    has_ids: bool,
    /// The number of the first row, where there is none.
    first: u64,
    dim: usize,
}

impl Items {
    pub(super) fn open(path: &Path, first: Option<u64>, dim: usize) -> anyhow::Result<Self> {
        let mut table = Table::open(path, ROWS)?;
        if !table.ask("vector", Wanted::Floats)? {
            return Err(table.lacks("vector, and perhaps item"));
        }
        let has_ids = table.ask("item", Wanted::Number)?;
        if has_ids && first.is_some() {
            let path = path.display();
            return Err(exit::usage(format!(
                "{path} numbers its items in the column item; leave out --first-item"
            )));
        }
        Ok(Self { table, has_ids, first: first.unwrap_or(0), dim })
    }

    /// The next ones; `None` behind the last.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<(Vec<u64>, Vec<f32>)>> {
        let Some(batch) = self.table.next()? else { return Ok(None) };
        let (mut ids, mut vectors) = (Vec::new(), Vec::new());
        for row in 0..batch.rows {
            let number = batch.first + row as u64;
            let vector = batch.contents[0].floats(row);
            let vector = vector.map_err(|what| self.table.wrong_row(number, format!("vector: {what}")))?;
            if vector.len() != self.dim {
                let what = format!("vector: found {} elements; expected {}", vector.len(), self.dim);
                return Err(self.table.wrong_row(number, what));
            }
            vectors.extend_from_slice(vector);
            let id = match self.has_ids {
                true => batch.contents[1].number(row).map_err(|what| format!("item: {what}")),
                false => {
                    self.first.checked_add(number - 1).ok_or_else(|| "its number is too large".to_owned())
                }
            };
            ids.push(id.map_err(|what| self.table.wrong_row(number, what))?);
        }
        Ok(Some((ids, vectors)))
    }
}
