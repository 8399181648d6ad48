//! The live tier: it says what the tables say, whatever happens to its folder, or nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use nearline_index::RowId;
use nearline_storage::{BlockCache, SimDisk};
use proptest::prelude::*;

use super::super::{Collection, Opening};
use super::twin::{Random, Twin};
use super::{LIMITS, STORE, Step, asked, create};
use crate::live_tier::store::tests::PANIC;
use crate::live_tier::{
    Covered, LiveTier, LiveTierState, Step as TierStep, TierOptions, TierUse, verify_left,
};
use crate::state::State;
use crate::{Database, Metric, OpenError, Point, PointId, Schema};

const MEMORY: u64 = 1 << 20;

fn options(root: &Path) -> TierOptions {
    TierOptions {
        root: root.to_owned(),
        memory_bytes: MEMORY,
        segments_min: 4,
        retry: Duration::ZERO,
        slots: Arc::new(AtomicUsize::new(1)),
    }
}

/// Opens a collection on a disk in memory, with a live tier in a real folder.
fn open_with(disk: &SimDisk, tier: TierUse) -> Result<Collection, OpenError> {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let opening = Opening { tier, ..Opening::default() };
    Collection::open_on(Arc::new(disk.clone()), "points", LIMITS, cache, opening)
}

fn open(disk: &SimDisk, root: &Path) -> Collection {
    open_with(disk, TierUse::Use(options(root))).unwrap()
}

/// Waits until nobody is at work, and says what the tier does then.
fn settle(collection: &Collection) -> LiveTierState {
    loop {
        match collection.stats().live_tier {
            LiveTierState::Building => std::thread::sleep(Duration::from_millis(1)),
            state => return state,
        }
    }
}

/// The ids that calls by chance are about, and some that nobody ever writes.
fn ids() -> impl Iterator<Item = PointId> {
    let uuids = (0..7).map(|byte| PointId::Uuid(crate::Uuid([byte; 16])));
    (0..19).flat_map(|near| [PointId::from(near), PointId::from(near << 50)]).chain(uuids)
}

/// Looks up every id with the tier and without. How many the tier answered alone.
fn agree(state: &State, extra: impl Iterator<Item = PointId>) -> usize {
    let by_tables = State { tier: None, ..state.clone() };
    let mut answered = 0;
    for id in ids().chain(extra) {
        assert_eq!(state.find(id).unwrap(), by_tables.find(id).unwrap(), "{id}");
        answered += usize::from(
            state.tier.as_ref().is_some_and(|tier| tier.find(id) != crate::live_tier::Found::Unknown),
        );
    }
    answered
}

fn points(ids: std::ops::Range<u64>) -> impl Iterator<Item = Point> {
    ids.map(|id| Point::new(id).vector([id as f32, 1.0]))
}

/// A collection of some segments, each with points of its own and points written again, and a few deleted.
fn sample() -> SimDisk {
    let disk = create(3);
    let collection = open_with(&disk, TierUse::LeaveAlone).unwrap();
    for at in 0..6 {
        collection.upsert(points(at * 100..at * 100 + 150)).unwrap();
        collection.flush().unwrap();
    }
    collection.delete(vec![1u64, 120, 555]).unwrap();
    collection.flush().unwrap();
    disk
}

