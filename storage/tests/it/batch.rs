//! Batch reads on real files: io_uring and threads agree, errors are clean, memory and system calls are few.

use std::path::Path;

use nearline_storage::{
    BatchReader, Disk, IoMode, OsDisk, PAGE, ReadRange, SimDisk, StorageError, Window, is_temp_name,
};
use proptest::prelude::*;

use crate::folder;

const PAGES: usize = 600;
const WINDOW: Window = Window { reads: 64, bytes: 4 << 20 };

fn content() -> Vec<u8> {
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..PAGES * PAGE).map(|_| next()).collect()
}

/// A reader over `content`, if the mode works in the folder.
fn reader_in(root: &Path, io: IoMode, window: Window) -> Option<Box<dyn BatchReader>> {
    let disk = match OsDisk::new(root, io) {
        Ok(disk) => disk,
        Err(error) => {
            eprintln!("skipped: {error}");
            return None;
        }
    };
    if !disk.list().unwrap().contains(&"f".to_owned()) {
        disk.create("f").unwrap().write_at(0, &content()).unwrap();
    }
    Some(disk.batch_reader(&["f"], window).unwrap())
}

fn page(number: usize) -> ReadRange {
    ReadRange { offset: (number * PAGE) as u64, bytes: PAGE }
}

/// Reads all ranges through the window and compares each with the content.
fn read_all(reader: &mut dyn BatchReader, ranges: &[ReadRange], content: &[u8]) {
    let mut seen = vec![0; ranges.len()];
    let mut next = 0;
    loop {
        while next < ranges.len() && reader.has_room(ranges[next]) {
            reader.submit(next as u64, 0, ranges[next]).unwrap();
            next += 1;
        }
        let Some(done) = reader.wait().unwrap() else { break };
        let tag = done.tag as usize;
        let start = ranges[tag].offset as usize;
        assert!(done.bytes == &content[start..start + ranges[tag].bytes], "range {tag}");
        seen[tag] += 1;
    }
    assert_eq!(seen, vec![1; ranges.len()]);
}

