//! Tables that tests write, read again; and what is no table any more.

#[path = "../../../tests/it/parquet_file.rs"]
mod parquet_file;

use std::path::Path;

use nearline::Behavior;
use parquet::basic::Compression;
use proptest::prelude::*;

use self::parquet_file::{LOG, Made, Manner, lists, longs, optional, write_table};
use super::column::Trouble;
use super::levels::Levels;
use super::{behaviors, items};
use crate::guard;

/// A row group with the columns of [`LOG`].
fn log(rows: &[Behavior]) -> Vec<Made> {
    let vectors: Vec<_> = rows
        .iter()
        .map(|row| row.vector.as_ref().map(|vector| vector.iter().copied().map(Some).collect()))
        .collect();
    let (values, levels) = lists(&vectors);
    let column = |value: fn(&Behavior) -> i64| longs(rows.iter().map(value));
    vec![
        column(|row| row.item.cast_signed()),
        Made::Floats(values, levels),
        column(|row| row.event.cast_signed()),
        column(|row| row.time),
        match optional(&vec![None; rows.len()]) {
            Made::Longs(_, levels) => Made::Ints(Vec::new(), levels),
            other => other,
        },
        optional(&rows.iter().map(|row| Some(row.user.cast_signed())).collect::<Vec<_>>()),
    ]
}

fn read(path: &Path) -> anyhow::Result<Vec<Behavior>> {
    let mut rows = Vec::new();
    for (place, next) in behaviors(path)?.enumerate() {
        let (number, behavior) = next?;
        assert_eq!(number, place as u64 + 1);
        rows.push(behavior);
    }
    Ok(rows)
}

/// Fails unless a table is refused with all of these words.
#[track_caller]
fn refused(path: &Path, words: &[&str]) {
    let error = read(path).map(|rows| rows.len()).expect_err("it was read").to_string();
    assert!(words.iter().all(|word| error.contains(word)), "expected {words:?} in: {error}");
}

fn some_behavior() -> impl Strategy<Value = Behavior> {
    let vector = prop::option::of(prop::collection::vec(-2.0_f32..2.0, 1..5));
    let id = 0..=i64::MAX.cast_unsigned();
    (id.clone(), id, any::<i64>(), any::<u64>(), vector)
        .prop_map(|(user, event, time, item, vector)| Behavior { user, event, time, item, vector })
}

