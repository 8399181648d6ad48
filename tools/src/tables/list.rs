//! `nearline table list`: what embedding tables a database has.

use nearline::Database;
use serde_json::json;

use crate::interrupt;
use crate::listing::{Args, Figures};
use crate::size::{self, Size};

const HEAD: [&str; 8] = ["table", "method", "rows", "dim", "version", "in memory", "disk", "log"];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let database = args.db.open()?;
    args.list("embedding tables", HEAD, &database.embedding_tables(), |name| figures(&database, name))
}

fn figures(database: &Database, name: &str) -> anyhow::Result<Figures<8>> {
    let stats = database.embedding_table(name)?.stats()?;
    let method = stats.method.name();
    let members = json!({
        "method": method, "rows": stats.rows, "dim": stats.dim, "version": stats.version,
        "resident_rows": stats.resident_rows, "disk_bytes": stats.file_bytes, "log_bytes": stats.log_bytes,
    });
    let cells = [
        name.to_owned(),
        method.to_owned(),
        size::count(stats.rows),
        stats.dim.to_string(),
        stats.version.to_string(),
        size::count(stats.resident_rows),
        Size(stats.file_bytes).to_string(),
        Size(stats.log_bytes).to_string(),
    ];
    Ok(Figures { members, cells })
}
