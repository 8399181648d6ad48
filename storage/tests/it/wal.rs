//! The log in a real folder.

use std::sync::Arc;

use nearline_storage::{Disk, IoMode, OsDisk, Result, Wal, WalOptions};

const OPTIONS: WalOptions = WalOptions { segment_bytes: 64 << 10 };

fn open(disk: &Arc<dyn Disk>, after: u64) -> Result<(Wal, Vec<(u64, usize)>)> {
    let mut lens = Vec::new();
    let wal = Wal::open(Arc::clone(disk), 5, OPTIONS, after, &mut |lsn, bytes| {
        assert!(bytes.iter().all(|&byte| byte == lsn as u8));
        lens.push((lsn, bytes.len()));
        Ok(())
    })?;
    Ok((wal, lens))
}

#[test]
fn a_log_in_a_real_folder() {
    let folder = crate::folder();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(folder.path(), IoMode::Pread).unwrap());
    let (mut wal, _) = open(&disk, 0).unwrap();
    let mut written = Vec::new();
    for (lsn, len) in (1..).zip([10, 0, 30_000, 60_000, 200_000, 1, 3 << 20, 7]) {
        assert_eq!(wal.append(&[&vec![lsn as u8; len]]).unwrap(), lsn);
        written.push((lsn, len));
        if lsn % 2 == 0 {
            wal.sync().unwrap();
        }
        wal.prepare().unwrap();
    }
    // The process dies without a word.
    drop(wal);
    let (mut wal, lens) = open(&disk, 0).unwrap();
    assert_eq!((lens, wal.durable_lsn()), (written.clone(), 8));
    wal.append(&[&[9; 100]]).unwrap();
    wal.rotate().unwrap();
    wal.trim(9).unwrap();
    assert_eq!(disk.list().unwrap().len(), 1);
    wal.append(&[&[10; 100]]).unwrap();
    wal.close().unwrap();
    let (wal, lens) = open(&disk, 9).unwrap();
    assert_eq!((lens, wal.last_lsn()), (vec![(10, 100)], 10));
}
