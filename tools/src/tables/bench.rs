//! `nearline table bench`: what lookups of random ids take, on one thread.

use std::time::Instant;

use nearline::embedding::Pool;

use super::TableArgs;
use crate::{args, interrupt, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    table: TableArgs,
    /// Ids that are pooled to one row
    #[arg(long, default_value_t = 20, value_parser = args::positive)]
    pool: usize,
    /// Bags of a call
    #[arg(long, default_value_t = 64, value_parser = args::positive)]
    bags: usize,
    /// Calls
    #[arg(long, default_value_t = 1000, value_parser = args::positive)]
    calls: usize,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let (_database, table) = args.table.open()?;
    let version = table.pin();
    let offsets: Vec<u64> = (0..=args.bags as u64).map(|bag| bag * args.pool as u64).collect();
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(state) * u128::from(version.rows())) >> 64) as u64
    };
    let before = table.stats()?;
    let mut nanos = Vec::with_capacity(args.calls);
    for _ in 0..args.calls {
        let ids: Vec<u64> = (0..args.bags * args.pool).map(|_| next()).collect();
        let start = Instant::now();
        version.pool(&ids, &offsets, None, Pool::Sum)?;
        nanos.push(start.elapsed().as_nanos() as f64);
    }
    nanos.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| nanos[((nanos.len() - 1) as f64 * share) as usize];
    let ids = (args.bags * args.pool) as f64;
    let stats = table.stats()?;
    let a_call = |after: u64, before: u64| (after - before) as f64 / args.calls as f64;
    print::line(format!(
        "{} bags of {} ids a call: {:.1} us at the median, {:.1} us at p99; {:.1} ns an id; {:.1} reads and {:.0} bytes a call; {} of {} rows in memory",
        args.bags,
        args.pool,
        at(0.5) / 1e3,
        at(0.99) / 1e3,
        at(0.5) / ids,
        a_call(stats.reads, before.reads),
        a_call(stats.read_bytes, before.read_bytes),
        stats.resident_rows,
        stats.rows,
    ))
}
