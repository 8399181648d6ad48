//! The build from start to end: what is in the folder, which stages are left, and each in turn.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nearline_storage::{Checksum, Disk, FileHeader, LockMode, OsDisk, StorageError, is_temp_name};

use super::partition::Keys;
use super::plan::{Plan, plan, plan_with};
use super::state::{STATE, State};
use super::{BuildOptions, BuildReport, CALIBRATION_ROWS, Progress, Stage};
use super::{assign, bits, calibrate, cluster, copy, encode, publish, sample, sort};
use crate::assign::CopyRule;
use crate::error::{IndexError, Result};
use crate::manifest::{FileRole, LOCK, MANIFEST, Manifest};
use crate::posting::{Codec, ListLayout};
use crate::random::Random;
use crate::space::Space;
use crate::vector::{Shape, VectorSource};

/// Builds an index of `source` in the folder `dir`.
///
/// The folder must be new or empty, or hold what `options` allow to resume or replace. Until the very end it does
/// not open as an index (or still opens as the old one).
///
/// # Errors
/// When the input, an option or the folder does not fit, a budget is too small, the disk fails, or the user
/// interrupts: then `resume` goes on where it stopped, with the same bytes in the end.
pub fn build(
    dir: &Path,
    source: &dyn VectorSource,
    options: &BuildOptions<'_>,
    progress: &dyn Progress,
) -> Result<BuildReport> {
    // Before the folder is made: a build that cannot be leaves none.
    plan(source, options)?;
    let disk = OsDisk::create_dir(dir, options.io)?;
    build_on(Arc::new(disk), source, options, progress)
}

/// As [`build`], in the folder that `disk` is.
///
/// # Errors
/// As [`build`].
pub fn build_on(
    disk: Arc<dyn Disk>,
    source: &dyn VectorSource,
    options: &BuildOptions<'_>,
    progress: &dyn Progress,
) -> Result<BuildReport> {
    let plan = plan(source, options)?;
    let _lock = disk.lock(LockMode::Exclusive)?;
    let identity = identity(source, options)?;
    let state = begin(disk.as_ref(), options, identity, fingerprint(source, options, identity))?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.worker_threads())
        .build()
        .map_err(|error| IndexError::option("--threads", options.threads, error.to_string()))?;
    let shape = Shape { element: source.element(), dim: source.dim() };
    let report = BuildReport { plan: plan.clone(), rows: plan.rows, ..BuildReport::default() };
    let resolved = state.codec.checked_sub(1).and_then(Codec::from_code);
    let rows_kept = plan.query_rows;
    let mut build =
        Build { disk, source, options: *options, progress, plan, rows_kept, shape, state, report };
    if let Some(codec) = resolved {
        build.settle(codec)?;
    }
    if let Err(error) = pool.install(|| build.run()) {
        // What went wrong first is the error to tell; what could not be removed now is when the folder is used next.
        let _ = build.give_up_on(&error);
        return Err(error);
    }
    Ok(build.report)
}

/// A build under way.
pub(crate) struct Build<'a> {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) source: &'a dyn VectorSource,
    pub(crate) options: BuildOptions<'a>,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) plan: Plan,
    /// Rows that are kept to stand in for queries: as the plan had it before the codec was known.
    pub(crate) rows_kept: u64,
    pub(crate) shape: Shape,
    pub(crate) state: State,
    pub(crate) report: BuildReport,
}

