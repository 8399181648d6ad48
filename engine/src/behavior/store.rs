//! A space that is open: what is in memory, what is in files, and how one is found in the other.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nearline_storage::{
    BlockCache, Disk, FileHeader, FolderLock, Group, IoMode, LockMode, OsDisk, StorageError, Table, Wal,
    WalOptions, is_temp_name,
};

use nearline_index::sdim::SignShape;

use super::epochs::Epochs;
use super::error::BehaviorError;
use super::files::Files;
use super::history::{Embedding, Event, Events, History};
use super::kept::Kept;
use super::manifest::{EPOCH, Epoch, FIRST, Kind, Manifest, SPACE, Stage, epoch_of, number_of};
use super::record::{Write, embed};
use super::tallied::Tallied;
use super::write::{Outcome, Submitted, Writer};
use crate::error::OpenError;
use crate::segment::file_id;

/// Bytes of blocks that are held while a space that is not open is verified.
const VERIFY_CACHE_BYTES: usize = 4 << 20;
/// What an entry of a map costs beside the value.
pub(super) const ENTRY_BYTES: usize = 64;

/// How much memory a space may take, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Changed histories and new items: with half of it they go into files, and meanwhile others may take the other half.
    pub(crate) dirty: usize,
    /// The log, likewise.
    pub(crate) log: u64,
    /// The largest segment of the log.
    pub(crate) log_segment: u64,
    /// Whether files are written by a thread of their own, and not by the one whose write made it time to.
    pub(crate) aside: bool,
    /// Tables that were worked out.
    pub(crate) tables: usize,
    /// Events read from files, and heads of histories.
    pub(crate) histories: usize,
    /// Items read from files.
    pub(crate) items: usize,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) store_id: u64,
    /// That of the first epoch: how long vectors in histories are unless they say so.
    pub(super) first: SignShape,
    pub(super) limits: Limits,
    pub(super) cache: Arc<BlockCache>,
    pub(super) group: Group<Submitted, Outcome>,
    /// Held by whoever changes which files are live; locked before the writer.
    pub(super) filing: Mutex<()>,
    pub(super) writer: Mutex<Writer>,
    /// Whether it is time to write files.
    pub(super) is_due: AtomicBool,
    state: RwLock<State>,
    /// By epoch and user.
    pub(super) tables: Kept<(u32, u64), Arc<Tallied>>,
    /// Heads of histories of which nothing is in memory, by user.
    heads: Kept<u64, Arc<History>>,
    /// Stored events, and of which shape, by user.
    stored: Kept<u64, (u64, Arc<Vec<Event>>)>,
    /// By epoch and item, with signatures by the planes of the epoch.
    items: Kept<(u32, u64), Arc<Embedding>>,
    /// Why an epoch was not built, or not yet.
    pub(super) build_error: Mutex<Option<String>>,
    /// Held by whoever builds.
    pub(super) building: Mutex<()>,
    /// Numbers of files of tables that could not be opened.
    lost: Vec<u64>,
    _lock: FolderLock,
    _database: Option<Arc<FolderLock>>,
}

