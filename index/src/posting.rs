//! Posting lists: one extent a list, with a plane of row ids and a plane of entries.

use std::fmt;
use std::path::Path;

use nearline_storage::{
    Extent, ExtentHeader, ExtentKey, MAX_EXTENT_BYTES, PAGE, StorageError, encode_extent,
};

use crate::vector::Shape;

/// The kind of extents that hold posting lists.
pub(crate) const EXTENT_KIND: u16 = 1;

/// What a posting list holds of each vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// The vector's elements as they are in the input.
    Raw,
}

impl Codec {
    /// The codec's name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Raw => 0,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Raw].into_iter().find(|codec| codec.code() == code)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A posting list as read from disk, borrowed from the read's buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posting<'a> {
    rows: &'a [u8],
    vectors: &'a [u8],
}

impl<'a> Posting<'a> {
    /// Decodes the extent of `list`.
    pub(crate) fn decode(
        bytes: &'a [u8],
        key: ExtentKey,
        file: &Path,
        list: u32,
        shape: Shape,
    ) -> Result<Self, StorageError> {
        Self::of(&Extent::decode(bytes, key, file)?, key.offset, file, list.into(), shape)
    }

    /// Takes an extent at `offset` of `file` for the list of this number.
    pub(crate) fn of(
        extent: &Extent<'a>,
        offset: u64,
        file: &Path,
        list: u64,
        shape: Shape,
    ) -> Result<Self, StorageError> {
        let header = &extent.header;
        let count = header.count as usize;
        let checks = [
            ("kind of extent", u64::from(header.kind), u64::from(EXTENT_KIND)),
            ("codec", u64::from(header.codec), u64::from(Codec::Raw.code())),
            ("list number", u64::from(header.owner), list),
            ("number of planes", extent.plane_count() as u64, 2),
            ("bytes of row ids", extent.plane(0).len() as u64, count as u64 * 4),
            ("bytes of vectors", extent.plane(1).len() as u64, count as u64 * shape.row_bytes() as u64),
        ];
        for (what, found, expected) in checks {
            if found != expected {
                return Err(StorageError::corrupt(file, offset, what, found, expected));
            }
        }
        Ok(Self { rows: extent.plane(0), vectors: extent.plane(1) })
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() / 4
    }

    /// The row of each entry.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.rows.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// The vector of each entry, one after another.
    pub(crate) fn vectors(&self) -> &'a [u8] {
        self.vectors
    }
}

/// Bytes of a list's extent on disk.
pub(crate) fn extent_bytes(codec: Codec, shape: Shape, entries: usize) -> usize {
    match codec {
        Codec::Raw => nearline_storage::extent_bytes(&[entries * 4, entries * shape.row_bytes()]),
    }
}

/// Entries of the longest list that fits an extent.
pub(crate) fn entries_max(codec: Codec, shape: Shape) -> usize {
    // What alignment and padding may take besides header and entries.
    const SLACK: usize = 2 * PAGE;
    match codec {
        Codec::Raw => (MAX_EXTENT_BYTES - SLACK) / (4 + shape.row_bytes()),
    }
}

/// Appends the extent of a list: `rows` are little-endian `u32`, `vectors` the entries in the same order.
pub(crate) fn encode(list: u32, rows: &[u8], vectors: &[u8], key: ExtentKey, out: &mut Vec<u8>) {
    let header = ExtentHeader {
        kind: EXTENT_KIND,
        codec: Codec::Raw.code(),
        owner: list,
        count: (rows.len() / 4) as u32,
    };
    encode_extent(&header, &[rows, vectors], key, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{DIM_MAX, ElementType};

    #[test]
    fn a_list_without_its_planes_is_refused() {
        let shape = Shape { element: ElementType::F32, dim: 2 };
        let (key, file) = (ExtentKey { file_id: 1, offset: 4096 }, Path::new("postings"));
        let header = ExtentHeader { kind: EXTENT_KIND, codec: Codec::Raw.code(), owner: 3, count: 0 };
        for (planes, good) in [(0, false), (1, false), (2, true), (3, false)] {
            let mut bytes = Vec::new();
            encode_extent(&header, &vec![&[][..]; planes], key, &mut bytes);
            assert_eq!(Posting::decode(&bytes, key, file, 3, shape).is_ok(), good, "{planes} planes");
        }
    }

    #[test]
    fn the_longest_list_fits_an_extent() {
        for element in [ElementType::F32, ElementType::F16, ElementType::U8, ElementType::I8] {
            for dim in [1, 2, 3, 96, 1000, 1024, DIM_MAX] {
                let shape = Shape { element, dim };
                let entries = entries_max(Codec::Raw, shape);
                assert!(entries > 0 && extent_bytes(Codec::Raw, shape, entries) <= MAX_EXTENT_BYTES);
            }
        }
    }
}