fn some_manner() -> impl Strategy<Value = Manner> {
    let compression = prop_oneof![
        Just(Compression::UNCOMPRESSED),
        Just(Compression::SNAPPY),
        Just(Compression::GZIP(Default::default())),
    ];
    (compression, any::<bool>(), 1_usize..40).prop_map(|(compression, has_dictionary, page_rows)| Manner {
        compression,
        has_dictionary,
        page_rows,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written is read, through any pages, row groups and compressions.
    #[test]
    fn a_table_is_read_as_it_was_written(
        groups in prop::collection::vec(prop::collection::vec(some_behavior(), 0..150), 0..4),
        manner in some_manner(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.parquet");
        let made: Vec<_> = groups.iter().map(|rows| log(rows)).collect();
        write_table(&path, LOG, &made, manner);
        prop_assert_eq!(read(&path).unwrap(), groups.concat());
    }

    /// The naive twin: the entries of each row looked for by themselves.
    #[test]
    fn rows_begin_where_a_count_of_each_says(
        rows in prop::collection::vec(prop::option::of(prop::collection::vec(Just(1_u8), 0..5)), 0..60)
    ) {
        let mut levels = Levels::default();
        for row in &rows {
            let there = row.as_ref().map_or(0, Vec::len);
            for place in 0..there.max(1) {
                levels.repetition.push(i16::from(place > 0));
                levels.definition.push(if there > 0 { 3 } else { i16::from(row.is_some()) });
            }
        }
        levels.count = levels.definition.len();
        let before = |row: usize| rows[..row].iter().flatten().map(Vec::len).sum::<usize>();
        let expected: Vec<usize> = (0..=rows.len()).map(before).collect();
        prop_assert_eq!(levels.starts(3, 2).unwrap(), expected);
    }
}

#[test]
fn levels_that_make_no_sense_are_refused() {
    let levels = |repetition: &[i16], definition: &[i16]| Levels {
        repetition: repetition.to_vec(),
        definition: definition.to_vec(),
        count: definition.len(),
    };
    assert!(matches!(levels(&[1, 0], &[3, 3]).starts(3, 2), Err(Trouble::Whole(_))));
    assert!(matches!(levels(&[0, 0, 1], &[3, 3, 2]).starts(3, 2), Err(Trouble::Row(1, _))));
    assert!(matches!(levels(&[], &[1, 0]).starts(1, 0), Err(Trouble::Row(1, _))));
    assert_eq!(levels(&[], &[]).starts(0, 0).unwrap(), [0]);
}

#[test]
fn times_may_be_timestamps_and_numbers_short_or_unsigned() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.parquet");
    for (kind, stored, time) in [
        ("int32 time", 7, 7),
        ("int64 time", -7, -7),
        ("int64 time (TIMESTAMP(MILLIS, true))", -7, -7),
        ("int64 time (TIMESTAMP(MICROS, false))", -7001, -8),
        ("int64 time (TIMESTAMP(NANOS, true))", 7_999_999, 7),
        ("int64 time (TIMESTAMP_MICROS)", 7_999, 7),
    ] {
        let schema = format!(
            "message log {{ required int32 user (INTEGER(32, false)); required int64 event (UINT_64); required {kind}; \
             required int32 item (INTEGER(16, true)); }}"
        );
        let time_column = match kind.starts_with("int32") {
            true => Made::Ints(vec![stored as i32], Default::default()),
            false => longs([stored]),
        };
        let one = |value: i32| Made::Ints(vec![value], Default::default());
        write_table(&path, &schema, &[vec![one(-1), longs([-1]), time_column, one(5)]], Manner::default());
        let expected = Behavior::new(u64::from(u32::MAX), u64::MAX, time, 5);
        assert_eq!(read(&path).unwrap(), [expected], "{kind}");
    }
}

#[test]
fn histories_are_behaviours_by_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.parquet");
    let list = "optional group full_item_seq (LIST) { repeated group list { optional int64 element; } }";
    let rows = [Some(vec![Some(9_i64), Some(8)]), None, Some(vec![]), Some(vec![Some(7)])];
    let column = || lists(&rows);
    let (values, levels) = column();
    write_table(
        &path,
        &format!("message users {{ {list} }}"),
        &[vec![Made::Longs(values, levels)]],
        Manner::default(),
    );
    let one = |user, place, item| Behavior::new(user, place, place.cast_signed(), item);
    assert_eq!(read(&path).unwrap(), [one(0, 0, 9), one(0, 1, 8), one(3, 0, 7)]);

    let (values, levels) = column();
    let made = vec![longs([40, 41, 42, 43]), Made::Longs(values, levels)];
    write_table(
        &path,
        &format!("message users {{ required int64 user_id; {list} }}"),
        &[made],
        Manner::default(),
    );
    refused(&path, &["user_id", "expected user_index"]);

    let (values, levels) = column();
    let schema = format!("message users {{ required int64 user_index; {list} }}");
    let made = vec![longs([40, 41, 42, 43]), Made::Longs(values, levels)];
    write_table(&path, &schema, &[made], Manner::default());
    assert_eq!(read(&path).unwrap(), [one(40, 0, 9), one(40, 1, 8), one(43, 0, 7)]);
}

#[test]
fn items_are_numbered_by_their_column_or_by_their_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("items.parquet");
    let list = "required group vector (LIST) { repeated double element; }";
    let rows = [Some(vec![Some(1.5), Some(-2.0)]), Some(vec![Some(0.0), Some(3.0)])];
    let column = || {
        let (values, levels) = lists::<f64>(&rows);
        Made::Doubles(values, levels.shallow())
    };
    let all = |first, dim| items(&path, first, dim)?.collect::<anyhow::Result<Vec<_>>>();
    write_table(
        &path,
        &format!("message items {{ {list} }}"),
        &[vec![column()], vec![column()]],
        Manner::default(),
    );
    let vectors = vec![1.5, -2.0, 0.0, 3.0];
    assert_eq!(all(Some(5), 2).unwrap(), [(vec![5, 6], vectors.clone()), (vec![7, 8], vectors.clone())]);
    assert!(all(Some(u64::MAX), 2).unwrap_err().to_string().contains("row 2: its number is too large"));
    assert!(
        all(None, 3)
            .unwrap_err()
            .to_string()
            .contains("row group 1, row 1: vector: found 2 elements; expected 3")
    );

    let schema = format!("message items {{ {list} required int64 item; }}");
    write_table(&path, &schema, &[vec![column(), longs([30, 10])]], Manner::default());
    assert_eq!(all(None, 2).unwrap(), [(vec![30, 10], vectors)]);
    assert!(all(Some(5), 2).unwrap_err().to_string().contains("leave out --first-item"));

    let (values, levels) = lists::<f64>(&[Some(vec![Some(1.0), Some(1e300)])]);
    write_table(
        &path,
        &format!("message items {{ {list} }}"),
        &[vec![Made::Doubles(values, levels.shallow())]],
        Manner::default(),
    );
    let error = all(None, 2).unwrap_err().to_string();
    assert!(error.contains("row group 1, row 1: vector: found inf; expected finite"), "{error}");
}

