//! A segment of the log with arbitrary bytes behind its start: opening gives an error or records that have lsns in
//! order, never a panic; and a log that opened takes another record and opens again.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use nearline_storage::{Checksum, Disk, PAGE, Result, SimDisk, Wal, WalOptions};

const STORE: u64 = 3;
const NAME: &str = "wal.000001";
const OPTIONS: WalOptions = WalOptions { segment_bytes: 2 * PAGE as u64 };
const HEADER: usize = 25;
/// Header page and start record.
const RECORDS: usize = PAGE + HEADER + 8;

fuzz_target!(|data: &[u8]| {
    // Its first byte decides what the rest stands for.
    let Some((&first, data)) = data.split_first() else { return };
    let disk = SimDisk::new(1);
    let mut bytes = segment();
    match first % 4 {
        0 => write(&disk, data),
        1 => {
            over(&mut bytes, usize::from(first), data);
            write(&disk, &bytes);
        }
        2 => {
            over(&mut bytes, RECORDS, data);
            write(&disk, &bytes);
        }
        _ => {
            records(&mut bytes, data);
            write(&disk, &bytes);
        }
    }
    for after in [0, 2] {
        if let Ok((mut wal, count)) = open(&disk, after) {
            assert_eq!(count, wal.last_lsn() - after);
            if wal.append(&[b"one more"]).is_ok() {
                wal.close().expect("a disk without faults");
                let (_, again) = open(&disk, after).expect("what was written opens");
                assert_eq!(again, count + 1);
            }
        }
    }
});

/// A sound segment with a few records.
fn segment() -> Vec<u8> {
    let disk = SimDisk::new(1);
    let (mut wal, _) = open(&disk, 0).expect("an empty folder");
    for lsn in 0..4_u8 {
        wal.append(&[&[lsn; 40]]).and_then(|_| wal.sync()).expect("a disk without faults");
    }
    disk.bytes(NAME).expect("the first segment")
}

fn write(disk: &SimDisk, bytes: &[u8]) {
    disk.create(NAME).and_then(|file| file.write_at(0, bytes)).expect("a disk without faults");
}

fn over(bytes: &mut [u8], at: usize, data: &[u8]) {
    bytes[at..].iter_mut().zip(data).for_each(|(byte, new)| *byte = *new);
}

/// Records whose checksums fit, with headers by the data: length, lsn, what was durable, kind.
fn records(bytes: &mut [u8], data: &[u8]) {
    let mut at = RECORDS;
    for fields in data.chunks_exact(4) {
        let len = usize::from(fields[0]);
        let Some(record) = bytes.get_mut(at..at + HEADER + len) else { break };
        record[0..4].copy_from_slice(&(len as u32).to_le_bytes());
        record[8..16].copy_from_slice(&u64::from(fields[1]).to_le_bytes());
        record[16..24].copy_from_slice(&u64::from(fields[2]).to_le_bytes());
        record[24] = fields[3] % 5;
        let crc = Checksum::keyed(STORE, 1).update(&(at as u64).to_le_bytes());
        let crc = crc.update(&record[..4]).update(&record[8..]);
        record[4..8].copy_from_slice(&crc.value().to_le_bytes());
        at += HEADER + len;
    }
}

/// Opens the log, whose records must come in order.
fn open(disk: &SimDisk, after: u64) -> Result<(Wal, u64)> {
    let mut count = 0;
    let wal = Wal::open(Arc::new(disk.clone()), STORE, OPTIONS, after, &mut |lsn, _| {
        count += 1;
        assert_eq!(lsn, after + count);
        Ok(())
    })?;
    Ok((wal, count))
}
