//! The files that name the rows of vectors with gaps: when there are any, what becomes of them, and damage.

use std::sync::Arc;

use nearline_storage::{Disk, SimDisk};

use super::twin::{Call, Random, Twin};
use super::{Files, create, disk_of, files_of, open};
use crate::manifest::Manifest;
use crate::{Collection, Condition, Filter, Point, Query};

/// Points of which all have one vector and each third another, and none of a third name.
fn filled(ids: std::ops::Range<u64>, on: &Collection) {
    let point = |id: u64| {
        let point = Point::new(id).vector([id as f32, 1.0]);
        if id.is_multiple_of(3) { point.named_vector("c", [1.0, id as f32, 2.0]) } else { point }
    };
    on.upsert(ids.map(point)).unwrap();
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.starts_with("rows.")).collect()
}

/// The bytes of all files of segments.
fn bytes(disk: &SimDisk) -> u64 {
    let of_segments = |name: &&(String, _)| {
        ["points.", "ids.", "vectors.", "rows."].iter().any(|start| name.0.starts_with(start))
    };
    files_of(disk).iter().filter(of_segments).map(|(_, bytes)| bytes.len() as u64).sum()
}

#[test]
fn files_are_there_only_where_rows_are_missing() {
    let disk = create(1);
    let collection = open(&disk).unwrap();
    filled(0..3_000, &collection);
    collection.flush().unwrap();
    // Every row has the first vector.
    assert_eq!(names(&disk), ["rows.000001.01"]);
    assert_eq!(collection.stats().disk_bytes, bytes(&disk));
    collection.delete((0..3_000).step_by(10).collect::<Vec<u64>>()).unwrap();
    collection.compact().unwrap();
    assert_eq!(names(&disk), ["rows.000004.00", "rows.000004.01"]);
    assert_eq!(collection.stats().disk_bytes, bytes(&disk));
    // A bit a row, and a little, for each name.
    let segment = Arc::clone(&collection.shared.inner.state().segments[0]);
    let sets = segment.vectors.iter().flatten().map(|flat| flat.ram_bytes());
    assert!(sets.eq([400, 400]) && segment.ram_bytes() > 800);
    let counts = ["", "c", "u"].map(|name| {
        let filter = Filter::must([Condition::has_vector(name)]);
        collection.count(Some(&filter)).unwrap()
    });
    assert_eq!(counts, [2_700, 900, 0]);
    let filter = Filter::must([Condition::has_id([33_u64, 2_997, 2_998, 30])]);
    let query = Query::nearest([1.0, 30.0, 2.0]).using("c").k(9).filter(filter);
    let found: Vec<_> = collection.query(&query).unwrap().hits.into_iter().map(|hit| hit.id).collect();
    assert_eq!(found, [33_u64, 2_997].map(Into::into));
    collection.verify().unwrap();
    drop(collection);
    open(&disk).unwrap().verify().unwrap();
}

/// A collection with a file of rows, closed.
fn sample() -> (Files, Twin) {
    let (disk, mut random, mut twin) = (create(3), Random(9), Twin::default());
    let collection = open(&disk).unwrap();
    for _ in 0..80 {
        let call = Call::random(&mut random);
        call.make(&collection).unwrap();
        twin.apply(&call);
    }
    collection.flush().unwrap();
    assert_eq!(names(&disk).len(), 3);
    drop(collection);
    (files_of(&disk), twin)
}

#[test]
fn a_collection_without_the_files_from_before_there_were_any_opens() {
    let (files, twin) = sample();
    let disk = disk_of(&files);
    let mut manifest = Manifest::read(&disk).unwrap();
    manifest.segments.iter_mut().for_each(|segment| segment.lists_rows = false);
    manifest.write(&disk).unwrap();
    // Nothing names them any more.
    assert!(open(&disk).unwrap().stats().points > 0 && names(&disk).is_empty());
    let collection = open(&disk).unwrap();
    assert!(twin.equals(&collection));
    collection.verify().unwrap();
    filled(1_000..1_002, &collection);
    collection.compact().unwrap();
    assert_eq!(names(&disk).len(), 3);
    collection.verify().unwrap();
}

#[test]
fn a_damaged_file_keeps_the_collection_from_opening_and_is_named() {
    let (files, _) = sample();
    let damaged = |disk: &SimDisk, what: &str| {
        let error = open(disk).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("rows.000001.02"), "{what}: {error}");
    };
    let at = files.iter().position(|(name, _)| name == "rows.000001.02").unwrap();
    for byte in (0..files[at].1.len()).step_by(127) {
        let disk = disk_of(&files);
        disk.flip_bit("rows.000001.02", byte as u64 * 8 + byte as u64 % 8);
        damaged(&disk, &format!("byte {byte}"));
    }
    let mut cut = files.clone();
    cut[at].1.truncate(4096);
    damaged(&disk_of(&cut), "cut");
    let other = files.iter().position(|(name, _)| name == "rows.000001.01").unwrap();
    cut[at].1.clone_from(&files[other].1);
    damaged(&disk_of(&cut), "another file");
    cut.remove(at);
    damaged(&disk_of(&cut), "missing");
}

#[test]
fn a_file_that_rots_while_the_collection_is_open_is_noticed_by_verifying() {
    let (files, _) = sample();
    let disk = disk_of(&files);
    let collection = open(&disk).unwrap();
    collection.verify().unwrap();
    disk.flip_bit("rows.000001.00", 8 * 4_200);
    let error = collection.verify().unwrap_err().to_string();
    assert!(error.contains("rows.000001.00"), "{error}");
}