impl Build<'_> {
    fn run(&mut self) -> Result<()> {
        for stage in Stage::ALL {
            if self.state.is_done(stage) {
                continue;
            }
            let start = Instant::now();
            match stage {
                Stage::Sample => {
                    sample::run(self)?;
                    self.choose_codec()?;
                }
                Stage::Cluster => cluster::run(self)?,
                Stage::Assign => assign::run(self)?,
                Stage::Sort => sort::run(self)?,
                Stage::Copy => copy::run(self)?,
                Stage::Encode => encode::run(self)?,
                Stage::Calibrate => calibrate::run(self)?,
                Stage::Publish => publish::run(self)?,
            }
            if stage != Stage::Publish {
                self.finish_stage(stage)?;
            }
            self.report.seconds.push((stage.name(), start.elapsed().as_secs_f64()));
        }
        Ok(())
    }

    /// Settles what lists hold, now that there is a sample of the data.
    fn choose_codec(&mut self) -> Result<()> {
        let codec = match self.options.codec {
            Some(codec) => codec,
            None => bits::choose(self)?,
        };
        self.state.codec = codec.code() + 1;
        self.settle(codec)
    }

    fn settle(&mut self, codec: Codec) -> Result<()> {
        self.plan = plan_with(self.source, &self.options, codec)?;
        self.report.plan = self.plan.clone();
        Ok(())
    }

    /// The routing space, its mean still zero.
    pub(crate) fn space(&self) -> Space {
        Space::new(self.options.metric, self.shape, self.state.norm_max, self.options.seed)
    }

    /// Whether the index keeps the file of rows.
    pub(crate) fn keeps_rows(&self) -> bool {
        self.reranks() && !self.options.rows_outside
    }

    /// Whether searches compare candidates with the vectors themselves.
    pub(crate) fn reranks(&self) -> bool {
        self.options.rerank && self.plan.codec != Codec::Raw
    }

    /// The layout of posting lists in a routing space of so many dimensions.
    pub(crate) fn list_layout(&self, dim: usize) -> ListLayout {
        ListLayout { codec: self.plan.codec, shape: self.shape, dim, by_slot: false }
    }

    /// After input that cannot do, nothing is left to resume: the folder is as it was before.
    fn give_up_on(&self, error: &IndexError) -> Result<()> {
        let hopeless = matches!(error, IndexError::BadInput { .. } | IndexError::Source(_));
        if !hopeless || self.state.is_done(Stage::Sample) {
            return Ok(());
        }
        self.clear(&self.name(FileRole::Ids))?;
        for name in self.disk.list()?.iter().filter(|name| is_temporary(name)) {
            self.disk.remove(name)?;
        }
        Ok(self.disk.sync_dir()?)
    }

    /// Remembers that a stage is done, once its files and their names survive a crash.
    fn finish_stage(&mut self, stage: Stage) -> Result<()> {
        self.note_temp_bytes()?;
        self.disk.sync_dir()?;
        self.state.done = stage as u8 + 1;
        self.state.save(self.disk.as_ref())
    }

    /// Asks whether to go on.
    pub(crate) fn check_cancelled(&self) -> Result<()> {
        if self.progress.cancelled() { Err(IndexError::Interrupted) } else { Ok(()) }
    }

    /// The name of a file of the generation that is being built.
    pub(crate) fn name(&self, role: FileRole) -> String {
        role.name(self.state.generation)
    }

    /// The header of such a file. Its identity follows from the build, so that the same build gives the same bytes.
    pub(crate) fn header(&self, role: FileRole) -> FileHeader {
        FileHeader { kind: role.kind(), file_id: self.file_id(role as u64) }
    }

    /// An identity for the `which`-th file of this build.
    pub(crate) fn file_id(&self, which: u64) -> u64 {
        Random::new(self.state.identity, self.state.generation).at(which)
    }

    /// Removes what an interrupted stage may have left under a name.
    pub(crate) fn clear(&self, name: &str) -> Result<()> {
        if self.disk.list()?.iter().any(|found| found == name) {
            self.disk.remove(name)?;
        }
        Ok(())
    }

    /// Keeps the largest number of bytes of temporary files.
    pub(crate) fn note_temp_bytes(&mut self) -> Result<()> {
        let mut bytes = 0;
        for name in self.disk.list()?.iter().filter(|name| is_temporary(name)) {
            bytes += self.disk.open(name)?.len()?;
        }
        self.state.temp_bytes = self.state.temp_bytes.max(bytes);
        Ok(())
    }
}

/// Looks at what is in the folder and decides where to start.
fn begin(disk: &dyn Disk, options: &BuildOptions<'_>, identity: u64, fingerprint: u64) -> Result<State> {
    for name in disk.list()?.iter().filter(|name| is_torn_record(name)) {
        disk.remove(name)?;
    }
    let names = disk.list()?;
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let occupied = |found, fix| Err(IndexError::Occupied { dir: disk.root().to_owned(), found, fix });
    if !has(MANIFEST) && !has(STATE) && names.iter().any(|name| !is_ours(name)) {
        return occupied("files that are no index", "choose a new folder");
    }
    if has(STATE) && options.resume {
        let state = State::load(disk)?;
        if state.fingerprint != fingerprint {
            return occupied(
                "a build with other input or options",
                "give the same ones to --resume, or start anew with --force",
            );
        }
        return Ok(state);
    }
    if has(STATE) && !options.force {
        return occupied("an unfinished build", "go on with --resume, or start anew with --force");
    }
    if has(MANIFEST) && options.resume && !options.force {
        return occupied("a finished index", "there is nothing to resume; replace it with --force");
    }
    if has(MANIFEST) && !options.force {
        return occupied("an index", "replace it with --force, or choose a new folder");
    }
    start(disk, &names, identity, fingerprint)
}

