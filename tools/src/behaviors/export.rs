//! `nearline behaviors export`: all behaviours as a log, user by user.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use nearline::Span;

use super::SpaceArgs;
use super::log::{self, Form};
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
    let (_database, space) = args.from.open()?;
    let mut out = BufWriter::new(File::create_new(&args.output)?);
    log::write_head(&mut out, form)?;
    let (mut from, mut count) = (Some(0), 0_u64);
    while let Some(first) = from {
        interrupt::check()?;
        let users = space.users(first, USERS)?;
        for &user in &users {
            for behavior in space.now().behaviors(user, Span::Last(usize::MAX))? {
                log::write(&mut out, form, behavior)?;
                count += 1;
            }
        }
        from = users.last().filter(|_| users.len() == USERS).and_then(|last| last.checked_add(1));
    }
    out.flush()?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    print::line(format!("{count} behaviours"))
}
