//! The first page of every file: what it is, which format it follows, and its identity.

use std::path::Path;

use crate::checksum::Checksum;
use crate::codec::{Decoder, Encoder};
use crate::disk::PAGE;
use crate::error::{Result, StorageError};

/// Line ends and a high bit after the name, so that a transfer as text is noticed.
const MAGIC: &[u8; 16] = b"NEARLINE\x89\r\n\x1a\n\0\0\0";
const MAJOR: u16 = 2;
const MINOR: u16 = 0;
/// Feature bits a reader must know are the low half; the high half may be ignored.
const REQUIRED: u64 = 0xffff_ffff;
const KNOWN: u64 = 0;

const KIND: usize = 16; // four ASCII letters
const VERSION: usize = 20; // major u16, minor u16
const FEATURES: usize = 24; // u64
pub(crate) const FILE_ID: usize = 32; // u64
const CRC: usize = 40; // u32: checksum of the page but itself
const END: usize = 44; // zeros from here to the page's end
const _: () = assert!(FEATURES + size_of::<u64>() == FILE_ID && FILE_ID + size_of::<u64>() == CRC);
const _: () = assert!(MAGIC.len() == KIND && CRC + size_of::<u32>() == END);

/// What a file says about itself in its first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// What the file holds, in four ASCII letters.
    pub kind: [u8; 4],
    /// Part of every checksum in the file. Give each file its own.
    pub file_id: u64,
}

impl FileHeader {
    /// The header page.
    pub fn encode(&self) -> [u8; PAGE] {
        let mut head = Encoder::new();
        head.raw(MAGIC).raw(&self.kind).u16(MAJOR).u16(MINOR).u64(KNOWN).u64(self.file_id);
        let mut page = [0; PAGE];
        page[..CRC].copy_from_slice(head.as_bytes());
        let crc = checksum(&page).value();
        page[CRC..END].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Checks a header page, the first of `file`.
    ///
    /// # Errors
    /// If the page is damaged, from another format, or of no Nearline file at all. The place of the version and of
    /// the checksum will not change, so a file of another version is told from a damaged one.
    pub fn decode(page: &[u8], file: &Path) -> Result<Self> {
        let Some(page) = page.first_chunk::<PAGE>() else {
            return Err(StorageError::unexpected_end(file, 0, PAGE as u64, page.len() as u64));
        };
        let mut fields = Decoder::new(page, file, 0);
        let magic = fields.raw(MAGIC.len())?;
        if magic != MAGIC {
            let (found, expected) = (first_u64(magic), first_u64(MAGIC));
            return Err(fields.wrong(0, "file magic (is this a Nearline file?)", found, expected));
        }
        let kind = fields.u32()?.to_le_bytes();
        let (major, _minor) = (fields.u16()?, fields.u16()?);
        let (features, file_id) = (fields.u64()?, fields.u64()?);
        let (found, expected) = (fields.u32()?, checksum(page).value());
        if found != expected {
            return Err(fields.wrong(CRC as u64, "header checksum", found.into(), expected.into()));
        }
        if major == 0 {
            return Err(fields.wrong(VERSION as u64, "format version", 0, MAJOR.into()));
        }
        if major != MAJOR {
            return Err(StorageError::Version { file: file.to_path_buf(), found: major, supported: MAJOR });
        }
        let unknown = features & REQUIRED & !KNOWN;
        if unknown != 0 {
            return Err(StorageError::Features { file: file.to_path_buf(), unknown });
        }
        Ok(Self { kind, file_id })
    }

    /// As [`FileHeader::decode`], for a file that must be of `kind`.
    ///
    /// # Errors
    /// Also if the file is of another kind.
    pub(crate) fn decode_kind(page: &[u8], file: &Path, kind: [u8; 4]) -> Result<Self> {
        let header = Self::decode(page, file)?;
        if header.kind != kind {
            let (found, expected) = (u32::from_be_bytes(header.kind), u32::from_be_bytes(kind));
            return Err(StorageError::corrupt(file, KIND as u64, "file kind", found.into(), expected.into()));
        }
        Ok(header)
    }
}

fn checksum(page: &[u8; PAGE]) -> Checksum {
    Checksum::of(&page[..CRC]).update(&page[END..])
}

fn first_u64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FileHeader = FileHeader { kind: *b"LIST", file_id: 0x1234_5678_9abc };

    fn decode(page: &[u8]) -> Result<FileHeader> {
        FileHeader::decode(page, Path::new("f"))
    }

    fn with(at: usize, bytes: &[u8]) -> [u8; PAGE] {
        let mut page = HEADER.encode();
        page[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = checksum(&page).value();
        page[CRC..END].copy_from_slice(&crc.to_le_bytes());
        page
    }

    #[test]
    fn what_goes_in_comes_out() {
        assert_eq!(decode(&HEADER.encode()).unwrap(), HEADER);
        let error = FileHeader::decode_kind(&HEADER.encode(), Path::new("f"), *b"ROWS").unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { what: "file kind", .. }), "{error}");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = HEADER.encode();
        for bit in 0..PAGE * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let good = HEADER.encode();
        for len in 0..PAGE {
            assert!(matches!(decode(&good[..len]), Err(StorageError::UnexpectedEnd { .. })), "{len} bytes");
        }
    }

    #[test]
    fn other_formats_and_features_say_so() {
        for other in [1_u16, 3, u16::MAX] {
            let error = decode(&with(VERSION, &other.to_le_bytes())).unwrap_err();
            let StorageError::Version { found, supported: 2, .. } = &error else { panic!("{error}") };
            assert_eq!(*found, other);
            let fix = if other < 2 { "build the index anew" } else { "or a later one" };
            assert!(error.to_string().contains(fix), "{error}");
        }
        let required = with(FEATURES, &1_u64.to_le_bytes());
        assert!(matches!(decode(&required), Err(StorageError::Features { unknown: 1, .. })));
        assert!(
            decode(&with(FEATURES, &(1_u64 << 32).to_le_bytes())).is_ok(),
            "optional features are ignored"
        );
        assert!(decode(&with(VERSION + 2, &9_u16.to_le_bytes())).is_ok(), "minor versions are compatible");
        assert!(decode(&with(VERSION, &0_u16.to_le_bytes())).is_err());
    }
}
