//! Points into a database and out of it again.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::files::{assert_same, contents, fbin, fbin_with, read, write};
use crate::run::{Running, command, large, ok, refused, root, run, scratch, shared};

/// Ids as an i64bin file.
fn i64bin(ids: &[u64]) -> Vec<u8> {
    let mut bytes = [(ids.len() as u32).to_le_bytes(), 1_u32.to_le_bytes()].concat();
    bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
    bytes
}

/// Some lines, one made from each number.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(|at| line(at) + "\n").collect()
}

fn same(a: &str, b: &str) {
    assert_same(&root().join(a), &root().join(b));
}

fn report(line: &str) -> Value {
    ok(line).json().remove(0)
}

#[test]
fn what_was_exported_is_imported_the_same() {
    shared();
    let dir = scratch("round");
    let ids: Vec<u64> = (0..2000).map(|row| 5 + row * row * 1_000_003).collect();
    write(&format!("{dir}/ids.i64bin"), &i64bin(&ids));
    let floats = [0.1, 1.0, -0.0, 1e300, 123_456_789.123_456_79, 5e-324];
    let payloads = lines(2000, |at| {
        json!({"at": at, "big": u64::MAX - at as u64, "float": floats[at % 6] / 7.0, "text": ["ü\n\"", null, true],
            "deep": {"a": [{"b": {}}]}})
        .to_string()
    });
    write(&format!("{dir}/payloads.jsonl"), payloads.as_bytes());
    let import = format!(
        "import --db {dir}/db --collection c --vectors base.fbin --ids {dir}/ids.i64bin \
         --payloads {dir}/payloads.jsonl --metric cosine --create --progress none --json"
    );
    let first = report(&import);
    assert_eq!((&first["written"], &first["points"]), (&json!(2000), &json!(2000)));
    // The same again changes nothing.
    let again = report(&import);
    assert_eq!((&again["written"], &again["unchanged"]), (&json!(0), &json!(2000)));

    ok(&format!("export --db {dir}/db --collection c --output {dir}/one --progress none"));
    assert_eq!(read(&format!("{dir}/one/vectors.fbin")), read("base.fbin"));
    as_of(&dir);
    assert_eq!(read(&format!("{dir}/one/ids.i64bin")), i64bin(&ids));
    ok(&format!(
        "import --db {dir}/other --collection c --from {dir}/one --create --batch 77 --progress none"
    ));
    ok(&format!("export --db {dir}/other --collection c --output {dir}/two --progress none"));
    same(&format!("{dir}/one"), &format!("{dir}/two"));
    // Through the builder of indexes, too.
    let offline = import.replace(&format!("{dir}/db "), &format!("{dir}/built --offline always "));
    let built = report(&offline);
    assert_eq!((&built["written"], &built["points"]), (&json!(2000), &json!(2000)));
    assert_eq!(&report(&offline)["unchanged"], &json!(2000));
    ok(&format!("export --db {dir}/built --collection c --output {dir}/three --progress none"));
    same(&format!("{dir}/one"), &format!("{dir}/three"));
    ok(&format!("verify {dir}/built --progress none"));
    let left: Vec<_> = contents_of(&dir);
    assert_eq!(left, ["built", "db", "ids.i64bin", "one", "other", "payloads.jsonl", "three", "two"]);
    refused(
        2,
        &format!("export --db {dir}/db --collection c --output {dir}/two"),
        &["two", "exists already"],
    );
}

/// What a snapshot keeps is exported as it was: `one`, whatever is written since.
fn as_of(dir: &str) {
    let of = format!("--db {dir}/db --collection c");
    ok(&format!("snapshot create {of} --name s"));
    ok(&format!("import {of} --vectors base.fbin --progress none"));
    ok(&format!("export {of} --as-of s --output {dir}/old --progress none"));
    same(&format!("{dir}/one"), &format!("{dir}/old"));
    refused(3, &format!("export {of} --as-of t --output {dir}/new"), &["snapshot", "\"t\""]);
    std::fs::remove_dir_all(root().join(format!("{dir}/old"))).unwrap();
}