/// Starts a new generation. The old one stays as it is until the new one is published.
fn start(disk: &dyn Disk, names: &[String], identity: u64, fingerprint: u64) -> Result<State> {
    let (old, kept) = old_index(disk, names)?;
    let generation = old.saturating_add(1);
    let state = State { identity, fingerprint, generation, ..State::default() };
    // The new state first: without it, what is removed below could be taken for a build to resume.
    state.save(disk)?;
    for name in names {
        if !kept.contains(name) && is_ours(name) && ![STATE, MANIFEST, LOCK].contains(&name.as_str()) {
            disk.remove(name)?;
        }
    }
    disk.sync_dir()?;
    Ok(state)
}

/// Whether a file is what a crash left of replacing one of ours. Other files may end the same way.
fn is_torn_record(name: &str) -> bool {
    let ours = |record: &str| name.strip_prefix(record).is_some_and(|rest| rest.starts_with('.'));
    is_temp_name(name) && (ours(MANIFEST) || ours(STATE))
}

/// The latest generation in the folder, and the files of the index to be replaced, if there is one. A damaged one is
/// replaced all the same; of one in an older format everything is kept until then.
fn old_index(disk: &dyn Disk, names: &[String]) -> Result<(u64, Vec<String>)> {
    let latest = names.iter().filter_map(|name| FileRole::generation_of(name)).max().unwrap_or(0);
    if !names.iter().any(|name| name == MANIFEST) {
        return Ok((latest, Vec::new()));
    }
    match Manifest::read(disk) {
        Ok(old) => Ok((old.generation, old.files.into_iter().map(|file| file.name).collect())),
        Err(IndexError::Storage(StorageError::Corrupt { .. } | StorageError::UnexpectedEnd { .. })) => {
            Ok((latest, Vec::new()))
        }
        Err(IndexError::Storage(StorageError::Version { found, supported, .. })) if found < supported => {
            Ok((latest, names.iter().filter(|name| FileRole::is_name(name)).cloned().collect()))
        }
        Err(error) => Err(error),
    }
}

/// Whether a file belongs to an index or its build.
fn is_ours(name: &str) -> bool {
    [LOCK, MANIFEST].contains(&name) || is_temporary(name) || FileRole::is_name(name)
}

/// Whether a file is one that a build makes on its way. Other files may begin the same way.
pub(crate) fn is_temporary(name: &str) -> bool {
    let files =
        [STATE, sample::SAMPLE, sample::QUERIES, cluster::TREE, sort::LISTS, sort::ROWS, encode::PLACES];
    files.contains(&name) || Keys::is_name(name)
}

/// A hash of what decides the index's bytes: shape, options, and the first rows.
fn identity(source: &dyn VectorSource, options: &BuildOptions<'_>) -> Result<u64> {
    const ROWS: usize = 16;
    let mut rows = vec![0; ROWS * source.dim() * source.element().bytes()];
    let got =
        source.rows(0).and_then(|mut stream| stream.next_rows(&mut rows)).map_err(IndexError::Source)?;
    rows.truncate(got * source.dim() * source.element().bytes());
    let queries = options.calibration_queries.map_or(0, |queries| queries.count() + 1);
    let soar = match options.copy_rule {
        CopyRule::Rng => 0,
        CopyRule::Soar { lambda } => 1 + u64::from(lambda.to_bits()),
    };
    let words = [
        source.count(),
        source.dim() as u64,
        u64::from(source.element().code()),
        u64::from(options.metric.code()),
        options.codec.map_or(0, |codec| 1 + u64::from(codec.code())),
        u64::from(options.rerank)
            | u64::from(options.rows_outside) << 1
            | (options.calibration_rows ^ CALIBRATION_ROWS) << 2,
        soar,
        options.memory_bytes,
        options.seed,
        options.replicas.map_or(0, |n| 1 + n as u64),
        options.list_vectors.map_or(0, |n| 1 + n as u64),
        u64::from(options.ids.is_some()),
        queries,
        u64::from(Checksum::of(&rows).value()),
    ];
    Ok(words.iter().fold(0, |hash, &word| Random::new(hash, 0).at(word)))
}

/// A hash of what a resumed build must find unchanged: the identity, and the versions of all input.
fn fingerprint(source: &dyn VectorSource, options: &BuildOptions<'_>, identity: u64) -> u64 {
    let ids = options.ids.map_or(0, |ids| ids.version());
    let queries = options.calibration_queries.map_or(0, VectorSource::version);
    // Another version of the program may plan otherwise.
    let program = u64::from(Checksum::of(env!("CARGO_PKG_VERSION").as_bytes()).value());
    let words = [source.version(), ids, queries, program];
    words.iter().fold(identity, |hash, &word| Random::new(hash, 0).at(word))
}
