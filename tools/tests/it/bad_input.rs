//! Input that is wrong: each time one line that names the file, and the right exit code.

use crate::files::{copy, crc32c, fbin, fbin_with, names, read, write};
use crate::run::{BUILD, check_refused, refused, root, run, scratch, shared};

/// Building from a file and searching by brute force in it must both be refused.
#[track_caller]
fn refused_base(name: &str, metric: &str, words: &[&str]) {
    let words: Vec<&str> = [&[name], words].concat();
    let index = format!("{name}.{metric}.index");
    let memory = "--memory 64MiB --progress none";
    refused(3, &format!("build --input {name} --output {index} --metric {metric} {memory}"), &words);
    assert!(!root().join(&index).join("MANIFEST").exists());
    let opened = run(&format!("inspect {index}"));
    assert_eq!(opened.code, Some(5), "{}", opened.stderr);
    // of itself: whatever is wrong, some file is named
    let line = format!("groundtruth --base {name} --queries {name} --metric {metric} --k 1 --output t.bin");
    refused(3, &format!("{line} --progress none"), &words);
}

#[test]
fn files_of_the_wrong_length() {
    let dir = scratch("length");
    let good = fbin_with(50, 8, 0, 1.0);
    let file = |name: &str, bytes: &[u8]| {
        let name = format!("{dir}/{name}");
        write(&name, bytes);
        name
    };
    refused_base(&file("truncated.fbin", &good[..good.len() - 5]), "l2", &["1603", "1608"]);
    refused_base(&file("oversized.fbin", &[&good[..], &[0; 3]].concat()), "l2", &["1611", "1608"]);
    refused_base(&file("header.fbin", &good[..6]), "l2", &["6", "8"]);
    refused_base(&file("empty.fbin", &[]), "l2", &["empty"]);
    let lying = [&4_000_000_000_u32.to_le_bytes()[..], &good[4..]].concat();
    refused_base(&file("lying.fbin", &lying), "l2", &["1608", "4000000000"]);
    refused_base(&file("cut.fvecs", &[&8_u32.to_le_bytes()[..], &[0; 30]].concat()), "l2", &[]);
    refused_base(&file("odd.csv", b"1,2,3"), "l2", &["csv", "fbin"]);
    refused_base(&file("no.fbin.gz", b"no gzip"), "l2", &["gzip"]);
    refused_base(&format!("{dir}/missing.fbin"), "l2", &[]);
    std::fs::create_dir_all(root().join(&dir).join("folder.fbin")).unwrap();
    refused_base(&format!("{dir}/folder.fbin"), "l2", &[]);
}

#[test]
fn shapes_out_of_range() {
    let dir = scratch("shapes");
    let file = |name: &str, n: u32, dim: u32, values: usize| {
        let name = format!("{dir}/{name}.fbin");
        write(&name, &fbin(n, dim, &vec![1.0; values]));
        name
    };
    refused_base(&file("no-vectors", 0, 8, 0), "l2", &["0"]);
    refused_base(&file("no-dimensions", 8, 0, 0), "l2", &["0", "65535"]);
    refused_base(&file("wide", 2, 65_536, 2 * 65_536), "l2", &["65536", "65535"]);
    let mut mixed = Vec::new();
    for dim in [4_u32, 4, 5] {
        mixed.extend(dim.to_le_bytes());
        mixed.extend((0..dim).flat_map(|i| (i as f32).to_le_bytes()));
    }
    // as long as if it were whole
    mixed.truncate(3 * 20);
    write(&format!("{dir}/mixed.fvecs"), &mixed);
    refused_base(&format!("{dir}/mixed.fvecs"), "l2", &["5", "4"]);
}

#[test]
fn the_widest_vectors_are_welcome() {
    let dir = scratch("widest");
    write(&format!("{dir}/wide.fbin"), &fbin_with(3, 65_535, 0, 2.0));
    let index = format!("{dir}/index");
    crate::run::ok(&format!("build --input {dir}/wide.fbin --output {index} --metric l2 --memory 256MiB"));
    crate::run::ok(&format!(
        "query --index {index} --queries {dir}/wide.fbin --k 3 --output {dir}/wide.ibin"
    ));
}

