//! What one user did, in order of time, and then of the events' numbers: what files have of it, and what is behind that.

use std::collections::HashSet;
use std::sync::Arc;

use nearline_index::sdim::SignShape;
use nearline_storage::{Decoder, Encoder, StorageError};

use super::manifest::FIRST;

/// Behaviours that wait in the tail until they are put behind the others.
const TAIL_MAX: usize = 64;
/// New events of a user from which on their numbers are looked up in a set.
const SCAN_MAX: usize = 16;

/// A vector and its signature.
#[derive(Debug, PartialEq)]
pub(super) struct Embedding {
    pub(super) vector: Box<[f32]>,
    pub(super) signature: Box<[u64]>,
}

impl Embedding {
    pub(super) fn ram_bytes(&self) -> usize {
        size_of::<Self>() + 16 + size_of_val(&*self.vector) + size_of_val(&*self.signature)
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        for &word in self.signature.iter() {
            out.u64(word);
        }
        for &value in self.vector.iter() {
            out.f32(value);
        }
    }

    pub(super) fn decode(decoder: &mut Decoder<'_>, shape: SignShape) -> Result<Self, StorageError> {
        Self::decode_of(decoder, shape.words(), shape.dim())
    }

    fn decode_of(decoder: &mut Decoder<'_>, words: usize, dim: usize) -> Result<Self, StorageError> {
        let signature = (0..words).map(|_| decoder.u64()).collect::<Result<_, _>>()?;
        Ok(Self { vector: decode_vector(decoder, dim)?, signature })
    }
}

/// Takes a vector.
pub(super) fn decode_vector(decoder: &mut Decoder<'_>, dim: usize) -> Result<Box<[f32]>, StorageError> {
    let (values, _) = decoder.raw(dim * 4)?.as_chunks::<4>();
    Ok(values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

/// The vector of a behaviour's own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Inline {
    /// The first epoch of the embeddings that it is one of: the signature is by its planes.
    pub(super) of: u32,
    pub(super) embedding: Arc<Embedding>,
}

impl Inline {
    fn encode(&self, out: &mut Encoder) {
        if self.of == FIRST {
            out.u8(1);
        } else {
            let Embedding { vector, signature } = &*self.embedding;
            out.u8(2).u32(self.of).u32(signature.len() as u32).u32(vector.len() as u32);
        }
        self.embedding.encode(out);
    }

    /// `shape` is that of the first epoch, those of others are told.
    fn decode(decoder: &mut Decoder<'_>, shape: SignShape) -> Result<Option<Self>, StorageError> {
        let at = decoder.offset();
        let (of, words, dim) = match decoder.u8()? {
            0 => return Ok(None),
            1 => (FIRST, shape.words(), shape.dim()),
            2 => (decoder.u32()?, decoder.u32()? as usize, decoder.u32()? as usize),
            other => return Err(decoder.wrong(at, "mark of a vector", u64::from(other), 2)),
        };
        if words.saturating_mul(8).saturating_add(dim.saturating_mul(4)) > decoder.remaining() {
            return Err(decoder.wrong(at, "values of a vector", dim as u64, decoder.remaining() as u64));
        }
        let embedding = Arc::new(Embedding::decode_of(decoder, words, dim)?);
        Ok(Some(Self { of, embedding }))
    }
}

/// One behaviour.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) time: i64,
    pub(super) id: u64,
    pub(super) item: u64,
    /// Its own vector, if it is not the item's.
    pub(super) inline: Option<Inline>,
}

impl Event {
    fn key(&self) -> (i64, u64) {
        (self.time, self.id)
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        out.u64(self.time as u64).u64(self.id).u64(self.item);
        match &self.inline {
            Some(inline) => inline.encode(out),
            None => drop(out.u8(0)),
        }
    }

    pub(super) fn decode(decoder: &mut Decoder<'_>, shape: SignShape) -> Result<Self, StorageError> {
        let (time, id, item) = (decoder.u64()? as i64, decoder.u64()?, decoder.u64()?);
        Ok(Self { time, id, item, inline: Inline::decode(decoder, shape)? })
    }

    pub(super) fn ram_bytes(&self) -> usize {
        size_of::<Self>() + self.inline.as_ref().map_or(0, |inline| inline.embedding.ram_bytes())
    }

    /// Its own vector, if it is one of these embeddings.
    pub(super) fn own_of(&self, of: u32) -> Option<&Arc<Embedding>> {
        self.inline.as_ref().filter(|inline| inline.of == of).map(|inline| &inline.embedding)
    }
}

/// The first events of a history, which are in files and stay as they are until the history is reshaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    /// How many.
    pub(super) len: u64,
    /// The greatest of their numbers.
    pub(super) greatest: u64,
    /// When the first of them was.
    pub(super) first_time: i64,
    /// Time and number of the last of them.
    pub(super) last: (i64, u64),
    /// How many of them are in the table of buckets that is in a file; 0 if there is none.
    pub(super) tallied: u64,
}

