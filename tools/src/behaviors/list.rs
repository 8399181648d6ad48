//! `nearline behaviors list`: what behaviour spaces a database has.

use nearline::Database;
use serde_json::json;

use crate::interrupt;
use crate::listing::{Args, Figures};
use crate::size::{self, Size};

const HEAD: [&str; 7] = ["space", "dim", "groups x bits", "epoch", "disk", "log", "snapshots"];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let database = args.db.open()?;
    args.list("behaviour spaces", HEAD, &database.behavior_spaces(), |name| figures(&database, name))
}

fn figures(database: &Database, name: &str) -> anyhow::Result<Figures<7>> {
    let space = database.behavior_space(name)?;
    let (stats, snapshots) = (space.stats(), space.snapshots()?);
    let (dim, groups, bits) = (stats.shape.dim(), stats.shape.groups(), stats.shape.bits());
    let members = json!({
        "dim": dim, "groups": groups, "bits": bits, "epoch": stats.epoch, "ttl_ms": stats.ttl_ms,
        "disk_bytes": stats.file_bytes, "log_bytes": stats.log_bytes, "snapshots": snapshots,
    });
    let cells = [
        name.to_owned(),
        dim.to_string(),
        format!("{groups} x {bits}"),
        stats.epoch.to_string(),
        Size(stats.file_bytes).to_string(),
        Size(stats.log_bytes).to_string(),
        size::count(snapshots.len() as u64),
    ];
    Ok(Figures { members, cells })
}
