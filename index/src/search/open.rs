//! Opening an index: what it is, and what of it is held in RAM.

use std::path::Path;
use std::sync::Arc;

use nearline_storage::{
    BatchFiles, BlockCache, Disk, ExtentFile, FolderLock, IoMode, LockMode, OsDisk, StorageError, Window,
};

use super::residency::{self, Choice, Held};
use super::searcher::Searcher;
use super::stop::Caps;
use crate::calibration::{Calibration, Residency};
use crate::centroids;
use crate::directory::{Directory, PLACE_BYTES};
use crate::error::{IndexError, Result};
use crate::manifest::{FileRole, MANIFEST, Manifest};
use crate::metric::Metric;
use crate::posting::{Codec, ListLayout};
use crate::router::Router;
use crate::rows::RowLayout;
use crate::space::Space;
use crate::vector::ElementType;

/// Reads of one searcher that may be in flight together.
const READS: usize = 256;
/// Bytes of one searcher's reads in flight, if the budget allows.
const WINDOW_BYTES: u64 = 4 << 20;
/// The share of the free memory that reads in flight get; the rest holds lists.
const WINDOW_SHARE: u64 = 32;
/// The share of the memory for whole lists that keeps those that were read instead: 4 % more reads where all queries are
/// asked once, two fifths fewer where some come again and again.
const CACHE_SHARE: u64 = 4;
/// Bytes set aside for the program and its threads' stacks and scratch memory.
const PROGRAM_BYTES: u64 = 6 << 20;
const THREAD_BYTES: u64 = 1 << 20;
/// Bytes a searcher may take for each list there is, when it looks at all of them: nodes and lists ranked (in a
/// vector that doubles as it grows), lists chosen, planes.
const ROUTE_BYTES: u64 = 3 * 8 + 8 + 4;
/// What is wanted of the calibration when residencies are compared.
const TYPICAL: (usize, f32) = (10, 0.95);

/// What of the posting lists shall be held in RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pin {
    /// What makes searches cheapest within the memory allowed; nothing if no memory is named.
    #[default]
    Auto,
    /// Nothing but centroids and directory.
    Nothing,
    /// This, and as much of the hottest lists as the memory allows.
    Residency(Residency),
}

/// How an index is opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// Bytes of memory the process may use; `None` for no limit.
    pub memory_bytes: Option<u64>,
    /// Searchers that will be made, which share what the index itself leaves of the memory.
    pub threads: usize,
    /// How the disk is read.
    pub io: IoMode,
    /// What is held in RAM of the lists.
    pub pin: Pin,
    /// Bytes of the memory that keep lists and rows after they were read, for all searchers together; `None` for what
    /// is not held for good: a quarter, as far as whole lists are held. Without a limit of memory, or with [`Pin::Nothing`], that is nothing.
    pub cache_bytes: Option<u64>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { memory_bytes: None, threads: 1, io: IoMode::Auto, pin: Pin::Auto, cache_bytes: None }
    }
}

/// What an open index holds of its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    /// Which part of them.
    pub residency: Residency,
    /// Lists of which everything that it may hold is held.
    pub lists: u64,
    /// Bytes of all that.
    pub bytes: u64,
}

/// A file of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// The file's name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// What an index is.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// The type of the vectors' elements.
    pub element: ElementType,
    /// Elements of a vector.
    pub dim: usize,
    /// How distances are measured.
    pub metric: Metric,
    /// What postings hold.
    pub codec: Codec,
    /// Vectors.
    pub rows: u64,
    /// Posting lists.
    pub lists: u64,
    /// Nodes of the router.
    pub nodes: u64,
    /// Entries of all lists, copies included.
    pub entries: u64,
    /// Entries of the longest list.
    pub list_entries_max: u64,
    /// Mean entries of a list, weighted by size: Σc²/Σc.
    pub list_entries_weighted: f64,
    /// Copies of a vector at most.
    pub replicas: usize,
    /// The build's seed.
    pub seed: u64,
    /// Indexes that were built into the folder so far.
    pub generation: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Bytes of centroids and directory, which are always held in RAM.
    pub ram_bytes: u64,
    /// What is held of the lists besides.
    pub pinned: Pinned,
    /// Bytes that keep what was read.
    pub cache_bytes: u64,
    /// Whether the index keeps a raw copy of every vector.
    pub has_rows: bool,
    /// Whether point ids come from a file; otherwise they are row numbers.
    pub has_ids: bool,
    /// The files.
    pub files: Vec<FileInfo>,
    /// Settings that reach each recall.
    pub calibration: Calibration,
}

