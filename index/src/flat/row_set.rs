//! Which rows a file of vectors holds, in memory: the slot of a row is the number of rows below it.
//!
//! Without gaps first and last row say all. With a few, a bit for each row from the first on, and the number of rows before
//! each block of bits, so that counting never goes beyond a block. Where most rows are missing, the rows themselves, if
//! that is shorter. Which of the three it is follows from first, last and number of the rows.

use nearline_storage::{Decoder, Encoder, StorageError};

use crate::vector::RowId;

const WORD_BITS: u64 = u64::BITS as u64;
/// Words of a block.
const BLOCK: usize = 8;

/// Rows in ascending order, and how many there are below any row. At most 4 bytes of memory a row, none without gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowSet {
    /// Both 0 where there are none.
    first: u32,
    last: u32,
    len: u64,
    form: Form,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Form {
    /// All from the first to the last.
    #[default]
    Dense,
    Bits(Bits),
    List(Vec<u32>),
}

/// A bit for each row from the first on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Bits {
    words: Vec<u64>,
    /// Rows before each block of words.
    before: Vec<u32>,
}

impl Bits {
    fn set(&mut self, at: u64, rows_before: u64) {
        let word = (at / WORD_BITS) as usize;
        while self.words.len() <= word {
            if self.words.len().is_multiple_of(BLOCK) {
                self.before.push(rows_before as u32);
            }
            self.words.push(0);
        }
        self.words[word] |= 1 << (at % WORD_BITS);
    }

    fn has(&self, at: u64) -> bool {
        self.words[(at / WORD_BITS) as usize] >> (at % WORD_BITS) & 1 == 1
    }

    /// Rows before one that is not behind the last.
    fn rank(&self, at: u64) -> u32 {
        let word = (at / WORD_BITS) as usize;
        let block = word / BLOCK;
        let whole: u32 = self.words[block * BLOCK..word].iter().map(|word| word.count_ones()).sum();
        let below = self.words[word] & ((1 << (at % WORD_BITS)) - 1);
        self.before[block] + whole + below.count_ones()
    }

    /// The place of the bit that has so many before it.
    fn select(&self, rank: u32) -> u32 {
        let block = self.before.partition_point(|&before| before <= rank) - 1;
        let (mut word, mut left) = (block * BLOCK, rank - self.before[block]);
        while left >= self.words[word].count_ones() {
            left -= self.words[word].count_ones();
            word += 1;
        }
        let rest = (0..left).fold(self.words[word], |rest, _| rest & (rest - 1));
        (word as u32) * u64::BITS + rest.trailing_zeros()
    }

    /// Bytes for so many rows and gaps.
    fn bytes(span: u64) -> u64 {
        let words = span.div_ceil(WORD_BITS);
        words * 8 + words.div_ceil(BLOCK as u64) * 4
    }
}

/// Whether a list is shorter than bits.
fn is_listed(len: u64, span: u64) -> bool {
    len * 4 < Bits::bytes(span)
}

impl RowSet {
    /// All rows from one to another.
    ///
    /// # Panics
    /// When the last is before the first.
    pub fn dense(first: RowId, last: RowId) -> Self {
        assert!(first <= last, "a set of rows has a first one");
        let (first, last) = (first.0, last.0);
        Self { first, last, len: u64::from(last - first) + 1, form: Form::Dense }
    }

    /// The set of these rows.
    ///
    /// # Panics
    /// When they do not ascend.
    pub fn from_sorted(rows: impl IntoIterator<Item = RowId>) -> Self {
        let mut set = Self::default();
        rows.into_iter().for_each(|row| set.push(row));
        set.settle();
        set
    }

    /// Adds a row behind the last. [`RowSet::settle`] comes before all questions but for the first and the last row.
    pub(super) fn push(&mut self, row: RowId) {
        let Some(last) = self.last() else {
            *self = Self::dense(row, row);
            return;
        };
        assert!(last < row, "rows are pushed in ascending order");
        let is_dense = self.form == Form::Dense && last.0 + 1 == row.0;
        if !is_dense {
            self.make_room(u64::from(row.0 - self.first) + 1);
        }
        match &mut self.form {
            Form::Dense => {}
            Form::Bits(bits) => bits.set((row.0 - self.first).into(), self.len),
            Form::List(list) => list.push(row.0),
        }
        (self.last, self.len) = (row.0, self.len + 1);
    }

