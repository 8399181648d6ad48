//! The picture of `recall --plot`.

use crate::files::{read, write};
use crate::run::{ok, refused, root, scratch, shared};

const LINE: &str = "recall --index index --queries queries.fbin --groundtruth truth.bin";

fn picture(name: &str) -> String {
    String::from_utf8(read(name)).unwrap()
}

#[test]
fn rows_are_drawn_beside_what_they_are_compared_with() {
    shared();
    let dir = scratch("plot");
    let other =
        r#"{"system": "in RAM & fast", "recall": 0.95, "qps": 5000, "p99_us": 300, "bytes_per_query": null}"#;
    write(&format!("{dir}/other.jsonl"), format!("{other}\n").as_bytes());
    // what one run prints is what another is compared with
    let rows = ok(&format!("{LINE} --json --label before --nprobe 8 all"));
    assert!(rows.json().iter().all(|row| row["system"] == "before" && row["recall"].is_number()));
    write(&format!("{dir}/before.jsonl"), rows.stdout.as_bytes());
    let compare = format!("--compare {dir}/other.jsonl --compare {dir}/before.jsonl");
    let done = ok(&format!(
        "{LINE} --target-recall 0.9 0.99 --memory 64MiB --pin none --plot {dir}/all.svg {compare}"
    ));
    assert_eq!(done.stdout.lines().count(), 4, "{}", done.stdout);
    let svg = picture(&format!("{dir}/all.svg"));
    for words in [">Nearline<", ">before<", ">in RAM &amp; fast<", "2,000 x 24 f32", "64.0 MiB", "1 thread"] {
        assert!(svg.contains(words), "{words}: {svg}");
    }
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    // in each panel, but that nothing is read from RAM
    assert_eq!(svg.matches("class=\"series\"").count(), 3 * 3 - 1);
    assert_eq!(svg.matches(">Nearline: recall ").count(), 2 * 3);
    ok(&format!("{LINE} --plot {dir}/alone.svg --label mine"));
    assert!(picture(&format!("{dir}/alone.svg")).contains(">mine<"));
    // what reads nothing is drawn all the same
    ok(&format!("{LINE} --memory 64MiB --pin codes --rerank none --plot {dir}/in-ram.svg {compare}"));
    assert!(picture(&format!("{dir}/in-ram.svg")).contains(">Nearline: recall "));
}

#[test]
fn what_cannot_be_drawn_is_refused_before_anything_is_measured() {
    shared();
    let dir = scratch("plot-bad");
    let plot = format!("{LINE} --plot {dir}/bad.svg --compare {dir}");
    let good = r#"{"system": "a", "recall": 0.9, "qps": 1, "p99_us": 1}"#;
    let bad = good.replace("0.9", "9");
    write(&format!("{dir}/bad.jsonl"), format!("{good}\n{bad}\n").as_bytes());
    refused(3, &format!("{plot}/bad.jsonl"), &["bad.jsonl: line 2", "recall", "found 9", "expected"]);
    write(&format!("{dir}/ours.jsonl"), good.replace("\"a\"", "\"Nearline\"").as_bytes());
    refused(3, &format!("{plot}/ours.jsonl"), &["ours.jsonl: line 1", "found", "--label"]);
    write(&format!("{dir}/empty.jsonl"), b"");
    refused(3, &format!("{plot}/empty.jsonl"), &["empty.jsonl", "found no lines", "qps"]);
    refused(3, &format!("{plot}/missing.jsonl"), &["missing.jsonl"]);
    refused(3, &format!("{LINE} --plot {dir}/none/a.svg"), &["a.svg"]);
    refused(2, &format!("{LINE} --plot {dir}/a.png"), &["a.png", ".svg"]);
    refused(2, &format!("{LINE} --compare {dir}/empty.jsonl"), &["--plot"]);
    let left: Vec<_> =
        std::fs::read_dir(root().join(&dir)).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().ends_with(".jsonl")), "{left:?}");
}
