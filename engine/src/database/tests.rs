//! The power goes at every step of what is done to whole folders: snapshots taken over, collections replaced, all there is kept and
//! made again.

mod frozen;
mod frozen_tables;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use nearline_index::embedding::{Dialect, Rows, RowwiseCodec};

use super::{Database, restore_storage};
use crate::folder::journal::{self, Planted};
use crate::{Behavior, BehaviorOptions, Metric, OpenError, Point, PointId, Schema, Scroll, Selector, Span};

/// Chance by seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % bound
    }
}

fn open(folder: &Path) -> Database {
    Database::builder(folder).memory_budget(16 << 20).background(false).live_tier(false).open().unwrap()
}

/// Collections `a`, of which there is a snapshot of 20 points, and `b`; another name of `a`; a space and a table.
fn base(folder: &Path) {
    let database = open(folder);
    let a = database.create_collection("a", Schema::single(2, Metric::L2)).unwrap();
    let points = |from: u64, to: u64| (from..to).map(|id| Point::new(id).vector(vec![id as f32, 1.0]));
    a.upsert(points(0, 20)).unwrap();
    a.snapshot("s").unwrap();
    a.upsert(points(20, 30)).unwrap();
    a.delete((0..5).collect::<Selector>()).unwrap();
    let b = database.create_collection("b", Schema::single(2, Metric::L2)).unwrap();
    b.upsert(points(0, 7)).unwrap();
    database.set_alias("also", "a").unwrap();
    let space = database.create_behavior_space("clicks", BehaviorOptions::new(2).hashes(4, 2)).unwrap();
    space.append([Behavior::new(1, 1, 10, 6).vector([1.0, 1.0])]).unwrap();
    let codec = RowwiseCodec::new(2, 4, Dialect::Fused16).unwrap();
    let rows = Rows::encode(codec, &[0.0, 1.0, 1.0, 0.0, 0.5, 0.5]).unwrap();
    let table = database.create_embedding_table("items", &rows).unwrap();
    table.put(&[1], &[1.0, 1.0]).unwrap();
}

fn numbers(ids: std::ops::Range<u64>) -> Vec<PointId> {
    ids.map(PointId::from).collect()
}

fn ids(database: &Database, name: &str) -> Vec<PointId> {
    let collection = database.collection(name).unwrap();
    collection.verify().unwrap();
    collection.scroll(&Scroll::new().limit(100)).unwrap().points.into_iter().map(|point| point.id).collect()
}

