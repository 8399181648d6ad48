//! Several threads write and the background is at work while the power goes, or operations fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use nearline_storage::{BlockCache, Faults, SimDisk};

use super::twin::Random;
use super::{LIMITS, STORE, asked};
use crate::collection::Opening;
use crate::{Collection, Metric, Payload, Point, PointId, Schema, Scroll, WriteError};

const WRITERS: u64 = 3;
/// Calls of each.
const CALLS: u64 = 40;

/// A writer's points, by their versions.
type Points = BTreeMap<u64, u64>;

/// What a writer's points may be after a crash: one of these.
struct Promised(Vec<Points>);

fn open(disk: &SimDisk, background: bool) -> Collection {
    // Flushed every few points, and indexed early.
    let limits = super::Limits { flush_bytes: 1_500, delta_bytes: 6_000, index_rows: 20, ..LIMITS };
    let cache = Arc::new(BlockCache::new(1 << 16));
    Collection::open_on(
        Arc::new(disk.clone()),
        "points",
        limits,
        cache,
        Opening { background, ..Opening::default() },
    )
    .unwrap()
}

fn create(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    Collection::create(&disk, STORE, &Schema::single(2, Metric::L2)).unwrap();
    disk
}

/// One call, to two points at once, on the collection and on the plain points.
fn call(on: &Collection, writer: u64, number: u64, points: &mut Points) -> Result<u64, WriteError> {
    let ids = [writer * 100 + number % 7, writer * 100 + 50 + number % 7];
    if number % 5 == 4 {
        points.retain(|id, _| !ids.contains(id));
        return on.delete(ids).map(|report| report.points);
    }
    points.extend(ids.map(|id| (id, number)));
    let payload = Payload::new().with("v", number);
    let new = ids.map(|id| Point::new(id).vector([id as f32, number as f32]).payload(payload.clone()));
    on.upsert(new).map(|report| report.points)
}

fn write(on: &Collection, writer: u64, goes_on: bool) -> Promised {
    let mut promised = vec![Points::new()];
    for number in 0..CALLS {
        let mut next = promised[0].clone();
        match call(on, writer, number, &mut next) {
            Ok(_) => promised = vec![next],
            Err(error) if goes_on && !error.is_in_doubt() => {}
            Err(_) => {
                promised.push(next);
                break;
            }
        }
    }
    Promised(promised)
}

fn write_all(on: &Collection, goes_on: bool) -> Vec<Promised> {
    std::thread::scope(|scope| {
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(on, writer, goes_on))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    })
}

fn check(disk: &SimDisk, promised: &[Promised], seed: u64) {
    let collection = open(disk, false);
    collection.verify().unwrap();
    let mut found: Vec<Points> = vec![Points::new(); promised.len()];
    for point in collection.scroll(&Scroll::new().limit(1_000)).unwrap().points {
        let PointId::Number(id) = point.id else { panic!("{}", point.id) };
        let version = point.payload.get("v").unwrap().as_number().unwrap();
        found[id as usize / 100].insert(id, version.to_string().parse().unwrap());
    }
    for (writer, (found, Promised(promised))) in found.iter().zip(promised).enumerate() {
        assert!(promised.contains(found), "seed {seed}, writer {writer}: {found:?}, not of {promised:?}");
    }
}

#[test]
fn the_power_goes_while_threads_write() {
    for seed in 0..asked("NEARLINE_CRASH_SEEDS", 100) {
        let mut random = Random(seed ^ 0x7472);
        let disk = create(seed);
        disk.crash_at(disk.operations() + 20 + random.below(if seed % 2 == 0 { 1_000 } else { 3_000 }));
        let collection = open(&disk, true);
        let promised = write_all(&collection, false);
        drop(collection);
        disk.crash(random.next());
        check(&disk, &promised, seed);
    }
}

