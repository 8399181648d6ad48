//! What a database does about what is left over, damaged, or held by others.

use std::fs;
use std::path::Path;

use nearline::{
    Collection, Condition, Database, FieldType, Filter, Metric, OpenError, Payload, Point, Schema,
};

fn open(folder: &Path) -> Result<Database, OpenError> {
    Database::builder(folder).background(false).open()
}

fn filled(database: &Database) -> Collection {
    let made = database.create_collection("points", Schema::single(2, Metric::L2)).unwrap();
    made.upsert((0..10).map(|id| Point::new(id).vector([id as f32, 1.0]))).unwrap();
    made.flush().unwrap();
    made
}

/// Names of files and folders inside a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_collection_holds_its_database() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path()).unwrap();
    let points = filled(&database);
    drop(database);
    assert!(matches!(open(folder.path()), Err(OpenError::InUse { .. })));
    points.upsert([Point::new(10).vector([1.0, 1.0])]).unwrap();
    drop(points);
    assert_eq!(open(folder.path()).unwrap().collection("points").unwrap().count(None).unwrap(), 11);
}

#[test]
fn only_a_database_that_is_there_is_opened_if_none_is_to_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let error = Database::builder(&path).create(false).open().unwrap_err();
    assert!(matches!(error, OpenError::Missing { what: "database", .. }), "{error}");
    assert!(!path.exists() && !Database::is_in(&path));
    drop(open(&path).unwrap());
    assert!(Database::is_in(&path));
    Database::builder(&path).create(false).open().unwrap();
}

#[test]
fn a_restore_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path()).unwrap();
    let points = filled(&database);
    points.snapshot("s").unwrap();
    // No link leads to a folder.
    let odd = folder.path().join("collection.000001/snapshots/s/odd");
    fs::create_dir(&odd).unwrap();
    let before = names(folder.path());
    assert!(database.restore_snapshot("points", "s", "copy").is_err());
    assert_eq!(names(folder.path()), before);
    fs::remove_dir(&odd).unwrap();
    let copy = database.restore_snapshot("points", "s", "copy").unwrap();
    assert_eq!(copy.count(None).unwrap(), 10);
}

#[test]
fn verifying_tells_leftovers_from_damage_and_repairing_removes_only_them() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path()).unwrap();
    filled(&database).snapshot("s").unwrap();
    drop(database);
    let root = folder.path();
    let verify = |repair| Database::builder(root).verify(None, repair, &mut |_, _| {}).unwrap();
    let report = verify(false);
    assert_eq!((report.collections, report.snapshots, report.points), (1, 1, 10));
    assert!(report.leftovers.is_empty() && report.damaged.is_empty(), "{report:?}");
    let one = |name| Database::builder(root).verify(Some(name), false, &mut |_, _| {});
    assert_eq!(one("points").unwrap().points, 10);
    assert!(matches!(one("others"), Err(OpenError::Missing { what: "collection", .. })));

    let left =
        ["DATABASE.1-2-3.tmp", "collection.000001/COLLECTION.1-2-3.tmp", "collection.000001/points.000077"];
    left.iter().for_each(|name| fs::write(root.join(name), b"half").unwrap());
    let folders = ["collection.000001/snapshots/.draft", "collection.000009"];
    folders.iter().for_each(|name| fs::create_dir(root.join(name)).unwrap());
    fs::write(root.join("notes.txt"), b"not ours").unwrap();
    for repair in [false, false, true] {
        let report = verify(repair);
        let mut found: Vec<_> =
            report.leftovers.iter().map(|path| path.strip_prefix(root).unwrap()).collect();
        found.sort();
        let mut expected: Vec<&Path> = left.iter().chain(&folders).map(Path::new).collect();
        expected.sort();
        assert_eq!(found, expected);
        assert!(report.damaged.is_empty() && report.points == 10, "{report:?}");
    }
    assert!(verify(false).leftovers.is_empty());
    assert_eq!(fs::read(root.join("notes.txt")).unwrap(), b"not ours");

    // A snapshot's own manifest, and then the collection's.
    for (file, snapshot) in
        [("collection.000001/snapshots/s/COLLECTION", Some("s")), ("collection.000001/COLLECTION", None)]
    {
        let mut bytes = fs::read(root.join(file)).unwrap();
        bytes[4200] ^= 1;
        fs::write(root.join(file), bytes).unwrap();
        let report = verify(true);
        assert_eq!(report.damaged.len(), 1);
        let damage = &report.damaged[0];
        assert_eq!((&*damage.collection, damage.snapshot.as_deref()), ("points", snapshot));
        assert!(damage.error.to_string().contains("COLLECTION"), "{}", damage.error);
    }
}

#[test]
fn repairing_builds_damaged_field_indexes_anew() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let database = open(root).unwrap();
    let points = filled(&database);
    points.create_field_index("n", FieldType::Integer).unwrap();
    points.upsert([Point::new(3).payload(Payload::new().with("n", 7))]).unwrap();
    points.compact().unwrap();
    drop((points, database));
    let verify = |repair| Database::builder(root).verify(None, repair, &mut |_, _| {}).unwrap();
    for gone in [false, true] {
        let inside = root.join("collection.000001");
        let field = inside.join(names(&inside).iter().find(|name| name.starts_with("field.")).unwrap());
        let mut bytes = fs::read(&field).unwrap();
        bytes[5000] ^= 1;
        if gone { fs::remove_file(&field) } else { fs::write(&field, bytes) }.unwrap();
        let report = verify(false);
        assert!(report.damaged.len() == 1 && report.rebuilt.is_empty(), "{report:?}");
        assert!(report.damaged[0].error.to_string().contains("field."), "{report:?}");
        let report = verify(true);
        assert!(report.damaged.is_empty() && report.rebuilt == ["points"], "{report:?}");
        assert!(verify(false).damaged.is_empty());
    }
    let seven = Filter::must([Condition::matches("n", 7)]);
    assert_eq!(open(root).unwrap().collection("points").unwrap().count(Some(&seven)).unwrap(), 1);
}
