//! One kind of thing taken for another: databases, indexes, archives, tables, and folders of others.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use crate::files::{copy, fbin_with, names, read, write};
use crate::run::{Done, check_refused, command, finish, ok, refused, root, run, scratch, shared};

#[test]
fn tables_are_listed_verified_and_dropped() {
    let dir = scratch("listed");
    let db = format!("--db {dir}/db");
    ok(&format!("table generate {db} --table items --rows 5000 --dim 8"));
    ok(&format!("table generate {db} --table users --rows 100 --dim 8"));
    let list = format!("table list {db}");
    let said = ok(&list).stdout;
    assert!(said.starts_with("table ") && said.contains("5,000") && said.contains("rowwise"), "{said}");
    let tables = ok(&format!("{list} --json")).json();
    assert_eq!(tables.len(), 2);
    assert_eq!(
        (&tables[0]["table"], &tables[0]["rows"], &tables[0]["dim"]),
        (&json!("items"), &json!(5000), &json!(8))
    );
    let said = ok(&format!("collections {db}")).stdout;
    assert!(said.contains("no collections; 2 embedding tables (nearline table list)"), "{said}");
    let verify = format!("verify {dir}/db --progress none");
    let said = ok(&verify).stdout;
    assert!(said.contains("sound: 0 points in 0 collections, 2 embedding tables, 0 snapshots"), "{said}");

    let folder = root().join(&dir).join("db").join("table.000001");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let largest = files.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().file_name();
    let file = format!("{dir}/db/table.000001/{}", largest.to_str().unwrap());
    let mut bytes = read(&file);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    write(&file, &bytes);
    let done = run(&verify);
    check_refused(5, &verify, &done, &["1 damaged of 0 collections, 2 embedding tables"]);
    assert!(done.stdout.contains("embedding table \"items\": "), "{}", done.stdout);

    let drop = format!("table drop {db} --table items");
    assert_eq!(ok(&drop).stdout, "embedding table \"items\": dropped\n");
    refused(3, &drop, &["no embedding table \"items\""]);
    ok(&verify);
    ok(&format!("table drop {db} --table users"));
    assert_eq!(ok(&list).stdout, format!("{dir}/db: no embedding tables\n"));
}

#[test]
fn what_is_damaged_does_not_hide_the_others() {
    let dir = scratch("list_damaged");
    write(&format!("{dir}/items.fbin"), &fbin_with(5, 3, 0, 1.0));
    for name in ["a", "b"] {
        ok(&format!("table generate --db {dir}/db --table {name} --rows 100 --dim 8"));
        let space = format!("--db {dir}/db --space {name} --create 3");
        ok(&format!("behaviors import {space} --items {dir}/items.fbin"));
    }
    for (folder, lists, key) in
        [("table.000001", "table list", "table"), ("behaviors.000002", "behaviors list", "space")]
    {
        let folder = root().join(&dir).join("db").join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            std::fs::write(entry.unwrap().path(), b"damaged").unwrap();
        }
        let line = format!("{lists} --db {dir}/db");
        let done = run(&line);
        check_refused(5, &line, &done, &["1 of 2", "cannot be read", "restore or drop"]);
        let lines: Vec<&str> = done.stdout.lines().collect();
        assert!(lines[1].starts_with("a ") && lines[1].contains("000"), "{lines:?}");
        assert!(lines[2].starts_with("b ") && lines[2].contains("KiB"), "{lines:?}");
        let line = format!("{line} --json");
        let done = run(&line);
        check_refused(5, &line, &done, &["1 of 2"]);
        let (a, b) = (&done.json()[0], &done.json()[1]);
        assert!(a[key] == "a" && a["error"].is_string() && a["dim"].is_null(), "{a}");
        assert!(b[key] == "b" && b["error"].is_null() && b["dim"].is_u64(), "{b}");
    }
}

#[test]
fn what_is_no_archive_is_refused_by_its_name() {
    let dir = scratch("no_archive");
    let error = b"{\"status\":{\"error\":\"Not found\"},\"time\":0.0}";
    let mut long = b"import httpx, json\n".repeat(60);
    for (name, bytes) in [("short", &error[..]), ("empty", b""), ("long", &long.clone())] {
        write(&format!("{dir}/{name}"), bytes);
        let line = format!("snapshot restore-storage --from {dir}/{name} --db {dir}/db");
        let done = run(&line);
        check_refused(5, &line, &done, &[name, "no archive", "/snapshots/"]);
        assert!(!done.stderr.contains("httpx") && !done.stderr.contains("Not found"), "{}", done.stderr);
    }
    // The name of the format is where it should be, and nothing else is.
    long[257..262].copy_from_slice(b"ustar");
    write(&format!("{dir}/odd"), &long);
    let line = format!("snapshot restore-storage --from {dir}/odd --db {dir}/db");
    let done = run(&line);
    check_refused(5, &line, &done, &["odd", "damaged archive"]);
    assert!(!done.stderr.contains("httpx"), "{}", done.stderr);
    refused(3, &line.replace("odd", "none"), &["none: cannot open"]);
    assert!(!root().join(&dir).join("db").exists());
}

