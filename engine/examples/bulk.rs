//! Many points: how fast they are written, how soon they are open again, what memory they take.
//!
//! `cargo run --release -p nearline --example bulk -- 1000000 96`

use std::time::Instant;

use nearline::{Database, Metric, Payload, Point, Query, Schema};

/// Points of a call.
const BATCH: u64 = 1_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let count: u64 = args.next().map_or(Ok(20_000), |count| count.parse())?;
    let dim: usize = args.next().map_or(Ok(32), |dim| dim.parse())?;
    let folder = tempfile::tempdir()?;
    let open = || Database::builder(folder.path()).memory_budget(128 << 20).open();
    let database = open()?;
    let points = database.create_collection("points", Schema::single(dim, Metric::L2))?;
    let vector = |id: u64| -> Vec<f32> {
        let mixed = |j: usize| (id * 31 + j as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        (0..dim).map(|j| mixed(j) as f32 / 16_777_216.0).collect()
    };
    let started = Instant::now();
    for first in (0..count).step_by(BATCH as usize) {
        let ids = first..(first + BATCH).min(count);
        points
            .upsert(ids.map(|id| Point::new(id).vector(vector(id)).payload(Payload::new().with("n", id))))?;
    }
    let written = started.elapsed().as_secs_f64();
    println!("{:.0} points a second, in synced calls of {BATCH}", count as f64 / written);
    points.wait_idle()?;
    println!("idle after {:.1} s more", started.elapsed().as_secs_f64() - written);
    println!("{:?}", points.stats());
    drop((points, database));
    let started = Instant::now();
    let database = open()?;
    let points = database.collection("points")?;
    println!("opened in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let answer = points.query(&Query::nearest(vector(count / 2)).k(3))?;
    println!("{} vectors compared in {:.1} ms", answer.report.compared, answer.report.scan_us / 1e3);
    assert_eq!((points.count(None)?, answer.hits[0].id), (count, (count / 2).into()));
    Ok(())
}
