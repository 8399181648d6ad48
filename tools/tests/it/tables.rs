//! Embedding tables: fitted, asked, and carried to other systems and back.

use serde_json::json;

use crate::files::{fbin, read, write};
use crate::run::{ok, refused, root, scratch};

#[test]
fn a_table_is_fitted_asked_and_shown() {
    let dir = scratch("table");
    let values: Vec<f32> = (0..200 * 8).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    write(&format!("{dir}/rows.fbin"), &fbin(200, 8, &values));
    let table = format!("--db {dir}/db --table t");
    let fit = format!("table fit {table} --input {dir}/rows.fbin");
    refused(
        4,
        &format!("{fit} --method rowwise --budget 1199"),
        &["1.17 KiB (1200 bytes) needed, 1.17 KiB (1199 bytes) allowed"],
    );
    ok(&format!("{fit} --method float --budget 1MiB"));
    // Before anything is fitted: the budget would not do.
    refused(2, &format!("{fit} --method float --budget 1"), &["the embedding table \"t\" is there already"]);
    let rows = ok(&format!("table lookup {table} --ids 3,199")).json();
    assert_eq!(rows[1]["row"], json!(values[199 * 8..]));
    refused(3, &format!("table lookup {table} --ids 200"), &["200 at place 0", "ids below 200"]);
    let stats = ok(&format!("table inspect {table} --json")).json().remove(0);
    assert_eq!(
        (&stats["rows"], &stats["bytes"], &stats["method"]),
        (&json!(200), &json!(6400), &json!("Float"))
    );
    assert!(ok(&format!("table inspect {table}")).stdout.contains("as f32"));
    assert!(
        ok(&format!("table bench {table} --calls 3 --bags 4")).stdout.contains("200 of 200 rows in memory")
    );
    ok(&format!("verify {dir}/db"));

    let counts: Vec<u8> = (0..200_u64).flat_map(|id| (id * 7 % 100).to_le_bytes()).collect();
    let head = [200_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat();
    write(&format!("{dir}/counts.i64bin"), &[head, counts].concat());
    let frequent = format!("--db {dir}/db --table frequent");
    let fit = format!("table fit {frequent} --input {dir}/rows.fbin --budget 1MiB --by-frequency");
    refused(2, &format!("{fit} --method float"), &["--frequencies"]);
    let fit = format!("{fit} --frequencies {dir}/counts.i64bin");
    refused(3, &format!("{fit} --method hash"), &["Hash cannot have its rows lie by frequency"]);
    assert!(ok(&format!("{fit} --method float")).stdout.contains("0.9 times smaller"));
    assert_eq!(
        ok(&format!("table lookup {frequent} --ids 3,199")).json()[1]["row"],
        json!(values[199 * 8..])
    );
    let stats = ok(&format!("table inspect {frequent} --json")).json().remove(0);
    assert_eq!(stats["segments"], json!({"rows": 6400, "remap": 800}));
    for name in ["t", "frequent"] {
        ok(&format!("table convert --db {dir}/db --table {name} --to npy --path {dir}/{name}.npy"));
    }
    assert_eq!(read(&format!("{dir}/t.npy")), read(&format!("{dir}/frequent.npy")));
    ok(&format!("verify {dir}/db"));

    let stack = format!("--db {dir}/db --table stack");
    ok(&format!("table fit {stack} --input {dir}/rows.fbin --method bit-stack --budget 4000"));
    assert!(ok(&format!("table resize {stack} --levels 2")).stdout.contains("2 levels"));
    refused(3, &format!("table resize {stack} --levels 90"), &["levels: 90", "which were fitted"]);
    let random = format!("--db {dir}/db --table random");
    ok(&format!("table generate {random} --rows 40000 --dim 16"));
    let stats = ok(&format!("table inspect {random} --json")).json().remove(0);
    assert_eq!((&stats["rows"], &stats["bytes"]), (&json!(40_000), &json!(480_000)));
    let line = ok(&format!("table bench {random} --calls 3 --bags 4 --pool 1 --memory 16MiB")).stdout;
    assert!(line.contains("4 bags of 1 ids") && line.contains("reads and"), "{line}");
}

#[test]
fn a_fit_that_fails_leaves_no_database() {
    let dir = scratch("table-fit-fails");
    write(&format!("{dir}/rows.fbin"), &fbin(3, 4, &[0.5; 12]));
    let counts = |count: u32| {
        let head = [count.to_le_bytes(), 1_u32.to_le_bytes()].concat();
        write(&format!("{dir}/{count}.i64bin"), &[head, vec![0; 8 * count as usize]].concat());
        format!("--frequencies {dir}/{count}.i64bin")
    };
    let (two, three) = (counts(2), counts(3));
    let fit = |name: &str, more: &str| {
        format!("table fit --db {dir}/db --table {name} --input {dir}/rows.fbin {more}")
    };
    for (code, name, more) in [
        (4, "t", "--method float --budget 1"),
        (3, "t", &format!("--method float --budget 1MiB {two}")),
        (3, "t", "--method mde --budget 1MiB --fields 1,1"),
        (3, "t", &format!("--method hash --budget 1MiB --by-frequency {three}")),
        // Before anything is fitted: the budget would not do.
        (2, "a/b", "--method float --budget 1"),
    ] {
        refused(code, &fit(name, more), &[]);
        assert_eq!(std::fs::read_dir(root().join(&dir)).unwrap().count(), 3, "{more}");
    }
    ok(&fit("t", &format!("--method float --budget 1MiB {three}")));
    refused(4, &fit("u", "--method float --budget 1"), &[]);
    assert_eq!(ok(&format!("table list --db {dir}/db --json")).json().len(), 1);
}

#[test]
fn bytes_of_other_systems_go_in_and_come_out() {
    let dir = scratch("table-bytes");
    // The row that torch makes of 0, 1, 2, 3, 4, 5, 6 and 7.5 with 4 bits, twice.
    let row = [32, 100, 168, 252, 0, 56, 0, 0];
    write(&format!("{dir}/int4"), &[row, row].concat());
    let table = format!("--db {dir}/db --table torch");
    ok(&format!("table convert {table} --from torch --bits 4 --dim 8 --path {dir}/int4"));
    let rows = ok(&format!("table lookup {table} --ids 1")).json();
    assert_eq!(rows[0]["row"], json!([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.5]));
    let to = ok(&format!("table convert {table} --to torch --path {dir}/back")).stdout;
    assert_eq!(to, format!("{dir}/back: 2 rows of 8 as torch, 16 B\n"));
    assert_eq!(read(&format!("{dir}/back")), read(&format!("{dir}/int4")));
    refused(3, &format!("table convert {table} --to tbe --path {dir}/tbe"), &["rowwise has no such bytes"]);

    for (kind, path, keys, values) in
        [("hps", "hps", "hps/key", "hps/emb_vector"), ("deep-rec", "ev", "ev-keys", "ev-values")]
    {
        ok(&format!("table convert {table} --to {kind} --path {dir}/{path}"));
        assert_eq!(read(&format!("{dir}/{keys}")), [0u64.to_le_bytes(), 1u64.to_le_bytes()].concat());
        let other = format!("--db {dir}/db --table {kind}");
        ok(&format!("table convert {other} --from {kind} --dim 8 --path {dir}/{path}"));
        ok(&format!("table convert {other} --to npy --path {dir}/{kind}.npy"));
        assert_eq!(read(&format!("{dir}/{kind}.npy"))[128..], read(&format!("{dir}/{values}")));
        write(&format!("{dir}/{keys}"), &[0u64.to_le_bytes(), 7u64.to_le_bytes()].concat());
        let gap =
            format!("table convert --db {dir}/db --table gap --from {kind} --dim 8 --path {dir}/{path}");
        refused(3, &gap, &[keys, "offset 8: 7", "each of 0 to 1 once"]);
    }
    let sizes: Vec<usize> =
        ["ev-freqs", "ev-versions"].map(|name| read(&format!("{dir}/{name}")).len()).into();
    assert_eq!(sizes, [16, 16]);

    ok(&format!("table convert {table} --to safetensors --path {dir}/t.safetensors"));
    let bytes = read(&format!("{dir}/t.safetensors"));
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    assert_eq!(header["rows"], json!({"dtype": "U8", "shape": [2, 8], "data_offsets": [0, 16]}));
    assert_eq!(header["__metadata__"]["table"], json!("method=rowwise rows=2 dim=8 params=4,1,1"));
    assert_eq!(bytes[8 + len..], read(&format!("{dir}/int4")));
    let again = format!("table convert --db {dir}/db --table again");
    ok(&format!("{again} --from safetensors --path {dir}/t.safetensors"));
    ok(&format!("{again} --to torch --path {dir}/back2"));
    assert_eq!(read(&format!("{dir}/back2")), read(&format!("{dir}/int4")));
    write(&format!("{dir}/t.safetensors"), &bytes[..bytes.len() - 1]);
    let cut =
        format!("table convert --db {dir}/db --table cut --from safetensors --path {dir}/t.safetensors");
    refused(3, &cut, &["t.safetensors", "offset 0"]);
}

#[test]
fn what_is_written_is_not_written_over() {
    let dir = scratch("table-over");
    write(&format!("{dir}/rows.fbin"), &fbin(3, 4, &[0.5; 12]));
    let table = format!("--db {dir}/db --table t");
    ok(&format!("table fit {table} --input {dir}/rows.fbin --method float --budget 1MiB"));
    for (kind, path, file) in [
        ("npy", "t.npy", "t.npy"),
        ("safetensors", "t.safetensors", "t.safetensors"),
        ("hps", "hps", "hps/emb_vector"),
        ("deep-rec", "ev", "ev-versions"),
    ] {
        let line = format!("table convert {table} --to {kind} --path {dir}/{path}");
        let said = ok(&line).stdout;
        assert!(said.starts_with(&format!("{dir}/{path}: 3 rows of 4 as {kind}, ")), "{said}");
        std::fs::rename(root().join(&dir).join(file), root().join(&dir).join("kept")).unwrap();
        if kind == "hps" || kind == "deep-rec" {
            refused(2, &line, &["exists already", "remove it"]);
        }
        write(&format!("{dir}/{file}"), b"mine");
        refused(2, &line, &[path, "exists already; choose a new file, or remove it"]);
        assert_eq!(read(&format!("{dir}/{file}")), b"mine");
    }
    refused(
        3,
        &format!("table convert {table} --to npy --path {dir}/no/t.npy"),
        &["no/t.npy", "there is no folder"],
    );
}

#[test]
fn files_that_belong_together_are_written_all_or_none() {
    let dir = scratch("table-together");
    write(&format!("{dir}/rows.fbin"), &fbin(3, 4, &[0.5; 12]));
    let table = format!("--db {dir}/db --table t");
    ok(&format!("table fit {table} --input {dir}/rows.fbin --method float --budget 1MiB"));
    std::fs::create_dir(root().join(&dir).join("hps")).unwrap();
    for (kind, path, keys, values) in
        [("hps", "hps", "hps/key", "hps/emb_vector"), ("deep-rec", "ev", "ev-keys", "ev-values")]
    {
        // The last of the files cannot be written.
        let stands_in_the_way = root().join(&dir).join(format!("{values}.partial"));
        std::fs::create_dir(&stands_in_the_way).unwrap();
        let line = format!("table convert {table} --to {kind} --path {dir}/{path}");
        refused(3, &line, &[values]);
        for name in [keys, "ev-freqs", "ev-versions"] {
            assert!(!root().join(&dir).join(name).exists(), "{name}");
            assert!(!root().join(&dir).join(format!("{name}.partial")).exists(), "{name}");
        }
        std::fs::remove_dir(&stands_in_the_way).unwrap();
        ok(&line);
        assert_eq!(read(&format!("{dir}/{values}")).len(), 48);
    }
}

#[test]
fn what_comes_in_says_what_is_wrong_with_it() {
    let dir = scratch("table-in");
    write(&format!("{dir}/rows.fbin"), &fbin(3, 4, &[0.5; 12]));
    let table = format!("--db {dir}/db --table t");
    let fit = format!("table fit {table} --input {dir}/rows.fbin --budget 1MiB");
    refused(2, &format!("{fit} --method float --fields 3"), &["--fields", "float", "--method mde"]);
    ok(&format!("{fit} --method mde --fields 1,2"));
    ok(&format!("table drop {table}"));
    ok(&format!("{fit} --method float"));
    ok(&format!("table convert {table} --to npy --path {dir}/t.npy"));
    let numpy =
        |more: &str, name: &str| format!("table convert --db {dir}/db --table {name} --from npy {more}");
    ok(&numpy(&format!("--path {dir}/t.npy"), "a"));
    ok(&numpy(&format!("--dim 4 --path {dir}/t.npy"), "b"));
    let wrong = numpy(&format!("--dim 32 --path {dir}/t.npy"), "c");
    refused(3, &wrong, &["t.npy", "3 rows of 4 values", "expected 32 values"]);
    write(&format!("{dir}/half.npy"), &half_precision());
    refused(3, &numpy(&format!("--path {dir}/half.npy"), "c"), &["half.npy", "f16", "expected f32"]);
    // A file of numpy is one whatever its name.
    write(&format!("{dir}/rows.bin"), &read(&format!("{dir}/t.npy")));
    ok(&numpy(&format!("--path {dir}/rows.bin"), "d"));

    for kind in ["torch-byte", "tbe-cast", "npy", "safetensors"] {
        let line = format!("table convert {table} --from {kind} --path {dir}/f.tb");
        refused(3, &line, &["f.tb: cannot", "No such file"]);
    }
    refused(3, &format!("table convert {table} --from hps --dim 4 --path {dir}/f"), &["f/key: cannot read"]);
    ok(&format!("table convert {table} --to hps --path {dir}/hps"));
    let hps = format!("table convert --db {dir}/db --table h --from hps --path {dir}/hps");
    refused(2, &hps, &["hps", "--dim is needed"]);
    refused(3, &format!("{hps} --dim 5"), &["hps/emb_vector: values: 48 bytes for 3 keys"]);
}

/// A file of numpy of two rows of f16.
fn half_precision() -> Vec<u8> {
    let text = "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2), }";
    let text = format!("{text:<117}\n");
    [b"\x93NUMPY\x01\x00", &118_u16.to_le_bytes()[..], text.as_bytes(), &[0; 8]].concat()
}
