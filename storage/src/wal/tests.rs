//! The log against its twin, and against crashes, faults and damage.

mod crash;
mod damage;
mod faults;
mod history;
mod mistakes;
mod twin;

use std::sync::Arc;

use super::{Wal, WalOptions};
use crate::disk::Disk;
use crate::disk::sim::{Faults, SimDisk};
use crate::error::{Result, StorageError};

const STORE: u64 = 0x5707_e001;
/// Segments of one page of records, so that there are many.
const SMALL: WalOptions = WalOptions { segment_bytes: 8192 };

/// Records by lsn.
type Records = Vec<(u64, Vec<u8>)>;

fn open(disk: &SimDisk, after: u64) -> Result<(Wal, Records)> {
    let mut records = Vec::new();
    let wal = Wal::open(Arc::new(disk.clone()), STORE, SMALL, after, &mut |lsn, bytes| {
        records.push((lsn, bytes.to_vec()));
        Ok(())
    })?;
    Ok((wal, records))
}

/// Bytes that tell whose they are.
fn payload(mark: u64, len: usize) -> Vec<u8> {
    let word = mark.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    word.into_iter().cycle().take(len).collect()
}

/// How many histories to try.
fn seeds(default: u64) -> u64 {
    let asked = std::env::var("NEARLINE_CRASH_SEEDS").ok();
    asked.map_or(default, |asked| asked.parse().expect("NEARLINE_CRASH_SEEDS is a number"))
}

#[test]
fn an_empty_folder_is_an_empty_log() {
    let disk = SimDisk::new(0);
    let (mut wal, records) = open(&disk, 0).unwrap();
    assert_eq!((records, wal.last_lsn(), wal.durable_lsn(), wal.bytes()), (vec![], 0, 0, 0));
    assert_eq!(wal.sync().unwrap(), 0);
    wal.seal().unwrap();
    wal.rotate().unwrap();
    wal.trim(10).unwrap();
    wal.prepare().unwrap();
    assert_eq!(disk.list().unwrap(), [""; 0], "nothing is written before there is something");
}

#[test]
fn records_come_back_in_order() {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    assert_eq!(wal.append(&[b"one", b" and ", b"more"]).unwrap(), 1);
    assert_eq!(wal.append(&[]).unwrap(), 2);
    assert_eq!((wal.last_lsn(), wal.durable_lsn()), (2, 0));
    assert_eq!(wal.sync().unwrap(), 2);
    assert_eq!(wal.append(&[b"three"]).unwrap(), 3);
    wal.close().unwrap();
    let all = [(1, b"one and more".to_vec()), (2, vec![]), (3, b"three".to_vec())];
    for after in 0..=3 {
        let (wal, records) = open(&disk, after).unwrap();
        assert_eq!((records.as_slice(), wal.last_lsn(), wal.durable_lsn()), (&all[after as usize..], 3, 3));
    }
    let error = open(&disk, 4).unwrap_err();
    assert!(
        matches!(error, StorageError::Corrupt { .. }),
        "a log that ends before what was durable: {error}"
    );
}

#[test]
fn records_handed_to_the_system_survive_the_process() {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    wal.append(&[b"one"]).unwrap();
    wal.flush().unwrap();
    wal.append(&[b"two"]).unwrap();
    assert_eq!(wal.durable_lsn(), 0);
    drop(wal);
    assert_eq!(open(&disk, 0).unwrap().1, [(1, b"one".to_vec())]);
}

#[test]
fn segments_fill_up_and_are_removed_oldest_first() {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    for lsn in 1..=20 {
        assert_eq!(wal.append(&[&payload(lsn, 1000)]).unwrap(), lsn);
    }
    wal.sync().unwrap();
    let names = disk.list().unwrap();
    assert_eq!(names.len(), 7, "three records in each: {names:?}");
    assert_eq!(wal.bytes(), 7 * 8192);
    wal.trim(5).unwrap();
    assert_eq!(disk.list().unwrap(), names[1..], "the second has 4 to 6");
    wal.trim(u64::MAX).unwrap();
    assert_eq!(disk.list().unwrap(), names[6..], "the newest stays");
    wal.rotate().unwrap();
    wal.rotate().unwrap();
    wal.trim(20).unwrap();
    assert_eq!(disk.list().unwrap(), ["wal.000008"]);
    drop(wal);
    let (mut wal, records) = open(&disk, 20).unwrap();
    assert_eq!((records, wal.append(&[b"x"]).unwrap()), (vec![], 21));
    let error = open(&disk, 19).unwrap_err();
    assert!(error.to_string().contains("hole"), "{error}");
}

