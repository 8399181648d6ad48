//! One record of the log: a header of 25 bytes, then the payload.

use std::path::Path;

use crate::checksum::Checksum;
use crate::error::StorageError;
use crate::wal::planted::{Bug, planted};

/// The largest payload of a record, in bytes.
pub const MAX_RECORD_BYTES: usize = 256 << 20;

/// The bytes of a record before its payload.
pub(super) const HEADER: usize = 25;

const LEN: usize = 0; // u32: bytes of the payload
const CRC: usize = 4; // u32: keyed checksum of the record but itself
const LSN: usize = 8; // u64
const DURABLE: usize = 16; // u64: the last lsn known to be synced when this was written
const KIND: usize = 24; // u8
const _: () = assert!(LEN + 4 == CRC && CRC + 4 == LSN && LSN + 8 == DURABLE && DURABLE + 8 == KIND);
const _: () = assert!(KIND + 1 == HEADER && MAX_RECORD_BYTES < u32::MAX as usize);

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The first record of a segment, durable before the segment has its name.
    Start = 1,
    /// What somebody appended; the only kind with an lsn of its own.
    Data = 2,
    /// Repeats the last lsn, to say that it is durable. Synced before anything is written behind it.
    Seal = 3,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Start, Self::Data, Self::Seal].into_iter().find(|&kind| kind as u8 == byte)
    }
}

/// Whose segment a record is in. With the offset it is part of every checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) store_id: u64,
    pub(super) segment: u64,
}

/// A record's header without length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) lsn: u64,
    pub(super) durable_upto: u64,
}

/// A record found sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) head: Head,
    pub(super) payload: &'a [u8],
}

impl Record<'_> {
    /// The bytes of all of it, header and payload.
    pub(super) fn bytes(&self) -> usize {
        HEADER + self.payload.len()
    }
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    what: &'static str,
    found: u64,
    expected: u64,
}

impl Bad {
    /// As an error, once it is clear that a sound record should be there.
    pub(super) fn error(self, file: &Path, offset: u64) -> StorageError {
        StorageError::corrupt(file, offset, self.what, self.found, self.expected)
    }
}

impl Head {
    /// The header of a record with this payload at `offset` of the segment.
    ///
    /// # Panics
    /// If the payload has 4 GiB or more; [`MAX_RECORD_BYTES`] is checked before.
    pub(super) fn encode(self, key: Key, offset: u64, payload: &[&[u8]]) -> [u8; HEADER] {
        let len: usize = payload.iter().map(|part| part.len()).sum();
        let len = u32::try_from(len).expect("the size of a record is checked before");
        let mut header = [0; HEADER];
        header[LEN..CRC].copy_from_slice(&len.to_le_bytes());
        header[LSN..DURABLE].copy_from_slice(&self.lsn.to_le_bytes());
        header[DURABLE..KIND].copy_from_slice(&self.durable_upto.to_le_bytes());
        header[KIND] = self.kind as u8;
        let crc = payload.iter().fold(checksum(&header, key, offset), |crc, part| crc.update(part));
        header[CRC..LSN].copy_from_slice(&crc.value().to_le_bytes());
        header
    }
}

/// The bytes of the payload that a header announces; nothing of it is checked.
pub(super) fn payload_len(header: &[u8; HEADER]) -> usize {
    u32_at(header, LEN) as usize
}

/// The lsn in a header; nothing of it is checked.
pub(super) fn raw_lsn(header: &[u8; HEADER]) -> u64 {
    u64_at(header, LSN)
}

/// Looks at the bytes of a record at `offset` of a segment. They are those that its header announces, or as many as
/// there are if that is less.
pub(super) fn decode(bytes: &[u8], key: Key, offset: u64) -> Result<Record<'_>, Bad> {
    let bad = |what, found: u64, expected: u64| Err(Bad { what, found, expected });
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER>() else {
        return bad("number of bytes for a log record", bytes.len() as u64, HEADER as u64);
    };
    let len = payload_len(header);
    if len > MAX_RECORD_BYTES {
        return bad("length of a log record", len as u64, MAX_RECORD_BYTES as u64);
    }
    let Some(payload) = payload.get(..len) else {
        return bad("length of a log record", len as u64, payload.len() as u64);
    };
    let expected = checksum(header, key, offset).update(payload).value();
    let found = u32_at(header, CRC);
    if found != expected && !planted(Bug::NoChecksum) {
        return bad("checksum of a log record", found.into(), expected.into());
    }
    let Some(kind) = Kind::from_byte(header[KIND]) else {
        return bad("kind of a log record", header[KIND].into(), Kind::Data as u64);
    };
    let head = Head { kind, lsn: raw_lsn(header), durable_upto: u64_at(header, DURABLE) };
    Ok(Record { head, payload })
}

/// The checksum of a header, to go on with over the payload.
fn checksum(header: &[u8; HEADER], key: Key, offset: u64) -> Checksum {
    let keyed = Checksum::keyed(key.store_id, key.segment).update(&offset.to_le_bytes());
    keyed.update(&header[..CRC]).update(&header[LSN..])
}

fn u32_at(header: &[u8; HEADER], at: usize) -> u32 {
    header[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(header: &[u8; HEADER], at: usize) -> u64 {
    header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { store_id: 7, segment: 3 };
    const HEAD: Head = Head { kind: Kind::Data, lsn: 12, durable_upto: 9 };

    fn sample() -> Vec<u8> {
        let mut bytes = HEAD.encode(KEY, 4096, &[b"pay", b"", b"load"]).to_vec();
        bytes.extend_from_slice(b"payload");
        bytes
    }

    #[test]
    fn what_goes_in_comes_out() {
        let bytes = sample();
        let record = decode(&bytes, KEY, 4096).unwrap();
        assert_eq!(record, Record { head: HEAD, payload: b"payload" });
        assert_eq!(record.bytes(), bytes.len());
        assert_eq!(decode(&[&bytes[..], b"more"].concat(), KEY, 4096).unwrap(), record);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let good = sample();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad, KEY, 4096).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(decode(&good[..len], KEY, 4096).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn records_of_another_place_are_bad() {
        let bytes = sample();
        for (key, offset) in [
            (Key { store_id: 8, ..KEY }, 4096),
            (Key { segment: 4, ..KEY }, 4096),
            (Key { store_id: KEY.segment, segment: KEY.store_id }, 4096),
            (KEY, 4097),
        ] {
            let bad = decode(&bytes, key, offset).unwrap_err();
            assert_eq!(bad.what, "checksum of a log record");
        }
    }

    #[test]
    fn zeros_are_no_record() {
        assert!(decode(&[0; 64], Key { store_id: 0, segment: 0 }, 0).is_err());
    }
}
