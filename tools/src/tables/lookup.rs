//! `nearline table lookup`: rows by id, a line of JSON each.

use super::TableArgs;
use crate::{interrupt, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Ids, with commas between
    #[arg(long, value_delimiter = ',', required = true)]
    ids: Vec<u64>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let (_database, table) = args.table.open()?;
    let version = table.pin();
    let rows = version.lookup(&args.ids)?;
    args.ids
        .iter()
        .zip(rows.chunks_exact(version.dim()))
        .try_for_each(|(id, row)| print::json(&serde_json::json!({ "id": id, "row": row })))
}
