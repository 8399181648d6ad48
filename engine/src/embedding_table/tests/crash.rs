//! The power goes at any operation, and again while the table recovers; disks fail and fill up; bits flip.

use nearline_storage::{Fault, Faults};

use super::*;

/// Takes steps until one fails; gives the number that were acknowledged, and whether one is in doubt.
fn run(table: &EmbeddingTable, steps: &[(Vec<u64>, Vec<f32>)]) -> usize {
    steps.iter().take_while(|(ids, gradients)| table.train(ids, gradients).is_ok()).count()
}

/// What is found after `acknowledged` steps: these, or one more.
fn is_a_moment(
    table: &EmbeddingTable,
    seed: u64,
    steps: &[(Vec<u64>, Vec<f32>)],
    acknowledged: usize,
) -> Option<usize> {
    let found = bits(table);
    let last = (acknowledged + 1).min(steps.len());
    (acknowledged..=last)
        .find(|&count| table.pin().number() == count as u64 && found == twin_of(seed, &steps[..count]))
}

fn reopen(disk: &SimDisk, random: &mut Random, cuts: u64) -> EmbeddingTable {
    for _ in 0..cuts {
        disk.crash_at(disk.operations() + 1 + random.below(30));
        drop(open(disk));
        disk.crash(random.next());
    }
    open(disk).unwrap()
}

#[test]
fn the_power_goes_at_every_operation() {
    let script = steps(7, 150);
    let operations = {
        let disk = create_trained(7);
        let before = disk.operations();
        assert_eq!(run(&open(&disk).unwrap(), &script), script.len());
        assert!(disk.list().unwrap().iter().all(|name| name != "segments.000001"), "the log was folded");
        disk.operations() - before
    };
    for at in 1..=operations + 3 {
        let disk = create_trained(7);
        let mut random = Random(at);
        disk.crash_at(disk.operations() + at);
        let acknowledged = open(&disk).map_or(0, |table| run(&table, &script));
        disk.crash(random.next());
        let table = reopen(&disk, &mut random, at % 3);
        let count = is_a_moment(&table, 7, &script, acknowledged);
        let count = count.unwrap_or_else(|| panic!("{acknowledged} steps, then a crash at operation {at}"));
        // It goes on as if nothing had been.
        assert_eq!(run(&table, &script[count..]), script.len() - count);
        assert_eq!(bits(&table), twin_of(7, &script));
        table.inner.verify().unwrap();
    }
}

#[test]
fn faults_lose_nothing_that_was_acknowledged() {
    for seed in 0..200 {
        let mut random = Random(seed ^ 0xfa17);
        let (disk, script) = (create_trained(seed), steps(seed, 80));
        let table = open(&disk).unwrap();
        let kinds = [Fault::Io, Fault::NoSpace, Fault::LostSync, Fault::ShortRead];
        let fault = |random: &mut Random| {
            (disk.operations() + 1 + random.below(250), kinds[random.below(kinds.len() as u64) as usize])
        };
        let at = vec![fault(&mut random), fault(&mut random)];
        disk.set_faults(Faults { at, ..Faults::default() });
        let acknowledged = run(&table, &script);
        disk.set_faults(Faults::default());
        drop(table);
        if random.below(2) == 0 {
            disk.crash(random.next());
        }
        let table = open(&disk).unwrap();
        assert!(is_a_moment(&table, seed, &script, acknowledged).is_some(), "{seed}: {acknowledged}");
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    let (disk, script) = (create_trained(8), steps(8, 200));
    let table = open(&disk).unwrap();
    let bytes: u64 =
        disk.list().unwrap().iter().filter_map(|name| disk.bytes(name)).map(|bytes| bytes.len() as u64).sum();
    disk.set_faults(Faults { space: Some(bytes + 9_000), ..Faults::default() });
    let acknowledged = run(&table, &script);
    assert!(acknowledged < script.len(), "{acknowledged}");
    assert_eq!(bits(&table), twin_of(8, &script[..acknowledged]));
    disk.set_faults(Faults::default());
    drop(table);
    let table = open(&disk).unwrap();
    let count = is_a_moment(&table, 8, &script, acknowledged).unwrap();
    assert_eq!(run(&table, &script[count..]), script.len() - count);
    assert_eq!(bits(&table), twin_of(8, &script));
}

#[test]
fn no_flipped_bit_and_no_truncation_passes_for_the_truth() {
    let remapped = SimDisk::new(9);
    let frequencies: Vec<u64> = (0..ROWS as u64).collect();
    Inner::create(&remapped, STORE, &Source::ByFrequency(&served(9), &frequencies)).unwrap();
    let robe = SimDisk::new(9);
    Inner::create(&robe, STORE, &Source::Served(&super::runs::robe())).unwrap();
    for disk in [create_served(9), create_trained(9), remapped, robe] {
        let expected = bits(&open(&disk).unwrap());
        let names: Vec<String> =
            disk.list().unwrap().into_iter().filter(|name| !name.starts_with("wal.")).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        for name in names {
            let bytes = disk.bytes(&name).unwrap();
            for bit in (0..bytes.len() as u64 * 8).step_by(499) {
                disk.flip_bit(&name, bit);
                let verified = open(&disk).and_then(|table| table.inner.verify());
                assert!(verified.is_err(), "{name}, bit {bit}");
                disk.flip_bit(&name, bit);
            }
            for len in (0..bytes.len() as u64).step_by(1_021) {
                disk.open_rw(&name).unwrap().set_len(len).unwrap();
                let verified = open(&disk).and_then(|table| table.inner.verify());
                assert!(verified.is_err(), "{name}, {len} bytes");
                disk.open_rw(&name).unwrap().write_at(0, &bytes).unwrap();
            }
        }
        assert_eq!(bits(&open(&disk).unwrap()), expected);
    }
}
