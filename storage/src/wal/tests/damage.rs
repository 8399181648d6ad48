//! Bits that flip, files that are cut, lost or swapped: an error, or a prefix of the records that has all that any sound
//! record says was durable. Never bytes that nobody wrote.

use super::history::Wrong;
use super::{Records, STORE, open, payload};
use crate::disk::Disk;
use crate::disk::sim::{Fault, Faults, SimDisk};
use crate::error::{Result, StorageError};
use crate::wal::Wal;

/// A log and what is in it.
struct Log {
    files: Vec<(String, Vec<u8>)>,
    records: Records,
    /// What its records say was durable.
    proved: u64,
}

/// Groups of two records in two segments; sealed at the end or not.
fn small_log(sealed: bool) -> Log {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    let mut records = Vec::new();
    for lsn in 1..=8 {
        let bytes = payload(lsn, 700 + 30 * lsn as usize);
        records.push((wal.append(&[&bytes]).unwrap(), bytes));
        if lsn % 2 == 0 {
            wal.sync().unwrap();
        }
        if lsn == 6 {
            wal.seal().unwrap();
        }
    }
    if sealed {
        wal.seal().unwrap();
    }
    let names = disk.list().unwrap();
    assert_eq!(names, ["wal.000001", "wal.000002"]);
    let files = names.into_iter().map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect();
    Log { files, records, proved: if sealed { 8 } else { 6 } }
}

impl Log {
    fn disk(&self) -> SimDisk {
        let disk = SimDisk::new(0);
        for (name, bytes) in &self.files {
            disk.create(name).unwrap().write_at(0, bytes).unwrap();
        }
        disk
    }

    /// Opens the log, which must be an error or a prefix with the records up to `least`.
    fn check(&self, opened: Result<(Wal, Records)>, least: u64) -> Result<bool, Wrong> {
        let Ok((_, found)) = opened else { return Ok(false) };
        if !self.records.starts_with(&found) {
            return Err("records that nobody wrote".to_owned());
        }
        match found.len() as u64 {
            len if len < least => Err(format!("{len} records, {least} were durable")),
            _ => Ok(true),
        }
    }
}

/// Flips every bit in some bytes of every file, and returns what goes wrong, and how many flips were errors.
pub(super) fn flips(sealed: bool) -> Result<usize, Wrong> {
    let log = small_log(sealed);
    let (mut disk, mut refused) = (log.disk(), 0);
    for (name, bytes) in &log.files {
        for bit in 0..bytes.len() as u64 * 8 {
            disk.flip_bit(name, bit);
            // A flip in the last seal takes the proof of the last group with it, not the group.
            let kept =
                log.check(open(&disk, 0), log.proved).map_err(|wrong| format!("{name}, {bit}: {wrong}"))?;
            refused += usize::from(!kept);
            disk.flip_bit(name, bit);
            if disk.list().map_or(0, |names| names.len()) != log.files.len() {
                disk = log.disk();
            }
        }
    }
    Ok(refused)
}

/// Removes a segment in the middle, and the first.
pub(super) fn holes() -> Result<(), Wrong> {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    for lsn in 1..=12 {
        wal.append(&[&payload(lsn, 1000)]).unwrap();
    }
    wal.close().unwrap();
    for (lost, after) in [("wal.000001", 0), ("wal.000001", 2), ("wal.000002", 0), ("wal.000003", 5)] {
        let bytes = disk.bytes(lost).unwrap();
        disk.remove(lost).unwrap();
        match open(&disk, after) {
            Err(StorageError::Corrupt { .. }) => {}
            Ok(_) => return Err(format!("opens without {lost}")),
            Err(error) => return Err(error.to_string()),
        }
        // Below what is durable elsewhere, nobody misses it.
        let after = if lost == "wal.000003" { 9 } else { 6 };
        let opened = open(&disk, after).map(|(_, records)| records.len() as u64);
        if !opened.as_ref().is_ok_and(|&len| len == 12 - after) {
            return Err(format!("{lost}, {after}: {opened:?}"));
        }
        disk.create(lost).unwrap().write_at(0, &bytes).unwrap();
    }
    Ok(())
}

#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    for sealed in [true, false] {
        let log = small_log(sealed);
        let used: usize = log.records.iter().map(|(_, bytes)| bytes.len() + super::super::HEADER).sum();
        let refused = flips(sealed).unwrap();
        // All but the last group, the last seal and the zeros behind.
        assert!(refused > (2 * 4096 + used - 2 * 1000) * 8, "{refused}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let log = small_log(false);
    for (name, bytes) in &log.files {
        for len in 0..bytes.len() {
            let disk = log.disk();
            disk.open_rw(name).unwrap().set_len(len as u64).unwrap();
            let error = open(&disk, 0).unwrap_err();
            let named = matches!(&error, StorageError::Corrupt { file, .. } | StorageError::UnexpectedEnd { file, .. }
                if file.ends_with(name));
            assert!(named, "{len}: {error}");
        }
    }
}

#[test]
fn a_lost_segment_is_a_hole() {
    holes().unwrap();
}

#[test]
fn a_lost_log_is_noticed_where_something_was_durable() {
    let disk = SimDisk::new(0);
    let error = open(&disk, 3).unwrap_err();
    assert!(error.to_string().contains("there is no segment"), "{error}");
}

#[test]
fn segments_of_others_or_in_other_places_are_refused() {
    let log = small_log(true);
    let disk = log.disk();
    let foreign =
        Wal::open(std::sync::Arc::new(disk.clone()), STORE + 1, super::SMALL, 0, &mut |_, _| Ok(()));
    assert!(matches!(foreign, Err(StorageError::Corrupt { what: "id of the store in a log", .. })));
    disk.rename("wal.000002", "wal.000003").unwrap();
    let error = open(&disk, 0).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { what: "checksum of a log record", .. }), "{error}");
}

#[test]
fn a_page_of_zeros_in_the_middle_is_damage() {
    let mut log = small_log(false);
    // The third group is wholly gone, the fourth says that it was durable.
    log.files[1].1[4096 + 33..][..800].fill(0);
    let error = open(&log.disk(), 0).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}

#[test]
fn a_bit_flipped_on_its_way_is_noticed_or_harmless() {
    let log = small_log(true);
    let operations = {
        let disk = log.disk();
        let before = disk.operations();
        open(&disk, 0).unwrap();
        disk.operations() - before
    };
    for step in 1..=operations {
        for _ in 0..40 {
            let disk = log.disk();
            let at = vec![(disk.operations() + step, Fault::FlipBit)];
            disk.set_faults(Faults { at, ..Faults::default() });
            log.check(open(&disk, 0), log.proved - 2).unwrap();
        }
    }
}

#[test]
fn remains_of_a_torn_tail_never_come_back() {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    for lsn in 1..=4 {
        wal.append(&[&payload(lsn, 100)]).unwrap();
        if lsn == 1 {
            wal.sync().unwrap();
        }
    }
    wal.sync().unwrap();
    drop(wal);
    // Record 2 is torn, 3 and 4 are sound, and none of them was acknowledged.
    disk.flip_bit("wal.000001", (4096 + 33 + 125 + 60) * 8);
    let (mut wal, records) = open(&disk, 0).unwrap();
    assert_eq!(records.len(), 1);
    wal.append(&[&payload(9, 100)]).unwrap();
    wal.close().unwrap();
    let (_, records) = open(&disk, 0).unwrap();
    assert_eq!(records, [(1, payload(1, 100)), (2, payload(9, 100))]);
}
