//! `nearline table resize`: fewer or again more levels in memory.

use super::TableArgs;
use crate::size::Size;
use crate::{interrupt, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Levels to be kept in memory, up to those that were fitted
    #[arg(long)]
    levels: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let (_database, table) = args.table.open()?;
    let version = table.resize(args.levels)?;
    let bytes: u64 = table.stats()?.segments.iter().map(|(_, bytes)| bytes).sum();
    print::line(format!("{}: {} levels, {}, version {version}", args.table.table, args.levels, Size(bytes)))
}
