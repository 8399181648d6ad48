//! Files of extents, and blobs in them.

use nearline_storage::{
    BlobReader, BlobWriter, Disk, ExtentFile, ExtentFileWriter, ExtentHeader, FileHeader, PAGE, ReadRange,
    Result, SimDisk, StorageError, blob::CHUNK, encode_extent, read_blob, write_blob,
};

const KIND: [u8; 4] = *b"TEST";
const HEADER: FileHeader = FileHeader { kind: KIND, file_id: 42 };

fn extent(owner: u32) -> ExtentHeader {
    ExtentHeader { kind: 1, codec: 2, owner, count: owner * 2 }
}

fn plane(owner: u32) -> Vec<u8> {
    (0..owner as usize * 1777).map(|i| (i * 31 + owner as usize) as u8).collect()
}

/// A file with `count` extents, synced, and where they lie.
fn file_of(disk: &SimDisk, count: u32) -> Vec<ReadRange> {
    let mut writer = ExtentFileWriter::create(disk, "f", HEADER).unwrap();
    let ranges = (0..count).map(|i| writer.append(&extent(i), &[&plane(i), b"tail"]).unwrap()).collect();
    writer.sync().unwrap();
    ranges
}

/// Walks through a whole file.
fn walk(disk: &SimDisk) -> Result<u32> {
    let file = ExtentFile::open(disk, "f", KIND)?;
    let mut extents = file.extents();
    let mut count = 0;
    while let Some((_, extent)) = extents.next()? {
        assert_eq!(extent.header.owner, count);
        count += 1;
    }
    Ok(count)
}

#[test]
fn extents_are_found_again_at_their_places_and_in_order() {
    let disk = SimDisk::new(1);
    let ranges = file_of(&disk, 100);
    let file = ExtentFile::open(&disk, "f", KIND).unwrap();
    assert_eq!((file.file_id(), file.len()), (42, ranges.last().unwrap().end()));
    let mut buf = Vec::new();
    for (i, range) in ranges.iter().enumerate().rev() {
        let found = file.read_extent(*range, &mut buf).unwrap();
        assert_eq!((found.header, found.plane(0)), (extent(i as u32), &plane(i as u32)[..]));
        assert_eq!(found.plane(1), b"tail");
    }
    let mut extents = file.extents();
    for range in &ranges {
        assert_eq!(extents.next().unwrap().unwrap().0, *range);
    }
    assert!(extents.next().unwrap().is_none());
    let behind = ReadRange { offset: file.len(), bytes: PAGE };
    assert!(matches!(file.read_extent(behind, &mut buf), Err(StorageError::UnexpectedEnd { .. })));
    let insane = ReadRange { offset: u64::MAX - 4095, bytes: usize::MAX };
    assert!(matches!(file.read_extent(insane, &mut buf), Err(StorageError::UnexpectedEnd { .. })));
}

#[test]
fn a_file_can_be_continued_and_extents_encoded_elsewhere() {
    let disk = SimDisk::new(1);
    let ranges = file_of(&disk, 5);
    let mut writer = ExtentFileWriter::resume(&disk, "f", HEADER, ranges[3].offset).unwrap();
    let mut bytes = Vec::new();
    encode_extent(&extent(3), &[&plane(3), b"tail"], writer.next_key(), &mut bytes);
    assert_eq!(writer.append_raw(&bytes).unwrap(), ranges[3]);
    assert_eq!(writer.append(&extent(4), &[&vec![1; 3 << 20]]).unwrap().offset, ranges[4].offset);
    let mut large = Vec::new();
    encode_extent(&extent(5), &[&vec![2; 2 << 20]], writer.next_key(), &mut large);
    writer.append_raw(&large).unwrap();
    writer.append(&extent(6), &[]).unwrap();
    writer.sync().unwrap();
    assert_eq!(walk(&disk).unwrap(), 7);

    let len = writer.position();
    let other = FileHeader { file_id: 43, ..HEADER };
    for (header, len) in [(other, len), (HEADER, len + 4096), (HEADER, len - 1), (HEADER, 0)] {
        assert!(ExtentFileWriter::resume(&disk, "f", header, len).is_err(), "{header:?} {len}");
    }
    assert_eq!(walk(&disk).unwrap(), 7, "a refusal changes nothing");
}

#[test]
fn every_flipped_bit_of_a_file_is_found_by_the_walk() {
    let disk = SimDisk::new(1);
    let len = file_of(&disk, 4).last().unwrap().end();
    for bit in (0..len * 8).step_by(61) {
        disk.flip_bit("f", bit);
        assert!(walk(&disk).is_err(), "bit {bit}");
        disk.flip_bit("f", bit);
    }
    assert_eq!(walk(&disk).unwrap(), 4);
}

