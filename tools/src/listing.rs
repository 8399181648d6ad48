//! Lists of what a database has; one that cannot be read does not hide the others.

use serde_json::{Value, json};

use crate::db::DbArgs;
use crate::table::Table;
use crate::{exit, print};

/// How things of one kind are listed.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) db: DbArgs,
    /// Print JSON, a line for each
    #[arg(long)]
    json: bool,
}

/// What is said of one of them: the members of its JSON beside its name, and its line with its name in front.
pub(crate) struct Figures<const N: usize> {
    pub(crate) members: Value,
    pub(crate) cells: [String; N],
}

impl Args {
    /// Prints a line for each name. `head` are the columns, of which the first is also the member of the name in JSON; `kind` is
    /// what all of them are called. Of those that cannot be read the error is printed, and the first one's exit code is that of
    /// the command.
    pub(crate) fn list<const N: usize>(
        &self,
        kind: &str,
        head: [&str; N],
        names: &[String],
        figures: impl Fn(&str) -> anyhow::Result<Figures<N>>,
    ) -> anyhow::Result<()> {
        let (mut table, mut failed) = (Table::new(head), Vec::new());
        for name in names {
            let found = figures(name);
            if let Err(error) = &found {
                failed.push(exit::code(error));
            }
            match (self.json, found) {
                (true, found) => print::json(&document(head[0], name, found))?,
                (false, Ok(figures)) => table.row(figures.cells),
                (false, Err(error)) => table.text(name.clone(), exit::one_line(&error)),
            }
        }
        let db = self.db.db.display();
        match (self.json, names.is_empty()) {
            (true, _) => {}
            (false, true) => print::line(format!("{db}: no {kind}"))?,
            (false, false) => print::line(table)?,
        }
        let Some(&code) = failed.first() else { return Ok(()) };
        let (found, all) = (failed.len(), names.len());
        Err(exit::fail(
            code,
            format!("{db}: {found} of {all} {kind} cannot be read: restore or drop what the list names"),
        ))
    }
}

/// The JSON of one: its name, and its figures or the error.
fn document<const N: usize>(key: &str, name: &str, found: anyhow::Result<Figures<N>>) -> Value {
    let members = match found {
        Ok(figures) => figures.members,
        Err(error) => json!({ "error": exit::one_line(&error) }),
    };
    let mut document = json!({ key: name });
    if let (Value::Object(all), Value::Object(members)) = (&mut document, members) {
        all.extend(members);
    }
    document
}
