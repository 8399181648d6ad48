//! Behaviour spaces: what interest, appends and exact attention take, in one run.
//!
//! ```text
//! cargo run --release -p nearline-benches --example behaviors -- [LEN] [CANDIDATES] [ROUNDS]
//! ```
//!
//! One thread, d = 128, G = 16, τ = 3; a history of LEN behaviours by item (10,000), CANDIDATES a question (1,000). Cold is
//! the first question after opening: the history and its items are read, and the table is worked out.

use std::time::Instant;

use anyhow::Result;
use nearline::{Behavior, BehaviorOptions, BehaviorSpace, Candidates, Database};
use nearline_benches::measure::percentile;

const DIM: usize = 128;
const GROUPS: usize = 16;
const BITS: usize = 3;
const ITEMS: u64 = 20_000;
const USER: u64 = 1;

/// As the program `nearline` has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<()> {
    let args: Vec<usize> = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    let arg = |at: usize, usual| args.get(at).copied().unwrap_or(usual);
    let (len, candidates, rounds) = (arg(0, 10_000), arg(1, 1_000), arg(2, 2_000));
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).open()?;
    let options = BehaviorOptions::new(DIM).hashes(GROUPS, BITS);
    let space = database.create_behavior_space("clicks", options)?;
    let items: Vec<u64> = (0..ITEMS).collect();
    space.put_items(&items, &values(0, items.len()))?;
    let behaviors = (0..len as u64).map(|i| Behavior::new(USER, i, i as i64, mixed(i) % ITEMS));
    space.append(behaviors)?;
    space.flush()?;
    drop((space, database));

    let database = Database::builder(folder.path()).open()?;
    let space = database.behavior_space("clicks")?;
    let vectors = values(1 << 40, candidates);
    let ids: Vec<u64> = (0..candidates as u64).map(|i| mixed(!i) % ITEMS).collect();
    let start = Instant::now();
    space.now().interest(USER, &Candidates::Vectors(&vectors))?;
    println!("L = {len}, B = {candidates}, d = {DIM}, G = {GROUPS}, tau = {BITS}");
    println!("interest, cold          {:>10.0} us", micros(start));
    let by_vector = timed("interest, by vector", rounds, || {
        space.now().interest(USER, &Candidates::Vectors(&vectors)).map(drop)
    })?;
    timed("interest, by item", rounds, || space.now().interest(USER, &Candidates::Items(&ids)).map(drop))?;
    timed("tables, one user", rounds, || space.now().tables(&[USER]).map(drop))?;
    let exact = timed("exact attention", 5, || {
        space.now().exact_attention(USER, &Candidates::Vectors(&vectors), 0.09).map(drop)
    })?;
    println!("exact attention takes {:.0} times as long as interest, by the medians", exact / by_vector);
    appends(&space)?;
    println!("{:#?}", space.stats());
    Ok(())
}

/// Appends of many users, durable, in batches; then one at a time to a history that answers in between.
fn appends(space: &BehaviorSpace) -> Result<()> {
    for batch in [100u64, 1_000, 10_000] {
        let total = 400_000.min(batch * 400);
        let start = Instant::now();
        for first in (0..total).step_by(batch as usize) {
            let behaviors = (first..first + batch).map(|i| {
                let user = 1_000 + mixed(i ^ batch) % 1_000;
                Behavior::new(user, batch << 40 | i, i as i64, mixed(i) % ITEMS)
            });
            space.append(behaviors)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("appends, {batch:>6} a write  {:>10.0} /s, each write synced", total as f64 / seconds);
    }
    let candidate = values(3, 1);
    let mut event = 1 << 50;
    timed("append, then interest", 200, || {
        event += 1;
        space.append([Behavior::new(USER, event, event as i64, event % ITEMS)])?;
        space.now().interest(USER, &Candidates::Vectors(&candidate)).map(drop)
    })?;
    Ok(())
}

/// Prints p50 and p99; gives p50 in microseconds.
fn timed(
    name: &str,
    rounds: usize,
    mut round: impl FnMut() -> Result<(), nearline::BehaviorError>,
) -> Result<f64> {
    round()?;
    let mut took = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        round()?;
        took.push(micros(start));
    }
    took.sort_by(f64::total_cmp);
    let (p50, p99) = (percentile(&took, 0.5), percentile(&took, 0.99));
    println!("{name:<22}  {p50:>10.0} us p50 {p99:>10.0} us p99, {rounds} rounds");
    Ok(p50)
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

/// Vectors with elements in -1..1.
fn values(first: u64, count: usize) -> Vec<f32> {
    let element = |i| (mixed(i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
    (0..(count * DIM) as u64).map(|i| element(first + i)).collect()
}

fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}
