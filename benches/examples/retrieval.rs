//! What compressed tables cost a search by inner product: recall@10 of every fitted method against the same rows in f32.
//!
//! ```text
//! NEARLINE_DATASETS=FOLDER cargo run --release -p nearline-benches --example retrieval -- [gowalla|papers|…] [QUERIES] [METHOD]
//! ```
//!
//! Of QUERIES (1,000) the first half says how often each row is asked for: the times it is among the ten best of one. Methods
//! that know frequencies are given those; recall is that of the second half. All rows are compared, by `Table::dot`. With
//! METHOD only those run whose names begin so.

use anyhow::{Context, Result};
use nearline::embedding::*;
use nearline_datasets::{catalog, load_f32};
use rayon::prelude::*;

const BEST: usize = 10;
const RATIOS: [u64; 6] = [2, 4, 8, 16, 32, 64];

/// A method by the name it is shown under, and whether it is told frequencies.
const METHODS: [(&str, Method, bool); 15] = [
    ("float", Method::Float, false),
    ("int8/4/2", Method::Rowwise, false),
    ("INT8/16", Method::Uniform, false),
    ("ALPT, fitted", Method::Step, false),
    ("PQ", Method::Product, false),
    ("PQ, weighted", Method::Product, true),
    ("MGQE, fitted", Method::Tiered, true),
    ("RQ", Method::Residual, false),
    ("RQ, weighted", Method::Residual, true),
    ("BitStack", Method::BitStack, false),
    ("SVD", Method::LowRank, false),
    ("TT, fitted", Method::TensorTrain, false),
    ("RPS, fitted", Method::Cyclic, true),
    ("hash, fitted", Method::Hash, true),
    ("pruned values", Method::Sparse, false),
];

fn main() -> Result<()> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "gowalla".to_owned());
    let most = std::env::args().nth(2).map_or(Ok(1000), |arg| arg.parse())?;
    let only = std::env::args().nth(3).unwrap_or_default();
    let catalog = catalog::open().context("no data sets")?;
    let set = catalog.find(&name).with_context(|| format!("no set {name:?}"))?;
    let ((rows, dim), (mut queries, _)) = (load_f32(&set.base)?, load_f32(&set.query)?);
    queries.truncate(most / 2 * 2 * dim);
    let exact = Rows::encode(FloatCodec::new(dim, FloatType::F32), &rows)?;
    let best = best_of_all(&exact, &queries)?;
    let (before, after) = best.split_at(best.len() / 2);
    let mut frequencies = vec![0; rows.len() / dim];
    before.iter().flatten().for_each(|&row| frequencies[row as usize] += 1);
    let asked = frequencies.iter().filter(|&&times| times > 0).count();
    let plain = rows.len() as u64 * 4;
    println!(
        "{}: {} rows of {dim}, {asked} of them asked for, {} queries",
        set.name,
        frequencies.len(),
        after.len()
    );
    println!("{:<16}{}", "method", RATIOS.map(|ratio| format!("{:>16}", format!("{ratio}x"))).concat());
    for (name, method, is_weighted) in METHODS.into_iter().filter(|(name, ..)| name.starts_with(&only)) {
        let mut line = format!("{name:<16}");
        for ratio in RATIOS {
            let frequencies = is_weighted.then_some(&frequencies[..]);
            let input = FitInput::new(&rows, dim, frequencies, plain / ratio, 0)?;
            line += &match fit_as(method, &input, &[]) {
                Ok(table) => {
                    let found = best_of_all(&*table, &queries[queries.len() / 2..])?;
                    let real = plain as f64 / table.bytes().total() as f64;
                    format!("{:>16}", format!("{:.4} ({real:.1}x)", recall(after, &found)))
                }
                Err(_) => format!("{:>16}", "–"),
            };
        }
        println!("{line}");
    }
    Ok(())
}

/// The best rows of each query, on all threads.
fn best_of_all(table: &dyn Table, queries: &[f32]) -> Result<Vec<Vec<u32>>> {
    let ids: Vec<u64> = (0..table.rows()).collect();
    queries.par_chunks_exact(table.dim()).map(|query| best_of(table, query, &ids)).collect()
}

/// The best rows of a query; of equals the first.
fn best_of(table: &dyn Table, query: &[f32], ids: &[u64]) -> Result<Vec<u32>> {
    let mut products = vec![0.0; ids.len()];
    table.dot(query, ids, &mut products)?;
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    let by = |a: &u32, b: &u32| products[*b as usize].total_cmp(&products[*a as usize]).then(a.cmp(b));
    order.select_nth_unstable_by(BEST, by);
    order.truncate(BEST);
    Ok(order)
}

/// The share of the best rows that was found.
fn recall(expected: &[Vec<u32>], found: &[Vec<u32>]) -> f64 {
    let pairs = expected.iter().zip(found);
    let hits: usize = pairs.map(|(a, b)| a.iter().filter(|row| b.contains(row)).count()).sum();
    hits as f64 / (expected.len() * BEST) as f64
}
