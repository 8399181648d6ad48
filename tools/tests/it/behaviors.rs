//! Logs of behaviours into a space, out of it, and through it.

#[cfg(feature = "parquet")]
mod parquet;

use serde_json::{Value, json};

use crate::files::{fbin, fbin_with, read, write};
use crate::run::{ok, refused, root, scratch};

const ITEMS: u32 = 50;
const USERS: u64 = 7;

fn log(count: u64) -> Vec<Value> {
    (0..count)
        .map(|i| {
            let mut line = json!({ "user": i % USERS, "event": i, "time": i as i64 - 5, "item": i * 13 % u64::from(ITEMS) });
            if i % 9 == 0 {
                line["vector"] = json!([0.5, -0.25, i as f32 / 8.0]);
            }
            line
        })
        .collect()
}

fn jsonl(lines: &[Value]) -> Vec<u8> {
    lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes()
}

/// The same as CSV, its columns in another order.
fn csv(lines: &[Value]) -> Vec<u8> {
    let line = |line: &Value| {
        let vector = line["vector"].as_array().map_or_else(String::new, |vector| {
            vector.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        });
        format!("{},{vector},{},{},more,{}\n", line["item"], line["event"], line["time"], line["user"])
    };
    format!("item,vector,event,time,note,user\n{}", lines.iter().map(line).collect::<String>()).into_bytes()
}

fn items(dir: &str) {
    let values: Vec<f32> = (0..ITEMS * 3).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    write(&format!("{dir}/items.fbin"), &fbin(ITEMS, 3, &values));
}

