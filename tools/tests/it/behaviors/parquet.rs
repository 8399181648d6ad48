//! Tables of Parquet: the same spaces as out of logs of lines.

use parquet::basic::Compression;
use serde_json::{Value, json};

use super::{ITEMS, csv, items, jsonl, log};
use crate::files::{read, write};
use crate::parquet_file::{LOG, Made, Manner, lists, longs, optional, write_table};
use crate::run::{ok, refused, root, scratch};

/// A row group with the columns of [`LOG`].
fn columns(lines: &[Value]) -> Vec<Made> {
    let number = |line: &Value, name: &str| line[name].as_i64().unwrap();
    let column = |name: &str| longs(lines.iter().map(|line| number(line, name)));
    let element = |value: &Value| Some(value.as_f64().unwrap() as f32);
    let vector = |line: &Value| line["vector"].as_array().map(|vector| vector.iter().map(element).collect());
    let (vectors, levels) = lists(&lines.iter().map(vector).collect::<Vec<_>>());
    let users: Vec<_> = lines.iter().map(|line| Some(number(line, "user"))).collect();
    let Made::Longs(_, notes) = optional(&vec![None; lines.len()]) else { unreachable!() };
    vec![
        column("item"),
        Made::Floats(vectors, levels),
        column("event"),
        column("time"),
        Made::Ints(Vec::new(), notes),
        optional(&users),
    ]
}

fn table(name: &str, groups: &[&[Value]], compression: Compression) {
    let groups: Vec<_> = groups.iter().map(|lines| columns(lines)).collect();
    let manner = Manner { compression, page_rows: 30, ..Manner::default() };
    write_table(&root().join(name), LOG, &groups, manner);
}

/// The items that [`items`] writes, last ones first.
fn table_of_items(name: &str) {
    let row = |item: u32| {
        let value = |i: u32| Some(f64::from(((i * 37) % 101) as f32 / 50.0 - 1.0));
        Some((item * 3..item * 3 + 3).map(value).collect())
    };
    let (values, levels) = lists::<f64>(&(0..ITEMS).rev().map(row).collect::<Vec<_>>());
    let schema =
        "message items { required int64 item; required group vector (LIST) { repeated double element; } }";
    let made = vec![longs((0..i64::from(ITEMS)).rev()), Made::Doubles(values, levels.shallow())];
    write_table(&root().join(name), schema, &[made], Manner::default());
}

#[test]
fn a_table_makes_the_space_that_the_same_log_makes() {
    let dir = scratch("parquet");
    items(&dir);
    table_of_items(&format!("{dir}/items.parquet"));
    let lines = log(400);
    write(&format!("{dir}/log.csv"), &csv(&lines));
    table(&format!("{dir}/log.parquet"), &[&lines[..250]], Compression::SNAPPY);
    let import = |form: &str, items: &str| {
        let line = format!(
            "behaviors import --db {dir}/{form} --space s --create 3 --items {dir}/items.{items} --log {dir}/log.{form} \
             --batch 64 --json"
        );
        ok(&line).json().remove(0)
    };
    assert_eq!(import("csv", "fbin")["appended"], 400);
    let first = import("parquet", "parquet");
    assert_eq!((&first["items"], &first["appended"]), (&json!(50), &json!(250)));
    let again = import("parquet", "parquet");
    assert_eq!(
        (&again["items"], &again["appended"], &again["passed_over"]),
        (&json!(0), &json!(0), &json!(250))
    );
    // The table has grown by a row group.
    table(&format!("{dir}/log.parquet"), &[&lines[..250], &[], &lines[250..]], Compression::UNCOMPRESSED);
    assert_eq!(import("parquet", "fbin")["appended"], 150);

    for form in ["csv", "parquet"] {
        ok(&format!("behaviors export --db {dir}/{form} --space s --output {dir}/{form}.jsonl"));
    }
    assert_eq!(read(&format!("{dir}/parquet.jsonl")), read(&format!("{dir}/csv.jsonl")));
    ok(&format!("verify {dir}/parquet --progress none"));
}

#[test]
fn a_replay_of_a_table_is_that_of_the_same_log() {
    let dir = scratch("parquet_replay");
    items(&dir);
    table_of_items(&format!("{dir}/items.parquet"));
    let lines = log(120);
    write(&format!("{dir}/log.jsonl"), &jsonl(&lines));
    table(
        &format!("{dir}/log.parquet"),
        &[&lines[..50], &lines[50..]],
        Compression::GZIP(Default::default()),
    );
    for (form, items) in [("jsonl", "fbin"), ("parquet", "parquet")] {
        let space = format!("--db {dir}/{form} --space s");
        ok(&format!("behaviors import {space} --create 3 --items {dir}/items.{items}"));
        ok(&format!("behaviors replay {space} --log {dir}/log.{form} --output {dir}/{form}.features"));
    }
    assert_eq!(read(&format!("{dir}/parquet.features")), read(&format!("{dir}/jsonl.features")));
}

