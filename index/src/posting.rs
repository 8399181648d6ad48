//! Posting lists: one extent a list. First come its *primaries*, the vectors whose nearest list it is, then copies of
//! vectors whose nearest list is another.
//!
//! The first plane is the list's head; what follows depends on the codec.

use std::fmt;
use std::path::Path;

use nearline_storage::{
    Extent, ExtentHeader, ExtentKey, MAX_EXTENT_BYTES, PAGE, StorageError, encode_extent,
};

use crate::quantize::{Bounds, CodeShape, CodedList, Encoded};
use crate::slots::{Slots, u32_of};
use crate::vector::Shape;

/// The kind of extents that hold posting lists.
pub(crate) const EXTENT_KIND: u16 = 1;

/// Bytes of a head before the slots of the copies: slot of the first primary, primaries, bounds of the estimates.
const HEAD: usize = 20;

/// What a posting list holds of each vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// The vector's elements as they are in the input.
    #[default]
    Raw,
    /// RaBitQ codes of 1 to 8 bits a dimension.
    Rabitq {
        /// Bits a dimension.
        bits: u8,
    },
}

impl Codec {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Rabitq { bits } => bits,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Raw),
            1..=8 => Some(Self::Rabitq { bits: code }),
            _ => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::Rabitq { bits } => write!(f, "rabitq:{bits}"),
        }
    }
}

/// What decides the bytes of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListLayout {
    pub(crate) codec: Codec,
    /// Of the vectors.
    pub(crate) shape: Shape,
    /// Dimensions of the routing space, in which codes are.
    pub(crate) dim: usize,
    /// Whether an entry's slot stands for its row.
    pub(crate) by_slot: bool,
}

impl ListLayout {
    /// The layout of codes, if lists hold any.
    pub(crate) fn code(&self) -> Option<CodeShape> {
        match self.codec {
            Codec::Raw => None,
            Codec::Rabitq { bits } => Some(CodeShape { dim: self.dim, bits: bits.into() }),
        }
    }

    /// The slots of entries, if those stand for their rows.
    pub(crate) fn rows_of<'a>(&self, slots: Slots<'a>) -> Option<Slots<'a>> {
        self.by_slot.then_some(slots)
    }

    /// Bytes of a list's extent.
    pub(crate) fn extent_bytes(&self, entries: usize, primaries: usize) -> usize {
        let head = HEAD + if self.code().is_some() { (entries - primaries) * 4 } else { 0 };
        let [a, b] = self.plane_bytes(entries);
        nearline_storage::extent_bytes(&[head, a, b])
    }

    /// Bytes of the two planes behind the head of so many entries: row ids and vectors, or signs and records.
    pub(crate) fn plane_bytes(&self, entries: usize) -> [usize; 2] {
        match self.code() {
            None => [entries * 4, entries * self.shape.row_bytes()],
            Some(code) => [code.blocks(entries) * code.block_bytes(), entries * code.record_bytes()],
        }
    }

    /// Bytes of an entry, headers and padding left out.
    pub(crate) fn entry_bytes(&self) -> usize {
        match self.code() {
            None => 4 + self.shape.row_bytes(),
            Some(code) => code.block_bytes() / crate::quantize::BLOCK + code.record_bytes(),
        }
    }

    /// Entries that fit so many bytes, all of them copies: at least one.
    pub(crate) fn entries_within(&self, bytes: usize) -> usize {
        let most = bytes / self.entry_bytes();
        (1..=most).rev().find(|&entries| self.extent_bytes(entries, 0) <= bytes).unwrap_or(1)
    }

    /// Entries of the longest list that fits an extent.
    pub(crate) fn entries_max(&self) -> usize {
        // What alignment, padding and a block that is not full may take besides head and entries.
        let slack = 2 * PAGE + self.code().map_or(0, CodeShape::block_bytes);
        ((MAX_EXTENT_BYTES - slack) / (4 + self.entry_bytes())).max(1)
    }
}

