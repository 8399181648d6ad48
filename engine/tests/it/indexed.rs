//! Collections large enough for a vector index, as their users see them.

use std::sync::atomic::{AtomicBool, Ordering};

use nearline::{Collection, Database, Durability, Metric, Payload, Point, PointId, Query, Schema, Strategy};

const DIM: usize = 48;
const POINTS: u64 = 21_000;

/// One of some places, and a little beside it.
fn vector(id: u64, version: u64) -> Vec<f32> {
    let value = |seed: u64, j: usize| {
        let mixed = (seed * 64 + j as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / 16_777_216.0
    };
    (0..DIM).map(|j| 3.0 * value(id % 400 + 7, j) + value(id * 31 + version + 1_000, j)).collect()
}

fn write(points: &Collection, ids: std::ops::Range<u64>, version: u64) {
    for first in ids.clone().step_by(500) {
        let new = (first..(first + 500).min(ids.end))
            .map(|id| Point::new(id).vector(vector(id, version)).payload(Payload::new().with("v", version)));
        points.upsert_with(new, Durability::Buffered).unwrap();
    }
}

/// The recall of the ten nearest to points that are asked for, which must themselves be among them.
fn check(points: &Collection, ids: std::ops::Range<u64>, version: u64) {
    let (mut found, mut wanted) = (0, 0);
    for id in ids.step_by(997) {
        let query = Query::nearest(vector(id, version)).k(10);
        let (fast, exact) = (points.query(&query).unwrap(), points.query(&query.target_recall(1.0)).unwrap());
        assert_eq!((exact.hits[0].id, exact.hits[0].distance), (id.into(), 0.0));
        assert_eq!(fast.report.strategy, Strategy::Index, "{}", fast.report.why);
        found += fast.hits.iter().filter(|hit| exact.hits.contains(hit)).count();
        wanted += 10;
    }
    assert!(found * 100 >= wanted * 92, "{found} of {wanted}");
}

#[test]
fn a_large_collection_is_indexed_restored_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder(folder.path()).memory_budget(64 << 20).open().unwrap();
    let points = database.create_collection("points", Schema::single(DIM, Metric::L2)).unwrap();
    write(&points, 0..POINTS, 0);
    points.flush().unwrap();
    points.wait_idle().unwrap();
    let stats = points.stats();
    assert_eq!((stats.indexes, stats.indexed, stats.not_indexed), (1, POINTS, 0), "{stats:?}");
    check(&points, 0..POINTS, 0);
    points.snapshot("first").unwrap();
    // Readers see whole points while others are replaced, flushed and merged.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            write(&points, 0..2_000, 1);
            points.delete((2_000..2_500).map(PointId::from).collect::<Vec<_>>()).unwrap();
            points.compact().unwrap();
            done.store(true, Ordering::Release);
        });
        let mut id = 2_500;
        while !done.load(Ordering::Acquire) {
            id = 2_500 + (id * 7_919) % (POINTS - 2_500);
            let hits = points.query(&Query::nearest(vector(id, 0)).k(3)).unwrap().hits;
            assert!(hits.len() == 3 && hits.is_sorted_by(|a, b| a.distance <= b.distance));
        }
    });
    check(&points, 0..2_000, 1);
    let gone = points.query(&Query::nearest(vector(2_100, 0)).k(1)).unwrap().hits.remove(0);
    assert!(gone.distance > 0.0);
    points.verify().unwrap();
    // A snapshot goes on as it was, with its index.
    let restored = database.restore_snapshot("points", "first", "again").unwrap();
    assert_eq!((restored.stats().indexes, restored.stats().points), (1, POINTS));
    check(&restored, 0..POINTS, 0);
    restored.verify().unwrap();
    // Nobody waits for an index that nobody needs any more.
    restored.rebuild_vector_indexes().unwrap();
    database.drop_collection("again").unwrap();
    assert_eq!(database.collections(), ["points"]);
    drop((points, restored, database));
    let database = Database::builder(folder.path()).memory_budget(64 << 20).open().unwrap();
    check(&database.collection("points").unwrap(), 2_500..POINTS, 0);
    assert!(Database::builder(folder.path()).open().is_err());
}
