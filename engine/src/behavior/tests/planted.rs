//! Mistakes planted below a space, to show that the tests of crashes would notice them: each is a sync that does not happen.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearline_index::sdim::Normalize;
use nearline_storage::{Disk, SimDisk, is_temp_name};

use super::super::manifest::SPACE;
use super::crash::{run, script};
use super::twin::Twin;
use super::{Random, create, open};
use crate::collection::tests::ruled::{Act, Rule, RuledDisk};

/// A mistake about durability that somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// A manifest names files that begin so, though their bytes are not durable.
    Unsynced(&'static str),
    /// A manifest takes the place of the old one before its own bytes are durable.
    ManifestUnsynced,
    /// A manifest is written before the names of its files are durable.
    NamesAfterManifest,
    /// The log is cut before the new manifest is durable.
    CutBeforeManifest,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// The disk as spaces get it: as it is, or careless.
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
            (Bug::ManifestUnsynced, Act::Sync(name)) => is_temp_name(name) && name.starts_with(SPACE),
            (_, Act::Rename { to }) => {
                self.renamed.store(to == SPACE, Ordering::Relaxed);
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

/// Writes, loses the power, and looks at what is left.
fn day(seed: u64) -> Result<(), String> {
    let disk = create(seed, Normalize::L2);
    let mut random = Random(seed);
    disk.crash_at(disk.operations() + 1 + random.below(900));
    let script = script(seed, 60);
    let moments =
        open(&disk).map_or_else(|_| vec![Twin::default()], |space| run(&space, &script, &Twin::default()));
    disk.crash(random.next());
    let space = open(&disk).map_err(|error| error.to_string())?;
    space.inner.verify().map_err(|error| error.to_string())?;
    let is_there = moments.iter().any(|twin| twin.holds(&space));
    if is_there { Ok(()) } else { Err("no moment that was acknowledged".to_owned()) }
}

#[test]
fn every_planted_mistake_is_caught() {
    for bug in [
        Bug::Unsynced("histories."),
        Bug::Unsynced("items."),
        Bug::Unsynced("tables."),
        Bug::ManifestUnsynced,
        Bug::NamesAfterManifest,
        Bug::CutBeforeManifest,
    ] {
        PLANTED.set(Some(bug));
        let found = (0..400).find_map(|seed| day(seed).err().map(|wrong| (seed, wrong)));
        PLANTED.set(None);
        let Some((seed, wrong)) = found else { panic!("{bug:?} got through") };
        println!("{bug:?}: seed {seed}: {wrong}");
        assert_eq!(day(seed), Ok(()), "without {bug:?}");
    }
}