#[test]
fn what_is_wrong_with_a_table_is_said_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.parquet");
    let good = |count: u64| -> Vec<Behavior> { (0..count).map(|i| Behavior::new(1, i, 2, 3)).collect() };
    let write = |made: &[Vec<Made>]| write_table(&path, LOG, made, Manner::default());

    let mut bad = log(&good(3));
    bad[5] = optional(&[Some(1), None, Some(1)]);
    write(&[log(&good(100)), bad]);
    refused(&path, &["log.parquet: row group 2, row 102: user: found null"]);

    let mut bad = log(&good(70));
    bad[2] = longs((0..70).map(|i| if i == 66 { -4 } else { i }));
    write(&[bad]);
    refused(&path, &["row group 1, row 67: event: found -4; expected a number from 0"]);

    let mut bad = log(&good(2));
    let (values, levels) = lists(&[Some(vec![Some(1.0)]), Some(vec![Some(1.0), None])]);
    bad[1] = Made::Floats(values, levels);
    write(&[bad]);
    refused(&path, &["row group 1, row 2: vector: found null"]);

    for (schema, words) in [
        (
            "required int64 user; required int64 event; required int64 time;",
            &["\"event\"", "expected user", "item"][..],
        ),
        (
            "required int64 users; required int64 full_item_seq;",
            &["full_item_seq: found INT64; expected a list"],
        ),
        (
            "required double user; required int64 event; required int64 time;",
            &["user: found DOUBLE; expected INT32"],
        ),
        (
            "required int64 user (TIMESTAMP(MILLIS, true)); required int64 event;",
            &["user: found INT64 (Timestamp"],
        ),
        ("repeated int64 user; required int64 event;", &["user: found INT64 in a list"]),
        (
            "required group user { required int64 a; } required int64 event;",
            &["user: found INT64 in a group"],
        ),
        ("required group user { required int64 a; required int64 b; }", &["user: found several columns"]),
        ("required binary user (STRING);", &["user: found BYTE_ARRAY (String)"]),
    ] {
        write_table(&path, &format!("message log {{ {schema} }}"), &[], Manner::default());
        refused(&path, words);
    }
}

/// Panics that are answers say nothing, as in the program: telling them takes longer than all else.
fn hush() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !guard::is_on() {
            before(info);
        }
    }));
}

#[test]
fn what_is_damaged_is_an_error_and_never_a_panic() {
    hush();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.parquet");
    let rows: Vec<Behavior> = (0..40)
        .map(|i| Behavior {
            vector: (i % 3 == 0).then(|| vec![i as f32; 2]),
            ..Behavior::new(i % 3, i, 2, i / 7)
        })
        .collect();
    let mut refusals = 0;
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
        let manner = Manner { compression, page_rows: 16, ..Manner::default() };
        write_table(&path, LOG, &[log(&rows[..25]), log(&rows[25..])], manner);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            for flip in [0x01, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                std::fs::write(&path, &bad).unwrap();
                match read(&path) {
                    // A value may be another where the file has no checksum of it; none is missing.
                    Ok(found) => assert_eq!(found.len(), rows.len(), "byte {at}"),
                    Err(_) => refusals += 1,
                }
            }
            std::fs::write(&path, &good[..at]).unwrap();
            refused(&path, &["log.parquet: "]);
        }
    }
    assert!(refusals > 1000, "{refusals}");
}

#[test]
fn what_is_no_table_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.parquet");
    refused(&path, &["log.parquet", "cannot open"]);
    for bytes in [&b""[..], b"PAR1", b"user,event,time,item\n1,2,3,4\n", b"PAR1PAR1PAR1"] {
        std::fs::write(&path, bytes).unwrap();
        refused(&path, &["log.parquet: cannot be read as Parquet"]);
    }
    refused(dir.path(), &[]);
}
