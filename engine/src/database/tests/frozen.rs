//! Databases of the formats as they were frozen: they open, have every point, and are sound.
//!
//! Where a change of the format is meant, [`NEWEST`] gets another name, and a fixture of it is made in the same commit by
//!
//! ```text
//! cargo test -p nearline --lib freeze -- --ignored
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::{
    Collection, Condition, Database, ElementType, FieldType, Filter, Metric, Payload, Point, PointId, Query,
    Schema, Scroll, TextOptions, Uuid, Value, VectorConfig,
};

/// Bytes that files of the log are multiples of; the zeros at their ends are left out of the fixture.
const LOG_BYTES: u64 = 1 << 20;

/// The fixture of the format as it is now. `v1` has neither a vector index nor questions, and manifests of version 3.
const NEWEST: &str = "v6";

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn schema() -> Schema {
    let config = |dim, metric, element| VectorConfig::new(dim, metric).element(element);
    Schema::new()
        .vector("", config(3, Metric::L2, ElementType::F32))
        .vector("bytes", config(4, Metric::Cosine, ElementType::U8))
        .vector("half", config(2, Metric::InnerProduct, ElementType::F16))
}

/// A point by its number, in one of its versions.
fn point(number: u64, version: u64) -> Point {
    let id = match number % 3 {
        0 => PointId::Uuid(Uuid([number as u8; 16])),
        _ => PointId::Number(number * 1_000_003),
    };
    let mut point = Point::new(id).payload(Payload::from([
        ("number", Value::from(number)),
        ("version", version.into()),
        ("text", format!("point {number} in Köln").into()),
        (
            "all",
            vec![Value::Null, true.into(), (-1.5).into(), Value::from(Payload::new().with("a", "b"))].into(),
        ),
    ]));
    point = point.vector([number as f32, version as f32, -0.25]);
    if number.is_multiple_of(2) {
        point = point.named_vector("bytes", vec![number as u8, 1, 2, 255]);
    }
    if number.is_multiple_of(5) {
        point = point.named_vector("half", [0.5, number as f32]);
    }
    point
}

/// Questions that the index is measured with.
fn questions() -> impl Iterator<Item = [f32; 3]> {
    (0..60).map(|at| [at as f32 / 3.0, 1.0 + at as f32 / 60.0, 0.0])
}

/// Writes the fixture's points. Some are in a segment and its index, some of those dead, some are in the log only.
fn fill(points: &Collection) {
    points.upsert((0..20).map(|number| point(number, 1))).unwrap();
    points.delete([point(3, 1).id, point(4, 1).id]).unwrap();
    points.upsert((10..12).map(|number| point(number, 2))).unwrap();
    points.flush().unwrap();
    points.shared.inner.build_index(0).unwrap();
    points.calibrate("", questions(), 3).unwrap();
    points.snapshot("before").unwrap();
    points.upsert((5..7).map(|number| point(number, 3))).unwrap();
    points.delete([point(19, 1).id]).unwrap();
}

fn expected(is_snapshot: bool) -> Vec<Point> {
    let version = |number| match number {
        3 | 4 => None,
        19 if !is_snapshot => None,
        5 | 6 if !is_snapshot => Some(3),
        10 | 11 => Some(2),
        _ => Some(1),
    };
    let mut points: Vec<Point> = (0..20).filter_map(|number| Some(point(number, version(number)?))).collect();
    points.sort_by_key(|point| point.id);
    points
}

fn scrolled(points: &Collection) -> Vec<Point> {
    points.scroll(&Scroll::new().limit(100)).unwrap().points
}

fn is_log(name: &str) -> bool {
    name.starts_with("wal.")
}

/// Copies a folder and what is in it. Files of the log get the length they say, or lose the zeros at their ends.
pub(super) fn copy(from: &Path, to: &Path, cut: bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        let target = to.join(&name);
        if path.is_dir() {
            copy(&path, &target, cut);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        match (is_log(&name), cut) {
            (true, true) => {
                bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1))
            }
            (true, false) => bytes.resize((bytes.len() as u64).next_multiple_of(LOG_BYTES) as usize, 0),
            (false, _) => {}
        }
        if name != "LOCK" {
            fs::write(&target, bytes).unwrap();
        }
    }
}

