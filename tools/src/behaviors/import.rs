//! `nearline behaviors import`: vectors of items, and a log of behaviours.

use std::path::{Path, PathBuf};

use nearline::{BehaviorSpace, SourceOffset};
use serde_json::json;

use super::items::ItemsArgs;
use super::log::{Form, Log};
use super::{CreateArgs, SpaceArgs};
use crate::{args, interrupt, print};

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
    #[command(flatten)]
    items: ItemsArgs,
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
    // Opened before anything is made.
    let log = args.log.as_ref().map(|path| Ok::<_, anyhow::Error>((path, Log::open(path, args.format)?)));
    let log = log.transpose()?;
    let made = args.to.open_or_create(&args.create)?;
    let mut done = Done::default();
    if let Err(error) = import(args, &made.space, log, &mut done) {
        // Batches that are there are gone on from; before the first, there is nothing to keep.
        if done.items + done.appended == 0 {
            made.undo();
        }
        return Err(error);
    }
    if args.json {
        return print::json(&json!(done));
    }
    print::line(format!(
        "{} items, {} behaviours; {} were there, {} lines had been read",
        done.items, done.appended, done.duplicates, done.passed_over
    ))
}

fn import(
    args: &Args,
    space: &BehaviorSpace,
    log: Option<(&PathBuf, Log)>,
    done: &mut Done,
) -> anyhow::Result<()> {
    args.items.put(space, &mut done.items)?;
    if let Some((path, log)) = log {
        append(args, space, path, log, done)?;
    }
    Ok(space.flush()?)
}

fn append(
    args: &Args,
    space: &BehaviorSpace,
    path: &Path,
    mut log: Log,
    done: &mut Done,
) -> anyhow::Result<()> {
    let place = log.place(path);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let source = args.source.clone().or(name).unwrap_or_default();
    let at = |offset| SourceOffset { source: source.clone(), partition: args.partition, offset };
    let known =
        space.sources().into_iter().find(|mark| (&mark.source, mark.partition) == (&source, args.partition));
    let known = known.map_or(0, |mark| mark.offset);
    let (mut batch, mut lines) = (Vec::with_capacity(args.batch), Vec::new());
    loop {
        let next = log.next()?;
        let is_last = next.is_none();
        if let Some((line, behavior)) = next {
            done.lines = line;
            if line <= known {
                done.passed_over += 1;
                continue;
            }
            if behavior.vector.is_none() {
                lines.push((behavior.item, line));
            }
            batch.push(behavior);
        }
        if batch.len() == args.batch || (is_last && !batch.is_empty()) {
            interrupt::check()?;
            let report = space.append_from(at(done.lines), std::mem::take(&mut batch));
            let report = report.map_err(|error| place.of(error, &lines))?;
            lines.clear();
            done.appended += report.appended;
            done.duplicates += report.duplicates;
        }
        if is_last {
            return Ok(());
        }
    }
}
