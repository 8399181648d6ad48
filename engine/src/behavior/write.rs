//! Writes: many threads' go into the log together, then into the state.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nearline_storage::{MAX_RECORD_BYTES, StorageError, Wal};

use super::epochs::Epochs;
use super::error::BehaviorError;
use super::history::{Embedding, Event, Events, Inline};
use super::manifest::{Epoch, Manifest, Stage};
use super::record::{Write, embed};
use super::store::{Inner, Loaded, locked};
use super::{Behavior, SourceOffset, WriteReport};

/// Partitions of sources at most, and the longest name of a source.
const MARKS_MAX: usize = 1 << 16;
const SOURCE_BYTES_MAX: usize = 255;
/// Behaviours of a user at most.
const HISTORY_MAX: u64 = 1 << 24;
/// How many times the memory for changes may be in use while files cannot be written.
const FULL: usize = 4;

/// Items of writes that go into the log together, by the first epoch of their embeddings.
type NewItems = HashMap<(u32, u64), Arc<Embedding>>;

/// What threads hand in, and what they are told.
pub(super) type Submitted = Write;
pub(super) type Outcome = Result<WriteReport, BehaviorError>;

/// What only one thread at a time may touch.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) wal: Wal,
    pub(super) manifest: Manifest,
    pub(super) poison: Option<Arc<StorageError>>,
    /// Why files could not be written the last time.
    pub(super) checkpoint_error: Option<String>,
}

impl Writer {
    pub(super) fn new(wal: Wal, manifest: Manifest) -> Self {
        Self { wal, manifest, poison: None, checkpoint_error: None }
    }

    pub(super) fn check(&self) -> Result<(), BehaviorError> {
        self.poison.as_ref().map_or(Ok(()), |cause| Err(BehaviorError::Poisoned { cause: Arc::clone(cause) }))
    }

    /// What a failure of the log means.
    pub(super) fn refused(&mut self, error: StorageError, is_fatal: bool) -> BehaviorError {
        let is_fatal = is_fatal || error.is_poisoned();
        let error = Arc::new(error);
        if !is_fatal {
            return BehaviorError::Storage(error);
        }
        BehaviorError::Poisoned { cause: Arc::clone(self.poison.get_or_insert(error)) }
    }
}

/// Behaviours with their own vectors hashed by the planes of an epoch.
fn hashed(behaviors: &[Behavior], signer: &Epoch) -> Result<Vec<(u64, Event)>, BehaviorError> {
    let (of, dim) = (signer.number, signer.shape().dim());
    let mut vectors = Vec::new();
    for vector in behaviors.iter().filter_map(|behavior| behavior.vector.as_ref()) {
        if vector.len() != dim {
            let found = format!("{} values", vector.len());
            return Err(BehaviorError::bad("vector of a behaviour", found, format!("{dim}")));
        }
        vectors.extend_from_slice(vector);
    }
    let mut embeddings = embed(&signer.family, &vectors)?.into_iter();
    let event = |behavior: &Behavior| {
        let Behavior { user, event: id, time, item, .. } = *behavior;
        let own = behavior.vector.as_ref().and_then(|_| embeddings.next());
        (user, Event { time, id, item, inline: own.map(|embedding| Inline { of, embedding }) })
    };
    Ok(behaviors.iter().map(event).collect())
}

impl Inner {
    /// Checks and hashes behaviours, and writes them.
    pub(super) fn append(&self, behaviors: Vec<Behavior>, source: Option<SourceOffset>) -> Outcome {
        if let Some(source) = &source {
            self.check_source(source)?;
            let key = (source.source.clone(), source.partition);
            if self.state().marks.get(&key).is_some_and(|&mark| mark >= source.offset) {
                return Ok(WriteReport { is_repeated: true, ..WriteReport::default() });
            }
        }
        loop {
            let signer = self.signer(None)?;
            let events = hashed(&behaviors, &signer)?;
            match self.submit(Write::Append { source: source.clone(), events }) {
                // Those embeddings went meanwhile: as if it had come after that.
                Err(BehaviorError::UnknownEpoch { epoch, .. }) if epoch == signer.number => {}
                done => return done,
            }
        }
    }

