//! What of the posting lists is held in RAM.

#[cfg(test)]
mod tests;

use std::ops::Range;

use nearline_storage::{ExtentFile, StorageError, prefer_huge_pages};

use crate::calibration::Residency;
use crate::directory::{Directory, Place};
use crate::error::{IndexError, Result};
use crate::posting::{Body, ListLayout, Posting};
use crate::quantize::{Bounds, CodedList};
use crate::slots::Slots;

/// No part of a list is held.
const NONE: u64 = u64::MAX;

/// The parts of lists that are held, and where.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) residency: Residency,
    layout: ListLayout,
    /// Where each list's signs (or the rows of raw lists) begin in `signs`.
    signs_at: Vec<u64>,
    /// Where each list's records (or vectors) begin in `records`.
    records_at: Vec<u64>,
    /// Where the slots of each list's copies begin in `slots`; whole lists only.
    slots_at: Vec<u64>,
    bounds: Vec<Bounds>,
    signs: Vec<u8>,
    records: Vec<u8>,
    slots: Vec<u8>,
    /// Lists of which everything is held that this residency holds.
    pub(super) lists: usize,
}

/// What to hold: for how many of the hottest lists, and which part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) residency: Residency,
    /// Lists held, the hottest; with [`Residency::Signs`] those whose records are held besides.
    pub(super) hot: usize,
    /// Bytes of all that.
    pub(super) bytes: u64,
}

/// Bytes of a list's signs, records and slots, of which `entries` are held.
fn part_bytes(layout: ListLayout, place: Place, whole: bool) -> [u64; 3] {
    let entries = if whole { place.entries } else { place.primaries };
    let [signs, records] = layout.plane_bytes(entries as usize);
    let slots = if whole && layout.code().is_some() { (place.entries - place.primaries) * 4 } else { 0 };
    [signs as u64, records as u64, u64::from(slots)]
}

/// Bytes of the tables of offsets, whatever is held.
pub(super) fn table_bytes(lists: usize) -> u64 {
    (lists * (3 * size_of::<u64>() + size_of::<Bounds>())) as u64
}

/// How many of the hottest lists can be held, as `residency` holds them, and the bytes that takes. `None` if what must
/// be held of all lists does not fit.
pub(super) fn fit(
    residency: Residency,
    layout: ListLayout,
    directory: &Directory,
    hottest: &[u32],
    free: u64,
) -> Option<Choice> {
    let mut bytes = table_bytes(directory.places().len());
    let whole = residency == Residency::Lists;
    let parts = |place: Place| part_bytes(layout, place, whole);
    if residency != Residency::Lists {
        bytes += directory.places().iter().map(|&place| parts(place)[0]).sum::<u64>();
    }
    if bytes > free {
        return (residency == Residency::Lists).then_some(Choice { residency, hot: 0, bytes: 0 });
    }
    let mut hot = 0;
    for &list in hottest {
        let [signs, records, slots] = parts(directory.place(list));
        let more = records + slots + if whole { signs } else { 0 };
        if bytes + more > free {
            break;
        }
        bytes += more;
        hot += 1;
    }
    let all = hot == directory.places().len();
    (residency != Residency::Codes || all).then_some(Choice { residency, hot, bytes })
}

impl Held {
    /// Nothing held.
    pub(super) fn nothing(layout: ListLayout) -> Self {
        Self {
            residency: Residency::Lists,
            layout,
            signs_at: Vec::new(),
            records_at: Vec::new(),
            slots_at: Vec::new(),
            bounds: Vec::new(),
            signs: Vec::new(),
            records: Vec::new(),
            slots: Vec::new(),
            lists: 0,
        }
    }

    /// Reads what was chosen from the file of postings, from front to back.
    pub(super) fn load(
        choice: Choice,
        layout: ListLayout,
        directory: &Directory,
        hottest: &[u32],
        postings: &ExtentFile,
    ) -> Result<Self> {
        let residency = choice.residency;
        if residency == Residency::Lists && choice.hot == 0 {
            return Ok(Self::nothing(layout));
        }
        let places = directory.places();
        let mut hot = vec![false; places.len()];
        hottest[..choice.hot].iter().for_each(|&list| hot[list as usize] = true);
        let mut held = Self::with_room(residency, layout, places, &hot);
        held.lists = choice.hot;
        let path = postings.file().path();
        let (mut extents, mut list) = (postings.extents(), 0);
        while let Some((range, extent)) = extents.next()? {
            let Some(place) = places.get(list) else {
                return Err(wrong_count(postings, range.offset, list + 1, places.len()));
            };
            let posting = Posting::of(&extent, range.offset, path, list as u64, layout)?;
            place.check(range, &posting, path)?;
            held.take(list, &posting, hot[list]);
            list += 1;
        }
        if list < places.len() {
            return Err(wrong_count(postings, postings.len(), list, places.len()));
        }
        Ok(held)
    }

