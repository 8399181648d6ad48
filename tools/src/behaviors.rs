//! `nearline behaviors`: what users did, from logs into a behaviour space and out of it.

mod export;
mod import;
mod log;
mod parquet;
mod replay;
mod samples;

use nearline::{BehaviorOptions, BehaviorSpace, Database};

use crate::db::DbArgs;
use crate::exit;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write vectors of items and a log of behaviours into a space
    Import(import::Args),
    /// Write all behaviours of a space as a log
    Export(export::Args),
    /// Write a log into a space, asking before each behaviour how much of what its user did before is like it
    Replay(replay::Args),
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Import(args) => import::run(args),
        Command::Export(args) => export::run(args),
        Command::Replay(args) => replay::run(args),
    }
}

/// Which space of which database.
#[derive(clap::Args)]
pub(crate) struct SpaceArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Name of the behaviour space
    #[arg(long)]
    space: String,
}

/// What a space is made for, if it is not there.
#[derive(clap::Args)]
pub(crate) struct CreateArgs {
    /// Make the database and the space if they are not there, for vectors of so many elements
    #[arg(long, value_name = "DIM")]
    create: Option<usize>,
    /// Groups of hashes, if it is made
    #[arg(long, default_value_t = 16)]
    groups: usize,
    /// Bits of a group, if it is made
    #[arg(long, default_value_t = 3)]
    bits: usize,
    /// Seed of the random planes, if it is made
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Milliseconds after which behaviours are not seen, if it is made; 0: never
    #[arg(long, default_value_t = 0)]
    ttl_ms: u64,
}

impl SpaceArgs {
    fn open(&self) -> anyhow::Result<(Database, BehaviorSpace)> {
        let database = self.db.open()?;
        let space = database.behavior_space(&self.space)?;
        Ok((database, space))
    }

    fn open_or_create(&self, create: &CreateArgs) -> anyhow::Result<(Database, BehaviorSpace)> {
        let database = self.db.open_or_create(create.create.is_some())?;
        let space = match create.create {
            Some(dim) if !database.behavior_spaces().contains(&self.space) => {
                let options = BehaviorOptions::new(dim)
                    .hashes(create.groups, create.bits)
                    .seed(create.seed)
                    .ttl_ms(create.ttl_ms);
                database.create_behavior_space(&self.space, options)?
            }
            _ => database.behavior_space(&self.space)?,
        };
        if create.create.is_some_and(|dim| dim != space.shape().dim()) {
            let found = space.shape().dim();
            return Err(exit::bad_input(format!("{}: it is for vectors of {found} elements", self.space)));
        }
        Ok((database, space))
    }
}
