//! What a lookup takes, of every method at the same bytes: rows alone, and bags of 20 that are added up.
//!
//! ```text
//! cargo run --release -p nearline-benches --example lookups -- [ROWS] [DIM] [RATIO]
//! ```
//!
//! ROWS (10,000) rows of DIM (64) values around a thousand centres, by a fixed seed, frequencies as of Zipf's law; tables of a
//! RATIO-th (4) of the bytes of plain rows, or of as many fewer as the method can have. Ids are drawn by their frequency. One
//! thread; the methods take turns, and the median of the rounds counts. Methods that are not fitted are drawn by chance.

use std::time::Instant;

use anyhow::Result;
use nearline::embedding::*;
use nearline_benches::data::mixed;
use nearline_benches::measure::percentile;

const IDS: usize = 20_000;
const BAG: usize = 20;
const ROUNDS: usize = 15;
/// What a method may take in a round, about.
const ROUND_SECONDS: f64 = 0.05;
const CENTRES: u64 = 1_000;

/// From -1 to 1.
fn unit(x: u64) -> f32 {
    (mixed(x) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}

/// A method, and what its lookups took in each round, in nanoseconds an id.
struct Measured {
    name: String,
    table: Box<dyn Table>,
    /// Ids asked for in a round: fewer where each takes long.
    ids: usize,
    rows: Vec<f64>,
    bags: Vec<f64>,
}

fn main() -> Result<()> {
    let args: Vec<usize> = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    let arg = |at: usize, usual| args.get(at).copied().unwrap_or(usual);
    let (rows, dim, ratio) = (arg(0, 10_000) as u64, arg(1, 64), arg(2, 4) as u64);
    let value =
        |row: u64, j: u64| unit(mixed(row) % CENTRES * 0x1000 + j) + 0.3 * unit((1 << 40) + row * 0x1000 + j);
    let values: Vec<f32> = (0..rows).flat_map(|row| (0..dim as u64).map(move |j| value(row, j))).collect();
    let frequencies: Vec<u64> = (0..rows).map(|row| 1 + rows / (1 + mixed(row ^ 7) % rows)).collect();
    // By frequency: an id that has a share of all has that share of the draws.
    let ends: Vec<u64> = frequencies
        .iter()
        .scan(0, |sum, one| {
            *sum += one;
            Some(*sum)
        })
        .collect();
    let draw = |i: usize| ends.partition_point(|&end| end <= mixed(i as u64) % ends[ends.len() - 1]) as u64;
    let ids: Vec<u64> = (0..IDS).map(draw).collect();
    let plain = rows * dim as u64 * 4;
    let mut all = Vec::new();
    for method in FITTED.into_iter().chain(STARTED.into_iter().filter(|method| !FITTED.contains(method))) {
        let made = [ratio, 4, 3, 2, 1].into_iter().filter(|&one| one <= ratio).find_map(|ratio| {
            let input = FitInput::new(&values, dim, Some(&frequencies), plain / ratio, 1).ok()?;
            match FITTED.contains(&method) {
                true => fit_as(method, &input, &[]).ok(),
                false => start_as(method, rows, dim, plain / ratio, 0.1, 1)
                    .ok()
                    .map(|table| table as Box<dyn Table>),
            }
        });
        if let Some(table) = made {
            let name = format!("{method:?}");
            let start = Instant::now();
            table.lookup(&ids[..BAG], &mut vec![0.0; BAG * dim])?;
            let bags = (ROUND_SECONDS / start.elapsed().as_secs_f64()) as usize;
            let ids = bags.clamp(1, IDS / BAG) * BAG;
            all.push(Measured { name, table, ids, rows: Vec::new(), bags: Vec::new() });
        }
    }
    measure(&mut all, &ids, dim)?;
    println!("{rows} rows of {dim}, {} bytes plain; ids by frequency, in RAM, one thread", dim * 4);
    println!("| method | bytes a row | ns a row | ns an id of a bag |\n|---|---|---|---|");
    for Measured { name, table, rows: of_rows, bags, .. } in &mut all {
        let bytes = table.bytes().total() as f64 / rows as f64;
        of_rows.sort_by(f64::total_cmp);
        bags.sort_by(f64::total_cmp);
        let (row, bag) = (percentile(of_rows, 0.5), percentile(bags, 0.5));
        println!("| `{name}` | {bytes:.1} | {row:.0} | {bag:.0} |");
    }
    Ok(())
}

fn measure(all: &mut [Measured], ids: &[u64], dim: usize) -> Result<()> {
    let offsets: Vec<u64> = (0..=ids.len() as u64).step_by(BAG).collect();
    let (mut rows, mut sums) = (vec![0.0; ids.len() * dim], vec![0.0; ids.len() / BAG * dim]);
    for _ in 0..ROUNDS {
        for one in all.iter_mut() {
            let (ids, bags) = (&ids[..one.ids], one.ids / BAG);
            let start = Instant::now();
            one.table.lookup(ids, &mut rows[..ids.len() * dim])?;
            one.rows.push(start.elapsed().as_secs_f64() * 1e9 / ids.len() as f64);
            let start = Instant::now();
            one.table.pool(&Bags::new(ids, &offsets[..=bags], None)?, Pool::Sum, &mut sums[..bags * dim])?;
            one.bags.push(start.elapsed().as_secs_f64() * 1e9 / ids.len() as f64);
        }
    }
    Ok(())
}
