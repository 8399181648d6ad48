//! `nearline snapshot`: keep a collection as it is, under a name.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::db::CollectionArgs;
use crate::{interrupt, print, size};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Keep all points as they are now; it takes no space until they change
    Create(Named),
    /// Name all snapshots of a collection
    List {
        #[command(flatten)]
        of: CollectionArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Drop a snapshot
    Delete(Named),
    /// Make a database of the archive of a snapshot of all there was in another (GET /snapshots/NAME of its server)
    RestoreStorage {
        /// The archive
        #[arg(long)]
        from: PathBuf,
        /// Folder of the new database; there must be nothing
        #[arg(long)]
        db: PathBuf,
    },
    /// Make a new collection of a snapshot
    Restore {
        #[command(flatten)]
        named: Named,
        /// Name of the new collection
        #[arg(long = "as")]
        target: String,
    },
}

#[derive(clap::Args)]
struct Named {
    #[command(flatten)]
    of: CollectionArgs,
    /// Name of the snapshot
    #[arg(long)]
    name: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    match &args.action {
        Action::Create(Named { of, name }) => {
            let (_database, collection) = of.open()?;
            collection.snapshot(name)?;
            let points = size::count(collection.count(None)?);
            print::line(format!("snapshot {name:?} of {:?}: {points} points", collection.name()))
        }
        Action::List { of, json } => {
            let (_database, collection) = of.open()?;
            let snapshots = collection.snapshots()?;
            if *json {
                return print::json(&json!({ "collection": collection.name(), "snapshots": snapshots }));
            }
            snapshots.iter().try_for_each(print::line)
        }
        Action::Delete(Named { of, name }) => {
            let (_database, collection) = of.open()?;
            collection.drop_snapshot(name)?;
            print::line(format!("snapshot {name:?} of {:?}: dropped", collection.name()))
        }
        Action::RestoreStorage { from, db } => {
            nearline_server::restore_storage(from, db)?;
            print::line(format!("database {}: restored from {}", db.display(), from.display()))
        }
        Action::Restore { named: Named { of, name }, target } => {
            let database = of.db.open()?;
            let restored = database.restore_snapshot(&of.collection, name, target)?;
            let points = size::count(restored.count(None)?);
            print::line(format!("collection {target:?}: {points} points, as in snapshot {name:?}"))
        }
    }
}
