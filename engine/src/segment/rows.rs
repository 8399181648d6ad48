//! Which rows of a segment have a vector of some name: all, or those that a small file beside the vectors names.

use std::sync::Arc;

use nearline_index::{Flat, RowSet, Shape};
use nearline_storage::{Decoder, Disk, Encoder, FileHeader, PAGE, StorageError};

use super::{SegmentInfo, file_id, vectors_name};
use crate::error::OpenError;
use crate::manifest::{read_section, write_section};

const KIND: [u8; 4] = *b"RSET";
const EXTENT_KIND: u16 = 32;

/// The name of the file of rows of the segment's vectors of a name.
pub(super) fn rows_name(number: u64, at: usize) -> String {
    format!("rows.{number:06}.{at:02}")
}

/// The identity of the vectors of a name.
pub(super) fn vectors_id(store_id: u64, number: u64, at: usize) -> u64 {
    file_id(store_id, number, 2 + at)
}

/// The parts of a segment do not suffice for two files a name.
fn header(store_id: u64, number: u64, at: usize) -> FileHeader {
    FileHeader { kind: KIND, file_id: !vectors_id(store_id, number, at) }
}

/// Writes the rows that have a vector of a name and makes the bytes survive a crash. Says how many they are.
pub(super) fn write_rows(
    disk: &dyn Disk,
    store_id: u64,
    number: u64,
    at: usize,
    rows: &RowSet,
) -> Result<u64, StorageError> {
    let mut out = Encoder::new();
    rows.encode(&mut out);
    write_section(disk, &rows_name(number, at), header(store_id, number, at), EXTENT_KIND, out.as_bytes())
}

/// Reads them, and checks that they are as many as there are vectors, and rows of the segment.
pub(super) fn read_rows(
    disk: &dyn Disk,
    store_id: u64,
    info: &SegmentInfo,
    at: usize,
) -> Result<RowSet, StorageError> {
    let (name, header) = (rows_name(info.number, at), header(store_id, info.number, at));
    read_section(disk, &name, header, EXTENT_KIND, |bytes, path| {
        let mut decoder = Decoder::new(bytes, path, PAGE as u64);
        let rows = RowSet::decode(&mut decoder)?;
        decoder.finish()?;
        let (first, last) = (rows.first().unwrap_or(info.first), rows.last().unwrap_or(info.last));
        let checks = [
            ("rows that have a vector", rows.len(), info.vectors[at]),
            ("first row of a segment", first.min(info.first).0.into(), info.first.0.into()),
            ("last row of a segment", last.max(info.last).0.into(), info.last.0.into()),
        ];
        match checks.into_iter().find(|(_, found, expected)| found != expected) {
            Some((what, found, expected)) => {
                Err(StorageError::corrupt(path, PAGE as u64, what, found, expected))
            }
            None => Ok(rows),
        }
    })
}

/// Opens the vectors of a name, if there are any.
pub(super) fn open_vectors(
    disk: &Arc<dyn Disk>,
    store_id: u64,
    info: &SegmentInfo,
    at: usize,
    shape: Shape,
) -> Result<Option<Flat>, OpenError> {
    let count = info.vectors[at];
    if count == 0 {
        return Ok(None);
    }
    let (name, id) = (vectors_name(info.number, at), vectors_id(store_id, info.number, at));
    if let Some(id) = info.by_slot {
        return Ok(Some(Flat::open_by_slot(disk, &name, id, shape, count)?));
    }
    let rows = if !info.has_gaps(at) {
        RowSet::dense(info.first, info.last)
    } else if info.has_rows_file(at) {
        read_rows(disk.as_ref(), store_id, info, at)?
    } else {
        // Written before there were such files.
        return Ok(Some(Flat::open_unlisted(disk, &name, id, shape, count)?));
    };
    Ok(Some(Flat::open(disk, &name, id, shape, rows)?))
}

/// Checks that the file of rows, if there is one, still says what it said when the vectors were opened, and that these
/// are the vectors of the rows.
pub(super) fn verify_vectors(
    disk: &dyn Disk,
    store_id: u64,
    info: &SegmentInfo,
    at: usize,
    vectors: &Flat,
) -> Result<(), OpenError> {
    if info.has_rows_file(at) {
        let (rows, known) = (read_rows(disk, store_id, info, at)?, vectors.row_set());
        let differs = rows.iter().zip(known.iter()).find(|(found, expected)| found != expected);
        if let Some((found, expected)) = differs {
            let path = disk.root().join(rows_name(info.number, at));
            let (found, expected) = (found.0.into(), expected.0.into());
            return Err(StorageError::corrupt(&path, PAGE as u64, "row of a vector", found, expected).into());
        }
    }
    Ok(vectors.verify()?)
}

#[cfg(test)]
mod tests {
    use nearline_index::RowId;
    use nearline_storage::SimDisk;

    use super::*;

    const STORE: u64 = 77;

    fn written(rows: &[u32]) -> (SimDisk, SegmentInfo, RowSet) {
        let (disk, rows) = (SimDisk::new(0), RowSet::from_sorted(rows.iter().map(|&row| RowId(row))));
        let bytes = write_rows(&disk, STORE, 4, 1, &rows).unwrap();
        assert_eq!(disk.bytes("rows.000004.01").unwrap().len() as u64, bytes);
        let info = SegmentInfo {
            number: 4,
            points: 500,
            first: RowId(10),
            last: RowId(1_000),
            vectors: vec![0, rows.len()],
            bytes,
            lists_rows: true,
            by_slot: None,
            fields: Vec::new(),
        };
        (disk, info, rows)
    }

    #[test]
    fn what_goes_in_comes_out_and_every_byte_that_is_wrong_is_noticed() {
        let (disk, info, rows) = written(&[10, 11, 12, 500, 999]);
        assert_eq!(info.files()[3], "rows.000004.01");
        assert_eq!(read_rows(&disk, STORE, &info, 1).unwrap(), rows);
        for byte in 0..info.bytes {
            let bit = byte * 8 + byte % 8;
            disk.flip_bit("rows.000004.01", bit);
            let error = read_rows(&disk, STORE, &info, 1).unwrap_err().to_string();
            assert!(error.contains("rows.000004.01"), "byte {byte}: {error}");
            disk.flip_bit("rows.000004.01", bit);
        }
        assert!(read_rows(&disk, STORE + 1, &info, 1).is_err());
    }

    #[test]
    fn rows_that_the_segment_cannot_have_are_refused() {
        for rows in [&[10, 12][..], &[9, 20, 30], &[10, 20, 1_001]] {
            let (disk, mut info, _) = written(rows);
            info.vectors[1] = 3;
            let error = read_rows(&disk, STORE, &info, 1).unwrap_err();
            assert!(matches!(error, StorageError::Corrupt { offset: 4096, .. }), "{error}");
        }
    }
}