#[test]
fn numbers_that_are_none() {
    let dir = scratch("numbers");
    for (name, value) in [("nan", f32::NAN), ("inf", f32::INFINITY), ("minus-inf", f32::NEG_INFINITY)] {
        let file = format!("{dir}/{name}.fbin");
        write(&file, &fbin_with(500, 8, 8 * 321 + 2, value));
        refused_base(&file, "l2", &["321"]);
        refused_base(&file, "cosine", &["321"]);
    }
    shared();
    let file = format!("{dir}/queries.fbin");
    write(&file, &fbin_with(10, 24, 24 * 7, f32::NAN));
    refused(3, &format!("query --index index --queries {file} --output x.ibin"), &[&file, "7"]);
    let line =
        format!("groundtruth --base base.fbin --queries {file} --metric l2 --output x.bin --progress none");
    refused(3, &line, &[&file, "7"]);
}

#[test]
fn vectors_without_direction() {
    let dir = scratch("direction");
    let mut values: Vec<f32> = (0..400).map(|i| 1.0 + (i * 37 % 101) as f32).collect();
    values[8 * 13..8 * 14].fill(0.0);
    let file = format!("{dir}/zero.fbin");
    write(&file, &fbin(50, 8, &values));
    refused_base(&file, "cosine", &["13", "zero"]);
    crate::run::ok(&format!("build --input {file} --output {dir}/l2 --metric l2 --memory 64MiB"));
    write(&format!("{dir}/good.fbin"), &fbin_with(50, 8, 0, 1.0));
    crate::run::ok(&format!(
        "build --input {dir}/good.fbin --output {dir}/index --metric cosine --memory 64MiB"
    ));
    refused(3, &format!("query --index {dir}/index --queries {file} --output x.ibin"), &[&file, "13"]);
}

#[test]
fn queries_that_do_not_fit() {
    shared();
    let dir = scratch("queries");
    let commands = |queries: &str| {
        [
            format!("query --index index --queries {queries} --output x.ibin"),
            format!("recall --index index --queries {queries} --groundtruth truth.bin"),
            format!(
                "groundtruth --base base.fbin --queries {queries} --metric l2 --output x.bin --progress none"
            ),
            format!("{BUILD} --output x --calibration-queries {queries}"),
        ]
    };
    let narrow = format!("{dir}/narrow.fbin");
    write(&narrow, &fbin_with(100, 23, 0, 1.0));
    let bytes = format!("{dir}/bytes.u8bin");
    write(&bytes, &[&100_u32.to_le_bytes()[..], &24_u32.to_le_bytes(), &[7; 2400]].concat());
    for line in commands(&narrow) {
        refused(3, &line, &[&narrow, "23", "24"]);
    }
    for line in commands(&bytes) {
        refused(3, &line, &[&bytes, "u8", "f32"]);
    }
    for line in commands(&format!("{dir}/missing.fbin")) {
        refused(3, &line, &["missing.fbin"]);
    }
}

#[test]
fn bad_calibration_queries_are_found_before_the_work() {
    shared();
    let dir = scratch("calibration");
    let file = format!("{dir}/queries.fbin");
    write(&file, &fbin_with(10, 24, 24 * 7, f32::NAN));
    let line = format!("{BUILD} --output {dir}/index --calibration-queries {file}");
    let done = run(&line.replace("--progress none", "--progress json"));
    check_refused(3, &line, &done, &[&file, "7"]);
    assert!(!done.stderr.contains("\"cluster\""), "{}", done.stderr);
    crate::run::ok(&format!("{BUILD} --output {dir}/index"));
}

#[test]
fn more_neighbors_than_there_are() {
    shared();
    refused(
        3,
        "query --index index --queries queries.fbin --k 2001 --output x.ibin",
        &["index", "2001", "2000"],
    );
    refused(2, "query --index index --queries queries.fbin --k 0 --output x.ibin", &["--k", "0"]);
    let recall = "recall --index index --queries queries.fbin --groundtruth truth.bin";
    refused(3, &format!("{recall} --k 101"), &["truth.bin", "100", "101"]);
    refused(2, &format!("{recall} --k 0"), &["--k", "0"]);
    let truth =
        "groundtruth --base base.fbin --queries queries.fbin --metric l2 --output x.bin --progress none";
    refused(3, &format!("{truth} --k 2001"), &["base.fbin", "2001", "2000"]);
    refused(2, &format!("{truth} --k 0"), &["--k", "0"]);
}

