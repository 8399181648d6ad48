//! Batched reads of pages that are not in the page cache, as a search does them, through every path there is here.
#![forbid(unsafe_code)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearline_storage::{BatchReader, Disk, IoMode, OsDisk, PAGE, ReadRange, Window};

/// The file's size.
const FILE_BYTES: u64 = 256 << 20;
/// A posting list of a few dozen vectors.
const READ_BYTES: usize = 4 * PAGE;
const WINDOW: Window = Window { reads: 64, bytes: 8 << 20 };

/// Reads all ranges, as many at once as the window allows.
fn read_all(reader: &mut dyn BatchReader, ranges: &[ReadRange]) -> usize {
    let mut waiting = (0..).zip(ranges).peekable();
    let mut bytes = 0;
    loop {
        while let Some((tag, range)) = waiting.next_if(|(_, range)| reader.has_room(**range)) {
            reader.submit(tag, 0, *range).expect("there is room");
        }
        match reader.wait().expect("the file is sound") {
            Some(done) => bytes += done.bytes.len(),
            None => return bytes,
        }
    }
}

/// So many reads at places without a pattern, different in each round.
fn ranges(count: usize, round: &mut u64) -> Vec<ReadRange> {
    let places = FILE_BYTES / READ_BYTES as u64;
    let next = || {
        *round = round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ReadRange { offset: (*round >> 33) % places * READ_BYTES as u64, bytes: READ_BYTES }
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn write_file(disk: &OsDisk) {
    let file = disk.create("pages").expect("a new file");
    let block: Vec<u8> = (0..1 << 20).map(|i: u32| (i * 31) as u8).collect();
    for offset in (0..FILE_BYTES).step_by(block.len()) {
        file.write_at(offset, &block).expect("room on the disk");
    }
    file.sync().expect("a sync");
    file.drop_cache().expect("never fails");
}

fn batches(c: &mut Criterion) {
    for mode in [IoMode::Uring, IoMode::Pread] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = match OsDisk::new(folder.path(), mode) {
            Ok(disk) => disk,
            Err(error) => {
                eprintln!("*** SKIPPED: {mode:?}: {error} ***");
                continue;
            }
        };
        write_file(&disk);
        let mut group = c.benchmark_group(format!("read/{mode:?}").to_lowercase());
        for count in [1, 8, 32, 128] {
            let mut reader = disk.batch_reader(&["pages"], WINDOW).expect("a reader");
            let mut round = 1;
            group.throughput(Throughput::Bytes((count * READ_BYTES) as u64));
            group.bench_function(BenchmarkId::from_parameter(count), |b| {
                b.iter_batched(
                    || ranges(count, &mut round),
                    |ranges| read_all(reader.as_mut(), &ranges),
                    criterion::BatchSize::SmallInput,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, batches);
criterion_main!(benches);
