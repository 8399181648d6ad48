//! Damaged tables: an error or the right answer.

use std::ops::Bound;

use nearline_storage::{
    Checksum, Disk, DiskFile, FileHeader, PAGE, Result, SimDisk, StorageError, Table, TableOptions,
};

use super::{HEADER, Map, noise, open, write};

/// A table with a block, a value of its own, indexes and a filter: seven extents or headers of one page each.
fn small(disk: &SimDisk) -> Map {
    let mut map: Map = (0..40_u8).map(|i| (vec![b'k', i], noise(i.into(), i.into()))).collect();
    map.insert(vec![b'k', 20, 1], noise(4030, 1));
    write(disk, &map, TableOptions::default()).unwrap();
    map
}

/// Asks for everything in every way. Whatever is answered must be right.
fn ask(table: &Table, map: &Map) -> Result<()> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    let absent = table.get(b"k");
    assert!(!matches!(absent, Ok(Some(_))));
    for key in [vec![b'k', 0], vec![b'k', 20, 1], vec![b'k', 39]] {
        if let Ok(found) = table.get(&key) {
            assert!(found.as_ref() == map.get(&key), "{key:?}");
        }
    }
    for (pair, expected) in table.range(all.0, all.1).zip(map) {
        let (key, value) = pair?;
        assert!((&key, &value) == expected, "{key:?}");
    }
    for (pair, expected) in table.range_back(all.0, all.1).zip(map.iter().rev()) {
        let (key, value) = pair?;
        assert!((&key, &value) == expected, "{key:?}");
    }
    let keys: Vec<&Vec<u8>> = map.keys().collect();
    let found = table.get_many(&keys)?;
    assert!(found.iter().zip(map.values()).all(|(found, value)| found.as_ref() == Some(value)));
    Ok(())
}

/// One bit of every byte; all of them if `NEARLINE_FULL` is set.
#[test]
fn every_flipped_bit_gives_an_error_or_the_right_answer() {
    let disk = SimDisk::new(1);
    let map = small(&disk);
    let bytes = disk.bytes("t").unwrap().len() as u64;
    assert_eq!(bytes, 7 * PAGE as u64);
    let all = std::env::var_os("NEARLINE_FULL").is_some();
    for bit in 0..bytes * 8 {
        if !all && bit % 8 != bit / 8 % 8 {
            continue;
        }
        disk.flip_bit("t", bit);
        if let Ok(table) = open(&disk, 0) {
            let asked = ask(&table, &map);
            assert!(table.verify().is_err(), "bit {bit}");
            assert!(asked.is_err(), "every block and value is read: bit {bit}");
        }
        disk.flip_bit("t", bit);
    }
    ask(&open(&disk, 0).unwrap(), &map).unwrap();
}

#[test]
fn every_truncation_and_every_tail_is_refused() {
    let disk = SimDisk::new(1);
    small(&disk);
    let file = disk.open_rw("t").unwrap();
    let len = file.len().unwrap();
    for tail in [1, 4095, 4096, 8192] {
        file.set_len(len + tail).unwrap();
        assert!(open(&disk, 0).is_err(), "{tail} bytes too many");
    }
    for len in (0..len).rev() {
        file.set_len(len).unwrap();
        assert!(open(&disk, 0).is_err(), "{len} bytes");
    }
}

#[test]
fn another_file_is_refused() {
    let disk = SimDisk::new(1);
    small(&disk);
    let open = |header| {
        let disk: std::sync::Arc<dyn Disk> = std::sync::Arc::new(disk.clone());
        Table::open(&disk, "t", header, nearline_storage::BlockCache::new(0).into())
    };
    let error = open(FileHeader { file_id: 78, ..HEADER }).unwrap_err();
    assert!(
        matches!(error, StorageError::Corrupt { what: "file id", found: 77, expected: 78, .. }),
        "{error}"
    );
    assert!(open(FileHeader { kind: *b"ROWS", ..HEADER }).is_err());
    assert!(open(HEADER).is_ok());
}

/// Writes one byte and makes the checksum of its page right again, as damage before writing would.
fn forge(file: &dyn DiskFile, at: usize, value: u8) {
    let start = at / PAGE * PAGE;
    let mut page = [0; PAGE];
    file.read_at(start as u64, &mut page).unwrap();
    page[at - start] = value;
    let crc = Checksum::keyed(HEADER.file_id, start as u64).update(&page[..24]).update(&page[28..]);
    page[24..28].copy_from_slice(&crc.value().to_le_bytes());
    file.write_at(start as u64, &page).unwrap();
}

#[test]
fn bytes_that_were_wrong_when_they_were_written_never_panic() {
    let disk = SimDisk::new(1);
    let map = small(&disk);
    let good = disk.bytes("t").unwrap();
    let file = disk.open_rw("t").unwrap();
    let all = (Bound::Unbounded, Bound::Unbounded);
    // Each page's header and the beginning of what it holds, and the restarts at the block's end.
    let interesting = |at: &usize| at % PAGE < 160 || good[*at..].iter().take(80).any(|&byte| byte != 0);
    for at in (PAGE..good.len()).filter(interesting).step_by(3) {
        for value in [0, 0x7f, 0xff, good[at] ^ 1] {
            forge(&*file, at, value);
            let Ok(table) = open(&disk, 0) else { continue };
            let (_, _) = (table.get(b"k\x05"), table.get(b"k\x14\x01"));
            let _ = table.get_many(&[b"k\x05", b"k\x14", b"k\x27"]);
            let _ = table.count_estimate(Bound::Included(b"k\x05"), Bound::Excluded(b"k\x20"));
            assert!(table.range(all.0, all.1).take(10_000).count() < 10_000);
            assert!(table.range_back(Bound::Included(b"k\x05"), all.1).take(10_000).count() < 10_000);
            let _ = table.verify();
        }
        forge(&*file, at, good[at]);
    }
    assert!(disk.bytes("t").unwrap() == good);
    ask(&open(&disk, 0).unwrap(), &map).unwrap();
}

#[test]
fn the_check_of_a_table_finds_what_checksums_cannot() {
    let disk = SimDisk::new(1);
    small(&disk);
    let good = disk.bytes("t").unwrap();
    let file = disk.open_rw("t").unwrap();
    let page_of = |kind: u16| {
        let kind_at = |page: &usize| good[page * PAGE + 6..][..2] == kind.to_le_bytes();
        PAGE * (1..good.len() / PAGE).find(kind_at).unwrap()
    };
    // The second byte of a key, the first set byte of the filter, the entries of the one index block.
    let (block, filter, top) = (page_of(20) + 64, page_of(24) + 64, page_of(23) + 64);
    let filter = filter + good[filter..].iter().position(|&byte| byte != 0).unwrap();
    let top = top + good[top..top + 64].iter().rposition(|&byte| byte == 41).unwrap();
    for (at, value) in [(block + 4, 7), (filter, 0), (top, 40)] {
        forge(&*file, at, value);
        let outcome = open(&disk, 0).and_then(|table| table.verify());
        assert!(matches!(outcome, Err(StorageError::Corrupt { .. })), "byte {at}: {outcome:?}");
        forge(&*file, at, good[at]);
    }
    open(&disk, 0).unwrap().verify().unwrap();
}
