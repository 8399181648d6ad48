//! `nearline behaviors import`: vectors of items, and a log of behaviours.

use std::path::{Path, PathBuf};

use nearline::{BehaviorSpace, SourceOffset};
use nearline_datasets::VectorFile;
use serde_json::json;

use super::log::{Form, Log};
use super::{CreateArgs, SpaceArgs, parquet};
use crate::{args, exit, interrupt, print};

#[derive(clap::Args)]
#[command(
    after_help = "Lines of a log are CSV with the columns user, event, time, item and perhaps vector, or JSON objects with these \
    members; or, if its name ends in .parquet, rows of a table with these columns, or with the list full_item_seq, which users have in \
    LongCTR. They are written in batches, durably, each with the number of its last line as its offset: interrupted, the same \
    command goes on behind the last batch that is there, and no behaviour counts twice. The source is called as the file is, unless \
    --source says otherwise; lines may be added to the end of a log, and not before."
)]
pub(crate) struct Args {
    #[command(flatten)]
    to: SpaceArgs,
    #[command(flatten)]
    create: CreateArgs,
    /// Vectors of items, numbered from 0: fvecs, fbin, f16bin, u8bin, npy and others, each also with .gz, or
    /// parquet with the column vector and perhaps item
    #[arg(long)]
    items: Option<PathBuf>,
    /// Number of the first of these items, where the file does not number them [default: 0]
    #[arg(long)]
    first_item: Option<u64>,
    /// The log
    #[arg(long, required_unless_present = "items")]
    log: Option<PathBuf>,
    /// How the log is written, if its name does not say
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// What the source is called [default: the name of the log]
    #[arg(long)]
    source: Option<String>,
    /// Its partition
    #[arg(long, default_value_t = 0)]
    partition: u32,
    /// Behaviours written together at most
    #[arg(long, default_value_t = 1000, value_parser = args::positive)]
    batch: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Default, serde::Serialize)]
struct Done {
    items: usize,
    appended: usize,
    duplicates: usize,
    /// Lines that had been read before.
    passed_over: u64,
    /// Lines read in all.
    lines: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::gently()?;
    let (_database, space) = args.to.open_or_create(&args.create)?;
    let mut done = Done::default();
    if let Some(items) = &args.items {
        put_items(&space, items, args.first_item, &mut done)?;
    }
    if let Some(log) = &args.log {
        append(args, &space, log, &mut done)?;
    }
    space.flush()?;
    if args.json {
        return print::json(&json!(done));
    }
    print::line(format!(
        "{} items, {} behaviours; {} were there, {} lines had been read",
        done.items, done.appended, done.duplicates, done.passed_over
    ))
}

fn put_items(space: &BehaviorSpace, path: &Path, first: Option<u64>, done: &mut Done) -> anyhow::Result<()> {
    const ROWS: usize = 1000;
    if parquet::is_named(path) {
        return put_table(space, path, first, done);
    }
    let file = VectorFile::open(path)?;
    let dim = space.shape().dim();
    if file.dim() != dim {
        let found = file.dim();
        return Err(exit::bad_input(format!(
            "{}: {found} elements a vector; expected {dim}",
            path.display()
        )));
    }
    let mut rows = file.rows(0)?;
    let (mut bytes, mut item) = (vec![0; ROWS * file.row_bytes()], first.unwrap_or(0));
    loop {
        interrupt::check()?;
        let read = rows.read(&mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        let mut vectors = vec![0.0; read * dim];
        file.element().widen(&bytes[..read * file.row_bytes()], &mut vectors);
        let items: Vec<u64> = (item..item + read as u64).collect();
        done.items += space.put_items(&items, &vectors)?.items;
        item += read as u64;
    }
}

fn put_table(space: &BehaviorSpace, path: &Path, first: Option<u64>, done: &mut Done) -> anyhow::Result<()> {
    for batch in parquet::items(path, first, space.shape().dim())? {
        interrupt::check()?;
        let (items, vectors) = batch?;
        done.items += space.put_items(&items, &vectors)?.items;
    }
    Ok(())
}

fn append(args: &Args, space: &BehaviorSpace, path: &Path, done: &mut Done) -> anyhow::Result<()> {
    let mut log = Log::open(path, args.format)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let source = args.source.clone().or(name).unwrap_or_default();
    let at = |offset| SourceOffset { source: source.clone(), partition: args.partition, offset };
    let known =
        space.sources().into_iter().find(|mark| (&mark.source, mark.partition) == (&source, args.partition));
    let known = known.map_or(0, |mark| mark.offset);
    let mut batch = Vec::with_capacity(args.batch);
    loop {
        let next = log.next()?;
        let is_last = next.is_none();
        if let Some((line, behavior)) = next {
            done.lines = line;
            if line <= known {
                done.passed_over += 1;
                continue;
            }
            batch.push(behavior);
        }
        if batch.len() == args.batch || (is_last && !batch.is_empty()) {
            interrupt::check()?;
            let report = space.append_from(at(done.lines), std::mem::take(&mut batch))?;
            done.appended += report.appended;
            done.duplicates += report.duplicates;
        }
        if is_last {
            return Ok(());
        }
    }
}
