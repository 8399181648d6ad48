//! Builds that are interrupted, refused, or find the folder taken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use nearline_index::*;
use nearline_storage::{Disk, LockMode, SimDisk, StorageError};

use crate::common::*;

/// Stops when asked for the n-th time; counts how often it was asked.
struct StopAt {
    asked: AtomicU64,
    at: u64,
}

impl StopAt {
    fn new(at: u64) -> Self {
        Self { asked: AtomicU64::new(0), at }
    }
}

impl Progress for StopAt {
    fn stage(&self, _: Stage, _: u64, _: u64) {}
    fn advance(&self, _: u64) {}
    fn cancelled(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) + 1 >= self.at
    }
}

fn small() -> Rows {
    static SMALL: LazyLock<Rows> = LazyLock::new(|| Rows::generate(ElementType::F32, 2_000, 12, 0).0);
    SMALL.clone()
}

/// Options under which the input comes in many blocks and partitions.
fn tight() -> BuildOptions<'static> {
    BuildOptions { memory_bytes: 5 << 20, list_vectors: Some(8), threads: 1, ..options(Metric::L2) }
}

fn build_with(
    disk: &SimDisk,
    rows: &Rows,
    options: &BuildOptions<'_>,
    progress: &dyn Progress,
) -> Result<()> {
    build_on(Arc::new(disk.clone()), &rows.source(), options, progress).map(drop)
}

#[test]
fn a_build_stopped_anywhere_resumes_to_the_same_bytes() {
    let rows = small();
    let right = SimDisk::new(1);
    let count = StopAt::new(u64::MAX);
    build_with(&right, &rows, &tight(), &count).unwrap();
    let right = files(&right);
    let asked = count.asked.load(Ordering::Relaxed);
    assert!(asked > 20, "asked {asked} times only");
    let resume = BuildOptions { resume: true, ..tight() };
    for at in (1..=asked).step_by(asked.div_ceil(60) as usize) {
        let disk = SimDisk::new(at);
        let stopped = build_with(&disk, &rows, &tight(), &StopAt::new(at));
        assert!(matches!(stopped, Err(IndexError::Interrupted)), "{at}: {stopped:?}");
        let opened = open_sim(&disk);
        assert!(matches!(opened, Err(IndexError::NotAnIndex { .. })), "{at}: opens");
        build_with(&disk, &rows, &resume, &Silent).unwrap();
        assert_eq!(different(&files(&disk), &right), [""; 0], "stopped at {at} of {asked}");
    }
}

#[test]
fn a_build_stopped_again_and_again_ends_with_the_same_bytes() {
    let rows = small();
    let right = build_own(&rows, &tight());
    let disk = SimDisk::new(1);
    let resume = BuildOptions { resume: true, ..tight() };
    let mut runs = 0;
    for at in 1.. {
        runs += 1;
        match build_with(&disk, &rows, &resume, &StopAt::new(at)) {
            Ok(()) => break,
            Err(error) => assert!(matches!(error, IndexError::Interrupted), "{error}"),
        }
    }
    assert!(runs > 10, "{runs} runs");
    assert_eq!(different(&files(&disk), &files(&right)), [""; 0]);
}

#[test]
fn a_build_that_begins_with_resume_is_a_build() {
    let rows = small();
    let resumed = build_own(&rows, &BuildOptions { resume: true, ..tight() });
    assert_eq!(different(&files(&resumed), &files(&build_own(&rows, &tight()))), [""; 0]);
}

/// An unfinished build of [`small`] with [`tight`].
fn unfinished() -> SimDisk {
    let disk = SimDisk::new(1);
    let stopped = build_with(&disk, &small(), &tight(), &StopAt::new(15));
    assert!(matches!(stopped, Err(IndexError::Interrupted)));
    disk
}

fn refused(result: Result<()>, texts: &[&str]) {
    let error = result.expect_err("a build that must be refused");
    assert!(matches!(error, IndexError::Occupied { .. }), "{error:?}");
    let message = error.to_string();
    assert!(texts.iter().all(|text| message.contains(text)), "{message}");
    assert!(!message.contains('\n'));
}

