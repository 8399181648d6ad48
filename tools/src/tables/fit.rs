//! `nearline table fit`: a table from a file of rows.

use std::path::PathBuf;

use nearline::EmbeddingTable;
use nearline::embedding::{FitInput, Method, SizeReport, Table, fit_as};
use nearline_datasets::{load_f32, read_ids};

use super::TableArgs;
use super::method::fitted;
use crate::place::{self, Place};
use crate::size::Size;
use crate::{exit, interrupt, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// File of rows, any format that `build` reads
    #[arg(long)]
    input: PathBuf,
    /// File of one number a row (ibin, i64bin): how often it is asked for
    #[arg(long)]
    frequencies: Option<PathBuf>,
    /// Let the most frequent rows lie first, to be in memory where not all are; takes 4 bytes a row beside the budget
    #[arg(long, requires = "frequencies")]
    by_frequency: bool,
    /// How rows are kept: float, rowwise, uniform, step, pq, mgqe, rq, bit-stack, svd, mde, tt, dedup, hash, robe, rps, adapt,
    /// masked, sparse
    #[arg(long, value_parser = fitted)]
    method: Method,
    /// Bytes the table may take, everything counted
    #[arg(long)]
    budget: Size,
    /// Rows of each field, for mde [default: all rows are one field]
    #[arg(long, value_delimiter = ',')]
    fields: Vec<u64>,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    if !args.fields.is_empty() && args.method != Method::Mixed {
        let (found, expected) = (args.method.name(), Method::Mixed.name());
        return Err(exit::usage(format!(
            "--fields: {found} knows no fields; expected --method {expected}, or no --fields"
        )));
    }
    let (rows, dim) = load_f32(&args.input)?;
    let frequencies = args.frequencies.as_deref().map(read_ids).transpose()?;
    let input = FitInput::new(&rows, dim, frequencies.as_deref(), args.budget.0, args.seed)?;
    check_place(&args.table)?;
    let table = fit_as(args.method, &input, &args.fields)?;
    let made = make(&args.table, &*table, frequencies.as_deref().filter(|_| args.by_frequency))?;
    // With the places of rows, if there are any.
    let bytes = SizeReport { segments: made.stats()?.segments, ..table.bytes() };
    print::line(format!(
        "{}: {} rows of {dim}, {}, {:.1} times smaller",
        args.table.table,
        table.rows(),
        Size(bytes.total()),
        bytes.ratio()
    ))
}

/// Refuses, before a long fit, what no table could be made of after it. The database is closed again, so that others may use it
/// meanwhile, and one that was not there is not there afterwards.
fn check_place(to: &TableArgs) -> anyhow::Result<()> {
    let place = Place::of(&to.db.db);
    let database = to.db.open_or_create(true)?;
    let checked = database.check_embedding_table_name(&to.table);
    place::close_and_clear(database, place);
    Ok(checked?)
}

/// Makes the table, and the database if it is not there. If it fails, what was made is taken back.
fn make(to: &TableArgs, table: &dyn Table, frequencies: Option<&[u64]>) -> anyhow::Result<EmbeddingTable> {
    let place = Place::of(&to.db.db);
    let database = to.db.open_or_create(true)?;
    let made = match frequencies {
        Some(frequencies) => database.create_embedding_table_by_frequency(&to.table, table, frequencies),
        None => database.create_embedding_table(&to.table, table),
    };
    if made.is_err() {
        place::close_and_clear(database, place);
    }
    Ok(made?)
}
