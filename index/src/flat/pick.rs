//! Comparing some vectors of a file of many: only the extents that have them are read.
//!
//! Rows ascend and may have gaps, so a row's place is guessed between places that are known. Where no row is missing the
//! first guess is right; otherwise what was read narrows the next one down. All guesses of a round are read together.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use nearline_storage::{BatchReader, ReadRange, StorageError, Window};

use super::{Flat, Nearest};
use crate::error::Result;
use crate::metric::Scorer;
use crate::rows::RowPage;
use crate::vector::RowId;

/// Rows looked for together.
const CHUNK: usize = 1024;
/// Fewer reads than these are done one by one: setting up a batch costs more than it saves.
const BATCH_MIN: usize = 4;
const WINDOW: Window = Window { reads: 128, bytes: 4 << 20 };
/// Rounds that guess by proportion; later ones halve what is left.
const GUESSES: u32 = 3;

/// What it took to compare some vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Picked {
    /// Vectors compared.
    pub compared: u64,
    /// Pages read.
    pub pages: u64,
}

/// A row whose slot lies between two that are known.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    row: i64,
    /// A row below and its slot, a row above and its slot; there may be no vectors at them.
    low: (i64, i64),
    high: (i64, i64),
}

impl Wanted {
    /// The slots it may have; none if the row is not there.
    fn slots(&self) -> RangeInclusive<i64> {
        // From one slot to the next rows grow by one at least.
        let first = (self.low.1 + 1).max(self.high.1 - (self.high.0 - self.row));
        let last = (self.high.1 - 1).min(self.low.1 + (self.row - self.low.0));
        first..=last
    }

    fn guess(&self, round: u32) -> Option<i64> {
        let slots = self.slots();
        if slots.is_empty() {
            return None;
        }
        if round >= GUESSES {
            return Some(slots.start() + (slots.end() - slots.start()) / 2);
        }
        let share = i128::from(self.row - self.low.0) * i128::from(self.high.1 - self.low.1);
        let guess = self.low.1 + (share / i128::from((self.high.0 - self.low.0).max(1))) as i64;
        Some(guess.clamp(*slots.start(), *slots.end()))
    }
}

