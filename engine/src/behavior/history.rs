//! What one user did, in order of time, and then of the events' numbers.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use nearline_index::sdim::SignShape;
use nearline_storage::{Decoder, Encoder, StorageError};

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
        let signature = (0..shape.words()).map(|_| decoder.u64()).collect::<Result<_, _>>()?;
        Ok(Self { vector: decode_vector(decoder, shape.dim())?, signature })
    }
}

/// Takes a vector.
pub(super) fn decode_vector(decoder: &mut Decoder<'_>, dim: usize) -> Result<Box<[f32]>, StorageError> {
    let (values, _) = decoder.raw(dim * 4)?.as_chunks::<4>();
    Ok(values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

/// One behaviour.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) time: i64,
    pub(super) id: u64,
    pub(super) item: u64,
    /// Its own vector, if it is not the item's.
    pub(super) inline: Option<Arc<Embedding>>,
}

impl Event {
    fn key(&self) -> (i64, u64) {
        (self.time, self.id)
    }

    fn ram_bytes(&self) -> usize {
        size_of::<Self>() + self.inline.as_ref().map_or(0, |inline| inline.ram_bytes())
    }
}

/// All behaviours of a user. A clone costs as much as its tail.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    base: Arc<Vec<Event>>,
    /// All behind the base.
    tail: Vec<Event>,
    /// The record of the log that changed it last.
    pub(super) version: u64,
    /// The record that last did anything else than put events behind the others: those of later versions begin with all
    /// there are now.
    pub(super) reshaped: u64,
    bytes: usize,
}

impl History {
    pub(super) fn len(&self) -> usize {
        self.base.len() + self.tail.len()
    }

    /// Events from a place on.
    pub(super) fn from(&self, first: usize) -> impl DoubleEndedIterator<Item = &Event> {
        let base = &self.base[first.min(self.base.len())..];
        base.iter().chain(&self.tail[first.saturating_sub(self.base.len()).min(self.tail.len())..])
    }

    /// How many events come before a time.
    pub(super) fn before(&self, time: i64) -> usize {
        let in_base = self.base.partition_point(|event| event.time < time);
        if in_base < self.base.len() {
            return in_base;
        }
        in_base + self.tail.partition_point(|event| event.time < time)
    }

    pub(super) fn ram_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes
    }

    /// Adds events whose numbers are new; says how many that were.
    pub(super) fn append(&mut self, mut events: Vec<Event>, lsn: u64) -> usize {
        self.forget_known(&mut events);
        let added = events.len();
        if added == 0 {
            return 0;
        }
        if self.len() == 0 {
            self.reshaped = lsn;
        }
        self.version = lsn;
        self.bytes += events.iter().map(Event::ram_bytes).sum::<usize>();
        events.sort_unstable_by_key(Event::key);
        let last = self.tail.last().or(self.base.last()).map(Event::key);
        if last.is_none_or(|last| last < events[0].key()) {
            self.tail.append(&mut events);
            if self.tail.len() >= TAIL_MAX {
                self.fold();
            }
            return added;
        }
        self.reshaped = lsn;
        self.fold();
        let base = Arc::make_mut(&mut self.base);
        base.append(&mut events);
        base.sort_unstable_by_key(Event::key);
        added
    }

    /// Leaves only events whose numbers are not here and came only once, the first of each.
    fn forget_known(&self, events: &mut Vec<Event>) {
        if events.len() > SCAN_MAX {
            let mut known: HashSet<u64> = self.from(0).map(|event| event.id).collect();
            events.retain(|event| known.insert(event.id));
            return;
        }
        let mut known = Vec::with_capacity(events.len());
        events.retain(|event| {
            let is_new = !known.contains(&event.id) && self.from(0).all(|there| there.id != event.id);
            known.push(event.id);
            is_new
        });
    }

    /// Keeps some of the events; says how many went.
    pub(super) fn retain(&mut self, lsn: u64, mut keep: impl FnMut(usize, &Event) -> bool) -> usize {
        let mut at = 0..;
        let kept: Vec<Event> =
            self.from(0).filter(|event| at.next().is_some_and(|at| keep(at, event))).cloned().collect();
        let gone = self.len() - kept.len();
        if gone > 0 {
            self.bytes = kept.iter().map(Event::ram_bytes).sum();
            (self.base, self.tail) = (Arc::new(kept), Vec::new());
            (self.version, self.reshaped) = (lsn, lsn);
        }
        gone
    }

    fn fold(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        Arc::make_mut(&mut self.base).extend(tail);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u64(self.version).u64(self.reshaped).u32(self.len() as u32);
        for event in self.from(0) {
            out.u64(event.time as u64).u64(event.id).u64(event.item).u8(u8::from(event.inline.is_some()));
            if let Some(inline) = &event.inline {
                inline.encode(&mut out);
            }
        }
        out.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8], path: &Path, shape: SignShape) -> Result<Self, StorageError> {
        let mut decoder = Decoder::new(bytes, path, 0);
        let (version, reshaped, count) = (decoder.u64()?, decoder.u64()?, decoder.u32()? as usize);
        let mut base = Vec::with_capacity(count.min(decoder.remaining() / 25));
        for _ in 0..count {
            let (time, id, item) = (decoder.u64()? as i64, decoder.u64()?, decoder.u64()?);
            let at = decoder.offset();
            let inline = match decoder.u8()? {
                0 => None,
                1 => Some(Arc::new(Embedding::decode(&mut decoder, shape)?)),
                other => return Err(decoder.wrong(at, "mark of a vector", u64::from(other), 1)),
            };
            base.push(Event { time, id, item, inline });
        }
        decoder.finish()?;
        let bytes = base.iter().map(Event::ram_bytes).sum();
        Ok(Self { base: Arc::new(base), tail: Vec::new(), version, reshaped, bytes })
    }
}
