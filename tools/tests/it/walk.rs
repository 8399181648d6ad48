//! The whole walk, as in the manual.

use crate::files::{ibin, read, write};
use crate::run::{BUILD, Running, check_refused, finish, ok, refused, root, run, scratch, shared};

#[test]
fn answers_with_all_lists_are_exact() {
    shared();
    ok("query --index index --queries queries.fbin --k 100 --nprobe all --threads 2 --output all.ibin");
    let (k, ids) = ibin("all.ibin");
    let truth = read("truth.bin");
    let words: Vec<u32> = truth.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    assert_eq!((k, ids.len()), (100, 100 * 100));
    assert_eq!(ids, words[2..2 + ids.len()]);
}

#[test]
fn wide_ids_are_the_same() {
    shared();
    let line = "query --index index --queries queries.fbin --k 3 --nprobe 4 --output";
    ok(&format!("{line} narrow.ibin"));
    ok(&format!("{line} wide.i64bin"));
    let (_, narrow) = ibin("narrow.ibin");
    let wide = read("wide.i64bin");
    let wide: Vec<u64> = wide[8..].as_chunks().0.iter().map(|id| u64::from_le_bytes(*id)).collect();
    assert!(narrow.iter().map(|&id| u64::from(id)).eq(wide));
}

#[test]
fn every_thread_count_and_memory_gives_the_same_answers() {
    shared();
    let line = "query --index index --queries queries.fbin --k 10 --target-recall 0.9 --output";
    ok(&format!("{line} one.ibin --threads 1"));
    ok(&format!("{line} two.ibin --threads 2 --memory 64MiB"));
    ok(&format!("{line} three.ibin --threads 3 --io pread"));
    assert_eq!(read("one.ibin"), read("two.ibin"));
    assert_eq!(read("one.ibin"), read("three.ibin"));
}

#[test]
fn query_writes_latencies_and_totals() {
    shared();
    let done =
        ok("query --index index --queries queries.fbin --k 10 --nprobe 4 --threads 1 --output lat.ibin \
        --lat lat.f32 --stats stats.json --json");
    assert_eq!(read("lat.f32").len(), 100 * 4);
    let stats: serde_json::Value = serde_json::from_slice(&read("stats.json")).unwrap();
    for field in ["wall_s", "reads", "read_bytes", "enters"] {
        assert!(stats[field].as_f64().unwrap() > 0.0, "{field}: {stats}");
    }
    let [summary] = &done.json()[..] else { panic!("{}", done.stdout) };
    assert_eq!(summary["queries"], 100);
    assert_eq!(summary["lists_per_query"], 4.0);
    assert!(summary["p99_us"].as_f64() >= summary["p50_us"].as_f64());
}

#[test]
fn query_says_what_was_cut_short_and_what_is_held() {
    shared();
    let line = "query --index index --queries queries.fbin --k 10 --threads 1 --output cut.ibin --nprobe 8";
    let files = "--stats cut.json --json";
    let stats = || serde_json::from_slice::<serde_json::Value>(&read("cut.json")).unwrap();
    for (limit, cut) in [("", 0), ("--max-bytes-read 4KiB", 100), ("--max-ms 0", 100)] {
        let pins = [("none", "lists"), ("lists", "lists"), ("signs", "signs"), ("codes", "codes")];
        for (pin, residency) in pins.into_iter().filter(|pin| cut == 0 || pin.0 == "none") {
            let [summary] = &ok(&format!("{line} {limit} --pin {pin} {files}")).json()[..] else { panic!() };
            assert_eq!((&summary["cut"], &summary["residency"]), (&cut.into(), &residency.into()), "{limit}");
            assert_eq!((&stats()["cut"], &stats()["residency"]), (&cut.into(), &residency.into()), "{limit}");
        }
        let text = ok(&format!("{line} {limit} --pin none")).stdout;
        assert!(text.contains("residency lists"), "{text}");
        assert_eq!(text.contains("100 queries cut short"), cut > 0, "{text}");
    }
}

#[test]
fn recall_says_what_was_cut_short_and_what_is_held() {
    shared();
    let line = "recall --index index --queries queries.fbin --groundtruth truth.bin --nprobe 8";
    for (limit, cut) in [("", 0), ("--max-bytes-read 4KiB", 100)] {
        let [row] = &ok(&format!("{line} {limit} --pin none --json")).json()[..] else { panic!() };
        assert_eq!((&row["cut"], &row["residency"]), (&cut.into(), &"lists".into()), "{limit}");
        let text = ok(&format!("{line} {limit} --pin none")).stdout;
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("residency lists, ") && lines[1].ends_with(" cut"), "{text}");
        assert!(lines[2].ends_with(&format!(" {cut}")), "{text}");
    }
    let [row] = &ok(&format!("{line} --pin codes --json")).json()[..] else { panic!() };
    assert_eq!(row["residency"], "codes");
}

