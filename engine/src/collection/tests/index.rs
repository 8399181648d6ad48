//! Vector indexes: what they find, when they are used, what becomes of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nearline_storage::{BlockCache, Disk, Fault, Faults, SimDisk};

use super::super::index::IndexJob;
use super::twin::{Random, Reads};
use super::{LIMITS, Opening, STORE, disk_of, files_of};
use crate::{
    Collection, Condition, FieldType, Filter, Metric, OpenError, Payload, Point, PointId, Query, QueryAnswer,
    Schema, Strategy, WriteError,
};

pub(super) const DIM: usize = 96;
/// Enough for an index to be worth it.
pub(super) const POINTS: u64 = 6_000;

pub(super) fn open(disk: &SimDisk) -> Result<Collection, OpenError> {
    open_with(disk, LIMITS.codes_bytes)
}

/// With so many bytes for codes.
pub(super) fn open_with(disk: &SimDisk, codes_bytes: u64) -> Result<Collection, OpenError> {
    let limits = super::Limits {
        codes_bytes,
        flush_bytes: 1 << 30,
        delta_bytes: 1 << 30,
        log_bytes: 1 << 30,
        log_segment_bytes: 1 << 22,
        index_rows: 2_000,
        index_added: 1 << 24,
        ..LIMITS
    };
    Collection::open_on(
        Arc::new(disk.clone()),
        "points",
        limits,
        Arc::new(BlockCache::new(1 << 20)),
        Opening::default(),
    )
}

/// The vector of a point: one of some places, and a little beside it.
pub(super) fn vector(id: u64, version: u64) -> Vec<f32> {
    let mut random = Random(id * 1_000 + version);
    let place = random.below(150);
    let mut around = Random(place ^ 0xace);
    let value = |random: &mut Random, scale: f32| (random.below(1_000) as f32 / 1_000.0 - 0.5) * scale;
    (0..DIM).map(|_| value(&mut around, 4.0) + value(&mut random, 2.0)).collect()
}

fn point(id: u64, version: u64) -> Point {
    let group = if id.is_multiple_of(10) { "tenth" } else { "other" };
    Point::new(id).vector(vector(id, version)).payload(Payload::new().with("group", group).with("id", id))
}

pub(super) fn write(on: &Collection, ids: impl IntoIterator<Item = u64>, version: u64) {
    let ids: Vec<u64> = ids.into_iter().collect();
    for ids in ids.chunks(500) {
        on.upsert(ids.iter().map(|&id| point(id, version))).unwrap();
    }
}

/// A collection with an index over all its points, and its disk.
pub(super) fn indexed() -> (SimDisk, Collection) {
    indexed_of(POINTS)
}

/// The same with so many points.
pub(super) fn indexed_of(points: u64) -> (SimDisk, Collection) {
    let (disk, on) = filled_with(points);
    build(&on).unwrap();
    (disk, on)
}

/// The same without an index.
fn filled() -> (SimDisk, Collection) {
    filled_with(POINTS)
}

fn filled_with(points: u64) -> (SimDisk, Collection) {
    let disk = SimDisk::new(1);
    Collection::create(&disk, STORE, &Schema::single(DIM, Metric::L2)).unwrap();
    let on = open(&disk).unwrap();
    write(&on, 0..points, 0);
    on.flush().unwrap();
    (disk, on)
}

fn build(on: &Collection) -> Result<(), WriteError> {
    on.shared.inner.build_index(0)
}

fn due(on: &Collection) -> Option<IndexJob> {
    on.shared.inner.due_index(Duration::MAX).map(|(_, job)| job)
}

/// Does all there is to do about indexes; says what that was.
pub(super) fn settle(on: &Collection) -> Vec<IndexJob> {
    let mut done = Vec::new();
    while let Some((at, job)) = on.shared.inner.due_index(Duration::MAX) {
        on.shared.inner.run_index(at, job).unwrap();
        done.push(job);
        assert!(done.len() < 20, "{done:?}");
    }
    done
}

/// Indexes of which there are files.
fn indexes(disk: &SimDisk) -> usize {
    disk.list()
        .unwrap()
        .iter()
        .filter(|name| name.starts_with("index.") && name.ends_with("MANIFEST"))
        .count()
}

fn ids(answer: &QueryAnswer) -> BTreeSet<PointId> {
    answer.hits.iter().map(|hit| hit.id).collect()
}