#[test]
fn exact_answers_that_do_not_fit() {
    shared();
    let dir = scratch("truths");
    let recall = |truth: &str| format!("recall --index index --queries queries.fbin --groundtruth {truth}");
    let good = read("truth.bin");
    let file = |name: &str, bytes: &[u8]| {
        let name = format!("{dir}/{name}");
        write(&name, bytes);
        name
    };
    let truncated = file("truncated.bin", &good[..good.len() - 1]);
    refused(3, &recall(&truncated), &[&truncated]);
    let empty = file("empty.bin", &[]);
    refused(3, &recall(&empty), &[&empty]);
    let other = file("other.bin", &[&1_u32.to_le_bytes()[..], &10_u32.to_le_bytes(), &[0; 80]].concat());
    refused(3, &recall(&other), &[&other, "1", "100"]);
}

#[test]
fn ids_that_do_not_fit() {
    shared();
    let few = [&3_u32.to_le_bytes()[..], &1_u32.to_le_bytes(), &[0; 24]].concat();
    write("few.i64bin", &few);
    refused(3, &format!("{BUILD} --output x --ids few.i64bin"), &["few.i64bin", "3", "2000"]);
    let wide = [&1_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), &[0; 24]].concat();
    write("wide-ids.i64bin", &wide);
    refused(3, &format!("{BUILD} --output x --ids wide-ids.i64bin"), &["wide-ids.i64bin", "3"]);
}

/// Commands that open an index.
fn opening(dir: &str) -> [String; 4] {
    [
        format!("query --index {dir} --queries queries.fbin --output x.ibin"),
        format!("recall --index {dir} --queries queries.fbin --groundtruth truth.bin"),
        format!("inspect {dir}"),
        format!("verify {dir} --progress none"),
    ]
}

#[test]
fn folders_that_are_no_index() {
    shared();
    let dir = scratch("no-index");
    std::fs::create_dir_all(root().join(&dir).join("empty")).unwrap();
    std::fs::create_dir_all(root().join(&dir).join("photos")).unwrap();
    write(&format!("{dir}/photos/cat.jpg"), b"meow");
    for name in ["empty", "photos", "missing"] {
        let dir = format!("{dir}/{name}");
        for line in opening(&dir) {
            refused(5, &line, &[&dir, "not an index"]);
        }
    }
    for line in opening("base.fbin") {
        refused(5, &line, &["base.fbin", "not an index"]);
    }
    assert_eq!(names(&format!("{dir}/photos")), ["cat.jpg"]);
    assert_eq!(
        std::fs::read_dir(root().join(&dir).join("empty")).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn an_index_of_a_newer_format() {
    shared();
    for name in names("index") {
        copy("index", "newer");
        let file = format!("newer/{name}");
        let mut bytes = read(&file);
        bytes[20] += 1; // major version
        let crc = crc32c(&[&bytes[..40], &bytes[44..4096]].concat());
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        write(&file, &bytes);
        let [query, _, inspect, verify] = opening("newer");
        refused(5, &query, &[&name, "version 2", "newer"]);
        refused(5, &inspect, &[&name, "version 2", "newer"]);
        let done = run(&verify);
        let all = format!("{}{}", done.stdout, done.stderr);
        assert!(done.code == Some(5) && all.contains(&name) && all.contains("newer"), "{all}");
    }
}

#[test]
fn outputs_that_cannot_be() {
    shared();
    refused(3, "query --index index --queries queries.fbin --output no/such/x.ibin", &["no/such/x.ibin"]);
    refused(3, "generate --kind deep --count 5 --output no/such/x.fbin", &["no/such/x.fbin"]);
    refused(3, "generate --kind deep --count 5 --output x.u8bin", &["x.u8bin", "f32", "u8"]);
    refused(3, "generate --kind deep --count 5 --dim 65536 --output x.fbin", &["65536", "65535"]);
    let done = run("build --input base.fbin --output base.fbin --metric l2 --memory 64MiB --progress none");
    assert!(matches!(done.code, Some(2 | 3)) && done.stderr.lines().count() == 1, "{done:?}");
}