#[test]
fn recall_prints_an_object_for_each_setting() {
    shared();
    let line = "recall --index index --queries queries.fbin --groundtruth truth.bin --k 10 --json";
    let rows = ok(&format!("{line} --target-recall 0.9 0.99 --threads 2 --memory 64MiB --pin none")).json();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        for field in ["k", "recall", "queries", "threads", "nprobe", "mean_us", "p50_us", "p99_us", "qps"] {
            assert!(row[field].is_number(), "{field}: {row}");
        }
        for field in
            ["lists_per_query", "reads_per_query", "bytes_per_query", "enters_per_query", "rss_bytes"]
        {
            assert!(row[field].as_f64().unwrap() > 0.0, "{field}: {row}");
        }
    }
    assert_eq!(rows[1]["target_recall"], 0.99);
    let rows = ok(&format!("{line} --nprobe 1 8 all --cold")).json();
    let recalls: Vec<f64> = rows.iter().map(|row| row["recall"].as_f64().unwrap()).collect();
    assert!(recalls[0] < recalls[1] && recalls[1] <= recalls[2] && recalls[2] == 1.0, "{recalls:?}");
    assert!(rows[0]["target_recall"].is_null());
    let rows = ok(&format!("{line} --sweep")).json();
    assert!(rows.len() > 2 && rows[rows.len() - 1]["recall"].as_f64() >= Some(0.999), "{rows:?}");
}

#[test]
fn recall_prints_a_table_for_people() {
    shared();
    let done = ok("recall --index index --queries queries.fbin --groundtruth truth.bin");
    assert_eq!(done.stdout.lines().count(), 5, "{}", done.stdout);
    assert!(done.stdout.contains("0.99 "), "{}", done.stdout);
}

#[test]
fn every_metric_and_type_finds_what_brute_force_finds() {
    let dir = scratch("metrics");
    for (dtype, extension) in [("f32", "fbin"), ("f16", "f16bin"), ("u8", "u8bin"), ("i8", "i8bin")] {
        let (base, queries) = (format!("{dir}/b.{extension}"), format!("{dir}/q.{extension}"));
        let kind = if dtype == "u8" { "sift" } else { "deep" };
        ok(&format!(
            "generate --kind {kind} --count 500 --dim 12 --dtype {dtype} --output {base} --queries 20 \
            --queries-output {queries}"
        ));
        for metric in ["l2", "ip", "cosine"] {
            let (truth, index) = (format!("{dir}/{dtype}-{metric}.bin"), format!("{dir}/{dtype}-{metric}"));
            ok(&format!(
                "groundtruth --base {base} --queries {queries} --metric {metric} --k 10 --output {truth}"
            ));
            ok(&format!("build --input {base} --output {index} --metric {metric} --memory 64MiB"));
            let line = format!("recall --index {index} --queries {queries} --groundtruth {truth}");
            ok(&format!("{line} --nprobe all --min-recall 1"));
        }
    }
}

#[test]
fn inspect_says_what_the_index_is() {
    shared();
    let [info] = &ok("inspect index --json").json()[..] else { panic!("one document") };
    assert_eq!((&info["rows"], &info["dim"]), (&2000.into(), &24.into()));
    assert_eq!((&info["metric"], &info["element"], &info["seed"]), (&"l2".into(), &"f32".into(), &7.into()));
    assert!(info["calibration"].as_array().unwrap().len() >= 12, "{info}");
    let on_disk: u64 =
        info["files"].as_array().unwrap().iter().map(|file| file["bytes"].as_u64().unwrap()).sum();
    assert!(on_disk > 2000 * 24 * 4, "{info}");
    let text = ok("inspect index").stdout;
    assert!(text.contains("2,000 x 24 f32") && text.contains("target"), "{text}");
}

#[test]
fn verify_finds_a_sound_index_sound() {
    shared();
    assert!(ok("verify index").stdout.contains("sound"));
}

#[test]
fn a_plan_builds_nothing() {
    shared();
    let line = format!("{BUILD} --output planned --plan");
    let [plan] = &ok(&format!("{line} --json")).json()[..] else { panic!("one document") };
    for field in ["peak_ram_bytes", "temp_bytes", "disk_bytes", "read_bytes", "written_bytes", "seconds_max"]
    {
        assert!(plan["plan"][field].as_f64().unwrap() > 0.0, "{field}: {plan}");
    }
    assert!(ok(&line).stdout.contains("peak RAM"));
    assert!(!root().join("planned").exists());
}

