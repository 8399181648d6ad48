//! Power cuts and failing disks while a table is written.

use nearline_storage::{Disk, Fault, Faults, SimDisk, TableOptions};

use super::{Map, noise, open, write};

/// Large enough to be written in several pieces.
fn several_pieces() -> Map {
    let value_len = |i: u32| if i.is_multiple_of(100) { 300_000 } else { 700 };
    (0..800_u32).map(|i| (i.to_be_bytes().to_vec(), noise(value_len(i), i.into()))).collect()
}

/// A table that opens and passes its own check is the one that was written.
fn nothing_or_right(disk: &SimDisk, map: &Map) -> bool {
    let Ok(table) = open(disk, 0) else { return false };
    if table.verify().is_err() {
        return false;
    }
    let found = table.scan().map(|pair| pair.unwrap());
    assert!(found.eq(map.iter().map(|(key, value)| (key.clone(), value.clone()))));
    true
}

#[test]
fn a_crash_at_any_operation_leaves_no_table_or_the_right_one() {
    let map = several_pieces();
    let (mut finished, mut operation) = (false, 0);
    while !finished {
        operation += 1;
        assert!(operation < 100, "writing comes to an end");
        for seed in 0..4 {
            let disk = SimDisk::new(seed);
            disk.crash_at(operation);
            let written = write(&disk, &map, TableOptions::default()).and_then(|()| disk.sync_dir());
            disk.crash(seed + 1000);
            let right = nothing_or_right(&disk, &map);
            assert!(right || written.is_err(), "what was finished is there: operation {operation}");
            finished = written.is_ok();
        }
    }
    assert!(operation > 6, "{operation} operations");
}

#[test]
fn a_disk_that_fails_or_is_full_is_an_error_and_leaves_no_table_that_is_wrong() {
    let map = several_pieces();
    let disk = SimDisk::new(1);
    write(&disk, &map, TableOptions::default()).unwrap();
    let operations = disk.operations();
    for fault in [Fault::Io, Fault::NoSpace, Fault::LostSync] {
        for operation in 1..=operations {
            let disk = SimDisk::new(operation);
            disk.set_faults(Faults { at: vec![(operation, fault)], ..Faults::default() });
            assert!(write(&disk, &map, TableOptions::default()).is_err());
            disk.crash(operation);
            nothing_or_right(&disk, &map);
        }
    }
}