fn ranges() -> impl Strategy<Value = Vec<ReadRange>> {
    let range = (0..PAGES, 1..40_usize).prop_map(|(first, pages)| {
        let pages = pages.min(PAGES - first);
        ReadRange { offset: (first * PAGE) as u64, bytes: pages * PAGE }
    });
    proptest::collection::vec(range, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn all_readers_agree(ranges in ranges(), reads in 1..100_usize, pages in 1..500_usize) {
        let window = Window { reads, bytes: pages * PAGE };
        let (dir, content) = (folder(), content());
        for io in [IoMode::Uring, IoMode::Pread] {
            if let Some(mut reader) = reader_in(dir.path(), io, window) {
                read_all(&mut *reader, &ranges, &content);
                let counters = reader.counters();
                prop_assert_eq!(counters.reads, ranges.len() as u64);
                prop_assert_eq!(counters.bytes, ranges.iter().map(|range| range.bytes as u64).sum::<u64>());
            }
        }
        let disk = SimDisk::new(1);
        disk.create("f").unwrap().write_at(0, &content).unwrap();
        read_all(&mut *disk.batch_reader(&["f"], window).unwrap(), &ranges, &content);
    }
}

#[test]
fn a_round_of_64_reads_takes_at_most_8_system_calls() {
    let (dir, content) = (folder(), content());
    let Some(mut reader) = reader_in(dir.path(), IoMode::Uring, WINDOW) else { return };
    let mut most = 0;
    for round in 0..50 {
        let before = reader.counters().enters;
        let ranges: Vec<ReadRange> = (0..64).map(|i| page((i * 37 + round * 11) % PAGES)).collect();
        read_all(&mut *reader, &ranges, &content);
        most = most.max(reader.counters().enters - before);
    }
    assert!(most <= 8, "{most} enters");
}

#[test]
fn a_memory_folder_works_whatever_it_supports() {
    let Ok(dir) = tempfile::TempDir::new_in("/dev/shm") else { return };
    let disk = OsDisk::new(dir.path(), IoMode::Auto).unwrap();
    let in_use = disk.io_mode();
    assert!(in_use.mode != IoMode::Auto && !in_use.why.is_empty(), "{in_use:?}");
    let mut reader = reader_in(dir.path(), IoMode::Auto, WINDOW).unwrap();
    read_all(&mut *reader, &[page(3), page(599), page(0)], &content());
}

#[test]
fn probing_leaves_nothing_behind() {
    let dir = folder();
    for io in [IoMode::Auto, IoMode::Pread] {
        let disk = OsDisk::new(dir.path(), io).unwrap();
        assert!(disk.list().unwrap().iter().all(|name| !is_temp_name(name)));
        assert!(disk.io_mode().to_string().starts_with(if io == IoMode::Pread { "pread" } else { "" }));
    }
}

#[test]
fn a_read_behind_the_end_fails_cleanly_and_the_others_go_on() {
    for io in [IoMode::Uring, IoMode::Pread] {
        let dir = folder();
        let content = content();
        let Some(_) = reader_in(dir.path(), io, WINDOW) else { continue };
        let disk = OsDisk::new(dir.path(), io).unwrap();
        disk.open_rw("f").unwrap().set_len((PAGES * PAGE - 1000) as u64).unwrap();
        let mut reader = disk.batch_reader(&["f"], WINDOW).unwrap();
        let ranges = [page(1), page(PAGES - 1), page(PAGES + 5), page(2)];
        let long = ReadRange { offset: page(PAGES - 3).offset, bytes: 8 * PAGE };
        (0..).zip(ranges.iter().chain([&long])).for_each(|(tag, r)| reader.submit(tag, 0, *r).unwrap());
        let (mut good, mut bad) = (Vec::new(), 0);
        loop {
            match reader.wait() {
                Ok(Some(done)) => {
                    let start = ranges[done.tag as usize].offset as usize;
                    assert_eq!(done.bytes, &content[start..start + PAGE]);
                    good.push(done.tag);
                }
                Ok(None) => break,
                Err(StorageError::UnexpectedEnd { len, .. }) => {
                    assert_eq!(len, (PAGES * PAGE - 1000) as u64);
                    bad += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        good.sort_unstable();
        assert_eq!((good, bad), (vec![0, 3], 3), "{io:?}");
        read_all(&mut *reader, &[page(7), page(8)], &content);
    }
}

#[test]
fn reset_throws_everything_away() {
    for io in [IoMode::Uring, IoMode::Pread] {
        let (dir, content) = (folder(), content());
        let Some(mut reader) = reader_in(dir.path(), io, WINDOW) else { continue };
        for waits in [0, 1, 10] {
            (0..40).for_each(|i| reader.submit(i as u64, 0, page(i)).unwrap());
            (0..waits).for_each(|_| assert!(reader.wait().unwrap().is_some()));
            (40..50).for_each(|i| reader.submit(i as u64, 0, page(i)).unwrap());
            reader.reset().unwrap();
            assert!(reader.wait().unwrap().is_none(), "{io:?}");
        }
        read_all(&mut *reader, &[page(9), page(10)], &content);
        // Dropped with reads in flight.
        (0..40).for_each(|i| reader.submit(i as u64, 0, page(i)).unwrap());
        reader.wait().unwrap();
    }
}

#[test]
fn what_is_not_whole_pages_or_has_no_room_is_refused() {
    for io in [IoMode::Uring, IoMode::Pread] {
        let (dir, content) = (folder(), content());
        let window = Window { reads: 2, bytes: 3 * PAGE };
        let Some(mut reader) = reader_in(dir.path(), io, window) else { continue };
        for (offset, bytes) in [(1, PAGE), (0, 100), (0, 0), (0, 2 << 30)] {
            assert!(reader.submit(0, 0, ReadRange { offset, bytes }).is_err(), "{offset} {bytes}");
        }
        let large = ReadRange { offset: 0, bytes: 100 * PAGE };
        assert!(reader.has_room(large), "alone, any read may go");
        reader.submit(0, 0, page(0)).unwrap();
        assert!(!reader.has_room(large) && reader.has_room(page(1)));
        reader.submit(1, 0, page(1)).unwrap();
        assert!(!reader.has_room(page(2)) && reader.submit(2, 0, page(2)).is_err());
        reader.reset().unwrap();
        read_all(&mut *reader, &[large, page(0), large, page(5), page(6)], &content);
    }
}

#[test]
fn a_reader_may_move_between_threads() {
    for io in [IoMode::Uring, IoMode::Pread] {
        let (dir, content) = (folder(), content());
        let Some(mut reader) = reader_in(dir.path(), io, WINDOW) else { continue };
        // Idle moves, again and again.
        for round in 0..4 {
            std::thread::scope(|scope| {
                scope.spawn(|| read_all(&mut *reader, &[page(round), page(round + 50)], &content));
            });
        }
        read_all(&mut *reader, &[page(1)], &content);
        for _ in 0..3 {
            move_in_flight(reader_in(dir.path(), io, WINDOW).unwrap(), &content);
        }
        // Dropped on another thread, with reads in flight.
        let mut reader = reader_in(dir.path(), io, WINDOW).unwrap();
        (0..50).for_each(|i| reader.submit(i as u64, 0, page(i)).unwrap());
        reader.wait().unwrap();
        std::thread::spawn(move || drop(reader)).join().unwrap();
    }
}

/// Starts reads on one thread and takes them out on others.
fn move_in_flight(mut reader: Box<dyn BatchReader>, content: &[u8]) {
    let mut seen = [0; 50];
    (0..50).for_each(|i| reader.submit(i as u64, 0, page(i)).unwrap());
    let mut take = |reader: &mut dyn BatchReader, count: usize| {
        for _ in 0..count {
            let Some(done) = reader.wait().unwrap() else { return };
            let tag = done.tag as usize;
            assert!(done.bytes == &content[tag * PAGE..(tag + 1) * PAGE]);
            seen[tag] += 1;
        }
    };
    take(&mut *reader, 5);
    let mut reader = std::thread::scope(|scope| {
        let moved = scope.spawn(|| {
            take(&mut *reader, 10);
            reader
        });
        moved.join().unwrap()
    });
    take(&mut *reader, 100);
    assert_eq!(seen, [1; 50]);
}

/// Where a test that has been started again under strace finds its folder.
const FOLDER: &str = "NEARLINE_TEST_STRACE_FOLDER";

/// Runs a test of this file again in a child, with a system call failing as told.
fn under_strace(test: &str, call: &str, failing: &str) {
    let dir = folder();
    let strace = std::process::Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:{failing}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("batch::{test}")])
        .env(FOLDER, dir.path())
        .output();
    match strace {
        Ok(run) => assert!(run.status.success(), "{call} {failing}: {run:?}"),
        Err(error) => eprintln!("skipped, strace is needed: {error}"),
    }
}

/// Where the kernel refuses io_uring, as in many containers, threads take over and say why.
#[test]
fn without_io_uring_threads_take_over() {
    let Ok(root) = std::env::var(FOLDER) else {
        return under_strace("without_io_uring_threads_take_over", "io_uring_setup", "error=EPERM");
    };
    let disk = OsDisk::new(root.as_ref(), IoMode::Auto).unwrap();
    let in_use = disk.io_mode();
    assert_eq!(in_use.mode, IoMode::Pread);
    assert!(in_use.why.contains("io_uring does not work here"), "{in_use}");
    let mut reader = reader_in(root.as_ref(), IoMode::Auto, WINDOW).unwrap();
    read_all(&mut *reader, &[page(3), page(0)], &content());
    assert!(OsDisk::new(root.as_ref(), IoMode::Uring).is_err());
}

/// Signals interrupt system calls, and a kernel short of memory asks for patience.
#[test]
fn interrupted_and_refused_calls_are_made_again() {
    let Ok(root) = std::env::var(FOLDER) else {
        for (call, failing) in [
            ("io_uring_enter", "error=EINTR:when=1+2"),
            ("io_uring_enter", "error=EAGAIN:when=2+3"),
            ("io_uring_enter", "error=EBUSY:when=1+2"),
            // The first few are those of the dynamic linker, which knows no patience.
            ("pread64", "error=EINTR:when=20+2"),
        ] {
            under_strace("interrupted_and_refused_calls_are_made_again", call, failing);
        }
        return;
    };
    let ranges: Vec<ReadRange> = (0..200).map(|i| page(i * 2)).collect();
    for io in [IoMode::Uring, IoMode::Pread] {
        if let Some(mut reader) = reader_in(root.as_ref(), io, WINDOW) {
            read_all(&mut *reader, &ranges, &content());
            (0..50).for_each(|i| reader.submit(i as u64, 0, page(i)).unwrap());
            let mut polled = 0;
            while reader.in_flight() > 0 {
                polled += usize::from(reader.poll().unwrap().is_some());
            }
            assert_eq!(polled, 50);
        }
    }
}
