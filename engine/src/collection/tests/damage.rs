//! Bits that flip and files that end early: errors or the right answers, never wrong ones, never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nearline_storage::{Fault, Faults, SimDisk};

use super::twin::{self, Call, Random, Twin};
use super::{Files, create, disk_of, files_of, one_in, open};
use crate::{Durability, FieldType, Point};

/// A collection of a few segments with tombstones and a log, closed.
fn sample() -> (Files, Twin) {
    let (disk, mut random, mut twin) = (create(3), Random(3), Twin::default());
    let collection = open(&disk).unwrap();
    collection.create_field_index("n", FieldType::Integer).unwrap();
    collection.create_field_index("tags", FieldType::Keyword).unwrap();
    for at in 0..60 {
        let call = Call::random(&mut random);
        call.make(&collection).unwrap();
        twin.apply(&call);
        if at == 20 || at == 50 {
            collection.flush().unwrap();
        }
    }
    let last = Call::Upsert(vec![Point::new(5).vector([1.0, 1.0]), Point::new(99)], Durability::Synced);
    last.make(&collection).unwrap();
    twin.apply(&last);
    collection.shared.inner.build_index(0).unwrap();
    collection.calibrate("", twin::questions(), 3).unwrap();
    assert_eq!((collection.stats().segments, collection.stats().indexes), (2, 1));
    assert!(collection.stats().points > 10 && collection.stats().points_in_memory > 5);
    drop(collection);
    (files_of(&disk), twin)
}

/// Opens damaged files, asks all kinds of things, and tells whether the damage was noticed.
fn ask(files: &Files, twin: &Twin, what: &str) -> bool {
    let asked = catch_unwind(AssertUnwindSafe(|| {
        let Ok(collection) = open(&disk_of(files)) else { return true };
        twin.is_never_contradicted(&collection);
        let noticed = collection.verify().is_err();
        // Moving the points must not make anything of the damage.
        if collection.compact().is_ok() {
            twin.is_never_contradicted(&collection);
        }
        noticed
    }));
    asked.unwrap_or_else(|_| panic!("{what}"))
}

/// Whether everything there is is tried, and not a little of everything.
fn is_full() -> bool {
    one_in(2) == 1
}

/// The kinds of files there are.
const KINDS: [&str; 9] =
    ["COLLECTION", "points.", "ids.", "vectors.", "dead.", "field.", "index.", "questions.", "wal."];

/// So many zeros in a row are what fills a page, or a file of the log, to its end.
const FILLER: usize = 64;

/// Bits to flip, as files and bits in them: all, or some by chance. Of filler, most of what there is, always only some.
fn bits(files: &Files) -> Vec<(usize, u64)> {
    let mut random = Random(5);
    let mut bits = Vec::new();
    for (file, (_, bytes)) in files.iter().enumerate() {
        let is_filler = filler(bytes);
        let mut bit = if is_full() { 0 } else { random.below(1_500) };
        while let Some(is_filler) = is_filler.get(bit as usize / 8) {
            bits.push((file, bit));
            bit += match (is_full(), is_filler) {
                (true, false) => 1,
                (true, true) => 1 + random.below(200),
                (false, _) => 1 + random.below(3_000),
            };
        }
    }
    bits
}

/// Of each byte whether it is filler.
fn filler(bytes: &[u8]) -> Vec<bool> {
    let runs = bytes.chunk_by(|a, b| (*a == 0) == (*b == 0));
    runs.flat_map(|run| std::iter::repeat_n(run[0] == 0 && run.len() >= FILLER, run.len())).collect()
}

/// How many bytes of a file are left, if not all: each number there is, or some by chance. Of filler in the log, where
/// any end is as good as another, always only some.
fn cuts(files: &Files) -> Vec<(usize, u64)> {
    let mut random = Random(6);
    let mut cuts = Vec::new();
    for (file, (name, bytes)) in files.iter().enumerate() {
        let len = bytes.len() as u64;
        if is_full() {
            let is_filler = filler(bytes);
            let is_tried = |cut: &u64, random: &mut Random| {
                !(name.starts_with("wal.") && is_filler[*cut as usize]) || random.below(100) == 0
            };
            cuts.extend((0..len).filter(|cut| is_tried(cut, &mut random)).map(|cut| (file, cut)));
        } else {
            // At pages, where formats look sound, as often as anywhere.
            let unit = |cut: u64| if cut.is_multiple_of(2) { 4096 } else { 1 };
            cuts.extend((0..20).map(|cut| (file, random.below(len) / unit(cut) * unit(cut))));
        }
    }
    cuts
}