#[test]
fn resuming_with_other_options_is_refused_and_changes_nothing() {
    let (rows, disk) = (small(), unfinished());
    let before = files(&disk);
    let resume = BuildOptions { resume: true, ..tight() };
    let (other_rows, _) = Rows::generate(ElementType::F32, 2_001, 12, 0);
    let mut changed = rows.clone();
    changed.bytes[1] ^= 1;
    let texts = ["/sim", "a build with other input or options", "--resume", "--force"];
    for other in [
        BuildOptions { metric: Metric::Cosine, ..resume },
        BuildOptions { memory_bytes: 6 << 20, ..resume },
        BuildOptions { seed: 9, ..resume },
        BuildOptions { codec: Some(Codec::Raw), ..resume },
        BuildOptions { codec: Some(Codec::Rabitq { bits: 3 }), ..resume },
        BuildOptions { rerank: false, ..resume },
        BuildOptions { copy_rule: CopyRule::Rng, ..resume },
        BuildOptions { copy_rule: CopyRule::Soar { lambda: 2.0 }, ..resume },
        BuildOptions { replicas: Some(3), ..resume },
        BuildOptions { list_vectors: Some(9), ..resume },
        BuildOptions { calibration_queries: Some(&rows.source()), ..resume },
    ] {
        refused(build_with(&disk, &rows, &other, &Silent), &texts);
    }
    refused(build_with(&disk, &other_rows, &resume, &Silent), &texts);
    refused(build_with(&disk, &changed, &resume, &Silent), &texts);
    assert_eq!(different(&files(&disk), &before), [""; 0]);
    // Neither threads nor the way of reading decide bytes.
    build_with(&disk, &rows, &BuildOptions { threads: 2, ..resume }, &Silent).unwrap();
    assert_eq!(different(&files(&disk), &files(&build_own(&rows, &tight()))), [""; 0]);
}

#[test]
fn what_is_in_the_folder_is_not_overwritten_unasked() {
    let (rows, disk) = (small(), unfinished());
    refused(build_with(&disk, &rows, &tight(), &Silent), &["an unfinished build", "--resume", "--force"]);
    let finished = build_own(&rows, &tight());
    let before = files(&finished);
    refused(build_with(&finished, &rows, &tight(), &Silent), &["an index", "--force"]);
    let resume = BuildOptions { resume: true, ..tight() };
    refused(build_with(&finished, &rows, &resume, &Silent), &["nothing to resume"]);
    assert_eq!(different(&files(&finished), &before), [""; 0]);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    for force in [false, true] {
        for resume in [false, true] {
            let disk = SimDisk::new(1);
            for name in ["letters.txt", "notes.tmp", "postings", "postings.1", "MANIFEST.txt", "build.log"] {
                disk.create(name).unwrap().write_at(0, b"precious").unwrap();
            }
            let before = files(&disk);
            let chosen = BuildOptions { force, resume, ..tight() };
            refused(
                build_with(&disk, &small(), &chosen, &Silent),
                &["files that are no index", "new folder"],
            );
            assert_eq!(different(&files(&disk), &before), [""; 0]);
        }
    }
}

#[test]
fn other_files_beside_an_index_survive_its_replacement() {
    let rows = small();
    let disk = build_own(&rows, &tight());
    disk.create("notes.tmp").unwrap().write_at(0, b"precious").unwrap();
    disk.create("README").unwrap().write_at(0, b"precious").unwrap();
    build_with(&disk, &rows, &BuildOptions { force: true, ..tight() }, &Silent).unwrap();
    assert_eq!(disk.bytes("notes.tmp").as_deref(), Some(&b"precious"[..]));
    assert_eq!(disk.bytes("README").as_deref(), Some(&b"precious"[..]));
    assert_eq!(open_sim(&disk).unwrap().info().generation, 2);
}

