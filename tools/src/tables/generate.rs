//! `nearline table generate`: a table of random rows, to measure with, of any size.

use std::sync::Arc;

use nearline::embedding::{Dialect, RowwiseCodec};

use super::TableArgs;
use crate::{args, interrupt, print};

/// Rows made at a time.
const STEP: u64 = 1 << 14;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Number of rows
    #[arg(long)]
    rows: u64,
    /// Values of a row
    #[arg(long, value_parser = args::positive)]
    dim: usize,
    /// Bits of a value: 8, 4 or 2, in the bytes of torch
    #[arg(long, default_value_t = 4)]
    bits: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let Args { rows, dim, bits, seed, .. } = *args;
    let codec = Arc::new(RowwiseCodec::new(dim, bits, Dialect::Fused16)?);
    let database = args.table.db.open_or_create(true)?;
    let (name, mut made) = (&args.table.table, 0);
    let table = database.create_table_of_rows(name, codec, |values| {
        let end = (made + STEP).min(rows);
        values.extend((made * dim as u64..end * dim as u64).map(|place| value(seed, place)));
        made = end;
        Ok(())
    })?;
    let stats = table.stats()?;
    print::line(format!("{name}: {} rows of {}, {} bytes", stats.rows, stats.dim, stats.file_bytes))
}

/// A value in -1..1 that follows from the seed and its place.
fn value(seed: u64, place: u64) -> f32 {
    let mixed = (place ^ seed.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}
