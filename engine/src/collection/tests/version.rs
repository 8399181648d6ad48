//! Versions: what a snapshot keeps is read as it was, whatever becomes of the collection and of the snapshot.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::index::{DIM, POINTS, recall, settle, vector, write};
use super::model::explain;
use super::twin::{Call, Random, Twin, schema};
use super::{Step, asked, one_in};
use crate::{
    Collection, Condition, Database, FieldType, Filter, Metric, OpenError, OrderBy, Payload, Point, PointId,
    Query, Schema, Scroll, Strategy, Version,
};

fn database(folder: &Path, background: bool) -> Database {
    let mut builder = Database::builder(folder).background(background).memory_budget(32 << 20);
    builder.index_rows = 8;
    builder.open().unwrap()
}

/// What is known of snapshots: the twin of then, and the version if somebody has it open.
type Kept = BTreeMap<String, (Twin, Option<Version>)>;

/// Checks a version, one that is open or one that is opened.
fn check_one(on: &Collection, kept: &Kept, random: &mut Random) {
    if kept.is_empty() {
        return;
    }
    let (name, (twin, open)) = kept.iter().nth(random.below(kept.len() as u64) as usize).unwrap();
    let version = open.clone().unwrap_or_else(|| on.as_of(name).unwrap());
    assert!(twin.equals(&version), "{name}");
    twin.check(&version, random);
}

#[test]
fn versions_are_what_the_twin_was() {
    for seed in 0..asked("NEARLINE_MODEL_SEQUENCES", 300) / 50 {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(seed ^ 0xa50f);
        let mut open = Some(database(folder.path(), false));
        drop(open.as_ref().unwrap().create_collection("c", schema()).unwrap());
        let (mut twin, mut kept, mut gone) = (Twin::default(), Kept::new(), Kept::new());
        let mut steps = Vec::new();
        for at in 0..60 {
            let on = open.as_ref().unwrap().collection("c").unwrap();
            let step = Step::random(&mut random);
            steps.push(step.clone());
            explain(seed, &steps, || {
                match &step {
                    Step::Call(call) => drop(call.make(&on).unwrap()),
                    other => other.maintain(&on).unwrap(),
                }
                if random.once_in(8) {
                    settle(&on);
                }
            });
            if let Step::Call(call) = &step {
                twin.apply(call);
            }
            if random.once_in(6) {
                // A name comes again once its snapshot is dropped.
                let name = format!("s{}", random.below(4));
                if let Some((twin, version)) = kept.remove(&name) {
                    on.drop_snapshot(&name).unwrap();
                    gone.insert(format!("{name} before {at}"), (twin, version));
                }
                on.snapshot(&name).unwrap();
                let version = random.once_in(2).then(|| on.as_of(&name).unwrap());
                kept.insert(name, (twin.clone(), version));
            }
            gone.retain(|_, (_, version)| version.is_some());
            explain(seed, &steps, || {
                check_one(&on, &kept, &mut random);
                check_one(&on, &gone, &mut random);
                assert!(twin.equals(&on));
            });
            drop(on);
            if random.once_in(15) {
                gone.clear();
                kept.values_mut().for_each(|(_, version)| *version = None);
                drop(open.take());
                open = Some(database(folder.path(), false));
            }
        }
        let on = open.as_ref().unwrap().collection("c").unwrap();
        explain(seed, &steps, || {
            for (name, (twin, _)) in &kept {
                twin.check(&on.as_of(name).unwrap(), &mut random);
            }
            on.verify().unwrap();
        });
    }
}

/// A collection of many vectors in a database, with an index.
fn indexed(folder: &Path) -> (Database, Collection) {
    let database = database(folder, false);
    let on = database.create_collection("c", Schema::single(DIM, Metric::L2)).unwrap();
    on.create_field_index("id", FieldType::Integer).unwrap();
    write(&on, 0..POINTS, 0);
    on.flush().unwrap();
    on.shared.inner.build_index(0).unwrap();
    (database, on)
}

