//! The smallest traits the rest of the database needs from a disk. Everything above is concrete; tests swap
//! only these.
//!
//! A [`Disk`] is one flat folder. A [`DiskFile`] reads and writes at offsets. A [`BatchReader`] is how searches
//! read: many page-aligned reads in flight at once, in as few system calls as possible.

mod lock;
mod os;
mod part;
mod pread;
mod probe;
mod read_file;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod uring;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

pub use lock::{FolderLock, LockMode};
pub use os::OsDisk;
pub use part::PartDisk;
pub use probe::{IoInUse, IoMode};

use crate::error::{Result, StorageError};

/// The unit of alignment on disk and of direct reads, in bytes.
pub const PAGE: usize = 4096;

/// The largest single read, in bytes: what the kernel moves in one go, with room to spare.
const MAX_READ: usize = 1 << 30;

/// Rounds `bytes` up to whole pages.
pub fn page_up(bytes: usize) -> usize {
    bytes.div_ceil(PAGE) * PAGE
}

/// One flat folder of files. Names hold no separators.
///
/// What survives a crash: bytes of a file once [`DiskFile::sync`] has returned, names once [`Disk::sync_dir`] has.
pub trait Disk: Send + Sync + Debug {
    /// The folder's path, for messages.
    fn root(&self) -> &Path;
    /// Opens an existing file for reading.
    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>>;
    /// Opens an existing file to go on writing it.
    fn open_rw(&self, name: &str) -> Result<Arc<dyn DiskFile>>;
    /// Creates a file that must not exist yet.
    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>>;
    /// The names of all files, sorted.
    fn list(&self) -> Result<Vec<String>>;
    /// Renames a file, replacing `to` if it exists.
    fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// Removes a file. Handles that are open keep working.
    fn remove(&self, name: &str) -> Result<()>;
    /// Makes creations, renames and removals so far survive a crash.
    fn sync_dir(&self) -> Result<()>;
    /// Opens files to read many ranges of them at once. What is read is what the names stand for now, whatever they stand
    /// for later, even if nothing.
    fn open_batch(&self, names: &[&str]) -> Result<Arc<dyn BatchFiles>>;
    /// A reader of such files ([`BatchFiles::reader`]).
    fn batch_reader(&self, names: &[&str], window: Window) -> Result<Box<dyn BatchReader>> {
        Ok(self.open_batch(names)?.reader(window))
    }
    /// Takes the folder's lock, or fails with `Locked` at once. It is released when the value is dropped.
    fn lock(&self, mode: LockMode) -> Result<FolderLock>;
}

/// An open file.
pub trait DiskFile: Send + Sync + Debug {
    /// The file's path, for messages.
    fn path(&self) -> &Path;
    /// The length in bytes.
    fn len(&self) -> Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `buf` from `offset`, or fails; a file that ends too early is `UnexpectedEnd`.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;
    /// Writes all of `bytes` at `offset`, growing the file if needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Cuts the file, or grows it with zeros.
    fn set_len(&self, len: u64) -> Result<()>;
    /// Makes everything written so far survive a crash. After a failure nothing may be assumed of the bytes
    /// written since the last success: do not retry, give the file up.
    fn sync(&self) -> Result<()>;
    /// Tells the system that a range will be read soon, so that several are fetched side by side. Best effort.
    fn will_need(&self, _range: ReadRange) {}
    /// Asks the system to forget its cached copy of the file, after a [`DiskFile::sync`]. Best effort.
    fn drop_cache(&self) -> Result<()>;
}

/// How much a [`BatchReader`] may have in flight. A single read larger than `bytes` is allowed when it is alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Reads in flight at most; at least one is always allowed.
    pub reads: usize,
    /// Bytes of buffers in flight at most.
    pub bytes: usize,
}

/// A run of whole pages of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadRange {
    /// Where it starts: a multiple of [`PAGE`].
    pub offset: u64,
    /// How long it is: a multiple of [`PAGE`], not zero.
    pub bytes: usize,
}

