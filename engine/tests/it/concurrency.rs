//! Many threads at once: readers see moments, nothing that was acknowledged is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nearline::{
    Collection, Condition, Database, Durability, Filter, Metric, Payload, Point, PointId, Query, Schema,
    Scroll, Value,
};

const WRITERS: u64 = 3;
/// Pairs of points of each writer; both points of a pair are always written together.
const PAIRS: u64 = 20;
const DIM: usize = 64;

/// Chance by seed: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) % bound
    }
}

fn pair(number: u64, version: u64) -> [Point; 2] {
    [0, 1].map(|half| {
        Point::new(number * 2 + half)
            .vector(vec![(version % 100) as f32; DIM])
            .payload(Payload::new().with("v", version).with("even", version.is_multiple_of(2)))
    })
}

/// Writes until told to stop, and returns the version of each pair that is there.
fn write(collection: &Collection, writer: u64, stop: &AtomicBool) -> BTreeMap<u64, u64> {
    let (mut random, mut there) = (Random(writer), BTreeMap::new());
    let mut version = 0u64;
    while !stop.load(Relaxed) {
        version += 1;
        let number = writer * PAIRS + random.below(PAIRS);
        let ids = [number * 2, number * 2 + 1];
        match random.below(5) {
            0 => {
                assert_eq!(collection.delete(ids).unwrap().points > 0, there.remove(&number).is_some());
            }
            1 => {
                let payload = Payload::new().with("v", version).with("even", version.is_multiple_of(2));
                if collection.set_payload(ids, payload).unwrap().points > 0 {
                    // Its vector stays as it was.
                    assert!(there.insert(number, version).is_some());
                }
            }
            2 => {
                collection.upsert_with(pair(number, version), Durability::Buffered).unwrap();
                there.insert(number, version);
            }
            _ => {
                collection.upsert(pair(number, version)).unwrap();
                there.insert(number, version);
            }
        }
    }
    there
}

fn version(payload: &Payload) -> u64 {
    let Some(Value::Number(number)) = payload.get("v") else { panic!("{payload:?}") };
    number.to_string().parse().unwrap()
}

/// Versions by ids; both points of a pair have the same, or neither is there.
fn check_pairs(found: impl Iterator<Item = (PointId, u64)>, what: &str) -> BTreeMap<u64, u64> {
    let mut versions: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (id, version) in found {
        let PointId::Number(id) = id else { panic!("{id}") };
        versions.entry(id / 2).or_default().push(version);
    }
    for (pair, halves) in &versions {
        assert!(halves.len() == 2 && halves[0] == halves[1], "{what}: pair {pair} has {halves:?}");
    }
    versions.into_iter().map(|(pair, halves)| (pair, halves[0])).collect()
}

fn scroll(collection: &Collection, filter: Option<Filter>) -> BTreeMap<u64, u64> {
    let mut scroll = Scroll::new().limit(1 << 16).with_vectors(false);
    if let Some(filter) = filter {
        scroll = scroll.filter(filter);
    }
    let page = collection.scroll(&scroll).unwrap();
    assert!(page.next.is_none() && page.points.is_sorted_by(|a, b| a.id < b.id));
    check_pairs(page.points.iter().map(|point| (point.id, version(&point.payload))), "scroll")
}

fn read(collection: &Collection, reader: u64, stop: &AtomicBool, reads: &AtomicU64) {
    let mut random = Random(1_000 + reader);
    let even = || Filter::must([Condition::matches("even", true)]);
    while !stop.load(Relaxed) {
        scroll(collection, random.below(2).eq(&0).then(even));
        assert_eq!(collection.count(None).unwrap() % 2, 0);
        assert_eq!(collection.count(Some(&even())).unwrap() % 2, 0);
        let mut query = Query::nearest(vec![random.below(100) as f32; DIM]).k(1 << 10).with_payload(true);
        if random.below(2) == 0 {
            query = query.filter(even());
        }
        let hits = collection.query(&query).unwrap().hits;
        assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
        check_pairs(hits.iter().map(|hit| (hit.id, version(hit.payload.as_ref().unwrap()))), "query");
        let number = random.below(WRITERS * PAIRS);
        let found = collection.get([number * 2, number * 2 + 1]).unwrap();
        check_pairs(found.iter().map(|point| (point.id, version(&point.payload))), "get");
        reads.fetch_add(1, Relaxed);
    }
}

/// Flushes, merges, verifies and takes snapshots, all the time.
fn maintain(database: &Database, collection: &Collection, stop: &AtomicBool, done: &AtomicU64) {
    while !stop.load(Relaxed) {
        let rounds = done.fetch_add(1, Relaxed) + 1;
        match rounds % 4 {
            0 => collection.compact().unwrap(),
            1 => collection.verify().unwrap(),
            _ => collection.flush().unwrap(),
        }
        if rounds.is_multiple_of(5) {
            let name = format!("s{rounds}");
            collection.snapshot(&name).unwrap();
            let copy = database.restore_snapshot("points", &name, &name).unwrap();
            scroll(&copy, None);
            copy.verify().unwrap();
            drop(copy);
            database.drop_collection(&name).unwrap();
            collection.drop_snapshot(&name).unwrap();
        }
    }
}

#[test]
fn readers_see_moments_while_everything_moves() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder(folder.path()).memory_budget(16 << 20).open().unwrap();
    let collection = database.create_collection("points", Schema::single(DIM, Metric::L2)).unwrap();
    let (stop, reads, rounds) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let there: BTreeMap<u64, u64> = std::thread::scope(|scope| {
        let (collection, stop, reads, rounds, database) = (&collection, &stop, &reads, &rounds, &database);
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(collection, writer, stop))).collect();
        let mut others: Vec<_> =
            (0..2).map(|n| scope.spawn(move || read(collection, n, stop, reads))).collect();
        others.push(scope.spawn(move || maintain(database, collection, stop, rounds)));
        // Flushes and merges of several threads at once.
        others.push(scope.spawn(move || {
            while !stop.load(Relaxed) {
                collection.compact().unwrap();
                std::thread::sleep(Duration::from_millis(3));
            }
        }));
        let seconds = std::env::var("NEARLINE_STRESS_SECONDS").map_or(1.5, |asked| asked.parse().unwrap());
        let is_enough = || reads.load(Relaxed) > 10 && rounds.load(Relaxed) > 5;
        for tick in 0..6_000 {
            // Somebody who ends early has failed.
            let has_failed = others.iter().any(|thread| thread.is_finished());
            if has_failed || (tick >= (seconds * 100.0) as u32 && is_enough()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(reads.load(Relaxed) > 10 && rounds.load(Relaxed) > 5, "{reads:?} {rounds:?}");
    collection.wait_idle().unwrap();
    collection.verify().unwrap();
    assert_eq!(scroll(&collection, None), there);
    drop((collection, database));
    let database = Database::builder(folder.path()).open().unwrap();
    let collection = database.collection("points").unwrap();
    assert_eq!(scroll(&collection, None), there);
    collection.verify().unwrap();
}