    /// By whose planes vectors of an epoch are signed: of the one that serves, unless it is said.
    fn signer(&self, epoch: Option<u32>) -> Result<Arc<Epoch>, BehaviorError> {
        let epochs = Arc::clone(&self.state().epochs);
        let Some(number) = epoch else {
            return Ok(Arc::clone(epochs.signer(epochs.serving().of).unwrap_or(epochs.serving())));
        };
        let takes = |(epoch, stage): &&(Arc<Epoch>, Stage)| {
            epoch.number == number && !matches!(stage, Stage::Kept | Stage::Gone)
        };
        let of = epochs.all.iter().find(takes).map(|(epoch, _)| epoch.of);
        let signer = of.and_then(|of| epochs.signer(of)).cloned();
        signer.ok_or_else(|| {
            let expected = "the one that serves, or one that is not served yet: others stay as they are";
            BehaviorError::bad("epoch of items", number, expected)
        })
    }

    /// Checks and hashes items of an epoch: of the one that serves, unless it is said.
    pub(super) fn put_items(&self, epoch: Option<u32>, items: &[u64], vectors: &[f32]) -> Outcome {
        let signer = self.signer(epoch)?;
        let dim = signer.shape().dim();
        if items.len() * dim != vectors.len() {
            let expected = format!("{dim} for each of {} items", items.len());
            return Err(BehaviorError::bad(
                "vectors of items",
                format!("{} values", vectors.len()),
                expected,
            ));
        }
        let embeddings = embed(&signer.family, vectors)?;
        self.submit(Write::Items(signer.number, items.iter().copied().zip(embeddings).collect()))
    }

    fn check_source(&self, source: &SourceOffset) -> Result<(), BehaviorError> {
        if !(1..=SOURCE_BYTES_MAX).contains(&source.source.len()) {
            let expected = format!("1 to {SOURCE_BYTES_MAX} bytes");
            return Err(BehaviorError::bad("name of a source", format!("{:?}", source.source), expected));
        }
        let state = self.state();
        let is_new = !state.marks.contains_key(&(source.source.clone(), source.partition));
        if is_new && state.marks.len() >= MARKS_MAX {
            let expected = format!("at most {MARKS_MAX}");
            return Err(BehaviorError::bad("partitions of sources", state.marks.len() + 1, expected));
        }
        Ok(())
    }

    /// Puts a write into the log, durably, and then into the state.
    pub(super) fn submit(&self, write: Write) -> Outcome {
        self.group.submit(write, |writes| self.commit(writes))
    }

    fn commit(&self, writes: Vec<Write>) -> Vec<Outcome> {
        let mut writer = locked(&self.writer);
        let mut new_items = NewItems::new();
        let staged: Vec<_> =
            writes.into_iter().map(|write| self.stage(&mut writer, write, &mut new_items)).collect();
        if staged.iter().any(Result::is_ok)
            && let Err(error) = writer.wal.sync()
        {
            // It is unknown which of the records will be found again.
            let error = writer.refused(error, true);
            return staged.into_iter().map(|staged| staged.and(Err(error.clone()))).collect();
        }
        let outcomes = {
            let mut state = self.state_mut();
            let mut apply = |(lsn, write, loaded)| state.apply(write, lsn, loaded);
            staged.into_iter().map(|staged| staged.map(&mut apply)).collect()
        };
        self.is_due.store(self.is_time(&writer), Ordering::Relaxed);
        let _ = writer.wal.prepare();
        outcomes
    }

    /// Checks a write against what is there and appends it to the log.
    fn stage(
        &self,
        writer: &mut Writer,
        mut write: Write,
        new_items: &mut NewItems,
    ) -> Result<(u64, Write, Loaded), BehaviorError> {
        writer.check()?;
        self.check_room(writer)?;
        self.check_items(&mut write, new_items)?;
        let loaded = self.load(&write)?;
        let bytes = write.encode();
        if bytes.len() > MAX_RECORD_BYTES {
            let expected = format!("at most {MAX_RECORD_BYTES} bytes: split it");
            return Err(BehaviorError::bad("a write", format!("{} bytes", bytes.len()), expected));
        }
        self.check_histories(&write, &loaded)?;
        let lsn = writer.wal.append(&[&bytes]).map_err(|error| writer.refused(error, false))?;
        if let Write::Items(of, items) = &write {
            new_items.extend(items.iter().map(|(item, embedding)| ((*of, *item), Arc::clone(embedding))));
        }
        Ok((writer.manifest.base + lsn, write, loaded))
    }

    /// What applying a write needs of the files, so that it cannot fail.
    fn load(&self, write: &Write) -> Result<Loaded, StorageError> {
        let load = |user| {
            let (history, files) = self.history(user)?;
            let events = match write.asks_stored(user, &history) {
                true => self.events(user, &history, &files)?,
                false => Events { stored: Arc::default(), history },
            };
            Ok((user, events))
        };
        write.users().into_iter().map(load).collect()
    }

