//! The entries of a list in memory, as they would lie on disk.

use nearline_storage::ExtentKey;

use crate::posting::{self, Body, Head, ListLayout, Posting};
use crate::quantize::{self, Encoded, Scale};
use crate::slots::Slots;
use crate::space::Space;

/// Entries of one list: codes around its centroid, or rows and vectors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entries {
    Coded(Encoded),
    Raw { rows: Vec<u8>, vectors: Vec<u8> },
}

impl Entries {
    pub(crate) fn empty(layout: ListLayout) -> Self {
        match layout.code() {
            Some(_) => Self::Coded(Encoded::empty()),
            None => Self::Raw { rows: Vec::new(), vectors: Vec::new() },
        }
    }

    /// Entries for some vectors: as they are stored, and in the routing space.
    pub(crate) fn encode(
        layout: ListLayout,
        centroid: &[f32],
        rows: &[u32],
        vectors: &[u8],
        points: &[f32],
    ) -> Self {
        match layout.code() {
            Some(shape) => Self::Coded(quantize::encode(shape, Scale::Unbiased, centroid, points, rows)),
            None => Self::Raw {
                rows: rows.iter().flat_map(|row| row.to_le_bytes()).collect(),
                vectors: vectors.to_vec(),
            },
        }
    }

    /// Appends an entry of a list around the same centroid.
    pub(crate) fn take(&mut self, list: &Posting<'_>, entry: usize) {
        match (self, list.body) {
            (Self::Coded(codes), Body::Coded(list)) => codes.take(&list, entry),
            (Self::Raw { rows, vectors }, Body::Raw { vectors: from, .. }) => {
                rows.extend_from_slice(&list.row(entry).to_le_bytes());
                let bytes = from.len() / list.entries.max(1);
                vectors.extend_from_slice(&from[entry * bytes..][..bytes]);
            }
            _ => debug_assert!(false, "lists of an index are of one codec"),
        }
    }

    /// Appends all entries of another list around the same centroid.
    pub(crate) fn take_all(&mut self, layout: ListLayout, other: &Self) {
        let other = other.posting(layout);
        (0..other.entries).for_each(|entry| self.take(&other, entry));
    }

    /// How many there are.
    pub(crate) fn len(&self, layout: ListLayout) -> usize {
        match (self, layout.code()) {
            (Self::Coded(codes), Some(shape)) => codes.records.len() / shape.record_bytes(),
            (Self::Raw { rows, .. }, _) => rows.len() / 4,
            (Self::Coded(_), None) => 0,
        }
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Coded(codes) => codes.signs.capacity() + codes.records.capacity(),
            Self::Raw { rows, vectors } => rows.capacity() + vectors.capacity(),
        }
    }

    /// The list, to be read. Which of its entries are copies is up to its owner.
    pub(crate) fn posting(&self, layout: ListLayout) -> Posting<'_> {
        let entries = self.len(layout);
        let body = match (self, layout.code()) {
            (Self::Coded(codes), Some(shape)) => Body::Coded(codes.list(shape)),
            (Self::Raw { rows, vectors }, _) => Body::Raw { rows, vectors },
            (Self::Coded(_), None) => Body::Raw { rows: &[], vectors: &[] },
        };
        Posting::held(entries, Slots { first: 0, primaries: entries, copies: &[] }, body)
    }

    /// Appends the list's extent, of which the first `primaries` entries are no copies.
    pub(crate) fn write(
        &self,
        layout: ListLayout,
        (list, first_slot, primaries): (u32, u32, usize),
        key: ExtentKey,
        out: &mut Vec<u8>,
    ) {
        // Nobody asks for the slots of an index that does not keep the rows: the rows stand there.
        let posting = self.posting(layout);
        let slots: Vec<u8> =
            (primaries..posting.entries).flat_map(|entry| posting.row(entry).to_le_bytes()).collect();
        let head = Head { list, first_slot, primaries: primaries as u32, slots: &slots };
        match self {
            Self::Coded(codes) => posting::encode_coded(head, layout.codec, codes, key, out),
            Self::Raw { rows, vectors } => posting::encode_raw(head, rows, vectors, key, out),
        }
    }
}

/// What an entry stands for, in the routing space.
pub(crate) fn point_of(space: &Space, list: &Posting<'_>, entry: usize, centroid: &[f32], out: &mut [f32]) {
    match list.body {
        Body::Coded(codes) => codes.decode(entry, centroid, out),
        Body::Raw { vectors, .. } => {
            let bytes = vectors.len() / list.entries.max(1);
            space.embed(&vectors[entry * bytes..][..bytes], out);
        }
    }
}
