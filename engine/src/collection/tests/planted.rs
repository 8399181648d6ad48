//! Mistakes planted below a collection, to show that the tests of crashes would notice them: each is a sync that does not
//! happen. (Those of the log itself are in the storage crate.)

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearline_storage::{Disk, SimDisk, is_temp_name};

use super::Step;
use super::crash::days;
use super::ruled::{Act, Rule, RuledDisk};
use crate::manifest::MANIFEST;

/// A mistake about durability that somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A manifest names files that begin so, though their bytes are not durable.
    Unsynced(&'static str),
    /// A manifest takes the place of the old one before its own bytes are durable.
    ManifestUnsynced,
    /// A manifest is written before the names of its files are durable.
    NamesAfterManifest,
    /// The log is cut, and old files removed, before the new manifest is durable.
    CutBeforeManifest,
    /// Points are merged away though the log of what killed them is not durable.
    MergeBeforeDeaths,
    /// An index leaves points out though the log of what killed them is not durable.
    IndexBeforeDeaths,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    /// Whether a merge, or the build of an index, is under way.
    static STEP: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Tells what is done from now on.
pub(super) fn doing(step: &Step) {
    STEP.set(match step {
        Step::Merge { .. } => Some(Bug::MergeBeforeDeaths),
        Step::Index { .. } => Some(Bug::IndexBeforeDeaths),
        _ => None,
    });
}

/// Whether a step that should make the log durable does not.
pub(super) fn is_skipped_in(step: &Step) -> bool {
    doing(step);
    PLANTED.get().is_some() && PLANTED.get() == STEP.get()
}

/// The disk as collections get it: as it is, or careless.
pub(super) fn disk_of(disk: &SimDisk) -> Arc<dyn Disk> {
    match PLANTED.get() {
        None => Arc::new(disk.clone()),
        Some(bug) => Arc::new(RuledDisk::new(disk, Careless { bug, renamed: AtomicBool::new(false) })),
    }
}

/// Skips some syncs.
#[derive(Debug)]
struct Careless {
    bug: Bug,
    /// Whether the manifest was the last to be renamed, and the folder was not synced since.
    renamed: AtomicBool,
}

impl Rule for Careless {
    fn skips(&self, act: Act<'_>) -> bool {
        match (self.bug, act) {
            (Bug::Unsynced(start), Act::Sync(name)) => name.starts_with(start),
            (Bug::ManifestUnsynced, Act::Sync(name)) => is_temp_name(name) && name.starts_with(MANIFEST),
            (Bug::MergeBeforeDeaths | Bug::IndexBeforeDeaths, Act::Sync(name)) => {
                name.starts_with("wal.") && STEP.get() == Some(self.bug)
            }
            (_, Act::Rename { to }) => {
                self.renamed.store(to == MANIFEST, Ordering::Relaxed);
                false
            }
            (_, Act::SyncFolder) => {
                let after_manifest = self.renamed.swap(false, Ordering::Relaxed);
                match self.bug {
                    Bug::NamesAfterManifest => !after_manifest,
                    Bug::CutBeforeManifest => after_manifest,
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

/// Runs days with a mistake in them until it is noticed.
fn caught(bug: Bug, tries: u64) {
    PLANTED.set(Some(bug));
    let found = (0..tries).find_map(|seed| days(seed).err().map(|wrong| (seed, wrong)));
    PLANTED.set(None);
    let Some((seed, wrong)) = found else { panic!("{bug:?} got through {tries} seeds") };
    println!("{bug:?}: seed {seed}: {wrong}");
    assert_eq!(days(seed), Ok(()), "without {bug:?}");
}

#[test]
fn every_planted_mistake_is_caught() {
    for start in ["points.", "ids.", "vectors.", "dead.", "field.", "index.", "questions."] {
        caught(Bug::Unsynced(start), 200);
    }
    caught(Bug::ManifestUnsynced, 200);
    caught(Bug::NamesAfterManifest, 200);
    caught(Bug::CutBeforeManifest, 200);
    caught(Bug::MergeBeforeDeaths, 1000);
    caught(Bug::IndexBeforeDeaths, 1000);
}
