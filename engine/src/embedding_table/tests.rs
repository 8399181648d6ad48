//! Tables against their twin in memory, and against crashes, faults and damage.

mod by_frequency;
mod crash;
mod dynamic;
mod kill;
mod levels;
mod rows;
mod runs;
mod shared;

use std::sync::Arc;

use nearline_index::embedding::{
    Dialect, Dynamic, DynamicRules, FitInput, Hash, Rows, RowwiseCodec, Rule, Table, Train,
};
use nearline_storage::{Disk, SimDisk};

use super::store::{Inner, Limits, Source};
use super::{EmbeddingTable, TableError};

const STORE: u64 = 0xe_7ab1e;
const DIM: usize = 6;
const ROWS: usize = 1500;
/// Small, so that everything happens often: about a third of the rows are in memory.
const LIMITS: Limits = Limits { resident: 5_000, log: 20_000, log_segment: 6_000 };
const RULE: Rule = Rule::Adagrad { rate: 0.1, epsilon: 1e-8 };

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.below(2_001) as f32 / 1000.0 - 1.0).collect()
    }
}

/// Rows of 4 bits.
fn served(seed: u64) -> Rows<RowwiseCodec> {
    let codec = RowwiseCodec::new(DIM, 4, Dialect::Fused16).unwrap();
    Rows::encode(codec, &Random(seed).values(ROWS * DIM)).unwrap()
}

/// Shared rows, to be trained.
fn trained(seed: u64) -> Hash {
    let values = Random(seed).values(80 * DIM);
    Hash::fit(&FitInput::new(&values, DIM, None, 30 * DIM as u64 * 4, seed).unwrap()).unwrap()
}

/// Rows that come after they were seen twice, and soon go.
fn dynamic() -> Dynamic {
    let rules = DynamicRules { admit_after: 2, expire_writes: 40, expire_seconds: 0, rows_max: 30 };
    Dynamic::new(vec![0.25; DIM], rules, RULE).unwrap()
}

fn create_dynamic(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    Inner::create(&disk, STORE, &Source::Dynamic(&dynamic())).unwrap();
    disk
}

fn create_served(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    Inner::create(&disk, STORE, &Source::Served(&served(seed))).unwrap();
    disk
}

fn create_trained(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    Inner::create(&disk, STORE, &Source::Trained(&trained(seed), RULE)).unwrap();
    disk
}

fn open(disk: &SimDisk) -> Result<EmbeddingTable, TableError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Ok(EmbeddingTable { inner: Arc::new(Inner::open(disk, LIMITS, || Ok(None))?) })
}

/// All rows, by their bits.
fn bits(table: &EmbeddingTable) -> Vec<u32> {
    let version = table.pin();
    let ids: Vec<u64> = (0..version.rows()).collect();
    version.lookup(&ids).unwrap().iter().map(|x| x.to_bits()).collect()
}

/// The rows that scripts write to, by their bits.
fn bits_below_80(table: &EmbeddingTable) -> Vec<u32> {
    let ids: Vec<u64> = (0..80).collect();
    table.pin().lookup(&ids).unwrap().iter().map(|x| x.to_bits()).collect()
}

/// The same of a table in memory.
fn bits_below_80_of(table: &dyn Table) -> Vec<u32> {
    let ids: Vec<u64> = (0..80).collect();
    let mut out = vec![0.0; ids.len() * table.dim()];
    table.lookup(&ids, &mut out).unwrap();
    out.iter().map(|x| x.to_bits()).collect()
}

/// All rows of a table in memory.
fn bits_of(table: &dyn Table) -> Vec<u32> {
    let ids: Vec<u64> = (0..table.rows()).collect();
    let mut out = vec![0.0; ids.len() * table.dim()];
    table.lookup(&ids, &mut out).unwrap();
    out.iter().map(|x| x.to_bits()).collect()
}

/// What a table in training would be after some steps.
fn twin_of(seed: u64, steps: &[(Vec<u64>, Vec<f32>)]) -> Vec<u32> {
    let mut table = trained(seed);
    let mut optimizer = nearline_index::embedding::Optimizer::new(RULE, table.shapes()).unwrap();
    for (ids, gradients) in steps {
        nearline_index::embedding::train(&mut table, ids, gradients, &mut optimizer).unwrap();
    }
    bits_of(&table)
}

fn steps(seed: u64, count: usize) -> Vec<(Vec<u64>, Vec<f32>)> {
    let mut random = Random(seed);
    (0..count)
        .map(|_| {
            let ids: Vec<u64> = (0..1 + random.below(12)).map(|_| random.below(80)).collect();
            let gradients = random.values(ids.len() * DIM);
            (ids, gradients)
        })
        .collect()
}