    fn check_room(&self, writer: &Writer) -> Result<(), BehaviorError> {
        let (bytes, max) = (self.state().bytes() as u64, (self.limits.dirty * FULL) as u64);
        match &writer.checkpoint_error {
            Some(cause) if bytes > max => Err(BehaviorError::Full { bytes, max, cause: cause.clone() }),
            _ => Ok(()),
        }
    }

    /// Refuses what would make a history too long. What other writes of the group add does not count.
    fn check_histories(&self, write: &Write, loaded: &Loaded) -> Result<(), BehaviorError> {
        let Write::Append { events, .. } = write else { return Ok(()) };
        for (user, there) in loaded {
            let len = there.history.len();
            if len + events.len() as u64 > HISTORY_MAX {
                let found = format!("{} of user {user}", len + events.len() as u64);
                let expected = format!("at most {HISTORY_MAX}: truncate it");
                return Err(BehaviorError::bad("behaviours", found, expected));
            }
        }
        Ok(())
    }

    /// Refuses behaviours with items nobody put and items with other vectors than before; leaves out items that are there.
    /// `new_items` are those of the same group.
    fn check_items(&self, write: &mut Write, new_items: &NewItems) -> Result<(), BehaviorError> {
        match write {
            Write::Append { events, .. } => {
                let epochs = Arc::clone(&self.state().epochs);
                self.check_inline(events, &epochs)?;
                epochs.counting().try_for_each(|epoch| self.check_known(events, epoch, new_items))
            }
            Write::Items(of, items) => {
                // It may have gone since they were hashed.
                if !self.state().epochs.takes_items(*of) {
                    return Err(BehaviorError::bad("epoch of items", *of, "one that is still there"));
                }
                let known = self.known_items(*of, items)?;
                let mut here: HashMap<u64, Arc<Embedding>> = HashMap::new();
                let mut seen = HashSet::new();
                for (item, embedding) in items.iter() {
                    let there = known.get(item).or(new_items.get(&(*of, *item))).or(here.get(item));
                    if there.is_some_and(|there| there.vector != embedding.vector) {
                        return Err(BehaviorError::ItemChanged { item: *item });
                    }
                    here.insert(*item, Arc::clone(embedding));
                }
                items.retain(|(item, _)| {
                    !known.contains_key(item) && !new_items.contains_key(&(*of, *item)) && seen.insert(*item)
                });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Refuses vectors of embeddings that have gone since they were hashed: nobody could read them.
    fn check_inline(&self, events: &[(u64, Event)], epochs: &Epochs) -> Result<(), BehaviorError> {
        let of = |event: &Event| event.inline.as_ref().map(|inline| inline.of);
        match events.iter().filter_map(|(_, event)| of(event)).find(|&of| epochs.signer(of).is_none()) {
            Some(of) => epochs.answering(of).map(drop),
            None => Ok(()),
        }
    }

    /// Refuses behaviours whose items have no vectors in an epoch that counts them.
    fn check_known(
        &self,
        events: &[(u64, Event)],
        epoch: &Epoch,
        new_items: &NewItems,
    ) -> Result<(), BehaviorError> {
        let by_item = events.iter().filter(|(_, event)| event.own_of(epoch.of).is_none());
        let mut wanted: Vec<u64> = by_item
            .map(|(_, event)| event.item)
            .filter(|&item| !new_items.contains_key(&(epoch.of, item)))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        self.embeddings(&wanted, epoch).map(drop)
    }

    /// Those of the items that are there.
    fn known_items(
        &self,
        of: u32,
        items: &[(u64, Arc<Embedding>)],
    ) -> Result<HashMap<u64, Arc<Embedding>>, BehaviorError> {
        let mut wanted: Vec<u64> = items.iter().map(|(item, _)| *item).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let (mut known, files, signer): (HashMap<u64, Arc<Embedding>>, _, _) = {
            let state = self.state();
            let in_memory = |&item: &u64| Some((item, Arc::clone(state.new_items.get(&(of, item))?)));
            let known = wanted.iter().filter_map(in_memory).collect();
            (known, Arc::clone(&state.files), state.epochs.signer(of).cloned())
        };
        if let Some(signer) = signer {
            known.extend(files.embeddings(&wanted, of, signer.shape())?);
        }
        Ok(known)
    }
}
