//! A database: a folder of collections, behaviour spaces and embedding tables.
//!
//! Collections lie in folders of generated names; the catalog says what they are called. It is replaced as a whole, so a
//! collection is there or not, whatever crashes.

mod aliases;
mod collection_snapshots;
mod from_index;
mod handles;
mod in_place;
mod leftovers;
mod spaces;
mod storage_snapshot;
mod tables;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nearline_storage::{BlockCache, Disk, FolderLock, IoMode, LockMode, OsDisk, StorageError, WalOptions};

use crate::catalog::{CATALOG, Catalog, Entry};
use crate::collection::{Collection, Handle, Limits, Opening};
use crate::embedding_table::TableMemory;
use crate::error::OpenError;
use crate::folder;
use crate::live_tier::{TierOptions, TierUse};
use crate::schema::Schema;

use handles::Handles;

pub use aliases::AliasChange;
pub use from_index::FromIndex;
pub use storage_snapshot::restore_storage;
pub use verify::{Damage, DatabaseReport};

/// The least memory a database can do with, in bytes.
const MEMORY_MIN: u64 = 16 << 20;
/// What it takes if nothing else is said.
const MEMORY_USUAL: u64 = 256 << 20;
/// The share of the memory that blocks read from files get: one in so many bytes.
const CACHE_SHARE: u64 = 8;
/// The share of the memory at which points in memory are flushed (there may be twice as many until they are), and the bytes at
/// which they are in any case.
const FLUSH_SHARE: u64 = 16;
const FLUSH_BYTES_MAX: u64 = 64 << 20;
/// Vectors from which on they get an index; so many are compared one by one in a few milliseconds.
const INDEX_ROWS: u64 = 20_000;
/// The share of the memory at which what was added to an index in memory is written.
const INDEX_ADDED_SHARE: u64 = 8;
/// The share of the memory that an index may keep of what it reads; those of all versions of a collection together as much.
const INDEX_CACHE_SHARE: u64 = 16;
/// The share of the memory that codes of vectors may take, for filters.
const CODES_SHARE: u64 = 4;
/// The share of the memory that building an index may take, if it can do with that.
const INDEX_MEMORY_SHARE: u64 = 4;
/// The share of the memory that the live tier of a collection gets, and how many collections may have one at a time.
const TIER_SHARE: u64 = 32;
const TIERS: usize = 2;
/// Small segments from which on there is a live tier.
const TIER_SEGMENTS: usize = 24;
/// How long after a failure a live tier is made anew.
const TIER_RETRY: Duration = Duration::from_secs(60);

const NAME_EXPECTED: &str =
    "1 to 255 letters, digits, or any of _ - . and space, the first a letter or digit";

/// Opens a database as wanted.
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("nearline-doc-builder-{}", std::process::id()));
/// let database = nearline::Database::builder(&folder).memory_budget(64 << 20).open()?;
/// assert!(database.collections().is_empty());
/// # drop(database);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DatabaseBuilder {
    path: PathBuf,
    memory_bytes: u64,
    io: IoMode,
    background: bool,
    creates: bool,
    live_tier: bool,
    leaves_tier: bool,
    pub(crate) tier_segments: usize,
    keeps_leftovers: bool,
    /// Vectors from which on they get an index.
    pub(crate) index_rows: u64,
}

impl DatabaseBuilder {
    /// Bytes of memory for points not flushed yet, for what was read from files, and for indexes that are built and kept up;
    /// 256 MiB unless told otherwise.
    ///
    /// What the allocator keeps for itself comes on top, and is much where each thread has an arena of its own: threads of a
    /// database free what others allocated. With glibc set `MALLOC_ARENA_MAX=1`, or give the program an allocator with one
    /// arena that returns memory soon, such as jemalloc with `narenas:1,dirty_decay_ms:200`.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// How the disk is read.
    pub fn io(mut self, io: IoMode) -> Self {
        self.io = io;
        self
    }

    /// Whether threads flush and merge in the background, one a collection. Without them, call
    /// [`Collection::flush`] and [`Collection::compact`].
    pub fn background(mut self, wanted: bool) -> Self {
        self.background = wanted;
        self
    }

    /// Whether the rows of points in many small segments are also kept in one ordered store, so that ids are looked up
    /// faster, as they are unless told otherwise. It is derived and takes a thread of its own now and then.
    pub fn live_tier(mut self, wanted: bool) -> Self {
        self.live_tier = wanted;
        self
    }

    /// Whether an empty database is made where there is none, as it is unless told otherwise.
    pub fn create(mut self, wanted: bool) -> Self {
        self.creates = wanted;
        self
    }

