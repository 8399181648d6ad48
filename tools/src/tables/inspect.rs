//! `nearline table inspect`: what a table is and what it costs.

use super::TableArgs;
use crate::size::{self, Size};
use crate::table::Table;
use crate::{interrupt, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let (_database, table) = args.table.open()?;
    let stats = table.stats()?;
    let total: u64 = stats.segments.iter().map(|(_, bytes)| bytes).sum();
    let plain = stats.rows * stats.dim as u64 * 4;
    if args.json {
        let segments: serde_json::Map<_, _> =
            stats.segments.iter().map(|(name, bytes)| (name.clone(), (*bytes).into())).collect();
        return print::json(&serde_json::json!({
            "method": format!("{:?}", stats.method), "params": stats.params, "rows": stats.rows, "dim": stats.dim,
            "version": stats.version, "segments": segments, "bytes": total, "plain_bytes": plain,
            "resident_rows": stats.resident_rows, "changed_rows": stats.changed_rows,
            "file_bytes": stats.file_bytes, "log_bytes": stats.log_bytes,
        }));
    }
    print::line(format!(
        "{}: {:?} {:?}, {} rows of {}, {} in memory, version {}",
        args.table.table,
        stats.method,
        stats.params,
        size::count(stats.rows),
        stats.dim,
        size::count(stats.resident_rows),
        stats.version,
    ))?;
    let mut rows = Table::new(["segment", "bytes"]);
    for (name, bytes) in &stats.segments {
        rows.row([name.clone(), Size(*bytes).to_string()]);
    }
    rows.row(["all".to_owned(), Size(total).to_string()]);
    rows.row(["as f32".to_owned(), Size(plain).to_string()]);
    rows.row(["file".to_owned(), Size(stats.file_bytes).to_string()]);
    rows.row(["log".to_owned(), Size(stats.log_bytes).to_string()]);
    print::line(rows)
}
