//! `nearline behaviors list`: what behaviour spaces a database has.

use serde_json::json;

use crate::db::DbArgs;
use crate::size::{self, Size};
use crate::table::Table;
use crate::{interrupt, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbArgs,
    /// Print JSON, a line for each space
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let database = args.db.open()?;
    let names = database.behavior_spaces();
    let mut table = Table::new(["space", "dim", "groups x bits", "epoch", "disk", "log", "snapshots"]);
    for name in &names {
        let space = database.behavior_space(name)?;
        let (stats, snapshots) = (space.stats(), space.snapshots()?);
        let (dim, groups, bits) = (stats.shape.dim(), stats.shape.groups(), stats.shape.bits());
        if args.json {
            print::json(&json!({
                "space": name, "dim": dim, "groups": groups, "bits": bits, "epoch": stats.epoch, "ttl_ms": stats.ttl_ms,
                "disk_bytes": stats.file_bytes, "log_bytes": stats.log_bytes, "snapshots": snapshots,
            }))?;
            continue;
        }
        table.row([
            name.clone(),
            dim.to_string(),
            format!("{groups} x {bits}"),
            stats.epoch.to_string(),
            Size(stats.file_bytes).to_string(),
            Size(stats.log_bytes).to_string(),
            size::count(snapshots.len() as u64),
        ]);
    }
    match (args.json, names.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => print::line(format!("{}: no behaviour spaces", args.db.db.display())),
        (false, false) => print::line(table),
    }
}