#[test]
fn a_version_is_searched_through_its_own_lists() {
    let folder = tempfile::tempdir().unwrap();
    let (_database, on) = indexed(folder.path());
    let below = |most: u64| Filter::must([Condition::range("id").lt(most)]);
    let questions: Vec<Query> = (0..20)
        .flat_map(|at| {
            let query = Query::nearest(vector(at * 97, 77)).with_vectors(true).with_payload(true);
            [query.clone(), query.clone().target_recall(1.0), query.filter(below(POINTS - 500))]
        })
        .collect();
    let ask = |version: &Version| -> Vec<_> {
        let answers = version.query_batch(&questions).unwrap();
        answers.into_iter().map(|answer| (answer.hits, answer.report.strategy)).collect()
    };
    on.snapshot("old").unwrap();
    let old = on.as_of("old").unwrap();
    let (before, count) = (ask(&old), old.count(Some(&below(77))).unwrap());
    assert_eq!((before[0].1, before[1].1, before[2].1), {
        (Strategy::Index, Strategy::Exact, Strategy::FilteredIndex)
    });
    for (at, query) in questions.iter().enumerate() {
        assert_eq!(on.query(query).unwrap().hits, before[at].0, "the same as in the collection");
    }
    let filtered = below(POINTS - 500);
    let recalls = |on: &dyn Fn(Option<&Filter>, &[Strategy]) -> f64| {
        [on(None, &[Strategy::Index]), on(Some(&filtered), &[Strategy::FilteredIndex])]
    };
    let best = recalls(&|filter, strategies| recall(&on, filter, strategies));
    assert!(best.iter().all(|&recall| recall >= 0.9), "{best:?}");
    // Replaced, deleted, added; then folded, merged, and the snapshot dropped.
    write(&on, (0..POINTS).step_by(3), 1);
    on.delete((0..POINTS).step_by(7).map(PointId::from).collect::<Vec<_>>()).unwrap();
    write(&on, POINTS..POINTS + 500, 0);
    on.flush().unwrap();
    assert!(!settle(&on).is_empty());
    on.compact().unwrap();
    on.snapshot("new").unwrap();
    on.shared.inner.build_index(0).unwrap();
    let again = |version: &Version| {
        assert!(ask(version) == before, "a version has changed");
        assert_eq!(version.count(Some(&below(77))).unwrap(), count);
        assert_eq!(recalls(&|filter, strategies| recall(version, filter, strategies)), best);
    };
    again(&old);
    let new = on.as_of("new").unwrap();
    assert!(recall(&new, None, &[Strategy::Index]) >= 0.9);
    assert_eq!(new.count(None).unwrap(), on.count(None).unwrap());
    drop(old);
    let old = on.as_of("old").unwrap();
    again(&old);
    on.drop_snapshot("old").unwrap();
    again(&old);
    // Together they keep no more of what they read than one index of the collection may, whatever is dropped.
    on.snapshot("third").unwrap();
    let third = on.as_of("third").unwrap();
    let cached = || on.shared.inner.version_cache.load(Ordering::Acquire);
    let each = [&old, &new, &third].map(Version::index_cache);
    assert!(each.iter().all(|&bytes| bytes > 0), "{each:?}");
    assert_eq!(cached(), each.iter().sum::<u64>());
    assert!(cached() <= on.shared.inner.limits.index_cache, "{each:?}");
    drop((old, new));
    assert_eq!(cached(), each[2]);
    drop(third);
    assert_eq!(cached(), 0);
}

#[test]
fn versions_are_opened_once_and_known_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path(), false);
    let on = database.create_collection("c", Schema::new()).unwrap();
    on.upsert((0..10_u64).map(Point::new)).unwrap();
    on.snapshot("s").unwrap();
    let (first, second) = (on.as_of("s").unwrap(), on.as_of("s").unwrap());
    assert!(first.is_same(&second));
    assert_eq!((first.info(), first.schema()), (&on.snapshot_info("s").unwrap(), on.schema()));
    assert_eq!((first.info().name.as_str(), first.info().bytes > 0), ("s", true));
    on.delete((0..4_u64).map(PointId::from).collect::<Vec<_>>()).unwrap();
    on.drop_snapshot("s").unwrap();
    for error in [on.as_of("s").unwrap_err(), on.snapshot_info("s").unwrap_err()] {
        assert!(matches!(&error, OpenError::Missing { what: "snapshot", name } if name == "s"), "{error}");
    }
    assert!(matches!(on.as_of("../s").unwrap_err(), OpenError::Name { .. }));
    // The same name, but not the same points.
    on.snapshot("s").unwrap();
    let third = on.as_of("s").unwrap();
    assert_eq!([&first, &second, &third].map(|version| version.count(None).unwrap()), [10, 10, 6]);
    // Who reads a version has the collection open, and with it the database.
    drop((on, first, second));
    database.drop_collection("c").unwrap();
    drop(database);
    assert!(matches!(Database::builder(folder.path()).open(), Err(OpenError::InUse { .. })));
    assert_eq!(third.scroll(&Scroll::new()).unwrap().points.len(), 6);
    drop(third);
    Database::builder(folder.path()).open().unwrap();
}

