//! A disk in memory that lies, fails and loses power, for tests. Everything follows from seeds.
//!
//! What a [`SimDisk::crash`] leaves, of what was not synced:
//! - each write is kept (40 %), dropped (30 %) or torn (30 %): per sector of 512 bytes kept, dropped or garbage;
//! - the length of a file is any it had since its last sync, whatever happened to the bytes;
//! - creations, renames and removals survive as a prefix or as any subset, and replay by name.
//!
//! A sync that fails leaves the pages clean: reads go on showing the new bytes, later syncs do not write them.

mod file;
mod image;
mod random;
mod reader;
mod state;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use file::SimFile;
use reader::SimReader;
use state::{NameOp, State, Step};

use crate::atomic::check_name;
use crate::disk::{BatchFiles, BatchReader, Disk, DiskFile, FolderLock, LockMode, Window};
use crate::error::{Result, StorageError};

/// What may go wrong at one operation. A fault that does not fit the operation turns into `Io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO. A write may have gone in part.
    Io,
    /// ENOSPC, likewise.
    NoSpace,
    /// A read comes back short, as if the file ended there.
    ShortRead,
    /// A read succeeds with one bit flipped.
    FlipBit,
    /// A sync fails, and the bytes it should have written count as clean from then on.
    LostSync,
}

/// The faults of a [`SimDisk`].
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Faults at operations by number, as counted by [`SimDisk::operations`]: the first operation is 1.
    pub at: Vec<(u64, Fault)>,
    /// How many of a million operations fail with EIO, by seed.
    pub per_million: u32,
    /// How many bytes all files together may have; beyond it there is no space.
    pub space: Option<u64>,
}

/// A folder in memory. Clones are handles on the same folder.
#[derive(Clone, Debug)]
pub struct SimDisk {
    root: PathBuf,
    shared: Shared,
}

type Shared = Arc<Mutex<State>>;

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    // A test that panicked elsewhere has failed anyway.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimDisk {
    /// An empty folder. The seed decides whatever is left to chance before a crash.
    pub fn new(seed: u64) -> Self {
        Self { root: PathBuf::from("/sim"), shared: Arc::new(Mutex::new(State::new(seed))) }
    }

    /// Cuts the power and restores it: what was not synced survives as `seed` decides, open handles are dead, locks
    /// are free, and a pending [`SimDisk::crash_at`] is over.
    pub fn crash(&self, seed: u64) {
        lock(&self.shared).crash(seed);
    }

    /// Makes the operation with this number, and all later ones, fail, until [`SimDisk::crash`]. The operation
    /// itself may or may not still take effect.
    pub fn crash_at(&self, operation: u64) {
        lock(&self.shared).power_off_at = Some(operation);
    }

    /// How many operations there have been: whatever a trait method of the disk, a file or a reader does counts.
    pub fn operations(&self) -> u64 {
        lock(&self.shared).operations
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.shared).faults = faults;
    }

    /// How many reads were started together, for each time a batch reader started any.
    pub fn batches(&self) -> Vec<usize> {
        lock(&self.shared).batches.clone()
    }

    /// Forgets the batches so far.
    pub fn clear_batches(&self) {
        lock(&self.shared).batches.clear();
    }

    /// The bytes of a file as reads see them, without counting as an operation.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = lock(&self.shared);
        Some(state.image(*state.names.get(name)?)?.bytes().to_vec())
    }

    /// Flips one bit of a file for good, as a rotting disk would. `bit` counts from the first bit of byte 0.
    pub fn flip_bit(&self, name: &str, bit: u64) {
        let mut state = lock(&self.shared);
        if let Some(&file) = state.names.get(name) {
            state.flip_bit(file, bit);
        }
    }

    /// Runs one operation on the folder, with whatever is to go wrong at it.
    fn operate<T>(
        &self,
        op: &'static str,
        name: &str,
        act: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        let path = self.root.join(name);
        let mut state = lock(&self.shared);
        match state.step() {
            Step::Go | Step::Faulty(Fault::FlipBit) => act(&mut state),
            Step::Faulty(fault) => Err(fault.error(&path, op)),
            Step::Dying { acts } => {
                let done = acts.then(|| act(&mut state));
                // Dropping a lock that was just taken locks the state again.
                drop(state);
                done.transpose()?;
                Err(Fault::Io.error(&path, op))
            }
            Step::Off => Err(Fault::Io.error(&path, op)),
        }
    }

    fn open_as(&self, op: &'static str, name: &str) -> Result<SimFile> {
        check_name(self, name)?;
        self.operate(op, name, |state| {
            let path = self.root.join(name);
            match state.names.get(name) {
                Some(&file) => Ok(SimFile::handle(path, &self.shared, file, state.epoch)),
                None => Err(StorageError::NotFound { file: path }),
            }
        })
    }
}

