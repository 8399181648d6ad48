//! Questions: what is measured with them, what is kept of them, and that neither is lost or half done.

use nearline_index::Widen;
use nearline_storage::{Disk, SimDisk};

use super::index::{DIM, POINTS, indexed, open, settle, vector, write};
use super::{disk_of, files_of, one_in};
use crate::collection::index::IndexJob;
use crate::{Collection, Database, Metric, Point, PointId, Query, Schema, VectorConfig};

/// Between two points that have nothing to do with each other.
fn question(at: u64) -> Vec<f32> {
    let (a, b) = (vector(at * 31, 5), vector(at * 47 + 11, 6));
    a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect()
}

fn questions(from: u64, count: u64) -> impl Iterator<Item = Vec<f32>> {
    (from..from + count).map(question)
}

/// The mean recall@10 of some questions by the exact answers of the same collection.
fn recall(on: &Collection, from: u64, count: u64, target: f32) -> f64 {
    let mut found = 0;
    for query in questions(from, count).map(|vector| Query::nearest(vector).k(10)) {
        let ids = |target: f32| -> Vec<PointId> {
            on.query(&query.clone().target_recall(target)).unwrap().hits.iter().map(|hit| hit.id).collect()
        };
        let exact = ids(1.0);
        found += ids(target).iter().filter(|id| exact.contains(id)).count();
    }
    found as f64 / (10 * count) as f64
}

/// The factors of the index, and what the manifest says of them; the number of its file of questions, if there is one.
fn known(on: &Collection) -> (Widen, Option<u64>) {
    let state = on.shared.inner.state();
    let manifest = super::super::locked(&on.shared.inner.files).manifest.clone();
    let listed = state.indexes[0].as_ref().unwrap();
    assert_eq!(listed.live.widen, listed.index.info.widen);
    assert_eq!(listed.index.info, manifest.indexes[0]);
    (listed.live.widen, manifest.questions.first().map(|questions| questions.number))
}

#[test]
fn what_is_calibrated_reaches_its_recall_and_is_known_from_then_on() {
    let (disk, on) = indexed();
    assert_eq!(known(&on), (Widen::NONE, None));
    let report = on.calibrate("", questions(0, 400), 10).unwrap();
    assert_eq!((report.questions, report.k, report.targets.len()), (400, 10, 3));
    for found in &report.targets {
        assert!(found.at_least >= f64::from(found.target) || found.recall == 1.0, "{report:?}");
        // Others like them.
        let held_out = recall(&on, 1_000, 200, found.target);
        assert!(held_out >= f64::from(found.target) - 0.01, "{held_out} {report:?}");
    }
    let (widen, number) = known(&on);
    assert!(number.is_some() && widen.over(&Widen::NONE) > 1.0, "{report:?}");
    on.verify().unwrap();
    drop(on);
    let on = open(&disk).unwrap();
    assert_eq!(known(&on), (widen, number));
    // Others take their place, and their file goes.
    let again = on.calibrate("", questions(0, 1_700), 5).unwrap();
    assert_eq!((again.questions, again.k), (1_000, 5));
    assert_eq!(disk.list().unwrap().iter().filter(|name| name.starts_with("questions.")).count(), 1);
    assert!(known(&on).1 > number);
    on.verify().unwrap();
}

#[test]
fn an_index_that_is_written_anew_is_measured_with_its_questions() {
    let (disk, on) = indexed();
    on.calibrate("", questions(0, 300), 10).unwrap();
    let (widen, number) = known(&on);
    // A fold of few keeps what is known.
    write(&on, POINTS..POINTS + 1_000, 0);
    on.flush().unwrap();
    assert_eq!(settle(&on), [IndexJob::Add, IndexJob::Fold]);
    assert_eq!(known(&on), (widen, number));
    // One of many measures again.
    write(&on, POINTS + 1_000..2 * POINTS, 0);
    on.flush().unwrap();
    assert!(settle(&on).contains(&IndexJob::Fold));
    let measured =
        |on: &Collection| on.shared.inner.state().indexes[0].as_ref().unwrap().index.info.measured_rows;
    assert_eq!((measured(&on), known(&on).1), (2 * POINTS, number));
    assert!(recall(&on, 1_000, 200, 0.95) >= 0.94);
    // One that is built anew is calibrated with them.
    on.rebuild_vector_indexes().unwrap();
    let state = on.shared.inner.state();
    let index = &state.indexes[0].as_ref().unwrap().index;
    assert!(index.index.info().calibration.from_queries);
    assert_eq!(index.info.built_widen, index.info.widen);
    assert_eq!(known(&on).1, number);
    assert!(recall(&on, 1_000, 200, 0.95) >= 0.94);
    on.verify().unwrap();
    drop((on, state));
    assert!(open(&disk).unwrap().verify().is_ok());
}

#[test]
fn questions_wait_for_an_index() {
    let disk = SimDisk::new(1);
    Collection::create(&disk, super::STORE, &Schema::single(DIM, Metric::L2)).unwrap();
    let on = open(&disk).unwrap();
    let report = on.calibrate("", questions(0, 100), 10).unwrap();
    assert_eq!((report.questions, report.targets), (100, Vec::new()));
    write(&on, 0..POINTS, 0);
    on.flush().unwrap();
    assert_eq!(settle(&on), [IndexJob::Build]);
    assert!(on.shared.inner.state().indexes[0].as_ref().unwrap().index.index.info().calibration.from_queries);
    assert!(recall(&on, 1_000, 100, 0.95) >= 0.93);
    // With all points gone nothing is found, and nothing is wrong.
    on.delete((0..POINTS).map(PointId::from).collect::<Vec<_>>()).unwrap();
    assert_eq!(on.calibrate("", questions(0, 100), 10).unwrap().targets, []);
    on.verify().unwrap();
}

