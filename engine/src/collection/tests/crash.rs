//! The power goes at any operation, and again while the collection recovers.

use nearline_storage::SimDisk;

use super::twin::{Call, Random, Twin};
use super::{Step, asked, check_names, create, disk_of, files_of, one_in, open, planted};
use crate::{Collection, Point, Scroll};

/// What must not happen, in words.
pub(super) type Wrong = String;

/// What must be found after a crash: the points after one of the calls from the last that was acknowledged on.
struct History {
    /// The points after each call, whether it was acknowledged or not.
    after: Vec<Twin>,
    /// How many calls must be found.
    acknowledged: usize,
}

impl History {
    fn new(twin: Twin) -> Self {
        Self { after: vec![twin], acknowledged: 0 }
    }

    /// Goes through steps until something fails.
    fn run(&mut self, collection: &Collection, steps: &[Step]) {
        for step in steps {
            planted::doing(step);
            let done = match step {
                Step::Call(call) => {
                    let mut twin = self.after.last().unwrap().clone();
                    twin.apply(call);
                    self.after.push(twin);
                    call.make(collection).map(|_| {
                        if call.is_synced() {
                            self.acknowledged = self.after.len() - 1;
                        }
                    })
                }
                other => other.maintain(collection).map(|()| {
                    if other.is_synced() && !planted::is_skipped_in(other) {
                        self.acknowledged = self.after.len() - 1;
                    }
                }),
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// Finds which of the moments a collection is.
    fn find(&self, collection: &Collection) -> Result<Twin, Wrong> {
        collection.verify().map_err(|error| error.to_string())?;
        let points = scrolled(collection)?;
        let found = self.after[self.acknowledged..].iter().find(|twin| twin.holds(&points));
        found.cloned().ok_or_else(|| format!("no moment from call {} on", self.acknowledged))
    }
}

fn scrolled(collection: &Collection) -> Result<Vec<Point>, Wrong> {
    let all = collection.scroll(&Scroll::new().limit(1 << 16)).map_err(|error| error.to_string())?;
    Ok(all.points)
}

fn steps(random: &mut Random, count: u64) -> Vec<Step> {
    (0..count).map(|_| Step::random(random)).collect()
}

/// Opens, the power going now and then.
fn reopen(disk: &SimDisk, random: &mut Random, cuts: u64) -> Result<Collection, Wrong> {
    for _ in 0..cuts {
        disk.crash_at(disk.operations() + 1 + random.below(60));
        drop(open(disk));
        disk.crash(random.next());
    }
    open(disk).map_err(|error| error.to_string())
}

#[test]
fn whatever_was_acknowledged_survives_the_process() {
    let disk = create(0);
    let collection = open(&disk).unwrap();
    let mut twin = Twin::default();
    for seed in 0..100 {
        let call = Call::random(&mut Random(seed));
        call.make(&collection).unwrap();
        twin.apply(&call);
        // What is in files when the process ends is in files.
        assert!(twin.equals(&open(&disk_of(&files_of(&disk))).unwrap()), "{call:?}");
    }
}

#[test]
fn the_power_goes_at_every_operation() {
    let script = Step::some(&mut Random(7), 40);
    let operations = {
        let disk = create(0);
        let before = disk.operations();
        History::new(Twin::default()).run(&open(&disk).unwrap(), &script);
        disk.operations() - before
    };
    assert!(operations > 600, "{operations}");
    for at in (1..=operations + 5).step_by(one_in(5)) {
        let disk = create(at);
        let mut random = Random(at);
        disk.crash_at(disk.operations() + at);
        let mut history = History::new(Twin::default());
        if let Ok(collection) = open(&disk) {
            history.run(&collection, &script);
        }
        disk.crash(random.next());
        let collection = reopen(&disk, &mut random, at % 3).unwrap();
        let twin = history.find(&collection).unwrap();
        twin.is_never_contradicted(&collection);
        check_names(&disk);
    }
}

/// Some days in the life of a collection, each ended by a power cut, and so are some of the starts after it.
pub(super) fn days(seed: u64) -> Result<(), Wrong> {
    let mut random = Random(seed ^ 0xc4a5);
    let disk = create(seed);
    let mut twin = Twin::default();
    for _ in 0..1 + random.below(4) {
        let mut history = History::new(twin);
        let collection = open(&disk).map_err(|error| error.to_string())?;
        let count = 3 + random.below(30);
        let script = steps(&mut random, count);
        // Building a vector index takes hundreds.
        let within = if random.once_in(3) { 1_500 } else { 300 };
        disk.crash_at(disk.operations() + 1 + random.below(within));
        history.run(&collection, &script);
        if random.once_in(2) {
            drop(collection);
        }
        disk.crash(random.next());
        let cuts = random.below(3);
        let collection = reopen(&disk, &mut random, cuts)?;
        twin = history.find(&collection)?;
        check_names(&disk);
        if random.once_in(2) {
            let flushed = collection.flush().map_err(|error| error.to_string());
            flushed.and_then(|()| collection.verify().map_err(|error| error.to_string()))?;
        }
    }
    Ok(())
}

#[test]
fn the_power_goes_again_and_again() {
    for seed in 0..asked("NEARLINE_CRASH_SEEDS", 300) {
        days(seed).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
}