/// All behaviours of a user: those in files, and behind them its own. A clone costs as much as its tail.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) stored: Stored,
    base: Arc<Vec<Event>>,
    /// All behind the base.
    tail: Vec<Event>,
    /// The record of the log that changed it last.
    pub(super) version: u64,
    /// The record that last did anything but add events behind the stored ones. What files have of an earlier one is gone.
    pub(super) reshaped: u64,
    /// The record that last put an event before one that was there, behind the stored ones.
    pub(super) reordered: u64,
    /// Whether a file has a table of buckets, be it out of date.
    pub(super) has_table: bool,
    /// The epoch whose files these are about.
    pub(super) tallied_of: u32,
    bytes: usize,
}

impl History {
    pub(super) fn len(&self) -> u64 {
        self.stored.len + self.own_len() as u64
    }

    fn own_len(&self) -> usize {
        self.base.len() + self.tail.len()
    }

    /// Its own events, those behind the stored ones.
    pub(super) fn own(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.own_from(0)
    }

    /// Its own events from one of them on.
    pub(super) fn own_from(&self, first: usize) -> impl DoubleEndedIterator<Item = &Event> {
        let base = &self.base[first.min(self.base.len())..];
        base.iter().chain(&self.tail[first.saturating_sub(self.base.len()).min(self.tail.len())..])
    }

    /// How many of its own events come before a time.
    pub(super) fn own_before(&self, time: i64) -> usize {
        let in_base = self.base.partition_point(|event| event.time < time);
        if in_base < self.base.len() {
            return in_base;
        }
        in_base + self.tail.partition_point(|event| event.time < time)
    }

    /// When the first event was, if there is one.
    pub(super) fn first_time(&self) -> Option<i64> {
        match self.stored.len {
            0 => self.own().next().map(|event| event.time),
            _ => Some(self.stored.first_time),
        }
    }

    /// When the last event was, if there is one.
    pub(super) fn last_time(&self) -> Option<i64> {
        let stored = (self.stored.len > 0).then_some(self.stored.last.0);
        self.own().next_back().map(|event| event.time).or(stored)
    }

