//! `nearline behaviors replay`: a log written into a space, and what the space would have answered on the way.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use nearline::{Behavior, BehaviorSpace, Candidates};
use serde_json::{Value, json};

use super::items::ItemsArgs;
use super::log::{Form, Log, Named};
use super::samples::{Sample, Samples};
use super::{CreateArgs, SpaceArgs, parquet};
use crate::output::{self, Output};
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
    #[command(flatten)]
    items: ItemsArgs,
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
    // Looked at before anything is made.
    output::check_new(&args.output)?;
    let samples = args.samples.as_ref().map(|path| parquet::samples(path)).transpose()?;
    let log = Log::open(&args.log, args.format)?;
    let out = Output::create(&args.output)?;
    let made = args.to.open_or_create(&args.create)?;
    match replay(args, &made.space, log, samples, out) {
        Ok(count) => {
            print::line(format!("{count} {}", if args.samples.is_some() { "samples" } else { "behaviours" }))
        }
        Err(error) => {
            made.undo();
            Err(error)
        }
    }
}

/// Says how many questions were answered.
fn replay(
    args: &Args,
    space: &BehaviorSpace,
    log: Log,
    samples: Option<Vec<(u64, Sample)>>,
    out: Output,
) -> anyhow::Result<u64> {
    args.items.put(space, &mut 0)?;
    let asked = match &args.samples {
        Some(path) => Named { file: path.clone(), unit: "sample" },
        None => log.place(&args.log),
    };
    let log_place = log.place(&args.log);
    let (waiting, lines, users) = (Vec::new(), Vec::new(), HashSet::new());
    let mut replay = Replay { space, out, log: log_place, asked, waiting, lines, users, batch: args.batch };
    let count = match samples {
        None => replay.lines(log)?,
        Some(samples) => replay.samples(log, Samples::new(samples))?,
    };
    replay.add()?;
    space.flush()?;
    replay.out.finish()?;
    Ok(count)
}

/// A log on its way into a space.
struct Replay<'a> {
    space: &'a BehaviorSpace,
    out: Output,
    log: Named,
    /// What the questions are in.
    asked: Named,
    /// Behaviours that are not added yet, whose they are, and of those without a vector the items with their lines.
    waiting: Vec<Behavior>,
    lines: Vec<(u64, u64)>,
    users: HashSet<u64>,
    batch: usize,
}

impl Replay<'_> {
    /// Asks about each line before it is added.
    fn lines(&mut self, mut log: Log) -> anyhow::Result<u64> {
        let mut count = 0;
        while let Some((line, behavior)) = log.next()? {
            let items = [behavior.item];
            let candidates = match &behavior.vector {
                Some(vector) => Candidates::Vectors(vector),
                None => Candidates::Items(&items),
            };
            let interest = self.interest(behavior.user, behavior.time, &candidates, (behavior.item, line))?;
            let (user, event) = (behavior.user, behavior.event);
            self.write(&json!({ "user": user, "event": event, "interest": interest }))?;
            self.push(line, behavior)?;
            count += 1;
        }
        Ok(count)
    }

    /// Asks each sample when as much of its user's history was added as it may know of.
    fn samples(&mut self, mut log: Log, mut samples: Samples) -> anyhow::Result<u64> {
        let mut count = 0;
        // Of each user how many behaviours there were, and when the last one was.
        let mut known: HashMap<u64, (u64, i64)> = HashMap::new();
        while let Some((line, behavior)) = log.next()? {
            let (user, time) = (behavior.user, behavior.time);
            let len = known.get(&user).map_or(0, |(len, _)| *len);
            count += self.answer(&mut samples, user, len, time)?;
            known.insert(user, (len + 1, time));
            self.push(line, behavior)?;
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
            let (row, item) = (sample.row, sample.item);
            let interest = self.interest(user, time, &Candidates::Items(&[item]), (item, row))?;
            self.write(&json!({ "sample": row, "user": user, "item": item, "interest": interest }))?;
            count += 1;
        }
        Ok(count)
    }

    /// The interest of a user as it is then; `place` is the item asked about and the number of its line or sample.
    fn interest(
        &mut self,
        user: u64,
        time: i64,
        candidates: &Candidates<'_>,
        place: (u64, u64),
    ) -> anyhow::Result<Vec<f32>> {
        // Whoever is asked about must not have anything waiting.
        if self.users.contains(&user) {
            self.add()?;
        }
        let interest = self.space.at(time).interest(user, candidates);
        interest.map_err(|error| self.asked.of(error, &[place]))
    }

    fn write(&mut self, line: &Value) -> anyhow::Result<()> {
        self.out.write(format!("{line}\n").as_bytes())
    }

    fn push(&mut self, line: u64, behavior: Behavior) -> anyhow::Result<()> {
        if self.waiting.len() == self.batch {
            self.add()?;
        }
        self.users.insert(behavior.user);
        if behavior.vector.is_none() {
            self.lines.push((behavior.item, line));
        }
        self.waiting.push(behavior);
        Ok(())
    }

    /// Adds what waits.
    fn add(&mut self) -> anyhow::Result<()> {
        interrupt::check()?;
        self.users.clear();
        let appended = self.space.append(std::mem::take(&mut self.waiting));
        appended.map_err(|error| self.log.of(error, &self.lines))?;
        self.lines.clear();
        Ok(())
    }
}