impl ReadRange {
    /// Where it ends, and the next one may start.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes as u64)
    }
}

/// Files that are open to be read in batches.
pub trait BatchFiles: Send + Sync + Debug {
    /// A reader of them, for one thread at a time. It is worth keeping: it has buffers, and a queue of the system's.
    fn reader(&self, window: Window) -> Box<dyn BatchReader>;
}

/// Reads many ranges of a few files at once.
///
/// Put reads in with [`BatchReader::submit`] while [`BatchReader::has_room`], take them out, in any order, with
/// [`BatchReader::wait`], or with [`BatchReader::poll`] while there is something else to do. After an error the
/// other reads are still in flight: go on waiting, or [`BatchReader::reset`].
pub trait BatchReader: Send {
    /// Whether a read of `range` may be submitted now, to any of the files. With nothing in flight, always.
    fn has_room(&self, range: ReadRange) -> bool;
    /// Queues a read of the file with the index `file` among the names the reader was made for. It starts at the
    /// next [`BatchReader::poll`] or, unless others are done already, [`BatchReader::wait`]. `tag` comes back with
    /// the bytes.
    ///
    /// # Errors
    /// If there is no room or no such file, or the range is not made of whole pages.
    fn submit(&mut self, tag: u64, file: usize, range: ReadRange) -> Result<()>;
    /// Starts what is queued and hands out one completed read, or `None` when nothing is in flight. The bytes are
    /// valid until the next call.
    ///
    /// # Errors
    /// If one read failed or the file ends before its range does. That read is over, the others go on.
    fn wait(&mut self) -> Result<Option<Completed<'_>>>;
    /// As [`BatchReader::wait`] without waiting: `None` when nothing is done yet. What is queued starts in any
    /// case, to be read while the caller computes.
    ///
    /// # Errors
    /// As [`BatchReader::wait`].
    fn poll(&mut self) -> Result<Option<Completed<'_>>>;
    /// Reads submitted and not yet handed out, by their bytes or by an error.
    fn in_flight(&self) -> usize;
    /// Waits for whatever is in flight and throws it away: after an error, or when a query stops early.
    fn reset(&mut self) -> Result<()>;
    /// Totals since the reader was made.
    fn counters(&self) -> ReadCounters;
}

/// A read that is done.
#[derive(Debug)]
pub struct Completed<'a> {
    /// What [`BatchReader::submit`] was given.
    pub tag: u64,
    /// The bytes of the range, all of them.
    pub bytes: &'a [u8],
}

/// What a [`BatchReader`] has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounters {
    /// Reads started.
    pub reads: u64,
    /// Bytes of these reads.
    pub bytes: u64,
    /// Times the kernel was entered (io_uring), or batches handed to the pool of threads.
    pub enters: u64,
}

/// The file that a read is for, among those of a reader on `folder`.
fn pick_file<'a, F>(files: &'a [F], file: usize, folder: &Path) -> Result<&'a F> {
    files.get(file).ok_or_else(|| {
        let why = format!("there is no file {file} among the {} of the reader", files.len());
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, why);
        StorageError::io(folder, "submit a read", source)
    })
}

/// Refuses a read that is not made of whole pages, or for which there is no room.
fn refuse_submit(file: &Path, range: ReadRange, has_room: bool) -> Result<()> {
    let whole = range.offset.is_multiple_of(PAGE as u64)
        && range.bytes.is_multiple_of(PAGE)
        && (1..=MAX_READ).contains(&range.bytes);
    let why = match (whole, has_room) {
        (true, true) => return Ok(()),
        (false, _) => "a read is made of whole pages, at most 1 GiB of them",
        (true, false) => "the window is full; wait for a read first",
    };
    let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, why);
    Err(StorageError::io_at(file, "submit a read", range.offset, source))
}