    pub(super) fn ram_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes
    }

    /// Whether adding an event needs the stored ones: to see whether one has its number, or to come before one.
    pub(super) fn asks_stored(&self, event: &Event) -> bool {
        self.stored.len > 0 && (event.id <= self.stored.greatest || event.key() < self.stored.last)
    }

    /// Adds events whose numbers are new; says how many that were. `stored` has the stored events, if one of them
    /// [asks for them](Self::asks_stored).
    pub(super) fn append(&mut self, mut events: Vec<Event>, lsn: u64, stored: &[Event]) -> usize {
        self.forget_known(&mut events, stored);
        let added = events.len();
        if added == 0 {
            return 0;
        }
        if self.len() == 0 {
            self.reshaped = lsn;
        }
        self.version = lsn;
        events.sort_unstable_by_key(Event::key);
        if self.stored.len > 0 && events[0].key() < self.stored.last {
            let all = stored.iter().cloned().chain(self.own().cloned()).chain(events);
            self.reshape(all.collect(), lsn);
            return added;
        }
        self.bytes += events.iter().map(Event::ram_bytes).sum::<usize>();
        let last = self.tail.last().or(self.base.last()).map(Event::key);
        if last.is_none_or(|last| last < events[0].key()) {
            self.tail.append(&mut events);
            if self.tail.len() >= TAIL_MAX {
                self.fold();
            }
            return added;
        }
        self.reordered = lsn;
        self.fold();
        let base = Arc::make_mut(&mut self.base);
        base.append(&mut events);
        base.sort_unstable_by_key(Event::key);
        added
    }

    /// Leaves only events whose numbers are not here and came only once, the first of each.
    fn forget_known(&self, events: &mut Vec<Event>, stored: &[Event]) {
        if events.len() > SCAN_MAX {
            let mut known: HashSet<u64> = stored.iter().chain(self.own()).map(|event| event.id).collect();
            events.retain(|event| known.insert(event.id));
            return;
        }
        let mut known = Vec::with_capacity(events.len());
        events.retain(|event| {
            let is_there = |there: &Event| there.id == event.id;
            let is_stored = event.id <= self.stored.greatest && stored.iter().any(is_there);
            let is_new = !known.contains(&event.id) && !is_stored && !self.own().any(is_there);
            known.push(event.id);
            is_new
        });
    }

    /// Keeps some of the events; says how many went. `stored` has the stored ones.
    pub(super) fn retain(
        &mut self,
        lsn: u64,
        stored: &[Event],
        mut keep: impl FnMut(u64, &Event) -> bool,
    ) -> usize {
        let mut at = 0..;
        let all = stored.iter().chain(self.own());
        let kept: Vec<Event> =
            all.filter(|event| at.next().is_some_and(|at| keep(at, event))).cloned().collect();
        let gone = self.len() as usize - kept.len();
        if gone > 0 {
            self.version = lsn;
            self.reshape(kept, lsn);
        }
        gone
    }

    /// From now on these are all events: none of them is in a file.
    fn reshape(&mut self, mut events: Vec<Event>, lsn: u64) {
        events.sort_unstable_by_key(Event::key);
        self.bytes = events.iter().map(Event::ram_bytes).sum();
        (self.base, self.tail) = (Arc::new(events), Vec::new());
        (self.reshaped, self.reordered) = (lsn, lsn);
        self.stored = Stored::default();
    }

    fn fold(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        Arc::make_mut(&mut self.base).extend(tail);
    }

    /// What it is when all of its events are in files, and so many of them in the table of an epoch that is in a file.
    pub(super) fn settled(&self, tallied: u64, tallied_of: u32) -> Self {
        let greatest = self.own().map(|event| event.id).max().unwrap_or(0);
        let stored = Stored {
            len: self.len(),
            greatest: self.stored.greatest.max(greatest),
            first_time: self.first_time().unwrap_or(0),
            last: self.own().next_back().map_or(self.stored.last, Event::key),
            tallied,
        };
        let (version, reshaped, reordered) = (self.version, self.reshaped, self.reordered);
        Self { stored, version, reshaped, reordered, has_table: tallied > 0, tallied_of, ..Self::default() }
    }

    /// What it is while its own events are on their way into files: as if they were there.
    pub(super) fn going(&self) -> Self {
        Self { has_table: self.has_table, ..self.settled(self.stored.tallied, self.tallied_of) }
    }

    /// Tells one that was made behind events on their way that these are in files, with such a head.
    pub(super) fn arrive(&mut self, head: &Self) {
        if self.reshaped == head.reshaped {
            self.stored.tallied = head.stored.tallied;
        }
        (self.has_table, self.tallied_of) = (head.has_table, head.tallied_of);
    }

    /// One that was made behind the events of another on their way, which did not arrive: all that is in no file is its own again.
    pub(super) fn turned_back(&self, whole: &Self) -> Self {
        if self.reshaped != whole.reshaped {
            return self.clone();
        }
        let base: Vec<Event> = whole.own().chain(self.own()).cloned().collect();
        let bytes = base.iter().map(Event::ram_bytes).sum();
        Self { stored: whole.stored, base: Arc::new(base), tail: Vec::new(), bytes, ..*self }
    }

    /// Encodes the head of a history that is in files.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        let Stored { len, greatest, first_time, last, tallied } = self.stored;
        out.u64(self.version).u64(self.reshaped).u64(self.reordered).u64(len).u64(greatest);
        out.u64(first_time as u64).u64(last.0 as u64).u64(last.1).u64(tallied);
        if self.tallied_of > FIRST {
            out.u32(self.tallied_of);
        }
        out.into_bytes()
    }

    /// Decodes the head of a history.
    pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, StorageError> {
        let (version, reshaped, reordered) = (decoder.u64()?, decoder.u64()?, decoder.u64()?);
        let (len, greatest) = (decoder.u64()?, decoder.u64()?);
        let first_time = decoder.u64()? as i64;
        let last = (decoder.u64()? as i64, decoder.u64()?);
        let at = decoder.offset();
        let tallied = decoder.u64()?;
        if tallied > len {
            return Err(decoder.wrong(at, "events in a table", tallied, len));
        }
        let at = decoder.offset();
        let tallied_of = if decoder.remaining() > 0 { decoder.u32()? } else { FIRST };
        if at < decoder.offset() && tallied_of <= FIRST {
            return Err(decoder.wrong(at, "epoch of a table", u64::from(tallied_of), u64::from(FIRST) + 1));
        }
        let stored = Stored { len, greatest, first_time, last, tallied };
        Ok(Self {
            stored,
            version,
            reshaped,
            reordered,
            has_table: tallied > 0,
            tallied_of,
            ..Self::default()
        })
    }
}

/// All events of a history at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    /// Those in files: at least as many as the history has.
    pub(super) stored: Arc<Vec<Event>>,
    pub(super) history: Arc<History>,
}

impl Events {
    pub(super) fn len(&self) -> usize {
        self.history.len() as usize
    }

    /// Events from a place on.
    pub(super) fn from(&self, first: usize) -> impl DoubleEndedIterator<Item = &Event> {
        let stored = &self.stored[..self.stored_len()];
        stored[first.min(stored.len())..]
            .iter()
            .chain(self.history.own_from(first.saturating_sub(stored.len())))
    }

    /// How many events come before a time.
    pub(super) fn before(&self, time: i64) -> usize {
        let stored = &self.stored[..self.stored_len()];
        let first = stored.partition_point(|event| event.time < time);
        if first < stored.len() { first } else { first + self.history.own_before(time) }
    }

    fn stored_len(&self) -> usize {
        self.history.stored.len as usize
    }
}