/// The ids of [`sample`].
fn sampled() -> impl Iterator<Item = PointId> {
    (0..700).map(PointId::from)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, path) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if entry.is_dir() { copy(&entry, &path) } else { fs::copy(&entry, &path).map(drop).unwrap() }
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_in(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Whatever is done: the twin's points, and the same rows as by the tables.
fn run(seed: u64, steps: usize) -> usize {
    let (folder, mut random) = (tempfile::tempdir().unwrap(), Random(seed));
    let disk = create(seed);
    let open = || {
        let tier = TierOptions { segments_min: 2, ..options(folder.path()) };
        open_with(&disk, TierUse::Use(tier)).unwrap()
    };
    let (mut collection, mut twin, mut answered) = (open(), Twin::default(), 0);
    for _ in 0..steps {
        let step = Step::random(&mut random);
        match &step {
            Step::Call(call) => {
                call.make(&collection).unwrap();
                twin.apply(call);
            }
            // To have several segments most of the time.
            _ if !random.once_in(4) => collection.flush().unwrap(),
            other => other.maintain(&collection).unwrap(),
        }
        let before = collection.shared.inner.state();
        if random.once_in(2) {
            settle(&collection);
        }
        answered += agree(&collection.shared.inner.state(), std::iter::empty());
        agree(&before, std::iter::empty());
        assert!(twin.equals(&collection), "seed {seed} after {step:?}");
        if random.once_in(8) {
            collection.verify().unwrap();
            drop(collection);
            collection = open();
        }
    }
    answered
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(asked("NEARLINE_TIER_SEQUENCES", 6) as u32))]

    #[test]
    fn the_tier_finds_what_the_tables_find(seed in any::<u64>()) {
        run(seed, 40);
    }
}

#[test]
fn the_tier_answers_and_is_asked_once() {
    assert!((0..2).map(|seed| run(seed, 40)).sum::<usize>() > 500);
    let (folder, disk) = (tempfile::tempdir().unwrap(), sample());
    let collection = open(&disk, folder.path());
    assert!(matches!(settle(&collection), LiveTierState::Serving { entries: 645.. }));
    let state = collection.shared.inner.state();
    assert!(agree(&state, sampled()) >= 700);
    let tier: &Covered = state.tier.as_ref().unwrap();
    assert!(state.segments.iter().all(|segment| tier.has(&segment.info)));
    // Merged into one, it is of no use, and goes.
    collection.compact().unwrap();
    assert_eq!(settle(&collection), LiveTierState::Unused);
    assert!(!folder.path().join("live").exists());
    agree(&state, sampled());
    agree(&collection.shared.inner.state(), sampled());
}

#[test]
fn what_was_lost_with_the_power_is_not_found() {
    for seed in 0..asked("NEARLINE_TIER_SEQUENCES", 6) {
        let (folder, mut random) = (tempfile::tempdir().unwrap(), Random(seed));
        let disk = create(seed);
        for _ in 0..4 {
            let collection = open(&disk, folder.path());
            for _ in 0..12 {
                match Step::random(&mut random) {
                    Step::Call(call) => drop(call.make(&collection).unwrap()),
                    _ => collection.flush().unwrap(),
                }
                if random.once_in(3) {
                    settle(&collection);
                }
            }
            disk.crash(random.next());
            drop(collection);
            let collection = open(&disk, folder.path());
            agree(&collection.shared.inner.state(), std::iter::empty());
            settle(&collection);
            agree(&collection.shared.inner.state(), std::iter::empty());
            collection.verify().unwrap();
        }
    }
}

/// A folder with a sound tier of the sample, closed.
fn sound(disk: &SimDisk) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let collection = open(disk, folder.path());
    assert!(matches!(settle(&collection), LiveTierState::Serving { .. }));
    drop(collection);
    assert!(folder.path().join("live/db").exists());
    folder
}

/// Opens the sample with what is in a folder, looks everything up, and closes it.
fn check(disk: &SimDisk, root: &Path, what: &str) {
    let collection = open(disk, root);
    agree(&collection.shared.inner.state(), sampled());
    let state = settle(&collection);
    assert!(matches!(state, LiveTierState::Serving { .. }), "{what}: {state:?}");
    assert!(agree(&collection.shared.inner.state(), sampled()) >= 700, "{what}");
    collection.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(!root.join("live.quarantine").exists());
}

