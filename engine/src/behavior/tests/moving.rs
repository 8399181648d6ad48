//! What comes while changes are on their way into files, whether these arrive or not.

use std::cell::Cell;
use std::sync::Arc;

use nearline_index::sdim::Normalize;
use nearline_storage::{BlockCache, Disk, Faults, SimDisk};

use super::super::manifest::{Manifest, number_of};
use super::super::{Behavior, BehaviorOptions, BehaviorSpace, Handle, Inner, Span};
use super::crash::script;
use super::twin::{Call, Twin};
use super::{DIM, LIMITS, Random, create, open};
use crate::collection::tests::ruled::{Act, Rule, RuledDisk};

/// Makes calls that succeed on the twin.
fn make_all(space: &BehaviorSpace, twin: &mut Twin, calls: &[Call]) {
    for call in calls {
        let mut after = twin.clone();
        if let Some(expected) = after.apply(call) {
            assert_eq!(call.make(space).unwrap(), expected);
            *twin = after;
        }
    }
}

fn bytes(disk: &SimDisk) -> u64 {
    disk.list().unwrap().iter().filter_map(|name| disk.bytes(name)).map(|bytes| bytes.len() as u64).sum()
}

#[test]
fn what_does_not_arrive_is_in_memory_again() {
    let mut turned_back = 0;
    for seed in 0..100 {
        let (mut random, mut twin) = (Random(seed), Twin::default());
        let disk = create(seed, Normalize::L2);
        let space = open(&disk).unwrap();
        let calls: Vec<Call> = script(seed, 60)
            .into_iter()
            .filter(|call| !matches!(call, Call::Flush | Call::Begin | Call::End))
            .collect();
        for calls in calls.chunks(12) {
            let (before, after) = calls.split_at(random.below(12) as usize % calls.len());
            make_all(&space, &mut twin, before);
            twin.compare(&space, &mut random, 1_030);
            Call::Begin.make(&space).unwrap();
            make_all(&space, &mut twin, after);
            // What answers are kept of must not outlive what they were made of.
            twin.compare(&space, &mut random, 1_030);
            disk.set_faults(Faults { space: Some(bytes(&disk)), ..Faults::default() });
            turned_back += u32::from(Call::End.make(&space).is_err());
            disk.set_faults(Faults::default());
            assert!(twin.holds(&space), "{seed}");
            twin.compare(&space, &mut random, 1_030);
            let live = Manifest::read(&disk).unwrap();
            let is_known =
                |name: &String| number_of(name).is_none() || live.names().any(|known| known == *name);
            assert!(disk.list().unwrap().iter().all(is_known), "{seed}: a file is left over");
            // Too much in memory would be refused.
            if random.once_in(2) || space.stats().memory_bytes > 20_000 {
                Call::Flush.make(&space).unwrap();
                assert!(twin.holds(&space), "{seed}");
            }
        }
        drop(space);
        assert!(twin.holds(&open(&disk).unwrap()), "{seed}");
    }
    assert!(turned_back > 50, "{turned_back}");
}

#[test]
fn a_table_that_arrives_is_known_to_histories_that_grew_meanwhile() {
    let disk = create(1, Normalize::L2);
    let space = open(&disk).unwrap();
    let one = |event| Behavior::new(1, event, event as i64, 0).vector([1.0; DIM]);
    space.append((0..200).map(one)).unwrap();
    Call::Begin.make(&space).unwrap();
    space.append([one(200)]).unwrap();
    assert_eq!(space.at(0).behaviors(1, Span::Last(1_000)).unwrap().len(), 201);
    Call::End.make(&space).unwrap();
    let (history, _) = space.inner.history(1).unwrap();
    assert_eq!((history.stored.len, history.stored.tallied, history.len()), (200, 200, 201));
    assert!(history.has_table);
    // What hides it where it is out of date must know of it, too.
    Call::Begin.make(&space).unwrap();
    space.truncate(1, 3).unwrap();
    Call::End.make(&space).unwrap();
    let (history, _) = space.inner.history(1).unwrap();
    assert_eq!((history.stored.len, history.stored.tallied, history.len()), (0, 0, 3));
    assert!(history.has_table);
}

