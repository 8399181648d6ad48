//! `nearline behaviors`: what users did, from logs into a behaviour space and out of it.

mod export;
mod import;
mod items;
mod list;
mod log;
mod made;
mod parquet;
mod replay;
mod samples;

use nearline::{BehaviorOptions, BehaviorSpace, Database};

use crate::db::DbArgs;
use crate::place::{self, Place};
use crate::{exit, interrupt, listing, print};

use made::Made;

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
    /// List the behaviour spaces of a database
    List(listing::Args),
    /// Drop a behaviour space, with all that is in it
    Drop(SpaceArgs),
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Import(args) => import::run(args),
        Command::Export(args) => export::run(args),
        Command::Replay(args) => replay::run(args),
        Command::List(args) => list::run(args),
        Command::Drop(args) => args.drop_it(),
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

    /// Opens the space; makes it, and the database, if that is wanted.
    fn open_or_create(&self, create: &CreateArgs) -> anyhow::Result<Made> {
        let place = Place::of(&self.db.db);
        let database = self.db.open_or_create(create.create.is_some())?;
        match self.space_of(&database, create) {
            Ok((space, is_new)) => Ok(Made { space, database, name: self.space.clone(), is_new, place }),
            Err(error) => {
                place::close_and_clear(database, place);
                Err(error)
            }
        }
    }

    /// The space, and whether it was made.
    fn space_of(&self, database: &Database, create: &CreateArgs) -> anyhow::Result<(BehaviorSpace, bool)> {
        let Some(dim) = create.create else { return Ok((database.behavior_space(&self.space)?, false)) };
        if !database.behavior_spaces().contains(&self.space) {
            let options = BehaviorOptions::new(dim)
                .hashes(create.groups, create.bits)
                .seed(create.seed)
                .ttl_ms(create.ttl_ms);
            return Ok((database.create_behavior_space(&self.space, options)?, true));
        }
        let space = database.behavior_space(&self.space)?;
        let found = space.shape().dim();
        if found != dim {
            return Err(exit::bad_input(format!("{}: it is for vectors of {found} elements", self.space)));
        }
        Ok((space, false))
    }

    fn drop_it(&self) -> anyhow::Result<()> {
        interrupt::at_once()?;
        self.db.open()?.drop_behavior_space(&self.space)?;
        print::line(format!("behaviour space {:?}: dropped", self.space))
    }
}
