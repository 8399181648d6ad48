//! How often the disk is asked.

use std::ops::Bound;
use std::sync::Arc;

use nearline_storage::{
    BlockCache, Disk, ExtentFile, IoMode, OsDisk, SimDisk, Table, TableOptions, TableWriter,
};

use super::{HEADER, noise, numbers, open, table_of, write};
use crate::folder;

/// Data blocks and index blocks of the table.
fn blocks(disk: &SimDisk) -> (usize, usize) {
    let file = ExtentFile::open(disk, "t", HEADER.kind).unwrap();
    let (mut extents, mut counts) = (file.extents(), [0; 2]);
    while let Some((_, extent)) = extents.next().unwrap() {
        if let Some(count) = counts.get_mut(extent.header.kind as usize - 20) {
            *count += 1;
        }
    }
    (counts[0], counts[1])
}

#[test]
fn a_lookup_reads_two_blocks_at_most_and_none_once_they_are_cached() {
    let map = numbers(30_000, 200);
    let (disk, table) = table_of(&map, TableOptions::default());
    assert!(blocks(&disk).1 > 1, "several index blocks");
    let cold = open(&disk, 0).unwrap();
    for key in map.keys().step_by(997) {
        let before = disk.operations();
        cold.get(key).unwrap().unwrap();
        assert_eq!(disk.operations() - before, 2);
        table.get(key).unwrap().unwrap();
        let before = disk.operations();
        assert_eq!(table.get(key).unwrap().as_ref(), map.get(key));
        assert_eq!(disk.operations(), before);
    }
    let before = disk.operations();
    let absent = (0..3000_u64).map(|i| (i * 3 + 1).to_be_bytes());
    assert!(absent.into_iter().all(|key| cold.get(&key).unwrap().is_none()));
    assert!(disk.operations() - before < 2 * 3000 / 50, "the filter spares nearly all of them");
}

#[test]
fn many_lookups_read_each_block_once_in_few_batches() {
    let map = numbers(20_000, 60);
    let (disk, table) = table_of(&map, TableOptions::default());
    let (data, index) = blocks(&disk);
    disk.clear_batches();
    let before = disk.operations();
    let mut keys: Vec<&Vec<u8>> = map.keys().chain(map.keys().rev()).collect();
    assert!(
        table.get_many(&keys).unwrap().iter().zip(&keys).all(|(found, key)| found.as_ref() == map.get(*key))
    );
    let batched: usize = disk.batches().iter().sum();
    let single = if index < 4 { index } else { 0 };
    assert_eq!(batched + single, data + index);
    let readers = 1 + u64::from(single == 0);
    assert_eq!(disk.operations() - before, (data + index) as u64 + readers, "reads, and opening readers");

    keys.dedup();
    disk.clear_batches();
    table.get_many(&keys[..500]).unwrap();
    assert!(disk.batches().is_empty(), "all of them were cached");
    let cold = open(&disk, 0).unwrap();
    let before = disk.operations();
    cold.get_many(&keys[..10]).unwrap();
    assert_eq!(disk.operations() - before, 2, "ten neighbours are in one block");
}

#[test]
fn values_of_their_own_are_read_in_a_batch() {
    let map = (0..200_u64).map(|i| (i.to_be_bytes().to_vec(), noise(5000, i))).collect();
    let (disk, table) = table_of(&map, TableOptions::default());
    disk.clear_batches();
    let keys: Vec<&Vec<u8>> = map.keys().collect();
    assert!(
        table
            .get_many(&keys)
            .unwrap()
            .iter()
            .zip(map.values())
            .all(|(found, value)| found.as_ref() == Some(value))
    );
    assert!(disk.batches().iter().sum::<usize>() == 200 && disk.batches().len() < 80);
}

#[test]
fn estimates_read_index_blocks_only() {
    let map = numbers(30_000, 60);
    let (disk, _) = table_of(&map, TableOptions::default());
    let table = open(&disk, 0).unwrap();
    let before = disk.operations();
    let [from, to] = [3000_u64, 60_000].map(u64::to_be_bytes);
    let estimate = table.count_estimate(Bound::Included(&from), Bound::Excluded(&to)).unwrap();
    assert!((19_000..19_400).contains(&estimate), "{estimate}");
    assert_eq!(table.count_estimate(Bound::Unbounded, Bound::Unbounded).unwrap(), 30_000);
    assert_eq!(disk.operations() - before, 2);
}

#[test]
fn a_scan_leaves_the_cache_alone() {
    let map = numbers(3000, 60);
    let disk = SimDisk::new(1);
    write(&disk, &map, TableOptions::default()).unwrap();
    let cache = Arc::new(BlockCache::new(1 << 20));
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let table = Table::open(&shared, "t", HEADER, Arc::clone(&cache)).unwrap();
    assert_eq!(table.scan().count(), 3000);
    table.verify().unwrap();
    assert_eq!(cache.counters().entries, 0);
    assert_eq!(table.range(Bound::Unbounded, Bound::Unbounded).count(), 3000);
    assert!(cache.counters().entries > 10);
    cache.remove_file(table.file_id());
    assert_eq!(cache.counters().bytes, 0);
}

/// On real files, by both ways of reading, from many threads, and after the name is gone.
#[test]
fn real_files_are_read_by_many_threads_and_without_a_name() {
    let map = numbers(4000, 900);
    let keys: Vec<&Vec<u8>> = map.keys().collect();
    for io in [IoMode::Uring, IoMode::Pread] {
        let dir = folder();
        let Ok(disk) = OsDisk::new(dir.path(), io) else {
            eprintln!("skipped: no {io:?} here");
            continue;
        };
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let mut writer = TableWriter::create(&*disk, "t", HEADER, TableOptions::default()).unwrap();
        map.iter().for_each(|(key, value)| writer.push(key, value).unwrap());
        writer.finish().unwrap();
        let table = Table::open(&disk, "t", HEADER, Arc::new(BlockCache::new(200_000))).unwrap();
        let check = || {
            let found = table.get_many(&keys).unwrap();
            assert!(found.iter().zip(map.values()).all(|(found, value)| found.as_ref() == Some(value)));
        };
        std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(check))));
        disk.remove("t").unwrap();
        check();
    }
}
