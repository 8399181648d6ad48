//! Builds that are killed, interrupted, resumed, or meet each other.

use std::time::Duration;

use rustix::process::Signal;

use crate::files::assert_same;
use crate::run::{BUILD, Running, check_refused, large, ok, refused, root, run, scratch, shared};

const LARGE: &str = "build --input large.fbin --metric l2 --memory 24MiB --threads 2";

/// The index that an undisturbed build makes of the large set.
fn undisturbed() -> std::path::PathBuf {
    static MADE: std::sync::OnceLock<()> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        large();
        ok(&format!("{LARGE} --output undisturbed --progress none"));
    });
    root().join("undisturbed")
}

/// An interrupted build does not open, or is finished and sound.
#[track_caller]
fn is_none_or_whole(dir: &str) {
    let opened = run(&format!("inspect {dir}"));
    match opened.code {
        Some(0) => assert!(ok(&format!("verify {dir}")).stdout.contains("sound")),
        Some(5) => assert!(opened.stderr.contains("not an index"), "{}", opened.stderr),
        _ => panic!("{opened:?}"),
    }
}

/// Goes on with a build until it is done, or finds it done already.
#[track_caller]
fn resume(line: &str) {
    let done = run(&format!("{line} --resume --progress none"));
    let finished = done.code == Some(2) && done.stderr.contains("a finished index");
    assert!(done.code == Some(0) || finished, "{done:?}");
}

#[test]
fn one_and_two_threads_build_the_same_bytes() {
    shared();
    ok(&format!("{BUILD} --output one-thread --threads 1"));
    assert_same(&root().join("index"), &root().join("one-thread"));
}

#[test]
fn a_build_killed_in_any_stage_resumes_to_the_same_bytes() {
    let whole = undisturbed();
    let dir = scratch("killed");
    for stage in ["sample", "cluster", "assign", "encode", "calibrate", "publish"] {
        let line = format!("{LARGE} --output {dir}/{stage}");
        let mut build = Running::start(&line);
        assert!(build.reach(stage), "no stage {stage}");
        build.signal(Signal::KILL);
        let code = build.wait().code;
        assert!(code.is_none() || stage == "publish", "{stage}: {code:?}");
        is_none_or_whole(&format!("{dir}/{stage}"));
        resume(&line);
        assert_same(&whole, &root().join(&dir).join(stage));
    }
}

#[test]
fn a_build_killed_again_and_again_still_ends_with_the_same_bytes() {
    let whole = undisturbed();
    let dir = scratch("harried");
    let line = format!("{LARGE} --output {dir}/index");
    for turn in 1..=10 {
        let build = Running::start(&format!("{line} --resume"));
        std::thread::sleep(Duration::from_millis(37 * turn));
        build.signal(Signal::KILL);
        build.wait();
        is_none_or_whole(&format!("{dir}/index"));
    }
    resume(&line);
    assert_same(&whole, &root().join(&dir).join("index"));
}

#[test]
fn a_signal_stops_a_build_which_can_be_resumed() {
    let whole = undisturbed();
    let dir = scratch("signalled");
    for (signal, name) in [(Signal::INT, "int"), (Signal::TERM, "term")] {
        let line = format!("{LARGE} --output {dir}/{name}");
        let mut build = Running::start(&line);
        assert!(build.reach("sample"));
        build.signal(signal);
        let done = build.wait();
        check_refused(130, &line, &done, &[&format!("{dir}/{name}"), "interrupted", "--resume"]);
        is_none_or_whole(&format!("{dir}/{name}"));
        resume(&line);
        assert_same(&whole, &root().join(&dir).join(name));
    }
}

#[test]
fn two_signals_stop_at_once() {
    large();
    let dir = scratch("impatient");
    let mut build = Running::start(&format!("{LARGE} --output {dir}/index"));
    assert!(build.reach("sample"));
    build.signal(Signal::STOP);
    build.signal(Signal::INT);
    build.signal(Signal::TERM);
    build.signal(Signal::CONT);
    assert_eq!(build.wait().code, Some(130));
    is_none_or_whole(&format!("{dir}/index"));
}

#[test]
fn an_unfinished_build_is_not_taken_for_anything_else() {
    large();
    shared();
    let dir = scratch("unfinished");
    let line = format!("{LARGE} --output {dir}/index");
    let mut build = Running::start(&line);
    assert!(build.reach("cluster"));
    build.signal(Signal::KILL);
    build.wait();
    let index = format!("{dir}/index");
    refused(2, &format!("{line} --progress none"), &[&index, "--resume", "--force"]);
    refused(2, &format!("{line} --seed 2 --resume --progress none"), &[&index, "--force"]);
    refused(5, &format!("verify {index} --progress none"), &[&index, "unfinished"]);
    ok(&format!("{line} --force --progress none"));
    ok(&format!("verify {index}"));
}

#[test]
fn a_damaged_index_can_be_replaced() {
    shared();
    let dir = scratch("damaged");
    let line = format!("{BUILD} --output {dir}/index");
    ok(&line);
    let manifest = root().join(&dir).join("index/MANIFEST");
    let mut bytes = std::fs::read(&manifest).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&manifest, bytes).unwrap();
    refused(5, &format!("inspect {dir}/index"), &["MANIFEST"]);
    ok(&format!("{line} --force"));
    assert!(ok(&format!("verify {dir}/index")).stdout.contains("sound"));
    assert!(root().join(&dir).join("index/postings.000002").exists());
}

#[test]
fn two_processes_do_not_share_a_folder() {
    large();
    shared();
    let dir = scratch("crowded");
    let line = format!("{LARGE} --output {dir}/index");
    let mut build = Running::start(&line);
    assert!(build.reach("sample"));
    build.signal(Signal::STOP);
    for flag in ["", "--resume", "--force"] {
        refused(2, &format!("{line} {flag} --progress none"), &[&format!("{dir}/index"), "in use"]);
    }
    refused(5, &format!("inspect {dir}/index"), &[&format!("{dir}/index")]);
    build.signal(Signal::CONT);
    assert_eq!(build.wait().code, Some(0));
    // searching while the index is replaced
    let mut build = Running::start(&format!("{line} --force"));
    assert!(build.reach("sample"));
    build.signal(Signal::STOP);
    refused(2, &format!("inspect {dir}/index"), &[&format!("{dir}/index"), "in use"]);
    build.signal(Signal::KILL);
    build.wait();
    ok(&format!("verify {dir}/index"));
}

#[test]
fn progress_comes_as_json_lines() {
    shared();
    let done =
        run(&format!("{BUILD} --output json-lines --force").replace("--progress none", "--progress json"));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let lines: Vec<serde_json::Value> =
        done.stderr.lines().map(|l| serde_json::from_str(l).expect(l)).collect();
    for stage in ["sample", "cluster", "assign", "encode", "calibrate", "publish"] {
        let last = lines.iter().rfind(|line| line["stage"] == stage).unwrap();
        assert_eq!(last["done"], last["total"], "{last}");
    }
    let done =
        ok(&format!("{BUILD} --output plain-lines --force").replace("--progress none", "--progress plain"));
    assert!(done.stderr.lines().count() >= 6 && done.stderr.contains("done in"), "{}", done.stderr);
}
