//! The files of a space: what is in them, and how it is found.
//!
//! A file of histories has, of every user whose behaviours changed before it was written, a **head**, which describes all
//! of the history, and **chunks** of the events that came. The newest head counts; chunks of an earlier shape than its own
//! are of no more use. A file of tables has tables of buckets, which are worked out of the others and nothing is lost with.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use nearline_index::sdim::SignShape;
use nearline_storage::{Decoder, Encoder, StorageError, Table};

use super::epochs::Epochs;
use super::history::{Embedding, Event, History};
use super::manifest::{Epoch, Kind};
use super::moving::{Going, Moving};
use super::tallied::Tallied;

/// Bytes of a chunk of events at most, unless one event is larger.
pub(super) const CHUNK_BYTES: usize = 60_000;
/// What follows the user in the key of a head, and in that of a chunk.
const HEAD: u8 = 0;
const CHUNK: u8 = 1;

/// The files that are live, and what is on its way into new ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// Tells the files of one moment from those of others.
    pub(super) generation: u64,
    /// Heads and chunks, oldest first.
    pub(super) histories: Vec<Arc<Table>>,
    /// Embeddings by item, each in one file: by the first epoch that counted by them.
    pub(super) items: BTreeMap<u32, Vec<Arc<Table>>>,
    /// Tables of buckets by user, oldest first: by epoch.
    pub(super) tables: BTreeMap<u32, Vec<Arc<Table>>>,
    /// Found as if it were in files, until it is.
    pub(super) moving: Option<Arc<Moving>>,
}

/// What a key of a file of histories says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Head { user: u64 },
    Chunk { user: u64, reshaped: u64, first: u64 },
}

impl Key {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Head { user } => [&user.to_be_bytes()[..], &[HEAD]].concat(),
            Self::Chunk { user, reshaped, first } => {
                [&user.to_be_bytes()[..], &[CHUNK], &reshaped.to_be_bytes(), &first.to_be_bytes()].concat()
            }
        }
    }

    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Self, StorageError> {
        let mut decoder = Decoder::new(bytes, path, 0);
        let user = decoder.u64()?.swap_bytes();
        let key = match decoder.u8()? {
            HEAD => Self::Head { user },
            CHUNK => Self::Chunk {
                user,
                reshaped: decoder.u64()?.swap_bytes(),
                first: decoder.u64()?.swap_bytes(),
            },
            other => return Err(decoder.wrong(8, "kind of a key", u64::from(other), u64::from(CHUNK))),
        };
        decoder.finish()?;
        Ok(key)
    }
}

impl Files {
    /// The files of a kind, of an epoch where there are some for each.
    pub(super) fn of(&mut self, kind: Kind, epoch: u32) -> &mut Vec<Arc<Table>> {
        match kind {
            Kind::Histories => &mut self.histories,
            Kind::Items => self.items.entry(epoch).or_default(),
            Kind::Tables => self.tables.entry(epoch).or_default(),
        }
    }