#[test]
fn a_build_compares_what_was_predicted_with_what_was_real() {
    shared();
    let [report] = &ok(&format!("{BUILD} --output reported --json")).json()[..] else {
        panic!("one document")
    };
    for field in ["peak_ram_bytes", "temp_bytes", "disk_bytes", "read_bytes", "written_bytes"] {
        assert!(report["plan"][field].as_f64().unwrap() > 0.0, "{field}: {report}");
        assert!(report["real"][field].as_f64().unwrap() > 0.0, "{field}: {report}");
    }
    let text = ok(&format!("{BUILD} --output reported --force")).stdout;
    assert!(text.contains("predicted") && text.contains("real"), "{text}");
}

#[test]
fn ids_of_a_file_come_back() {
    shared();
    let ids: Vec<u64> = (0..2000).map(|row| (1 << 40) + row * 3).collect();
    let mut bytes = [2000_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat();
    bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
    write("ids.i64bin", &bytes);
    ok(&format!("{BUILD} --output with-ids --ids ids.i64bin --calibration-queries queries.fbin"));
    let line = "query --index with-ids --queries queries.fbin --k 1 --nprobe all --output";
    ok(&format!("{line} ids-found.i64bin"));
    ok("query --index index --queries queries.fbin --k 1 --nprobe all --output rows-found.i64bin");
    let words =
        |name| read(name)[8..].as_chunks().0.iter().map(|w| u64::from_le_bytes(*w)).collect::<Vec<_>>();
    let rows: Vec<u64> = words("rows-found.i64bin").iter().map(|&row| ids[row as usize]).collect();
    assert_eq!(words("ids-found.i64bin"), rows);
    refused(2, &format!("{line} ids-found.ibin"), &["ids-found.ibin", ".i64bin"]);
    assert!(!root().join("ids-found.ibin").exists() && !root().join("ids-found.ibin.partial").exists());
    // the exact answers are row numbers all the same
    ok("recall --index with-ids --queries queries.fbin --groundtruth truth.bin --nprobe all --min-recall 1");
}

#[test]
fn the_same_seed_generates_the_same_bytes() {
    let dir = scratch("seeds");
    let line = "generate --kind sift --count 300 --dim 16";
    ok(&format!("{line} --output {dir}/a.u8bin --threads 1"));
    ok(&format!("{line} --output {dir}/b.bvecs --threads 2"));
    ok(&format!("{line} --output {dir}/c.u8bin --seed 2"));
    ok(&format!("{line} --output {dir}/d.u8bin --threads 2"));
    assert_eq!(read(&format!("{dir}/a.u8bin")), read(&format!("{dir}/d.u8bin")));
    assert_ne!(read(&format!("{dir}/a.u8bin")), read(&format!("{dir}/c.u8bin")));
    assert_eq!(read(&format!("{dir}/b.bvecs")).len(), 300 * 20);
    ok(&format!("generate --kind like --anchors {dir}/a.u8bin --count 1000 --output {dir}/like.u8bin"));
    assert_eq!(read(&format!("{dir}/like.u8bin")).len(), 8 + 1000 * 16);
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(ok("--version").stdout.starts_with("nearline "));
    for command in ["", "demo", "generate", "groundtruth", "build", "query", "recall", "inspect", "verify"] {
        assert!(ok(&format!("{command} --help")).stdout.contains("Usage"), "{command}");
    }
    assert_eq!(run("").code, Some(2));
}

#[test]
fn nobody_reading_is_no_error() {
    shared();
    let mut command =
        crate::run::command("recall --index index --queries queries.fbin --groundtruth truth.bin");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command.stdout(writer).stderr(std::process::Stdio::piped()).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = crate::run::command("inspect index");
    command.stdout(full);
    let done = {
        let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        child.wait_with_output().unwrap()
    };
    assert_eq!(done.status.code(), Some(4), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn the_demo_shows_its_table_and_cleans_up() {
    let dir = scratch("demo");
    let mut command = crate::run::command("demo --count 3000 --progress none");
    command.env("TMPDIR", root().join(&dir));
    let done = finish(command);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    for words in ["target recall", "0.90", "0.95", "0.99", "cleaned up"] {
        assert!(done.stdout.contains(words), "{words}: {}", done.stdout);
    }
    assert_eq!(std::fs::read_dir(root().join(&dir)).unwrap().count(), 0);
    for stage in ["groundtruth", "assign"] {
        let mut command = crate::run::command("demo --count 20000");
        command.env("TMPDIR", root().join(&dir));
        let mut demo = Running::spawn(command);
        assert!(demo.reach(stage));
        demo.signal(rustix::process::Signal::INT);
        check_refused(130, "demo", &demo.wait(), &["interrupted"]);
        assert_eq!(std::fs::read_dir(root().join(&dir)).unwrap().count(), 0);
    }
    ok(&format!("demo --count 2000 --progress none --dir {dir}/kept"));
    ok(&format!("verify {dir}/kept/index"));
}
