//! A space that is open: what is in memory, what is in files, and how one is found in the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nearline_storage::{
    BlockCache, Decoder, Disk, FileHeader, FolderLock, Group, LockMode, StorageError, Table, Wal, WalOptions,
    is_temp_name,
};

use super::error::BehaviorError;
use super::history::{Embedding, History};
use super::kept::Kept;
use super::manifest::{EPOCH, Epoch, Manifest, SPACE, histories_name, items_name, number_of};
use super::read::Tallied;
use super::record::Write;
use super::write::{Outcome, Submitted, Writer};
use crate::segment::file_id;

pub(super) const HISTORIES_KIND: [u8; 4] = *b"BHIS";
pub(super) const ITEMS_KIND: [u8; 4] = *b"BITM";
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
    /// Histories read from files.
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
    histories: Kept<Arc<History>>,
    items: Kept<Arc<Embedding>>,
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
    pub(super) marks: BTreeMap<(String, u32), u64>,
    pub(super) files: Arc<Files>,
}

/// The files that are live.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Tells the files of one moment from those of others.
    pub(super) generation: u64,
    /// Whole histories by user, oldest first: the newest that has a user counts.
    pub(super) histories: Vec<Arc<Table>>,
    /// Embeddings by item, each in one file.
    pub(super) items: Vec<Arc<Table>>,
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
        let files = Files {
            generation: 0,
            histories: open_all(&disk, &epoch, &cache, HISTORIES_KIND, &manifest.histories)?,
            items: open_all(&disk, &epoch, &cache, ITEMS_KIND, &manifest.items)?,
        };
        let mut state = State {
            lsn: manifest.lsn,
            marks: manifest.marks.clone(),
            files: Arc::new(files),
            ..State::default()
        };
        let path = disk.root().join("wal");
        let options = WalOptions { segment_bytes: limits.log_segment };
        let wal = Wal::open(Arc::clone(&disk), epoch.store_id, options, manifest.lsn, &mut |lsn, bytes| {
            let write = Write::decode(bytes, &path, &epoch.family)?;
            let loaded = state.load(&write, &epoch)?;
            state.apply(write, lsn, loaded);
            Ok(())
        })?;
        Ok(Self {
            group: Group::new(),
            writer: Mutex::new(Writer::new(wal, manifest)),
            state: RwLock::new(state),
            tables: Kept::new(limits.tables),
            histories: Kept::new(limits.histories),
            items: Kept::new(limits.items),
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

    /// Takes a write in that is in the log. What was read of its users before is out of date then.
    pub(super) fn apply(&self, state: &mut State, write: Write, lsn: u64, loaded: Loaded) -> Outcome {
        write.users().iter().for_each(|&user| self.histories.remove(user));
        Ok(state.apply(write, lsn, loaded))
    }

    /// What becomes of histories in memory when they are in files: they are kept as if they had been read.
    pub(super) fn keep_clean(&self, histories: HashMap<u64, Arc<History>>) {
        for (user, history) in histories {
            let bytes = history.ram_bytes();
            self.histories.insert(user, history, bytes);
        }
    }

    /// The history of a user; empty if there is none.
    pub(super) fn history(&self, user: u64) -> Result<Arc<History>, StorageError> {
        let files = {
            let state = self.state();
            if let Some(history) = state.dirty.get(&user).cloned().or_else(|| self.histories.get(user)) {
                return Ok(history);
            }
            Arc::clone(&state.files)
        };
        let history = Arc::new(files.history(user, &self.epoch)?);
        // With the state locked nothing becomes of it: if nothing has, it is what it was.
        let state = self.state();
        if state.files.generation == files.generation && !state.dirty.contains_key(&user) {
            self.histories.insert(user, Arc::clone(&history), history.ram_bytes());
        }
        Ok(history)
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

    /// Reads all files and checks them.
    pub(crate) fn verify(&self) -> Result<(), StorageError> {
        let files = Arc::clone(&self.state().files);
        for table in &files.histories {
            table.verify()?;
            for pair in table.scan() {
                History::decode(&pair?.1, table.path(), self.epoch.family.shape())?;
            }
        }
        files.items.iter().try_for_each(|table| table.verify().map(drop))
    }

    /// Bytes kept of what was read or worked out: tables, histories, items.
    pub(super) fn kept_bytes(&self) -> [usize; 3] {
        [self.tables.bytes(), self.histories.bytes(), self.items.bytes()]
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Only so that the next opening has less to do.
        let _ = writer.wal.seal();
    }
}

/// Histories that a write is about, as they were in the files.
pub(super) type Loaded = HashMap<u64, Arc<History>>;

impl State {
    /// Reads what applying a write needs, so that applying cannot fail.
    pub(super) fn load(&self, write: &Write, epoch: &Epoch) -> Result<Loaded, StorageError> {
        let mut loaded = Loaded::new();
        for user in write.users() {
            if !self.dirty.contains_key(&user) {
                loaded.insert(user, Arc::new(self.files.history(user, epoch)?));
            }
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
                    let added = self.change(user, &mut loaded, |history| history.append(events, lsn));
                    report.appended += added;
                    report.duplicates += came - added;
                }
            }
            Write::Delete { user, ids } => {
                let ids: std::collections::HashSet<u64> = ids.into_iter().collect();
                report.deleted = self.change(user, &mut loaded, |history| {
                    history.retain(lsn, |_, event| !ids.contains(&event.id))
                });
            }
            Write::Before { user, time } => {
                report.deleted = self
                    .change(user, &mut loaded, |history| history.retain(lsn, |_, event| event.time >= time));
            }
            Write::Truncate { user, keep } => {
                report.deleted = self.change(user, &mut loaded, |history| {
                    let first = (history.len() as u64).saturating_sub(keep);
                    history.retain(lsn, |at, _| at as u64 >= first)
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
        change: impl FnOnce(&mut History) -> usize,
    ) -> usize {
        let bytes = |history: &History| history.ram_bytes() + ENTRY_BYTES;
        if let Some(history) = self.dirty.get_mut(&user) {
            let history = Arc::make_mut(history);
            self.dirty_bytes -= bytes(history);
            let changed = change(history);
            self.dirty_bytes += bytes(history);
            return changed;
        }
        let mut history = loaded.remove(&user).unwrap_or_default();
        let changed = change(Arc::make_mut(&mut history));
        if changed > 0 {
            self.dirty_bytes += bytes(&history);
            self.dirty.insert(user, history);
        }
        changed
    }
}

impl Files {
    fn history(&self, user: u64, epoch: &Epoch) -> Result<History, StorageError> {
        for table in self.histories.iter().rev() {
            if let Some(bytes) = table.get(&user.to_be_bytes())? {
                return History::decode(&bytes, table.path(), epoch.family.shape());
            }
        }
        Ok(History::default())
    }

    /// Embeddings of those of the items, sorted, that are in files.
    pub(super) fn embeddings(
        &self,
        items: &[u64],
        epoch: &Epoch,
    ) -> Result<Vec<(u64, Arc<Embedding>)>, StorageError> {
        let mut found = Vec::with_capacity(items.len());
        let mut wanted = items.to_vec();
        for table in &self.items {
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
                let embedding = Embedding::decode(&mut decoder, epoch.family.shape())?;
                decoder.finish()?;
                found.push((item, Arc::new(embedding)));
            }
            wanted = missing;
        }
        Ok(found)
    }
}

fn open_all(
    disk: &Arc<dyn Disk>,
    epoch: &Epoch,
    cache: &Arc<BlockCache>,
    kind: [u8; 4],
    numbers: &[u64],
) -> Result<Vec<Arc<Table>>, StorageError> {
    let open = |&number: &u64| open_table(disk, epoch, cache, kind, number);
    numbers.iter().map(open).collect()
}

/// Opens a file of histories or of items.
pub(super) fn open_table(
    disk: &Arc<dyn Disk>,
    epoch: &Epoch,
    cache: &Arc<BlockCache>,
    kind: [u8; 4],
    number: u64,
) -> Result<Arc<Table>, StorageError> {
    let name = if kind == ITEMS_KIND { items_name(number) } else { histories_name(number) };
    Ok(Arc::new(Table::open(disk, &name, header(epoch.store_id, kind, number), Arc::clone(cache))?))
}

/// How a file of histories or items begins.
pub(super) fn header(store_id: u64, kind: [u8; 4], number: u64) -> FileHeader {
    FileHeader { kind, file_id: file_id(store_id, number, usize::from(kind == ITEMS_KIND)) }
}

/// Removes what a crash left and nothing names. Its numbers are never used again.
fn remove_leftovers(disk: &dyn Disk, manifest: &mut Manifest) -> Result<(), StorageError> {
    let live: Vec<String> = manifest
        .histories
        .iter()
        .map(|&number| histories_name(number))
        .chain(manifest.items.iter().map(|&number| items_name(number)))
        .collect();
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