/// An open index. Cheap to clone; searching is done by [`Searcher`]s, one a thread.
#[derive(Clone)]
pub struct Index {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("info", &self.inner.info).finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) info: Info,
    pub(crate) space: Space,
    pub(crate) router: Router,
    pub(crate) directory: Directory,
    pub(crate) postings: ExtentFile,
    pub(crate) rows: Option<RowFile>,
    pub(crate) ids: Option<ExtentFile>,
    pub(crate) layout: ListLayout,
    pub(crate) held: Held,
    pub(crate) cache: Option<BlockCache>,
    pub(crate) caps: Caps,
    pub(crate) window: Window,
    io: String,
    pub(crate) disk: Arc<dyn Disk>,
    /// Postings and rows, open to be read by searchers.
    pub(crate) batch: Arc<dyn BatchFiles>,
    _lock: FolderLock,
}

/// The file of rows, if the index has one.
pub(crate) struct RowFile {
    pub(crate) file: ExtentFile,
    pub(crate) layout: RowLayout,
    /// Rows in it.
    pub(crate) total: u64,
}

impl Index {
    /// Opens the index in the folder `dir`.
    ///
    /// # Errors
    /// When there is none, it is damaged or of another format, a build holds the folder, or the memory allowed
    /// cannot do.
    pub fn open(dir: &Path, options: &OpenOptions) -> Result<Self> {
        if !dir.is_dir() {
            let found = if dir.exists() { "a file, not a folder" } else { "no such folder" }.to_owned();
            return Err(IndexError::NotAnIndex { dir: dir.to_owned(), found });
        }
        let disk = OsDisk::new(dir, options.io)?;
        let io = disk.io_mode().to_string();
        Self::open_with(Arc::new(disk), options, io)
    }

    /// As [`Index::open`], in the folder that `disk` is; `options.io` does not matter.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn open_on(disk: Arc<dyn Disk>, options: &OpenOptions) -> Result<Self> {
        let io = disk.root().display().to_string();
        Self::open_with(disk, options, io)
    }

    fn open_with(disk: Arc<dyn Disk>, options: &OpenOptions, io: String) -> Result<Self> {
        // The manifest first: a folder that is no index gets no lock file.
        Manifest::read(disk.as_ref())?;
        let lock = disk.lock(LockMode::Shared)?;
        let manifest = Manifest::read(disk.as_ref())?;
        let mut space = Space::new(manifest.metric, manifest.shape, manifest.norm_max, manifest.seed);
        let ram_bytes = ram_bytes(&manifest, space.dim());
        let memory = Memory::share(&manifest, ram_bytes, options)?;
        let file = |role| open_file(disk.as_ref(), &manifest, role);
        let postings = file(FileRole::Postings)?;
        let (nodes, lists) = (manifest.nodes as usize, manifest.lists as usize);
        let (mean, router) = centroids::read(&file(FileRole::Centroids)?, space.dim(), nodes, lists)?;
        space.mean = mean;
        let directory = Directory::read(&file(FileRole::Directory)?, lists, manifest.rows, postings.len())?;
        let calibration = Calibration::read(&file(FileRole::Calibration)?, lists)?;
        let ids = manifest.file(FileRole::Ids).map(|_| file(FileRole::Ids)).transpose()?;
        let rows = match manifest.file(FileRole::Rows) {
            None => None,
            Some(_) => Some(RowFile {
                file: file(FileRole::Rows)?,
                layout: RowLayout::new(manifest.shape),
                total: manifest.rows,
            }),
        };
        let layout = manifest.list_layout();
        let hottest = calibration.hottest();
        let ground = Ground {
            layout,
            directory: &directory,
            calibration: &calibration,
            hottest: &hottest,
            free: memory.free,
            has_rows: rows.is_some(),
        };
        let (choice, cache_bytes) = ground.share(options)?;
        let held = Held::load(choice, layout, &directory, &hottest, &postings)?;
        let pinned = Pinned { residency: held.residency, lists: held.lists as u64, bytes: held.bytes() };
        let caps = Caps::new(calibration.dimension);
        let info = info(disk.as_ref(), &manifest, calibration, ram_bytes, (pinned, cache_bytes))?;
        let window = memory.window;
        let mut names = vec![postings.name()];
        names.extend(rows.as_ref().map(|rows| rows.file.name()));
        let batch = disk.open_batch(&names)?;
        let inner = Inner {
            info,
            space,
            router,
            directory,
            postings,
            rows,
            ids,
            layout,
            held,
            cache: (cache_bytes > 0).then(|| BlockCache::new(cache_bytes as usize)),
            caps,
            window,
            io,
            disk,
            batch,
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the index is.
    pub fn info(&self) -> &Info {
        &self.inner.info
    }

    /// How the disk is read, in one line.
    pub fn io(&self) -> &str {
        &self.inner.io
    }

    /// Makes a searcher, for one thread at a time.
    pub fn searcher(&self) -> Searcher {
        Searcher::new(Arc::clone(&self.inner))
    }

    /// Drops the index's files from the system's page cache, to measure from the disk.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn drop_cache(&self) -> Result<()> {
        for file in &self.inner.info.files {
            self.inner.disk.open(&file.name)?.drop_cache()?;
        }
        Ok(())
    }
}

