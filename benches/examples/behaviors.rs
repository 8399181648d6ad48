//! Behaviour spaces: what interest, appends and exact attention take, in one run.
//!
//! ```text
//! cargo run --release -p nearline-benches --example behaviors -- [LEN] [CANDIDATES] [ROUNDS] [MEMORY_MIB]
//! ```
//!
//! One thread, d = 128, G = 16, τ = 3; a history of LEN behaviours by item (10,000), CANDIDATES a question (1,000). Cold is
//! the first question after opening: the table is read. The floor is how long reading as many bytes as a question touches takes,
//! out of as many as a table in `f32` has. The same is built as an epoch in `f16`, which then is asked.
//! With `TMPDIR` in memory and MEMORY_MIB (256) so large that nothing is written to files meanwhile, appends are what they cost before a sync.

use std::time::Instant;

use anyhow::Result;
use nearline::{Behavior, BehaviorOptions, BehaviorSpace, Candidates, Database, TableValues};
use nearline_benches::data::mixed;
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
    let memory = (arg(3, 256) as u64) << 20;
    let folder = tempfile::tempdir()?;
    let database = Database::builder(folder.path()).memory_budget(memory).open()?;
    let options = BehaviorOptions::new(DIM).hashes(GROUPS, BITS);
    let space = database.create_behavior_space("clicks", options)?;
    let items: Vec<u64> = (0..ITEMS).collect();
    space.put_items(&items, &values(0, items.len()))?;
    let behaviors = (0..len as u64).map(|i| Behavior::new(USER, i, i as i64, mixed(i) % ITEMS));
    space.append(behaviors)?;
    space.flush()?;
    drop((space, database));

    let database = Database::builder(folder.path()).memory_budget(memory).open()?;
    let space = database.behavior_space("clicks")?;
    let vectors = values(1 << 40, candidates);
    let ids: Vec<u64> = (0..candidates as u64).map(|i| mixed(!i) % ITEMS).collect();
    let start = Instant::now();
    space.now().interest(USER, &Candidates::Vectors(&vectors))?;
    println!("L = {len}, B = {candidates}, d = {DIM}, G = {GROUPS}, tau = {BITS}");
    println!("interest, cold          {:>10.0} us", micros(start));
    memory_and_disk(&space, len);
    let by_vector = timed("interest, by vector", rounds, || {
        space.now().interest(USER, &Candidates::Vectors(&vectors)).map(drop)
    })?;
    let by_item = timed("interest, by item", rounds, || {
        space.now().interest(USER, &Candidates::Items(&ids)).map(drop)
    })?;
    let floor = floor(candidates, rounds);
    println!(
        "floor                   {floor:>10.0} us; by vector {:.1}, by item {:.1} times that",
        by_vector / floor,
        by_item / floor
    );
    timed("tables, one user", rounds, || space.now().tables(&[USER]).map(drop))?;
    let exact = timed("exact attention", 5, || {
        space.now().exact_attention(USER, &Candidates::Vectors(&vectors), 0.09).map(drop)
    })?;
    println!("exact attention takes {:.0} times as long as interest, by the medians", exact / by_vector);
    halves(&space, &vectors, rounds)?;
    appends(&space)?;
    println!("{:#?}", space.stats());
    Ok(())
}

/// What the only user there is takes, beside items.
fn memory_and_disk(space: &BehaviorSpace, len: usize) {
    let rows = GROUPS << BITS;
    let (table, raw) = (rows * (DIM * 8 + 4), len * 25);
    let items = ITEMS as usize * (DIM * 4 + 8);
    let stats = space.stats();
    let [tables, histories, _] = stats.kept_bytes;
    println!(
        "hot user                {:>10} bytes kept, {:.3} of a table in f64; {histories} of histories",
        tables,
        tables as f64 / table as f64
    );
    println!(
        "disk                    {:>10} bytes, {:.3} of raw, table and items",
        stats.file_bytes,
        stats.file_bytes as f64 / (raw + table + items) as f64
    );
}

/// The same history in an epoch of tables in `f16`.
fn halves(space: &BehaviorSpace, vectors: &[f32], rounds: usize) -> Result<()> {
    let exact = space.now().interest(USER, &Candidates::Vectors(vectors))?;
    let options = BehaviorOptions::new(DIM).hashes(GROUPS, BITS).values(TableValues::F16);
    let epoch = space.create_epoch(options, true)?;
    let start = Instant::now();
    space.build_epoch(epoch)?;
    space.finish_build()?;
    println!("epoch in f16, built in  {:>10.0} us", micros(start));
    timed("interest, f16", rounds, || space.now().interest(USER, &Candidates::Vectors(vectors)).map(drop))?;
    let near = space.now().interest(USER, &Candidates::Vectors(vectors))?;
    let off = exact.iter().zip(&near).fold(0f32, |off, (a, b)| off.max((a - b).abs()));
    println!("f16 is off by           {off:>10.6} at most");
    space.create_epoch(BehaviorOptions::new(DIM).hashes(GROUPS, BITS), false)?;
    space.build_epoch(epoch + 1)?;
    Ok(space.finish_build()?)
}

/// How long reading takes as many bytes as a question touches, out of a buffer of the size of a table: the median.
fn floor(candidates: usize, rounds: usize) -> f64 {
    let table = vec![1f32; (GROUPS << BITS) * DIM];
    let times = (candidates * GROUPS * DIM).div_ceil(table.len());
    let mut took: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            let mut sums = [0f32; 64];
            for _ in 0..times {
                for values in std::hint::black_box(&table).as_chunks::<64>().0 {
                    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
            }
            std::hint::black_box(sums);
            micros(start)
        })
        .collect();
    took.sort_by(f64::total_cmp);
    percentile(&took, 0.5)
}

/// Appends of many users, durable, in batches; then one at a time to a history that answers in between.
fn appends(space: &BehaviorSpace) -> Result<()> {
    // Time goes on: what comes late has histories in files written anew.
    let mut time = 0;
    for batch in [100u64, 1_000, 10_000] {
        let total = 400_000.min(batch * 400);
        let start = Instant::now();
        for first in (0..total).step_by(batch as usize) {
            let behaviors = (first..first + batch).map(|i| {
                let user = 1_000 + mixed(i ^ batch) % 1_000;
                Behavior::new(user, batch << 40 | i, time + i as i64, mixed(i) % ITEMS)
            });
            space.append(behaviors)?;
        }
        time += total as i64;
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
    let rate = took.len() as f64 * 1e6 / took.iter().sum::<f64>();
    println!("{name:<22}  {p50:>10.0} us p50 {p99:>10.0} us p99 {rate:>8.0} /s, {rounds} rounds");
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
