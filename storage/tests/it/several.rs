//! Batch reads of several files through one reader, waiting and polling, on all three disks.

use std::time::{Duration, Instant};

use nearline_storage::{
    BatchReader, Disk, Fault, Faults, IoMode, OsDisk, PAGE, ReadRange, Result, SimDisk, StorageError, Window,
};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::folder;

const NAMES: [&str; 2] = ["a", "b"];
/// Pages of each file.
const PAGES: [usize; 2] = [200, 90];
const WINDOW: Window = Window { reads: 64, bytes: 4 << 20 };
/// Long enough for any read of these tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every page says which file it is of and where.
fn content(file: usize) -> Vec<u8> {
    let word = |i: u32| ((file as u32 + 1) << 24 | i).to_le_bytes();
    (0..(PAGES[file] * PAGE / 4) as u32).flat_map(word).collect()
}

fn page(number: usize) -> ReadRange {
    ReadRange { offset: (number * PAGE) as u64, bytes: PAGE }
}

/// The disks that work here, each with the files, and the folders to be dropped after them.
fn disks() -> Vec<(Box<dyn Disk>, Option<TempDir>)> {
    let mut disks: Vec<(Box<dyn Disk>, _)> = vec![(Box::new(SimDisk::new(1)), None)];
    for io in [IoMode::Uring, IoMode::Pread] {
        let dir = folder();
        match OsDisk::new(dir.path(), io) {
            Ok(disk) => disks.push((Box::new(disk), Some(dir))),
            Err(error) => eprintln!("skipped: {error}"),
        }
    }
    for (disk, _) in &disks {
        for (file, name) in NAMES.into_iter().enumerate() {
            disk.create(name).unwrap().write_at(0, &content(file)).unwrap();
        }
    }
    disks
}

/// Takes one read out by polling until there is one, or by waiting: the tag, with the bytes copied.
fn take(reader: &mut dyn BatchReader, polling: bool) -> Result<Option<(u64, Vec<u8>)>> {
    let start = Instant::now();
    while polling && reader.in_flight() > 0 {
        assert!(start.elapsed() < PATIENCE, "polled in vain");
        if let Some(done) = reader.poll()? {
            return Ok(Some((done.tag, done.bytes.to_vec())));
        }
    }
    let done = if polling { reader.poll()? } else { reader.wait()? };
    Ok(done.map(|done| (done.tag, done.bytes.to_vec())))
}

/// Reads everything, polling or waiting as `polling` says in turn, and compares bytes and counts. The tags are not
/// small numbers.
fn read_all(reader: &mut dyn BatchReader, reads: &[(usize, ReadRange)], polling: &[bool]) {
    const TAGS: u64 = u64::MAX - 100_000;
    let contents = [content(0), content(1)];
    let (mut seen, mut next) = (vec![0; reads.len()], 0);
    for round in 0.. {
        while let Some(&(file, range)) = reads.get(next).filter(|(_, range)| reader.has_room(*range)) {
            reader.submit(TAGS + next as u64, file, range).unwrap();
            next += 1;
            assert_eq!(reader.in_flight(), next - round);
        }
        let Some((tag, bytes)) = take(reader, polling[round % polling.len()]).unwrap() else { break };
        let (file, range) = reads[(tag - TAGS) as usize];
        assert!(bytes == contents[file][range.offset as usize..range.end() as usize], "{file} {range:?}");
        seen[(tag - TAGS) as usize] += 1;
        assert_eq!(reader.in_flight(), next - round - 1);
    }
    assert_eq!(seen, vec![1; reads.len()]);
    assert!(reader.poll().unwrap().is_none() && reader.wait().unwrap().is_none());
}

