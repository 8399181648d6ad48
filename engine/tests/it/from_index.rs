//! Indexes that were built offline, as collections.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use nearline::{
    BuildOptions, Codec, Collection, Condition, Database, ElementType, Filter, FromIndex, IdSource, Index,
    Metric, OpenError, OpenOptions, Payload, Point, PointId, Probe, Query, Rerank, Scroll, SearchOptions,
    Shape, Silent, SourceError, VectorSlice, build,
};

const DIM: usize = 80;
const COUNT: u64 = 8_000;

fn vector(n: u64) -> Vec<f32> {
    let value = |j: u64| {
        let mixed = (n * 64 + j + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / 16_777_216.0
    };
    (0..DIM as u64).map(value).collect()
}

/// Three times the row.
struct Thirds;

impl IdSource for Thirds {
    fn name(&self) -> String {
        "thirds".to_owned()
    }
    fn count(&self) -> u64 {
        COUNT
    }
    fn ids(&self, from: u64, out: &mut [u64]) -> Result<(), SourceError> {
        out.iter_mut().zip(from..).for_each(|(id, row)| *id = 3 * row);
        Ok(())
    }
}

fn build_in(folder: &Path, options: &BuildOptions<'_>) {
    let bytes: Vec<u8> = (0..COUNT).flat_map(vector).flat_map(f32::to_le_bytes).collect();
    let shape = Shape { element: ElementType::F32, dim: DIM };
    build(folder, &VectorSlice::new(shape, &bytes).unwrap(), options, &Silent).unwrap();
}

fn coded() -> BuildOptions<'static> {
    BuildOptions { codec: Some(Codec::Rabitq { bits: 4 }), calibration_rows: 50, ..BuildOptions::default() }
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The ten nearest of a map, as a collection has them.
fn check(points: &Collection, twin: &BTreeMap<u64, Vec<f32>>) {
    assert_eq!(points.count(None).unwrap(), twin.len() as u64);
    let (mut right, mut wanted) = (0, 0);
    for n in 0..20 {
        let query = vector(1_000_000 + n);
        let distance = |of: &[f32]| of.iter().zip(&query).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let mut all: Vec<(f32, u64)> = twin.iter().map(|(&id, of)| (distance(of), id)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let expected: Vec<PointId> = all[..10].iter().map(|pair| pair.1.into()).collect();
        let query = Query::nearest(query);
        let ids = |query: &Query| -> Vec<PointId> {
            points.query(query).unwrap().hits.iter().map(|hit| hit.id).collect()
        };
        assert_eq!(ids(&query.clone().target_recall(1.0)), expected);
        right += ids(&query).iter().filter(|id| expected.contains(id)).count();
        wanted += 10;
    }
    assert!(right * 100 >= wanted * 90, "{right} of {wanted}");
}

#[test]
fn the_same_folder_opens_for_reading_and_writing() {
    let folder = tempfile::tempdir().unwrap();
    build_in(folder.path(), &BuildOptions { ids: Some(&Thirds), ..coded() });
    let query = vector(1_000_000);
    let asked: Vec<u8> = query.iter().flat_map(|x| x.to_le_bytes()).collect();
    let options = SearchOptions { probe: Probe::All, rerank: Rerank::Exact, ..SearchOptions::default() };
    let index = Index::open(folder.path(), &OpenOptions::default()).unwrap();
    let before: Vec<u64> =
        index.searcher().search(&asked, &options).unwrap().hits.iter().map(|hit| hit.id).collect();
    assert!(Database::builder(folder.path()).open().is_err(), "somebody searches it");
    drop(index);
    let open = || Database::builder(folder.path()).memory_budget(32 << 20).open().unwrap();
    let database = open();
    assert_eq!(database.collections(), ["default"]);
    assert_eq!(names_in(folder.path()), ["DATABASE", "LOCK", "collection.000001"].map(str::to_owned).into());
    let points = database.collection("default").unwrap();
    let mut twin: BTreeMap<u64, Vec<f32>> = (0..COUNT).map(|row| (3 * row, vector(row))).collect();
    let answer = points.query(&Query::nearest(query).target_recall(0.95)).unwrap();
    assert_eq!(answer.report.strategy, nearline::Strategy::Index);
    let found: Vec<PointId> = answer.hits.iter().map(|hit| hit.id).collect();
    assert_eq!(found[0], PointId::from(before[0]));
    check(&points, &twin);
    points.verify().unwrap();
    let got = points.get([PointId::from(300)]).unwrap();
    assert_eq!(got, [Point::new(300).vector(vector(100))]);
    // It changes: new points, other vectors of old ones, and some go.
    let new: Vec<(u64, Vec<f32>)> = (0..400)
        .map(|n| if n < 200 { (3 * n, vector(50_000 + n)) } else { (20_000 + n, vector(60_000 + n)) })
        .collect();
    points.upsert(new.iter().map(|(id, vector)| Point::new(*id).vector(vector.clone()))).unwrap();
    twin.extend(new);
    points.delete((1_000..1_100).map(|n| PointId::from(3 * n)).collect::<Vec<_>>()).unwrap();
    twin.retain(|id, _| !(3_000..3_300).contains(id));
    check(&points, &twin);
    points.snapshot("then").unwrap();
    points.wait_idle().unwrap();
    assert_eq!((points.stats().indexes, points.stats().not_indexed), (1, 0));
    check(&points, &twin);
    points.compact().unwrap();
    check(&points, &twin);
    points.verify().unwrap();
    let restored = database.restore_snapshot("default", "then", "again").unwrap();
    check(&restored, &twin);
    restored.verify().unwrap();
    drop((points, restored, database));
    check(&open().collection("default").unwrap(), &twin);
    let report = Database::builder(folder.path()).verify(None, false, &mut |_, _| ()).unwrap();
    assert!(report.damaged.is_empty() && report.leftovers.is_empty(), "{report:?}");
}

#[test]
fn a_crash_on_the_way_leaves_an_index_or_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let (root, links) = (folder.path().join("index"), folder.path().join("links"));
    build_in(&root, &coded());
    fs::create_dir(&links).unwrap();
    let index: Vec<String> = names_in(&root).into_iter().filter(|name| name != "LOCK").collect();
    index.iter().for_each(|name| fs::hard_link(root.join(name), links.join(name)).unwrap());
    // Before the catalog is written, there may be half a collection.
    fs::create_dir(root.join("collection.000001")).unwrap();
    fs::write(root.join("collection.000001/points.000001"), "half").unwrap();
    let count = || {
        let database = Database::builder(&root).open().unwrap();
        database.collection("default").unwrap().count(None).unwrap()
    };
    assert_eq!(count(), COUNT);
    // Behind it, all files of the index, or some; the manifest is the first of them, and the last to go.
    assert_eq!(index[0], "MANIFEST");
    for gone in 0..index.len() {
        for name in index[..1].iter().chain(&index[1 + gone..]) {
            fs::hard_link(links.join(name), root.join(name)).unwrap();
        }
        assert_eq!(count(), COUNT);
        assert_eq!(names_in(&root), ["DATABASE", "LOCK", "collection.000001"].map(str::to_owned).into());
    }
    // Another index beside a database is somebody's.
    build_in(&folder.path().join("other"), &coded());
    for name in names_in(&folder.path().join("other")) {
        fs::copy(folder.path().join("other").join(&name), root.join(&name)).unwrap();
    }
    assert_eq!(count(), COUNT);
    assert!(root.join("MANIFEST").exists() && root.join("postings.000001").exists());
}

#[test]
fn points_may_have_other_ids_and_payloads_and_come_twice() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("index");
    let database = Database::builder(folder.path().join("db")).memory_budget(16 << 20).open().unwrap();
    for (name, options) in [("coded", coded()), ("raw", BuildOptions { codec: Some(Codec::Raw), ..coded() })]
    {
        build_in(&index.join(name), &options);
        let before = names_in(&index.join(name));
        // The first hundred come again at the end.
        let id = |row: u64| 10_000 - if row < COUNT - 100 { row } else { row + 100 - COUNT };
        let payload = |row: u64| Payload::new().with("row", row);
        let points = (0..COUNT).map(|row| Ok::<_, OpenError>((PointId::from(id(row)), payload(row))));
        let mut taken = 0;
        let source = FromIndex::new(index.join(name)).vector_name("v").points(points).progress(|n| taken = n);
        let points = database.create_from_index(name, source).unwrap();
        assert_eq!(taken, COUNT);
        assert_eq!(names_in(&index.join(name)), before, "the index stays as it was");
        assert_eq!(points.count(None).unwrap(), COUNT - 100);
        for row in [0, 100, 7_950] {
            let expected = if row == 0 { COUNT - 100 } else { row };
            let point = points.get([PointId::from(id(row))]).unwrap().remove(0);
            assert_eq!(
                point,
                Point::new(id(row)).named_vector("v", vector(expected)).payload(payload(expected))
            );
        }
        let filter = Filter::must([Condition::range("row").gte(7_900)]);
        assert_eq!(points.count(Some(&filter)).unwrap(), 100);
        let query = Query::nearest(vector(7_950)).using("v").filter(filter).k(200);
        assert_eq!(points.query(&query).unwrap().hits.len(), 100);
        let first = points.scroll(&Scroll::new().limit(1)).unwrap();
        assert_eq!(first.points[0].id, PointId::from(10_000 - (COUNT - 101)));
        points.verify().unwrap();
        points.wait_idle().unwrap();
        points.verify().unwrap();
        drop(points);
    }
    drop(database);
    let report = Database::builder(folder.path().join("db")).verify(None, false, &mut |_, _| ()).unwrap();
    assert!(report.damaged.is_empty() && report.leftovers.is_empty(), "{report:?}");
}

