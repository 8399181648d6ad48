//! The behaviours of a table: one a row, as a log has them, or a whole history a row, as LongCTR has them.

use std::path::Path;

use nearline::Behavior;

use super::column::Wanted;
use super::table::{Batch, Table};

/// Rows read together: few, for a row may be a long history.
const ROWS: usize = 64;

/// The list of items of a row that is a user, oldest first, in the tables of LongCTR.
const HISTORY: &str = "full_item_seq";
/// The number of this user; rows are numbered from 0 where there is none.
const USER: &str = "user_index";

/// What the rows of a table are.
#[derive(Clone, Copy)]
enum Layout {
    /// Behaviours. The last column is that of vectors, if there is one.
    Log { has_vectors: bool },
    /// Users. The last column is that of their numbers, if there is one.
    Histories { has_users: bool },
}

/// Behaviours, one by one.
pub(super) struct Rows {
    table: Table,
    layout: Layout,
    waiting: std::vec::IntoIter<Behavior>,
    number: u64,
}

impl Rows {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut table = Table::open(path, ROWS)?;
        let layout = if table.has(HISTORY) && !table.has("event") {
            table.ask(HISTORY, Wanted::Numbers)?;
            let has_users = table.ask(USER, Wanted::Number)?;
            if !has_users && ["user", "user_id"].iter().any(|name| table.has(name)) {
                return Err(table.lacks(&format!("{USER}, or none that may be the number of the user")));
            }
            Layout::Histories { has_users }
        } else {
            for (name, wanted) in [
                ("user", Wanted::Number),
                ("event", Wanted::Number),
                ("time", Wanted::Time),
                ("item", Wanted::Number),
            ] {
                if !table.ask(name, wanted)? {
                    return Err(table.lacks(&format!("user, event, time, item, or {HISTORY}")));
                }
            }
            Layout::Log { has_vectors: table.ask("vector", Wanted::Floats)? }
        };
        Ok(Self { table, layout, waiting: Vec::new().into_iter(), number: 0 })
    }

    /// The next one, with its number; `None` behind the last.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<(u64, Behavior)>> {
        loop {
            if let Some(behavior) = self.waiting.next() {
                self.number += 1;
                return Ok(Some((self.number, behavior)));
            }
            let Some(batch) = self.table.next()? else { return Ok(None) };
            let mut behaviors = Vec::new();
            for row in 0..batch.rows {
                let read = match self.layout {
                    Layout::Log { has_vectors } => {
                        event(&batch, row, has_vectors).map(|one| behaviors.push(one))
                    }
                    Layout::Histories { has_users } => history(&batch, row, has_users, &mut behaviors),
                };
                read.map_err(|what| self.table.wrong_row(batch.first + row as u64, what))?;
            }
            self.waiting = behaviors.into_iter();
        }
    }
}

/// The behaviour that a row is.
fn event(batch: &Batch, row: usize, has_vectors: bool) -> Result<Behavior, String> {
    let id = |column: usize, name: &str| number(batch, row, column, name);
    let floats = has_vectors.then(|| batch.contents[4].floats(row).map_err(|what| format!("vector: {what}")));
    let floats = floats.transpose()?;
    Ok(Behavior {
        user: id(0, "user")?,
        event: id(1, "event")?,
        time: number(batch, row, 2, "time")?,
        item: id(3, "item")?,
        vector: floats.filter(|floats| !floats.is_empty()).map(<[f32]>::to_vec),
    })
}

/// The behaviours of the user that a row is: their places are their events and their times.
fn history(batch: &Batch, row: usize, has_users: bool, into: &mut Vec<Behavior>) -> Result<(), String> {
    let user = match has_users {
        true => number(batch, row, 1, USER)?,
        false => batch.first - 1 + row as u64,
    };
    let items: Vec<u64> = batch.contents[0].numbers(row).map_err(|what| format!("{HISTORY}: {what}"))?;
    into.extend((0..).zip(items).map(|(place, item)| Behavior::new(user, place, place.cast_signed(), item)));
    Ok(())
}

fn number<T: TryFrom<i128>>(batch: &Batch, row: usize, column: usize, name: &str) -> Result<T, String> {
    batch.contents[column].number(row).map_err(|what| format!("{name}: {what}"))
}
