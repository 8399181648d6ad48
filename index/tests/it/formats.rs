//! Indexes of earlier formats: refused in one line that says what to do, and replaced when that is asked for.
//!
//! `fixtures/v1` is one of 200 vectors of 8 bytes as the last program of that format built it: `nearline build --metric l2
//! --list-vectors 40`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearline_index::*;
use nearline_storage::{IoMode, OsDisk, StorageError};

use crate::common::*;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// A copy to work on.
fn copied() -> tempfile::TempDir {
    let dir = folder();
    files_in(&fixture())
        .iter()
        .for_each(|(name, bytes)| std::fs::write(dir.path().join(name), bytes).unwrap());
    dir
}

fn refused<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.expect_err("an index of an earlier format");
    let version = matches!(error, IndexError::Storage(StorageError::Version { found: 1, supported: 2, .. }));
    let message = error.to_string();
    assert!(version && !message.contains('\n'), "{message}");
    for text in ["MANIFEST", "format version 1", "reads version 2", "anew", "nearline build --force"] {
        assert!(message.contains(text), "no {text:?} in {message}");
    }
}

#[test]
fn an_index_of_the_first_format_is_refused_and_left_alone() {
    let dir = copied();
    let before = files_in(dir.path());
    assert!(before.len() >= 5, "{:?}", before.keys());
    refused(Index::open(dir.path(), &OpenOptions::default()));
    refused(verify(dir.path(), IoMode::Pread, &mut |_, _| {}));
    let (rows, _) = Rows::generate(ElementType::U8, 200, 8, 0);
    for resume in [false, true] {
        let chosen = BuildOptions { resume, ..options(Metric::L2) };
        let refused =
            build(dir.path(), &rows.source(), &chosen, &Silent).expect_err("a folder that is taken");
        assert!(matches!(refused, IndexError::Occupied { .. }) && refused.to_string().contains("--force"));
    }
    assert_eq!(different(&files_in(dir.path()), &before), [""; 0]);
}

/// Stops a build when it has come to a stage.
struct StopAt(Stage, std::sync::atomic::AtomicBool);

impl Progress for StopAt {
    fn stage(&self, stage: Stage, _: u64, _: u64) {
        self.1.fetch_or(stage == self.0, std::sync::atomic::Ordering::Relaxed);
    }
    fn advance(&self, _: u64) {}
    fn cancelled(&self) -> bool {
        self.1.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn force_replaces_an_index_of_the_first_format_when_the_new_one_is_ready() {
    let (rows, _) = Rows::generate(ElementType::U8, 200, 8, 0);
    let dir = copied();
    let before = files_in(dir.path());
    let force = BuildOptions { force: true, ..options(Metric::L2) };
    let disk = Arc::new(OsDisk::new(dir.path(), IoMode::Pread).unwrap());
    let stop = StopAt(Stage::Encode, false.into());
    let stopped = build_on(disk, &rows.source(), &force, &stop);
    assert!(matches!(stopped, Err(IndexError::Interrupted)), "{stopped:?}");
    let between = files_in(dir.path());
    assert!(before.iter().all(|(name, bytes)| between.get(name) == Some(bytes)), "the old index is gone");
    let resume = BuildOptions { resume: true, ..options(Metric::L2) };
    build(dir.path(), &rows.source(), &resume, &Silent).unwrap();
    let after = files_in(dir.path());
    assert!(after.keys().all(|name| name == "MANIFEST" || !before.contains_key(name)), "{:?}", after.keys());
    let index = Index::open(dir.path(), &OpenOptions::default()).unwrap();
    assert_eq!(index.info().generation, 2);
    let found = search_all(&mut index.searcher(), rows.row(7), 10);
    assert_eq!(found, brute_force(Metric::L2, &rows, rows.row(7), 10));
    assert_eq!(verify(dir.path(), IoMode::Pread, &mut |_, _| {}).unwrap().problems, []);
}
