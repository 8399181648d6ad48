//! Reads of a pipe last until something is written to it.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::UringReader;
use crate::disk::read_file::ReadFile;
use crate::disk::{BatchReader, PAGE, ReadRange, Window};

#[test]
fn polling_neither_waits_nor_enters_the_kernel_in_vain() {
    let (output, mut input) = std::io::pipe().unwrap();
    let file = ReadFile { file: File::from(OwnedFd::from(output)), path: PathBuf::from("pipe") };
    let mut reader =
        UringReader::new(PathBuf::new(), vec![Arc::new(file)], Window { reads: 8, bytes: 1 << 20 });
    for tag in 0..2 {
        reader.submit(tag, 0, ReadRange { offset: 0, bytes: PAGE }).unwrap();
    }
    match reader.poll() {
        Ok(done) => assert!(done.is_none()),
        Err(error) => return eprintln!("skipped: {error}"),
    }
    let enters = reader.counters().enters;
    for _ in 0..10_000 {
        assert!(reader.poll().unwrap().is_none());
    }
    assert_eq!((reader.in_flight(), reader.counters().enters), (2, enters));

    for left in [1, 0] {
        input.write_all(&[7; PAGE]).unwrap();
        let start = Instant::now();
        while reader.in_flight() > left {
            assert!(start.elapsed() < Duration::from_secs(60), "polled in vain");
            if let Some(done) = reader.poll().unwrap() {
                assert!(done.bytes == [7; PAGE]);
            }
        }
    }
    assert!(reader.counters().enters <= enters + 4, "{:?}", reader.counters());
}