fn contents_of(dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(dir)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// An export of points with some of several vectors, written by hand.
fn odd_export(dir: &str) {
    std::fs::create_dir_all(root().join(dir)).unwrap();
    let ids = "7\n18446744073709551615\n00000000-0000-0000-0000-000000000001\nf47ac10b-58cc-4372-a567-0e02b2c3d479\n";
    write(&format!("{dir}/ids.txt"), ids.as_bytes());
    write(&format!("{dir}/payloads.jsonl"), b"{}\n{\"a\":1}\n{\"a\":[]}\n{\"z\":\"\"}\n");
    write(&format!("{dir}/vectors.0.u8bin"), &[&[1, 0, 0, 0, 3, 0, 0, 0], &[1, 2, 255_u8][..]].concat());
    write(&format!("{dir}/vectors.0.ids.txt"), b"18446744073709551615\n");
    // 1.5 and -2 as halves, for each point
    let halves: Vec<u8> = [0x3e00_u16, 0xc000].repeat(4).iter().flat_map(|half| half.to_le_bytes()).collect();
    write(&format!("{dir}/vectors.1.f16bin"), &[&[4, 0, 0, 0, 2, 0, 0, 0][..], &halves].concat());
    let vectors = |name: &str,
                   element: &str,
                   dim: u32,
                   metric: &str,
                   file: Option<&str>,
                   ids: Option<&str>| {
        json!({"name": name, "element": element, "dim": dim, "metric": metric, "file": file, "ids": ids})
    };
    let description = json!({"format": 1, "collection": "odd", "points": 4, "ids": "ids.txt",
        "payloads": "payloads.jsonl", "vectors": [
            vectors("a/b", "u8", 3, "l2", Some("vectors.0.u8bin"), Some("vectors.0.ids.txt")),
            vectors("b", "f16", 2, "cosine", Some("vectors.1.f16bin"), None),
            vectors("none", "f32", 5, "ip", None, None)]});
    write(&format!("{dir}/export.json"), description.to_string().as_bytes());
}

#[test]
fn uuids_and_points_without_some_vectors_come_back() {
    let dir = scratch("odd");
    odd_export(&format!("{dir}/one"));
    let db = format!("--db {dir}/db --collection odd --progress none");
    ok(&format!("import {db} --from {dir}/one --create"));
    ok(&format!("export {db} --output {dir}/two"));
    let json = |name: &str| serde_json::from_slice::<Value>(&read(name)).unwrap();
    let description = |n: &str| json(&format!("{dir}/{n}/export.json"));
    assert_eq!(description("one"), description("two"));
    let files = |n: &str| {
        let mut files = contents(&root().join(&dir).join(n));
        files.remove("export.json");
        files
    };
    assert_eq!(files("one"), files("two"));
    // A vector and a payload for points that are there; what the files do not name stays.
    write(&format!("{dir}/more.fbin"), &fbin(1, 5, &[1.0, 2.0, 3.0, 4.0, 5.0]));
    write(&format!("{dir}/more.txt"), b"7\n");
    ok(&format!("import {db} --vectors {dir}/more.fbin --name none --ids {dir}/more.txt"));
    write(&format!("{dir}/more.jsonl"), b"{\"new\":true}\n");
    ok(&format!("import {db} --payloads {dir}/more.jsonl --ids {dir}/more.txt"));
    ok(&format!("export {db} --output {dir}/three"));
    assert_eq!(read(&format!("{dir}/three/vectors.2.fbin")), read(&format!("{dir}/more.fbin")));
    assert_eq!(read(&format!("{dir}/three/vectors.2.ids.txt")), b"7\n");
    assert!(read(&format!("{dir}/three/payloads.jsonl")).starts_with(b"{\"new\":true}\n{\"a\":1}\n"));
    assert_eq!(read(&format!("{dir}/three/vectors.1.f16bin")), read(&format!("{dir}/one/vectors.1.f16bin")));
}

#[test]
fn an_empty_collection_goes_out_and_in() {
    let dir = scratch("empty");
    write(&format!("{dir}/none.jsonl"), b"");
    let db = format!("--db {dir}/db --progress none");
    ok(&format!("import {db} --collection a --payloads {dir}/none.jsonl --create"));
    ok(&format!("export {db} --collection a --output {dir}/out"));
    let done = report(&format!("import {db} --collection b --from {dir}/out --create --json"));
    assert_eq!((&done["read"], &done["points"]), (&json!(0), &json!(0)));
}

#[test]
fn an_interrupted_import_by_the_builder_goes_on() {
    large();
    let dir = scratch("stopped-builds");
    let import = |db: &str, offline: &str| {
        format!(
            "import --db {dir}/{db} --collection c --vectors large.fbin --metric l2 --create --offline {offline}"
        )
    };
    ok(&format!("{} --progress none", import("whole", "never")));
    ok(&format!("export --db {dir}/whole --collection c --output {dir}/whole.out --progress none"));
    for (db, signal, code) in [("stopped", Signal::INT, Some(130)), ("killed", Signal::KILL, None)] {
        let mut stops = 0;
        for stage in ["check", "assign", "calibrate", "points"] {
            let mut running = Running::start(&import(db, "always"));
            if running.reach(stage) {
                running.signal(signal);
            }
            let done = running.wait();
            assert!(done.code == code || done.code == Some(0), "{:?} {}", done.code, done.stderr);
            stops += u32::from(done.code == code);
        }
        assert!(stops > 0, "{db}: nothing was interrupted");
        ok(&format!("{} --progress none", import(db, "always")));
        ok(&format!("export --db {dir}/{db} --collection c --output {dir}/{db}.out --progress none"));
        same(&format!("{dir}/whole.out"), &format!("{dir}/{db}.out"));
        ok(&format!("verify {dir}/{db} --progress none"));
        assert!(!root().join(format!("{dir}/{db}/import.c")).exists(), "{db}");
    }
}

#[test]
fn an_empty_collection_is_filled_by_the_builder() {
    shared();
    let dir = scratch("filled");
    let import = |more: &str| {
        format!("import --db {dir}/db --collection c --vectors base.fbin {more} --progress none")
    };
    let open = |dir: &str| nearline::Database::builder(root().join(format!("{dir}/db"))).open().unwrap();
    {
        let database = open(&dir);
        let schema = nearline::Schema::single(24, nearline::Metric::L2);
        let empty = database.create_collection("c", schema).unwrap();
        empty.create_field_index("n", nearline::FieldType::Integer).unwrap();
        empty.update_metadata(|metadata| drop(metadata.insert("model", "m"))).unwrap();
        database.set_alias("also", "c").unwrap();
        // As an import leaves it that ended just before its last step.
        database.create_collection("c.import draft", nearline::Schema::new()).unwrap();
    }
    let done = report(&import("--offline always --json"));
    assert_eq!(
        (&done["written"], &done["points"], &done["collection"]),
        (&json!(2000), &json!(2000), &json!("c"))
    );
    let database = open(&dir);
    assert_eq!(database.collections(), ["c"]);
    let filled = database.collection("also").unwrap();
    assert_eq!(filled.metadata().unwrap().get("model"), Some(&"m".into()));
    assert_eq!(filled.field_indexes()[0].path, "n");
    // It is an index from the first moment on.
    assert_eq!((filled.stats().indexed, filled.stats().segments), (2000, 1));
    drop((filled, database));
    ok(&format!("verify {dir}/db --progress none"));
    assert_eq!(&report(&import("--offline always --json"))["unchanged"], &json!(2000));
}

#[test]
fn an_interrupted_import_goes_on() {
    large();
    let dir = scratch("stopped");
    let import = |db: &str| {
        format!(
            "import --db {dir}/{db} --collection c --vectors large.fbin --metric l2 --create --offline never"
        )
    };
    ok(&format!("{} --progress none", import("whole")));
    for (db, signal, code) in [("stopped", Signal::INT, Some(130)), ("killed", Signal::KILL, None)] {
        let mut stops = 0;
        for reports in 1..4 {
            let mut running = Running::start(&format!("{} --batch 20", import(db)));
            if (0..reports).all(|_| running.reach("import")) {
                running.signal(signal);
            }
            let done = running.wait();
            assert!(done.code == code || done.code == Some(0), "{:?} {}", done.code, done.stderr);
            stops += u32::from(done.code == code);
            if done.code == Some(130) {
                assert!(done.stderr.contains("the same command goes on"), "{}", done.stderr);
            }
        }
        assert!(stops > 0, "{db}: nothing was interrupted");
        ok(&format!("{} --progress none", import(db)));
        for db in ["whole", db] {
            ok(&format!("export --db {dir}/{db} --collection c --output {dir}/{db}.out --progress none"));
        }
        same(&format!("{dir}/whole.out"), &format!("{dir}/{db}.out"));
        std::fs::remove_dir_all(root().join(format!("{dir}/whole.out"))).unwrap();
    }
}

#[test]
fn bad_payloads_are_named_by_line_and_their_batch_is_not_written() {
    let dir = scratch("payloads");
    write(&format!("{dir}/base.fbin"), &fbin_with(10, 3, 0, 1.0));
    let import = format!(
        "import --db {dir}/db --collection c --vectors {dir}/base.fbin --payloads {dir}/p.jsonl --metric l2 --create \
         --batch 4 --progress none"
    );
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(64), "]".repeat(64));
    let with =
        |at: usize, bad: &str| lines(10, |line| if line == at { bad.to_owned() } else { "{}".to_owned() });
    for (text, words) in [
        (with(5, "{\"a\":}"), vec!["p.jsonl: line 6: column 6", "expected value"]),
        (with(5, "[1]"), vec!["p.jsonl: line 6", "an array", "expected an object"]),
        (with(5, ""), vec!["p.jsonl: line 6", "empty line"]),
        (with(5, "{} {}"), vec!["p.jsonl: line 6", "trailing"]),
        (with(5, "{\"a\":\"\u{1}\"}"), vec!["p.jsonl: line 6", "control character"]),
        (with(5, &deep), vec!["p.jsonl: line 6", "deeper than 64"]),
        (lines(9, |_| "{}".to_owned()), vec!["p.jsonl: found 9 lines", "expected 10", "base.fbin"]),
        (lines(11, |_| "{}".to_owned()), vec!["p.jsonl: found more than 10 lines", "expected 10"]),
    ] {
        write(&format!("{dir}/p.jsonl"), text.as_bytes());
        refused(3, &import, &words);
        let _ = std::fs::remove_dir_all(root().join(format!("{dir}/out")));
        ok(&format!("export --db {dir}/db --collection c --output {dir}/out --progress none"));
        let whole = read(&format!("{dir}/out/payloads.jsonl")).len() / 3;
        assert!(whole == 4 || whole == 8, "{words:?}: {whole} points");
    }
    write(&format!("{dir}/p.jsonl"), with(0, "{}").as_bytes());
    ok(&import);
}

