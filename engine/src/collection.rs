//! A collection: points that change while they are searched.
//!
//! Writes go to the log, then into memory; readers hold an immutable state and never wait. In the background, points in
//! memory are flushed into segments, and segments merged.

mod calibrate;
mod codes;
mod facet;
mod fields;
mod flush;
mod groups;
mod index;
mod maintain;
mod matrix;
mod metadata;
mod nearest;
mod order;
mod plan;
mod query;
mod read;
mod reader;
mod recover;
mod select;
pub(crate) mod snapshot;
#[cfg(test)]
pub(crate) mod tests;
mod tier;
mod verify;
mod version;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use nearline_index::RowId;
use nearline_storage::{BlockCache, Disk, FolderLock, Group, IoMode, StorageError, Wal};

use crate::error::{OpenError, WriteError};
use crate::live_tier::TierUse;
use crate::manifest::Manifest;
use crate::schema::Schema;
use crate::state::State;

pub use calibrate::CalibrationReport;
pub use facet::{FACET_VALUES_MAX, Facet, FacetHit};
pub use fields::FieldIndex;
pub(crate) use flush::{live_ids, orphans};
pub use groups::{Groups, GroupsAnswer, PointGroup};
pub use maintain::{Job, Stats};
pub use matrix::{MATRIX_SAMPLE_MAX, Matrix, MatrixAnswer};
pub(crate) use metadata::METADATA;
pub use order::OrderBy;
pub use plan::Strategy;
pub use query::{
    EXAMPLES_MAX, Example, Feedback, Fusion, K_MAX, MMR_CANDIDATES_MAX, Mmr, PREFETCH_DEPTH_MAX,
    PREFETCHES_MAX, Query, QueryAnswer, QueryReport, Recommend, RecommendStrategy, ScoredPoint,
};
pub use read::{Page, Scroll};
use reader::Reader;
pub use select::FilterReport;
pub use snapshot::{SnapshotFile, SnapshotInfo};
pub(crate) use snapshot::{link_snapshots, snapshot_draft, snapshot_folder, verify_folder};
pub use version::Version;
pub use write::{Durability, Selector, UpdateMode, WriteReport};

/// An open collection. Clones are handles on the same one; any number of threads may use it.
///
/// ```
/// use nearline::{Database, Filter, Condition, Metric, Payload, Point, Query, Schema};
///
/// # let folder = std::env::temp_dir().join(format!("nearline-doc-collection-{}", std::process::id()));
/// let database = Database::builder(&folder).open()?;
/// let places = database.create_collection("places", Schema::single(2, Metric::L2))?;
/// places.upsert([
///     Point::new(1).vector([0.0, 0.0]).payload(Payload::new().with("city", "Berlin")),
///     Point::new(2).vector([1.0, 0.0]).payload(Payload::new().with("city", "Paris")),
///     Point::new(3).vector([0.0, 3.0]).payload(Payload::new().with("city", "Paris")),
/// ])?;
///
/// let in_paris = Filter::must([Condition::matches("city", "Paris")]);
/// let answer = places.query(&Query::nearest([0.0, 2.0]).k(1).filter(in_paris))?;
/// assert_eq!(answer.hits[0].id, 3.into());
/// # drop(places);
/// # drop(database);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Collection {
    pub(crate) shared: Arc<Handle>,
}

/// What clones of a collection share. The last of them to go stops the maintenance.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) inner: Arc<Inner>,
    maintenance: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

/// How much may be in memory, and how large the pieces of the log are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of points in memory at which they are flushed.
    pub(crate) flush_bytes: usize,
    /// Bytes of points in memory at which writers wait for the flush.
    pub(crate) delta_bytes: usize,
    /// Bytes of calls in the log at which the points in memory are flushed: those of points that are written again and
    /// again, which take no more memory, but more and more of the log.
    pub(crate) log_bytes: u64,
    /// Bytes of keys in memory while field indexes are built, all of them together.
    pub(crate) key_bytes: usize,
    /// Vectors of a name, in segments, from which on they get an index.
    pub(crate) index_rows: u64,
    /// Bytes of memory that building an index may take.
    pub(crate) index_memory: u64,
    /// Bytes of what was added to an index at which it is written anew.
    pub(crate) index_added: u64,
    /// Bytes that an index keeps of what it reads.
    pub(crate) index_cache: u64,
    /// Bytes of memory that codes of vectors may take.
    pub(crate) codes_bytes: u64,
    /// Bytes of a segment of the log.
    pub(crate) log_segment_bytes: u64,
}

