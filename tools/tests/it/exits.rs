//! Every exit code, for what it stands.

use crate::files::{copy, names, read, write};
use crate::run::{BUILD, check_refused, command, finish, refused, run, shared};

#[test]
fn usage_is_2() {
    shared();
    refused(2, "bild", &["bild"]);
    refused(2, "build --input base.fbin", &["--output"]);
    refused(2, "build --input base.fbin --output x --metric hamming", &["hamming", "l2"]);
    refused(
        2,
        &format!("{BUILD} --output x --memory 1parsec").replace("--memory 64MiB", ""),
        &["1parsec", "256MiB"],
    );
    let query = "query --index index --queries queries.fbin --output x.ibin";
    refused(2, &format!("{query} --k 0"), &["--k", "0"]);
    refused(2, &format!("{query} --target-recall 1.5"), &["1.5"]);
    refused(2, &format!("{query} --target-recall 0.9 --nprobe 3"), &["--nprobe"]);
    refused(2, &format!("{query} --nprobe 0"), &["--nprobe", "0"]);
    refused(2, "query --index index --queries queries.fbin --output x.csv", &["x.csv", ".ibin"]);
    refused(2, &format!("{BUILD} --output x --replicas 99"), &["--replicas", "99"]);
    refused(2, "generate --kind like --count 5 --output x.fbin", &["--anchors"]);
    refused(2, "generate --kind deep --count 5 --output x.fbin --queries 5", &["--queries-output"]);
    let mut odd = command(query);
    odd.env("NEARLINE_IO", "telepathy");
    check_refused(2, query, &finish(odd), &["NEARLINE_IO", "telepathy", "uring"]);
}

#[test]
fn a_folder_in_use_is_2() {
    shared();
    // not the shared one: other tests are searching in it
    copy("index", "occupied");
    refused(2, &format!("{BUILD} --output occupied"), &["occupied", "--force"]);
    refused(2, &format!("{BUILD} --output occupied --resume"), &["occupied", "--force"]);
    std::fs::create_dir_all(crate::run::root().join("photos")).unwrap();
    write("photos/cat.jpg", b"meow");
    refused(2, &format!("{BUILD} --output photos --force"), &["photos", "no index"]);
    assert_eq!(names("photos"), ["cat.jpg"]);
}

#[test]
fn files_of_others_stay_whatever_their_names() {
    shared();
    std::fs::create_dir_all(crate::run::root().join("sources")).unwrap();
    for name in ["build.rs", "notes.tmp"] {
        write(&format!("sources/{name}"), b"precious");
    }
    refused(2, &format!("{BUILD} --output sources --force"), &["sources", "no index"]);
    assert_eq!(names("sources"), ["build.rs", "notes.tmp"]);
    copy("index", "annotated");
    let others = ["build.log", "build.by-lists.txt", "postings.txt", "notes.tmp"];
    others.iter().for_each(|name| write(&format!("annotated/{name}"), b"precious"));
    crate::run::ok(&format!("{BUILD} --output annotated --force"));
    others.iter().for_each(|name| assert_eq!(read(&format!("annotated/{name}")), b"precious", "{name}"));
    assert_eq!(names("annotated").len(), names("index").len() + others.len());
}

#[test]
fn a_budget_too_small_is_4_and_says_what_would_do() {
    shared();
    refused(
        4,
        &BUILD.replace("64MiB", "100KiB --output poor"),
        &["needed", "100 KiB (102400 bytes) allowed", "--memory"],
    );
    refused(
        4,
        &BUILD.replace("64MiB", "100KiB --output poor --plan"),
        &["needed", "100 KiB (102400 bytes) allowed", "--memory"],
    );
    assert!(!crate::run::root().join("poor").exists());
    let line = "query --index index --queries queries.fbin --output poor.ibin --threads 1 --memory";
    let done = run(&format!("{line} 1MiB"));
    check_refused(4, line, &done, &["index", "1.00 MiB", "at least"]);
    let enough = done.stderr.split_once("at least ").unwrap().1.split_once(' ').unwrap().0;
    crate::run::ok(&format!("{line} {enough}"));
    let line = "recall --index index --queries queries.fbin --groundtruth truth.bin --memory";
    let done = run(&format!("{line} 17MiB --threads 64"));
    check_refused(4, line, &done, &["index", "at least"]);
    refused(4, &format!("{line} 1MiB"), &["truth.bin", "at least"]);
}

#[test]
fn damage_is_5_and_named() {
    shared();
    for name in names("index") {
        copy("index", "damaged");
        let file = format!("damaged/{name}");
        let mut bytes = read(&file);
        let at = bytes.len() / 2;
        bytes[at] ^= 4;
        write(&file, &bytes);
        let done = run("verify damaged --progress none");
        assert_eq!(done.code, Some(5), "{name}: {}{}", done.stdout, done.stderr);
        assert!(format!("{}{}", done.stdout, done.stderr).contains(&name), "{}{}", done.stdout, done.stderr);
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        write(&file, &bytes[..at]);
        let done = run("verify damaged --progress none");
        assert_eq!(done.code, Some(5), "{name} cut: {}{}", done.stdout, done.stderr);
        std::fs::remove_file(crate::run::root().join(&file)).unwrap();
        let done = run("verify damaged --progress none");
        assert_eq!(done.code, Some(5), "{name} removed: {}{}", done.stdout, done.stderr);
        let done = run("query --index damaged --queries queries.fbin --output x.ibin --nprobe all");
        assert_eq!(done.code, Some(5), "{name} removed: {}{}", done.stdout, done.stderr);
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    }
}

#[test]
fn an_index_of_an_earlier_format_is_5_and_built_anew_by_force() {
    shared();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../index/tests/fixtures/v1");
    // an absolute path replaces the folder it is joined to
    copy(fixture, "earlier");
    for line in [
        "inspect earlier",
        "verify earlier --progress none",
        "query --index earlier --queries queries.fbin --output x.ibin",
    ] {
        refused(5, line, &["earlier", "version 1", "version 2", "nearline build --force"]);
    }
    refused(2, &format!("{BUILD} --output earlier"), &["earlier", "--force"]);
    crate::run::ok(&format!("{BUILD} --output earlier --force"));
    crate::run::ok("verify earlier --progress none");
    crate::run::ok("query --index earlier --queries queries.fbin --output x.ibin");
}

#[test]
fn recall_below_what_is_asked_is_6() {
    shared();
    let line =
        "recall --index index --queries queries.fbin --groundtruth truth.bin --nprobe 1 --min-recall 0.999";
    let done = run(line);
    check_refused(6, line, &done, &["index", "0.999"]);
    assert!(done.stdout.lines().count() > 1, "the table is printed all the same: {}", done.stdout);
}
