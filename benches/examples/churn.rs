//! A collection of which a hundredth is replaced again and again, and how it answers while that goes on: whether recall,
//! latency, memory and bytes on disk drift.
//!
//! ```text
//! cargo run --release -p nearline-benches --example churn -- [BASE.fbin QUERY.fbin] [COUNT] [ROUNDS] [MEMORY_MIB] [EVERY]
//! ```
//!
//! COUNT points are written, then ROUNDS times a hundredth of them, drawn by a fixed seed, is replaced by vectors that were
//! not there before: half of them in place, by upserts of the same ids, half by deletes and points of new ids. Rounds follow
//! each other without a pause. After every EVERY-th the recall is taken at once, while the background is at whatever it is
//! at; then the collection is looked at at rest. BASE has the vectors of all rounds; without files they are generated.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use nearline::{Collection, Database, FieldType, Metric, PointId, Query, Schema};
use nearline_benches::live::{
    BATCH, K, folder_bytes, forget_peak, recall, rss_bytes, upsert, vectors, while_asking, written_bytes,
};
use nearline_benches::measure::percentile;
use nearline_datasets::{ElementType, Kind, RowReader, VectorFile, generate, generate_queries};

/// One point in so many is replaced in a round.
const SHARE: u64 = 100;
/// Queries whose recall is taken, and whose latency is.
const LOOK: usize = 50;
const QUERIES: usize = 1_000;
const SEED: u64 = 1;

/// Arguments.
struct Plan {
    base: PathBuf,
    queries: PathBuf,
    count: u64,
    rounds: u64,
    memory_mib: u64,
    every: u64,
}

/// As the program `nearline` has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let plan = plan(folder.path(), std::env::args().skip(1).collect())?;
    let (base, queries) = (VectorFile::open(&plan.base)?, VectorFile::open(&plan.queries)?);
    let needed = plan.count + plan.rounds * plan.count.div_ceil(SHARE);
    ensure!(
        base.count() >= needed,
        "{} has {} vectors, expected {needed}",
        plan.base.display(),
        base.count()
    );
    let queries = vectors(&mut queries.rows(0)?, queries.dim(), QUERIES as u64)?;
    run(&folder.path().join("db"), &base, &queries, &plan)
}

fn plan(folder: &Path, args: Vec<String>) -> Result<Plan> {
    let (files, numbers) = match args.first() {
        Some(base) if Path::new(base).exists() => args.split_at(2.min(args.len())),
        _ => args.split_at(0),
    };
    let number = |at: usize, usual: u64| numbers.get(at).map_or(Ok(usual), |number| number.parse());
    let (count, rounds) = (number(0, 25_000)?, number(1, 10)?);
    let (memory_mib, every) = (number(2, 128)?, number(3, 5)?.max(1));
    let (base, queries) = match files {
        [base, queries] => (base.into(), queries.into()),
        _ => (folder.join("base.fbin"), folder.join("query.fbin")),
    };
    if files.is_empty() {
        let all = count + rounds * count.div_ceil(SHARE);
        generate(Kind::Deep, all, 48, ElementType::F32, SEED)?.write_to(&base)?;
        generate_queries(Kind::Deep, QUERIES as u64, 48, ElementType::F32, SEED)?.write_to(&queries)?;
    }
    Ok(Plan { base, queries, count, rounds, memory_mib, every })
}

fn run(folder: &Path, base: &VectorFile, queries: &[Vec<f32>], plan: &Plan) -> Result<()> {
    let database = Database::builder(folder).memory_budget(plan.memory_mib << 20).open()?;
    let points = database.create_collection("points", Schema::single(base.dim(), Metric::L2))?;
    points.create_field_index("n", FieldType::Integer)?;
    let mut rows = base.rows(0)?;
    let mut living = Living { generations: vec![0; plan.count as usize], drawn: 0 };
    let started = Instant::now();
    for first in (0..plan.count).step_by(BATCH as usize) {
        let ids: Vec<u64> = (first..(first + BATCH).min(plan.count)).collect();
        upsert(&points, &ids, &mut rows, base.dim())?;
    }
    points.wait_idle()?;
    println!("{} points, idle after {:.1} s", plan.count, started.elapsed().as_secs_f64());
    println!("{}", Look::TITLE);
    let mut churn = Churn { points: &points, folder, queries, rows, living: &mut living, dim: base.dim() };
    let mut looks = vec![churn.look(0, Under::default())?];
    forget_peak();
    let mut under = Under::default();
    for round in 1..=plan.rounds {
        churn.round(&mut under)?;
        if round % plan.every == 0 || round == plan.rounds {
            looks.push(churn.look(round, std::mem::take(&mut under))?);
            forget_peak();
        }
    }
    print_drift(&looks);
    ensure!(points.count(None)? == plan.count);
    points.verify()?;
    Ok(())
}

/// Which points there are: of each of so many slots one, whose id says how often the slot got another.
struct Living {
    generations: Vec<u8>,
    drawn: u64,
}

impl Living {
    fn id(&self, slot: usize) -> u64 {
        slot as u64 + self.generations.len() as u64 * u64::from(self.generations[slot])
    }

    /// Slots drawn at random, each once: the splitmix64 sequence.
    fn draw(&mut self, count: usize) -> Vec<usize> {
        let mut drawn = std::collections::BTreeSet::new();
        let mut slots = Vec::with_capacity(count);
        while slots.len() < count {
            self.drawn += 1;
            let mut x = (self.drawn + SEED).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let slot = ((x ^ (x >> 31)) % self.generations.len() as u64) as usize;
            if drawn.insert(slot) {
                slots.push(slot);
            }
        }
        slots
    }
}