#[test]
fn files_that_do_not_fit_are_refused_before_anything_is_written() {
    let dir = scratch("misfits");
    write(&format!("{dir}/three.fbin"), &fbin_with(10, 3, 0, 1.0));
    write(&format!("{dir}/four.fbin"), &fbin_with(10, 4, 0, 1.0));
    write(&format!("{dir}/nan.fbin"), &fbin_with(10, 3, 16, f32::NAN));
    write(&format!("{dir}/three.u8bin"), &[&[1, 0, 0, 0, 3, 0, 0, 0][..], &[1, 2, 3]].concat());
    write(&format!("{dir}/nine.i64bin"), &i64bin(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    write(&format!("{dir}/bad.txt"), b"1\n2\nthree\n");
    let db = format!("import --db {dir}/db --progress none");
    let three = format!("--vectors {dir}/three.fbin");
    refused(5, &format!("{db} --collection c {three}"), &["no database", "misfits/db"]);
    refused(2, &format!("{db} --collection c {three} --create"), &["--metric"]);
    ok(&format!("{db} --collection c {three} --create --metric l2"));
    let c = format!("{db} --collection c");
    refused(3, &format!("{db} --collection d {three}"), &["no collection \"d\"", "--create"]);
    refused(
        3,
        &format!("{c} --vectors {dir}/four.fbin"),
        &["four.fbin", "f32 x 4", "f32 x 3", "collection \"c\""],
    );
    refused(3, &format!("{c} --vectors {dir}/three.u8bin"), &["three.u8bin", "u8 x 3", "f32 x 3"]);
    refused(3, &format!("{c} {three} --name image"), &["\"image\"", "expected one of \"\""]);
    refused(3, &format!("{c} {three} --metric ip"), &["metric ip", "expected l2"]);
    refused(3, &format!("{c} {three} --ids {dir}/nine.i64bin"), &["nine.i64bin", "9 ids", "10"]);
    refused(3, &format!("{c} {three} --ids {dir}/bad.txt"), &["bad.txt: line 3", "three", "UUID"]);
    refused(3, &format!("{c} --vectors {dir}/nan.fbin"), &["nan.fbin", "row 5", "NaN"]);
    refused(3, &format!("{c} --vectors {dir}/absent.fbin"), &["absent.fbin"]);
    refused(3, &format!("{c} --from {dir}"), &["export.json", "nearline export"]);
    refused(2, &c, &["--vectors"]);
    refused(3, &format!("{c} {three} --metric manhattan"), &["metric manhattan", "expected l2"]);
    ok(&format!("{db} --collection m {three} --create --metric manhattan"));
    let build = format!("build --input {dir}/three.fbin --output {dir}/index --metric manhattan");
    refused(2, &build, &["--metric: manhattan", "expected l2, ip or cosine", "Euclidean"]);
    let truth =
        format!("groundtruth --base {dir}/three.fbin --queries {dir}/three.fbin --output {dir}/t --k 1");
    refused(2, &format!("{truth} --metric manhattan"), &["manhattan", "expected l2, ip or cosine"]);
    let done = run(&format!("export --db {dir}/db --collection c --output {dir}/out --json --progress none"));
    assert_eq!(done.json()[0]["points"], 10);
    let mut absent = command(&format!("export --db {dir}/nowhere --collection c --output {dir}/out2"));
    assert_eq!(absent.output().unwrap().status.code(), Some(5));
    assert!(!root().join(format!("{dir}/nowhere")).exists());
}

#[test]
fn snapshots_are_made_listed_restored_and_dropped() {
    let dir = scratch("snapshots");
    write(&format!("{dir}/base.fbin"), &fbin_with(10, 3, 0, 1.0));
    let of = format!("--db {dir}/db --collection c");
    ok(&format!("import {of} --vectors {dir}/base.fbin --metric l2 --create --progress none"));
    ok(&format!("snapshot create {of} --name before"));
    refused(2, &format!("snapshot create {of} --name before"), &["\"before\"", "already"]);
    refused(2, &format!("snapshot create {of} --name ../x"), &["snapshot", "letters"]);
    write(&format!("{dir}/more.fbin"), &fbin_with(20, 3, 0, 1.0));
    ok(&format!("import {of} --vectors {dir}/more.fbin --progress none"));
    assert_eq!(ok(&format!("snapshot list {of}")).stdout, "before\n");
    assert_eq!(report(&format!("snapshot list {of} --json"))["snapshots"], json!(["before"]));
    let done = ok(&format!("snapshot restore {of} --name before --as old"));
    assert!(done.stdout.contains("\"old\": 10 points"), "{}", done.stdout);
    refused(2, &format!("snapshot restore {of} --name before --as old"), &["\"old\"", "already"]);
    refused(3, &format!("snapshot restore {of} --name after --as new"), &["no snapshot \"after\""]);
    refused(3, &format!("snapshot list --db {dir}/db --collection d"), &["no collection \"d\""]);
    ok(&format!("snapshot delete {of} --name before"));
    refused(3, &format!("snapshot delete {of} --name before"), &["no snapshot \"before\""]);

    let listed = ok(&format!("collections --db {dir}/db --json")).json();
    let counts: Vec<_> = listed.iter().map(|of| (&of["collection"], &of["stats"]["points"])).collect();
    assert_eq!(counts, [(&json!("c"), &json!(20)), (&json!("old"), &json!(10))]);
    assert_eq!(listed[0]["vectors"], json!([{"name": "", "dim": 3, "element": "f32", "metric": "l2"}]));
    let table = ok(&format!("collections --db {dir}/db")).stdout;
    assert!(table.starts_with("collection") && table.contains("3 x f32 l2"), "{table}");
    refused(5, &format!("collections --db {dir}"), &["no database"]);
}

#[test]
fn compacting_gives_space_back() {
    let dir = scratch("compacted");
    write(&format!("{dir}/one.fbin"), &fbin_with(2000, 16, 0, 1.0));
    write(&format!("{dir}/two.fbin"), &fbin_with(2000, 16, 0, 2.0));
    let of = format!("--db {dir}/db --collection c");
    let import = format!("import {of} --metric l2 --create --progress none --vectors {dir}");
    ok(&format!("{import}/one.fbin"));
    ok(&format!("{import}/two.fbin --batch 1"));
    // One vector was changed: two files of a page and more each, and one point dead.
    let done = report(&format!("compact {of} --json"));
    assert_eq!((&done["points"], &done["segments"]), (&json!(2000), &json!(1)));
    assert!(done["disk_bytes"].as_u64() <= done["disk_bytes_before"].as_u64(), "{done}");
    let stats = &ok(&format!("collections --db {dir}/db --json")).json()[0]["stats"];
    assert_eq!((&stats["dead_points"], &stats["segments"]), (&json!(0), &json!(1)));
    ok(&format!("verify {dir}/db --progress none"));
}

#[test]
fn a_collection_is_calibrated_with_a_file_of_questions() {
    let dir = scratch("calibrated");
    write(&format!("{dir}/base.fbin"), &fbin_with(200, 8, 0, 1.0));
    write(&format!("{dir}/asked.fbin"), &fbin_with(70, 8, 0, 0.5));
    write(&format!("{dir}/few.fbin"), &fbin_with(20, 8, 0, 0.5));
    write(&format!("{dir}/wide.fbin"), &fbin_with(70, 9, 0, 0.5));
    let of = format!("--db {dir}/db --collection c");
    ok(&format!("import {of} --vectors {dir}/base.fbin --metric l2 --create --progress none"));
    let calibrate = |file: &str, more: &str| format!("calibrate {of} --queries {dir}/{file}.fbin {more}");
    let done = report(&calibrate("asked", "-k 5 --json"));
    assert_eq!(done, json!({"collection": "c", "queries": 70, "k": 5, "targets": []}));
    assert!(ok(&calibrate("asked", "")).stdout.contains("70 questions are kept"));
    refused(3, &calibrate("few", ""), &["questions: 20", "expected 60 or more"]);
    refused(3, &calibrate("wide", ""), &["question: number 0: 9 elements", "f32 x 8"]);
    refused(3, &calibrate("asked", "--k 101"), &["k: 101", "1 to 100"]);
    refused(3, &calibrate("asked", "--vector x"), &["name of vectors: \"x\""]);
    ok(&format!("verify {dir}/db --progress none"));
}

#[test]
fn a_database_is_verified_and_repaired() {
    shared();
    let dir = scratch("verified");
    write(&format!("{dir}/base.fbin"), &fbin_with(10, 3, 0, 1.0));
    let of = format!("--db {dir}/db --collection c");
    ok(&format!("import {of} --vectors {dir}/base.fbin --metric l2 --create --progress none"));
    let verify = format!("verify {dir}/db --progress none");
    assert!(ok(&verify).stdout.contains("sound: 10 points in 1 collections"));
    write(&format!("{dir}/db/collection.000001/points.000099"), b"half");
    assert!(
        ok(&verify).stdout.contains("points.000099: left over from a crash: harmless; --repair removes it")
    );
    assert!(
        ok(&format!("{verify} --repair")).stdout.contains("points.000099: left over from a crash: removed")
    );
    assert_eq!(ok(&verify).stdout.lines().count(), 1);
    assert!(ok(&format!("{verify} --collection c")).stdout.contains("10 points in 1 collections"));
    refused(3, &format!("{verify} --collection d"), &["no collection \"d\""]);
    refused(
        2,
        &format!("verify {dir}/db/collection.000001 --progress none"),
        &["verified/db and --collection"],
    );
    refused(2, "verify index --collection c --progress none", &["no database"]);
    refused(2, "verify index --repair --progress none", &["--repair is for databases"]);

    let files = contents_of(&format!("{dir}/db/collection.000001"));
    let file = files.iter().find(|name| name.starts_with("vectors.")).unwrap();
    let file = format!("{dir}/db/collection.000001/{file}");
    let mut bytes = read(&file);
    bytes[5000] ^= 4;
    write(&file, &bytes);
    for line in [&verify, &format!("{verify} --repair")] {
        let done = run(line);
        assert_eq!(done.code, Some(5), "{}{}", done.stdout, done.stderr);
        assert!(
            done.stdout.contains("collection \"c\"") && done.stdout.contains("vectors."),
            "{}",
            done.stdout
        );
        assert!(done.stderr.contains("1 damaged of 1 collections"), "{}", done.stderr);
    }
    assert_eq!(read(&file), bytes);
    write(&format!("{dir}/db/DATABASE"), b"nonsense");
    refused(5, &verify, &["DATABASE"]);
}