fn reads() -> impl Strategy<Value = Vec<(usize, ReadRange)>> {
    let read = (0..2_usize, 0..PAGES[0], 1..20_usize).prop_map(|(file, first, pages)| {
        let first = first % PAGES[file];
        let pages = pages.min(PAGES[file] - first);
        (file, ReadRange { offset: (first * PAGE) as u64, bytes: pages * PAGE })
    });
    proptest::collection::vec(read, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn two_files_interleaved_are_not_mixed_up(
        reads in reads(),
        polling in proptest::collection::vec(any::<bool>(), 1..8),
        window in (1..100_usize, 1..300_usize),
    ) {
        let window = Window { reads: window.0, bytes: window.1 * PAGE };
        for (disk, _dir) in disks() {
            let mut reader = disk.batch_reader(&NAMES, window).unwrap();
            read_all(&mut *reader, &reads, &polling);
            let counters = reader.counters();
            prop_assert_eq!(counters.reads, reads.len() as u64);
            prop_assert_eq!(counters.bytes, reads.iter().map(|(_, range)| range.bytes as u64).sum::<u64>());
        }
    }
}

#[test]
fn polling_starts_reads_and_hands_out_all_of_them() {
    let reads: Vec<_> = (0..120).map(|i| (i % 2, page(i * 7 % PAGES[1]))).collect();
    for (disk, _dir) in disks() {
        let mut reader = disk.batch_reader(&NAMES, WINDOW).unwrap();
        assert!(reader.poll().unwrap().is_none());
        assert_eq!((reader.counters().enters, reader.in_flight()), (0, 0));
        read_all(&mut *reader, &reads, &[true]);
        // Polls that could not find anything enter no kernel, however many there were.
        let enters = reader.counters().enters;
        assert!(enters <= 3 * reads.len() as u64, "{enters} enters");

        let queued =
            |reader: &mut dyn BatchReader| (0..30).map(|i| reader.submit(i, 1, page(3)).unwrap()).count();
        queued(&mut *reader);
        let before = reader.counters().reads;
        let taken = usize::from(reader.poll().unwrap().is_some());
        assert_eq!(
            (reader.counters().reads - before, reader.in_flight()),
            (30, 30 - taken),
            "all have started"
        );
    }
}

#[test]
fn errors_name_the_file_and_the_place() {
    for (disk, _dir) in disks() {
        for polling in [true, false] {
            let mut reader = disk.batch_reader(&NAMES, WINDOW).unwrap();
            let behind = page(PAGES[1] + 2);
            for (tag, file, range) in [(0, 0, behind), (1, 1, behind), (2, 1, page(1)), (3, 0, page(1))] {
                reader.submit(tag, file, range).unwrap();
            }
            let (mut good, mut bad) = (Vec::new(), 0);
            loop {
                match take(&mut *reader, polling) {
                    Ok(Some((tag, _))) => good.push(tag),
                    Ok(None) => break,
                    Err(StorageError::UnexpectedEnd { file, offset, len, .. }) => {
                        assert_eq!(file, disk.root().join("b"));
                        assert_eq!((offset, len), (behind.offset, (PAGES[1] * PAGE) as u64));
                        bad += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
                assert_eq!(reader.in_flight(), 4 - good.len() - bad);
            }
            good.sort_unstable();
            assert_eq!((good, bad), (vec![0, 2, 3], 1));
        }
    }
}

#[test]
fn a_fault_of_the_disk_names_the_file() {
    let disk = SimDisk::new(5);
    NAMES.iter().for_each(|name| disk.create(name).unwrap().write_at(0, &[7; PAGE]).unwrap());
    let mut reader = disk.batch_reader(&NAMES, WINDOW).unwrap();
    for (file, name) in NAMES.iter().enumerate() {
        disk.set_faults(Faults { at: vec![(disk.operations() + 1, Fault::Io)], ..Faults::default() });
        reader.submit(9, file, page(0)).unwrap();
        let error = take(&mut *reader, file == 0).unwrap_err();
        assert!(error.to_string().contains(&format!("/sim/{name}")), "{error}");
        assert_eq!(reader.in_flight(), 0);
    }
}

#[test]
fn files_that_are_not_there_are_refused() {
    for (disk, _dir) in disks() {
        let missing = disk.batch_reader(&["a", "c"], WINDOW).err();
        assert!(
            matches!(&missing, Some(StorageError::NotFound { file }) if file.ends_with("c")),
            "{missing:?}"
        );
        assert!(disk.batch_reader(&["../a"], WINDOW).is_err());
        let mut reader = disk.batch_reader(&NAMES, WINDOW).unwrap();
        for file in [2, usize::MAX] {
            let error = reader.submit(0, file, page(0)).unwrap_err().to_string();
            assert!(error.contains(&format!("no file {file} among the 2")), "{error}");
        }
        assert_eq!(reader.in_flight(), 0);
        read_all(&mut *reader, &[(1, page(0)), (0, page(0))], &[false]);
        let mut none = disk.batch_reader(&[], WINDOW).unwrap();
        assert!(none.submit(0, 0, page(0)).is_err() && none.wait().unwrap().is_none());
    }
}

#[test]
fn reset_throws_away_the_reads_of_all_files() {
    for (disk, _dir) in disks() {
        let mut reader = disk.batch_reader(&NAMES, WINDOW).unwrap();
        for polls in [0, 1, 10] {
            (0..40).for_each(|i| reader.submit(i as u64, i % 2, page(i)).unwrap());
            for _ in 0..polls {
                reader.poll().unwrap();
            }
            (40..50).for_each(|i| reader.submit(i as u64, i % 2, page(i)).unwrap());
            reader.reset().unwrap();
            assert_eq!(reader.in_flight(), 0);
            assert!(reader.poll().unwrap().is_none() && reader.wait().unwrap().is_none());
        }
        read_all(&mut *reader, &[(0, page(9)), (1, page(9)), (0, page(10))], &[true, false]);
    }
}

#[test]
fn files_stay_open_and_the_reader_may_move() {
    for (disk, _dir) in disks() {
        let mut reader = disk.batch_reader(&NAMES, WINDOW).unwrap();
        disk.rename("a", "elsewhere").unwrap();
        disk.remove("b").unwrap();
        let reads: Vec<_> = (0..50).map(|i| (i % 2, page(i))).collect();
        (0..20).for_each(|i| reader.submit(i, 0, page(0)).unwrap());
        reader.poll().unwrap();
        std::thread::scope(|scope| {
            let moved = scope.spawn(|| {
                while take(&mut *reader, true).unwrap().is_some() {}
                read_all(&mut *reader, &reads, &[true]);
            });
            moved.join().unwrap();
        });
        read_all(&mut *reader, &reads, &[true, false]);
    }
}