/// What a list holds of its entries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'a> {
    /// The row and the vector of each.
    Raw { rows: &'a [u8], vectors: &'a [u8] },
    /// Codes; they know the rows.
    Coded(CodedList<'a>),
}

/// A posting list as read from disk, borrowed from the read's buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posting<'a> {
    pub(crate) entries: usize,
    pub(crate) primaries: usize,
    pub(crate) first_slot: u32,
    slots: Slots<'a>,
    pub(crate) body: Body<'a>,
}

impl<'a> Posting<'a> {
    /// Decodes the extent of `list`.
    pub(crate) fn decode(
        bytes: &'a [u8],
        key: ExtentKey,
        file: &Path,
        list: u32,
        layout: ListLayout,
    ) -> Result<Self, StorageError> {
        Self::of(&Extent::decode(bytes, key, file)?, key.offset, file, list.into(), layout)
    }

    /// Takes an extent at `offset` of `file` for the list of this number.
    pub(crate) fn of(
        extent: &Extent<'a>,
        offset: u64,
        file: &Path,
        list: u64,
        layout: ListLayout,
    ) -> Result<Self, StorageError> {
        let header = &extent.header;
        let entries = header.count as usize;
        let head = extent.plane(0);
        let word = |at: usize| head.get(at * 4..at * 4 + 4).map_or(0, u32_of);
        let primaries = word(1) as usize;
        // Raw lists are never reranked: nobody asks for the slots of their copies.
        let copies = if layout.code().is_some() { entries.saturating_sub(primaries) as u64 } else { 0 };
        let [first, second] = layout.plane_bytes(entries);
        let checks = [
            ("kind of extent", u64::from(header.kind), u64::from(EXTENT_KIND)),
            ("codec", u64::from(header.codec), u64::from(layout.codec.code())),
            ("list number", u64::from(header.owner), list),
            ("number of planes", extent.plane_count() as u64, 3),
            ("primaries of a list", primaries as u64, primaries.min(entries) as u64),
            ("bytes of a list's head", head.len() as u64, HEAD as u64 + copies * 4),
            ("bytes of row ids or signs", extent.plane(1).len() as u64, first as u64),
            ("bytes of vectors or records", extent.plane(2).len() as u64, second as u64),
        ];
        for (what, found, expected) in checks {
            if found != expected {
                return Err(StorageError::corrupt(file, offset, what, found, expected));
            }
        }
        let bound = |at| f32::from_bits(word(at));
        let bounds = Bounds { sign_slope: bound(2), sign_offset: bound(3), full_slope: bound(4) };
        let slots = Slots { first: word(0), primaries, copies: &head[HEAD..] };
        let [signs, records] = [extent.plane(1), extent.plane(2)];
        let body = match layout.code() {
            None => Body::Raw { rows: signs, vectors: records },
            Some(shape) => {
                Body::Coded(CodedList { shape, signs, records, bounds, slots: layout.rows_of(slots) })
            }
        };
        Ok(Self::held(entries, slots, body))
    }

    /// A list whose parts are held in RAM.
    pub(crate) fn held(entries: usize, slots: Slots<'a>, body: Body<'a>) -> Self {
        Self { entries, primaries: slots.primaries, first_slot: slots.first, slots, body }
    }

    /// The slots of the copies, little-endian.
    pub(crate) fn slots(&self) -> &'a [u8] {
        self.slots.copies
    }

    /// The row of an entry.
    pub(crate) fn row(&self, entry: usize) -> u32 {
        match self.body {
            Body::Raw { rows, .. } => rows.get(entry * 4..entry * 4 + 4).map_or(0, u32_of),
            Body::Coded(list) => list.row(entry),
        }
    }

    /// The slot of an entry in the file of rows.
    pub(crate) fn slot(&self, entry: usize) -> u32 {
        self.slots.of(entry)
    }
}

/// The head of a list to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) list: u32,
    pub(crate) first_slot: u32,
    pub(crate) primaries: u32,
    /// The slots of the copies, little-endian; none in raw lists.
    pub(crate) slots: &'a [u8],
}