#[test]
fn what_cannot_be_a_collection_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (codes, good) = (folder.path().join("codes"), folder.path().join("good"));
    build_in(&codes, &BuildOptions { rerank: false, ..coded() });
    build_in(&good, &coded());
    let before = names_in(&codes);
    let refused = Database::builder(&codes).open().unwrap_err();
    assert!(refused.to_string().contains("without the vectors"), "{refused}");
    assert_eq!(names_in(&codes), before);
    assert!(Index::open(&codes, &OpenOptions::default()).is_ok());
    let database = Database::builder(folder.path().join("db")).open().unwrap();
    let refused = |index: FromIndex<'_>, expected: &str| {
        let error = database.create_from_index("points", index).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(database.collections().is_empty());
        assert_eq!(names_in(&folder.path().join("db")), ["DATABASE", "LOCK"].map(str::to_owned).into());
    };
    let points = |count: u64| (0..count).map(|row| Ok::<_, OpenError>((PointId::from(row), Payload::new())));
    refused(FromIndex::new(&codes), "without the vectors");
    refused(FromIndex::new(folder.path().join("none")), "no index");
    refused(FromIndex::new(folder.path()), "not an index");
    refused(
        FromIndex::new(&good).points(points(10)),
        "10 points; expected as many as there are vectors: 8000",
    );
    refused(FromIndex::new(&good).points(points(COUNT + 1)), "more than 8000 points");
    let broken = points(5).chain([Err(OpenError::Missing { what: "line", name: "six".to_owned() })]);
    refused(FromIndex::new(&good).points(broken), "no line \"six\"");
    // A damaged file of ids, vectors or lists is found before or after; here, where rows are read.
    let rows = good.join("rows.000001");
    let mut bytes = fs::read(&rows).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&rows, bytes).unwrap();
    refused(FromIndex::new(&good), "rows.000001");
    database.create_collection("points", nearline::Schema::single(2, Metric::L2)).unwrap();
    assert!(matches!(
        database.create_from_index("points", FromIndex::new(&good)),
        Err(OpenError::Exists { .. })
    ));
}
