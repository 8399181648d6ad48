//! Codes of vectors in memory: when there are any, what they find, what becomes of their files.

use std::time::Instant;

use nearline_storage::{Disk, Fault, Faults, SimDisk};

use super::index::{POINTS, indexed, open, open_with, recall, settle, vector, write};
use super::{disk_of, files_of};
use crate::collection::Job;
use crate::collection::codes::Uncoded;
use crate::collection::locked;
use crate::{Collection, Condition, FieldType, Filter, PointId, Query, Strategy};

/// Gives codes to all segments that are to get some; says how many those were.
fn give(on: &Collection) -> usize {
    let inner = &on.shared.inner;
    let mut given = 0;
    settle(on);
    // As if nobody had written much for a while.
    *locked(&inner.crowded) = None;
    while let Some(Uncoded { segment, .. }) = inner.view().uncoded {
        inner.run(Job::Codes { segment }).unwrap();
        given += 1;
        assert!(given < 20, "codes again and again");
    }
    given
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.starts_with("codes.")).collect()
}

fn bits(on: &Collection) -> Vec<Option<u8>> {
    let state = on.shared.inner.state();
    state.segments.iter().map(|segment| segment.codes(0).map(|codes| codes.bits())).collect()
}

/// A tenth of the points, and half of them.
fn filters() -> [Filter; 2] {
    [
        Filter::must([Condition::matches("group", "tenth")]),
        Filter::must([Condition::range("id").gte(POINTS / 2)]),
    ]
}

fn with_fields(on: &Collection) {
    on.create_field_index("group", FieldType::Keyword).unwrap();
    on.create_field_index("id", FieldType::Integer).unwrap();
    on.compact().unwrap();
}

#[test]
fn filters_are_answered_by_codes_whatever_happens_to_points() {
    let (disk, on) = indexed();
    with_fields(&on);
    assert_eq!((give(&on), bits(&on)), (1, vec![Some(5)]));
    assert!(on.stats().ram_bytes > POINTS * 68);
    let check = |on: &Collection| {
        for filter in filters() {
            let recall = recall(on, Some(&filter), &[Strategy::MatchingCodes]);
            assert!(recall >= 0.93, "{filter:?}: {recall}");
        }
        // Where most match, the index may be better.
        let most = Filter::must_not([Condition::matches("group", "tenth")]);
        assert!(recall(on, Some(&most), &[Strategy::FilteredIndex, Strategy::MatchingCodes]) >= 0.93);
        on.verify().unwrap();
    };
    check(&on);
    // Some die; some are in memory, then in a segment of their own, then in one with the others.
    on.delete((0..300).map(|at| PointId::from(at * 11 + 1)).collect::<Vec<_>>()).unwrap();
    write(&on, (0..400).map(|at| at * 7), 1);
    check(&on);
    on.flush().unwrap();
    assert_eq!((give(&on), names(&disk).len()), (1, 2));
    check(&on);
    on.compact().unwrap();
    assert_eq!((bits(&on), names(&disk)), (vec![None], Vec::new()), "codes go with their segments");
    assert_eq!((give(&on), names(&disk).len()), (1, 1));
    check(&on);
}

#[test]
fn few_vectors_are_read_for_filters() {
    let (_disk, on) = indexed();
    with_fields(&on);
    give(&on);
    for filter in filters() {
        let query = Query::nearest(vector(5, 77)).filter(filter);
        let report = on.query(&query).unwrap().report;
        assert!(report.pages <= 50 && report.compared <= 50, "{report:?}");
        // Whoever wants all, or is to look at lists, does not ask them.
        let exact = on.query(&query.clone().target_recall(1.0)).unwrap().report;
        assert!(exact.strategy != Strategy::MatchingCodes && exact.compared >= 600, "{exact:?}");
        let lists = on.query(&query.clone().nprobe(5)).unwrap().report;
        assert_ne!(lists.strategy, Strategy::MatchingCodes);
    }
}