#[test]
#[ignore = "makes a fixture"]
fn freeze() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder(folder.path()).background(false).open().unwrap();
    let points = database.create_collection("points", schema()).unwrap();
    points.create_field_index("number", FieldType::Integer).unwrap();
    points.create_field_index("text", FieldType::Text(TextOptions::default())).unwrap();
    fill(&points);
    database.set_alias("current", "points").unwrap();
    database.create_collection("empty", Schema::new()).unwrap();
    drop((points, database));
    assert!(!fixture(NEWEST).exists(), "{NEWEST} is frozen: a new format has a new name");
    copy(folder.path(), &fixture(NEWEST), true);
}

#[test]
fn a_database_of_before_there_were_indexes_opens() {
    opens("v1", (0, 0), 0);
}

#[test]
fn a_database_of_the_frozen_format_opens() {
    opens("v6", (1, 60), 3);
}

#[test]
fn all_fixtures_are_opened() {
    let mut names: Vec<_> =
        fs::read_dir(fixture("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["t2", "v1", "v6"]);
    assert!(names.contains(&NEWEST.into()));
}

/// The fixture opens, with so many indexes and questions, and files of which rows have vectors; restored and written, too.
fn opens(name: &str, (indexes, questions): (u64, u64), files_of_rows: usize) {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture(name), folder.path(), false);
    let rows_files = |folder: &Path| {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with("rows.")).count()
    };
    // `v1` is of before vectors with gaps had their rows beside them.
    assert_eq!(rows_files(&folder.path().join("collection.000001")), files_of_rows);
    let builder = Database::builder(folder.path()).background(false);
    let report = builder.clone().verify(None, false, &mut |_, _| {}).unwrap();
    assert!(report.damaged.is_empty() && report.leftovers.is_empty(), "{report:?}");
    assert_eq!((report.collections, report.snapshots, report.points), (2, 1, 17));

    let database = builder.open().unwrap();
    assert_eq!(database.collections(), ["empty", "points"]);
    let points = database.collection("current").unwrap();
    assert_eq!(*points.schema(), schema());
    let stats = points.stats();
    assert!(stats.segments == 1 && stats.dead_points == 3 && stats.points_in_memory == 2, "{stats:?}");
    assert_eq!((stats.indexes, points.kept_questions()), (indexes, questions));
    assert_eq!(scrolled(&points), expected(false));
    let some = Filter::must([Condition::range("version").gte(2)]);
    assert_eq!(points.count(Some(&some)).unwrap(), 4);
    let fields = points.field_indexes();
    assert!(fields.len() == 2 && fields.iter().all(|field| !field.building && field.bytes > 0), "{fields:?}");
    let some = [Condition::range("number").lt(8), Condition::matches_text("text", "köln")];
    assert_eq!(points.count(Some(&Filter::must(some))).unwrap(), 6);
    let answer = points.query(&Query::nearest([7.0, 1.0, 0.0]).k(1)).unwrap();
    assert_eq!(answer.hits[0].id, point(7, 1).id);

    // Where all vectors are two pages, nothing else looks at lists.
    let calibrated = points.calibrate("", self::questions(), 3).unwrap().targets;
    assert!(calibrated.len() == 3 * indexes as usize && calibrated.iter().all(|one| one.lists > 0.0));

    let restored = database.restore_snapshot("points", "before", "restored").unwrap();
    assert_eq!(scrolled(&restored), expected(true));
    assert_eq!((restored.stats().indexes, restored.kept_questions()), (indexes, questions));
    // It can be written, too.
    points.upsert([point(19, 4)]).unwrap();
    points.compact().unwrap();
    assert_eq!(points.count(None).unwrap(), 18);
    assert_eq!(rows_files(&folder.path().join("collection.000001")), 3);
    points.verify().unwrap();
}
