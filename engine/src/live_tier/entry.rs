//! Entries of the live tier and its stamp as bytes. Each carries a checksum of its own, over key and value.

use std::path::Path;
use std::sync::Arc;

use nearline_index::RowId;
use nearline_storage::{Checksum, Decoder, Encoder, StorageError};

use crate::segment::{Segment, SegmentInfo};

/// Bytes of the key of an entry: that of a point id.
pub(super) const KEY_BYTES: usize = 17;
/// The key of the stamp.
pub(super) const STAMP_KEY: &[u8] = b"stamp";
const VALUE_BYTES: usize = 8;
const VERSION: u16 = 1;

/// The value for a row of an id, and its checksum.
pub(super) fn encode(store_id: u64, key: &[u8; KEY_BYTES], row: RowId) -> ([u8; VALUE_BYTES], u32) {
    let check = checksum(store_id, key, row);
    let mut value = [0; VALUE_BYTES];
    value[..4].copy_from_slice(&row.0.to_le_bytes());
    value[4..].copy_from_slice(&check.to_le_bytes());
    (value, check)
}

/// The row in a value, and its checksum; `None` if the bytes are not those that were put under this key.
pub(super) fn decode(store_id: u64, key: &[u8], value: &[u8]) -> Option<(RowId, u32)> {
    let (key, value): (&[u8; KEY_BYTES], &[u8; VALUE_BYTES]) = (key.try_into().ok()?, value.try_into().ok()?);
    let [a, b, c, d, check @ ..] = *value;
    let (row, check) = (RowId(u32::from_le_bytes([a, b, c, d])), u32::from_le_bytes(check));
    (checksum(store_id, key, row) == check).then_some((row, check))
}

fn checksum(store_id: u64, key: &[u8; KEY_BYTES], row: RowId) -> u32 {
    Checksum::keyed(store_id, row.0.into()).update(key).value()
}

/// What a tier was when it was last made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Of the collection.
    pub(super) store_id: u64,
    /// It has the newest row of every point in segments whose rows are all from this one on,
    pub(super) first: RowId,
    /// and before this one.
    pub(super) end: RowId,
    /// Those segments.
    pub(super) segments: u64,
    /// How many entries there are, and the sum of their checksums: what was lost or is as it was before is missed.
    pub(super) entries: u64,
    pub(super) sum: u64,
}

impl Stamp {
    /// The segments among some that it covers: all of their rows.
    pub(super) fn covered<'a>(
        &self,
        segments: &'a [Arc<Segment>],
    ) -> impl Iterator<Item = &'a Arc<Segment>> + use<'a> {
        let (first, end) = (self.first, self.end);
        segments.iter().filter(move |segment| segment.info.first >= first && segment.info.last < end)
    }

    /// Whether the segments it covers are those it was made of.
    pub(super) fn names(&self, segments: &[Arc<Segment>]) -> bool {
        self.segments == segments_digest(self.covered(segments).map(|segment| &segment.info))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u16(VERSION).u64(self.store_id).u32(self.first.0).u32(self.end.0).u64(self.segments);
        out.u64(self.entries).u64(self.sum);
        let check = Checksum::of(out.as_bytes()).value();
        out.u32(check).as_bytes().to_vec()
    }

    /// The stamp in some bytes of a folder.
    pub(super) fn decode(bytes: &[u8], folder: &Path) -> Result<Self, StorageError> {
        let mut decoder = Decoder::new(bytes, folder, 0);
        let version = decoder.u16()?;
        if version != VERSION {
            return Err(decoder.wrong(0, "version of a stamp", version.into(), VERSION.into()));
        }
        let (store_id, first, end) = (decoder.u64()?, RowId(decoder.u32()?), RowId(decoder.u32()?));
        let (segments, entries, sum) = (decoder.u64()?, decoder.u64()?, decoder.u64()?);
        let (at, check) = (decoder.offset(), decoder.u32()?);
        decoder.finish()?;
        let right = Checksum::of(&bytes[..at as usize]).value();
        if check != right {
            return Err(StorageError::corrupt(folder, at, "checksum of a stamp", check.into(), right.into()));
        }
        Ok(Self { store_id, first, end, segments, entries, sum })
    }
}

/// What tells some segments from all others: a number that other segments hardly have.
pub(super) fn segments_digest<'a>(infos: impl Iterator<Item = &'a SegmentInfo>) -> u64 {
    let mut out = Encoder::new();
    for info in infos {
        out.u64(info.number).u64(info.points).u32(info.first.0).u32(info.last.0).u64(info.bytes);
    }
    let low = Checksum::of(out.as_bytes()).value();
    let high = Checksum::keyed(u64::from(low), out.as_bytes().len() as u64).update(out.as_bytes()).value();
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PointId;

    #[test]
    fn every_flipped_bit_of_an_entry_is_found() {
        let key = PointId::from(7).key();
        let (value, check) = encode(3, &key, RowId(9));
        assert_eq!(decode(3, &key, &value), Some((RowId(9), check)));
        assert_eq!(decode(4, &key, &value), None);
        for bit in 0..8 * (key.len() + value.len()) {
            let (mut key, mut value) = (key, value);
            match bit / 8 {
                at if at < key.len() => key[at] ^= 1 << (bit % 8),
                at => value[at - key.len()] ^= 1 << (bit % 8),
            }
            assert_eq!(decode(3, &key, &value), None, "bit {bit}");
        }
        assert_eq!(decode(3, &key[1..], &value), None);
        assert_eq!(decode(3, &key, &value[1..]), None);
    }

    #[test]
    fn every_flipped_bit_of_a_stamp_is_found() {
        let stamp = Stamp { store_id: 1, first: RowId(2), end: RowId(3), segments: 4, entries: 5, sum: 6 };
        let bytes = stamp.encode();
        assert_eq!(Stamp::decode(&bytes, Path::new("live")).unwrap(), stamp);
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Stamp::decode(&bytes, Path::new("live")).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Stamp::decode(&bytes[..len], Path::new("live")).is_err(), "{len} bytes");
        }
    }
}
