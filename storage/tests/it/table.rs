//! Sorted tables against a `BTreeMap`.

mod crash;
mod damage;
mod reads;
mod twin;

use std::collections::BTreeMap;
use std::sync::Arc;

use nearline_storage::{BlockCache, Disk, FileHeader, Result, SimDisk, Table, TableOptions, TableWriter};

const HEADER: FileHeader = FileHeader { kind: *b"TABL", file_id: 77 };

/// The naive twin.
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Writes a table.
fn write(disk: &SimDisk, map: &Map, options: TableOptions) -> Result<()> {
    let mut writer = TableWriter::create(disk, "t", HEADER, options)?;
    for (key, value) in map {
        writer.push(key, value)?;
    }
    let summary = writer.finish()?;
    assert_eq!(summary.entries, map.len() as u64);
    assert_eq!(Some(&summary.smallest), map.keys().next().or(Some(&vec![])));
    assert_eq!(Some(&summary.largest), map.keys().next_back().or(Some(&vec![])));
    Ok(())
}

/// Opens the table with a cache of so many bytes.
fn open(disk: &SimDisk, cache_bytes: usize) -> Result<Table> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Table::open(&disk, "t", HEADER, Arc::new(BlockCache::new(cache_bytes)))
}

/// A map written and opened again.
fn table_of(map: &Map, options: TableOptions) -> (SimDisk, Table) {
    let disk = SimDisk::new(1);
    write(&disk, map, options).unwrap();
    let table = open(&disk, 1 << 20).unwrap();
    (disk, table)
}

/// Bytes that look random, the same for the same seed.
fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// `count` entries with keys of eight bytes and values of up to `value_len`.
fn numbers(count: u64, value_len: usize) -> Map {
    let value = |i: u64| noise((i as usize * 31) % (value_len + 1), i);
    (0..count).map(|i| ((i * 3).to_be_bytes().to_vec(), value(i))).collect()
}
