//! Many users with histories of many lengths, within a budget of memory: what one costs who is not in it.
//!
//! ```text
//! cargo run --release -p nearline-benches --example behavior_users -- FOLDER [USERS] [DIM] [ASKED] [MEMORY_MIB]
//! ```
//!
//! USERS (1,000,000) with histories of about 20 behaviours (log-normal: median 20, spread 1.3, at most 5,000), 100,000 items, G = 16,
//! τ = 3. They are written into a database in FOLDER, which is opened anew, and ASKED (3,000) of them, chosen by their number, are asked about,
//! each once, with 1,000 candidates by item. Nothing of them is in memory then; what the system keeps of files is read past.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use nearline::{Behavior, BehaviorOptions, Candidates, Database};
use nearline_benches::data::mixed;
use nearline_benches::measure::percentile;

const GROUPS: usize = 16;
const BITS: usize = 3;
const ITEMS: u64 = 100_000;
const LONGEST: f64 = 5_000.0;
const BATCH: usize = 20_000;

/// As the program `nearline` has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("expected a folder")?;
    let args: Vec<usize> = std::env::args().skip(2).map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    let arg = |at: usize, usual| args.get(at).copied().unwrap_or(usual);
    let (users, dim, asked) = (arg(0, 1_000_000) as u64, arg(1, 64), arg(2, 3_000) as u64);
    let memory = (arg(3, 1_024) as u64) << 20;
    let open = || Database::builder(&folder).memory_budget(memory).open();
    let database = open()?;
    if database.behavior_spaces().is_empty() {
        let start = Instant::now();
        let events = fill(&database, users, dim)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{users} users, {events} behaviours in {seconds:.0} s: {:.0} /s", events as f64 / seconds);
    }
    drop(database);
    println!(
        "{:.2} GB on disk, {} MiB resident at most",
        bytes(Path::new(&folder))? as f64 / 1e9,
        resident()?
    );

    let database = open()?;
    let space = database.behavior_space("clicks")?;
    let candidates: Vec<u64> = (0..1_000).map(|i| mixed(!i) % ITEMS).collect();
    space.now().interest(users, &Candidates::Items(&candidates))?;
    let mut took = [Vec::new(), Vec::new(), Vec::new()];
    for i in 0..asked {
        let user = mixed(i ^ 0xa5ed) % users;
        let start = Instant::now();
        space.now().interest(user, &Candidates::Items(&candidates))?;
        let micros = start.elapsed().as_secs_f64() * 1e6;
        took[0].push(micros);
        took[if length(user) < (GROUPS << BITS) as u64 { 1 } else { 2 }].push(micros);
    }
    for (name, took) in ["all", "shorter than a table", "longer"].iter().zip(&mut took) {
        took.sort_by(f64::total_cmp);
        if !took.is_empty() {
            let [p50, p99] = [0.5, 0.99].map(|at| percentile(took, at));
            println!("cold users, {name:<21} {:>6}  {p50:>8.0} us p50 {p99:>8.0} us p99", took.len());
        }
    }
    println!("{} MiB resident at most\n{:#?}", resident()?, space.stats());
    Ok(())
}

fn fill(database: &Database, users: u64, dim: usize) -> Result<u64> {
    let options = BehaviorOptions::new(dim).hashes(GROUPS, BITS);
    let space = database.create_behavior_space("clicks", options)?;
    for first in (0..ITEMS).step_by(1_000) {
        let items: Vec<u64> = (first..first + 1_000).collect();
        let element = |i| (mixed(i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        let vectors: Vec<f32> = (first * dim as u64..(first + 1_000) * dim as u64).map(element).collect();
        space.put_items(&items, &vectors)?;
    }
    let (mut batch, mut events) = (Vec::new(), 0);
    for user in 0..users {
        for i in 0..length(user) {
            batch.push(Behavior::new(user, i, i as i64, mixed(user << 20 | i) % ITEMS));
            events += 1;
        }
        if batch.len() >= BATCH {
            space.append(std::mem::take(&mut batch))?;
        }
    }
    space.append(batch)?;
    space.flush()?;
    Ok(events)
}

/// How long the history of a user is.
fn length(user: u64) -> u64 {
    let uniform = |i: u64| ((mixed(user ^ i << 60) >> 11) + 1) as f64 / (1u64 << 53) as f64;
    let normal = (-2.0 * uniform(1).ln()).sqrt() * (std::f64::consts::TAU * uniform(2)).cos();
    (20f64.ln() + 1.3 * normal).exp().clamp(1.0, LONGEST) as u64
}

fn bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { self::bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// The most memory the process had, in MiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1_024)
}
