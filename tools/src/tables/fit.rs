//! `nearline table fit`: a table from a file of rows.

use std::path::PathBuf;

use nearline::embedding::{FitInput, Method, SizeReport, fit_as};
use nearline_datasets::{load_f32, read_ids};

use super::TableArgs;
use super::method::fitted;
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
    let database = args.table.db.open_or_create(true)?;
    database.check_embedding_table_name(&args.table.table)?;
    let input = FitInput::new(&rows, dim, frequencies.as_deref(), args.budget.0, args.seed)?;
    let table = fit_as(args.method, &input, &args.fields)?;
    let made = match frequencies.as_deref().filter(|_| args.by_frequency) {
        Some(frequencies) => {
            database.create_embedding_table_by_frequency(&args.table.table, &*table, frequencies)?
        }
        None => database.create_embedding_table(&args.table.table, &*table)?,
    };
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