    /// Opens the database, or makes an empty one if there is nothing. The folder of an index that was built offline becomes a
    /// database: the index is its collection `default`, with the ids of the index, or the numbers of rows. Its files stay as they
    /// are, under other names; ids are sorted, which takes about a second for a million. An index without its vectors is refused.
    ///
    /// # Errors
    /// When the memory is too little, the folder is in use, its files cannot be read, or there is none and none is to
    /// be made.
    pub fn open(self) -> Result<Database, OpenError> {
        if self.memory_bytes < MEMORY_MIN {
            return Err(OpenError::Name {
                what: "memory budget",
                found: format!("{} bytes", self.memory_bytes),
                expected: "16 MiB or more",
            });
        }
        let is_index = in_place::is_index(&self.path) && !self.keeps_leftovers;
        let disk = match is_index || Database::is_in(&self.path) {
            true => OsDisk::new(&self.path, self.io)?,
            false if self.creates => OsDisk::create_dir(&self.path, self.io)?,
            false => {
                let name = self.path.display().to_string();
                return Err(OpenError::Missing { what: "database", name });
            }
        };
        let lock = disk.lock(LockMode::Exclusive).map_err(|error| match error {
            StorageError::Locked { dir } => OpenError::InUse { dir },
            error => error.into(),
        })?;
        let catalog = match Catalog::read(&disk) {
            Err(StorageError::NotFound { .. }) if is_index => Catalog::default(),
            // There is one before there is any collection: if there are some, it was lost, and they are not to be.
            Err(StorageError::NotFound { .. }) if folders_in(disk.root())?.is_empty() => {
                let empty = Catalog::default();
                empty.write(&disk)?;
                empty
            }
            read => read?,
        };
        let cache = Arc::new(BlockCache::new((self.memory_bytes / CACHE_SHARE) as usize));
        let inner = Inner {
            table_memory: TableMemory::new(self.memory_bytes / tables::RESIDENT_SHARE),
            options: self,
            disk,
            cache,
            catalog: Mutex::new(catalog),
            open: Handles::default(),
            open_spaces: Handles::default(),
            open_tables: Handles::default(),
            tiers: Arc::new(AtomicUsize::new(TIERS)),
            keeping: Mutex::default(),
            lock: Arc::new(lock),
        };
        if is_index {
            inner.take_index()?;
        }
        if !inner.options.keeps_leftovers {
            in_place::finish(inner.disk.root())?;
            leftovers::remove(inner.disk.root(), &locked(&inner.catalog))?;
        }
        Ok(Database { inner: Arc::new(inner) })
    }
}