/// Opens a file of the manifest and checks that it is the one that is meant.
pub(crate) fn open_file(disk: &dyn Disk, manifest: &Manifest, role: FileRole) -> Result<ExtentFile> {
    let Some(listed) = manifest.file(role) else {
        let found = format!("a manifest without a file of kind {role:?}");
        return Err(IndexError::NotAnIndex { dir: disk.root().to_owned(), found });
    };
    let file = ExtentFile::open(disk, &listed.name, role.kind())?;
    let wrong = |what, found, expected| {
        let file = file.file().path().to_owned();
        Err(StorageError::Corrupt { file, offset: 0, what, found, expected }.into())
    };
    if file.file_id() != listed.file_id {
        return wrong("identity of the file", file.file_id(), listed.file_id);
    }
    if file.len() != listed.bytes {
        return wrong("length of the file", file.len(), listed.bytes);
    }
    Ok(file)
}

/// Bytes an open index always holds.
fn ram_bytes(manifest: &Manifest, dim: usize) -> u64 {
    let router = Router::bytes(dim, manifest.lists as usize, manifest.nodes as usize);
    // The heat of each list is kept as well.
    (router + manifest.lists as usize * (PLACE_BYTES + 4)) as u64
}

/// The memory that is left beside what must be.
struct Memory {
    /// The reads in flight that each searcher may have.
    window: Window,
    /// Bytes for holding lists.
    free: Option<u64>,
}

impl Memory {
    fn share(manifest: &Manifest, ram_bytes: u64, options: &OpenOptions) -> Result<Self> {
        let Some(allowed) = options.memory_bytes else {
            return Ok(Self { window: Window { reads: READS, bytes: WINDOW_BYTES as usize }, free: None });
        };
        let threads = options.threads.max(1) as u64;
        let least = u64::from(manifest.list_bytes_max).next_power_of_two();
        // Choosing what to hold takes the lists in order of heat.
        let order = manifest.lists * 4;
        let fixed =
            PROGRAM_BYTES + ram_bytes + order + threads * (THREAD_BYTES + manifest.lists * ROUTE_BYTES);
        let needed = fixed + threads * least;
        if needed > allowed {
            return Err(IndexError::Budget {
                what: "centroids and buffers of the index",
                needed,
                allowed,
                fix: "raise --memory, or rebuild with a larger --list-vectors",
            });
        }
        let free = allowed - fixed;
        let bytes = (free / WINDOW_SHARE / threads).clamp(least, WINDOW_BYTES.max(least));
        let free = free.saturating_sub(threads * bytes);
        Ok(Self { window: Window { reads: READS, bytes: bytes as usize }, free: Some(free) })
    }
}

/// What decides which lists can be held.
struct Ground<'a> {
    layout: ListLayout,
    directory: &'a Directory,
    calibration: &'a Calibration,
    /// All lists, the hottest first.
    hottest: &'a [u32],
    /// Bytes there are for them; `None` for no limit.
    free: Option<u64>,
    has_rows: bool,
}