/// The recall of the ten nearest, by the exact answers of the same collection; checks that what is said of the points is so.
pub(super) fn recall(on: &impl Reads, filter: Option<&Filter>, strategies: &[Strategy]) -> f64 {
    let (mut found, rounds) = (0, 40);
    for round in 0..rounds {
        let mut query = Query::nearest(vector(round * 97, 77)).k(10).with_vectors(true);
        if let Some(filter) = filter {
            query = query.filter(filter.clone());
        }
        let (fast, exact) = (on.query(&query).unwrap(), on.query(&query.clone().target_recall(1.0)).unwrap());
        assert!(
            strategies.contains(&fast.report.strategy),
            "{:?}: {}",
            fast.report.strategy,
            fast.report.why
        );
        assert_eq!(
            (fast.hits.len(), ids(&fast).len()),
            (exact.hits.len(), exact.hits.len()),
            "{:?}",
            fast.report
        );
        assert!(fast.hits.is_sorted_by(|a, b| a.distance <= b.distance));
        let right = ids(&exact);
        for hit in &fast.hits {
            if right.contains(&hit.id) {
                assert!(exact.hits.contains(hit), "{hit:?} is not as it is");
                found += 1;
            }
        }
    }
    found as f64 / (10 * rounds) as f64
}

#[test]
fn an_index_finds_the_nearest_and_reads_less() {
    let (_disk, on) = indexed();
    let stats = on.stats();
    assert_eq!((stats.indexes, stats.indexed, stats.not_indexed), (1, POINTS, 0));
    assert!(recall(&on, None, &[Strategy::Index]) >= 0.93);
    let query = Query::nearest(vector(5, 77));
    let (fast, exact) = (on.query(&query).unwrap(), on.query(&query.target_recall(1.0)).unwrap());
    assert_eq!(exact.report.strategy, Strategy::Exact);
    assert!(fast.report.pages * 3 < exact.report.pages && fast.report.lists > 0, "{:?}", fast.report);
    assert_eq!((exact.report.compared, exact.report.lists), (POINTS, 0));
}

#[test]
fn points_written_replaced_and_deleted_after_the_build_are_seen_at_once() {
    let (disk, on) = indexed();
    // In memory, then in segments, then in one segment with what the index has.
    write(&on, POINTS..POINTS + 300, 0);
    write(&on, (0..400).map(|at| at * 7), 1);
    on.delete((0..300).map(|at| PointId::from(at * 11 + 1)).collect::<Vec<_>>()).unwrap();
    let check = |on: &Collection| {
        assert!(recall(on, None, &[Strategy::Index]) >= 0.93);
        for id in [POINTS + 7, 7, 14] {
            let newest = vector(id, u64::from(id < POINTS));
            let hit = &on.query(&Query::nearest(newest).k(1)).unwrap().hits[0];
            assert_eq!((hit.id, hit.distance), (id.into(), 0.0));
        }
        for gone in [vector(7, 0), vector(12, 0)] {
            assert_ne!(on.query(&Query::nearest(gone).k(1)).unwrap().hits[0].distance, 0.0);
        }
    };
    check(&on);
    on.flush().unwrap();
    check(&on);
    on.compact().unwrap();
    check(&on);
    on.verify().unwrap();
    let before = on.stats();
    assert!(before.not_indexed >= 600, "{before:?}");
    drop(on);
    let on = open(&disk).unwrap();
    check(&on);
    assert_eq!(on.stats().not_indexed, before.not_indexed);
    build(&on).unwrap();
    let after = on.stats();
    assert_eq!((after.not_indexed, after.indexed), (0, after.points));
    check(&on);
    on.verify().unwrap();
    // The files of the old index are gone, and the copy on disk is the new one.
    assert_eq!(indexes(&disk), 1);
    drop(on);
    check(&open(&disk).unwrap());
}

