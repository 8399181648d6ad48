//! An extent: a page-aligned run of bytes that checks itself.
//!
//! It is the unit of reading and of change. A header of 64 bytes is followed by up to [`MAX_PLANES`] planes, each
//! starting at a multiple of 64 bytes, and by zeros up to a whole page. The checksum is keyed by file and offset and
//! covers all of it, padding included, so a flipped bit and a misplaced extent are both noticed.

use std::path::Path;

use crate::checksum::Checksum;
use crate::disk::{PAGE, page_up};
use crate::error::{Result, StorageError};

/// Planes an extent has at most.
pub const MAX_PLANES: usize = 4;
/// The largest extent, in bytes on disk. Larger sections are blobs.
pub const MAX_EXTENT_BYTES: usize = 256 << 20;

const ALIGN: usize = 64;
const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"NLEX");
const VERSION_VALUE: u16 = 1;

const MAGIC: usize = 0; // u32
const VERSION: usize = 4; // u16
const KIND: usize = 6; // u16: what the planes hold, chosen by the layer above
const CODEC: usize = 8; // u8: how they hold it, likewise
const PLANES: usize = 9; // u8: how many planes the table describes
const RESERVED_A: usize = 10; // u16: zero
const OWNER: usize = 12; // u32: whose bytes these are
const COUNT: usize = 16; // u32: how many entries
const BYTES: usize = 20; // u32: the whole extent, padding included
const CRC: usize = 24; // u32: keyed checksum of everything but itself
const RESERVED_B: usize = 28; // u32: zero
const TABLE: usize = 32; // MAX_PLANES times offset u32, len u32
/// Length of the header, in bytes.
pub(crate) const HEADER: usize = 64;
const _: () = assert!(RESERVED_A + size_of::<u16>() == OWNER && RESERVED_B + size_of::<u32>() == TABLE);
const _: () = assert!(TABLE + MAX_PLANES * 8 == HEADER && HEADER.is_multiple_of(ALIGN));

/// What an extent says about itself. The meaning of the fields is up to the layer above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtentHeader {
    /// What the planes hold.
    pub kind: u16,
    /// How they hold it.
    pub codec: u8,
    /// Whose bytes these are: a posting list's number, for instance.
    pub owner: u32,
    /// How many entries the planes hold.
    pub count: u32,
}

/// Where an extent belongs; part of its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentKey {
    /// The `file_id` in the file's header page.
    pub file_id: u64,
    /// The offset in that file, a multiple of [`PAGE`].
    pub offset: u64,
}

/// How many bytes an extent with planes of these lengths takes on disk, header and padding included.
pub fn extent_bytes(plane_lens: &[usize]) -> usize {
    page_up(plane_lens.iter().fold(HEADER, |end, len| end.next_multiple_of(ALIGN) + len))
}

/// Appends an extent to `out`. It is valid only at the place that `key` names.
///
/// # Panics
/// If there are more than [`MAX_PLANES`] planes, or the extent would be larger than [`MAX_EXTENT_BYTES`].
pub fn encode_extent(header: &ExtentHeader, planes: &[&[u8]], key: ExtentKey, out: &mut Vec<u8>) {
    assert!(planes.len() <= MAX_PLANES, "{} planes in an extent", planes.len());
    let lens: [usize; MAX_PLANES] = std::array::from_fn(|i| planes.get(i).map_or(0, |plane| plane.len()));
    let bytes = extent_bytes(&lens[..planes.len()]);
    assert!(bytes <= MAX_EXTENT_BYTES, "an extent of {bytes} bytes");

    let start = out.len();
    out.resize(start + bytes, 0);
    let extent = &mut out[start..];
    put(extent, MAGIC, &MAGIC_VALUE.to_le_bytes());
    put(extent, VERSION, &VERSION_VALUE.to_le_bytes());
    put(extent, KIND, &header.kind.to_le_bytes());
    put(extent, CODEC, &[header.codec, planes.len() as u8]);
    put(extent, OWNER, &header.owner.to_le_bytes());
    put(extent, COUNT, &header.count.to_le_bytes());
    put(extent, BYTES, &(bytes as u32).to_le_bytes());
    let mut at = HEADER;
    for (i, plane) in planes.iter().enumerate() {
        at = at.next_multiple_of(ALIGN);
        put(extent, TABLE + i * 8, &(at as u32).to_le_bytes());
        put(extent, TABLE + i * 8 + 4, &(plane.len() as u32).to_le_bytes());
        put(extent, at, plane);
        at += plane.len();
    }
    let crc = checksum(extent, key);
    put(extent, CRC, &crc.value().to_le_bytes());
}