/// All there is at one moment.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The last record of the log that is in it.
    pub(super) lsn: u64,
    /// Histories that changed since others began to go into files.
    pub(super) dirty: HashMap<u64, Arc<History>>,
    /// Items that came since then, by the first epoch of their embeddings.
    pub(super) new_items: HashMap<(u32, u64), Arc<Embedding>>,
    /// Bytes of both.
    pub(super) dirty_bytes: usize,
    /// Events in files that are of no more use.
    pub(super) dead: u64,
    pub(super) marks: BTreeMap<(String, u32), u64>,
    pub(super) files: Arc<Files>,
    pub(super) epochs: Arc<Epochs>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Writes what makes a folder an empty space.
    pub(crate) fn create(disk: &dyn Disk, epoch: &Epoch) -> Result<(), StorageError> {
        epoch.write(disk)?;
        Manifest::new().write(disk)
    }

    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        limits: Limits,
        cache: Arc<BlockCache>,
        database: Option<Arc<FolderLock>>,
    ) -> Result<Self, StorageError> {
        let lock = disk.lock(LockMode::Exclusive)?;
        let mut manifest = Manifest::read(&*disk)?;
        remove_leftovers(&*disk, &mut manifest)?;
        let first = Epoch::read(&*disk, FIRST)?;
        let (store_id, first) = (first.store_id, first.shape());
        let epochs = read_epochs(&*disk, &manifest)?;
        let mut lost = Vec::new();
        // Tables that are lost are worked out anew.
        let files = open_files((&disk, store_id, &cache), &manifest, &mut |number, _| {
            lost.push(number);
            Ok(())
        })?;
        for made in &mut manifest.epochs {
            made.tables.retain(|number| !lost.contains(number));
        }
        let mut state = State {
            lsn: manifest.base + manifest.lsn,
            dead: manifest.dead,
            marks: manifest.marks.clone(),
            files: Arc::new(files),
            epochs: Arc::new(epochs),
            ..State::default()
        };
        let path = disk.root().join("wal");
        let options = WalOptions { segment_bytes: limits.log_segment };
        let wal = Wal::open(Arc::clone(&disk), store_id, options, manifest.lsn, &mut |lsn, bytes| {
            let write = Write::decode(bytes, &path, &state.epochs)?;
            let loaded = state.load(&write, first)?;
            state.apply(write, manifest.base + lsn, loaded);
            Ok(())
        })?;
        Ok(Self {
            group: Group::new(),
            filing: Mutex::default(),
            is_due: AtomicBool::new(false),
            writer: Mutex::new(Writer::new(wal, manifest)),
            state: RwLock::new(state),
            tables: Kept::new(limits.tables),
            heads: Kept::new(limits.histories / 4),
            stored: Kept::new(limits.histories / 4 * 3),
            items: Kept::new(limits.items),
            build_error: Mutex::default(),
            building: Mutex::default(),
            lost,
            _lock: lock,
            _database: database,
            disk,
            store_id,
            first,
            limits,
            cache,
        })
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Heads of histories that went from memory into files: they are kept as if they had been read.
    pub(super) fn keep_heads(&self, heads: Vec<(u64, Arc<History>)>) {
        for (user, head) in heads {
            let bytes = head.ram_bytes() + ENTRY_BYTES;
            self.heads.insert(user, head, bytes);
        }
    }

    /// The history of a user as it is in memory, and the files that have the rest of it.
    pub(super) fn history(&self, user: u64) -> Result<(Arc<History>, Arc<Files>), StorageError> {
        let files = {
            let state = self.state();
            let files = Arc::clone(&state.files);
            let going = || Some(&files.going(user)?.head);
            let in_memory = state.dirty.get(&user).or_else(going).cloned();
            if let Some(history) = in_memory.or_else(|| self.heads.get(user)) {
                return Ok((history, files));
            }
            files
        };
        let head = Arc::new(files.head(user)?);
        // With the state locked nothing becomes of it: if nothing has, it is what it was.
        let state = self.state();
        if state.files.generation == files.generation && !state.dirty.contains_key(&user) {
            self.heads.insert(user, Arc::clone(&head), head.ram_bytes() + ENTRY_BYTES);
        }
        drop(state);
        Ok((head, files))
    }

    /// All events of a history.
    pub(super) fn events(
        &self,
        user: u64,
        history: &Arc<History>,
        files: &Files,
    ) -> Result<Events, StorageError> {
        let (len, history) = (history.stored.len as usize, Arc::clone(history));
        let kept = self.stored.get(user).filter(|(reshaped, _)| *reshaped == history.reshaped);
        let kept = kept.map(|(_, events)| events).unwrap_or_default();
        if kept.len() >= len {
            return Ok(Events { stored: kept, history });
        }
        let known = kept.len();
        let mut events = Arc::unwrap_or_clone(kept);
        events.extend(files.events(user, &history, events.len() as u64, self.first)?);
        let stored = Arc::new(events);
        let written = match files.going(user) {
            None => Arc::clone(&stored),
            // Those on their way may come back, and others then take places among them.
            Some(going) => Arc::new(stored[..stored.len().min(going.whole.stored.len as usize)].to_vec()),
        };
        if written.len() > known {
            let bytes = written.iter().map(Event::ram_bytes).sum::<usize>() + ENTRY_BYTES;
            self.stored.insert(user, (history.reshaped, written), bytes);
        }
        Ok(Events { stored, history })
    }

    /// Events of a history from one on. Nothing else of it is read.
    pub(super) fn events_from(
        &self,
        user: u64,
        history: &Arc<History>,
        files: &Files,
        from: u64,
    ) -> Result<Vec<Event>, StorageError> {
        let stored = history.stored.len;
        let own = history.own_from(from.saturating_sub(stored) as usize).cloned();
        if from >= stored {
            return Ok(own.collect());
        }
        let kept = self.stored.get(user).filter(|(reshaped, _)| *reshaped == history.reshaped);
        let mut events = match kept.filter(|(_, events)| events.len() as u64 >= stored) {
            Some((_, events)) => events[from as usize..stored as usize].to_vec(),
            None => files.events(user, history, from, self.first)?,
        };
        events.extend(own);
        Ok(events)
    }

    /// The embeddings of items in an epoch, in their order.
    pub(super) fn embeddings(
        &self,
        items: &[u64],
        epoch: &Epoch,
    ) -> Result<Vec<Arc<Embedding>>, BehaviorError> {
        let found = self.find_embeddings(items, epoch)?;
        if let Some(at) = found.iter().position(Option::is_none) {
            // Whoever began to ask before the epoch was dropped is told so.
            let epochs = Arc::clone(&self.state().epochs);
            if epochs.get(epoch.number).is_none_or(|(_, stage)| *stage == Stage::Gone) {
                return epochs.answering(epoch.number).map(|_| Vec::new());
            }
            return Err(BehaviorError::UnknownItem { item: items[at], epoch: epoch.number });
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// The same of those that are there.
    pub(super) fn find_embeddings(
        &self,
        items: &[u64],
        epoch: &Epoch,
    ) -> Result<Vec<Option<Arc<Embedding>>>, BehaviorError> {
        // At one moment: what goes from memory into files is in either of them.
        let (mut found, new, files, signer) = {
            let state = self.state();
            let new = |item: u64| state.new_items.get(&(epoch.of, item)).cloned();
            let known = |&item: &u64| {
                let new = new(item).filter(|_| epoch.is_signer());
                new.or_else(|| self.items.get((epoch.number, item)))
            };
            let found: Vec<_> = items.iter().map(known).collect();
            let missing = items.iter().zip(&found).filter(|(_, found)| found.is_none());
            let new: Vec<_> = missing.filter_map(|(&item, _)| Some((item, new(item)?))).collect();
            (found, new, Arc::clone(&state.files), state.epochs.signer(epoch.of).cloned())
        };
        let mut missing: Vec<u64> =
            items.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(&item, _)| item).collect();
        let Some(signer) = signer.filter(|_| !missing.is_empty()) else { return Ok(found) };
        missing.sort_unstable();
        missing.dedup();
        let mut read = files.embeddings(&missing, epoch.of, signer.shape())?;
        if !epoch.is_signer() {
            read.extend(new);
            let vectors: Vec<f32> =
                read.iter().flat_map(|(_, embedding)| embedding.vector.iter().copied()).collect();
            let signed = embed(&epoch.family, &vectors)?;
            read.iter_mut().zip(signed).for_each(|((_, embedding), signed)| *embedding = signed);
        }
        let read: HashMap<u64, Arc<Embedding>> = read.into_iter().collect();
        for (&item, embedding) in &read {
            // Items never change: nothing read of them is ever out of date.
            let bytes = embedding.ram_bytes() + ENTRY_BYTES;
            self.items.insert((epoch.number, item), Arc::clone(embedding), bytes);
        }
        for (&item, found) in items.iter().zip(&mut found) {
            if found.is_none() {
                *found = read.get(&item).cloned();
            }
        }
        Ok(found)
    }

    /// Reads all files and checks them. Tables that are lost are damage, too.
    pub(crate) fn verify(&self) -> Result<(), StorageError> {
        let (files, epochs) = {
            let state = self.state();
            (Arc::clone(&state.files), Arc::clone(&state.epochs))
        };
        for &number in &self.lost {
            open_table(&self.disk, self.store_id, &self.cache, Kind::Tables, number)?;
        }
        files.verify(&epochs, self.first)
    }

    /// Bytes kept of what was read or worked out: tables, histories, items.
    pub(super) fn kept_bytes(&self) -> [usize; 3] {
        [self.tables.bytes(), self.heads.bytes() + self.stored.bytes(), self.items.bytes()]
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Only so that the next opening has less to do.
        let _ = writer.wal.seal();
    }
}

/// What applying a write needs of files: histories as they are there, with the stored events where these are asked for.
pub(super) type Loaded = HashMap<u64, Events>;

impl State {
    /// Reads what applying a write needs, so that applying cannot fail.
    fn load(&self, write: &Write, first: SignShape) -> Result<Loaded, StorageError> {
        let mut loaded = Loaded::new();
        for user in write.users() {
            let history = match self.dirty.get(&user) {
                Some(history) => Arc::clone(history),
                None => Arc::new(self.files.head(user)?),
            };
            let stored = match write.asks_stored(user, &history) {
                true => self.files.events(user, &history, 0, first)?,
                false => Vec::new(),
            };
            loaded.insert(user, Events { stored: Arc::new(stored), history });
        }
        Ok(loaded)
    }

    /// Makes the state after a write. It follows from the state before and the write alone: replaying the log does the same.
    pub(super) fn apply(&mut self, write: Write, lsn: u64, mut loaded: Loaded) -> super::WriteReport {
        let mut report = super::WriteReport::default();
        self.lsn = lsn;
        match write {
            Write::Append { source, events } => {
                if let Some(source) = source {
                    let key = (source.source, source.partition);
                    if self.marks.get(&key).is_some_and(|&mark| mark >= source.offset) {
                        report.is_repeated = true;
                        return report;
                    }
                    self.marks.insert(key, source.offset);
                }
                let mut by_user: BTreeMap<u64, Vec<_>> = BTreeMap::new();
                for (user, event) in events {
                    by_user.entry(user).or_default().push(event);
                }
                for (user, events) in by_user {
                    let came = events.len();
                    let added =
                        self.change(user, &mut loaded, |history, stored| history.append(events, lsn, stored));
                    report.appended += added;
                    report.duplicates += came - added;
                }
            }
            Write::Delete { user, ids } => {
                let ids: std::collections::HashSet<u64> = ids.into_iter().collect();
                report.deleted = self.change(user, &mut loaded, |history, stored| {
                    history.retain(lsn, stored, |_, event| !ids.contains(&event.id))
                });
            }
            Write::Before { user, time } => {
                report.deleted = self.change(user, &mut loaded, |history, stored| {
                    history.retain(lsn, stored, |_, event| event.time >= time)
                });
            }
            Write::Truncate { user, keep } => {
                report.deleted = self.change(user, &mut loaded, |history, stored| {
                    let first = history.len().saturating_sub(keep);
                    history.retain(lsn, stored, |at, _| at >= first)
                });
            }
            Write::Items(of, items) => {
                for (item, embedding) in items {
                    let bytes = embedding.ram_bytes() + ENTRY_BYTES;
                    if self.new_items.insert((of, item), embedding).is_none() {
                        self.dirty_bytes += bytes;
                        report.items += 1;
                    }
                }
            }
        }
        report
    }

    /// Changes a history, which becomes one in memory unless nothing changes.
    fn change(
        &mut self,
        user: u64,
        loaded: &mut Loaded,
        change: impl FnOnce(&mut History, &[Event]) -> usize,
    ) -> usize {
        let bytes = |history: &History| history.ram_bytes() + ENTRY_BYTES;
        let Events { stored, history } = loaded.remove(&user).unwrap_or_default();
        let (mut history, was_dirty) = match self.dirty.remove(&user) {
            Some(history) => (history, true),
            None => (history, false),
        };
        let (before, in_files) = (bytes(&history), history.stored.len);
        // What a write before this one of the same group reshaped has none of them any more.
        let stored = &stored[..stored.len().min(in_files as usize)];
        let changed = change(Arc::make_mut(&mut history), stored);
        if was_dirty || changed > 0 {
            self.dead += in_files - history.stored.len;
            self.dirty_bytes = self.dirty_bytes + bytes(&history) - if was_dirty { before } else { 0 };
            self.dirty.insert(user, history);
        }
        changed
    }
}

/// Reads all of a space that is not open, but for its log, and checks it.
pub(crate) fn verify_folder(folder: &Path) -> Result<(), OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(folder, IoMode::Pread)?);
    let (first, manifest) = (Epoch::read(&*disk, FIRST)?, Manifest::read(&*disk)?);
    let epochs = read_epochs(&*disk, &manifest)?;
    let cache = Arc::new(BlockCache::new(VERIFY_CACHE_BYTES));
    let files = open_files((&disk, first.store_id, &cache), &manifest, &mut |_, error| Err(error))?;
    Ok(files.verify(&epochs, first.shape())?)
}