#[test]
fn force_starts_anew_whatever_an_unfinished_build_left() {
    let rows = small();
    let other = BuildOptions { seed: 5, ..tight() };
    let disk = unfinished();
    build_with(&disk, &rows, &BuildOptions { force: true, ..other }, &Silent).unwrap();
    // The same files as without what went before, but for the generation, which is never used twice.
    let stems = |disk: &SimDisk| -> Vec<String> {
        files(disk).into_keys().map(|name| name.split('.').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(stems(&disk), stems(&build_own(&rows, &other)));
    let index = open_sim(&disk).unwrap();
    assert_eq!(index.info().seed, 5);
    let found = search_all(&mut index.searcher(), rows.row(7), 2_000);
    assert_eq!(found, brute_force(Metric::L2, &rows, rows.row(7), 2_000));
}

fn locked<T>(result: Result<T>) -> bool {
    matches!(result, Err(IndexError::Storage(StorageError::Locked { .. })))
}

/// Tries to get into the folder at each stage of a build.
struct Intruder {
    disk: SimDisk,
    tried: AtomicU64,
}

impl Progress for Intruder {
    fn stage(&self, _: Stage, _: u64, _: u64) {
        self.tried.fetch_add(1, Ordering::Relaxed);
        let force = BuildOptions { force: true, ..tight() };
        assert!(locked(build_with(&self.disk, &small(), &force, &Silent)), "two builds in one folder");
        // Without a manifest it is no index yet; with one, the folder is locked.
        let opened = open_sim(&self.disk);
        assert!(
            matches!(opened, Err(IndexError::NotAnIndex { .. })) || locked(opened),
            "opened during a build"
        );
    }
    fn advance(&self, _: u64) {}
}

#[test]
fn a_build_has_the_folder_for_itself() {
    let disk = SimDisk::new(1);
    for force in [false, true] {
        let intruder = Intruder { disk: disk.clone(), tried: AtomicU64::new(0) };
        build_with(&disk, &small(), &BuildOptions { force, ..tight() }, &intruder).unwrap();
        assert_eq!(intruder.tried.into_inner(), Stage::ALL.len() as u64);
    }
}

#[test]
fn an_open_index_is_not_replaced_but_opened_again() {
    let rows = small();
    let disk = build_own(&rows, &tight());
    let index = open_sim(&disk).unwrap();
    let again = open_sim(&disk).unwrap();
    let force = BuildOptions { force: true, ..tight() };
    assert!(locked(build_with(&disk, &rows, &force, &Silent)));
    drop(index);
    assert!(locked(build_with(&disk, &rows, &force, &Silent)));
    // A searcher keeps the index.
    let searcher = again.searcher();
    drop(again);
    assert!(locked(build_with(&disk, &rows, &force, &Silent)));
    drop(searcher);
    build_with(&disk, &rows, &force, &Silent).unwrap();
}

#[test]
fn the_lock_holds_on_the_real_disk_too() {
    let (rows, dir) = (small(), folder());
    build(dir.path(), &rows.source(), &tight(), &Silent).unwrap();
    let index = Index::open(dir.path(), &OpenOptions::default()).unwrap();
    let force = BuildOptions { force: true, ..tight() };
    assert!(locked(build(dir.path(), &rows.source(), &force, &Silent)));
    drop(index);
    let disk = nearline_storage::OsDisk::new(dir.path(), nearline_storage::IoMode::Pread).unwrap();
    let _lock = disk.lock(LockMode::Exclusive).unwrap();
    assert!(locked(Index::open(dir.path(), &OpenOptions::default())));
    assert!(locked(verify(dir.path(), nearline_storage::IoMode::Pread, &mut |_, _| {})));
}

#[test]
fn progress_tells_every_stage_in_order_and_never_more_than_its_total() {
    #[derive(Default)]
    struct Log(std::sync::Mutex<Vec<(Stage, u64, u64)>>);
    impl Progress for Log {
        fn stage(&self, stage: Stage, done: u64, total: u64) {
            self.0.lock().unwrap().push((stage, done, total));
        }
        fn advance(&self, units: u64) {
            self.0.lock().unwrap().last_mut().unwrap().1 += units;
        }
    }
    let log = Log::default();
    build_with(&SimDisk::new(1), &small(), &tight(), &log).unwrap();
    let log = log.0.into_inner().unwrap();
    assert_eq!(log.iter().map(|(stage, ..)| *stage).collect::<Vec<_>>(), Stage::ALL);
    assert!(log.iter().all(|(_, done, total)| done == total), "{log:?}");
}