    /// Chooses how one more row is held, so that the span grows to this. From list to bits only where half is spared:
    /// then the rows have doubled since they were bits, and all changes together cost little.
    fn make_room(&mut self, span: u64) {
        let (listed, bits) = (4 * (self.len + 1), Bits::bytes(span));
        match self.form {
            Form::Dense => self.hold(listed < bits),
            Form::Bits(_) if listed < bits => self.hold(true),
            Form::List(_) if bits * 2 <= listed => self.hold(false),
            _ => {}
        }
    }

    /// Holds the same rows in another way.
    fn hold(&mut self, as_list: bool) {
        self.form = if as_list {
            Form::List(self.iter().map(|row| row.0).collect())
        } else {
            let mut bits = Bits::default();
            for (row, before) in self.iter().zip(0..) {
                bits.set((row.0 - self.first).into(), before);
            }
            Form::Bits(bits)
        };
    }

    /// Ends pushing: the rows are held in the shortest way.
    pub(super) fn settle(&mut self) {
        let as_list = is_listed(self.len, self.span());
        match self.form {
            Form::Bits(_) if as_list => self.hold(true),
            Form::List(_) if !as_list => self.hold(false),
            _ => {}
        }
        match &mut self.form {
            Form::Dense => {}
            Form::Bits(Bits { words, before }) => {
                words.shrink_to_fit();
                before.shrink_to_fit();
            }
            Form::List(list) => list.shrink_to_fit(),
        }
    }

    /// How many rows.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lowest row, if there is one.
    pub fn first(&self) -> Option<RowId> {
        (self.len > 0).then_some(RowId(self.first))
    }

    /// The highest row, if there is one.
    pub fn last(&self) -> Option<RowId> {
        (self.len > 0).then_some(RowId(self.last))
    }

    /// Rows from the first to the last, missing ones included.
    fn span(&self) -> u64 {
        if self.is_empty() { 0 } else { u64::from(self.last - self.first) + 1 }
    }

    /// Whether the row is there.
    pub fn contains(&self, row: RowId) -> bool {
        self.slot_of(row).is_some()
    }

    /// The number of a row among those that are there, from 0 on; `None` if it is not there.
    pub fn slot_of(&self, row: RowId) -> Option<u32> {
        if self.is_empty() || row.0 < self.first || row.0 > self.last {
            return None;
        }
        let at = row.0 - self.first;
        match &self.form {
            Form::Dense => Some(at),
            Form::Bits(bits) => bits.has(at.into()).then(|| bits.rank(at.into())),
            Form::List(list) => list.binary_search(&row.0).ok().map(|slot| slot as u32),
        }
    }

    /// The row at a slot.
    ///
    /// # Panics
    /// When there are not so many rows.
    pub fn row_of(&self, slot: u32) -> RowId {
        assert!(u64::from(slot) < self.len, "slot {slot} of {} rows", self.len);
        match &self.form {
            Form::Dense => RowId(self.first + slot),
            Form::Bits(bits) => RowId(self.first + bits.select(slot)),
            Form::List(list) => RowId(list[slot as usize]),
        }
    }

