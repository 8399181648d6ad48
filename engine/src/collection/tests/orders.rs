//! Readers, a writer and whoever moves files, in many orders: shuttle switches between them wherever one takes a lock of the
//! collection or does something with the disk. Nobody sees half of a write or misses one that was acknowledged, and who
//! holds an old moment goes on seeing that, whatever files are gone.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use nearline_storage::{BlockCache, SimDisk};
use shuttle::scheduler::RandomScheduler;
use shuttle::thread;

use super::ruled::{Act, Rule, RuledDisk};
use super::twin::Random;
use super::{LIMITS, Opening, STORE, asked, disk_of, files_of};
use crate::{
    Collection, Condition, FieldType, Filter, Metric, Payload, Point, Query, Schema, Scroll, WriteError,
};

thread_local! {
    /// Whether threads of shuttle run on this one, by turns.
    static BY_TURNS: Cell<bool> = const { Cell::new(false) };
}

/// Lets others go on, and takes a lock when nobody holds it: a thread of shuttle must not wait for another in any other way.
pub(in super::super) fn locked<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    if !BY_TURNS.get() {
        return None;
    }
    loop {
        thread::yield_now();
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

/// Lets others go on before each operation, now and then.
#[derive(Debug)]
struct Turns(AtomicU64);

impl Rule for Turns {
    fn skips(&self, _: Act<'_>) -> bool {
        // Not each time: what there is between two locks would take most of the turns.
        if BY_TURNS.get() && self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            thread::yield_now();
        }
        false
    }
}

/// Runs a test in many orders.
fn in_many_orders(test: impl Fn(u64) + Send + Sync + 'static) {
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    let orders = asked("NEARLINE_ORDERS", 300);
    let runner = shuttle::Runner::new(RandomScheduler::new(orders as usize), config);
    let count = AtomicU64::new(0);
    BY_TURNS.set(true);
    runner.run(move || test(count.fetch_add(1, Ordering::Relaxed)));
    BY_TURNS.set(false);
}

fn open(disk: &SimDisk, seed: u64) -> Collection {
    let cache = Arc::new(BlockCache::new(1 << 16));
    let disk = Arc::new(RuledDisk::new(disk, Turns(AtomicU64::new(seed))));
    Collection::open_on(disk, "points", LIMITS, cache, Opening::default()).unwrap()
}

/// Some points that are written together, of one version; or none, in every fourth.
const IDS: [u64; 3] = [1, 2, 1 << 60];

fn write(on: &Collection, version: u64) -> Result<u64, WriteError> {
    if version % 4 == 3 {
        return on.delete(IDS).map(|report| report.points);
    }
    let payload = Payload::new().with("v", version);
    let point = |id| Point::new(id).vector([version as f32, 0.0]).payload(payload.clone());
    on.upsert(IDS.map(point)).map(|report| report.points)
}

/// The version of points that were found, if there are any: all of them, and all of one.
fn version(payloads: &[&Payload]) -> Option<u64> {
    let first = payloads.first()?.get("v").and_then(|v| v.as_number()).unwrap().to_string();
    let same =
        payloads.iter().all(|payload| payload.get("v").unwrap().as_number().unwrap().to_string() == first);
    assert!(same && payloads.len() == IDS.len(), "half of a write: {payloads:?}");
    Some(first.parse().unwrap())
}

/// Asks in different ways; each answer is of a moment between the writes that were acknowledged and those that were begun.
fn read(on: &Collection, random: &mut Random, acked: &AtomicU64, begun: &AtomicU64) {
    let least = acked.load(Ordering::SeqCst);
    let found = match random.below(4) {
        0 => {
            let points = on.scroll(&Scroll::new().limit(100)).unwrap().points;
            version(&points.iter().map(|point| &point.payload).collect::<Vec<_>>())
        }
        1 => {
            let points = on.get(IDS).unwrap();
            version(&points.iter().map(|point| &point.payload).collect::<Vec<_>>())
        }
        2 => {
            let hits = on.query(&Query::nearest([5.0, 0.0]).k(100).with_payload(true)).unwrap().hits;
            version(&hits.iter().map(|hit| hit.payload.as_ref().unwrap()).collect::<Vec<_>>())
        }
        _ => {
            let some = Filter::must([Condition::range("v").gte(0)]);
            let query = Query::nearest([5.0, 0.0]).k(100).with_payload(true).filter(some);
            let hits = on.query(&query).unwrap().hits;
            version(&hits.iter().map(|hit| hit.payload.as_ref().unwrap()).collect::<Vec<_>>())
        }
    };
    let most = begun.load(Ordering::SeqCst);
    // Versions count from 0, acknowledged and begun ones are numbers of them.
    let fits = match found {
        Some(version) => (least..=most).contains(&(version + 1)),
        None => (least..=most).any(|count| count == 0 || (count - 1) % 4 == 3),
    };
    assert!(fits, "{found:?} is not between {least} and {most} writes");
}

/// What somebody who holds an old moment sees of it.
fn see(on: &Collection, state: &Arc<crate::state::State>) -> Vec<(String, Option<Payload>)> {
    let query = Query::nearest([5.0, 0.0]).k(100).with_payload(true);
    let hits = on.shared.inner.reader(state).answer(&query).unwrap().hits;
    hits.into_iter().map(|hit| (format!("{} {}", hit.id, hit.distance), hit.payload)).collect()
}

/// Moves files about until the writer is done.
fn maintain(on: &Collection, mut random: Random) {
    for _ in 0..4 {
        let count = on.shared.inner.state().segments.len();
        match random.below(6) {
            0..2 => on.flush(),
            2 => on.compact(),
            3 => on.shared.inner.merge(random.below(2) as usize, count),
            4 => on.create_field_index("v", FieldType::Integer),
            _ => on.drop_field_index("v").map(drop),
        }
        .unwrap();
    }
}

fn one_order(seed: u64) {
    let disk = SimDisk::new(seed);
    Collection::create(&disk, STORE, &Schema::single(2, Metric::L2)).unwrap();
    let on = open(&disk, seed);
    let (acked, begun) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut threads = Vec::new();
    let writer = {
        let (on, acked, begun) = (on.clone(), Arc::clone(&acked), Arc::clone(&begun));
        move || {
            for number in 0..10 {
                begun.store(number + 1, Ordering::SeqCst);
                write(&on, number).unwrap();
                acked.store(number + 1, Ordering::SeqCst);
            }
        }
    };
    threads.push(thread::spawn(writer));
    for which in 0..2 {
        let on = on.clone();
        threads.push(thread::spawn(move || maintain(&on, Random(seed << 8 | which))));
    }
    for which in 2..4 {
        let (on, acked, begun) = (on.clone(), Arc::clone(&acked), Arc::clone(&begun));
        threads.push(thread::spawn(move || {
            let mut random = Random(seed << 8 | which);
            let held = on.shared.inner.state();
            let before = see(&on, &held);
            for _ in 0..4 {
                read(&on, &mut random, &acked, &begun);
                assert_eq!(see(&on, &held), before, "an old moment changed");
            }
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    on.verify().unwrap();
    read(&on, &mut Random(seed), &acked, &begun);
    // What is in files now is what a process that opens them finds.
    let again = open(&disk_of(&files_of(&disk)), seed);
    again.verify().unwrap();
    read(&again, &mut Random(seed), &acked, &begun);
}

#[test]
fn in_every_order_readers_see_whole_moments() {
    in_many_orders(one_order);
}
