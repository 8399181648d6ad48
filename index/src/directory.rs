//! The posting directory: where each list lies. One blob of 24 bytes a list: offset `u64`, bytes `u32`, entries `u32`,
//! entries whose nearest list it is (primaries) `u32`, the slot of the first of them `u32`.

use std::path::Path;

use nearline_storage::{BlobReader, ExtentFile, PAGE, ReadRange, StorageError};

use crate::error::Result;
use crate::posting::Posting;

/// The kind of the directory's extents.
pub(crate) const EXTENT_KIND: u16 = 6;
/// Bytes of one list in the file and in RAM.
pub(crate) const PLACE_BYTES: usize = 24;

/// Where a list lies in the file of postings, and its primaries in the file of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    pub(crate) entries: u32,
    pub(crate) primaries: u32,
    pub(crate) first_slot: u32,
}

impl Place {
    pub(crate) fn range(self) -> ReadRange {
        ReadRange { offset: self.offset, bytes: self.bytes as usize }
    }

    /// Checks that the list found in `range` of `file` is the one that the directory has here.
    ///
    /// # Errors
    /// `Corrupt` with the list's offset if it is not.
    pub(crate) fn check(
        self,
        range: ReadRange,
        posting: &Posting<'_>,
        file: &Path,
    ) -> Result<(), StorageError> {
        let checks = [
            ("offset of a posting list", range.offset, self.offset),
            ("bytes of a posting list", range.bytes as u64, self.bytes.into()),
            ("entries of a posting list", posting.entries as u64, self.entries.into()),
            ("primaries of a posting list", posting.primaries as u64, self.primaries.into()),
            ("first slot of a posting list", posting.first_slot.into(), self.first_slot.into()),
        ];
        match checks.into_iter().find(|(_, found, expected)| found != expected) {
            Some((what, found, expected)) => {
                Err(StorageError::corrupt(file, range.offset, what, found, expected))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn encode(self) -> [u8; PLACE_BYTES] {
        let mut out = [0; PLACE_BYTES];
        out[..8].copy_from_slice(&self.offset.to_le_bytes());
        let words = [self.bytes, self.entries, self.primaries, self.first_slot];
        out[8..].copy_from_slice(bytemuck::cast_slice(&words));
        out
    }

    pub(crate) fn decode(bytes: [u8; PLACE_BYTES]) -> Self {
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        Self {
            offset: u64::from(word(0)) | u64::from(word(4)) << 32,
            bytes: word(8),
            entries: word(12),
            primaries: word(16),
            first_slot: word(20),
        }
    }
}

/// The places of all lists, in RAM.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    places: Vec<Place>,
}

impl Directory {
    /// Reads the directory of an index with so many lists and rows, whose postings have `postings` bytes.
    pub(crate) fn read(file: &ExtentFile, lists: usize, rows: u64, postings: u64) -> Result<Self> {
        let range = ReadRange { offset: PAGE as u64, bytes: file.len().saturating_sub(PAGE as u64) as usize };
        let wanted = (lists as u64).saturating_mul(PLACE_BYTES as u64);
        if wanted > file.len() {
            let path = file.file().path();
            return Err(StorageError::unexpected_end(path, PAGE as u64, wanted, file.len()).into());
        }
        let mut blob = BlobReader::new(file, EXTENT_KIND, range)?;
        let mut places = Vec::with_capacity(lists);
        let (mut end, mut slot) = (PAGE as u64, 0u64);
        for list in 0..lists {
            let mut bytes = [0; PLACE_BYTES];
            blob.read(&mut bytes)?;
            let place = Place::decode(bytes);
            // Lists lie back to back, and end with the file.
            if place.offset != end || place.bytes == 0 || !(place.bytes as usize).is_multiple_of(PAGE) {
                return Err(misplaced(file, list, "place of a posting list", place.offset, end));
            }
            // Their primaries are all rows, one after another.
            if u64::from(place.first_slot) != slot || place.primaries > place.entries {
                return Err(misplaced(file, list, "slot of a posting list", place.first_slot.into(), slot));
            }
            end = place.range().end();
            slot += u64::from(place.primaries);
            places.push(place);
        }
        blob.finish()?;
        if end != postings {
            return Err(misplaced(file, lists, "place of a posting list", end, postings));
        }
        if slot != rows {
            return Err(misplaced(file, lists, "slot of a posting list", slot, rows));
        }
        Ok(Self { places })
    }

    /// A directory that was not read from a file.
    #[cfg(test)]
    pub(crate) fn of(places: Vec<Place>) -> Self {
        Self { places }
    }

    /// Where a list lies.
    pub(crate) fn place(&self, list: u32) -> Place {
        self.places[list as usize]
    }

    /// All lists, in order.
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }
}

fn misplaced(
    file: &ExtentFile,
    list: usize,
    what: &'static str,
    found: u64,
    expected: u64,
) -> crate::error::IndexError {
    let offset = PAGE as u64 + (list * PLACE_BYTES) as u64;
    StorageError::corrupt(file.file().path(), offset, what, found, expected).into()
}