#[test]
fn fields_of_then_are_those_of_a_version() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path(), false);
    let on = database.create_collection("c", Schema::new()).unwrap();
    on.create_field_index("n", FieldType::Integer).unwrap();
    on.upsert((0..100_u64).map(|id| Point::new(id).payload(Payload::new().with("n", id % 10)))).unwrap();
    on.snapshot("s").unwrap();
    let fields = on.field_indexes();
    on.drop_field_index("n").unwrap();
    on.clear_payload((0..50_u64).map(PointId::from).collect::<Vec<_>>()).unwrap();
    on.compact().unwrap();
    let version = on.as_of("s").unwrap();
    assert_eq!((version.field_indexes(), fields.len(), on.field_indexes().len()), (fields, 1, 0));
    let threes = Filter::must([Condition::matches("n", 3)]);
    assert_eq!((version.count(Some(&threes)).unwrap(), on.count(Some(&threes)).unwrap()), (10, 5));
    let first = version.scroll(&Scroll::new().limit(3).order_by(OrderBy::descending("n"))).unwrap();
    let ids: Vec<PointId> = first.points.iter().map(|point| point.id).collect();
    assert_eq!((ids, first.order_values), ([9, 19, 29].map(PointId::from).to_vec(), vec![9.into(); 3]));
    assert_eq!(version.get([99, 100, 0]).unwrap().len(), 2);
}

/// Snapshots that are made and dropped under few names while threads read them.
struct Relay {
    /// The writes that the newest snapshot of each name has at least.
    least: [AtomicU64; 3],
    ended: AtomicU64,
}

/// All points of a version are of one write: says of which.
fn write_of(version: &Version) -> u64 {
    let all = version.scroll(&Scroll::new().limit(100)).unwrap().points;
    let writes: Vec<u64> = all
        .iter()
        .map(|point| point.payload.get("v").unwrap().as_number().unwrap().as_u64().unwrap())
        .collect();
    assert!(all.len() == 30 && writes.iter().all(|&write| write == writes[0]), "{writes:?}");
    let at = writes[0];
    let of_it = Filter::must([Condition::matches("v", at)]);
    assert_eq!((version.count(None).unwrap(), version.count(Some(&of_it)).unwrap()), (30, 30));
    let hits = version.query(&Query::nearest([at as f32, 0.0]).k(30).filter(of_it)).unwrap().hits;
    assert!(hits.len() == 30 && hits.iter().all(|hit| hit.distance == 0.0), "{hits:?}");
    at
}

