//! `nearline table list`: what embedding tables a database has.

use serde_json::json;

use crate::db::DbArgs;
use crate::size::{self, Size};
use crate::table::Table;
use crate::{interrupt, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbArgs,
    /// Print JSON, a line for each table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let database = args.db.open()?;
    let names = database.embedding_tables();
    let mut table = Table::new(["table", "method", "rows", "dim", "version", "in memory", "disk", "log"]);
    for name in &names {
        let stats = database.embedding_table(name)?.stats()?;
        let method = stats.method.name();
        if args.json {
            print::json(&json!({
                "table": name, "method": method, "rows": stats.rows, "dim": stats.dim, "version": stats.version,
                "resident_rows": stats.resident_rows, "disk_bytes": stats.file_bytes, "log_bytes": stats.log_bytes,
            }))?;
            continue;
        }
        table.row([
            name.clone(),
            method.to_owned(),
            size::count(stats.rows),
            stats.dim.to_string(),
            stats.version.to_string(),
            size::count(stats.resident_rows),
            Size(stats.file_bytes).to_string(),
            Size(stats.log_bytes).to_string(),
        ]);
    }
    match (args.json, names.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => print::line(format!("{}: no embedding tables", args.db.db.display())),
        (false, false) => print::line(table),
    }
}
