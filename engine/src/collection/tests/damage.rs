//! Bits that flip and files that end early: errors or the right answers, never wrong ones, never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::twin::{Call, Random, Twin};
use super::{Files, create, disk_of, files_of, open};
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
    assert_eq!(collection.stats().segments, 2);
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

fn damage(files: &mut Files, twin: &Twin, every: usize) {
    let mut random = Random(5);
    let (mut flips, mut noticed) = (0, 0);
    for file in 0..files.len() {
        let mut at = random.below(every as u64) as usize;
        while at < files[file].1.len() {
            let bit = 1 << random.below(8);
            files[file].1[at] ^= bit;
            let what = format!("{} with bit {bit:#x} of byte {at} flipped", files[file].0);
            flips += 1;
            noticed += usize::from(ask(files, twin, &what));
            files[file].1[at] ^= bit;
            at += 1 + random.below(2 * every as u64 - 1) as usize;
        }
    }
    assert!(noticed * 10 > flips, "{noticed} of {flips} noticed");
}

#[test]
fn bits_flip() {
    let (mut files, twin) = sample();
    assert!(!ask(&files, &twin, "nothing is damaged"));
    let all = std::env::var_os("NEARLINE_FULL").is_some();
    damage(&mut files, &twin, if all { 1 } else { 100 });
}

#[test]
fn files_end_early_or_are_missing() {
    let (mut files, twin) = sample();
    let mut random = Random(6);
    let cuts = if std::env::var_os("NEARLINE_FULL").is_some() { 1_000 } else { 20 };
    for file in 0..files.len() {
        let (name, whole) = files[file].clone();
        for cut in 0..cuts {
            // At pages, where formats look sound, as often as anywhere.
            let mut len = random.below(whole.len() as u64) as usize;
            if cut % 2 == 0 {
                len = len / 4096 * 4096;
            }
            files[file].1.truncate(len);
            let noticed = ask(&files, &twin, &format!("{name} cut to {len} bytes"));
            assert!(noticed || name.starts_with("wal."), "{name} cut to {len} bytes");
            files[file].1.clone_from(&whole);
        }
        let taken = files.remove(file);
        assert!(ask(&files, &twin, &format!("without {name}")), "without {name}");
        files.insert(file, taken);
    }
}