#[test]
fn segments_grow_up_to_their_size() {
    let disk = SimDisk::new(0);
    let options = WalOptions { segment_bytes: 4 << 20 };
    let mut wal = Wal::open(Arc::new(disk.clone()), STORE, options, 0, &mut |_, _| Ok(())).unwrap();
    let half = vec![7; 600 << 10];
    for _ in 0..20 {
        wal.append(&[&half]).unwrap();
    }
    let lens: Vec<usize> =
        disk.list().unwrap().iter().map(|name| disk.bytes(name).unwrap().len() >> 20).collect();
    assert_eq!(lens, [1, 2, 4, 4, 4]);
    let huge = vec![8; 6 << 20];
    let lsn = wal.append(&[b"a", &huge, b"z"]).unwrap();
    wal.append(&[b"small"]).unwrap();
    wal.close().unwrap();
    let mut last = Vec::new();
    let mut keep = |_, bytes: &[u8]| {
        last.push(bytes.to_vec());
        Ok(())
    };
    Wal::open(Arc::new(disk), STORE, options, lsn - 1, &mut keep).unwrap();
    assert_eq!(last, [[b"a", &huge[..], b"z"].concat(), b"small".to_vec()]);
}

#[test]
fn a_record_too_large_is_refused_and_nothing_else() {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    let part = vec![0; 1 << 20];
    let mut parts = vec![&part[..]; 256];
    parts.push(b"x");
    let error = wal.append(&parts).unwrap_err();
    let StorageError::RecordTooLarge { bytes: 0x1000_0001, max: 0x1000_0000, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(wal.append(&[b"x"]).unwrap(), 1);
}

#[test]
fn the_next_segment_can_be_made_ahead() {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    wal.append(&[&payload(1, 3000)]).unwrap();
    wal.prepare().unwrap();
    wal.prepare().unwrap();
    assert_eq!((disk.list().unwrap().len(), wal.bytes()), (2, 2 * 8192));
    let before = disk.operations();
    wal.append(&[&payload(2, 3000)]).unwrap();
    assert_eq!(
        disk.operations() - before,
        7,
        "write and sync the old, write, sync, rename, sync the folder, open"
    );
    wal.append(&[&payload(3, 500)]).unwrap();
    wal.prepare().unwrap();
    wal.close().unwrap();
    assert_eq!(disk.list().unwrap(), ["wal.000001", "wal.000002"], "nothing is left over");
}

#[test]
fn no_space_refuses_a_record_and_loses_nothing() {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    let fill = |wal: &mut Wal, space| {
        disk.set_faults(Faults { space: Some(space), ..Faults::default() });
        loop {
            match wal.append(&[&payload(wal.last_lsn() + 1, 900)]) {
                Ok(_) => {}
                Err(error) => break error,
            }
        }
    };
    for space in [8192, 3 * 8192, 3 * 8192 + 5000, 5 * 8192] {
        let error = fill(&mut wal, space);
        assert!(error.is_no_space() && !error.is_poisoned(), "{error}");
        let whole = space / 8192;
        assert_eq!((wal.last_lsn(), wal.bytes()), (whole * 4, whole * 8192));
        assert_eq!(disk.list().unwrap().len() as u64, whole, "no draft is left");
        // A small one still fits, and the rest of the log is at hand.
        assert_eq!(wal.sync().unwrap(), whole * 4);
        assert!(wal.rotate().unwrap_err().is_no_space());
    }
    disk.set_faults(Faults::default());
    assert_eq!(wal.append(&[b"x"]).unwrap(), 21);
    let (again, records) = open(&disk, 0).unwrap();
    assert_eq!((again.durable_lsn(), records.len()), (again.last_lsn(), 20));
}

#[test]
fn a_log_opens_on_a_full_disk() {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    for lsn in 1..=3 {
        wal.append(&[&payload(lsn, 500)]).unwrap();
        wal.sync().unwrap();
    }
    drop(wal);
    disk.set_faults(Faults { space: Some(8192), ..Faults::default() });
    let (mut wal, records) = open(&disk, 0).unwrap();
    assert_eq!((records.len(), wal.last_lsn(), wal.durable_lsn()), (3, 3, 2), "the last is not proved");
    assert!(wal.append(&[b"x"]).unwrap_err().is_no_space());
    assert!(wal.sync().unwrap_err().is_no_space());
    assert!(wal.seal().unwrap_err().is_no_space());
    disk.set_faults(Faults::default());
    assert_eq!((wal.sync().unwrap(), wal.append(&[b"x"]).unwrap()), (3, 4));
    wal.close().unwrap();
    assert_eq!(open(&disk, 0).unwrap().1.len(), 4);
}

#[test]
fn opening_again_and_again_leaves_no_files_behind() {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    wal.append(&[b"one"]).unwrap();
    wal.sync().unwrap();
    drop(wal);
    for _ in 0..5 {
        let (wal, records) = open(&disk, 0).unwrap();
        assert_eq!((wal.durable_lsn(), records.len()), (1, 1));
    }
    assert_eq!(disk.list().unwrap(), ["wal.000001", "wal.000002"], "copied once, proved from then on");
}
