//! `nearline table`: embedding tables from the command line.

mod bench;
mod convert;
mod fit;
mod generate;
mod inspect;
mod list;
mod lookup;
mod method;
mod resize;

use nearline::{Database, EmbeddingTable};

use crate::db::DbArgs;
use crate::{interrupt, listing, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a table from a file of rows, in so many bytes
    Fit(fit::Args),
    /// Print rows by id
    Lookup(lookup::Args),
    /// Make a table from bytes that another system wrote, or write a table for others
    Convert(convert::Args),
    /// Show what a table is and what it costs
    Inspect(inspect::Args),
    /// Keep fewer or again more levels of a table of bit-stack in memory
    Resize(resize::Args),
    /// Make a table of random rows, of any size
    Generate(generate::Args),
    /// Measure lookups of random ids
    Bench(bench::Args),
    /// List the embedding tables of a database
    List(listing::Args),
    /// Drop a table, with all that is in it
    Drop(TableArgs),
}

/// Which table of which database.
#[derive(clap::Args)]
struct TableArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Name of the table
    #[arg(long)]
    table: String,
}

impl TableArgs {
    /// Opens the table that is there.
    fn open(&self) -> anyhow::Result<(Database, EmbeddingTable)> {
        let database = self.db.open()?;
        let table = database.embedding_table(&self.table)?;
        Ok((database, table))
    }

    fn drop_it(&self) -> anyhow::Result<()> {
        interrupt::at_once()?;
        self.db.open()?.drop_embedding_table(&self.table)?;
        print::line(format!("embedding table {:?}: dropped", self.table))
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Fit(args) => fit::run(args),
        Command::Lookup(args) => lookup::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Resize(args) => resize::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Bench(args) => bench::run(args),
        Command::List(args) => list::run(args),
        Command::Drop(args) => args.drop_it(),
    }
}