/// Does this damage, one case of a file and a place in it at a time, on all cores, and returns the cases not noticed.
fn unnoticed<D>(files: &Files, twin: &Twin, cases: &[(usize, u64)], damage: D) -> Vec<(usize, u64)>
where
    D: Fn(&mut Vec<u8>, u64) + Sync,
{
    let unnoticed = |first: usize, step: usize| -> Vec<_> {
        let mut files = files.clone();
        let is_unnoticed = |(file, at): &(usize, u64)| {
            let whole = files[*file].1.clone();
            damage(&mut files[*file].1, *at);
            let noticed = ask(&files, twin, &format!("{} damaged at {at}", files[*file].0));
            files[*file].1 = whole;
            !noticed
        };
        cases.iter().skip(first).step_by(step).copied().filter(is_unnoticed).collect()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads).map(|first| scope.spawn(move || unnoticed(first, threads))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn bits_flip() {
    let (files, twin) = sample();
    for kind in KINDS {
        assert!(files.iter().any(|(name, _)| name.starts_with(kind)), "no file {kind}");
    }
    assert!(!ask(&files, &twin, "nothing is damaged"));
    let bits = bits(&files);
    let unnoticed = unnoticed(&files, &twin, &bits, |bytes, bit| bytes[bit as usize / 8] ^= 1 << (bit % 8));
    let noticed = bits.len() - unnoticed.len();
    println!("{noticed} of {} flipped bits noticed, the others harmless", bits.len());
    assert!(noticed * 10 > bits.len(), "{noticed} of {} noticed", bits.len());
}

#[test]
fn files_end_early() {
    let (files, twin) = sample();
    let cuts = cuts(&files);
    let (of_log, others): (Vec<_>, Vec<_>) =
        cuts.into_iter().partition(|(file, _)| files[*file].0.starts_with("wal."));
    let end = |bytes: &mut Vec<u8>, len: u64| bytes.truncate(len as usize);
    let missed = unnoticed(&files, &twin, &others, end);
    assert!(
        missed.is_empty(),
        "{:?}",
        missed.iter().map(|(file, len)| (&files[*file].0, len)).collect::<Vec<_>>()
    );
    // A log may have been torn there by a crash.
    let torn = unnoticed(&files, &twin, &of_log, end);
    println!(
        "all {} ends of files noticed; of the log {} of {}",
        others.len(),
        of_log.len() - torn.len(),
        of_log.len()
    );
}

#[test]
fn files_are_missing() {
    let (files, twin) = sample();
    for file in 0..files.len() {
        let mut left = files.clone();
        let (name, _) = left.remove(file);
        assert!(ask(&left, &twin, &format!("without {name}")), "without {name}");
    }
}

#[test]
fn a_bit_flips_on_its_way_from_the_disk() {
    let (files, twin) = sample();
    let ask = |disk: &SimDisk| {
        let Ok(collection) = open(disk) else { return };
        twin.is_never_contradicted(&collection);
        drop(collection.verify());
        // What was read wrongly must not be written as if it were right.
        drop(collection.compact());
    };
    let whole = disk_of(&files);
    let before = whole.operations();
    ask(&whole);
    for at in (1..=whole.operations() - before).step_by(one_in(4)) {
        let disk = disk_of(&files);
        let at = vec![(disk.operations() + at, Fault::FlipBit)];
        disk.set_faults(Faults { at, ..Faults::default() });
        ask(&disk);
        disk.set_faults(Faults::default());
        let collection = open(&disk).unwrap();
        collection.verify().unwrap();
        assert!(twin.equals(&collection));
    }
}