    /// How many rows there are below this one, which need not be there.
    pub fn slots_before(&self, row: RowId) -> u32 {
        if self.is_empty() || row.0 <= self.first {
            return 0;
        }
        if row.0 > self.last {
            // Without the highest of all numbers there are fewer than 2^32.
            return self.len as u32;
        }
        match &self.form {
            Form::Dense => row.0 - self.first,
            Form::Bits(bits) => bits.rank((row.0 - self.first).into()),
            Form::List(list) => list.partition_point(|&other| other < row.0) as u32,
        }
    }

    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = RowId> {
        let (dense, words, list): (_, &[u64], &[u32]) = match &self.form {
            Form::Dense => (self.len, &[], &[]),
            Form::Bits(bits) => (0, &bits.words, &[]),
            Form::List(list) => (0, &[], list),
        };
        let bits = words.iter().zip(0_u64..).flat_map(|(&word, at)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| u64::from(rest.trailing_zeros()))?;
                rest &= rest - 1;
                Some(at * WORD_BITS + bit)
            })
        });
        let behind = (0..dense).chain(bits).map(|at| RowId((u64::from(self.first) + at) as u32));
        behind.chain(list.iter().map(|&row| RowId(row)))
    }

    /// Bytes of memory, itself left out.
    pub fn ram_bytes(&self) -> usize {
        match &self.form {
            Form::Dense => 0,
            Form::Bits(Bits { words, before }) => size_of_val(&words[..]) + size_of_val(&before[..]),
            Form::List(list) => size_of_val(&list[..]),
        }
    }

    /// Appends the set's bytes: its number (`u64`), first and last row (`u32`), then words or rows.
    pub fn encode(&self, out: &mut Encoder) {
        out.u64(self.len).u32(self.first).u32(self.last);
        match &self.form {
            Form::Dense => {}
            Form::Bits(bits) => {
                out.raw(bytemuck::cast_slice(&bits.words));
            }
            Form::List(list) => {
                out.raw(bytemuck::cast_slice(list));
            }
        }
    }

    /// Takes a set. Equal sets have equal bytes, and no others are taken.
    ///
    /// # Errors
    /// When the bytes are no set, or end too early.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, StorageError> {
        let at = decoder.offset();
        let (len, first, last) = (decoder.u64()?, decoder.u32()?, decoder.u32()?);
        let mut set = Self { first, last, len, form: Form::Dense };
        let most = if len == 0 { 0 } else { (u64::from(last) + 1).saturating_sub(first.into()) };
        if len > most {
            return Err(decoder.wrong(at, "rows of a set", len, most));
        }
        if len == 0 && (first, last) != (0, 0) {
            return Err(decoder.wrong(at + 8, "rows of an empty set", first.max(last).into(), 0));
        }
        if len < most {
            set.form = match is_listed(len, most) {
                true => Form::List(decode_list(decoder, &set)?),
                false => Form::Bits(decode_bits(decoder, &set)?),
            };
        }
        Ok(set)
    }
}

/// Rows that ascend from the first to the last.
fn decode_list(decoder: &mut Decoder<'_>, set: &RowSet) -> Result<Vec<u32>, StorageError> {
    let at = decoder.offset();
    let chunks = decoder.raw(set.len as usize * 4)?.as_chunks().0;
    let list: Vec<u32> = chunks.iter().map(|row| u32::from_le_bytes(*row)).collect();
    let order = list.windows(2).position(|pair| pair[0] >= pair[1]);
    if let Some(before) = order {
        let expected = u64::from(list[before]) + 1;
        let offset = at + (before as u64 + 1) * 4;
        return Err(decoder.wrong(offset, "order of rows", list[before + 1].into(), expected));
    }
    let ends =
        [("first row of a list", list.first(), set.first), ("last row of a list", list.last(), set.last)];
    for (what, found, expected) in ends {
        let found = found.map_or(u64::MAX, |&row| row.into());
        if found != u64::from(expected) {
            return Err(decoder.wrong(at, what, found, expected.into()));
        }
    }
    Ok(list)
}

/// As many bits as there are rows; the first and the last one that may be set are.
fn decode_bits(decoder: &mut Decoder<'_>, set: &RowSet) -> Result<Bits, StorageError> {
    let at = decoder.offset();
    let words = set.span().div_ceil(WORD_BITS) as usize;
    let chunks = decoder.raw(words * 8)?.as_chunks().0;
    let words: Vec<u64> = chunks.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let (mut before, mut count) = (Vec::with_capacity(words.len().div_ceil(BLOCK)), 0);
    for block in words.chunks(BLOCK) {
        before.push(count as u32);
        count += block.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
    }
    let lowest = words.first().map_or(0, |word| word.trailing_zeros());
    let highest = words.last().map_or(0, |word| word.checked_ilog2().unwrap_or(u32::MAX));
    let checks = [
        ("rows of a set", count, set.len),
        ("bit of the first row", lowest.into(), 0),
        ("bit of the last row", highest.into(), (set.span() - 1) % WORD_BITS),
    ];
    match checks.into_iter().find(|(_, found, expected)| found != expected) {
        Some((what, found, expected)) => Err(decoder.wrong(at, what, found, expected)),
        None => Ok(Bits { words, before }),
    }
}