#[test]
fn what_is_wrong_with_a_table_is_said_in_one_line() {
    let dir = scratch("bad_parquet");
    let import = format!("behaviors import --db {dir}/db --space s --create 3");
    let log_of = |name: &str| format!("{import} --log {dir}/{name}");
    write(&format!("{dir}/none.parquet"), b"user,event,time,item\n1,2,3,4\n");
    refused(3, &log_of("none.parquet"), &["none.parquet", "cannot be read as Parquet"]);

    let lines = log(9);
    table(&format!("{dir}/cut.parquet"), &[&lines], Compression::SNAPPY);
    // The schema and the footer stay, and the pages go.
    let mut bytes = read(&format!("{dir}/cut.parquet"));
    bytes[4..60].fill(0xff);
    write(&format!("{dir}/cut.parquet"), &bytes);
    refused(3, &log_of("cut.parquet"), &["cut.parquet: row group 1: item"]);

    table(&format!("{dir}/unknown.parquet"), &[&lines], Compression::SNAPPY);
    refused(3, &log_of("unknown.parquet"), &["item"]);
    let schema = "message log { required int64 user; required int64 event; required double time; }";
    write_table(&root().join(format!("{dir}/type.parquet")), schema, &[], Manner::default());
    refused(3, &log_of("type.parquet"), &["type.parquet: time: found DOUBLE", "timestamp"]);
    let items = format!("{import} --items {dir}/type.parquet");
    refused(3, &items, &["type.parquet: found columns", "expected vector"]);
}

/// Three tables as LongCTR has them: each sample is answered as the line of a log is at that place.
#[test]
fn samples_know_of_the_first_behaviours_alone() {
    let dir = scratch("parquet_samples");
    items(&dir);
    let histories: Vec<Vec<i64>> =
        [7, 0, 30, 12].map(|len| (0..len).map(|i| (i * 17 + len) % i64::from(ITEMS)).collect()).to_vec();
    let lists_of = histories.iter().map(|items| Some(items.iter().map(|&item| Some(item)).collect()));
    let (values, levels) = lists::<i64>(&lists_of.collect::<Vec<_>>());
    let schema = "message users { optional group full_item_seq (LIST) { repeated group list { optional int64 element; } } }";
    write_table(
        &root().join(format!("{dir}/users.parquet")),
        schema,
        &[vec![Made::Longs(values, levels)]],
        Manner::default(),
    );
    let lines: Vec<Value> = (0..4)
        .flat_map(|user| (0..histories[user].len()).map(move |place| (user, place)))
        .map(|(user, place)| json!({ "user": user, "event": place, "time": place, "item": histories[user][place] }))
        .collect();
    write(&format!("{dir}/log.jsonl"), &jsonl(&lines));
    // Those that know most first, and not user by user.
    let mut asked: Vec<&Value> = lines.iter().collect();
    asked.sort_by_key(|line| (std::cmp::Reverse(line["time"].as_i64()), line["user"].as_i64()));
    let column = |name: &str| longs(asked.iter().map(|line| line[name].as_i64().unwrap()));
    let schema =
        "message samples { required int64 user_index; required int64 item_index; required int64 seq_len; }";
    let write_samples = |name: &str, columns: Vec<Made>| {
        write_table(&root().join(format!("{dir}/{name}")), schema, &[columns], Manner::default());
    };
    write_samples("samples.parquet", vec![column("user"), column("item"), column("time")]);
    write_samples("long.parquet", vec![longs([2]), longs([1]), longs([31])]);

    let replay = |space: &str, rest: &str| {
        ok(&format!("behaviors import --db {dir}/{space} --space s --create 3 --items {dir}/items.fbin"));
        format!(
            "behaviors replay --db {dir}/{space} --space s --output {dir}/{space}.features --batch 5 {rest}"
        )
    };
    ok(&replay("lines", &format!("--log {dir}/log.jsonl")));
    ok(&replay("samples", &format!("--log {dir}/users.parquet --samples {dir}/samples.parquet")));
    let features = |name: &str| -> Vec<Value> {
        let text = String::from_utf8(read(&format!("{dir}/{name}.features"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (of_lines, mut of_samples) = (features("lines"), features("samples"));
    of_samples.sort_by_key(|line| line["sample"].as_u64());
    assert_eq!(of_samples.len(), asked.len());
    for (line, sample) in asked.iter().zip(&of_samples) {
        let is_its = |found: &&Value| (&found["user"], &found["event"]) == (&line["user"], &line["event"]);
        assert_eq!(sample["interest"], of_lines.iter().find(is_its).unwrap()["interest"]);
        assert_eq!((&sample["user"], &sample["item"]), (&line["user"], &line["item"]));
    }
    let long = replay("long", &format!("--log {dir}/users.parquet --samples {dir}/long.parquet"));
    refused(3, &long, &["sample 1 asks for the first 31 behaviours of user 2"]);
}