#[test]
fn memory_decides_how_many_bits_there_are() {
    let (disk, on) = indexed();
    drop(on);
    // Blocks of 32 are full: of 5 and 2 bits, 68 and 32 bytes a vector; 16 of one.
    for (bytes, expected) in [(68, Some(5)), (67, Some(4)), (32, Some(2)), (31, Some(1)), (15, None)] {
        let on = open_with(&disk, POINTS.next_multiple_of(32) * bytes).unwrap();
        assert_eq!(give(&on), usize::from(expected.is_some()));
        assert_eq!(bits(&on), [expected]);
        on.verify().unwrap();
    }
    // More points: what there is has more bits than there is room for.
    let on = open_with(&disk, POINTS * 48).unwrap();
    assert_eq!((give(&on), bits(&on)), (1, vec![Some(3)]));
    write(&on, POINTS..2 * POINTS, 0);
    on.flush().unwrap();
    assert_eq!((give(&on), bits(&on)), (2, vec![Some(1), Some(1)]));
    on.verify().unwrap();
    drop(on);
    // While somebody writes much, signs are all there is; what more there was comes back from its file.
    let on = open(&disk).unwrap();
    assert_eq!((give(&on), bits(&on)), (2, vec![Some(5), Some(5)]));
    write(&on, [1], 2);
    assert!(on.shared.inner.view().uncoded.is_none(), "a few points are no reason");
    *locked(&on.shared.inner.crowded) = Some(Instant::now());
    while let Some(Uncoded { segment, is_less, .. }) = on.shared.inner.view().uncoded {
        assert!(is_less);
        on.shared.inner.run(Job::Codes { segment }).unwrap();
    }
    assert_eq!(bits(&on), [Some(1), Some(1)]);
    let held: u64 = on.shared.inner.state().segments.iter().map(|segment| segment.codes_bytes()).sum();
    assert_eq!(held, 2 * POINTS.div_ceil(32) * 512);
    disk.set_faults(Faults { space: Some(0), ..Faults::default() });
    assert_eq!((give(&on), bits(&on)), (2, vec![Some(5), Some(5)]));
}

#[test]
fn files_of_codes_are_read_made_again_and_removed() {
    let (disk, on) = indexed();
    assert_eq!(give(&on), 1);
    let [name] = &names(&disk)[..] else { panic!("{:?}", names(&disk)) };
    let bytes = disk.bytes(name).unwrap();
    drop(on);
    // As it is, it is read.
    disk.set_faults(Faults { space: Some(0), ..Faults::default() });
    let on = open(&disk).unwrap();
    assert_eq!((bits(&on), give(&on), bits(&on)), (vec![None], 1, vec![Some(5)]));
    disk.set_faults(Faults::default());
    // Damaged, it is made again, and meanwhile told of.
    drop(on);
    disk.flip_bit(name, 5_000 * 8);
    let on = open(&disk).unwrap();
    let error = on.verify().unwrap_err().to_string();
    assert!(error.contains(name.as_str()), "{error}");
    on.verify_source().unwrap();
    assert_eq!(give(&on), 1);
    on.verify().unwrap();
    assert!(disk.bytes(name).unwrap() == bytes, "the same codes");
    // Repaired by being forgotten.
    on.remove_codes().unwrap();
    assert_eq!(names(&disk), [""; 0]);
    // Those of no segment go.
    drop(on);
    disk.create("codes.000099.00").unwrap();
    let on = open(&disk).unwrap();
    on.verify().unwrap();
    assert_eq!(names(&disk), [""; 0]);
}

#[test]
fn codes_survive_crashes_and_need_no_file() {
    let (disk, on) = indexed();
    drop(on);
    let files = files_of(&disk);
    let disk = disk_of(&files);
    let on = open(&disk).unwrap();
    let before = disk.operations();
    give(&on);
    let operations = disk.operations() - before;
    assert!(operations > 8, "{operations} operations");
    // Most of them read vectors.
    for at in (1..operations).step_by(operations as usize / 6 + 1).chain(operations - 8..=operations) {
        for is_crash in [true, false] {
            let disk = disk_of(&files);
            let on = open(&disk).unwrap();
            let at = disk.operations() + at;
            if is_crash {
                disk.crash_at(at);
            } else {
                disk.set_faults(Faults { at: vec![(at, Fault::Io)], ..Faults::default() });
            }
            let segment = on.shared.inner.view().uncoded.unwrap().segment;
            let done = on.shared.inner.run(Job::Codes { segment });
            assert_eq!(done.is_ok(), bits(&on) == [Some(5)], "operation {at}: {done:?}");
            drop(on);
            disk.set_faults(Faults::default());
            if is_crash {
                disk.crash(at);
            }
            let on = open(&disk).unwrap();
            on.verify().unwrap();
            give(&on);
            assert_eq!((bits(&on), names(&disk).len()), (vec![Some(5)], 1), "operation {at}");
        }
    }
}