/// A decoded extent: a view of bytes that have passed every check.
#[derive(Clone, Copy, Debug)]
pub struct Extent<'a> {
    /// What the extent says about itself.
    pub header: ExtentHeader,
    planes: [&'a [u8]; MAX_PLANES],
    count: usize,
}

impl<'a> Extent<'a> {
    /// Checks `bytes`, all of an extent that should lie at `key` in `file`, and finds its planes.
    ///
    /// # Errors
    /// If anything is not as [`encode_extent`] wrote it, for this place.
    pub fn decode(bytes: &'a [u8], key: ExtentKey, file: &Path) -> Result<Self> {
        let at = |field: usize| key.offset + field as u64;
        if bytes.len() < HEADER {
            let end = at(bytes.len());
            return Err(StorageError::unexpected_end(file, key.offset, HEADER as u64, end));
        }
        let size = stored_bytes(bytes, key.offset, file)?;
        if size != bytes.len() {
            let (found, expected) = (size as u64, bytes.len() as u64);
            return Err(StorageError::corrupt(file, at(BYTES), "extent length", found, expected));
        }
        let (found, expected) = (u32_at(bytes, CRC), checksum(bytes, key).value());
        if found != expected {
            let (found, expected) = (found.into(), expected.into());
            return Err(StorageError::corrupt(file, at(CRC), "extent checksum", found, expected));
        }
        let version = u16_at(bytes, VERSION);
        if version > VERSION_VALUE {
            let file = file.to_path_buf();
            return Err(StorageError::Version { file, found: version, supported: VERSION_VALUE });
        }
        let (planes, count) = planes(bytes, key.offset, file)?;
        let header = ExtentHeader {
            kind: u16_at(bytes, KIND),
            codec: bytes[CODEC],
            owner: u32_at(bytes, OWNER),
            count: u32_at(bytes, COUNT),
        };
        Ok(Self { header, planes, count })
    }

    /// The bytes of plane `i`; empty if the extent has fewer planes.
    pub fn plane(&self, i: usize) -> &'a [u8] {
        self.planes.get(i).copied().unwrap_or_default()
    }

    /// How many planes the extent has.
    pub fn plane_count(&self) -> usize {
        self.count
    }
}

/// The length on disk that the header in `bytes` states, once it looks like one at all. Not yet covered by a
/// checksum: only good for deciding how much to read.
///
/// `bytes` holds at least [`HEADER`] bytes.
pub(crate) fn stored_bytes(bytes: &[u8], offset: u64, file: &Path) -> Result<usize> {
    let magic = u32_at(bytes, MAGIC);
    if magic != MAGIC_VALUE {
        let (found, expected) = (magic.into(), MAGIC_VALUE.into());
        return Err(StorageError::corrupt(file, offset, "extent magic", found, expected));
    }
    let size = u32_at(bytes, BYTES) as usize;
    if size == 0 || !size.is_multiple_of(PAGE) || size > MAX_EXTENT_BYTES {
        let (found, expected) = (size as u64, page_up(size.clamp(1, MAX_EXTENT_BYTES)) as u64);
        return Err(StorageError::corrupt(file, offset + BYTES as u64, "extent length", found, expected));
    }
    Ok(size)
}