/// What must be there whatever happens, and that nothing is left over or damaged.
fn others_are_there(folder: &Path) {
    let database = open(folder);
    assert_eq!(ids(&database, "b"), numbers(0..7));
    assert_eq!(database.aliases()["also"], "a");
    let space = database.behavior_space("clicks").unwrap();
    assert_eq!(space.now().behaviors(1, Span::Last(9)).unwrap().len(), 1);
    let rows = database.embedding_table("items").unwrap().pin().lookup(&[0, 1]).unwrap();
    assert!(rows[0] < 0.1 && rows[1..].iter().all(|value| *value > 0.9), "{rows:?}");
    drop((space, database));
    let report = Database::builder(folder).verify(None, false, &mut |_, _| {}).unwrap();
    // Half a snapshot of a collection is not found, and goes with the next one.
    let is_draft = |path: &std::path::PathBuf| path.ends_with("snapshots/.draft");
    assert!(report.damaged.is_empty() && report.leftovers.iter().all(is_draft), "{report:?}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// What `unpack` of an import or a restoring does here: files of a folder, and nobody syncs them.
fn copied(from: &Path) -> impl FnOnce(&Path) -> Result<(), OpenError> {
    let from = from.to_owned();
    move |to| {
        copy(&from, to);
        Ok(())
    }
}

/// Does something in a copy of a database, the power going at every step of it, and tells `look` whether it was done.
fn at_every_step(
    planted: Option<Planted>,
    prepare: impl Fn(&Path),
    act: impl Fn(&Path) -> Result<(), OpenError>,
    look: impl Fn(&Path, bool),
) {
    let is_full = std::env::var_os("NEARLINE_FULL").is_some();
    let folder = tempfile::tempdir().unwrap();
    let [origin, db, kept] = ["origin", "db", "kept"].map(|name| folder.path().join(name));
    base(&origin);
    prepare(&origin);
    for at in 1.. {
        let mut steps = 0;
        for seed in 0..if planted.is_some() || is_full { 2 } else { 1 } {
            for folder in [&db, &kept] {
                drop(fs::remove_dir_all(folder));
            }
            copy(&origin, &db);
            fs::create_dir(&kept).unwrap();
            let mut random = Random(at << 8 | seed);
            journal::begin(&kept, at, planted);
            let done = act(&db).is_ok();
            steps = journal::crash(&mut |bound| random.below(bound));
            look(&db, done);
        }
        if steps < at {
            assert!(at > 5, "{at}");
            return;
        }
    }
}

fn import(planted: Option<Planted>) {
    let act = |folder: &Path| {
        let archive = folder.join("collection.000001").join("snapshots").join("s");
        open(folder).import_snapshot("new", copied(&archive)).map(drop)
    };
    at_every_step(
        planted,
        |_| {},
        act,
        |folder, done| {
            let database = open(folder);
            assert_eq!(ids(&database, "a"), numbers(5..30));
            let is_there = database.collections().contains(&"new".to_owned());
            assert!(is_there || !done);
            if is_there {
                assert_eq!(ids(&database, "new"), numbers(0..20));
            }
            drop(database);
            others_are_there(folder);
        },
    );
}

fn replace(planted: Option<Planted>) {
    let prepare = |folder: &Path| drop(open(folder).restore_snapshot("a", "s", "draft").unwrap());
    let act = |folder: &Path| open(folder).replace_collection("a", "draft");
    at_every_step(planted, prepare, act, |folder, done| {
        let database = open(folder);
        let is_draft_there = database.collections().contains(&"draft".to_owned());
        assert!(!is_draft_there || !done);
        assert_eq!(ids(&database, "a"), if is_draft_there { numbers(5..30) } else { numbers(0..20) });
        if is_draft_there {
            assert_eq!(ids(&database, "draft"), numbers(0..20));
        }
        assert_eq!(database.collection("also").unwrap().snapshots().unwrap(), ["s"]);
        drop(database.restore_snapshot("also", "s", "again").unwrap());
        assert_eq!(ids(&database, "again"), numbers(0..20));
        drop(database);
        others_are_there(folder);
    });
}

#[test]
fn an_import_is_there_or_not_whenever_the_power_goes() {
    import(None);
}

#[test]
fn a_collection_is_replaced_or_not_whenever_the_power_goes() {
    replace(None);
}

#[test]
fn a_snapshot_of_all_is_there_or_not_whenever_the_power_goes() {
    let keep = |database: &Database, name: &str| {
        database.snapshot_storage(name).map_err(|error| OpenError::Source(Arc::new(error)))
    };
    let act = |folder: &Path| {
        let database = open(folder);
        keep(&database, "all")?;
        database.drop_storage_snapshot("all")?;
        keep(&database, "again")
    };
    at_every_step(
        None,
        |_| {},
        act,
        |folder, done| {
            let database = open(folder);
            let there = database.storage_snapshots().unwrap();
            assert!(there.len() <= 1 && (there == ["again"] || !done), "{there:?}");
            for name in &there {
                let restored = folder.with_file_name("restored");
                let from = folder.join("snapshots").join(name);
                restore_storage(&restored, copied(&from)).unwrap();
                assert_eq!(ids(&open(&restored), "also"), numbers(5..30));
                others_are_there(&restored);
                fs::remove_dir_all(restored).unwrap();
            }
            assert_eq!(ids(&database, "a"), numbers(5..30));
            drop(database);
            others_are_there(folder);
        },
    );
}

fn restore(planted: Option<Planted>) {
    let prepare = |folder: &Path| open(folder).snapshot_storage("all").unwrap();
    let to = |folder: &Path| folder.join("restored");
    let act = |folder: &Path| restore_storage(&to(folder), copied(&folder.join("snapshots").join("all")));
    at_every_step(planted, prepare, act, |folder, done| {
        assert!(to(folder).exists() || !done);
        if !to(folder).exists() {
            // What was left of it is in nobody's way.
            act(folder).unwrap();
        }
        let database = open(&to(folder));
        assert_eq!(ids(&database, "also"), numbers(5..30));
        // It is a database like any other.
        database.collection("a").unwrap().upsert([Point::new(99u64).vector(vec![0.0, 0.0])]).unwrap();
        drop(database);
        others_are_there(&to(folder));
        assert_eq!(ids(&open(folder), "a"), numbers(5..30));
    });
}

#[test]
fn a_database_is_restored_or_not_whenever_the_power_goes() {
    restore(None);
}

/// What is run, and what is forgotten there.
type Case = (&'static str, fn(Option<Planted>), &'static [Planted]);

#[test]
fn planted_mistakes_are_caught() {
    let all: [Case; 3] = [
        // Its names are synced with its manifest and with the catalog, too.
        ("import", import, &[Planted::Bytes]),
        ("replace", replace, &[Planted::Names]),
        ("restore", restore, &[Planted::Names, Planted::Bytes]),
    ];
    for (what, run, planted) in all {
        for &planted in planted {
            let caught = std::thread::spawn(move || run(Some(planted))).join().is_err();
            assert!(caught, "{what}: {planted:?} is not noticed");
        }
    }
}

#[test]
fn a_snapshot_of_all_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (db, to) = (folder.path().join("db"), folder.path().join("to"));
    base(&db);
    let database = open(&db);
    database.snapshot_storage("all").unwrap();
    assert!(database.snapshot_storage("all").is_err() && database.snapshot_storage("../x").is_err());
    let from = db.join("snapshots").join("all");
    let files = database.storage_snapshot_files("all").unwrap();
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    assert_eq!(database.storage_snapshot_info("all").unwrap().bytes, bytes);
    assert!(
        database.storage_snapshot_info("none").is_err() && database.drop_storage_snapshot("none").is_err()
    );
    for file in &files {
        let damaged = |to: &Path| {
            copy(&from, to);
            fs::remove_file(to.join(&file.name)).unwrap();
            Ok(())
        };
        assert!(restore_storage(&to, damaged).is_err() || file.name.ends_with("METADATA"), "{}", file.name);
        drop(fs::remove_dir_all(&to));
        let damaged = |to: &Path| {
            copy(&from, to);
            let (path, bytes) = (to.join(&file.name), fs::read(&file.path).unwrap());
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            Ok(())
        };
        assert!(restore_storage(&to, damaged).is_err(), "{}", file.name);
    }
    let more = |to: &Path| {
        copy(&from, to);
        fs::write(to.join("more"), "x").unwrap();
        Ok(())
    };
    assert!(matches!(restore_storage(&to, more), Err(OpenError::Schema { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something is left");
    assert!(matches!(restore_storage(&db, copied(&from)), Err(OpenError::Exists { .. })));
    restore_storage(&to, copied(&from)).unwrap();
}
