//! A file with arbitrary bytes behind its header: walking through it and reading blobs from it gives an error or
//! bytes, never a panic, and never more memory than the file is long.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearline_storage::{Checksum, Disk, ExtentFile, FileHeader, PAGE, ReadRange, SimDisk, read_blob};

const HEADER: FileHeader = FileHeader { kind: *b"FUZZ", file_id: 11 };

fuzz_target!(|data: &[u8]| {
    let mut bytes = HEADER.encode().to_vec();
    let mut ranges = Vec::new();
    for piece in data.chunks(900) {
        ranges.push(append(&mut bytes, piece));
    }
    let disk = SimDisk::new(1);
    let file = disk.create("f").expect("an empty folder takes a file");
    file.write_at(0, &bytes).expect("memory takes bytes");
    let file = ExtentFile::open(&disk, "f", HEADER.kind).expect("the header page is good");

    let mut extents = file.extents();
    while let Ok(Some((range, extent))) = extents.next() {
        assert!(range.end() <= bytes.len() as u64 && extent.plane(0).len() < range.bytes);
    }
    for (i, range) in ranges.iter().enumerate() {
        let kind = data.first().map_or(0, |&byte| u16::from(byte));
        for many in [1, 2, ranges.len() - i] {
            let range = ReadRange { offset: range.offset, bytes: many * PAGE };
            if let Ok(blob) = read_blob(&file, kind, range) {
                assert!(blob.len() < range.bytes);
            }
        }
    }
});

/// Appends a page that mostly looks like an extent: the first byte decides how much of it is made right.
fn append(bytes: &mut Vec<u8>, piece: &[u8]) -> ReadRange {
    let (offset, patched) = (bytes.len(), piece.first().is_some_and(|first| first % 8 != 0));
    bytes.extend_from_slice(piece);
    bytes.resize(offset + PAGE, 0);
    if patched {
        let page = &mut bytes[offset..];
        page[0..4].copy_from_slice(b"NLEX");
        page[4..6].copy_from_slice(&1_u16.to_le_bytes());
        page[20..24].copy_from_slice(&(PAGE as u32).to_le_bytes());
        let crc = Checksum::keyed(HEADER.file_id, offset as u64).update(&page[..24]).update(&page[28..]);
        page[24..28].copy_from_slice(&crc.value().to_le_bytes());
    }
    ReadRange { offset: offset as u64, bytes: PAGE }
}
