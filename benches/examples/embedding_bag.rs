//! Pooled lookups on one thread, in ns an id: 64 values a row, bags of 20 random ids, other ids every time.
//!
//! ```text
//! cargo run --release -p nearline-benches --example embedding_bag -- [ROUNDS]
//! ```
//!
//! measures 20 thousand rows (in cache) and 2 million (from memory), one kind after the other in each round, and prints
//! medians of ROUNDS (15). With `ask` in place of ROUNDS it measures what standard input names, a line `KIND ROWS
//! weighted|plain` each: `benches/scripts/embedding_bag_torch.py` so takes turns with torch.

use std::hint::black_box;
use std::io::BufRead;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nearline::embedding::{
    AHEAD, Bags, Codebook, Dialect, FloatCodec, FloatType, Pool, ProductCodec, RowCodec, Rows, RowwiseCodec,
    Table,
};
use nearline::{Database, TableVersion};
use nearline_benches::data::mixed;
use nearline_index::kernel::Kernel;

const DIM: usize = 64;
const POOL: u64 = 20;
const BAGS: u64 = 2_000;
/// Bytes of a line of the cache.
const LINE: usize = 64;
/// What can be measured. The last two are bounds: the lines of rows of 256 bytes are touched, those asked for early, and
/// such rows are read from first to last.
const KINDS: [&str; 11] =
    ["f32", "f16", "bf16", "int8", "int4", "int2", "pq", "served-int8", "served-f32", "gather", "read"];

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("ask") => answer(),
        rounds => print_all(rounds.map_or(Ok(15), str::parse)?),
    }
}

fn print_all(rounds: u64) -> Result<()> {
    println!("{:<14}{:>12}{:>12}{:>12}{:>12}", "", "20 k rows", "weighted", "2 M rows", "weighted");
    let mut lines = KINDS.map(|kind| format!("{kind:<14}"));
    for rows in [20_000, 2_000_000] {
        let subjects = KINDS.iter().map(|kind| Subject::new(kind, rows)).collect::<Result<Vec<_>>>()?;
        let mut times = vec![[Vec::new(), Vec::new()]; subjects.len()];
        for round in 0..rounds {
            for (number, (subject, times)) in (0..).zip(subjects.iter().zip(&mut times)) {
                subject.nanos(round * 100 + number + 25, false)?;
                times[0].push(subject.nanos(round * 100 + number, false)?);
                times[1].push(subject.nanos(round * 100 + number + 50, true)?);
            }
        }
        for (line, times) in lines.iter_mut().zip(times) {
            *line += &times.map(|mut times| format!("{:>12.2}", median(&mut times))).concat();
        }
    }
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// One line on standard output for each on standard input.
fn answer() -> Result<()> {
    let mut last: Option<(String, u64, Subject)> = None;
    for (round, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        let [kind, rows, weighted] = line.split(' ').collect::<Vec<_>>()[..] else {
            bail!("{line:?} is not KIND ROWS weighted|plain");
        };
        let rows = rows.parse()?;
        if last.as_ref().is_none_or(|(name, count, _)| (name.as_str(), *count) != (kind, rows)) {
            // Two tables at a time may be more than there is memory for.
            drop(last.take());
            last = Some((kind.to_owned(), rows, Subject::new(kind, rows)?));
        }
        let subject = &last.as_ref().context("a kind")?.2;
        // What the other has left in the caches is not to count.
        let (round, is_weighted) = (2 * round as u64, weighted == "weighted");
        subject.nanos(round, is_weighted)?;
        println!("{}", subject.nanos(round + 1, is_weighted)?);
    }
    Ok(())
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// What is measured.
enum Subject {
    Table(Box<dyn Table>),
    Served(
        TableVersion,
        #[expect(dead_code, reason = "the folder stays until the table is done")] tempfile::TempDir,
    ),
    Gather(Vec<u8>),
    Read(Vec<u8>),
}

impl Subject {
    fn new(kind: &str, rows: u64) -> Result<Self> {
        Ok(match kind {
            "gather" => Self::Gather(vec![1; rows as usize * 4 * DIM + LINE]),
            "read" => Self::Read(vec![1; rows as usize * 4 * DIM]),
            _ if kind.starts_with("served-") => {
                let dir = tempfile::tempdir()?;
                let database = Database::builder(dir.path()).memory_budget(4 << 30).open()?;
                let table = table_of(kind.trim_start_matches("served-"), rows)?;
                Self::Served(database.create_embedding_table("table", &*table)?.pin(), dir)
            }
            _ => Self::Table(table_of(kind, rows)?),
        })
    }

    /// The time of an id.
    fn nanos(&self, seed: u64, is_weighted: bool) -> Result<f64> {
        let rows = match self {
            Self::Table(table) => table.rows(),
            Self::Served(version, _) => version.rows(),
            Self::Gather(bytes) | Self::Read(bytes) => (bytes.len() / (4 * DIM)) as u64,
        };
        let offsets: Vec<u64> = (0..=BAGS).map(|bag| bag * POOL).collect();
        let ids: Vec<u64> = (0..BAGS * POOL).map(|i| mixed(seed << 32 | i) % rows).collect();
        let weights: Vec<f32> = (0..BAGS * POOL).map(|i| (mixed(i) >> 40) as f32 / 1e7).collect();
        let weights = is_weighted.then_some(&weights[..]);
        // Written to, so that its pages are there.
        let mut out = vec![1.0; BAGS as usize * DIM];
        let (start, mut count) = (Instant::now(), ids.len());
        match self {
            Self::Table(table) => {
                table.pool(&Bags::new(&ids, &offsets, weights)?, Pool::Sum, black_box(&mut out))?;
            }
            Self::Served(version, _) => {
                black_box(version.pool(&ids, &offsets, weights, Pool::Sum)?);
            }
            Self::Gather(bytes) => {
                // As tables do, rows begin where a line does.
                black_box(gather(&bytes[bytes.as_ptr().align_offset(LINE)..], &ids));
            }
            Self::Read(bytes) => {
                count = rows as usize;
                let words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word));
                black_box(words.fold(0, u64::wrapping_add));
            }
        }
        Ok(start.elapsed().as_nanos() as f64 / count as f64)
    }
}

