//! Embedding tables: fitted, asked, and carried to other systems and back.

use serde_json::json;

use crate::files::{fbin, read, write};
use crate::run::{ok, refused, scratch};

#[test]
fn a_table_is_fitted_asked_and_shown() {
    let dir = scratch("table");
    let values: Vec<f32> = (0..200 * 8).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    write(&format!("{dir}/rows.fbin"), &fbin(200, 8, &values));
    let table = format!("--db {dir}/db --table t");
    let fit = format!("table fit {table} --input {dir}/rows.fbin");
    refused(4, &format!("{fit} --method rowwise --budget 1199"), &["1200 bytes needed, 1199 bytes allowed"]);
    ok(&format!("{fit} --method float --budget 1MiB"));
    refused(2, &format!("{fit} --method float --budget 1MiB"), &["t", "exists"]);
    let rows = ok(&format!("table lookup {table} --ids 3,199")).json();
    assert_eq!(rows[1]["row"], json!(values[199 * 8..]));
    refused(3, &format!("table lookup {table} --ids 200"), &["200 at place 0", "ids below 200"]);
    let stats = ok(&format!("table inspect {table} --json")).json().remove(0);
    assert_eq!((&stats["rows"], &stats["bytes"], &stats["method"]), (&json!(200), &json!(6400), &json!("Float")));
    assert!(ok(&format!("table inspect {table}")).stdout.contains("as f32"));
    assert!(ok(&format!("table bench {table} --calls 3 --bags 4")).stdout.contains("200 of 200 rows in memory"));
    ok(&format!("verify --db {dir}/db"));
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
    ok(&format!("table convert {table} --to rows --path {dir}/back"));
    assert_eq!(read(&format!("{dir}/back")), read(&format!("{dir}/int4")));

    ok(&format!("table convert {table} --to hps --path {dir}/hps"));
    assert_eq!(read(&format!("{dir}/hps/key")), [0u64.to_le_bytes(), 1u64.to_le_bytes()].concat());
    ok(&format!("table convert --db {dir}/db --table hps --from hps --dim 8 --path {dir}/hps"));
    ok(&format!("table convert --db {dir}/db --table hps --to npy --path {dir}/rows.npy"));
    assert_eq!(read(&format!("{dir}/rows.npy"))[128..], read(&format!("{dir}/hps/emb_vector")));
    write(&format!("{dir}/hps/key"), &[0u64.to_le_bytes(), 7u64.to_le_bytes()].concat());
    let gap = format!("table convert --db {dir}/db --table gap --from hps --dim 8 --path {dir}/hps");
    refused(3, &gap, &["key: 7", "each of 0 to 1 once"]);

    ok(&format!("table convert {table} --to safetensors --path {dir}/t.safetensors"));
    let bytes = read(&format!("{dir}/t.safetensors"));
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    assert_eq!(header["rows"], json!({"dtype": "U8", "shape": [2, 8], "data_offsets": [0, 16]}));
    assert_eq!(header["__metadata__"]["method"], json!("Rowwise"));
    assert_eq!(bytes[8 + len..], read(&format!("{dir}/int4")));
}
