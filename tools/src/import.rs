//! `nearline import`: points from files of vectors, ids and payloads into a collection.
//!
//! A point that is there already, just as the files have it, is passed over. So an import that was interrupted goes on
//! by being run again, whatever happened in between, and nothing needs to be remembered.

mod lines;
mod offline;
mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use nearline::{Collection, Database, Point, Schema, VectorConfig};
use serde_json::json;

pub(crate) use self::lines::Lines;
use self::source::{Column, Ids, Incoming, Source};
use crate::db::CollectionArgs;
use crate::exit::{self, Exit};
use crate::exported::Exported;
use crate::progress::{Mode, Reporter};
use crate::{args, interrupt, print, size};

#[derive(clap::Args)]
#[command(
    after_help = "A new or empty collection of many vectors is built as an index is, and is there once that is done. Otherwise points are \
    written in batches, durably, in the order of the files. Interrupted, or stopped by a bad \
    line? Run the same command again: points that are there already, just as the files have them, are passed over. Of \
    other points that are there, what the files say is replaced, and what they do not say stays: several runs can give \
    points several vectors. A batch with a mistake in it is not written."
)]
pub(crate) struct Args {
    #[command(flatten)]
    to: CollectionArgs,
    /// Vectors: fvecs, bvecs, fbin, f16bin, u8bin, i8bin or npy, each also with .gz
    #[arg(long, required_unless_present_any = ["payloads", "from"])]
    vectors: Option<PathBuf>,
    /// What these vectors are called; the unnamed ones unless told otherwise
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// The id of each point, if it is not the number of its row, from 0: ibin, i64bin, ivecs, npy, or txt with a number or
    /// UUID a line
    #[arg(long)]
    ids: Option<PathBuf>,
    /// The payload of each point: a JSON object a line
    #[arg(long)]
    payloads: Option<PathBuf>,
    /// A folder that `nearline export` wrote, instead of the files
    #[arg(long, conflicts_with_all = ["vectors", "name", "ids", "payloads", "metric"])]
    from: Option<PathBuf>,
    /// How distances are measured: needed to make a collection with vectors
    #[arg(long, value_enum)]
    metric: Option<args::Metric>,
    /// Make the database and the collection if they are not there
    #[arg(long)]
    create: bool,
    /// Whether a new or empty collection of one vector a point is made by the builder of indexes: faster, and its lists are there at
    /// once. Auto: from 20,000 vectors on
    #[arg(long, value_enum, default_value_t)]
    offline: Offline,
    /// Points written together at most
    #[arg(long, default_value_t = 1000, value_parser = args::positive)]
    batch: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t)]
    progress: Mode,
}

/// When a collection is made by the builder of indexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Offline {
    /// When it pays
    #[default]
    Auto,
    /// Whenever it can be
    Always,
    /// Never: points are written as they come
    Never,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::gently()?;
    let started = Instant::now();
    let exported = args.from.as_deref().map(Exported::read).transpose()?;
    let mut source = open_source(args, exported.as_ref())?;
    let wanted = schema(args, exported.as_ref(), &source)?;
    let database = args.to.db.open_or_create(args.create)?;
    if let Some(schema) = wanted.as_ref().filter(|_| args.create && !is_there(args, &database))
        && offline::is_wanted(args, &source)
    {
        let (collection, counts) = offline::create(args, &database, schema, exported.as_ref())?;
        return show(args, &collection, &counts, started.elapsed().as_secs_f64());
    }
    let mut collection = open_collection(args, &database, wanted.as_ref())?;
    check_schema(args, &collection, wanted.as_ref(), &mut source)?;
    let is_fillable = collection.schema().vectors().count() == 1
        && collection.count(None)? == 0
        // They are the collection's, and another cannot be given them.
        && collection.kept_questions() == 0;
    let counts = if is_fillable && offline::is_wanted(args, &source) {
        let counts;
        (collection, counts) = offline::fill(args, &database, &collection, exported.as_ref())?;
        counts
    } else {
        let counts = write(args, &collection, &mut source)?;
        collection.flush()?;
        counts
    };
    show(args, &collection, &counts, started.elapsed().as_secs_f64())
}

fn open_source(args: &Args, exported: Option<&Exported>) -> anyhow::Result<Source> {
    let (Some(folder), Some(exported)) = (&args.from, exported) else {
        let ids = Ids::open(args.ids.as_deref())?;
        let payloads = args.payloads.as_deref().map(Lines::open).transpose()?;
        let column = args.vectors.as_deref().map(|path| Column::open(&args.name, path, None)).transpose()?;
        return Source::new(ids, payloads, column.into_iter().collect(), None);
    };
    let ids = Ids::open(Some(&folder.join(&exported.ids)))?;
    let payloads = Lines::open(&folder.join(&exported.payloads))?;
    let mut columns = Vec::new();
    for vectors in &exported.vectors {
        let Some(file) = &vectors.file else { continue };
        let only = vectors.ids.as_ref().map(|ids| folder.join(ids));
        columns.push(Column::open(&vectors.name, &folder.join(file), only.as_deref())?);
    }
    Source::new(ids, Some(payloads), columns, Some(exported.points))
}