#[test]
fn nothing_is_lost_with_the_folder() {
    let disk = sample();
    let whole = sound(&disk);
    let mut random = Random(7);
    for round in 0..asked("NEARLINE_TIER_DAMAGES", 24) {
        let root = tempfile::tempdir().unwrap();
        let live = root.path().join("live");
        copy(&whole.path().join("live"), &live);
        let files = files_in(&live);
        let file = &files[random.below(files.len() as u64) as usize];
        let mut bytes = fs::read(file).unwrap();
        let at = random.below(bytes.len().max(1) as u64) as usize;
        let what = format!("round {round}: {} at {at}", file.display());
        match round % 4 {
            0 => fs::remove_file(file).unwrap(),
            1 => fs::write(file, &bytes[..at]).unwrap(),
            _ if bytes.is_empty() => {}
            2 => {
                bytes[at] ^= 1 << random.below(8);
                fs::write(file, &bytes).unwrap();
            }
            _ => {
                let end = (at + 512).min(bytes.len());
                bytes[at..end].fill_with(|| random.next() as u8);
                fs::write(file, &bytes).unwrap();
            }
        }
        // Whoever looks says so or not, and never fails worse than that.
        let looking = open_with(&disk, TierUse::LeaveAlone).unwrap();
        let _ = verify_left(root.path(), STORE, &looking.shared.inner.state());
        drop(looking);
        check(&disk, root.path(), &what);
    }
    let root = tempfile::tempdir().unwrap();
    check(&disk, root.path(), "no folder");
    check(&disk, root.path(), "the one of before");
}

#[test]
fn what_is_left_in_the_middle_is_made_anew() {
    let disk = sample();
    let root = sound(&disk);
    fs::write(root.path().join("live").join(PANIC), b"").unwrap();
    let looking = open_with(&disk, TierUse::LeaveAlone).unwrap();
    let error = verify_left(root.path(), STORE, &looking.shared.inner.state()).unwrap_err().to_string();
    assert!(error.contains("live tier: open: panic: planted"), "{error}");
    drop(looking);
    check(&disk, root.path(), "opening panics");
    let unproved = root.path().join("live/unproved");
    fs::write(&unproved, b"").unwrap();
    check(&disk, root.path(), "the process ended while it was opened");
    assert!(!unproved.exists());
    // As it is on disk at any moment: what a killed process leaves.
    let collection = open(&disk, root.path());
    for at in 0..4 {
        collection.upsert(points(at * 10..at * 10 + 3)).unwrap();
        collection.flush().unwrap();
        let left = tempfile::tempdir().unwrap();
        if root.path().join("live").exists() {
            copy(&root.path().join("live"), &left.path().join("live"));
        }
        settle(&collection);
        let other = super::disk_of(&super::files_of(&disk));
        check(&other, left.path(), &format!("killed in round {at}"));
    }
}

#[test]
fn a_tier_of_other_segments_is_not_believed() {
    let disk = sample();
    let whole = sound(&disk);
    // Points change while nobody tends it.
    let alone = open_with(&disk, TierUse::LeaveAlone).unwrap();
    alone.upsert(points(0..60)).unwrap();
    alone.delete(vec![300u64, 301]).unwrap();
    alone.flush().unwrap();
    alone.shared.inner.merge(2, 3).unwrap();
    verify_left(whole.path(), STORE, &alone.shared.inner.state()).unwrap();
    drop(alone);
    check(&disk, whole.path(), "merged since");
    // Of another collection.
    let whole = sound(&disk);
    let other = SimDisk::new(9);
    Collection::create(&other, STORE + 1, &super::schema()).unwrap();
    let collection = open(&other, whole.path());
    for first in [0, 5, 10, 15] {
        collection.upsert(points(first..first + 7)).unwrap();
        collection.flush().unwrap();
    }
    assert!(matches!(settle(&collection), LiveTierState::Serving { entries: 22 }));
    agree(&collection.shared.inner.state(), sampled());
}