#[test]
fn filters_find_k_by_whatever_is_cheapest() {
    let (_disk, on) = indexed();
    on.create_field_index("group", FieldType::Keyword).unwrap();
    on.create_field_index("id", FieldType::Integer).unwrap();
    on.shared.inner.build_all_fields().unwrap();
    let below = |most: u64| Filter::must([Condition::range("id").lt(most)]);
    let group = |name: &str| Filter::must([Condition::matches("group", name)]);
    let by_index = [Strategy::FilteredIndex];
    assert!(recall(&on, Some(&group("other")), &by_index) >= 0.93);
    assert!(recall(&on, Some(&below(POINTS - 900)), &by_index) >= 0.93);
    // Cheaper otherwise, and then exact.
    for few in [group("tenth"), below(30), below(3), below(0)] {
        assert_eq!(recall(&on, Some(&few), &[Strategy::MatchingOnly, Strategy::FilteredScan]), {
            let count = on.count(Some(&few)).unwrap().min(10);
            count as f64 / 10.0
        });
    }
    // Nothing but payloads tells who matches.
    let unindexed = Filter::must([Condition::matches("id", 5), Condition::matches("none", 1)]);
    let answer = on.query(&Query::nearest(vector(5, 0)).filter(unindexed)).unwrap();
    assert!(answer.hits.is_empty());
}

#[test]
fn lists_keep_up_with_writes_and_deletes() {
    let (disk, on) = indexed();
    assert_eq!(due(&on), None);
    write(&on, POINTS..POINTS + 30, 0);
    assert_eq!(due(&on), None);
    on.flush().unwrap();
    assert_eq!(due(&on), None, "so few are compared");
    write(&on, POINTS + 30..POINTS + 200, 0);
    on.flush().unwrap();
    assert_eq!((settle(&on), on.stats().not_indexed), (vec![IndexJob::Add], 0));
    on.verify().unwrap();
    // What was added is in memory only: after opening it is added again.
    drop(on);
    let on = open(&disk).unwrap();
    assert_eq!((settle(&on), on.stats().not_indexed), (vec![IndexJob::Add], 0));
    write(&on, (POINTS..POINTS + 200).chain(0..600), 1);
    on.flush().unwrap();
    assert_eq!((settle(&on), on.stats().not_indexed), (vec![IndexJob::Add, IndexJob::Fold], 0));
    on.verify().unwrap();
    assert!(recall(&on, None, &[Strategy::Index]) >= 0.93);
    assert_eq!((on.stats().indexes, indexes(&disk)), (1, 1));
    // Far more than there were: lists are split, and in the end all is measured anew.
    let many = POINTS + 200..4 * POINTS;
    for first in many.clone().step_by(3_000) {
        write(&on, first..(first + 3_000).min(many.end), 0);
        on.flush().unwrap();
        let (at, job) = on.shared.inner.due_index(Duration::ZERO).unwrap();
        on.shared.inner.run_index(at, job).unwrap();
        let recall = recall(&on, None, &[Strategy::Index]);
        assert!(recall >= 0.93, "{recall} after {job:?}, {:?}", on.stats());
    }
    assert_eq!(settle(&on).last(), Some(&IndexJob::Rebuild));
    assert!(recall(&on, None, &[Strategy::Index]) >= 0.93);
    on.verify().unwrap();
    // With all of them gone, the index goes.
    on.delete((0..4 * POINTS).map(PointId::from).collect::<Vec<_>>()).unwrap();
    on.compact().unwrap();
    assert_eq!(settle(&on), [IndexJob::Fold]);
    assert_eq!((on.stats().indexes, on.stats().indexed), (0, 0));
    on.verify().unwrap();
}

/// What was replaced makes an index as different as what was added.
#[test]
fn an_index_is_measured_anew_when_a_quarter_was_replaced() {
    let (_disk, on) = indexed();
    let unmeasured = |on: &Collection| {
        let state = on.shared.inner.state();
        let listed = state.indexes[0].as_ref().unwrap();
        (listed.index.unmeasured, listed.index.info.rows)
    };
    assert_eq!(unmeasured(&on), (0, POINTS));
    let mut measured = 0;
    for round in 0..8 {
        let share = POINTS / 10;
        write(&on, round * share..(round + 1) * share, round + 1);
        on.flush().unwrap();
        let before = unmeasured(&on).0;
        let folds = settle(&on).iter().filter(|job| **job == IndexJob::Fold).count();
        let (now, rows) = unmeasured(&on);
        assert!(rows <= POINTS + share && now < rows / 4, "{now} of {rows}");
        assert!(now > before || now == 0 || folds == 0, "{before} before, {now} now");
        measured += u64::from(folds > 0 && now == 0);
    }
    assert!((1..8).contains(&measured), "{measured} times");
    assert!(recall(&on, None, &[Strategy::Index]) >= 0.95);
}