/// What the collection has to be like, as far as the arguments say.
fn schema(args: &Args, exported: Option<&Exported>, source: &Source) -> anyhow::Result<Option<Schema>> {
    if let (Some(folder), Some(exported)) = (&args.from, exported) {
        return Ok(Some(exported.schema(folder)?));
    }
    let Some(column) = source.columns.first() else { return Ok(args.create.then(Schema::new)) };
    let Some(metric) = args.metric else { return Ok(None) };
    let config = VectorConfig::new(column.file.dim(), metric.into());
    let config = config.element(crate::source::element(column.file.element()));
    Ok(Some(Schema::new().vector(&*column.name, config)))
}

fn is_there(args: &Args, database: &Database) -> bool {
    let name = &args.to.collection;
    database.collections().contains(name) || database.aliases().contains_key(name)
}

fn open_collection(args: &Args, database: &Database, wanted: Option<&Schema>) -> anyhow::Result<Collection> {
    let name = &args.to.collection;
    match (is_there(args, database), args.create, wanted) {
        (true, ..) => Ok(database.collection(name)?),
        (false, true, Some(schema)) => Ok(database.create_collection(name, schema.clone())?),
        (false, true, None) => {
            Err(exit::usage(format!("collection {name:?}: say --metric, which a new collection needs")))
        }
        (false, false, _) => Err(exit::bad_input(format!(
            "{}: there is no collection {name:?}; --create makes one",
            args.to.db.db.display()
        ))),
    }
}

/// Fails unless the files fit the collection.
fn check_schema(
    args: &Args,
    collection: &Collection,
    wanted: Option<&Schema>,
    source: &mut Source,
) -> anyhow::Result<()> {
    let known: BTreeMap<&str, &VectorConfig> = collection.schema().vectors().collect();
    let names = || known.keys().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    for column in &mut source.columns {
        let (name, path) = (&column.name, column.file.path().display());
        let Some(config) = known.get(&**name) else {
            let expected = if known.is_empty() { "no vectors at all".to_owned() } else { names() };
            return Err(exit::bad_input(format!(
                "{path}: found vectors named {name:?}; expected one of {expected}, as the collection has"
            )));
        };
        column.wants_direction = config.metric == nearline::Metric::Cosine;
        let of = format!("collection {:?}", args.to.collection);
        crate::source::check_shape(&column.file, config.element.name(), config.dim, &of)?;
    }
    for (name, config) in wanted.iter().flat_map(|wanted| wanted.vectors()) {
        let found = config.metric.name();
        let expected = known.get(name).map_or("no such vectors", |config| config.metric.name());
        if found != expected {
            return Err(exit::bad_input(format!(
                "vectors {name:?}: found metric {found}; expected {expected}, as the collection has"
            )));
        }
    }
    Ok(())
}

/// What an import did.
#[derive(Default)]
struct Counts {
    read: u64,
    written: u64,
}

fn write(args: &Args, collection: &Collection, source: &mut Source) -> anyhow::Result<Counts> {
    let reporter = Reporter::new(args.progress);
    reporter.start("import", 0, source.total.unwrap_or(0));
    let mut counts = Counts::default();
    loop {
        let batch = source.batch(args.batch)?;
        if batch.is_empty() {
            break;
        }
        counts.read += batch.len() as u64;
        let changed = changed(collection, batch)?;
        if !changed.is_empty() {
            counts.written += collection.upsert(changed)?.points;
        }
        reporter.set(counts.read);
        if interrupt::requested() {
            let (name, read) = (&args.to.collection, size::count(counts.read));
            let message =
                format!("collection {name:?}: interrupted after {read} points: the same command goes on");
            return Err(exit::fail(Exit::Interrupted, message));
        }
    }
    reporter.finish();
    Ok(counts)
}

/// The points of a batch that are not there yet as they come in.
fn changed(collection: &Collection, batch: Vec<Incoming>) -> anyhow::Result<Vec<Point>> {
    let ids: std::collections::BTreeSet<_> = batch.iter().map(|point| point.id).collect();
    let there = collection.get(ids)?;
    let mut there: BTreeMap<_, _> = there.into_iter().map(|point| (point.id, point)).collect();
    let mut changed = Vec::new();
    for incoming in batch {
        let old = there.get(&incoming.id);
        let mut point = old.cloned().unwrap_or_else(|| Point::new(incoming.id));
        point.vectors.extend(incoming.vectors);
        point.payload = incoming.payload.unwrap_or(point.payload);
        if old != Some(&point) {
            // An id may come again in the same batch.
            there.insert(point.id, point.clone());
            changed.push(point);
        }
    }
    Ok(changed)
}

fn show(args: &Args, collection: &Collection, counts: &Counts, seconds: f64) -> anyhow::Result<()> {
    let points = collection.count(None)?;
    let unchanged = counts.read - counts.written.min(counts.read);
    if args.json {
        return print::json(&json!({
            "collection": collection.name(), "read": counts.read, "written": counts.written, "unchanged": unchanged,
            "points": points, "seconds": seconds,
        }));
    }
    let (read, written) = (size::count(counts.read), size::count(counts.written));
    print::line(format!(
        "{read} points read, {written} written, {} as they were, in {}",
        size::count(unchanged),
        size::seconds(seconds)
    ))?;
    print::line(format!("collection {:?} has {} points", collection.name(), size::count(points)))
}