/// Touches every line of some rows.
fn gather(bytes: &[u8], ids: &[u64]) -> u64 {
    let (kernel, stride) = (Kernel::best(), 4 * DIM);
    kernel.prefetch_rows(bytes, stride, &ids[..AHEAD]);
    let mut sum = 0;
    for (at, &id) in ids.iter().enumerate() {
        kernel.prefetch_rows(bytes, stride, ids.get(at + AHEAD..=at + AHEAD).unwrap_or_default());
        let row = &bytes[id as usize * stride..][..stride];
        sum += row.iter().step_by(LINE).chain(row.last()).map(|&byte| u64::from(byte)).sum::<u64>();
    }
    sum
}

fn table_of(kind: &str, rows: u64) -> Result<Box<dyn Table>> {
    let float = |kind| filled(FloatCodec::new(DIM, kind), rows);
    let rowwise = |bits, dialect| filled(RowwiseCodec::new(DIM, bits, dialect)?, rows);
    match kind {
        "f32" => float(FloatType::F32),
        "f16" => float(FloatType::F16),
        "bf16" => float(FloatType::Bf16),
        "int8" => rowwise(8, Dialect::Fused32),
        "int4" => rowwise(4, Dialect::Fused16),
        "int2" => rowwise(2, Dialect::Fused16),
        "pq" => {
            let centroids = (0..256 * DIM as u64).map(|i| (mixed(i) >> 40) as f32 / 1e7).collect();
            filled(ProductCodec::new(Codebook::new(DIM, 8, 256, centroids)?), rows)
        }
        _ => bail!("{kind:?} is none of {KINDS:?}"),
    }
}

/// Rows of which a thousand are different: what is in them does not matter.
fn filled<C: RowCodec + 'static>(codec: C, rows: u64) -> Result<Box<dyn Table>> {
    let mut row = vec![0; codec.row_bytes()];
    let mut bytes = Vec::with_capacity(rows as usize * codec.row_bytes());
    for id in 0..rows {
        if id < 1000 {
            let values: Vec<f32> = (0..DIM as u64).map(|j| (mixed(id * 64 + j) >> 40) as f32 / 1e7).collect();
            codec.encode(&values, &mut row);
            bytes.extend_from_slice(&row);
        } else {
            let from = (id % 1000) as usize * row.len();
            bytes.extend_from_within(from..from + row.len());
        }
    }
    Ok(Box::new(Rows::from_bytes(codec, bytes)?))
}