impl Flat {
    /// Compares the vectors of some rows, in ascending order, with a query of `scorer`. Rows that are not in the file are
    /// passed over. All rows of the file must lie in `within`.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn nearest_of(
        &self,
        scorer: &Scorer,
        rows: impl IntoIterator<Item = RowId>,
        within: &RangeInclusive<RowId>,
        nearest: &mut Nearest,
    ) -> Result<Picked> {
        let (first, last) = (i64::from(within.start().0), i64::from(within.end().0));
        let (low, high) = ((first - 1, -1), (last + 1, self.rows as i64));
        let mut rows = rows.into_iter().filter(|row| within.contains(row));
        let mut picked = Picked::default();
        loop {
            let some = rows.by_ref().take(CHUNK);
            let wanted: Vec<Wanted> = some.map(|row| Wanted { row: row.0.into(), low, high }).collect();
            if wanted.is_empty() {
                return Ok(picked);
            }
            self.pick(scorer, wanted, nearest, &mut picked)?;
        }
    }

    /// Pages of the file.
    pub fn pages(&self) -> u64 {
        self.layout.file_bytes(self.rows) / nearline_storage::PAGE as u64
    }

    /// Pages that [`Flat::nearest_of`] reads for so many rows, at most if none are missing in the file.
    pub fn pages_of(&self, rows: u64) -> u64 {
        let extents = self.rows.div_ceil(self.layout.rows as u64).min(rows);
        extents * (self.layout.bytes / nearline_storage::PAGE) as u64
    }

    fn pick(
        &self,
        scorer: &Scorer,
        mut wanted: Vec<Wanted>,
        nearest: &mut Nearest,
        picked: &mut Picked,
    ) -> Result<()> {
        let per_extent = self.layout.rows as i64;
        for round in 0.. {
            let mut extents = BTreeMap::<u64, Vec<Wanted>>::new();
            for want in wanted.drain(..) {
                if let Some(slot) = want.guess(round) {
                    extents.entry((slot / per_extent) as u64).or_default().push(want);
                }
            }
            if extents.is_empty() {
                break;
            }
            let places: Vec<u64> = extents.keys().copied().collect();
            self.read_extents(&places, |extent, bytes, page| {
                picked.pages += (bytes / nearline_storage::PAGE) as u64;
                let first_slot = extent as i64 * per_extent;
                for want in extents.remove(&extent).unwrap_or_default() {
                    match look(&page, first_slot, want) {
                        Look::Elsewhere(want) => wanted.push(want),
                        Look::Absent => {}
                        Look::Here(vector) => {
                            picked.compared += 1;
                            nearest.push(RowId(want.row as u32), scorer.distance(vector));
                        }
                    }
                }
            })?;
        }
        Ok(())
    }

    /// Reads extents by their numbers, ascending, and hands over each number, its length in bytes and its rows.
    fn read_extents(&self, extents: &[u64], mut take: impl FnMut(u64, usize, RowPage<'_>)) -> Result<()> {
        let place = |extent: u64| self.layout.place((extent * self.layout.rows as u64) as u32, self.rows).0;
        let mut give = |extent: u64, bytes: &[u8]| -> Result<()> {
            let offset = place(extent).offset;
            let decoded = self.file.decode(offset, bytes)?;
            let path = self.file.file().path();
            take(extent, bytes.len(), RowPage::of(&decoded, offset, path, self.layout, self.rows)?);
            Ok(())
        };
        let reader = if extents.len() < BATCH_MIN { None } else { self.batch_reader()? };
        let Some(mut reader) = reader else {
            let mut buffer = Vec::new();
            for &extent in extents {
                let ReadRange { offset, bytes } = place(extent);
                buffer.resize(bytes, 0);
                self.file.file().read_at(offset, &mut buffer)?;
                give(extent, &buffer)?;
            }
            return Ok(());
        };
        let mut waiting = extents.iter().copied().peekable();
        loop {
            while let Some(extent) = waiting.next_if(|&extent| reader.has_room(place(extent))) {
                reader.submit(extent, 0, place(extent))?;
            }
            match reader.wait()? {
                Some(done) => give(done.tag, done.bytes)?,
                None => return Ok(()),
            }
        }
    }

    /// A reader of the file, unless it has lost its name since: then it is read through the handle that is open.
    fn batch_reader(&self) -> Result<Option<Box<dyn BatchReader>>> {
        match self.disk.batch_reader(&[self.file.name()], WINDOW) {
            Ok(reader) => Ok(Some(reader)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

enum Look<'a> {
    Here(&'a [u8]),
    Absent,
    /// It is in another extent, between places that are closer.
    Elsewhere(Wanted),
}

/// Looks for a row in an extent whose first row has a slot.
fn look<'a>(page: &RowPage<'a>, first_slot: i64, want: Wanted) -> Look<'a> {
    let rows: &[[u8; 4]] = page.rows().as_chunks().0;
    let row_at = |at: usize| rows.get(at).map_or(0, |row| i64::from(u32::from_le_bytes(*row)));
    let last = rows.len().saturating_sub(1);
    if want.row < row_at(0) {
        return Look::Elsewhere(Wanted { high: (row_at(0), first_slot), ..want });
    }
    if want.row > row_at(last) {
        return Look::Elsewhere(Wanted { low: (row_at(last), first_slot + last as i64), ..want });
    }
    let found = rows.binary_search_by_key(&want.row, |row| i64::from(u32::from_le_bytes(*row)));
    match found.ok().and_then(|at| page.get(at)) {
        Some((_, vector)) => Look::Here(vector),
        None => Look::Absent,
    }
}
