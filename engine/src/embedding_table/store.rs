//! A table that is open: its log, its content, and how one becomes the other.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use nearline_index::embedding::{Dtype, Dynamic, RowCodec, Rows, Rule, Table, Train};
use nearline_storage::{
    Disk, FolderLock, IoMode, LockMode, MAX_RECORD_BYTES, OsDisk, StorageError, Wal, WalOptions, is_temp_name,
};

use super::content::{Content, head_of};
use super::error::TableError;
use super::file::{Head, TableFile, TableFileWriter};
use super::manifest::{Manifest, TABLE, file_id, file_name, number_of};
use super::memory::Share;
use super::record::Write;
use super::remap::write_by_frequency;
use super::shared::write_served;
use crate::folder;

/// How much a table may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of rows in memory.
    pub(crate) resident: u64,
    /// Bytes of the log, before it is folded into a new file.
    pub(crate) log: u64,
    /// The largest segment of the log.
    pub(crate) log_segment: u64,
}

pub(crate) struct Inner {
    disk: Arc<dyn Disk>,
    limits: Limits,
    writer: Mutex<Writer>,
    version: RwLock<Arc<Version>>,
    /// Let go before the folder's lock, for whoever waits for that takes memory next.
    _kept: Option<Kept>,
    _lock: FolderLock,
}