    /// All files.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.histories.iter().chain(self.items.values().flatten()).chain(self.tables.values().flatten())
    }

    /// The head that files have of the history of a user; an empty one if there is none.
    pub(super) fn head(&self, user: u64) -> Result<History, StorageError> {
        for table in self.histories.iter().rev() {
            if let Some(head) = head(table, user)? {
                return Ok(head);
            }
        }
        Ok(History::default())
    }

    /// Has a table of a user count no events as settled that are on their way: they may come back, and others then take places among
    /// them.
    pub(super) fn unsettle(&self, user: u64, tallied: &mut Tallied) {
        if let Some(going) = self.going(user) {
            tallied.settle_at_most(going.whole.stored.len);
        }
    }

    /// The history of a user that is on its way into files.
    pub(super) fn going(&self, user: u64) -> Option<&Going> {
        self.moving.as_ref()?.histories.get(&user)
    }

    /// The first user from a number on of whom there is a head.
    pub(super) fn user_from(&self, from: u64) -> Result<Option<u64>, StorageError> {
        let mut first = None;
        for table in &self.histories {
            let low = Key::Head { user: from }.encode();
            let Some(pair) = table.range(Bound::Included(&low), Bound::Unbounded).next().transpose()? else {
                continue;
            };
            let (Key::Head { user } | Key::Chunk { user, .. }) = Key::decode(&pair.0, table.path())?;
            first = Some(first.map_or(user, |first: u64| first.min(user)));
        }
        Ok(first)
    }

    /// The stored events of a history from a place on.
    pub(super) fn events(
        &self,
        user: u64,
        history: &History,
        from: u64,
        shape: SignShape,
    ) -> Result<Vec<Event>, StorageError> {
        let (reshaped, len) = (history.reshaped, history.stored.len);
        match self.going(user).filter(|going| going.head.reshaped == reshaped && going.whole.stored.len < len)
        {
            None => self.written(user, (reshaped, len), from, shape),
            Some(going) => {
                let written = going.whole.stored.len;
                let mut events = self.written(user, (reshaped, written), from, shape)?;
                events.extend(going.whole.own_from(from.saturating_sub(written) as usize).cloned());
                Ok(events)
            }
        }
    }

    /// Those of the first `len` events of a shape that files have, from a place on.
    fn written(
        &self,
        user: u64,
        (reshaped, len): (u64, u64),
        from: u64,
        shape: SignShape,
    ) -> Result<Vec<Event>, StorageError> {
        let (mut missing, mut chunks) = (len, Vec::new());
        let key = |first| Key::Chunk { user, reshaped, first }.encode();
        for table in self.histories.iter().rev() {
            if missing <= from {
                break;
            }
            // The filter knows who is in a file by the head.
            if head(table, user)?.is_none_or(|head| head.reshaped != reshaped) {
                continue;
            }
            let (low, high) = (key(0), key(u64::MAX));
            for pair in table.range_back(Bound::Included(&low), Bound::Included(&high)) {
                let (key, bytes) = pair?;
                let first = first_of(&key, table.path())?;
                let mut events = decode_chunk(&bytes, table.path(), shape)?;
                if first + events.len() as u64 != missing {
                    let decoder = Decoder::new(&bytes, table.path(), 0);
                    return Err(decoder.wrong(0, "events up to here", first + events.len() as u64, missing));
                }
                if first < from {
                    drop(events.drain(..(from - first) as usize));
                }
                missing = first;
                chunks.push(events);
                if missing <= from {
                    break;
                }
            }
        }
        if missing > from {
            let path = self.histories.last().map_or(Path::new(""), |table| table.path());
            return Err(Decoder::new(&[], path, 0).wrong(0, "first event of a history", missing, from));
        }
        Ok(chunks.into_iter().rev().flatten().collect())
    }

    /// The table of a history that is in a file, if there is one and it can be read: it is worked out anew otherwise.
    pub(super) fn table(&self, user: u64, history: &History, epoch: &Epoch) -> Option<Tallied> {
        if history.stored.tallied == 0 && history.tallied_of == epoch.number {
            return None;
        }
        let found = self.any_table(user, epoch)?;
        Some(found).filter(|found| found.is_of(history) && found.end as u64 <= history.stored.len)
    }

    /// The table of a user that is in a file, be it out of date.
    pub(super) fn any_table(&self, user: u64, epoch: &Epoch) -> Option<Tallied> {
        let read = |table: &Arc<Table>| -> Result<Option<Tallied>, StorageError> {
            let bytes = table.get(&user.to_be_bytes())?;
            bytes
                .filter(|bytes| !bytes.is_empty())
                .map(|bytes| Tallied::decode(&bytes, table.path(), epoch))
                .transpose()
        };
        self.tables.get(&epoch.number)?.iter().rev().find_map(|table| read(table).ok().flatten())
    }

    /// Those of the items, sorted, that are in files, with their signatures as they are stored: `of` is the first epoch of
    /// the embeddings, `shape` its own.
    pub(super) fn embeddings(
        &self,
        items: &[u64],
        of: u32,
        shape: SignShape,
    ) -> Result<Vec<(u64, Arc<Embedding>)>, StorageError> {
        let mut found = Vec::with_capacity(items.len());
        let mut wanted = items.to_vec();
        if let Some(moving) = &self.moving {
            wanted.retain(|item| match moving.items.get(&(of, *item)) {
                Some(embedding) => {
                    found.push((*item, Arc::clone(embedding)));
                    false
                }
                None => true,
            });
        }
        for table in self.items.get(&of).into_iter().flatten() {
            if wanted.is_empty() {
                break;
            }
            let keys: Vec<[u8; 8]> = wanted.iter().map(|item| item.to_be_bytes()).collect();
            let mut missing = Vec::new();
            for (item, bytes) in wanted.into_iter().zip(table.get_many(&keys)?) {
                let Some(bytes) = bytes else {
                    missing.push(item);
                    continue;
                };
                let mut decoder = Decoder::new(&bytes, table.path(), 0);
                let embedding = Embedding::decode(&mut decoder, shape)?;
                decoder.finish()?;
                found.push((item, Arc::new(embedding)));
            }
            wanted = missing;
        }
        Ok(found)
    }

    /// Reads all files and checks them.
    pub(super) fn verify(&self, epochs: &Epochs, first: SignShape) -> Result<(), StorageError> {
        for table in &self.histories {
            table.verify()?;
            for pair in table.scan() {
                let (key, value) = pair?;
                match Key::decode(&key, table.path())? {
                    Key::Head { user } => verify_history(self, user, first)?,
                    Key::Chunk { .. } => drop(decode_chunk(&value, table.path(), first)?),
                }
            }
        }
        for (epoch, _) in &epochs.all {
            for table in self.tables.get(&epoch.number).into_iter().flatten() {
                table.verify()?;
                for pair in table.scan() {
                    let (_, value) = pair?;
                    if !value.is_empty() {
                        Tallied::decode(&value, table.path(), epoch)?;
                    }
                }
            }
        }
        self.items.values().flatten().try_for_each(|table| table.verify().map(drop))
    }
}