#[test]
fn what_cannot_be_calibrated_is_refused_and_changes_nothing() {
    let disk = SimDisk::new(1);
    let schema = Schema::new()
        .vector("a", VectorConfig::new(3, Metric::Cosine))
        .vector("m", VectorConfig::new(3, Metric::Manhattan));
    Collection::create(&disk, super::STORE, &schema).unwrap();
    let on = open(&disk).unwrap();
    let before = disk.list().unwrap();
    let refused = |name: &str, count: usize, vector: [f32; 3], k| {
        on.calibrate(name, vec![vector.to_vec(); count], k).unwrap_err().to_string()
    };
    let cases = [
        (refused("x", 100, [1.0; 3], 10), "name of vectors: \"x\"; expected one of the collection's"),
        (refused("m", 100, [1.0; 3], 10), "distance: manhattan; expected"),
        (refused("a", 100, [0.0; 3], 10), "question: number 0: NaN, an infinity or all zeros; expected"),
        (refused("a", 59, [1.0; 3], 10), "questions: 59; expected 60 or more"),
        (refused("a", 60, [1.0; 3], 101), "k: 101; expected 1 to 100"),
    ];
    for (found, expected) in cases {
        assert!(found.to_lowercase().starts_with(&expected.to_lowercase()), "{found}");
    }
    assert_eq!(disk.list().unwrap(), before);
}

/// Either what was before is there, or all of what is new.
#[test]
fn the_power_goes_while_it_is_calibrated() {
    let (disk, on) = indexed();
    on.calibrate("", questions(0, 60), 10).unwrap();
    let before = known(&on);
    drop(on);
    let files = files_of(&disk);
    let calibrate = |disk: &SimDisk| {
        let on = open(disk).unwrap();
        let first = disk.operations();
        let done = on.calibrate("", questions(500, 60), 10).map(|_| known(&on));
        (first, done)
    };
    let whole = disk_of(&files);
    let (first, after) = calibrate(&whole);
    let after = after.unwrap();
    assert!(before.1 < after.1, "{before:?} {after:?}");
    let operations = whole.operations() - first;
    // Reading is most of it; what changes the disk comes last.
    let (mut old, mut new) = (0, 0);
    for at in (operations.saturating_sub(40)..=operations + 1).step_by(one_in(4)) {
        let disk = disk_of(&files);
        let opened = {
            let probe = disk_of(&files);
            drop(open(&probe).unwrap());
            probe.operations()
        };
        disk.crash_at(opened + at);
        let done = open(&disk).and_then(|on| Ok(on.calibrate("", questions(500, 60), 10)?)).is_ok();
        disk.crash(at);
        let on = open(&disk).unwrap();
        on.verify().unwrap();
        let (widen, number) = known(&on);
        assert!((widen, number) == before || (widen == after.0 && number > before.1), "{widen:?} {number:?}");
        assert!(!done || number > before.1, "what was acknowledged is gone");
        *if number == before.1 { &mut old } else { &mut new } += 1;
    }
    assert!(old > 1 && new > 0, "{old} old, {new} new");
}

#[test]
fn damaged_questions_are_told_passed_over_and_forgotten_on_request() {
    let (disk, on) = indexed();
    on.calibrate("", questions(0, 100), 10).unwrap();
    let (widen, _) = known(&on);
    drop(on);
    let mut files = files_of(&disk);
    let (name, bytes) = files.iter_mut().find(|(name, _)| name.starts_with("questions.")).unwrap();
    bytes[5_000] ^= 1;
    let name = name.clone();
    let on = open(&disk_of(&files)).unwrap();
    assert_eq!(known(&on).0, widen);
    assert!(on.verify().unwrap_err().to_string().contains(&name));
    on.verify_source().unwrap();
    on.rebuild_vector_indexes().unwrap();
    let state = on.shared.inner.state();
    assert!(!state.indexes[0].as_ref().unwrap().index.index.info().calibration.from_queries);
    on.forget_damaged_questions().unwrap();
    assert_eq!(known(&on).1, None);
    on.verify().unwrap();
}

#[test]
fn snapshots_have_their_questions() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder(folder.path()).background(false).open().unwrap();
    let on = database.create_collection("c", Schema::single(DIM, Metric::L2)).unwrap();
    on.upsert((0..100).map(|id| Point::new(id).vector(vector(id, 0)))).unwrap();
    on.calibrate("", questions(0, 60), 10).unwrap();
    on.snapshot("s").unwrap();
    let restored = database.restore_snapshot("c", "s", "again").unwrap();
    let kept = |on: &Collection| on.shared.inner.questions(0).map(|questions| questions.bytes);
    assert!(kept(&on).is_some());
    assert_eq!(kept(&on), kept(&restored));
    restored.calibrate("", questions(70, 60), 10).unwrap();
    assert_ne!(kept(&on), kept(&restored));
    database.collection("c").unwrap().verify().unwrap();
    restored.verify().unwrap();
}
