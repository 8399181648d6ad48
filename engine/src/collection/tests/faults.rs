//! Operations that fail: errors, never a panic, and nothing that was acknowledged is lost.

use nearline_storage::{Disk, Fault, Faults, SimDisk};

use super::twin::{Call, Random, Twin};
use super::{Step, create, one_in, open};
use crate::{Collection, WriteError};

fn script(seed: u64) -> Vec<Step> {
    Step::some(&mut Random(seed), 30)
}

/// What is there after a run in which some calls failed.
struct Outcome {
    twin: Twin,
    /// The moments since the last that must be found after a crash.
    since_synced: Vec<Twin>,
    /// With the call that may or may not be found, if there is one.
    perhaps: Option<Twin>,
}

impl Outcome {
    fn acknowledge(&mut self, call: &Call) {
        self.since_synced.push(self.twin.clone());
        self.twin.apply(call);
        if call.is_synced() {
            self.since_synced.clear();
        }
    }
}

/// Goes through all steps, whatever fails. What readers see is what was acknowledged, at any time.
fn run(collection: &Collection, steps: &[Step], allowed: impl Fn(&WriteError) -> bool) -> Outcome {
    let mut outcome = Outcome { twin: Twin::default(), since_synced: Vec::new(), perhaps: None };
    for step in steps {
        let done = match step {
            Step::Call(call) => call.make(collection).map(|_| outcome.acknowledge(call)),
            other => other.maintain(collection).map(|()| {
                if other.is_synced() {
                    outcome.since_synced.clear();
                }
            }),
        };
        if let Err(error) = done {
            assert!(allowed(&error), "{error:?}");
            if let (Step::Call(call), true, None) = (step, error.is_in_doubt(), &outcome.perhaps) {
                let mut twin = outcome.twin.clone();
                twin.apply(call);
                outcome.perhaps = Some(twin);
            }
        }
    }
    outcome
}

fn operations(steps: &[Step]) -> u64 {
    let disk = create(0);
    let collection = open(&disk).unwrap();
    let before = disk.operations();
    run(&collection, steps, |_| false);
    disk.operations() - before
}

#[test]
fn any_operation_fails() {
    let steps = script(11);
    let operations = operations(&steps);
    assert!(operations > 600, "{operations}");
    // A write that fails may have gone in part. Some operations fail, each in one way, or all in all ways.
    for (first, fault) in (0..).zip([Fault::Io, Fault::NoSpace, Fault::ShortRead, Fault::LostSync]) {
        let every = one_in(12) as u64;
        for at in (1 + first * every / 4..=operations).step_by(every as usize) {
            let disk = create(at);
            let collection = open(&disk).unwrap();
            let at = disk.operations() + at;
            disk.set_faults(Faults { at: vec![(at, fault)], ..Faults::default() });
            let outcome = run(&collection, &steps, |_| true);
            disk.set_faults(Faults::default());
            mend(&disk, collection, &outcome, &format!("{fault:?} at {at}"));
        }
    }
}

/// Checks that the collection goes on once the disk is healed, and what is found when it is opened.
fn mend(disk: &SimDisk, collection: Collection, outcome: &Outcome, when: &str) {
    let mut random = Random(disk.operations());
    outcome.twin.check(&collection, &mut random);
    let flushed = collection.flush().and_then(|()| collection.compact());
    match flushed {
        Ok(()) => collection.verify().unwrap_or_else(|error| panic!("{when}: {error}")),
        Err(error) => assert!(error.is_in_doubt(), "{when}: {error}"),
    }
    drop(collection);
    if random.once_in(2) {
        disk.crash(random.next());
    }
    let collection = open(disk).unwrap_or_else(|error| panic!("{when}: {error}"));
    collection.verify().unwrap_or_else(|error| panic!("{when}: {error}"));
    let mut allowed = outcome.since_synced.iter().chain(&outcome.perhaps).chain([&outcome.twin]);
    assert!(allowed.any(|twin| twin.equals(&collection)), "{when}: other points than were written");
}

#[test]
fn many_operations_fail() {
    for seed in 0..super::asked("NEARLINE_CRASH_SEEDS", 200) {
        let disk = create(seed);
        let collection = open(&disk).unwrap();
        let steps = script(seed);
        disk.set_faults(Faults { per_million: 10_000, ..Faults::default() });
        let outcome = run(&collection, &steps, |_| true);
        disk.set_faults(Faults::default());
        mend(&disk, collection, &outcome, &format!("seed {seed}"));
    }
}

#[test]
fn any_operation_fails_while_it_opens() {
    let steps = script(13);
    let disk = create(1);
    let outcome = run(&open(&disk).unwrap(), &steps, |_| false);
    assert!(open(&disk).unwrap().stats().indexes > 0);
    for fault in [Fault::Io, Fault::NoSpace, Fault::ShortRead, Fault::LostSync] {
        for at in 1..200 {
            let at = disk.operations() + at;
            disk.set_faults(Faults { at: vec![(at, fault)], ..Faults::default() });
            drop(open(&disk));
            disk.set_faults(Faults::default());
            let collection = open(&disk).unwrap();
            collection.verify().unwrap();
            assert!(outcome.twin.equals(&collection), "{fault:?} at {at}");
        }
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    let steps = script(17);
    let refused = std::cell::Cell::new(0);
    for more in (0..60_000).step_by(1_500) {
        let disk = create(more);
        let collection = open(&disk).unwrap();
        let used: usize =
            disk.list().unwrap().iter().filter_map(|name| disk.bytes(name)).map(|b| b.len()).sum();
        disk.set_faults(Faults { space: Some(used as u64 + more), ..Faults::default() });
        let mut outcome = run(&collection, &steps, |error| {
            assert!(error.is_retryable() && !error.is_in_doubt(), "{error:?}");
            refused.set(refused.get() + 1);
            true
        });
        outcome.twin.check(&collection, &mut Random(more));
        disk.set_faults(Faults::default());
        let mut random = Random(more);
        for _ in 0..5 {
            let call = Call::random(&mut random);
            assert_eq!(call.make(&collection).unwrap().points, outcome.twin.apply(&call));
            outcome.since_synced.clear();
        }
        mend(&disk, collection, &outcome, &format!("{more} bytes of space"));
    }
    assert!(refused.get() > 100, "{refused:?}");
}
