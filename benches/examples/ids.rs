//! Points looked up by their ids while there are few or many small segments, with the live tier and without.
//!
//! ```text
//! cargo run --release -p nearline-benches --example ids -- [POINTS] [SMALL] [POINTS_OF_A_SMALL_ONE] [MEMORY_MIB]
//! ```
//!
//! Two databases of the same points, one with a live tier, asked in turns: points of the large segment, points of the small
//! ones, and ids that are not there; got, and written again. Times are those of the thread on a processor, where the
//! system tells them.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use nearline::{Collection, Database, Durability, LiveTierState, Metric, Point, Schema};

/// Ids of a round, of a call, and rounds.
const ASKED: u64 = 20_000;
const BATCH: u64 = 100;
const ROUNDS: u64 = 15;

fn main() -> Result<()> {
    let args = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<Vec<u64>, _>>()?;
    let arg = |at: usize, usual| args.get(at).copied().unwrap_or(usual);
    let (points, small, of_small, memory_mib) = (arg(0, 500_000), arg(1, 30), arg(2, 2_000), arg(3, 256));
    let folder = tempfile::tempdir()?;
    let make = |tier| make(&folder.path().join(format!("{tier}")), tier, points, small, of_small, memory_mib);
    let sides = [("tables", make(false)?), ("tier", make(true)?)];
    for (name, (_, collection)) in &sides {
        let stats = collection.stats();
        println!("{name}: {} segments, live tier {:?}", stats.segments, stats.live_tier);
    }
    let all = points + small * of_small;
    let [large, small, absent] =
        [("large", 0, points), ("small", points, all - points), ("absent", all, 1 << 40)];
    // Reads first: what is written lies in memory from then on.
    let asked: [(&str, Act, _); 6] = [
        ("get", get, large),
        ("get", get, small),
        ("get", get, absent),
        ("delete", delete, absent),
        ("upsert", upsert, large),
        ("upsert", upsert, small),
    ];
    println!("microseconds an id, medians of {ROUNDS} rounds in turns:  tables   tier");
    for (what, act, (of, first, count)) in asked.into_iter().filter(|(_, _, (_, _, count))| *count > 0) {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (times, (_, (_, collection))) in times.iter_mut().zip(&sides) {
                let began = now();
                for call in 0..ASKED / BATCH {
                    let number = round * ASKED + call * BATCH..round * ASKED + (call + 1) * BATCH;
                    let mixed = number.map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20);
                    act(collection, mixed.map(|mixed| first + mixed % count).collect())?;
                }
                times.push((now() - began).as_secs_f64() * 1e6 / ASKED as f64);
            }
        }
        let [tables, tier] = times.map(median);
        println!("{what:>8} {of:<8} {:>35} {tables:>6.2} {tier:>6.2}", "");
    }
    Ok(())
}

type Act = fn(&Collection, Vec<u64>) -> Result<()>;

fn get(collection: &Collection, ids: Vec<u64>) -> Result<()> {
    Ok(collection.get(ids).map(drop)?)
}

/// Of ids that are not there, the lookup alone.
fn delete(collection: &Collection, ids: Vec<u64>) -> Result<()> {
    Ok(collection.delete(ids).map(drop)?)
}

fn upsert(collection: &Collection, ids: Vec<u64>) -> Result<()> {
    collection.upsert_with(ids.into_iter().map(point), Durability::Buffered)?;
    Ok(())
}

fn point(id: u64) -> Point {
    Point::new(id).vector([id as f32, 0.0, 0.0, 1.0])
}

fn make(
    folder: &Path,
    tier: bool,
    points: u64,
    small: u64,
    of_small: u64,
    memory_mib: u64,
) -> Result<(Database, Collection)> {
    let database =
        Database::builder(folder).background(false).live_tier(tier).memory_budget(memory_mib << 20).open()?;
    let collection = database.create_collection("points", Schema::single(4, Metric::L2))?;
    let write = |first: u64, count: u64| -> Result<()> {
        for at in (0..count).step_by(1_000) {
            let ids = first + at..first + (at + 1_000).min(count);
            collection.upsert_with(ids.map(point), Durability::Buffered)?;
        }
        Ok(collection.flush()?)
    };
    write(0, points)?;
    collection.compact()?;
    let began = Instant::now();
    (0..small).try_for_each(|at| write(points + at * of_small, of_small))?;
    let written = began.elapsed();
    while tier && collection.stats().live_tier == LiveTierState::Building {
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("small segments written in {written:?}, settled after {:?}", began.elapsed());
    if let LiveTierState::Off { why } = collection.stats().live_tier {
        bail!("{why}");
    }
    Ok((database, collection))
}

/// How long this thread has run.
fn now() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split(' ').next()?.parse().ok());
    let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    nanos.map_or_else(wall, Duration::from_nanos)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