#[test]
fn threads_read_versions_while_others_write_and_drop_them() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path(), true);
    let on = database.create_collection("c", Schema::single(2, Metric::L2)).unwrap();
    on.create_field_index("v", FieldType::Integer).unwrap();
    let relay = Arc::new(Relay { least: Default::default(), ended: AtomicU64::new(0) });
    let read = |on: &Collection, relay: &Relay, seed: u64| {
        let (mut random, mut seen, mut held) = (Random(seed), 0, Vec::new());
        while relay.ended.load(Ordering::Acquire) == 0 {
            let name = random.below(3) as usize;
            let least = relay.least[name].load(Ordering::Acquire);
            match on.as_of(&format!("s{name}")) {
                Ok(version) => {
                    let write = write_of(&version);
                    assert!(write >= least, "an old version: {write}, {least}");
                    held.push((version, write));
                    seen += 1;
                }
                Err(error) => assert!(matches!(error, OpenError::Missing { .. }), "{error}"),
            }
            if let Some(at) = held.len().checked_sub(1) {
                let (version, write) = &held[random.below(at as u64 + 1) as usize];
                assert_eq!(write_of(version), *write);
            }
            if held.len() > 4 {
                held.swap_remove(random.below(4) as usize);
            }
        }
        seen
    };
    let reader = &read;
    let seen = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|seed| {
                let (on, relay) = (on.clone(), Arc::clone(&relay));
                scope.spawn(move || reader(&on, &relay, seed))
            })
            .collect();
        for write in 1..=asked("NEARLINE_VERSIONS", 60) {
            let payload = Payload::new().with("v", write);
            let point = |id| Point::new(id).vector([write as f32, 0.0]).payload(payload.clone());
            on.upsert((0..30_u64).map(point)).unwrap();
            let name = write as usize % 3;
            if write > 3 {
                on.drop_snapshot(&format!("s{name}")).unwrap();
            }
            on.snapshot(&format!("s{name}")).unwrap();
            relay.least[name].store(write, Ordering::Release);
            if write % 10 == 0 {
                on.compact().unwrap();
            }
        }
        relay.ended.store(1, Ordering::Release);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
    });
    assert!(seen > 0);
    on.verify().unwrap();
}

/// A database whose snapshot `s` has files of all kinds, closed; what the snapshot holds, and where it lies.
fn sample(folder: &Path) -> (Twin, PathBuf) {
    let database = database(folder, false);
    let on = database.create_collection("c", schema()).unwrap();
    on.create_field_index("n", FieldType::Integer).unwrap();
    let (mut twin, mut random) = (Twin::default(), Random(11));
    for at in 0..80 {
        let call = Call::random(&mut random);
        call.make(&on).unwrap();
        twin.apply(&call);
        if at == 40 {
            on.flush().unwrap();
            on.shared.inner.build_index(0).unwrap();
        }
    }
    on.snapshot("s").unwrap();
    (twin, on.shared.inner.disk.root().join("snapshots").join("s"))
}

/// Ends a file early. The collection keeps its own.
fn cut(file: &Path, bytes: &[u8]) {
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}

#[test]
fn files_of_a_version_that_end_early_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (twin, snapshot) = sample(folder.path());
    let names: Vec<String> = fs::read_dir(&snapshot)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    for kind in ["COLLECTION", "points.", "ids.", "vectors.", "rows.", "dead.", "field.", "index."] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "{kind}: {names:?}");
    }
    for name in &names {
        let file = snapshot.join(name);
        let whole = fs::read(&file).unwrap();
        let is_derived = name.starts_with("field.") || name.starts_with("index.");
        for keep in [0, 1, whole.len() / 2, whole.len() - 1, 4096].into_iter().step_by(one_in(2)) {
            cut(&file, &whole[..keep.min(whole.len() - 1)]);
            let database = database(folder.path(), false);
            let on = database.collection("c").unwrap();
            match on.as_of("s") {
                Ok(version) => {
                    assert!(is_derived, "{name}, {keep} bytes: opened");
                    twin.is_never_contradicted(&version);
                    let matches = version.count(Some(&Filter::must([Condition::matches("n", 1)])));
                    let named = |error: &crate::QueryError| error.to_string().contains(name);
                    assert!(matches.as_ref().err().is_none_or(named), "{name}: {matches:?}");
                }
                Err(error) => assert!(!is_derived && error.to_string().contains(name), "{name}: {error}"),
            }
            assert!(twin.equals(&on), "the collection has files of its own");
        }
        cut(&file, &whole);
    }
    let database = database(folder.path(), false);
    assert!(twin.equals(&database.collection("c").unwrap().as_of("s").unwrap()));
}

#[test]
fn files_of_an_open_version_that_are_cut_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (twin, snapshot) = sample(folder.path());
    for file in fs::read_dir(&snapshot).unwrap().map(|file| file.unwrap().path()) {
        let whole = fs::read(&file).unwrap();
        // Not the collection's.
        cut(&file, &whole);
        let database = database(folder.path(), false);
        let on = database.collection("c").unwrap();
        let version = on.as_of("s").unwrap();
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(whole.len() as u64 / 2).unwrap();
        twin.is_never_contradicted(&version);
        assert!(twin.equals(&on));
        cut(&file, &whole);
    }
}