impl Ground<'_> {
    /// Whether such lists can be held so at all.
    fn allows(&self, residency: Residency) -> bool {
        match residency {
            Residency::Lists => true,
            Residency::Signs => self.layout.codec != Codec::Raw && self.has_rows,
            Residency::Codes => self.layout.codec != Codec::Raw,
        }
    }

    /// As much as fits so many bytes.
    fn fit(&self, residency: Residency, free: u64) -> Option<Choice> {
        residency::fit(residency, self.layout, self.directory, self.hottest, free)
    }

    /// What is held, and the bytes that are left for what is read.
    fn share(&self, options: &OpenOptions) -> Result<(Choice, u64)> {
        if let Some(wanted) = options.cache_bytes {
            let free = self.free.map(|free| free.saturating_sub(wanted));
            return Ok((
                choose(options.pin, &Self { free, ..*self })?,
                wanted.min(self.free.unwrap_or(wanted)),
            ));
        }
        let choice = choose(options.pin, self)?;
        let Some(free) = self.free.filter(|_| options.pin != Pin::Nothing) else { return Ok((choice, 0)) };
        let is_part = choice.residency == Residency::Lists && choice.hot < self.directory.places().len();
        let less = if is_part { self.fit(choice.residency, free - free / CACHE_SHARE) } else { None };
        let choice = less.unwrap_or(choice);
        Ok((choice, free - choice.bytes))
    }

    /// What a typical query costs the disk, in microseconds.
    fn price(&self, choice: &Choice) -> f64 {
        let (k, target) = TYPICAL;
        let setting = self.calibration.setting(choice.residency, k, target);
        let Some(setting) = setting else { return f64::INFINITY };
        let share = self.calibration.share_of(self.hottest, choice.hot);
        let price = f64::from(setting.disk_us);
        match choice.residency {
            // Of the reads, those of lists.
            Residency::Lists => {
                let of_lists = setting.lists / (setting.lists + setting.reranked).max(1.0);
                price * (1.0 - share * f64::from(of_lists))
            }
            // What is held with all bits hardly ever needs the disk.
            Residency::Signs => price * (1.0 - 0.9 * share),
            Residency::Codes => price,
        }
    }
}

/// Chooses what to hold of the lists.
fn choose(pin: Pin, ground: &Ground<'_>) -> Result<Choice> {
    let nothing = Choice { residency: Residency::Lists, hot: 0, bytes: 0 };
    let fit = |residency| ground.fit(residency, ground.free.unwrap_or(u64::MAX));
    match pin {
        Pin::Nothing => Ok(nothing),
        Pin::Auto if ground.free.is_none() => Ok(nothing),
        Pin::Auto => {
            let allowed = Residency::ALL.into_iter().filter(|&residency| ground.allows(residency));
            let by_price = |a: &Choice, b: &Choice| ground.price(a).total_cmp(&ground.price(b));
            Ok(allowed.filter_map(fit).min_by(by_price).unwrap_or(nothing))
        }
        Pin::Residency(residency) if !ground.allows(residency) => {
            let expected = "lists, or an index of codes (for signs: one that keeps its rows)";
            Err(IndexError::option("--pin", residency.name(), expected))
        }
        Pin::Residency(residency) => fit(residency).ok_or_else(|| IndexError::Budget {
            what: "what --pin names",
            needed: ground.fit(residency, u64::MAX).map_or(0, |choice| choice.bytes),
            allowed: ground.free.unwrap_or(u64::MAX),
            fix: "raise --memory, or pin less",
        }),
    }
}

fn info(
    disk: &dyn Disk,
    manifest: &Manifest,
    calibration: Calibration,
    ram_bytes: u64,
    (pinned, cache_bytes): (Pinned, u64),
) -> Result<Info> {
    let mut files = vec![FileInfo { name: MANIFEST.to_owned(), bytes: disk.open(MANIFEST)?.len()? }];
    files.extend(manifest.files.iter().map(|file| FileInfo { name: file.name.clone(), bytes: file.bytes }));
    Ok(Info {
        element: manifest.shape.element,
        dim: manifest.shape.dim,
        metric: manifest.metric,
        codec: manifest.codec,
        rows: manifest.rows,
        lists: manifest.lists,
        nodes: manifest.nodes,
        entries: manifest.entries,
        list_entries_max: u64::from(manifest.list_entries_max),
        list_entries_weighted: manifest.list_entries_weighted,
        replicas: manifest.replicas as usize,
        seed: manifest.seed,
        generation: manifest.generation,
        disk_bytes: files.iter().map(|file| file.bytes).sum(),
        ram_bytes,
        pinned,
        cache_bytes,
        has_rows: manifest.file(FileRole::Rows).is_some(),
        has_ids: manifest.file(FileRole::Ids).is_some(),
        files,
        calibration,
    })
}