fn sorted(name: &str) -> Vec<String> {
    let text = String::from_utf8(read(name)).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_log_is_imported_once_however_often_it_comes() {
    let dir = scratch("behaviors");
    items(&dir);
    let lines = log(400);
    write(&format!("{dir}/log.jsonl"), &jsonl(&lines[..250]));
    let import = format!(
        "behaviors import --db {dir}/db --space s --create 3 --groups 4 --bits 2 --items {dir}/items.fbin --log {dir}/log.jsonl \
         --batch 64 --json"
    );
    let report = |line: &str| ok(line).json().remove(0);
    let first = report(&import);
    assert_eq!((&first["items"], &first["appended"]), (&json!(50), &json!(250)));
    let again = report(&import);
    assert_eq!(
        (&again["items"], &again["appended"], &again["passed_over"]),
        (&json!(0), &json!(0), &json!(250))
    );
    // The log has grown.
    write(&format!("{dir}/log.jsonl"), &jsonl(&lines));
    assert_eq!(report(&import)["appended"], 150);
    // Under another name all lines are read, and no event counts twice.
    write(&format!("{dir}/log.csv"), &csv(&lines));
    let other = report(&format!("behaviors import --db {dir}/db --space s --log {dir}/log.csv --json"));
    assert_eq!((&other["appended"], &other["duplicates"]), (&json!(0), &json!(400)));

    for form in ["jsonl", "csv"] {
        ok(&format!("behaviors export --db {dir}/db --space s --output {dir}/out.{form}"));
        ok(&format!(
            "behaviors import --db {dir}/{form} --space s --create 3 --items {dir}/items.fbin --log {dir}/out.{form}"
        ));
        ok(&format!("behaviors export --db {dir}/{form} --space s --output {dir}/{form}.jsonl"));
        assert_eq!(read(&format!("{dir}/{form}.jsonl")), read(&format!("{dir}/out.jsonl")), "{form}");
    }
    let expected: Vec<Value> =
        sorted(&format!("{dir}/out.jsonl")).iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(expected.len(), 400);
    assert!(lines.iter().all(|line| expected.contains(line)));
    ok(&format!("verify {dir}/db --progress none"));
}

#[test]
fn a_replay_knows_nothing_of_the_future() {
    let dir = scratch("replay");
    items(&dir);
    write(&format!("{dir}/log.jsonl"), &jsonl(&log(60)));
    let items = format!("behaviors import --db {dir}/db --space s --create 3 --items {dir}/items.fbin");
    ok(&items);
    ok(&format!(
        "behaviors replay --db {dir}/db --space s --log {dir}/log.jsonl --output {dir}/features.jsonl"
    ));
    let text = String::from_utf8(read(&format!("{dir}/features.jsonl"))).unwrap();
    let features: Vec<Value> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(features.len(), 60);
    let is_zero = |line: &Value| line["interest"].as_array().unwrap().iter().all(|value| *value == 0.0);
    assert!(features[..USERS as usize].iter().all(is_zero), "nobody had done anything");
    assert!(features[40..].iter().filter(|line| is_zero(line)).count() < 5);
}

#[test]
fn a_replay_makes_what_it_needs_or_leaves_nothing() {
    let dir = scratch("replay_new");
    items(&dir);
    write(&format!("{dir}/log.csv"), &csv(&log(60)));
    let new = |db: &str, more: &str, output: &str| {
        format!(
            "behaviors replay --db {dir}/{db} --space s --create 3 {more} --log {dir}/log.csv --output {dir}/{output}"
        )
    };
    let with_items = format!("--items {dir}/items.fbin");
    let is_there = |name: &str| root().join(&dir).join(name).exists();

    // No item is known: the first line without a vector of its own is the second behaviour.
    refused(3, &new("a", "", "a.jsonl"), &["log.csv: line 3: item 13 has no vector", "--items"]);
    std::fs::create_dir(root().join(&dir).join("empty")).unwrap();
    refused(3, &new("empty", "", "a.jsonl"), &["line 3"]);
    assert!(std::fs::read_dir(root().join(&dir).join("empty")).unwrap().next().is_none());
    refused(3, &new("a", &format!("--items {dir}/none.fbin"), "a.jsonl"), &["none.fbin"]);
    refused(3, &new("a", &with_items, "no/a.jsonl"), &["no/a.jsonl", "there is no folder"]);
    write(&format!("{dir}/mine.jsonl"), b"mine");
    refused(2, &new("a", &with_items, "mine.jsonl"), &["mine.jsonl: exists already"]);
    assert_eq!(read(&format!("{dir}/mine.jsonl")), b"mine");
    let names = || {
        let entries = std::fs::read_dir(root().join(&dir)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(), ["empty", "items.fbin", "log.csv", "mine.jsonl"]);

    ok(&new("a", &with_items, "a.jsonl"));
    assert_eq!(String::from_utf8(read(&format!("{dir}/a.jsonl"))).unwrap().lines().count(), 60);
    // A space that is there stays, and what others are in a database stays when a new one fails.
    refused(3, &new("a", "", "b.jsonl").replace("--space s", "--space t"), &["line 3"]);
    let names = ok(&format!("behaviors list --db {dir}/a --json")).json();
    assert_eq!(names.len(), 1);
    assert_eq!(
        (&names[0]["space"], &names[0]["dim"], &names[0]["groups"]),
        (&json!("s"), &json!(3), &json!(16))
    );

    let export = |output: &str| format!("behaviors export --db {dir}/a --space s --output {dir}/{output}");
    refused(2, &export("mine.jsonl"), &["mine.jsonl: exists already"]);
    refused(3, &export("no/mine.jsonl"), &["no/mine.jsonl", "there is no folder"]);
    let line = format!("behaviors import --db {dir}/b --space s --create 3 --log {dir}/log.csv");
    refused(3, &line, &["log.csv: line 52: item 0 has no vector"]);
    refused(3, &line.replace("log.csv", "none.csv"), &["none.csv"]);
    assert!(!is_there("b"));
}

#[test]
fn items_that_are_durable_stay_when_a_later_batch_fails() {
    let dir = scratch("items_stay");
    // Batches are of 1,000: the second has a row that is no vector.
    write(&format!("{dir}/items.fbin"), &fbin_with(1500, 3, 3 * 1200 + 1, f32::NAN));
    write(&format!("{dir}/first.fbin"), &fbin_with(1500, 3, 3 * 7, f32::NAN));
    let import = |db: &str, items: &str| {
        format!("behaviors import --db {dir}/{db} --space s --create 3 --items {dir}/{items}.fbin")
    };
    refused(3, &import("none", "first"), &[]);
    assert!(!root().join(&dir).join("none").exists(), "nothing was durable");

    refused(3, &import("db", "items"), &[]);
    assert_eq!(ok(&format!("behaviors list --db {dir}/db --json")).json()[0]["space"], json!("s"));
    let log = |item: u32| {
        let line = json!({ "user": 1, "event": item, "time": 1, "item": item });
        write(&format!("{dir}/{item}.jsonl"), format!("{line}\n").as_bytes());
        format!("behaviors import --db {dir}/db --space s --log {dir}/{item}.jsonl")
    };
    ok(&log(999));
    refused(3, &log(1000), &["line 1: item 1000 has no vector"]);
}

#[test]
fn spaces_are_listed_and_dropped() {
    let dir = scratch("spaces");
    items(&dir);
    ok(&format!("behaviors import --db {dir}/db --space s --create 3 --items {dir}/items.fbin"));
    let list = format!("behaviors list --db {dir}/db");
    let said = ok(&list).stdout;
    assert!(said.starts_with("space ") && said.contains("16 x 3"), "{said}");
    let said = ok(&format!("collections --db {dir}/db")).stdout;
    assert!(said.contains("no collections; 1 behaviour spaces (nearline behaviors list)"), "{said}");
    let drop = format!("behaviors drop --db {dir}/db --space s");
    assert_eq!(ok(&drop).stdout, "behaviour space \"s\": dropped\n");
    refused(3, &drop, &["no behavior space \"s\""]);
    assert_eq!(ok(&list).stdout, format!("{dir}/db: no behaviour spaces\n"));
    assert_eq!(ok(&format!("collections --db {dir}/db")).stdout, format!("{dir}/db: no collections\n"));
}

#[test]
fn what_is_wrong_with_a_log_is_said_with_its_line() {
    let dir = scratch("bad_behaviors");
    items(&dir);
    ok(&format!("behaviors import --db {dir}/db --space s --create 3 --items {dir}/items.fbin"));
    for (name, text, words) in [
        (
            "a.jsonl",
            "{\"user\":1,\"event\":1,\"time\":1,\"item\":1}\n{\"user\":1}\n",
            &["line 2", "event"][..],
        ),
        (
            "b.jsonl",
            "{\"user\":1,\"event\":1,\"time\":1,\"item\":1}\n{\"user\":1,\"event\":2,\"time\":1,\"item\":999}\n",
            &["b.jsonl: line 2: item 999 has no vector", "--items"],
        ),
        ("c.jsonl", "{\"user\":1,\"event\":1,\"time\":1,\"item\":1,\"vector\":[1]}\n", &["expected 3"]),
        ("d.csv", "user,item,time\n1,2,3\n", &["line 1", "event"]),
        ("e.csv", "user,event,item,time\n1,2,3\n", &["line 2", "time"]),
        ("f.csv", "user,event,item,time\n1,2,x,3\n", &["line 2", "item", "x"]),
        ("g.csv", "user,event,item,time,vector\n1,2,3,4,1 z 2\n", &["line 2", "vector", "z"]),
    ] {
        write(&format!("{dir}/{name}"), text.as_bytes());
        refused(3, &format!("behaviors import --db {dir}/db --space s --log {dir}/{name}"), words);
    }
    refused(2, &format!("behaviors import --db {dir}/db --space s --log {dir}/items.fbin"), &["--format"]);
    refused(
        2,
        &format!("behaviors export --db {dir}/db --space s --output {dir}/x.parquet"),
        &["not written"],
    );
    refused(3, &format!("behaviors export --db {dir}/db --space t --output {dir}/x.csv"), &["t"]);
    write(&format!("{dir}/four.fbin"), &fbin(2, 4, &[0.5; 8]));
    refused(3, &format!("behaviors import --db {dir}/db --space s --items {dir}/four.fbin"), &["expected 3"]);
    refused(
        3,
        &format!("behaviors import --db {dir}/db --space s --create 4 --items {dir}/four.fbin"),
        &["3 elements"],
    );
}

#[cfg(not(feature = "parquet"))]
#[test]
fn without_the_feature_a_table_is_refused_with_what_to_do() {
    let dir = scratch("no_parquet");
    write(&format!("{dir}/log.parquet"), b"PAR1");
    let space = format!("--db {dir}/db --space s --create 3");
    for line in ["import --log", "import --items"] {
        refused(
            2,
            &format!("behaviors {line} {dir}/log.parquet {space}"),
            &["log.parquet", "--features parquet"],
        );
    }
    let line = format!("behaviors replay --log {dir}/log.parquet --output {dir}/features.jsonl {space}");
    refused(2, &line, &["log.parquet", "--features parquet"]);
}
