//! `nearline behaviors export`: all behaviours as a log, user by user.

use std::path::PathBuf;

use nearline::Span;

use super::SpaceArgs;
use super::log::{self, Form};
use crate::output::{self, Output};
use crate::{interrupt, print};

/// Users asked for at a time.
const USERS: usize = 1000;

#[derive(clap::Args)]
#[command(
    after_help = "Behaviours that have expired are left out. Vectors of items are not written; those that behaviours have of \
    their own are."
)]
pub(crate) struct Args {
    #[command(flatten)]
    from: SpaceArgs,
    /// The log to be written
    #[arg(long)]
    output: PathBuf,
    /// How it is written, if its name does not say
    #[arg(long, value_enum)]
    format: Option<Form>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::gently()?;
    let form = Form::of(args.format, &args.output)?;
    output::check_new(&args.output)?;
    let (_database, space) = args.from.open()?;
    let (mut out, mut line) = (Output::create(&args.output)?, Vec::new());
    log::write_head(&mut line, form)?;
    let (mut from, mut count) = (Some(0), 0_u64);
    while let Some(first) = from {
        interrupt::check()?;
        let users = space.users(first, USERS)?;
        for &user in &users {
            for behavior in space.now().behaviors(user, Span::Last(usize::MAX))? {
                log::write(&mut line, form, behavior)?;
                out.write(&line)?;
                line.clear();
                count += 1;
            }
        }
        from = users.last().filter(|_| users.len() == USERS).and_then(|last| last.checked_add(1));
    }
    // The line of names, if there was no behaviour.
    out.write(&line)?;
    out.finish()?;
    print::line(format!("{count} behaviours"))
}