#[test]
fn operations_fail_while_threads_write() {
    for seed in 0..asked("NEARLINE_CRASH_SEEDS", 100) {
        let disk = create(seed);
        let collection = open(&disk, true);
        disk.set_faults(Faults { per_million: 4_000, ..Faults::default() });
        let promised = write_all(&collection, true);
        disk.set_faults(Faults::default());
        drop(collection);
        if seed % 2 == 0 {
            disk.crash(seed);
        }
        check(&disk, &promised, seed);
    }
}

#[test]
fn space_that_comes_back_is_used_at_once() {
    let disk = create(0);
    // Writing points needs no new space, flushing them does.
    let limits = super::Limits {
        flush_bytes: 1_500,
        delta_bytes: 6_000,
        log_bytes: 6_000,
        log_segment_bytes: 1 << 20,
        ..LIMITS
    };
    let cache = Arc::new(BlockCache::new(1 << 16));
    let on = Collection::open_on(
        Arc::new(disk.clone()),
        "points",
        limits,
        cache,
        Opening { background: true, ..Opening::default() },
    )
    .unwrap();
    let write = |id: u64| on.upsert([Point::new(id).vector([id as f32, 0.0])]);
    write(0).unwrap();
    let used: usize = super::files_of(&disk).iter().map(|(_, bytes)| bytes.len()).sum();
    disk.set_faults(Faults { space: Some(used as u64), ..Faults::default() });
    let mut last = 1;
    let error = loop {
        match write(last) {
            Ok(_) => last += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_retryable() && (10..100).contains(&last), "{error} at {last}");
    assert!(on.stats().failure.is_some() && on.wait_idle().is_err());
    disk.set_faults(Faults::default());
    write(last).unwrap();
    on.flush().unwrap();
    on.verify().unwrap();
    drop(on);
    assert_eq!(open(&disk, false).count(None).unwrap(), last + 1);
}

#[test]
fn dead_rows_that_nothing_knows_are_forgotten() {
    let disk = create(0);
    let mut on = open(&disk, false);
    let dead = |on: &Collection| on.shared.inner.state().dead.len();
    for round in 0..20 {
        // All of them die in memory, or in a segment that the next merge drops.
        on.upsert((0..50).map(|id| Point::new(id).vector([id as f32, 0.0]))).unwrap();
        if round % 3 == 0 {
            on.flush().unwrap();
        }
        on.delete((0..50).collect::<Vec<u64>>()).unwrap();
        if round % 4 == 0 {
            on.compact().unwrap();
            assert_eq!(dead(&on), 0, "round {round}");
        }
        if round % 5 == 0 {
            drop(on);
            on = open(&disk, false);
            on.verify().unwrap();
        }
        assert!(dead(&on) <= 400, "round {round}: {}", dead(&on));
    }
    on.upsert((0..50).map(|id| Point::new(id).vector([id as f32, 0.0]))).unwrap();
    // Rows that a segment spans and lacks are known to be dead.
    on.delete([20, 30]).unwrap();
    on.compact().unwrap();
    drop(on);
    let on = open(&disk, false);
    assert_eq!((dead(&on), on.stats().dead_points, on.count(None).unwrap()), (2, 0, 48));
    on.verify().unwrap();
}

#[test]
fn points_that_are_written_again_and_again_do_not_fill_the_log() {
    for background in [true, false] {
        let disk = create(0);
        let limits = super::Limits { log_bytes: 10_000, log_segment_bytes: 8_192, ..LIMITS };
        let cache = Arc::new(BlockCache::new(1 << 16));
        let opening = Opening { background, ..Opening::default() };
        let on = Collection::open_on(Arc::new(disk), "points", limits, cache, opening).unwrap();
        for number in 0..2_000 {
            on.upsert([Point::new(number % 3).vector([number as f32, 0.0])]).unwrap();
        }
        on.wait_idle().unwrap();
        let stats = on.stats();
        assert!(stats.wal_bytes <= 8 * 8_192 && stats.points == 3, "{stats:?}");
        assert_eq!(stats.jobs_done > 0, background);
        on.verify().unwrap();
    }
}
