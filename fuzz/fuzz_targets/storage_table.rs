//! A sorted table made of arbitrary entries, with arbitrary bytes of it changed and the checksums made right again:
//! opening it, looking keys up and going through it gives an error or an answer, never a panic, and never more memory
//! than the file is long.
#![no_main]

use std::ops::Bound;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use nearline_storage::{
    BlockCache, Checksum, Disk, FileHeader, PAGE, SimDisk, Table, TableOptions, TableWriter,
};

const HEADER: FileHeader = FileHeader { kind: *b"FUZZ", file_id: 11 };
/// Entries looked at in one pass: a few bytes can name the same block many times over.
const MANY: usize = 5000;

fuzz_target!(|data: &[u8]| {
    let (entries, edits) = data.split_at(data.len() / 2);
    let disk = SimDisk::new(1);
    write(&disk, entries);
    for edit in edits.chunks_exact(4) {
        change(&disk, usize::from(u16::from_le_bytes([edit[0], edit[1]])), edit[2], edit[3]);
    }
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let Ok(table) = Table::open(&disk, "t", HEADER, Arc::new(BlockCache::new(1 << 16))) else { return };
    let keys: Vec<&[u8]> = data.chunks(5).take(20).collect();
    for key in &keys {
        let _ = table.get(key);
        let _ = table.count_estimate(Bound::Excluded(key), Bound::Unbounded);
        let _ = table.range_back(Bound::Unbounded, Bound::Included(key)).take(MANY / 20).count();
    }
    let _ = table.get_many(&keys);
    assert!(table.range(Bound::Unbounded, Bound::Unbounded).take(MANY).count() <= MANY);
    if table.summary().entries < MANY as u64 {
        let _ = table.verify();
    }
});

/// Entries whose keys count up and share as much as the bytes want; some values are large.
fn write(disk: &SimDisk, entries: &[u8]) {
    let mut writer =
        TableWriter::create(disk, "t", HEADER, TableOptions::default()).expect("an empty folder");
    for (i, piece) in entries.chunks(5).enumerate() {
        let key = [&(i as u16).to_be_bytes(), piece].concat();
        let value = if piece[0] == 255 { vec![1; 4030] } else { piece.to_vec() };
        writer.push(&key, &value).expect("keys ascend and memory takes bytes");
    }
    writer.finish().expect("memory takes bytes");
}

/// Changes a byte of a page behind the header page, and makes the page's checksum right.
fn change(disk: &SimDisk, page: usize, at: u8, value: u8) {
    let file = disk.open_rw("t").expect("it was written");
    let pages = file.len().expect("memory has a length") as usize / PAGE;
    let offset = ((1 + page % (pages - 1)) * PAGE) as u64;
    let mut bytes = [0; PAGE];
    file.read_at(offset, &mut bytes).expect("the page is there");
    // The header, and what comes first behind it.
    bytes[usize::from(at)] = value;
    let crc = Checksum::keyed(HEADER.file_id, offset).update(&bytes[..24]).update(&bytes[28..]);
    bytes[24..28].copy_from_slice(&crc.value().to_le_bytes());
    file.write_at(offset, &bytes).expect("memory takes bytes");
}