#[test]
fn a_table_of_what_comes_back_is_not_believed() {
    let disk = create(2, Normalize::L2);
    let space = open(&disk).unwrap();
    let one = |event: u64, time| Behavior::new(1, event, time, 0).vector([event as f32 + 1.0; DIM]);
    space.append((0..40).map(|event| one(event, event as i64))).unwrap();
    Call::Begin.make(&space).unwrap();
    let table = |space: &BehaviorSpace| space.at(45).tables(&[1]).unwrap().remove(0).table;
    assert_eq!(table(&space).len(), 40);
    disk.set_faults(Faults { space: Some(bytes(&disk)), ..Faults::default() });
    Call::End.make(&space).unwrap_err();
    disk.set_faults(Faults::default());
    space.append([one(100, 20)]).unwrap();
    let found = table(&space);
    drop(space);
    assert_eq!(found, table(&open(&disk).unwrap()));
}

#[test]
fn an_epoch_built_beside_what_comes_back_does_not_believe_it() {
    let disk = create(3, Normalize::L2);
    let space = open(&disk).unwrap();
    let one = |event: u64, time| Behavior::new(1, event, time, 0).vector([event as f32 + 1.0; DIM]);
    space.append((0..3).map(|event| one(event, 0))).unwrap();
    let options = BehaviorOptions::new(DIM).hashes(4, 2).seed(8).embedding_version("v1");
    let number = space.create_epoch(options, false).unwrap();
    space.inner.begin_build(number).unwrap();
    space.append((3..25).map(|event| one(event, event as i64))).unwrap();
    Call::Begin.make(&space).unwrap();
    let epoch = Arc::clone(&space.inner.state().epochs.get(number).unwrap().0);
    let step = space.inner.build_some(&epoch, 0).unwrap();
    disk.set_faults(Faults { space: Some(bytes(&disk)), ..Faults::default() });
    Call::End.make(&space).unwrap_err();
    disk.set_faults(Faults::default());
    // Before what is in memory goes into files: the table is of what came back.
    space.append([one(1_000, 10)]).unwrap();
    assert!(!space.inner.publish(&epoch, step).unwrap());
    let table = |space: &BehaviorSpace| space.at(40).tables(&[1]).unwrap().remove(0).table;
    let found = table(&space);
    assert_eq!((space.stats().epoch, found.len()), (number, 26));
    drop(space);
    let names = disk.list().unwrap();
    let tables = names.iter().filter(|name| name.starts_with("tables."));
    assert!(tables.map(|name| disk.remove(name).unwrap()).count() > 0);
    assert_eq!(found, table(&open(&disk).unwrap()));
}

thread_local! {
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Panics, where it is told to, when a file of histories is to be durable.
#[derive(Debug)]
struct Panicking;

impl Rule for Panicking {
    fn skips(&self, act: Act<'_>) -> bool {
        let is_histories = matches!(act, Act::Sync(name) if name.starts_with("histories."));
        assert!(!(is_histories && PANICS.get()), "planted");
        false
    }
}

#[test]
fn a_panic_while_files_are_written_loses_nothing() {
    let disk = create(4, Normalize::L2);
    let ruled = Arc::new(RuledDisk::new(&disk, Panicking));
    let inner = Inner::open(ruled, LIMITS, Arc::new(BlockCache::new(100_000)), None).unwrap();
    let space = BehaviorSpace { inner: Arc::new(Handle::new(inner)) };
    let mut twin = Twin::default();
    for calls in script(4, 60).chunks(10) {
        PANICS.set(true);
        // Whoever flushes is told, and so is who asks for the figures; writes go on.
        for call in calls.iter().filter(|call| !matches!(call, Call::Flush | Call::Begin | Call::End)) {
            make_all(&space, &mut twin, std::slice::from_ref(call));
        }
        let error = space.flush().unwrap_err().to_string();
        assert!(error.contains("a panic"), "{error}");
        assert_eq!(space.stats().checkpoint_error, Some(error));
        assert!(twin.holds(&space));
        PANICS.set(false);
        space.flush().unwrap();
        assert!(twin.holds(&space) && space.stats().memory_bytes == 0);
    }
    drop(space);
    assert!(twin.holds(&open(&disk).unwrap()));
}