/// While somebody writes, keeping up is of more use than a better index.
#[test]
fn an_index_that_serves_is_not_built_anew_while_others_write() {
    let (disk, on) = indexed();
    let inner = &on.shared.inner;
    let number = || inner.state().indexes[0].as_ref().unwrap().index.info.number;
    let (files, first) = (disk.list().unwrap(), number());
    inner.run_index(0, IndexJob::Rebuild).unwrap();
    assert!(number() > first);
    let second = number();
    write(&on, POINTS..POINTS + 2 * inner.limits.index_rows, 0);
    on.flush().unwrap();
    inner.run_index(0, IndexJob::Rebuild).unwrap();
    assert_eq!(number(), second, "the old one still serves");
    assert!(indexes(&disk) == 1 && disk.list().unwrap().len() <= files.len() + 12, "{:?}", disk.list());
    assert!(recall(&on, None, &[Strategy::Index]) >= 0.93);
    on.verify().unwrap();
}

#[test]
fn a_build_that_fails_or_is_cut_off_leaves_nothing_and_loses_nothing() {
    let (disk, on) = indexed();
    write(&on, 0..50, 1);
    on.flush().unwrap();
    drop(on);
    let files = files_of(&disk);
    let (opening, building) = {
        let disk = disk_of(&files);
        let first = disk.operations();
        let on = open(&disk).unwrap();
        let opened = disk.operations();
        build(&on).unwrap();
        (opened - first, disk.operations() - opened)
    };
    assert!(building > 50, "{building} operations");
    let query = Query::nearest(vector(5, 77)).k(20).target_recall(1.0);
    let right = open(&disk_of(&files)).unwrap().query(&query).unwrap().hits;
    let step = super::asked("NEARLINE_INDEX_FAULT_STEP", building / 6 + 1);
    for at in (1..building).step_by(step as usize) {
        for is_crash in [true, false] {
            let disk = disk_of(&files);
            let at = disk.operations() + opening + at;
            if is_crash {
                disk.crash_at(at);
            } else {
                disk.set_faults(Faults { at: vec![(at, Fault::Io)], ..Faults::default() });
            }
            let on = open(&disk).unwrap();
            let done = build(&on);
            if !is_crash {
                // What was left of it goes at once.
                on.verify().unwrap();
            }
            drop(on);
            disk.set_faults(Faults::default());
            if is_crash {
                disk.crash(at);
            }
            let on = open(&disk).unwrap();
            on.verify().unwrap();
            assert_eq!(on.query(&query).unwrap().hits, right, "operation {at}: {done:?}");
            assert_eq!(on.query(&query.clone().target_recall(0.9)).unwrap().report.strategy, Strategy::Index);
            assert_eq!(indexes(&disk), 1);
        }
    }
}

#[test]
fn what_dies_or_is_merged_while_an_index_is_built_stays_dead() {
    let (disk, on) = filled();
    let inner = Arc::clone(&on.shared.inner);
    // As a build does, but with things happening in between.
    let state = inner.state();
    let number = {
        let mut files = super::super::locked(&inner.files);
        let number = files.take_number();
        files.building.insert(number);
        number
    };
    let config = *inner.schema.config(0).unwrap();
    let built = inner.build_files((&state, 0), &config, number, &|| false);
    // The oldest die, and are merged away.
    on.delete((0..800).map(PointId::from).collect::<Vec<_>>()).unwrap();
    write(&on, [POINTS], 0);
    on.compact().unwrap();
    inner.adopt_index((0, number), None, None, built).unwrap();
    for on in [on, {
        drop(inner);
        drop(state);
        open(&disk_of(&files_of(&disk))).unwrap()
    }] {
        assert!(recall(&on, None, &[Strategy::Index]) >= 0.93);
        let hit = on.query(&Query::nearest(vector(3, 0)).k(1)).unwrap().hits.remove(0);
        assert!(hit.distance > 0.0);
        on.verify().unwrap();
        assert_eq!((on.stats().indexed, on.stats().points), (POINTS - 800, POINTS - 800 + 1));
    }
}

/// A collection whose points have vectors of one name or of the other.
fn of_two_names() -> Collection {
    let disk = SimDisk::new(1);
    let schema = Schema::new()
        .vector("a", crate::VectorConfig::new(DIM, Metric::L2))
        .vector("b", crate::VectorConfig::new(2, Metric::L2));
    Collection::create(&disk, STORE, &schema).unwrap();
    open(&disk).unwrap()
}

