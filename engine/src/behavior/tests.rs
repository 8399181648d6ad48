//! Spaces against their twin, and against crashes, faults, damage and other threads.

mod crash;
mod epochs;
mod kill;
mod moving;
mod planted;
mod snapshots;
mod tables;
mod threads;
mod twin;

use std::sync::Arc;

use nearline_index::sdim::Normalize;
use nearline_storage::{BlockCache, SimDisk, StorageError};

use super::{BehaviorOptions, BehaviorSpace, Epoch, Handle, Inner, store::Limits};

const STORE: u64 = 0xbe_4a_01;
const DIM: usize = 5;
const TTL: u64 = 50;
/// Small, so that everything happens often.
const LIMITS: Limits = Limits {
    dirty: 12_000,
    log: 32_768,
    log_segment: 8_192,
    aside: false,
    tables: 20_000,
    histories: 6_000,
    items: 2_000,
};

/// An empty space on a disk in memory.
fn create(seed: u64, normalize: Normalize) -> SimDisk {
    let disk = SimDisk::new(seed);
    let options = BehaviorOptions::new(DIM)
        .hashes(4, 2)
        .seed(seed)
        .normalize(normalize)
        .ttl_ms(TTL)
        .embedding_version("v1");
    Inner::create(&disk, &options.epoch(STORE).unwrap()).unwrap();
    disk
}

fn open(disk: &SimDisk) -> Result<BehaviorSpace, StorageError> {
    open_within(disk, LIMITS)
}

fn open_within(disk: &SimDisk, limits: Limits) -> Result<BehaviorSpace, StorageError> {
    let inner = Inner::open(planted::disk_of(disk), limits, Arc::new(BlockCache::new(100_000)), None)?;
    Ok(BehaviorSpace { inner: Arc::new(Handle::new(inner)) })
}

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

    fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Elements of many sizes: their sums are rounded.
    fn vector(&mut self) -> Vec<f32> {
        let element = |random: &mut Self| match random.below(8) {
            0 => 0.0,
            1 => 3e8,
            2 => -1e-12,
            _ => random.below(2_000) as f32 / 997.0 - 1.0,
        };
        (0..DIM).map(|_| element(self)).collect()
    }
}

/// The epoch that serves.
fn serving(space: &BehaviorSpace) -> Arc<Epoch> {
    Arc::clone(space.inner.state().epochs.serving())
}

/// The vector of an item.
fn vector_of(item: u64) -> Vec<f32> {
    Random(item ^ 0x17e4).vector()
}