fn read_epochs(disk: &dyn Disk, manifest: &Manifest) -> Result<Epochs, StorageError> {
    let all = manifest.epochs.iter().map(|made| Ok((Arc::new(Epoch::read(disk, made.number)?), made.stage)));
    Ok(Epochs { all: all.collect::<Result<_, StorageError>>()? })
}

/// Opens all files that a manifest names, but tables that are lost, if the caller can do without them.
fn open_files(
    (disk, store_id, cache): (&Arc<dyn Disk>, u64, &Arc<BlockCache>),
    manifest: &Manifest,
    lost: &mut dyn FnMut(u64, StorageError) -> Result<(), StorageError>,
) -> Result<Files, StorageError> {
    let open = |kind: Kind, number: u64| open_table(disk, store_id, cache, kind, number);
    let histories = manifest.histories.iter().map(|&number| open(Kind::Histories, number));
    let mut files = Files { histories: histories.collect::<Result<_, _>>()?, ..Files::default() };
    for made in &manifest.epochs {
        let items = made.items.iter().map(|&number| open(Kind::Items, number));
        files.items.insert(made.number, items.collect::<Result<_, _>>()?);
        let tables = files.tables.entry(made.number).or_default();
        for &number in &made.tables {
            match open(Kind::Tables, number) {
                Ok(table) => tables.push(table),
                Err(error) => lost(number, error)?,
            }
        }
    }
    Ok(files)
}