/// Appends the extent of a list of codes.
pub(crate) fn encode_coded(head: Head<'_>, codec: Codec, list: &Encoded, key: ExtentKey, out: &mut Vec<u8>) {
    let count = head.primaries + (head.slots.len() / 4) as u32;
    let header = header(head, codec, count);
    encode_extent(&header, &[&plane(head, list.bounds), &list.signs, &list.records], key, out);
}

/// Appends the extent of a list of raw vectors; `rows` are little-endian `u32`.
pub(crate) fn encode_raw(head: Head<'_>, rows: &[u8], vectors: &[u8], key: ExtentKey, out: &mut Vec<u8>) {
    let header = header(head, Codec::Raw, (rows.len() / 4) as u32);
    encode_extent(
        &header,
        &[&plane(Head { slots: &[], ..head }, Bounds::default()), rows, vectors],
        key,
        out,
    );
}

fn header(head: Head<'_>, codec: Codec, count: u32) -> ExtentHeader {
    ExtentHeader { kind: EXTENT_KIND, codec: codec.code(), owner: head.list, count }
}

/// The head's bytes.
fn plane(head: Head<'_>, bounds: Bounds) -> Vec<u8> {
    let mut plane = Vec::with_capacity(HEAD + head.slots.len());
    plane.extend_from_slice(&head.first_slot.to_le_bytes());
    plane.extend_from_slice(&head.primaries.to_le_bytes());
    for bound in [bounds.sign_slope, bounds.sign_offset, bounds.full_slope] {
        plane.extend_from_slice(&bound.to_le_bytes());
    }
    plane.extend_from_slice(head.slots);
    plane
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{DIM_MAX, ElementType};

    const CODECS: [Codec; 4] =
        [Codec::Raw, Codec::Rabitq { bits: 1 }, Codec::Rabitq { bits: 5 }, Codec::Rabitq { bits: 8 }];

    #[test]
    fn a_list_without_its_planes_is_refused() {
        let shape = Shape { element: ElementType::F32, dim: 2 };
        let layout = ListLayout { codec: Codec::Raw, shape, dim: 16, by_slot: false };
        let (key, file) = (ExtentKey { file_id: 1, offset: 4096 }, Path::new("postings"));
        let header = ExtentHeader { kind: EXTENT_KIND, codec: Codec::Raw.code(), owner: 3, count: 0 };
        for (planes, good) in [(0, false), (1, false), (2, false), (3, true), (4, false)] {
            let mut bytes = Vec::new();
            let all = [&[0; HEAD][..], &[], &[], &[]];
            encode_extent(&header, &all[..planes], key, &mut bytes);
            assert_eq!(Posting::decode(&bytes, key, file, 3, layout).is_ok(), good, "{planes} planes");
        }
    }

    #[test]
    fn the_longest_list_fits_an_extent() {
        for element in [ElementType::F32, ElementType::F16, ElementType::U8, ElementType::I8] {
            for dim in [1, 2, 3, 96, 1000, 1024, DIM_MAX] {
                for codec in CODECS {
                    let routing = crate::rotation::padded(dim + 1);
                    let layout =
                        ListLayout { codec, shape: Shape { element, dim }, dim: routing, by_slot: false };
                    let entries = layout.entries_max();
                    assert!(entries > 0 && layout.extent_bytes(entries, 0) <= MAX_EXTENT_BYTES);
                }
            }
        }
    }

    #[test]
    fn entries_within_fill_the_bytes() {
        let shape = Shape { element: ElementType::F32, dim: 96 };
        for codec in CODECS {
            let layout = ListLayout { codec, shape, dim: 96, by_slot: false };
            for bytes in [4096, 8192, 20_480] {
                let entries = layout.entries_within(bytes);
                assert!(layout.extent_bytes(entries, 0) <= bytes, "{codec}");
                assert!(layout.extent_bytes(entries + 1, 0) > bytes, "{codec}");
            }
        }
    }
}