    /// Empty, with exactly the memory that will be needed.
    fn with_room(residency: Residency, layout: ListLayout, places: &[Place], hot: &[bool]) -> Self {
        let whole = residency == Residency::Lists;
        let mut sums = [0u64; 3];
        for (place, &hot) in places.iter().zip(hot) {
            let parts = part_bytes(layout, *place, whole);
            let wanted = [hot || !whole, hot, hot];
            sums.iter_mut().zip(parts).zip(wanted).for_each(|((sum, part), wanted)| {
                *sum += if wanted { part } else { 0 };
            });
        }
        let table = || Vec::with_capacity(places.len());
        let [signs, records, slots] = sums.map(|bytes| {
            let mut memory = Vec::with_capacity(bytes as usize);
            prefer_huge_pages(&mut memory);
            memory
        });
        let (signs_at, records_at, slots_at) = (table(), table(), table());
        let bounds = Vec::with_capacity(places.len());
        Self { residency, layout, signs_at, records_at, slots_at, bounds, signs, records, slots, lists: 0 }
    }

    /// Takes over what is held of the next list.
    fn take(&mut self, list: usize, posting: &Posting<'_>, hot: bool) {
        debug_assert_eq!(list, self.signs_at.len());
        let whole = self.residency == Residency::Lists;
        let entries = if whole { posting.entries } else { posting.primaries };
        let (signs, records) = match posting.body {
            Body::Raw { rows, vectors } => (rows, vectors),
            Body::Coded(coded) => {
                self.bounds.push(coded.bounds);
                (coded.signs, coded.records)
            }
        };
        let [sign_bytes, record_bytes] = self.layout.plane_bytes(entries);
        let (signs, records) = (&signs[..sign_bytes], &records[..record_bytes]);
        let append = |at: &mut Vec<u64>, to: &mut Vec<u8>, bytes: &[u8], wanted: bool| {
            at.push(if wanted { to.len() as u64 } else { NONE });
            if wanted {
                to.extend_from_slice(bytes);
            }
        };
        append(&mut self.signs_at, &mut self.signs, signs, hot || !whole);
        append(&mut self.records_at, &mut self.records, records, hot);
        append(&mut self.slots_at, &mut self.slots, posting.slots(), hot && whole);
    }

    /// Whether the search needs nothing of this list from the disk.
    pub(super) fn has(&self, list: u32) -> bool {
        match self.residency {
            Residency::Lists => self.at(&self.records_at, list).is_some(),
            Residency::Signs | Residency::Codes => true,
        }
    }

    /// A list that is held, or its primaries: with all bits if those are held, too.
    pub(super) fn posting(&self, list: u32, place: Place) -> Option<HeldList<'_>> {
        let signs = self.at(&self.signs_at, list)?;
        let records = self.at(&self.records_at, list);
        let whole = self.residency == Residency::Lists;
        let [sign_bytes, record_bytes, slot_bytes] = part_bytes(self.layout, place, whole);
        let signs = &self.signs[range(signs, sign_bytes)];
        let records_of = |at| &self.records[range(at, record_bytes)];
        let entries = if whole { place.entries } else { place.primaries } as usize;
        let copies = self.at(&self.slots_at, list).map_or(&[][..], |at| &self.slots[range(at, slot_bytes)]);
        let slots = Slots { first: place.first_slot, primaries: place.primaries as usize, copies };
        let body = match self.layout.code() {
            None => Body::Raw { rows: signs, vectors: records.map_or(&[][..], records_of) },
            Some(shape) => {
                let bounds = self.bounds[list as usize];
                let records = records.map_or(&[][..], records_of);
                Body::Coded(CodedList { shape, signs, records, bounds, slots: self.layout.rows_of(slots) })
            }
        };
        let posting = Posting::held(entries, slots, body);
        Some(HeldList { posting, all_bits: records.is_some() })
    }

    /// Tells the processor that a list will be scanned soon.
    pub(super) fn prefetch(&self, list: u32, place: Place) {
        let Some(at) = self.at(&self.signs_at, list) else { return };
        let whole = self.residency == Residency::Lists;
        let [signs, ..] = part_bytes(self.layout, place, whole);
        crate::kernel::Kernel::best().prefetch(&self.signs[range(at, signs)]);
    }

    fn at(&self, table: &[u64], list: u32) -> Option<u64> {
        table.get(list as usize).copied().filter(|&at| at != NONE)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        let tables = self.signs_at.len() * 3 * size_of::<u64>() + self.bounds.len() * size_of::<Bounds>();
        (self.signs.len() + self.records.len() + self.slots.len() + tables) as u64
    }
}

/// A list, or as much as is held of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldList<'a> {
    pub(super) posting: Posting<'a>,
    /// Whether there are records; otherwise only signs.
    pub(super) all_bits: bool,
}

/// There are more lists, or fewer, than the directory knows.
fn wrong_count(postings: &ExtentFile, offset: u64, found: usize, expected: usize) -> IndexError {
    let file = postings.file().path();
    StorageError::corrupt(file, offset, "number of posting lists", found as u64, expected as u64).into()
}

fn range(at: u64, bytes: u64) -> Range<usize> {
    at as usize..(at + bytes) as usize
}