#[test]
fn a_file_cut_anywhere_but_behind_an_extent_is_refused() {
    let disk = SimDisk::new(1);
    let ranges = file_of(&disk, 4);
    let file = disk.open_rw("f").unwrap();
    let mut ends: Vec<u64> = ranges.iter().map(ReadRange::end).collect();
    ends.insert(0, PAGE as u64);
    let len = file.len().unwrap();
    for cut in (0..len).rev().filter(|len| len % 97 == 0 || len % 512 == 0) {
        file.set_len(cut).unwrap();
        let whole = ends.iter().position(|&end| end == cut);
        assert_eq!(walk(&disk).ok(), whole.map(|extents| extents as u32), "{cut} bytes");
    }
}

#[test]
fn gaps_and_tails_are_refused() {
    for tail in [1, 63, 64, 4096, 8192] {
        let disk = SimDisk::new(1);
        let end = file_of(&disk, 2).last().unwrap().end();
        disk.open_rw("f").unwrap().set_len(end + tail).unwrap();
        assert!(walk(&disk).is_err(), "{tail} zeros behind the last extent");
    }
}

fn blob_bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7) as u8 ^ (i >> 16) as u8).collect()
}

#[test]
fn blobs_of_every_size_come_back() {
    let disk = SimDisk::new(1);
    let mut writer = ExtentFileWriter::create(&disk, "f", HEADER).unwrap();
    let sizes = [0, 1, 4032, 4033, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5];
    let blobs: Vec<(Vec<u8>, ReadRange)> = sizes
        .iter()
        .map(|&len| (blob_bytes(len), write_blob(&mut writer, 9, &blob_bytes(len)).unwrap()))
        .collect();
    writer.sync().unwrap();
    let file = ExtentFile::open(&disk, "f", KIND).unwrap();
    for (bytes, range) in &blobs {
        assert!(read_blob(&file, 9, *range).unwrap() == *bytes, "{} bytes", bytes.len());
        assert!(read_blob(&file, 8, *range).is_err(), "another kind");

        let mut reader = BlobReader::new(&file, 9, *range).unwrap();
        let mut out = vec![0; bytes.len()];
        for piece in out.chunks_mut(300_007) {
            reader.read(piece).unwrap();
        }
        assert!(out == *bytes);
        assert!(matches!(reader.read(&mut [0]), Err(StorageError::UnexpectedEnd { .. })));
        reader.finish().unwrap();
    }
    let reader = BlobReader::new(&file, 9, blobs[1].1).unwrap();
    assert!(matches!(reader.finish(), Err(StorageError::Corrupt { found: 1, expected: 0, .. })));
}

#[test]
fn a_blob_written_in_pieces_is_the_same() {
    let whole = blob_bytes(2 * CHUNK + 77);
    let [disk, other] = [SimDisk::new(1), SimDisk::new(1)];
    let mut writer = ExtentFileWriter::create(&disk, "f", HEADER).unwrap();
    write_blob(&mut writer, 9, &whole).unwrap();
    writer.sync().unwrap();
    let mut writer = ExtentFileWriter::create(&other, "f", HEADER).unwrap();
    let mut blob = BlobWriter::new(&mut writer, 9);
    whole.chunks(99_991).for_each(|piece| blob.write(piece).unwrap());
    blob.finish().unwrap();
    writer.sync().unwrap();
    assert!(disk.bytes("f") == other.bytes("f"));
}

#[test]
fn missing_repeated_and_foreign_chunks_are_refused() {
    let disk = SimDisk::new(1);
    let mut writer = ExtentFileWriter::create(&disk, "f", HEADER).unwrap();
    let range = write_blob(&mut writer, 9, &blob_bytes(2 * CHUNK + 500)).unwrap();
    writer.append(&extent(0), &[b"something else"]).unwrap();
    writer.sync().unwrap();
    let file = ExtentFile::open(&disk, "f", KIND).unwrap();
    let full = 1 << 20;
    let wrong = [
        ReadRange { bytes: 0, ..range },
        ReadRange { bytes: full, ..range },
        ReadRange { bytes: 2 * full, ..range },
        ReadRange { bytes: range.bytes - PAGE, ..range },
        ReadRange { bytes: range.bytes + PAGE, ..range },
        ReadRange { bytes: range.bytes + 2 * PAGE, ..range },
        ReadRange { offset: range.offset + full as u64, bytes: range.bytes - full },
        ReadRange { offset: range.offset + 4096, bytes: range.bytes - 4096 },
    ];
    for range in wrong {
        assert!(read_blob(&file, 9, range).is_err(), "{range:?}");
    }
    for bit in (0..range.bytes as u64 * 8).step_by(1_000_003) {
        disk.flip_bit("f", range.offset * 8 + bit);
        assert!(read_blob(&file, 9, range).is_err(), "bit {bit}");
        disk.flip_bit("f", range.offset * 8 + bit);
    }
}
