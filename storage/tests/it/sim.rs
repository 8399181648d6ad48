//! The simulated disk keeps its own promises.

use nearline_storage::{
    Disk, DiskFile, Fault, Faults, LockMode, PAGE, ReadRange, SimDisk, StorageError, Window,
};

const WINDOW: Window = Window { reads: 64, bytes: 1 << 20 };

fn pages(disk: &SimDisk, count: usize) -> std::sync::Arc<dyn DiskFile> {
    let file = disk.create("pages").unwrap();
    for page in 0..count {
        file.write_at((page * PAGE) as u64, &[page as u8; PAGE]).unwrap();
    }
    file
}

fn page(number: usize) -> ReadRange {
    ReadRange { offset: (number * PAGE) as u64, bytes: PAGE }
}

#[test]
fn batches_are_logged_as_they_start() {
    let disk = SimDisk::new(3);
    pages(&disk, 40);
    let mut reader = disk.batch_reader(&["pages"], WINDOW).unwrap();
    for round in [32, 7] {
        (0..round).for_each(|i| reader.submit(i as u64, 0, page(i)).unwrap());
        let mut seen = vec![0; round];
        while let Some(done) = reader.wait().unwrap() {
            assert!(done.bytes.iter().all(|&byte| u64::from(byte) == done.tag));
            seen[done.tag as usize] += 1;
        }
        assert_eq!(seen, vec![1; round]);
    }
    assert_eq!(disk.batches(), [32, 7]);
    let counters = reader.counters();
    assert_eq!((counters.reads, counters.bytes, counters.enters), (39, 39 * PAGE as u64, 2));
    disk.clear_batches();
    assert!(disk.batches().is_empty());
}

#[test]
fn faults_strike_where_they_are_told_to() {
    let disk = SimDisk::new(3);
    let file = pages(&disk, 2);
    let mut buf = [0; PAGE];
    let mut strike = |fault| {
        disk.set_faults(Faults { at: vec![(disk.operations() + 1, fault)], ..Faults::default() });
        let outcome = file.read_at(0, &mut buf);
        (outcome, buf.iter().map(|byte| byte.count_ones()).sum::<u32>())
    };
    assert!(matches!(strike(Fault::Io).0, Err(StorageError::Io { .. })));
    assert!(matches!(strike(Fault::ShortRead).0, Err(StorageError::UnexpectedEnd { .. })));
    let (outcome, ones) = strike(Fault::FlipBit);
    assert!(outcome.is_ok() && ones == 1, "{ones} bits differ");
    file.read_at(0, &mut buf).unwrap();
    assert_eq!(buf, [0; PAGE], "it was the read that lied");

    disk.set_faults(Faults { space: Some(2 * PAGE as u64 + 10), ..Faults::default() });
    file.write_at(0, &[1; PAGE]).unwrap();
    file.write_at(2 * PAGE as u64, &[1; 10]).unwrap();
    let full = file.write_at(2 * PAGE as u64 + 10, &[1]).unwrap_err();
    assert!(matches!(full, StorageError::DiskFull { .. }), "{full}");

    disk.set_faults(Faults { per_million: 500_000, ..Faults::default() });
    let failed = (0..200).filter(|_| file.read_at(0, &mut buf).is_err()).count();
    assert!((50..150).contains(&failed), "{failed} of 200");
}

#[test]
fn the_power_goes_and_comes_back() {
    let disk = SimDisk::new(3);
    let file = pages(&disk, 1);
    file.sync().unwrap();
    disk.sync_dir().unwrap();
    let lock = disk.lock(LockMode::Exclusive).unwrap();
    assert!(matches!(disk.lock(LockMode::Shared), Err(StorageError::Locked { .. })));
    disk.crash_at(disk.operations() + 1);
    assert!(file.sync().is_err() && disk.list().is_err() && disk.open("pages").is_err());
    disk.crash(9);
    assert!(file.len().is_err(), "handles die with the process");
    let again = disk.open("pages").unwrap();
    assert_eq!(again.len().unwrap(), PAGE as u64);
    let readers = [disk.lock(LockMode::Shared).unwrap(), disk.lock(LockMode::Shared).unwrap()];
    drop(lock);
    assert!(disk.lock(LockMode::Exclusive).is_err(), "the old lock's end frees nothing of the new ones");
    drop(readers);
    drop(disk.lock(LockMode::Exclusive).unwrap());
}

#[test]
fn the_same_seeds_give_the_same_crash() {
    let crashed = |seed| {
        let disk = SimDisk::new(1);
        pages(&disk, 8).sync().unwrap();
        disk.sync_dir().unwrap();
        let file = disk.open_rw("pages").unwrap();
        (0..8).for_each(|i| file.write_at(i * 4000, &[77; 3000]).unwrap());
        disk.crash(seed);
        disk.bytes("pages").unwrap()
    };
    assert!(crashed(5) == crashed(5));
    assert!(crashed(5) != crashed(6));
}