fn with_a(id: u64) -> Point {
    Point::new(id).named_vector("a", vector(id, 0))
}

fn with_b(id: u64) -> Point {
    Point::new(id).named_vector("b", [id as f32, 1.0])
}

#[test]
fn points_without_such_vectors_or_dead_make_no_index_due() {
    let on = of_two_names();
    for first in (0..6_000).step_by(500) {
        on.upsert((first..first + 500).map(|id| if id < 3_000 { with_a(id) } else { with_b(id) })).unwrap();
    }
    on.flush().unwrap();
    // All of the second kind die; their segment goes on.
    on.delete((3_000..6_000).map(PointId::from).collect::<Vec<_>>()).unwrap();
    settle(&on);
    let stats = on.stats();
    assert_eq!((stats.indexes, stats.indexed, stats.not_indexed), (1, 3_000, 0));
    on.verify().unwrap();
}

#[test]
fn vectors_in_lists_are_found_where_later_points_have_none() {
    let on = of_two_names();
    on.upsert((0..POINTS).map(with_a)).unwrap();
    on.flush().unwrap();
    build(&on).unwrap();
    // As many points without such a vector, then in one segment with the others.
    on.upsert((POINTS..3 * POINTS).map(with_b)).unwrap();
    on.compact().unwrap();
    let view = on.shared.inner.index_view(&on.shared.inner.state(), 0);
    assert_eq!((view.rest, view.listed.map(|listed| listed.live)), (0, Some(POINTS)));
    let query = Query::nearest(vector(7, 0)).using("a");
    let answer = on.query(&query).unwrap();
    assert_eq!((answer.report.strategy, answer.hits[0].id), (Strategy::Index, 7.into()));
    assert_eq!(answer.hits.len(), 10);
    on.verify().unwrap();
}

#[test]
fn what_was_made_of_an_index_that_is_gone_does_not_count() {
    let (disk, on) = indexed();
    let inner = &on.shared.inner;
    let old = inner.state().indexes[0].as_ref().unwrap().index.info.number;
    let number = {
        let mut files = super::super::locked(&inner.files);
        let number = files.take_number();
        files.building.insert(number);
        number
    };
    let config = *inner.schema.config(0).unwrap();
    let built = inner.build_files((&inner.state(), 0), &config, number, &|| false);
    on.rebuild_vector_indexes().unwrap();
    let rebuilt = inner.state().indexes[0].as_ref().unwrap().index.info.number;
    inner.adopt_index((0, number), Some(old), None, built).unwrap();
    assert_eq!(inner.state().indexes[0].as_ref().unwrap().index.info.number, rebuilt);
    assert_eq!(indexes(&disk), 1, "its files are gone");
    on.verify().unwrap();
}

#[test]
fn an_old_moment_is_answered_when_its_index_is_gone() {
    let (_disk, on) = indexed();
    let inner = &on.shared.inner;
    let state = inner.state();
    let query = Query::nearest(vector(5, 77));
    build(&on).unwrap();
    // Its files are open still. Newer points are not of that moment.
    on.upsert([Point::new(POINTS).vector(vector(5, 77))]).unwrap();
    on.compact().unwrap();
    let old = inner.reader(&state).answer(&query).unwrap();
    assert_eq!((old.report.strategy, old.hits.len()), (Strategy::Index, 10));
    assert!(old.hits[0].id != POINTS.into(), "{:?}", old.report);
    let exact = inner.reader(&state).answer(&query.target_recall(1.0)).unwrap();
    assert!(ids(&old).intersection(&ids(&exact)).count() >= 9);
}

#[test]
fn a_damaged_index_is_told_and_made_anew() {
    let (disk, on) = indexed();
    drop(on);
    let files = files_of(&disk);
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("index.")) {
        let mut damaged = files.clone();
        let place = damaged.iter_mut().find(|(other, _)| other == name).unwrap();
        place.1[bytes.len() / 2] ^= 4;
        let on = open(&disk_of(&damaged)).unwrap();
        let told = on.verify().unwrap_err().to_string();
        assert!(told.contains(name.as_str()), "{name}: {told}");
        on.verify_source().unwrap();
        if name.ends_with("MANIFEST") || name.contains("postings") {
            on.rebuild_vector_indexes().unwrap();
            on.verify().unwrap();
            assert!(recall(&on, None, &[Strategy::Index]) >= 0.93);
        }
    }
}
