//! Tables on a terminal.

use std::collections::BTreeMap;
use std::fmt;

/// Columns as wide as their widest cell; the first is aligned left, the others right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// Of lines, by their numbers, a text in place of all cells but the first.
    texts: BTreeMap<usize, String>,
}

impl Table {
    /// A table with a line of headings.
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned).to_vec()], texts: BTreeMap::new() }
    }

    /// Adds a line.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// Adds a line of a first cell and a text, which makes no column wider.
    pub(crate) fn text(&mut self, first: String, text: String) {
        self.texts.insert(self.rows.len(), text);
        self.rows.push(vec![first]);
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let chars =
            |row: &Vec<String>, column| row.get(column).map_or(0, |cell: &String| cell.chars().count());
        let width = |column| self.rows.iter().map(|row| chars(row, column)).max().unwrap_or(0);
        (0..columns).map(width).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for (i, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            let line = cells.chain(self.texts.get(&i).cloned()).collect::<Vec<_>>().join("  ");
            write!(f, "{}{}", if i > 0 { "\n" } else { "" }, line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["", "a", "long"]);
        table.row(["first".into(), "1,000".into(), "2".into()]);
        table.row(["b".into(), "3".into(), String::new()]);
        table.text("c".into(), "a text, longer than all".into());
        assert_eq!(
            table.to_string(),
            "           a  long\nfirst  1,000     2\nb          3\nc      a text, longer than all"
        );
    }
}
