//! The posting directory: where each list lies. One blob of 16 bytes a list: offset `u64`, bytes `u32`, entries `u32`.

use nearline_storage::{BlobReader, ExtentFile, PAGE, ReadRange, StorageError};

use crate::error::Result;

/// The kind of the directory's extents.
pub(crate) const EXTENT_KIND: u16 = 6;
/// Bytes of one list in the file and in RAM.
pub(crate) const PLACE_BYTES: usize = 16;

/// Where a list lies in the file of postings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    pub(crate) entries: u32,
}

impl Place {
    pub(crate) fn range(self) -> ReadRange {
        ReadRange { offset: self.offset, bytes: self.bytes as usize }
    }

    pub(crate) fn encode(self) -> [u8; PLACE_BYTES] {
        let mut out = [0; PLACE_BYTES];
        out[..8].copy_from_slice(&self.offset.to_le_bytes());
        out[8..12].copy_from_slice(&self.bytes.to_le_bytes());
        out[12..].copy_from_slice(&self.entries.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: [u8; PLACE_BYTES]) -> Self {
        let [words, tail] = bytemuck::cast::<_, [u64; 2]>(bytes);
        Self { offset: words, bytes: tail as u32, entries: (tail >> 32) as u32 }
    }
}

/// The places of all lists, in RAM.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    places: Vec<Place>,
}

impl Directory {
    /// Reads the directory of an index with so many lists, whose postings have `postings` bytes.
    pub(crate) fn read(file: &ExtentFile, lists: usize, postings: u64) -> Result<Self> {
        let range = ReadRange { offset: PAGE as u64, bytes: file.len().saturating_sub(PAGE as u64) as usize };
        let wanted = (lists as u64).saturating_mul(PLACE_BYTES as u64);
        if wanted > file.len() {
            let path = file.file().path();
            return Err(StorageError::unexpected_end(path, PAGE as u64, wanted, file.len()).into());
        }
        let mut blob = BlobReader::new(file, EXTENT_KIND, range)?;
        let mut places = Vec::with_capacity(lists);
        let mut end = PAGE as u64;
        for list in 0..lists {
            let mut bytes = [0; PLACE_BYTES];
            blob.read(&mut bytes)?;
            let place = Place::decode(bytes);
            // Lists lie back to back, and end with the file.
            if place.offset != end || place.bytes == 0 || !(place.bytes as usize).is_multiple_of(PAGE) {
                return Err(misplaced(file, list, place.offset, end));
            }
            end = place.range().end();
            places.push(place);
        }
        blob.finish()?;
        if end != postings {
            return Err(misplaced(file, lists, end, postings));
        }
        Ok(Self { places })
    }

    /// Where a list lies.
    pub(crate) fn place(&self, list: u32) -> Place {
        self.places[list as usize]
    }
}

fn misplaced(file: &ExtentFile, list: usize, found: u64, expected: u64) -> crate::error::IndexError {
    StorageError::Corrupt {
        file: file.file().path().to_owned(),
        offset: PAGE as u64 + (list * PLACE_BYTES) as u64,
        what: "place of a posting list",
        found,
        expected,
    }
    .into()
}
