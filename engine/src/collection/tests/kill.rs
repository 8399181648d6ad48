//! A process is killed at any moment, while it opens, too; what it was told is written is found.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nearline_storage::{Disk, IoMode, OsDisk};

use super::asked;
use super::ledger::Ledger;
use super::process::{Child, Told, open};
use super::twin::{Random, schema};
use crate::Database;
use crate::manifest::Manifest;

/// Makes an empty collection in a new database.
pub(super) fn create(folder: &Path) {
    let database = Database::builder(folder).open().unwrap();
    database.create_collection("points", schema()).unwrap();
}

/// What kills interrupted, by what was left over.
#[derive(Debug, Default)]
pub(super) struct Interrupted(BTreeMap<&'static str, u64>);

impl Interrupted {
    /// Looks at a collection before it is opened.
    pub(super) fn look(&mut self, folder: &Path) {
        let folder = folder.join("collection.000001");
        let disk = OsDisk::new(&folder, IoMode::Pread).unwrap();
        let manifest = Manifest::read(&disk).unwrap();
        let orphans = super::super::orphans(&disk, &manifest, None).unwrap();
        for (what, start) in [("flush or merge", "points."), ("field index", "field."), ("index", "index.")] {
            let count = orphans.iter().any(|name| name.starts_with(start));
            *self.0.entry(what).or_default() += u64::from(count);
        }
        let drafts = disk.list().unwrap().iter().any(|name| name.ends_with(".tmp"));
        *self.0.entry("draft").or_default() += u64::from(drafts);
        let snapshot = folder.join("snapshots").join(".draft").exists();
        *self.0.entry("snapshot").or_default() += u64::from(snapshot);
        *self.0.entry("with an index").or_default() += u64::from(!manifest.indexes.is_empty());
    }
}

/// Opens a database whose process ended, checks all that was promised, and goes on from there.
pub(super) fn check(
    folder: &Path,
    ledger: &mut Ledger,
    promised: &[u64],
    kept: &Told,
    told: &Told,
    when: &str,
) {
    let (database, collection) = open(folder);
    collection.verify().unwrap_or_else(|error| panic!("{when}: {error}"));
    let there = collection.snapshots().unwrap();
    // What the child was about to drop by then may be gone, told in time or not.
    let is_dropped = |name: &str| !told.kept.iter().any(|kept| kept.name == name);
    for kept in kept.kept.iter().filter(|kept| !is_dropped(&kept.name)) {
        assert!(there.contains(&kept.name), "{when}: snapshot {} is lost", kept.name);
    }
    for (at, name) in there.iter().enumerate().rev() {
        collection.verify_snapshot(name).unwrap_or_else(|error| panic!("{when}: {name}: {error}"));
        match told.kept.iter().find(|kept| kept.name == *name) {
            Some(kept) if at + 1 == there.len() => {
                let copy = database.restore_snapshot("points", name, "copy").unwrap();
                ledger.check_snapshot(&copy, kept, when);
                drop(copy);
                database.drop_collection("copy").unwrap();
            }
            _ => {}
        }
    }
    ledger.settle(&collection, promised, told, when);
    if told.acks.iter().flatten().count().is_multiple_of(3) {
        // Now and then the next process finds everything done, vector indexes, too.
        collection.flush().unwrap();
        collection.wait_idle().unwrap();
        collection.verify().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    create(folder);
    let seed = asked("NEARLINE_KILL_SEED", std::process::id().into());
    let (mut ledger, mut random) = (Ledger::new(), Random(seed));
    let (mut interrupted, mut opened, mut starts) = (Interrupted::default(), 0, 0);
    for cycle in 0..asked("NEARLINE_KILL_CYCLES", 4) {
        let when = format!("cycle {cycle} of seed {seed}");
        let child = Child::start(folder, &format!("k{cycle:06}"), Some(&ledger.done));
        let most = if random.once_in(10) { 1_000_000 } else { 250_000 };
        std::thread::sleep(Duration::from_micros(random.below(most)));
        let told = child.kill();
        assert!(told.errors.is_empty(), "{when}: {:?}", told.errors);
        interrupted.look(folder);
        // Others open what is left and are killed at it.
        for _ in 0..random.below(3) {
            let child = Child::start(folder, "none", None);
            std::thread::sleep(Duration::from_micros(random.below(40_000)));
            let told = child.kill();
            assert!(told.errors.is_empty(), "{when}: {:?}", told.errors);
            (opened, starts) = (opened + u64::from(told.opened), starts + 1);
            interrupted.look(folder);
        }
        let acked =
            |writer: usize| told.acks[writer].last().map_or(ledger.done[writer], |ack| ack.number + 1);
        let promised: Vec<u64> = (0..ledger.done.len()).map(acked).collect();
        check(folder, &mut ledger, &promised, &told, &told, &when);
    }
    println!("{:?} calls; {interrupted:?}; {opened} of {starts} starts done", ledger.done);
    assert!(ledger.done.iter().sum::<u64>() > 10, "{:?}", ledger.done);
}