/// What of its database a table has while it is open.
pub(crate) struct Kept {
    pub(crate) _lock: Arc<FolderLock>,
    /// Taken when the folder's lock is: before, the one who is just closing the table has it.
    pub(crate) memory: Share,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("disk", &self.disk)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The table after a write.
#[derive(Clone)]
pub(super) struct Version {
    /// The last record of the log that is in it.
    pub(super) lsn: u64,
    pub(super) content: Content,
}

/// What only one thread at a time may touch.
struct Writer {
    wal: Wal,
    manifest: Manifest,
    poison: Option<Arc<StorageError>>,
    /// Why the log could not be folded the last time.
    compact_error: Option<String>,
}

impl Writer {
    fn refused(&mut self, error: StorageError, is_fatal: bool) -> TableError {
        let is_fatal = is_fatal || error.is_poisoned();
        let error = Arc::new(error);
        if !is_fatal {
            return TableError::Storage(error);
        }
        TableError::Poisoned { cause: Arc::clone(self.poison.get_or_insert(error)) }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a new table is made of.
pub(crate) enum Source<'a> {
    /// A table to be served.
    Served(&'a dyn Table),
    /// The same, its rows lying by how often each is asked for.
    ByFrequency(&'a dyn Table, &'a [u64]),
    /// A table to be trained, and how.
    Trained(&'a dyn Train, Rule),
    /// A table whose ids come and go.
    Dynamic(&'a Dynamic),
}

impl Inner {
    /// Writes what makes a folder this table.
    pub(crate) fn create(disk: &dyn Disk, store_id: u64, source: &Source<'_>) -> Result<(), TableError> {
        let mut out = TableFileWriter::create(disk, &file_name(1), file_id(store_id, 1))?;
        let directory = match source {
            Source::Served(table) => {
                check_rows(table.rows())?;
                check_finite(*table)?;
                write_served(&mut out, *table)?;
                out.finish(&head_of(*table, None))?
            }
            Source::ByFrequency(table, frequencies) => {
                check_finite(*table)?;
                write_by_frequency(&mut out, *table, frequencies)?;
                out.finish(&head_of(*table, None))?
            }
            Source::Trained(table, rule) => {
                check_finite(*table)?;
                let optimizer = nearline_index::embedding::Optimizer::new(*rule, table.shapes())?;
                Content::Trained(table.boxed(), optimizer).write(out)?
            }
            Source::Dynamic(table) => Content::Dynamic(Box::new((*table).clone())).write(out)?,
        };
        disk.sync_dir()?;
        Ok(Manifest { store_id, number: 1, lsn: 0, directory }.write(disk)?)
    }

    /// The same of rows that come some at a time: `next` adds rows to what is empty, and none at the end.
    pub(crate) fn create_of_rows(
        disk: &dyn Disk,
        store_id: u64,
        codec: &Arc<dyn RowCodec>,
        next: &mut dyn FnMut(&mut Vec<f32>) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let mut out = TableFileWriter::create(disk, &file_name(1), file_id(store_id, 1))?;
        let (mut values, mut rows) = (Vec::new(), 0);
        loop {
            values.clear();
            next(&mut values)?;
            if values.is_empty() {
                break;
            }
            let encoded = Rows::encode(Arc::clone(codec), &values)?;
            out.rows(codec.row_bytes(), encoded.row_bytes())?;
            rows += encoded.rows();
        }
        check_rows(rows)?;
        for segment in codec.shared() {
            out.segment(&segment)?;
        }
        let (method, dim, params) = (codec.method(), codec.dim(), codec.params());
        let directory = out.finish(&Head { method, rows, dim, params, training: None })?;
        disk.sync_dir()?;
        Ok(Manifest { store_id, number: 1, lsn: 0, directory }.write(disk)?)
    }

    /// Opens what is in a folder. `keep` says what it gets of its database; without, `limits` say how much memory.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        mut limits: Limits,
        keep: impl FnOnce() -> Result<Option<Kept>, TableError>,
    ) -> Result<Self, TableError> {
        let lock = disk.lock(LockMode::Exclusive)?;
        let mut kept = keep()?;
        limits.resident = kept.as_ref().map_or(limits.resident, |kept| kept.memory.bytes);
        let manifest = Manifest::read(&*disk)?;
        remove_leftovers(&*disk, &manifest)?;
        let mut content = load(&*disk, &manifest, limits)?;
        if let Some(kept) = kept.as_mut().filter(|_| content.is_whole()) {
            kept.memory.cover(content.bytes().iter().map(|(_, bytes)| bytes).sum());
        }
        let mut lsn = manifest.lsn;
        let path = disk.root().join("wal");
        let options = WalOptions { segment_bytes: limits.log_segment };
        let mut wrong = None;
        let wal = Wal::open(Arc::clone(&disk), manifest.store_id, options, lsn, &mut |number, bytes| {
            let write = Write::decode(bytes, &path)?;
            // The checksum was right: a write that does not fit is another table's.
            let applied = content.check(&write).and_then(|()| content.apply(&write));
            wrong = wrong.take().or(applied.err());
            lsn = number;
            Ok(())
        })?;
        if let Some(error) = wrong {
            return Err(error);
        }
        Ok(Self {
            writer: Mutex::new(Writer { wal, manifest, poison: None, compact_error: None }),
            version: RwLock::new(Arc::new(Version { lsn, content })),
            _lock: lock,
            _kept: kept,
            disk,
            limits,
        })
    }

    /// The table as it is now. It stays so, whatever is written.
    pub(super) fn version(&self) -> Arc<Version> {
        Arc::clone(&self.version.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a write into the log, durably, and then into the table; gives the number of the version with it.
    pub(super) fn submit(&self, write: &Write) -> Result<u64, TableError> {
        let mut writer = locked(&self.writer);
        if let Some(cause) = &writer.poison {
            return Err(TableError::Poisoned { cause: Arc::clone(cause) });
        }
        let version = self.version();
        version.content.check(write)?;
        version.content.check_room(write)?;
        drop(version);
        let bytes = write.encode();
        if bytes.len() > MAX_RECORD_BYTES {
            let expected = format!("at most {MAX_RECORD_BYTES} bytes: split it");
            return Err(TableError::bad("a write", format!("{} bytes", bytes.len()), expected));
        }
        let lsn = writer.wal.append(&[&bytes]).map_err(|error| writer.refused(error, false))?;
        writer.wal.sync().map_err(|error| writer.refused(error, true))?;
        {
            let mut version = self.version.write().unwrap_or_else(PoisonError::into_inner);
            // A version that somebody has pinned is copied first.
            let version = Arc::make_mut(&mut version);
            // What is in the log and not in the table would be there once it is opened anew.
            let applied = version.content.apply(write);
            applied.map_err(|error| writer.refused(not_applied(&*self.disk, &error), true))?;
            version.lsn = lsn;
        }
        if writer.wal.bytes() >= self.limits.log {
            // What was written is safe; if the log cannot be folded, the next write tries again.
            let done = self.fold(&mut writer);
            writer.compact_error = done.err().map(|error| error.to_string());
        }
        let _ = writer.wal.prepare();
        Ok(lsn)
    }

    /// Writes the table to a new file, and forgets the log of it.
    pub(super) fn compact(&self) -> Result<(), TableError> {
        self.fold(&mut locked(&self.writer))
    }

    fn fold(&self, writer: &mut Writer) -> Result<(), TableError> {
        let version = self.version();
        if version.lsn == writer.manifest.lsn {
            return Ok(());
        }
        let (store_id, number) = (writer.manifest.store_id, self.next_number(&writer.manifest)?);
        let out = TableFileWriter::create(&*self.disk, &file_name(number), file_id(store_id, number))?;
        let directory = version.content.write(out)?;
        self.disk.sync_dir()?;
        let next = Manifest { store_id, number, lsn: version.lsn, directory };
        next.write(&*self.disk)?;
        let old = std::mem::replace(&mut writer.manifest, next);
        // What is not in memory is read from the file that is live.
        if let Content::Rows(_) | Content::Shared(_) | Content::Runs(_) | Content::Levels(_) =
            &version.content
        {
            let content = load(&*self.disk, &writer.manifest, self.limits)?;
            *self.version.write().unwrap_or_else(PoisonError::into_inner) =
                Arc::new(Version { lsn: writer.manifest.lsn, content });
        }
        writer.wal.rotate()?;
        writer.wal.trim(writer.manifest.lsn)?;
        Ok(self.disk.remove(&old.file_name())?)
    }

    /// A number that no file has had, not even one that a failure left.
    fn next_number(&self, manifest: &Manifest) -> Result<u64, StorageError> {
        let numbers = self.disk.list()?.iter().filter_map(|name| number_of(name)).max();
        Ok(numbers.unwrap_or(0).max(manifest.number) + 1)
    }

    /// Makes a folder that is this table as it is now, by links; its writes are counted anew.
    pub(crate) fn keep_in(&self, draft: &Path) -> Result<(), TableError> {
        let mut writer = locked(&self.writer);
        self.fold(&mut writer)?;
        folder::fill(self.disk.root(), &[writer.manifest.file_name()], draft)?;
        let alone = Manifest { lsn: 0, ..writer.manifest.clone() };
        Ok(folder::replace_in(draft, || alone.write(&OsDisk::new(draft, IoMode::Pread)?))?)
    }

    /// Reads all of the file and checks it.
    pub(crate) fn verify(&self) -> Result<(), TableError> {
        let manifest = locked(&self.writer).manifest.clone();
        Ok(TableFile::open(&*self.disk, &manifest.file_name(), manifest.file_id(), manifest.directory)?
            .verify()?)
    }

    /// The same for a folder that is not open; its log is not looked at.
    pub(crate) fn verify_folder(folder: &Path) -> Result<(), TableError> {
        let disk = OsDisk::new(folder, IoMode::Pread)?;
        let manifest = Manifest::read(&disk)?;
        Ok(TableFile::open(&disk, &manifest.file_name(), manifest.file_id(), manifest.directory)?.verify()?)
    }

    /// Bytes of the file and of the log, and why the log could not be folded.
    pub(super) fn disk_bytes(&self) -> Result<(u64, u64, Option<String>), TableError> {
        let writer = locked(&self.writer);
        let file = self.disk.open(&writer.manifest.file_name())?.len()?;
        Ok((file, writer.wal.bytes(), writer.compact_error.clone()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Only so that the next opening has less to do.
        let _ = writer.wal.seal();
    }
}

/// Refuses values that are none, which no table is opened with.
fn check_finite(table: &dyn Table) -> Result<(), TableError> {
    for segment in table.segments() {
        let first = match segment.dtype {
            Dtype::F32 => {
                let mut values = segment.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
                values.position(|value| !value.is_finite())
            }
            Dtype::F16 => {
                let mut values = segment.bytes.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes));
                values.position(|bits| bits & 0x7C00 == 0x7C00)
            }
            _ => None,
        };
        if let Some(at) = first {
            let found = format!("a value that is no number at place {at}");
            return Err(TableError::bad(format!("segment {}", segment.name), found, "finite values"));
        }
    }
    Ok(())
}

/// Refuses a table that nothing could be asked of.
fn check_rows(rows: u64) -> Result<(), TableError> {
    if rows > 0 { Ok(()) } else { Err(TableError::bad("rows", "none", "one at least")) }
}

fn load(disk: &dyn Disk, manifest: &Manifest, limits: Limits) -> Result<Content, TableError> {
    let file = TableFile::open(disk, &manifest.file_name(), manifest.file_id(), manifest.directory)?;
    Content::load(Arc::new(file), limits.resident)
}

/// Why a write that is in the log is not in the table.
fn not_applied(disk: &dyn Disk, error: &TableError) -> StorageError {
    StorageError::io(
        disk.root(),
        "apply a write that is in the log",
        std::io::Error::other(error.to_string()),
    )
}

/// Removes what a crash left and nothing names.
fn remove_leftovers(disk: &dyn Disk, manifest: &Manifest) -> Result<(), StorageError> {
    for name in disk.list()? {
        let is_draft = is_temp_name(&name) && name.starts_with(TABLE);
        if is_draft || number_of(&name).is_some_and(|number| number != manifest.number) {
            disk.remove(&name)?;
        }
    }
    Ok(())
}
