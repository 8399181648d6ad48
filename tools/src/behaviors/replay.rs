//! `nearline behaviors replay`: a log written into a space, and what the space would have answered on the way.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use nearline::{Behavior, BehaviorSpace, Candidates};
use serde_json::{Value, json};

use super::log::{Form, Log};
use super::samples::Samples;
use super::{CreateArgs, SpaceArgs, parquet};
use crate::{args, interrupt, print};

#[derive(clap::Args)]
#[command(
    after_help = "For each line of the log, in order, the interest of its user in its item is asked for as it was at its time, then the \
    behaviour is added: what comes out are features that know nothing of the future. Each line of the output has the user, \
    the event and the interest. Lines whose events are there already do not count twice, but their features know of them: replay into \
    a space that has only items. With --samples it is not each line that is asked about, but each sample, when its user has done as much as \
    it may know of; a line of the output has its row, the user, the item and the interest."
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
    /// Questions in place of those about each line: parquet with the columns user_index, item_index and seq_len, as LongCTR has them
    #[arg(long)]
    samples: Option<PathBuf>,
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
    let samples = args.samples.as_ref().map(|path| parquet::samples(path)).transpose()?;
    let log = Log::open(&args.log, args.format)?;
    let out = BufWriter::new(File::create_new(&args.output)?);
    let (waiting, users) = (Vec::new(), HashSet::new());
    let mut replay = Replay { space: &space, out, waiting, users, batch: args.batch };
    let count = match samples {
        None => replay.lines(log)?,
        Some(samples) => replay.samples(log, Samples::new(samples))?,
    };
    replay.add()?;
    space.flush()?;
    replay.out.flush()?;
    print::line(format!("{count} {}", if args.samples.is_some() { "samples" } else { "behaviours" }))
}

/// A log on its way into a space.
struct Replay<'a> {
    space: &'a BehaviorSpace,
    out: BufWriter<File>,
    /// Behaviours that are not added yet, and whose they are.
    waiting: Vec<Behavior>,
    users: HashSet<u64>,
    batch: usize,
}

impl Replay<'_> {
    /// Asks about each line before it is added.
    fn lines(&mut self, mut log: Log) -> anyhow::Result<u64> {
        let mut count = 0;
        while let Some((_, behavior)) = log.next()? {
            let items = [behavior.item];
            let candidates = match &behavior.vector {
                Some(vector) => Candidates::Vectors(vector),
                None => Candidates::Items(&items),
            };
            let interest = self.interest(behavior.user, behavior.time, &candidates)?;
            let (user, event) = (behavior.user, behavior.event);
            self.write(&json!({ "user": user, "event": event, "interest": interest }))?;
            self.push(behavior)?;
            count += 1;
        }
        Ok(count)
    }

    /// Asks each sample when as much of its user's history was added as it may know of.
    fn samples(&mut self, mut log: Log, mut samples: Samples) -> anyhow::Result<u64> {
        let mut count = 0;
        // Of each user how many behaviours there were, and when the last one was.
        let mut known: HashMap<u64, (u64, i64)> = HashMap::new();
        while let Some((_, behavior)) = log.next()? {
            let (user, time) = (behavior.user, behavior.time);
            let len = known.get(&user).map_or(0, |(len, _)| *len);
            count += self.answer(&mut samples, user, len, time)?;
            known.insert(user, (len + 1, time));
            self.push(behavior)?;
        }
        for user in samples.users() {
            let (len, time) = known.get(&user).copied().unwrap_or((0, 0));
            count += self.answer(&mut samples, user, len, time)?;
        }
        samples.finish()?;
        Ok(count)
    }

    /// Answers the samples of a user that know of so many behaviours; says how many.
    fn answer(&mut self, samples: &mut Samples, user: u64, len: u64, time: i64) -> anyhow::Result<u64> {
        let mut count = 0;
        while let Some(sample) = samples.take(user, len) {
            let interest = self.interest(user, time, &Candidates::Items(&[sample.item]))?;
            let (row, item) = (sample.row, sample.item);
            self.write(&json!({ "sample": row, "user": user, "item": item, "interest": interest }))?;
            count += 1;
        }
        Ok(count)
    }

    /// The interest of a user as it is then.
    fn interest(&mut self, user: u64, time: i64, candidates: &Candidates<'_>) -> anyhow::Result<Vec<f32>> {
        // Whoever is asked about must not have anything waiting.
        if self.users.contains(&user) {
            self.add()?;
        }
        Ok(self.space.at(time).interest(user, candidates)?)
    }

    fn write(&mut self, line: &Value) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "{line}")?)
    }

    fn push(&mut self, behavior: Behavior) -> anyhow::Result<()> {
        if self.waiting.len() == self.batch {
            self.add()?;
        }
        self.users.insert(behavior.user);
        self.waiting.push(behavior);
        Ok(())
    }

    /// Adds what waits.
    fn add(&mut self) -> anyhow::Result<()> {
        interrupt::check()?;
        self.users.clear();
        self.space.append(std::mem::take(&mut self.waiting))?;
        Ok(())
    }
}
