//! Pooled lookups on one thread, in ns an id; `benches/scripts/embedding_bag_torch.py` measures torch's kernels likewise.
//!
//! ```text
//! cargo run --release -p nearline-benches --example embedding_bag -- [ROUNDS]
//! ```
//!
//! 64 values a row, bags of 20 random ids, 20 thousand rows (in cache) and 2 million (from memory); the least of ROUNDS (7).

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use nearline::embedding::{
    Bags, Codebook, Dialect, FloatCodec, FloatType, Pool, ProductCodec, RowCodec, Rows, RowwiseCodec, Table,
};

const DIM: usize = 64;
const POOL: u64 = 20;
const BAGS: u64 = 2_000;

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(7), |arg| arg.parse())?;
    println!("{:<10}{:>12}{:>12}", "", "20 k rows", "2 M rows");
    for kind in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
        measure(&format!("{kind:?}"), rounds, || Ok(FloatCodec::new(DIM, kind)))?;
    }
    let bits = [(8, Dialect::Fused32), (4, Dialect::Fused16), (2, Dialect::Fused16)];
    for (bits, dialect) in bits {
        measure(&format!("int{bits}"), rounds, || Ok(RowwiseCodec::new(DIM, bits, dialect)?))?;
    }
    let centroids = || (0..256 * DIM as u64).map(|i| (mixed(i) >> 40) as f32 / 1e7).collect();
    measure("PQ 8x8", rounds, || Ok(ProductCodec::new(Codebook::new(DIM, 8, 256, centroids())?)))
}

fn measure<C: RowCodec>(name: &str, rounds: usize, codec: impl Fn() -> Result<C>) -> Result<()> {
    let mut line = format!("{name:<10}");
    for rows in [20_000u64, 2_000_000] {
        let codec = codec()?;
        let mut row = vec![0; codec.row_bytes()];
        let mut bytes = Vec::with_capacity(rows as usize * codec.row_bytes());
        for id in 0..rows {
            // A thousand different rows are enough: what is in them does not matter.
            if id < 1000 {
                let values: Vec<f32> =
                    (0..DIM as u64).map(|j| (mixed(id * 64 + j) >> 40) as f32 / 1e7).collect();
                codec.encode(&values, &mut row);
                bytes.extend_from_slice(&row);
            } else {
                let from = (id % 1000) as usize * row.len();
                bytes.extend_from_within(from..from + row.len());
            }
        }
        let table = Rows::from_bytes(codec, bytes)?;
        line += &format!("{:>12.2}", nanos(&table, rounds)?);
    }
    println!("{line}");
    Ok(())
}

/// The least time of an id.
fn nanos(table: &dyn Table, rounds: usize) -> Result<f64> {
    let offsets: Vec<u64> = (0..=BAGS).map(|bag| bag * POOL).collect();
    let mut out = vec![0.0; BAGS as usize * DIM];
    let mut least = f64::INFINITY;
    for round in 0..rounds as u64 {
        let ids: Vec<u64> = (0..BAGS * POOL).map(|i| mixed(round << 32 | i) % table.rows()).collect();
        let start = Instant::now();
        table.pool(&Bags::new(&ids, &offsets, None)?, Pool::Sum, black_box(&mut out))?;
        least = least.min(start.elapsed().as_nanos() as f64 / ids.len() as f64);
    }
    Ok(least)
}

fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