/// What a collection is opened for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opening {
    /// Whether a thread flushes and merges.
    pub(crate) background: bool,
    /// How the files of snapshots are read in place.
    pub(crate) io: IoMode,
    /// Whether files that nothing names stay: for somebody who only looks.
    pub(crate) keeps_leftovers: bool,
    /// Whether there may be a live tier.
    pub(crate) tier: TierUse,
    /// The lock of the database: held for as long as somebody has the collection.
    pub(crate) database: Option<Arc<FolderLock>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) name: Mutex<String>,
    pub(crate) schema: Schema,
    pub(crate) disk: Arc<dyn Disk>,
    /// How the files of versions are read.
    io: IoMode,
    cache: Arc<BlockCache>,
    limits: Limits,
    /// What readers take. Held for as long as it takes to clone the pointer.
    state: Mutex<Arc<State>>,
    writer: Mutex<Writer>,
    group: Group<write::Item, Result<WriteReport, WriteError>>,
    /// Whoever holds it may change files: flush, merge, snapshot.
    files: Mutex<Files>,
    /// Whether a thread flushes and merges.
    has_background: bool,
    /// Whether files that nothing names stay.
    keeps_leftovers: bool,
    background: Mutex<Background>,
    /// Told when the background has something to do, or has done something.
    changed: Condvar,
    /// Names of vectors of which there are none up to a row: no index is built for those.
    barren: Mutex<BTreeMap<usize, RowId>>,
    /// Names of vectors whose index cannot take one that it should.
    outgrown: Mutex<BTreeSet<usize>>,
    /// Callers that wait until there is nothing to do.
    waiting: AtomicUsize,
    /// Whether the lists of an index are being written.
    writes_lists: AtomicBool,
    /// When points in memory were last found to be many.
    crowded: Mutex<Option<Instant>>,
    /// Segments by number, and names of their vectors, whose codes could not be made: they are not tried again.
    uncodable: Mutex<BTreeSet<(u64, usize)>>,
    /// When something was written last.
    written: Mutex<Option<std::time::Instant>>,
    /// The live tier, if there may be one.
    keeper: Option<tier::Keeper>,
    /// Snapshots that somebody reads, by their names. Who holds it may open one, or take a name away.
    versions: Mutex<BTreeMap<String, Weak<version::Opened>>>,
    /// Bytes that the vector indexes of all open versions may keep of what they read, those of dropped snapshots among them.
    version_cache: AtomicU64,
    /// Whether the collection was dropped: its files are going away.
    dropped: AtomicBool,
    _lock: FolderLock,
    _database: Option<Arc<FolderLock>>,
}

/// The files of a collection, the log left out.
#[derive(Debug)]
struct Files {
    /// The manifest as it is on disk, but that its next number is above all that were tried.
    manifest: Manifest,
    /// Whether files may be there that it does not name.
    untidy: bool,
    /// Numbers of files of field and vector indexes that are being written and have no name in it yet.
    building: BTreeSet<u64>,
}

impl Files {
    /// A number that no file ever had.
    fn take_number(&mut self) -> u64 {
        self.manifest.next_number += 1;
        self.manifest.next_number - 1
    }
}

/// What writers share.
#[derive(Debug)]
struct Writer {
    wal: Wal,
    next_row: RowId,
}

/// What the maintenance is told, and what it tells.
#[derive(Debug, Default)]
struct Background {
    stopping: bool,
    /// Since the last job ended.
    has_work: bool,
    running: Option<(Job, std::time::Instant)>,
    /// Why the last job failed, until one succeeds.
    failed: Option<WriteError>,
    jobs_done: u64,
    /// The name of vectors whose index is being built, and since when.
    indexing: Option<(usize, std::time::Instant)>,
    /// Why the last index could not be built, and when.
    index_failed: Option<(WriteError, std::time::Instant)>,
    /// When points last came into a segment.
    grown: Option<std::time::Instant>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    #[cfg(test)]
    if let Some(guard) = tests::orders::locked(mutex) {
        return guard;
    }
    // What is behind these locks is replaced as a whole: a thread that panicked left the old or the new.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Collection {
    /// Creates the files of an empty collection.
    pub(crate) fn create(disk: &dyn Disk, store_id: u64, schema: &Schema) -> Result<(), OpenError> {
        let manifest = Manifest {
            store_id,
            schema: schema.clone(),
            next_number: 1,
            next_row: RowId(0),
            flushed_lsn: 0,
            live: 0,
            dead: None,
            segments: Vec::new(),
            fields: Vec::new(),
            indexes: Vec::new(),
            questions: Vec::new(),
        };
        Ok(manifest.write(disk)?)
    }

    /// Its name.
    pub fn name(&self) -> String {
        locked(&self.shared.inner.name).clone()
    }

    /// What vectors its points have.
    pub fn schema(&self) -> &Schema {
        &self.shared.inner.schema
    }
}

impl Inner {
    /// The newest state.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&locked(&self.state))
    }

    fn publish(&self, state: State) {
        *locked(&self.state) = Arc::new(state);
    }

    /// Tells the background that there may be something to do.
    fn wake(&self) {
        locked(&self.background).has_work = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// Marks the collection as gone: nothing is flushed any more.
    pub(crate) fn mark_dropped(&self) {
        self.dropped.store(true, Ordering::Release);
        self.close_tier();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        locked(&self.inner.background).stopping = true;
        self.inner.changed.notify_all();
        for thread in std::mem::take(&mut *locked(&self.maintenance)) {
            // A panic of the maintenance was reported where it happened.
            let _ = thread.join();
        }
        self.inner.close_tier();
        if !self.inner.dropped.load(Ordering::Acquire) {
            // Best effort: without the seal the log only knows less about its last records.
            let _ = locked(&self.inner.writer).wal.seal();
        }
    }
}

/// Whether a failed write leaves the log unusable.
fn is_fatal(error: &StorageError) -> bool {
    error.is_poisoned()
}
