//! `nearline snapshot`: keep a collection as it is, under a name.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use nearline::OpenError;
use nearline_datasets::DatasetError;
use serde_json::json;

use crate::db::CollectionArgs;
use crate::exit::{self, Exit};
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
        /// The archive; it may be a pipe, such as /dev/stdin
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
            restore_storage(from, db)?;
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

/// Makes a database of an archive. What is wrong with one is said with its name, and never with its bytes.
fn restore_storage(from: &Path, db: &Path) -> anyhow::Result<()> {
    let file = from.display();
    let about = from.metadata().map_err(|source| failed(from, "open", source))?;
    // What comes through a pipe is there once.
    if about.is_file() {
        check_head(from)?;
    }
    nearline_server::restore_storage(from, db).map_err(|error| match &error {
        OpenError::Exists { .. } => error.into(),
        OpenError::Source(cause) => {
            // Ours are of this kind; others quote what they read.
            let cause = cause.downcast_ref::<io::Error>();
            let cause = cause.filter(|cause| cause.kind() == io::ErrorKind::InvalidData);
            let cause = cause.map_or_else(
                || "its entries make no sense, or it is cut short".to_owned(),
                ToString::to_string,
            );
            exit::fail(Exit::Corrupt, format!("{file}: damaged archive: {cause}: download it again"))
        }
        _ => {
            let exit = exit::code_of(&error);
            exit::fail(exit, format!("{file}: cannot be restored: {error}"))
        }
    })
}

/// Refuses a file that does not begin as an archive does.
fn check_head(from: &Path) -> anyhow::Result<()> {
    let opened = File::open(from).map_err(|source| failed(from, "open", source))?;
    let mut head = Vec::new();
    opened.take(TAR_BLOCK).read_to_end(&mut head).map_err(|source| failed(from, "read", source))?;
    if head.len() as u64 == TAR_BLOCK && head[TAR_MAGIC..].starts_with(b"ustar") {
        return Ok(());
    }
    let file = from.display();
    Err(exit::fail(
        Exit::Corrupt,
        format!(
            "{file}: no archive; expected the tar file of a snapshot, as GET /snapshots/NAME answers: download it again"
        ),
    ))
}

fn failed(file: &Path, action: &'static str, source: io::Error) -> DatasetError {
    DatasetError::Io { file: file.to_owned(), action, source }
}

/// Bytes of the head of a file in a tar archive, and where in it the name of the format is.
const TAR_BLOCK: u64 = 512;
const TAR_MAGIC: usize = 257;