/// A tier beside the sample, as nobody tends it.
fn alone(root: &Path, retry: Duration) -> (Arc<LiveTier>, Arc<State>) {
    let collection = open_with(&sample(), TierUse::LeaveAlone).unwrap();
    let state = collection.shared.inner.state();
    (Arc::new(LiveTier::new(STORE, TierOptions { retry, ..options(root) })), state)
}

#[test]
fn a_wrong_row_is_noticed_and_switches_it_off() {
    let folder = tempfile::tempdir().unwrap();
    let collection = open(&sample(), folder.path());
    assert!(matches!(settle(&collection), LiveTierState::Serving { .. }));
    let inner = &collection.shared.inner;
    let right = inner.state().find(PointId::from(260)).unwrap().unwrap();
    inner.plant_in_tier(PointId::from(250), right);
    assert_eq!(inner.state().find(PointId::from(250)).unwrap(), Some(right));
    let error = collection.verify().unwrap_err().to_string();
    assert!(error.contains("row of an id"), "{error}");
    // The point is read anyway, and is another one.
    let point = collection.get([250u64]).unwrap().remove(0);
    assert_eq!(point.id, PointId::from(250));
    let why = "live tier: answer: the row of another point".to_owned();
    assert_eq!(collection.stats().live_tier, LiveTierState::Off { why });
    agree(&inner.state(), sampled());
    collection.upsert(points(250..251)).unwrap();
    collection.flush().unwrap();
    assert!(matches!(settle(&collection), LiveTierState::Serving { .. }));
    assert!(agree(&inner.state(), sampled()) >= 700);
    collection.verify().unwrap();
}

#[test]
fn a_failure_is_seen_and_gone_when_its_cause_is() {
    let folder = tempfile::tempdir().unwrap();
    // Where the folder should be, there is a file nobody can make anything of.
    fs::write(folder.path().join("live.quarantine"), b"").unwrap();
    let (tier, state) = alone(folder.path(), Duration::ZERO);
    assert_eq!(tier.next(&state), Some(TierStep::Adopt));
    assert!(tier.run(TierStep::Adopt, &state).is_err());
    assert!(matches!(tier.state(), LiveTierState::Off { why } if why.contains("live tier: remove")));
    assert_eq!(tier.next(&state), Some(TierStep::Retire));
    fs::remove_file(folder.path().join("live.quarantine")).unwrap();
    assert!(tier.run(TierStep::Retire, &state).unwrap().is_none());
    let Some(build @ TierStep::Build { .. }) = tier.next(&state) else { panic!("{:?}", tier.next(&state)) };
    let covered = tier.run(build, &state).unwrap();
    assert!(matches!(tier.state(), LiveTierState::Serving { .. }));
    let state = State { tier: covered, ..(*state).clone() };
    assert!(agree(&state, sampled()) >= 700);
    tier.close();
    assert_eq!(tier.next(&state), None);
    agree(&state, sampled());
}

/// A file system in RAM, unmounted when dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let option = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &option, "nearline-test"]).arg(folder.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("\n*** SKIPPED: a full disk needs the right to mount a small file system ***\n");
        }
        mounted.then(|| Self(folder))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_switches_it_off_until_there_is_space() {
    let Some(small) = Mounted::new("2m") else { return };
    for left in [0, 1, 8, 16, 24, 600] {
        let root = small.0.path();
        let filler = root.join("filler");
        // All but so many KiB.
        let free = (2 << 20) - (left << 10);
        let mut bytes = vec![1; free];
        while fs::write(&filler, &bytes).is_err() {
            bytes.truncate(bytes.len().saturating_sub(4096));
        }
        let (tier, state) = alone(root, Duration::ZERO);
        let Some(build) = tier.next(&state) else { panic!("nothing to do") };
        let built = tier.run(build, &state);
        if left < 16 {
            assert!(built.is_err(), "{left} KiB");
            assert!(matches!(tier.state(), LiveTierState::Off { .. }), "{left} KiB");
            assert!(!root.join("live").exists(), "it takes no space then");
        }
        agree(&State { tier: built.unwrap_or_default(), ..(*state).clone() }, sampled());
        fs::remove_file(&filler).unwrap();
        if let Some(build) = tier.next(&state) {
            let tier = tier.run(build, &state).unwrap();
            assert!(agree(&State { tier, ..(*state).clone() }, sampled()) >= 700);
        }
        tier.close();
        fs::remove_dir_all(root.join("live")).unwrap();
    }
}