/// Whether all stored events of a user are there.
fn verify_history(files: &Files, user: u64, first: SignShape) -> Result<(), StorageError> {
    let head = files.head(user)?;
    files.events(user, &head, 0, first).map(drop)
}

/// The head that a file has of a user.
fn head(table: &Table, user: u64) -> Result<Option<History>, StorageError> {
    let bytes = table.get(&Key::Head { user }.encode())?;
    bytes.map(|bytes| decode_head(&bytes, table.path())).transpose()
}

/// Decodes the value of a head.
pub(super) fn decode_head(bytes: &[u8], path: &Path) -> Result<History, StorageError> {
    let mut decoder = Decoder::new(bytes, path, 0);
    let head = History::decode(&mut decoder)?;
    decoder.finish()?;
    Ok(head)
}

fn first_of(key: &[u8], path: &Path) -> Result<u64, StorageError> {
    match Key::decode(key, path)? {
        Key::Chunk { first, .. } => Ok(first),
        Key::Head { .. } => Err(Decoder::new(key, path, 0).wrong(8, "kind of a key", 0, u64::from(CHUNK))),
    }
}

/// The events of a history that is to be written, in chunks: key and value of each.
pub(super) fn chunks(user: u64, history: &History) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut chunks = Vec::new();
    let (mut first, mut count, mut out) = (history.stored.len, 0u32, Encoder::new());
    let mut end = |first: u64, count: u32, out: Encoder| {
        let key = Key::Chunk { user, reshaped: history.reshaped, first }.encode();
        chunks.push((key, joined(count, out.as_bytes())));
    };
    for event in history.own() {
        event.encode(&mut out);
        count += 1;
        if out.as_bytes().len() >= CHUNK_BYTES {
            end(first, count, std::mem::take(&mut out));
            (first, count) = (first + u64::from(count), 0);
        }
    }
    if count > 0 {
        end(first, count, out);
    }
    chunks
}

/// A chunk of so many events.
pub(super) fn joined(count: u32, events: &[u8]) -> Vec<u8> {
    [&count.to_le_bytes()[..], events].concat()
}

pub(super) fn decode_chunk(bytes: &[u8], path: &Path, shape: SignShape) -> Result<Vec<Event>, StorageError> {
    let mut decoder = Decoder::new(bytes, path, 0);
    let count = decoder.u32()? as usize;
    let mut events = Vec::with_capacity(count.min(decoder.remaining() / 25));
    for _ in 0..count {
        events.push(Event::decode(&mut decoder, shape)?);
    }
    decoder.finish()?;
    Ok(events)
}