/// Opens a file of a kind.
pub(super) fn open_table(
    disk: &Arc<dyn Disk>,
    store_id: u64,
    cache: &Arc<BlockCache>,
    kind: Kind,
    number: u64,
) -> Result<Arc<Table>, StorageError> {
    let header = header(store_id, kind, number);
    Ok(Arc::new(Table::open(disk, &kind.name(number), header, Arc::clone(cache))?))
}

/// How a file of a kind begins.
pub(super) fn header(store_id: u64, kind: Kind, number: u64) -> FileHeader {
    FileHeader { kind: kind.mark(), file_id: file_id(store_id, number, kind as usize) }
}

/// Removes what a crash left and nothing names. Its numbers are never used again.
fn remove_leftovers(disk: &dyn Disk, manifest: &mut Manifest) -> Result<(), StorageError> {
    let live: Vec<String> = manifest.names().collect();
    for name in disk.list()? {
        let is_draft = is_temp_name(&name) && (name.starts_with(SPACE) || name.starts_with(EPOCH));
        let number = number_of(&name).filter(|_| !live.contains(&name));
        if is_draft || number.is_some() || (epoch_of(&name).is_some() && !live.contains(&name)) {
            disk.remove(&name)?;
        }
        manifest.next_number = manifest.next_number.max(number.map_or(0, |number| number + 1));
    }
    Ok(())
}
