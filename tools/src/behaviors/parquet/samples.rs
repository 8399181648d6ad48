//! The samples of a table, as LongCTR has them.

use std::path::Path;

use super::super::samples::Sample;
use super::column::Wanted;
use super::table::Table;

const ROWS: usize = 1000;

/// The user and the item a sample asks about, and how many of the user's first behaviours it knows of.
const COLUMNS: [&str; 3] = ["user_index", "item_index", "seq_len"];

/// Samples by user, in the order of the rows.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<(u64, Sample)>> {
    let mut table = Table::open(path, ROWS)?;
    for name in COLUMNS {
        if !table.ask(name, Wanted::Number)? {
            return Err(table.lacks(&COLUMNS.join(", ")));
        }
    }
    let mut samples = Vec::new();
    while let Some(batch) = table.next()? {
        for at in 0..batch.rows {
            let row = batch.first + at as u64;
            let number = |column: usize| {
                let number = batch.contents[column].number::<u64>(at);
                number.map_err(|what| table.wrong_row(row, format!("{}: {what}", COLUMNS[column])))
            };
            samples.push((number(0)?, Sample { row, item: number(1)?, len: number(2)? }));
        }
    }
    Ok(samples)
}