impl Fault {
    fn error(self, path: &Path, op: &'static str) -> StorageError {
        let errno = if self == Self::NoSpace { 28 } else { 5 };
        StorageError::io(path, op, std::io::Error::from_raw_os_error(errno))
    }
}

impl Disk for SimDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.open_as("open", name)?))
    }

    fn open_rw(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.open_as("open", name)?))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        check_name(self, name)?;
        self.operate("create", name, |state| {
            let path = self.root.join(name);
            if state.names.contains_key(name) {
                return Err(StorageError::Exists { file: path });
            }
            let file: Arc<dyn DiskFile> =
                Arc::new(SimFile::handle(path, &self.shared, state.create(name), state.epoch));
            Ok(file)
        })
    }

    fn list(&self) -> Result<Vec<String>> {
        self.operate("list", "", |state| Ok(state.names.keys().cloned().collect()))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        check_name(self, from)?;
        check_name(self, to)?;
        self.operate("rename", from, |state| {
            if !state.names.contains_key(from) {
                return Err(StorageError::NotFound { file: self.root.join(from) });
            }
            state.name_op(NameOp::Rename { from: from.to_owned(), to: to.to_owned() });
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> Result<()> {
        check_name(self, name)?;
        self.operate("remove", name, |state| {
            if !state.names.contains_key(name) {
                return Err(StorageError::NotFound { file: self.root.join(name) });
            }
            state.name_op(NameOp::Remove { name: name.to_owned() });
            Ok(())
        })
    }

    fn sync_dir(&self) -> Result<()> {
        self.operate("sync the folder", "", |state| {
            state.sync_names();
            Ok(())
        })
    }

    fn open_batch(&self, names: &[&str]) -> Result<Arc<dyn BatchFiles>> {
        let files: Result<Vec<_>> = names.iter().map(|name| self.open_as("open", name)).collect();
        Ok(Arc::new(SimBatch { root: self.root.clone(), files: files?, shared: Arc::clone(&self.shared) }))
    }

    fn lock(&self, mode: LockMode) -> Result<FolderLock> {
        self.operate("lock", "", |state| {
            let free = state.lock_holders == 0 || (mode == LockMode::Shared && !state.lock_exclusive);
            if !free {
                return Err(StorageError::Locked { dir: self.root.clone() });
            }
            state.lock_holders += 1;
            state.lock_exclusive = mode == LockMode::Exclusive;
            Ok(FolderLock::holding(Held { shared: Arc::clone(&self.shared), epoch: state.epoch }))
        })
    }
}

/// Simulated files that are open to be read in batches.
#[derive(Debug)]
struct SimBatch {
    root: PathBuf,
    files: Vec<SimFile>,
    shared: Shared,
}

impl BatchFiles for SimBatch {
    fn reader(&self, window: Window) -> Box<dyn BatchReader> {
        Box::new(SimReader::new(self.root.clone(), self.files.clone(), &self.shared, window))
    }
}

/// One holder of the folder's lock.
struct Held {
    shared: Shared,
    epoch: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        // A crash has freed the locks of its epoch already.
        if state.epoch == self.epoch {
            state.lock_holders -= 1;
        }
    }
}