/// What was seen in the rounds since the last look.
#[derive(Default)]
struct Under {
    /// Latencies in microseconds.
    latency: Vec<f64>,
    seconds: f64,
    replaced: u64,
    written: u64,
}

struct Churn<'a> {
    points: &'a Collection,
    folder: &'a Path,
    queries: &'a [Vec<f32>],
    rows: RowReader,
    living: &'a mut Living,
    dim: usize,
}

impl Churn<'_> {
    fn round(&mut self, under: &mut Under) -> Result<()> {
        let slots = self.living.draw(self.living.generations.len().div_ceil(SHARE as usize));
        let (stay, go) = slots.split_at(slots.len() / 2);
        let before = written_bytes()?;
        let (seconds, latency) = while_asking(self.points, self.queries, || {
            for slots in stay.chunks(BATCH as usize) {
                let ids: Vec<u64> = slots.iter().map(|&slot| self.living.id(slot)).collect();
                upsert(self.points, &ids, &mut self.rows, self.dim)?;
            }
            for slots in go.chunks(BATCH as usize) {
                let old: Vec<PointId> = slots.iter().map(|&slot| self.living.id(slot).into()).collect();
                self.points.delete(old)?;
                slots.iter().for_each(|&slot| self.living.generations[slot] += 1);
                let ids: Vec<u64> = slots.iter().map(|&slot| self.living.id(slot)).collect();
                upsert(self.points, &ids, &mut self.rows, self.dim)?;
            }
            Ok(())
        })?;
        under.latency.extend(latency);
        under.seconds += seconds;
        under.replaced += slots.len() as u64;
        under.written += written_bytes()? - before;
        Ok(())
    }

    fn look(&self, round: u64, mut under: Under) -> Result<Look> {
        let before = written_bytes()?;
        let some = &self.queries[..self.queries.len().min(LOOK)];
        let recall_under = recall(self.points, some, None)?;
        let started = Instant::now();
        self.points.wait_idle()?;
        let wait_seconds = started.elapsed().as_secs_f64();
        let written = under.written + written_bytes()? - before;
        let (mut latency, mut pages) = (Vec::with_capacity(self.queries.len()), 0);
        for query in self.queries {
            let report = self.points.query(&Query::nearest(query.clone()).k(K))?.report;
            latency.push(report.total_us);
            pages += report.pages;
        }
        latency.sort_by(f64::total_cmp);
        under.latency.sort_by(f64::total_cmp);
        let (rss, peak) = rss_bytes()?;
        let look = Look {
            round,
            figures: [
                recall_under,
                recall(self.points, some, None)?,
                percentile(&under.latency, 0.5),
                percentile(&under.latency, 0.99),
                percentile(&latency, 0.5),
                percentile(&latency, 0.99),
                rss as f64 / f64::from(1 << 20),
                peak as f64 / f64::from(1 << 20),
                folder_bytes(self.folder)? as f64 / 1e6,
                pages as f64 / self.queries.len() as f64,
                written as f64 / (under.replaced * self.dim as u64 * 4) as f64,
                under.replaced as f64 / under.seconds,
                wait_seconds,
            ],
        };
        println!("{look}");
        Ok(look)
    }
}

/// What was seen when the collection was looked at, and since the time before.
struct Look {
    round: u64,
    figures: [f64; 13],
}

impl Look {
    const NAMES: [&str; 13] = [
        "recall under way",
        "recall",
        "p50 under way, us",
        "p99 under way, us",
        "p50, us",
        "p99, us",
        "RSS, MiB",
        "peak RSS, MiB",
        "on disk, MB",
        "pages a query",
        "written / vectors",
        "replaced a second",
        "until idle, s",
    ];
    const TITLE: &str = "round: recall under way, at rest | p50, p99 under way, p50, p99 at rest, us | RSS, peak, MiB | \
                         on disk, MB | pages | written / vectors | replaced / s | idle after, s";
}

impl std::fmt::Display for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [under, rest, p50_under, p99_under, p50, p99, rss, peak, disk, pages, written, pace, wait] =
            self.figures;
        write!(
            f,
            "{:>5}: {under:.4} {rest:.4} | {p50_under:>6.0} {p99_under:>6.0} {p50:>6.0} {p99:>6.0} | {rss:>6.1} \
             {peak:>6.1} | {disk:>7.1} | {pages:>6.1} | {written:>5.2} | {pace:>7.0} | {wait:>5.1}",
            self.round
        )
    }
}

/// The means of the first looks after rounds against those of the last ones: a fifth of all.
fn print_drift(looks: &[Look]) {
    let (Some((fresh, looks)), true) = (looks.split_first(), looks.len() > 2) else { return };
    let some = (looks.len() / 5).max(1);
    let mean = |looks: &[Look], at: usize| {
        looks.iter().map(|look| look.figures[at]).sum::<f64>() / looks.len().max(1) as f64
    };
    println!("{:>20} {:>10} {:>10} {:>10} {:>8}", "", "before", "first", "last", "drift");
    for (at, name) in Look::NAMES.iter().enumerate() {
        let (first, last) = (mean(&looks[..some], at), mean(&looks[looks.len() - some..], at));
        // Next to nothing has no drift worth telling.
        let drift = (first > 0.01).then(|| format!("{:+.1}%", (last / first - 1.0) * 100.0));
        let drift = drift.unwrap_or_default();
        println!("{name:>20} {:>10.3} {first:>10.3} {last:>10.3} {drift:>8}", fresh.figures[at]);
    }
}
