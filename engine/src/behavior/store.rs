//! A space that is open: what is in memory, what is in files, and how one is found in the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nearline_storage::{
    BlockCache, Disk, FileHeader, FolderLock, Group, LockMode, StorageError, Table, Wal, WalOptions,
    is_temp_name,
};

use super::error::BehaviorError;
use super::files::Files;
use super::history::{Embedding, Event, Events, History};
use super::kept::Kept;
use super::manifest::{EPOCH, Epoch, Kind, Manifest, SPACE, number_of};
use super::record::Write;
use super::tallied::Tallied;
use super::write::{Outcome, Submitted, Writer};
use crate::segment::file_id;

/// What an entry of a map costs beside the value.
const ENTRY_BYTES: usize = 64;

/// How much memory a space may take, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Changed histories and new items, from which on they are written to files.
    pub(crate) dirty: usize,
    /// The log, likewise.
    pub(crate) log: u64,
    /// The largest segment of the log.
    pub(crate) log_segment: u64,
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
    pub(super) epoch: Epoch,
    pub(super) limits: Limits,
    pub(super) cache: Arc<BlockCache>,
    pub(super) group: Group<Submitted, Outcome>,
    pub(super) writer: Mutex<Writer>,
    state: RwLock<State>,
    pub(super) tables: Kept<Arc<Tallied>>,
    /// Heads of histories of which nothing is in memory.
    heads: Kept<Arc<History>>,
    /// Stored events, and of which shape.
    stored: Kept<(u64, Arc<Vec<Event>>)>,
    items: Kept<Arc<Embedding>>,
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
    /// Histories that changed since the files were written.
    pub(super) dirty: HashMap<u64, Arc<History>>,
    /// Items that came since then.
    pub(super) new_items: HashMap<u64, Arc<Embedding>>,
    /// Bytes of both.
    pub(super) dirty_bytes: usize,
    /// Events in files that are of no more use.
    pub(super) dead: u64,
    pub(super) marks: BTreeMap<(String, u32), u64>,
    pub(super) files: Arc<Files>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Writes what makes a folder an empty space.
    pub(crate) fn create(disk: &dyn Disk, epoch: &Epoch) -> Result<(), StorageError> {
        epoch.write(disk)?;
        Manifest { next_number: 1, ..Manifest::default() }.write(disk)
    }

    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        limits: Limits,
        cache: Arc<BlockCache>,
        database: Option<Arc<FolderLock>>,
    ) -> Result<Self, StorageError> {
        let lock = disk.lock(LockMode::Exclusive)?;
        let epoch = Epoch::read(&*disk)?;
        let mut manifest = Manifest::read(&*disk)?;
        remove_leftovers(&*disk, &mut manifest)?;
        let open = |kind: Kind| {
            let open = |&number: &u64| open_table(&disk, &epoch, &cache, kind, number);
            manifest.numbers(kind).iter().map(open).collect::<Result<Vec<_>, _>>()
        };
        let (histories, items) = (open(Kind::Histories)?, open(Kind::Items)?);
        // Tables that are lost are worked out anew.
        let mut tables = Vec::new();
        let mut lost = std::mem::take(&mut manifest.files[Kind::Tables as usize]);
        lost.retain(|&number| {
            let opened = open_table(&disk, &epoch, &cache, Kind::Tables, number);
            let is_lost = opened.is_err();
            tables.extend(opened);
            manifest.files[Kind::Tables as usize].extend(Some(number).filter(|_| !is_lost));
            is_lost
        });
        let files = Files { generation: 0, histories, items, tables };
        let mut state = State {
            lsn: manifest.base + manifest.lsn,
            dead: manifest.dead,
            marks: manifest.marks.clone(),
            files: Arc::new(files),
            ..State::default()
        };
        let path = disk.root().join("wal");
        let options = WalOptions { segment_bytes: limits.log_segment };
        let wal = Wal::open(Arc::clone(&disk), epoch.store_id, options, manifest.lsn, &mut |lsn, bytes| {
            let write = Write::decode(bytes, &path, &epoch.family)?;
            let loaded = state.load(&write, &epoch)?;
            state.apply(write, manifest.base + lsn, loaded);
            Ok(())
        })?;
        Ok(Self {
            group: Group::new(),
            writer: Mutex::new(Writer::new(wal, manifest)),
            state: RwLock::new(state),
            tables: Kept::new(limits.tables),
            heads: Kept::new(limits.histories / 4),
            stored: Kept::new(limits.histories / 4 * 3),
            items: Kept::new(limits.items),
            lost,
            _lock: lock,
            _database: database,
            disk,
            epoch,
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
            if let Some(history) = state.dirty.get(&user).cloned().or_else(|| self.heads.get(user)) {
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
        let mut events = Arc::unwrap_or_clone(kept);
        events.extend(files.events(user, &history, events.len() as u64, &self.epoch)?);
        let bytes = events.iter().map(Event::ram_bytes).sum::<usize>() + ENTRY_BYTES;
        let stored = Arc::new(events);
        self.stored.insert(user, (history.reshaped, Arc::clone(&stored)), bytes);
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
            None => files.events(user, history, from, &self.epoch)?,
        };
        events.extend(own);
        Ok(events)
    }

    /// The embeddings of items, in their order.
    pub(super) fn embeddings(&self, items: &[u64]) -> Result<Vec<Arc<Embedding>>, BehaviorError> {
        let (mut found, files) = {
            let state = self.state();
            let known = |&item: &u64| state.new_items.get(&item).cloned().or_else(|| self.items.get(item));
            (items.iter().map(known).collect::<Vec<_>>(), Arc::clone(&state.files))
        };
        let mut missing: Vec<u64> =
            items.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(&item, _)| item).collect();
        missing.sort_unstable();
        missing.dedup();
        let read: HashMap<u64, Arc<Embedding>> =
            files.embeddings(&missing, &self.epoch)?.into_iter().collect();
        for (&item, embedding) in &read {
            // Items never change: nothing read of them is ever out of date.
            self.items.insert(item, Arc::clone(embedding), embedding.ram_bytes() + ENTRY_BYTES);
        }
        for (&item, found) in items.iter().zip(&mut found) {
            if found.is_none() {
                *found = read.get(&item).cloned();
            }
        }
        let whole: Option<Vec<_>> = found.iter().cloned().collect();
        whole.ok_or_else(|| {
            let at = found.iter().position(Option::is_none).unwrap_or(0);
            BehaviorError::UnknownItem { item: items[at] }
        })
    }

    /// Reads all files and checks them. Tables that are lost are damage, too.
    pub(crate) fn verify(&self) -> Result<(), StorageError> {
        let files = Arc::clone(&self.state().files);
        for &number in &self.lost {
            open_table(&self.disk, &self.epoch, &self.cache, Kind::Tables, number)?;
        }
        files.verify(&self.epoch)
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
    fn load(&self, write: &Write, epoch: &Epoch) -> Result<Loaded, StorageError> {
        let mut loaded = Loaded::new();
        for user in write.users() {
            let history = match self.dirty.get(&user) {
                Some(history) => Arc::clone(history),
                None => Arc::new(self.files.head(user)?),
            };
            let stored = match write.asks_stored(user, &history) {
                true => self.files.events(user, &history, 0, epoch)?,
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
            Write::Items(items) => {
                for (item, embedding) in items {
                    let bytes = embedding.ram_bytes() + ENTRY_BYTES;
                    if self.new_items.insert(item, embedding).is_none() {
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

/// Opens a file of a kind.
pub(super) fn open_table(
    disk: &Arc<dyn Disk>,
    epoch: &Epoch,
    cache: &Arc<BlockCache>,
    kind: Kind,
    number: u64,
) -> Result<Arc<Table>, StorageError> {
    let header = header(epoch.store_id, kind, number);
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
        if is_draft || number.is_some() {
            disk.remove(&name)?;
        }
        manifest.next_number = manifest.next_number.max(number.map_or(0, |number| number + 1));
    }
    Ok(())
}