#[test]
fn collections_come_and_go_with_their_tiers() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || {
        let mut builder = Database::builder(folder.path()).background(false);
        builder.tier_segments = 4;
        builder
    };
    let database = builder().open().unwrap();
    let flush = |on: &Collection, times: u64| {
        for at in 0..times {
            on.upsert(points(at..at + 3)).unwrap();
            on.flush().unwrap();
        }
    };
    let is_serving = |on: &Collection| matches!(settle(on), LiveTierState::Serving { .. });
    let make = |name: &str| {
        let on = database.create_collection(name, Schema::single(2, Metric::L2)).unwrap();
        flush(&on, 5);
        on
    };
    let (a, b, c) = (make("a"), make("b"), make("c"));
    assert!(is_serving(&a) && is_serving(&b));
    // Not all of a database may have one at a time.
    assert_eq!(settle(&c), LiveTierState::Unused);
    database.rename_collection("a", "d").unwrap();
    a.snapshot("s").unwrap();
    assert!(is_serving(&a));
    let copied = database.restore_snapshot("d", "s", "copy").unwrap();
    copied.verify().unwrap();
    assert_eq!(copied.get([6u64, 7]).unwrap().len(), 1);
    database.drop_collection("b").unwrap();
    assert_eq!(b.stats().live_tier, LiveTierState::Unused);
    let folders = || {
        fs::read_dir(folder.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    };
    assert_eq!(folders(), 3);
    // There is room for another one.
    flush(&c, 1);
    assert!(is_serving(&c));
    drop((a, b, c, copied, database));
    let report = builder().verify(None, false, &mut |_, _| {}).unwrap();
    assert!(report.damaged.is_empty() && report.leftovers.is_empty(), "{report:?}");
    // Damaged, it is said, and removed when that is asked for.
    let live = files_in(folder.path()).into_iter().find(|path| path.ends_with("live/db")).unwrap();
    let mut bytes = fs::read(&live).unwrap();
    bytes.iter_mut().skip(64).step_by(97).for_each(|byte| *byte ^= 0x55);
    fs::write(&live, bytes).unwrap();
    let verify = |repair| builder().verify(None, repair, &mut |_, _| {}).unwrap();
    let damaged = verify(false).damaged;
    let report = verify(true);
    assert!(report.damaged.is_empty() && report.rebuilt.len() == damaged.len(), "{damaged:?} {report:?}");
    assert!(verify(false).damaged.is_empty());
    let unused = builder().live_tier(false).open().unwrap();
    ["c", "d", "copy"].iter().for_each(|name| drop(unused.collection(name).unwrap()));
    assert!(!files_in(folder.path()).iter().any(|path| path.ends_with("live/db")));
}

#[test]
fn rows_beyond_a_state_are_not_its_business() {
    let folder = tempfile::tempdir().unwrap();
    let collection = open(&sample(), folder.path());
    settle(&collection);
    let old = collection.shared.inner.state();
    let before = old.find(PointId::from(20)).unwrap();
    collection.upsert(points(20..30)).unwrap();
    collection.flush().unwrap();
    assert!(matches!(settle(&collection), LiveTierState::Serving { .. }));
    let new = collection.shared.inner.state();
    assert!(agree(&new, sampled()) >= 700);
    agree(&old, sampled());
    assert_eq!(old.find(PointId::from(20)).unwrap(), before);
    assert!(new.find(PointId::from(20)).unwrap() > before && before > Some(RowId(0)));
}