/// An open database. Clones are handles on the same one; any number of threads may use it.
/// The folder is free for others once all of them and all open collections are gone.
#[derive(Clone, Debug)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: DatabaseBuilder,
    disk: OsDisk,
    cache: Arc<BlockCache>,
    catalog: Mutex<Catalog>,
    /// Collections that somebody has open, by their folders.
    open: Handles<Handle>,
    /// Behaviour spaces likewise.
    open_spaces: Handles<crate::behavior::Handle>,
    /// Embedding tables likewise.
    open_tables: Handles<crate::embedding_table::Inner>,
    table_memory: Arc<TableMemory>,
    /// How many more collections may have a live tier.
    tiers: Arc<AtomicUsize>,
    /// Held by who makes or drops a snapshot of all there is.
    keeping: Mutex<()>,
    lock: Arc<FolderLock>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Database {
    /// A builder for the database in a folder.
    pub fn builder(path: impl AsRef<Path>) -> DatabaseBuilder {
        let path = path.as_ref().to_owned();
        DatabaseBuilder {
            path,
            memory_bytes: MEMORY_USUAL,
            io: IoMode::Auto,
            background: true,
            creates: true,
            live_tier: true,
            leaves_tier: false,
            tier_segments: TIER_SEGMENTS,
            keeps_leftovers: false,
            index_rows: INDEX_ROWS,
        }
    }

    /// Whether a folder is that of a database, by what is in it. Nothing is opened.
    pub fn is_in(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        path.join(CATALOG).is_file() || folders_in(path).is_ok_and(|folders| !folders.is_empty())
    }

    /// Makes an empty collection.
    ///
    /// # Errors
    /// When the name is taken or cannot be one, the schema is wrong, or the disk fails.
    pub fn create_collection(&self, name: &str, schema: Schema) -> Result<Collection, OpenError> {
        check_name("collection", name)?;
        schema.check()?;
        let inner = &self.inner;
        let mut catalog = locked(&inner.catalog);
        catalog.check_free(name)?;
        inner.add(&mut catalog, name, |number| {
            let path = inner.disk.root().join(folder_name(number));
            folder::make(&path)?;
            let disk = OsDisk::new(&path, inner.options.io)?;
            Collection::create(&disk, store_id(number), &schema)?;
            Ok(folder::sync(inner.disk.root())?)
        })?;
        drop(catalog);
        self.collection(name)
    }

    /// Opens a collection, by its name or an alias.
    ///
    /// # Errors
    /// When there is none, or its files cannot be read.
    pub fn collection(&self, name: &str) -> Result<Collection, OpenError> {
        let inner = &self.inner;
        let (name, number) = {
            let catalog = locked(&inner.catalog);
            let (name, entry) = catalog.resolve(name)?;
            (name.to_owned(), entry.number)
        };
        self.collection_in(number, &name)
    }

    /// Opens the collection of a number.
    fn collection_in(&self, number: u64, name: &str) -> Result<Collection, OpenError> {
        let inner = &self.inner;
        let folder = folder_name(number);
        let open = || {
            let opened = inner.open_folder(&folder, name).map(|collection| collection.shared);
            // It may have been renamed or dropped meanwhile.
            match (locked(&inner.catalog).name_of(number), opened) {
                (Some(now), Ok(shared)) => {
                    now.clone_into(&mut locked(&shared.inner.name));
                    Ok(shared)
                }
                (Some(_), Err(error)) => Err(error),
                (None, opened) => {
                    opened.iter().for_each(|shared| shared.inner.mark_dropped());
                    Err(OpenError::Missing { what: "collection", name: name.to_owned() })
                }
            }
        };
        // A collection that is being closed waits for its maintenance to end.
        let is_in_use = |error: &OpenError| matches!(error, OpenError::InUse { .. });
        Ok(Collection { shared: inner.open.get_or_open(&folder, open, is_in_use)? })
    }

    /// Bytes of memory that the database was given.
    pub fn memory_budget(&self) -> u64 {
        self.inner.options.memory_bytes
    }

    /// The names of all collections, sorted.
    pub fn collections(&self) -> Vec<String> {
        locked(&self.inner.catalog).collections.keys().cloned().collect()
    }

    /// Drops a collection with its aliases and snapshots. Handles on it go on answering, and refuse writes when they
    /// need more files.
    ///
    /// # Errors
    /// When there is none of this name, or the disk fails.
    pub fn drop_collection(&self, name: &str) -> Result<(), OpenError> {
        let inner = &self.inner;
        let mut catalog = locked(&inner.catalog);
        let Some(entry) = catalog.collections.get(name).copied() else {
            return Err(OpenError::Missing { what: "collection", name: name.to_owned() });
        };
        inner.adopt(&mut catalog, |catalog| {
            catalog.collections.remove(name);
            catalog.aliases.retain(|_, target| target != name);
        })?;
        let folder = folder_name(entry.number);
        let forgotten = inner.open.forget(&folder);
        drop(catalog);
        if let Some(shared) = forgotten.get() {
            shared.inner.mark_dropped();
        }
        // What cannot be removed now is, when the database opens.
        let _ = folder::remove(&inner.disk.root().join(&folder));
        Ok(())
    }

    /// Gives a collection another name; aliases follow.
    ///
    /// # Errors
    /// When there is none of this name, the new one is taken or cannot be one, or the disk fails.
    pub fn rename_collection(&self, from: &str, to: &str) -> Result<(), OpenError> {
        check_name("collection", to)?;
        let inner = &self.inner;
        let mut catalog = locked(&inner.catalog);
        let Some(entry) = catalog.collections.get(from).copied() else {
            return Err(OpenError::Missing { what: "collection", name: from.to_owned() });
        };
        catalog.check_free(to)?;
        inner.adopt(&mut catalog, |catalog| {
            catalog.collections.remove(from);
            catalog.collections.insert(to.to_owned(), entry);
            catalog
                .aliases
                .values_mut()
                .filter(|target| *target == from)
                .for_each(|target| to.clone_into(target));
        })?;
        drop(catalog);
        inner.name_handle(entry.number);
        Ok(())
    }
}

impl Inner {
    /// Tells a collection that is open what it is called now.
    fn name_handle(&self, number: u64) {
        let Some(shared) = self.open.get(&folder_name(number)) else { return };
        if let Some(name) = locked(&self.catalog).name_of(number) {
            name.clone_into(&mut locked(&shared.inner.name));
        }
    }