/// Finds the planes. They must lie in order, aligned, inside the extent; what is unused must be zero.
fn planes<'a>(bytes: &'a [u8], offset: u64, file: &Path) -> Result<([&'a [u8]; MAX_PLANES], usize)> {
    let count = usize::from(bytes[PLANES]);
    let wrong = |field: usize, what, found: u64, expected: u64| {
        Err(StorageError::corrupt(file, offset + field as u64, what, found, expected))
    };
    if count > MAX_PLANES {
        return wrong(PLANES, "number of planes", count as u64, MAX_PLANES as u64);
    }
    let mut planes: [&[u8]; MAX_PLANES] = [&[]; MAX_PLANES];
    let mut end = HEADER;
    for (i, plane) in planes.iter_mut().enumerate() {
        let entry = TABLE + i * 8;
        let (start, len) = (u32_at(bytes, entry) as usize, u32_at(bytes, entry + 4) as usize);
        let expected = if i < count { end.next_multiple_of(ALIGN) } else { 0 };
        if start != expected {
            return wrong(entry, "plane offset", start as u64, expected as u64);
        }
        let room = if i < count { bytes.len().saturating_sub(start) } else { 0 };
        if len > room {
            return wrong(entry + 4, "plane length", len as u64, room as u64);
        }
        if i < count {
            *plane = &bytes[start..start + len];
            end = start + len;
        }
    }
    Ok((planes, count))
}

/// The keyed checksum of a whole extent, its own field left out.
fn checksum(extent: &[u8], key: ExtentKey) -> Checksum {
    let (before, rest) = extent.split_at(CRC);
    Checksum::keyed(key.file_id, key.offset).update(before).update(&rest[size_of::<u32>()..])
}

fn put(extent: &mut [u8], at: usize, bytes: &[u8]) {
    extent[at..at + bytes.len()].copy_from_slice(bytes);
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ExtentKey = ExtentKey { file_id: 0xfeed, offset: 8192 };
    const HEAD: ExtentHeader = ExtentHeader { kind: 3, codec: 1, owner: 77, count: 5 };

    fn encoded(planes: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_extent(&HEAD, planes, KEY, &mut out);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Extent<'_>> {
        Extent::decode(bytes, KEY, Path::new("lists"))
    }

    #[test]
    fn what_goes_in_comes_out() {
        let big = vec![9_u8; 10_000];
        for planes in [&[][..], &[b"" as &[u8]], &[b"abc", &big], &[b"a", b"", b"bc", b"d"]] {
            let bytes = encoded(planes);
            let lens: Vec<usize> = planes.iter().map(|plane| plane.len()).collect();
            assert_eq!(bytes.len(), extent_bytes(&lens));
            assert_eq!(bytes.len() % PAGE, 0);
            let extent = decode(&bytes).unwrap();
            assert_eq!((extent.header, extent.plane_count()), (HEAD, planes.len()));
            for (i, plane) in planes.iter().enumerate() {
                assert_eq!(extent.plane(i), *plane);
                assert_eq!((extent.plane(i).as_ptr().addr() - bytes.as_ptr().addr()) % ALIGN, 0);
            }
            assert!(extent.plane(planes.len()).is_empty() && extent.plane(99).is_empty());
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = encoded(&[b"signs", b"the rest"]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let good = encoded(&[&[1; 5000]]);
        for len in 0..good.len() {
            assert!(decode(&good[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_misplaced_extent_is_noticed() {
        let good = encoded(&[b"abc"]);
        for key in [ExtentKey { offset: 4096, ..KEY }, ExtentKey { file_id: 1, ..KEY }] {
            let error = Extent::decode(&good, key, Path::new("lists")).unwrap_err();
            assert!(matches!(error, StorageError::Corrupt { what: "extent checksum", .. }), "{error}");
        }
    }

    #[test]
    fn a_bad_plane_table_is_refused_even_with_a_good_checksum() {
        for (field, value) in [(TABLE, 65_u32), (TABLE + 4, 5000), (TABLE + 8, 64), (TABLE + 12, 1)] {
            let mut bad = encoded(&[b"abc"]);
            put(&mut bad, field, &value.to_le_bytes());
            let crc = checksum(&bad, KEY).value();
            put(&mut bad, CRC, &crc.to_le_bytes());
            assert!(matches!(decode(&bad), Err(StorageError::Corrupt { .. })), "field {field}");
        }
    }

    #[test]
    fn a_newer_version_says_so() {
        let mut newer = encoded(&[b"abc"]);
        put(&mut newer, VERSION, &2_u16.to_le_bytes());
        let crc = checksum(&newer, KEY).value();
        put(&mut newer, CRC, &crc.to_le_bytes());
        assert!(matches!(decode(&newer), Err(StorageError::Version { found: 2, supported: 1, .. })));
    }
}
