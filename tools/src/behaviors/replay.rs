//! `nearline behaviors replay`: a log written into a space, and what the space would have answered on the way.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use nearline::{Behavior, BehaviorSpace, Candidates};
use serde_json::json;

use super::log::{Form, Log};
use super::{CreateArgs, SpaceArgs};
use crate::{args, interrupt, print};

#[derive(clap::Args)]
#[command(
    after_help = "For each line of the log, in order, the interest of its user in its item is asked for as it was at its time, then the \
    behaviour is added: what comes out are features that know nothing of the future. Each line of the output has the user, \
    the event and the interest. Lines whose events are there already do not count twice, but their features know of them: replay into \
    a space that has only items."
)]
pub(crate) struct Args {
    #[command(flatten)]
    to: SpaceArgs,
    #[command(flatten)]
    create: CreateArgs,
    /// The log: CSV, JSON lines or, by its ending, Parquet
    #[arg(long)]
    log: PathBuf,
    /// How the log is written, if its name does not say
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Where the features go: a JSON object a line
    #[arg(long)]
    output: PathBuf,
    /// Behaviours written together at most
    #[arg(long, default_value_t = 1000, value_parser = args::positive)]
    batch: usize,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::gently()?;
    let (_database, space) = args.to.open_or_create(&args.create)?;
    let mut log = Log::open(&args.log, args.format)?;
    let mut out = BufWriter::new(File::create_new(&args.output)?);
    let (mut waiting, mut users, mut count) = (Vec::new(), HashSet::new(), 0_u64);
    while let Some((_, behavior)) = log.next()? {
        // Whoever is asked about must not have anything waiting.
        if waiting.len() == args.batch || !users.insert(behavior.user) {
            interrupt::check()?;
            space.append(std::mem::take(&mut waiting))?;
            users = HashSet::from([behavior.user]);
        }
        let interest = interest(&space, &behavior)?;
        let line = json!({ "user": behavior.user, "event": behavior.event, "interest": interest });
        writeln!(out, "{line}")?;
        waiting.push(behavior);
        count += 1;
    }
    space.append(waiting)?;
    space.flush()?;
    out.flush()?;
    print::line(format!("{count} behaviours"))
}

fn interest(space: &BehaviorSpace, behavior: &Behavior) -> anyhow::Result<Vec<f32>> {
    let items = [behavior.item];
    let candidates = match &behavior.vector {
        Some(vector) => Candidates::Vectors(vector),
        None => Candidates::Items(&items),
    };
    Ok(space.at(behavior.time).interest(behavior.user, &candidates)?)
}