/// An archive of files, as `tar` writes it.
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (name, bytes) in files {
        let mut head = [0; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..108].copy_from_slice(b"0000644\0");
        head[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
        head[148..156].fill(b' ');
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        all.extend(head);
        all.extend(bytes);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

#[test]
fn an_archive_comes_through_a_pipe() {
    let dir = scratch("archive_pipe");
    ok(&format!("table generate --db {dir}/db --table t --rows 100 --dim 8"));
    ok(&format!("table drop --db {dir}/db --table t"));
    let files = names(&format!("{dir}/db")).into_iter();
    let files: Vec<_> = files.map(|name| (name.clone(), read(&format!("{dir}/db/{name}")))).collect();
    let through_pipe = |line: &str, bytes: &[u8]| {
        let mut command = command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(bytes); // what is no archive is not read to its end
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    };
    let line = |to: &str| format!("snapshot restore-storage --from /dev/stdin --db {dir}/{to}");
    let done = through_pipe(&line("restored"), &archive(&files));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(
        ok(&format!("table list --db {dir}/restored")).stdout,
        format!("{dir}/restored: no embedding tables\n")
    );
    let line = line("none");
    let done = through_pipe(&line, &b"import httpx, json\n".repeat(60));
    check_refused(5, &line, &done, &["/dev/stdin", "damaged archive"]);
    assert!(!done.stderr.contains("httpx") && !root().join(&dir).join("none").exists(), "{}", done.stderr);
}

#[test]
fn a_database_is_no_index() {
    shared();
    let dir = scratch("no_index");
    write(&format!("{dir}/base.fbin"), &fbin_with(10, 24, 0, 1.0));
    ok(&format!(
        "import --db {dir}/db --collection c --vectors {dir}/base.fbin --metric l2 --create --progress none"
    ));
    let words = ["found a database", "nearline collections", "table list", "nearline serve"];
    refused(3, &format!("inspect {dir}/db"), &words);
    refused(3, &format!("query --index {dir}/db --queries queries.fbin --output {dir}/x.ibin"), &words);
    let line = "verify collection.000001 --progress none";
    let mut inside = command(line);
    inside.current_dir(root().join(&dir).join("db"));
    check_refused(2, line, &finish(inside), &["for a collection give . and --collection NAME"]);
}

#[test]
fn what_was_found_is_no_ground_truth() {
    shared();
    let dir = scratch("no_truth");
    for name in ["found.ibin", "found.i64bin"] {
        ok(&format!("query --index index --queries queries.fbin --output {dir}/{name}"));
        let line = format!("recall --index index --queries queries.fbin --groundtruth {dir}/{name}");
        refused(3, &line, &[name, "no ground truth", "nearline groundtruth"]);
    }
    write(&format!("{dir}/truth.bin"), &read("truth.bin")[..1000]);
    let line = format!("recall --index index --queries queries.fbin --groundtruth {dir}/truth.bin");
    refused(3, &line, &["truncated", "nearline groundtruth"]);
}

#[test]
fn no_database_is_made_among_files_of_others() {
    shared();
    let dir = scratch("others");
    write(&format!("{dir}/cat.jpg"), b"meow");
    let serve = |db: &str| format!("serve --db {db} --listen 127.0.0.1:0");
    let words = ["found cat.jpg and no database", "an empty or new folder"];
    refused(2, &serve(&dir), &words);
    refused(2, &format!("table generate --db {dir} --table t --rows 10 --dim 8"), &words);
    // What is there stays; an empty folder will do, and that of an index.
    assert_eq!(std::fs::read_dir(root().join(&dir)).unwrap().count(), 1);
    for name in ["empty", "empty/lost+found"] {
        std::fs::create_dir(root().join(&dir).join(name)).unwrap();
    }
    ok(&format!("table generate --db {dir}/empty --table t --rows 10 --dim 8"));
    copy("index", "others/index");
    ok(&format!("table generate --db {dir}/index --table t --rows 10 --dim 8"));
    assert!(ok(&format!("collections --db {dir}/index")).stdout.contains("default"));
}
