//! A table of buckets worked out from a history, and which part of it; as bytes, too.

use std::borrow::Cow;
use std::path::Path;

use nearline_index::sdim::{BucketTable, HalfTable};
use nearline_storage::{Decoder, Encoder, StorageError};

use super::TableValues;
use super::history::History;
use super::manifest::Epoch;

/// A table worked out from a history, and which part of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tallied {
    /// Of the history then: the last change, the last change of its shape, the last event put before another.
    pub(super) version: u64,
    reshaped: u64,
    reordered: u64,
    /// How many of its events stay what they are until it is reshaped.
    settled: u64,
    /// Events left out at the beginning: they had expired.
    pub(super) first: usize,
    /// Events up to here are in it.
    pub(super) end: usize,
    /// When the last event was that is left out at the beginning.
    before: Option<i64>,
    /// When the first event was that is in it.
    from: i64,
    pub(super) table: Sums,
}

/// The sums of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sums {
    Whole(BucketTable),
    /// A serving copy. It is always made of whole sums: they were rounded once.
    Half(HalfTable),
}

impl Sums {
    pub(super) fn widened(&self) -> Cow<'_, BucketTable> {
        match self {
            Self::Whole(table) => Cow::Borrowed(table),
            Self::Half(table) => Cow::Owned(table.widen()),
        }
    }

    pub(super) fn into_widened(self) -> BucketTable {
        match self {
            Self::Whole(table) => table,
            Self::Half(table) => table.widen(),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Whole(table) => table.len(),
            Self::Half(table) => table.len(),
        }
    }

    fn ram_bytes(&self) -> usize {
        match self {
            Self::Whole(table) => table.ram_bytes() - size_of::<BucketTable>(),
            Self::Half(table) => table.ram_bytes() - size_of::<HalfTable>(),
        }
    }

    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Whole(table) => table.encode(out),
            Self::Half(table) => table.encode(out),
        }
    }

    fn decode(decoder: &mut Decoder<'_>, epoch: &Epoch) -> Result<Self, StorageError> {
        Ok(match epoch.values {
            TableValues::F64 => Self::Whole(BucketTable::decode(decoder, epoch.shape())?),
            TableValues::F16 => Self::Half(HalfTable::decode(decoder, epoch.shape())?),
        })
    }
}

impl Tallied {
    /// The table of the events of a history from one on. `before` and `from` are the times of the event before that one,
    /// if there is one, and of that one.
    pub(super) fn new(
        history: &History,
        first: usize,
        (before, from): (Option<i64>, i64),
        table: BucketTable,
    ) -> Self {
        Self {
            version: history.version,
            reshaped: history.reshaped,
            reordered: history.reordered,
            settled: history.stored.len,
            first,
            end: history.len() as usize,
            before,
            from,
            table: Sums::Whole(table),
        }
    }

    /// The same as tables of an epoch are kept and written.
    pub(super) fn into_kept(mut self, epoch: &Epoch) -> Self {
        if let (TableValues::F16, Sums::Whole(table)) = (epoch.values, &self.table) {
            self.table = Sums::Half(HalfTable::new(table));
        }
        self
    }

    /// Has no more than so many of the first events of its history count as settled.
    pub(super) fn settle_at_most(&mut self, len: u64) {
        self.settled = self.settled.min(len);
    }

    /// Whether its events are the first of a history, but for those left out.
    pub(super) fn is_of(&self, history: &History) -> bool {
        let is_ordered = self.reordered == history.reordered || self.end as u64 <= self.settled;
        self.reshaped == history.reshaped && self.version <= history.version && is_ordered
    }

    /// Whether exactly the events before this time are left out.
    pub(super) fn begins_at(&self, time: i64) -> bool {
        self.before.is_none_or(|before| before < time) && time <= self.from
    }

    /// The same, when all events of its history are in files.
    pub(super) fn settled(&self) -> Self {
        Self { settled: self.end as u64, ..self.clone() }
    }

    /// When the events are that it begins between.
    pub(super) fn edge(&self) -> (Option<i64>, i64) {
        (self.before, self.from)
    }

    pub(super) fn ram_bytes(&self) -> usize {
        size_of::<Self>() + self.table.ram_bytes()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u64(self.version).u64(self.reshaped).u64(self.reordered).u64(self.settled);
        out.u64(self.first as u64).u64(self.end as u64);
        out.u8(u8::from(self.before.is_some())).u64(self.before.unwrap_or(0) as u64).u64(self.from as u64);
        self.table.encode(&mut out);
        out.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8], path: &Path, epoch: &Epoch) -> Result<Self, StorageError> {
        let mut decoder = Decoder::new(bytes, path, 0);
        let (version, reshaped, reordered) = (decoder.u64()?, decoder.u64()?, decoder.u64()?);
        let settled = decoder.u64()?;
        let at = decoder.offset();
        let (first, end) = (decoder.u64()?, decoder.u64()?);
        if first > end {
            return Err(decoder.wrong(at, "first event of a table", first, end));
        }
        let has_before = decoder.u8()? != 0;
        let before = Some(decoder.u64()? as i64).filter(|_| has_before);
        let from = decoder.u64()? as i64;
        let at = decoder.offset();
        let table = Sums::decode(&mut decoder, epoch)?;
        if table.len() != end - first {
            return Err(decoder.wrong(at, "events of a table", table.len(), end - first));
        }
        decoder.finish()?;
        let (first, end) = (first as usize, end as usize);
        Ok(Self { version, reshaped, reordered, settled, first, end, before, from, table })
    }
}
