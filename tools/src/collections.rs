//! `nearline collections`: what collections a database has.

use nearline::{Collection, Database, LiveTierState, Stats};
use serde_json::{Value, json};

use crate::db::DbArgs;
use crate::size::{self, Size};
use crate::table::Table;
use crate::{interrupt, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbArgs,
    /// Print JSON, a line for each collection
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let database = args.db.open()?;
    let mut table =
        Table::new(["collection", "points", "vectors", "segments", "dead", "disk", "log", "snapshots"]);
    for name in database.collections() {
        let collection = database.collection(&name)?;
        if args.json {
            print::json(&document(&database, &collection)?)?;
            continue;
        }
        let stats = collection.stats();
        table.row([
            name,
            size::count(stats.points),
            vectors(&collection),
            size::count(stats.segments),
            size::count(stats.dead_points),
            Size(stats.disk_bytes).to_string(),
            Size(stats.wal_bytes).to_string(),
            size::count(collection.snapshots()?.len() as u64),
        ]);
    }
    match (args.json, database.collections().is_empty()) {
        (true, _) => Ok(()),
        (false, true) => {
            print::line(format!("{}: no collections{}", args.db.db.display(), others(&database)))
        }
        (false, false) => print::line(table),
    }
}

/// What else is in a database, and how it is listed.
fn others(database: &Database) -> String {
    let kinds = [
        (database.embedding_tables().len(), "embedding tables (nearline table list)"),
        (database.behavior_spaces().len(), "behaviour spaces (nearline behaviors list)"),
    ];
    let some = kinds.iter().filter(|(count, _)| *count > 0);
    let some: Vec<String> = some.map(|(count, kind)| format!("{count} {kind}")).collect();
    if some.is_empty() { String::new() } else { format!("; {}", some.join(" and ")) }
}

/// What vectors its points have, in short.
fn vectors(collection: &Collection) -> String {
    let shapes = collection.schema().vectors().map(|(name, config)| {
        let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
        format!("{name}{} x {} {}", config.dim, config.element, config.metric.name())
    });
    let shapes: Vec<String> = shapes.collect();
    if shapes.is_empty() { "none".to_owned() } else { shapes.join(", ") }
}

fn document(database: &Database, collection: &Collection) -> anyhow::Result<Value> {
    let name = collection.name();
    let aliases = database.aliases();
    let aliases: Vec<&String> =
        aliases.iter().filter(|(_, of)| **of == name).map(|(alias, _)| alias).collect();
    let vectors = collection.schema().vectors().map(|(name, config)| {
        json!({
            "name": name, "dim": config.dim, "element": config.element.name(), "metric": config.metric.name(),
        })
    });
    Ok(json!({
        "collection": name, "aliases": aliases, "vectors": vectors.collect::<Vec<_>>(),
        "snapshots": collection.snapshots()?, "stats": stats(&collection.stats()),
    }))
}

fn stats(stats: &Stats) -> Value {
    json!({
        "points": stats.points, "points_in_memory": stats.points_in_memory, "delta_bytes": stats.delta_bytes,
        "segments": stats.segments, "dead_points": stats.dead_points, "disk_bytes": stats.disk_bytes,
        "wal_bytes": stats.wal_bytes, "ram_bytes": stats.ram_bytes, "lsn": stats.lsn, "flushed_lsn": stats.flushed_lsn,
        "live_tier": live_tier(&stats.live_tier),
    })
}

fn live_tier(state: &LiveTierState) -> String {
    match state {
        LiveTierState::Unused => "unused".to_owned(),
        LiveTierState::Building => "building".to_owned(),
        LiveTierState::Serving { entries } => format!("serving, {entries} entries"),
        LiveTierState::Off { why } => format!("off: {why}"),
        other => format!("{other:?}"),
    }
}