    fn open_folder(&self, folder: &str, name: &str) -> Result<Collection, OpenError> {
        let disk = OsDisk::new(&self.disk.root().join(folder), self.options.io)?;
        let opening = Opening {
            background: self.options.background,
            io: self.options.io,
            keeps_leftovers: self.options.keeps_leftovers,
            tier: self.tier_use(disk.root()),
            database: Some(Arc::clone(&self.lock)),
        };
        Collection::open_on(Arc::new(disk), name, self.limits(), Arc::clone(&self.cache), opening)
    }

    fn tier_use(&self, root: &Path) -> TierUse {
        match (self.options.leaves_tier, self.options.live_tier) {
            (true, _) => TierUse::LeaveAlone,
            (_, false) => TierUse::Remove,
            (_, true) => TierUse::Use(TierOptions {
                root: root.to_owned(),
                memory_bytes: self.options.memory_bytes / TIER_SHARE,
                segments_min: self.options.tier_segments,
                retry: TIER_RETRY,
                slots: Arc::clone(&self.tiers),
            }),
        }
    }

    fn limits(&self) -> Limits {
        let flush_bytes = (self.options.memory_bytes / FLUSH_SHARE).min(FLUSH_BYTES_MAX) as usize;
        let log_segment_bytes = WalOptions::default().segment_bytes;
        let log_bytes = 4 * flush_bytes as u64;
        let (delta_bytes, key_bytes) = (2 * flush_bytes, flush_bytes / 2);
        Limits {
            flush_bytes,
            delta_bytes,
            log_bytes,
            key_bytes,
            index_rows: self.options.index_rows,
            index_memory: self.options.memory_bytes / INDEX_MEMORY_SHARE,
            index_added: self.options.memory_bytes / INDEX_ADDED_SHARE,
            index_cache: self.options.memory_bytes / INDEX_CACHE_SHARE,
            codes_bytes: self.options.memory_bytes / CODES_SHARE,
            log_segment_bytes,
        }
    }

    /// Adds a collection whose folder, by its number, `fill` makes and syncs.
    fn add(
        &self,
        catalog: &mut Catalog,
        name: &str,
        fill: impl FnOnce(u64) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let number = catalog.take_number();
        self.or_remove(number, || {
            fill(number)?;
            self.adopt(catalog, |catalog| {
                catalog.collections.insert(name.to_owned(), Entry { number });
            })
        })
    }

    /// Makes the folder of a new collection; what is there of it when that fails goes at once.
    fn or_remove(&self, number: u64, make: impl FnOnce() -> Result<(), OpenError>) -> Result<(), OpenError> {
        let made = make();
        // A catalog whose last step failed may be the one on disk: then the folder must stay. It is found by the next
        // opening.
        let is_named = |there: Catalog| there.collections.values().any(|entry| entry.number == number);
        if made.is_err() && Catalog::read(&self.disk).is_ok_and(|there| !is_named(there)) {
            // What cannot be removed now is, when the database opens.
            let _ = folder::remove(&self.disk.root().join(folder_name(number)));
        }
        made
    }

    /// Changes the catalog, on disk first.
    fn adopt(&self, catalog: &mut Catalog, change: impl FnOnce(&mut Catalog)) -> Result<(), OpenError> {
        let mut next = catalog.clone();
        change(&mut next);
        folder::replace_in(self.disk.root(), || next.write(&self.disk))?;
        *catalog = next;
        Ok(())
    }
}

/// The names of the folders of collections, behaviour spaces and embedding tables in that of a database.
fn folders_in(root: &Path) -> Result<BTreeSet<String>, StorageError> {
    let failed = |error| StorageError::io(root, "list", error);
    let mut folders = BTreeSet::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        folders.extend(name.to_str().filter(|name| is_folder_name(name)).map(str::to_owned));
    }
    Ok(folders)
}

fn folder_name(number: u64) -> String {
    format!("collection.{number:06}")
}

fn is_folder_name(name: &str) -> bool {
    let number = ["collection.", "behaviors.", "table."].iter().find_map(|prefix| name.strip_prefix(prefix));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Tells the files of a collection from those of all others, of other databases, too.
fn store_id(number: u64) -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let mixed = nanos ^ (u64::from(std::process::id()) << 32) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Refuses names that could not be used everywhere.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), OpenError> {
    let allowed = |c: char| c.is_alphanumeric() || "_-. ".contains(c);
    let right = name.len() <= 255
        && name.chars().next().is_some_and(char::is_alphanumeric)
        && name.chars().all(allowed);
    if right {
        Ok(())
    } else {
        Err(OpenError::Name { what, found: name.to_owned(), expected: NAME_EXPECTED })
    }
}
