//! An import into a new or empty collection, through the builder of indexes: many vectors become lists at once.
//!
//! The index is built in a folder of its own beside the collections, which goes on where an interrupted import ended. Then it
//! becomes the collection in one step; one that is there already, and empty, by way of a draft that takes its place.

use std::fs;
use std::path::{Path, PathBuf};

use nearline::{BuildOptions, Collection, Database, FromIndex, IndexError, Schema};

use super::source::{Ids, Source};
use super::{Args, Counts, Lines, Offline, open_source};
use crate::exit::{self, Exit};
use crate::exported::Exported;
use crate::progress::Reporter;
use crate::source::Vectors;
use crate::{args, build, interrupt};

/// Vectors from which on it pays: with fewer, a collection compares them one by one anyway.
const ROWS_MIN: u64 = 20_000;

/// Whether an import into a collection without points goes this way.
pub(super) fn is_wanted(args: &Args, source: &Source) -> bool {
    let [column] = &source.columns[..] else { return false };
    let enough = match args.offline {
        Offline::Auto => column.file.count() >= ROWS_MIN,
        Offline::Always => column.file.count() > 0,
        Offline::Never => false,
    };
    enough && column.is_dense()
}

/// Makes the collection. Mistakes in ids and payloads are found before anything is built.
pub(super) fn create(
    args: &Args,
    database: &Database,
    schema: &Schema,
    exported: Option<&Exported>,
) -> anyhow::Result<(Collection, Counts)> {
    interruptible(args, || make(args, database, &args.to.collection, schema, exported))
}

/// Fills a collection that has no points: another takes its place, with its name, aliases, snapshots, metadata and field indexes.
pub(super) fn fill(
    args: &Args,
    database: &Database,
    empty: &Collection,
    exported: Option<&Exported>,
) -> anyhow::Result<(Collection, Counts)> {
    let name = empty.name();
    let draft = format!("{}.import draft", name.chars().take(48).collect::<String>());
    if database.collections().contains(&draft) {
        // Of an import that ended just before its last step.
        database.drop_collection(&draft)?;
    }
    interruptible(args, || {
        let (filled, counts) = make(args, database, &draft, empty.schema(), exported)?;
        let metadata = empty.metadata()?;
        filled.update_metadata(|to| *to = metadata)?;
        for index in empty.field_indexes() {
            filled.create_field_index(&index.path, index.field_type)?;
        }
        database.replace_collection(&name, &draft)?;
        Ok((filled, counts))
    })
    .inspect_err(|_| {
        // What cannot be removed now is by the next import.
        let _ = database.drop_collection(&draft);
    })
}

fn interruptible<T>(args: &Args, make: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    make().map_err(|error| match interrupt::requested() {
        true => {
            let name = &args.to.collection;
            exit::fail(
                Exit::Interrupted,
                format!("collection {name:?}: interrupted: the same command goes on"),
            )
        }
        false => error,
    })
}

fn make(
    args: &Args,
    database: &Database,
    collection: &str,
    schema: &Schema,
    exported: Option<&Exported>,
) -> anyhow::Result<(Collection, Counts)> {
    let source = open_source(args, exported)?;
    let column = &source.columns[0];
    let (name, total) = (column.name.clone(), column.file.count());
    check_points(args, points(args, exported, total)?)?;
    let folder = folder(args);
    build_in(&folder, args, schema, &name, &Vectors::open(column.file.path())?)?;
    let reporter = Reporter::new(args.progress);
    reporter.start("points", 0, total);
    let mut points = points(args, exported, total)?;
    let mut next = || -> anyhow::Result<_> {
        interrupt::check()?;
        Ok(points.batch(1)?.pop().map(|point| (point.id, point.payload.unwrap_or_default())))
    };
    let index = FromIndex::new(&folder)
        .vector_name(name)
        .points(std::iter::from_fn(|| next().transpose()))
        .progress(|points| reporter.set(points));
    let collection = database.create_from_index(collection, index)?;
    reporter.finish();
    // What cannot be removed now is of no use, and no harm.
    let _ = fs::remove_dir_all(&folder);
    Ok((collection, Counts { read: total, written: total }))
}

/// Where the index is built.
fn folder(args: &Args) -> PathBuf {
    args.to.db.db.join(format!("import.{}", args.to.collection))
}

/// Ids and payloads without the vectors.
fn points(args: &Args, exported: Option<&Exported>, total: u64) -> anyhow::Result<Source> {
    let (ids, payloads) = match (&args.from, exported) {
        (Some(folder), Some(exported)) => (
            Ids::open(Some(&folder.join(&exported.ids)))?,
            Some(Lines::open(&folder.join(&exported.payloads))?),
        ),
        _ => (Ids::open(args.ids.as_deref())?, args.payloads.as_deref().map(Lines::open).transpose()?),
    };
    Source::new(ids, payloads, Vec::new(), Some(total))
}

fn check_points(args: &Args, mut points: Source) -> anyhow::Result<()> {
    let reporter = Reporter::new(args.progress);
    reporter.start("check", 0, points.total.unwrap_or(0));
    let mut checked = 0;
    loop {
        let batch = points.batch(args.batch)?;
        if batch.is_empty() {
            reporter.finish();
            return Ok(());
        }
        interrupt::check()?;
        checked += batch.len() as u64;
        reporter.set(checked);
    }
}

fn build_in(
    folder: &Path,
    args: &Args,
    schema: &Schema,
    name: &str,
    vectors: &Vectors,
) -> anyhow::Result<()> {
    let Some((_, config)) = schema.vectors().find(|(known, _)| *known == name) else {
        return Err(exit::usage(format!("vectors {name:?} are not those of the collection")));
    };
    let options = BuildOptions {
        metric: config.metric,
        memory_bytes: args.to.db.memory.0,
        resume: true,
        force: true,
        io: args::io_mode(args.to.db.io)?,
        ..BuildOptions::default()
    };
    let plan = nearline::plan(vectors, &options)?;
    build::check_room(folder, &plan, true)?;
    let build = || {
        let reporter = Reporter::new(args.progress);
        let built = nearline::build(folder, vectors, &options, &reporter);
        reporter.finish();
        built
    };
    let built = build().or_else(|error| match error {
        // Of an import of other files.
        IndexError::Occupied { .. } => {
            fs::remove_dir_all(folder).map_err(|error| IndexError::Source(Box::new(error)))?;
            build()
        }
        error => Err(error),
    });
    built?;
    Ok(())
}
