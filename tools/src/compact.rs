//! `nearline compact`: rewrite a collection without what died.

use serde_json::json;

use crate::db::CollectionArgs;
use crate::size::{self, Size};
use crate::{interrupt, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: CollectionArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // Killed at any moment, it leaves what was there before or what comes after.
    interrupt::at_once()?;
    let (_database, collection) = args.of.open()?;
    let before = collection.stats();
    collection.compact()?;
    collection.wait_idle()?;
    let after = collection.stats();
    if args.json {
        return print::json(&json!({
            "collection": collection.name(), "points": after.points, "disk_bytes_before": before.disk_bytes,
            "disk_bytes": after.disk_bytes, "segments_before": before.segments, "segments": after.segments,
        }));
    }
    let (name, points) = (collection.name(), size::count(after.points));
    let (from, to) = (Size(before.disk_bytes), Size(after.disk_bytes));
    let (many, few) = (before.segments, after.segments);
    print::line(format!(
        "collection {name:?}: {points} points, {from} in {many} segments before, {to} in {few} now"
    ))
}
