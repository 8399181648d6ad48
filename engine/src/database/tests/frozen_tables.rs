//! Embedding tables of the formats as they were frozen, as `frozen` has collections: `plain` has a directory of version 1,
//! `by-frequency` one of version 2, whose rows lie by frequency.

use nearline_index::embedding::{FloatCodec, FloatType, Rows};

use super::frozen::{copy, fixture};
use crate::{Database, EmbeddingTable};

/// The fixture of the format as it is now.
const NEWEST: &str = "t2";
const ROWS: u64 = 300;
const DIM: usize = 4;

fn row(id: u64, version: u64) -> [f32; DIM] {
    [id as f32, version as f32, -0.25, 0.5 * id as f32]
}

/// Some rows are in the file as they were made, some as they were put before and after it was written anew.
fn fill(table: &EmbeddingTable) {
    table.put(&[7, 299], &[row(7, 2), row(299, 2)].concat()).unwrap();
    table.compact().unwrap();
    table.put(&[0, 7], &[row(0, 3), row(7, 3)].concat()).unwrap();
}

fn expected() -> Vec<f32> {
    let version = |id| match id {
        0 | 7 => 3,
        299 => 2,
        _ => 1,
    };
    (0..ROWS).flat_map(|id| row(id, version(id))).collect()
}

#[test]
#[ignore = "makes a fixture"]
fn freeze_tables() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder(folder.path()).background(false).open().unwrap();
    let values: Vec<f32> = (0..ROWS).flat_map(|id| row(id, 1)).collect();
    let rows = Rows::encode(FloatCodec::new(DIM, FloatType::F32), &values).unwrap();
    fill(&database.create_embedding_table("plain", &rows).unwrap());
    let frequencies: Vec<u64> = (0..ROWS).map(|id| id * 7 % 100).collect();
    fill(&database.create_embedding_table_by_frequency("by-frequency", &rows, &frequencies).unwrap());
    drop(database);
    assert!(!fixture(NEWEST).exists(), "{NEWEST} is frozen: a new format has a new name");
    copy(folder.path(), &fixture(NEWEST), true);
}

#[test]
fn tables_of_the_frozen_formats_open() {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture(NEWEST), folder.path(), false);
    let database = Database::builder(folder.path()).open().unwrap();
    assert_eq!(database.embedding_tables(), ["by-frequency", "plain"]);
    let ids: Vec<u64> = (0..ROWS).collect();
    for (name, segments) in [("plain", vec![4_800]), ("by-frequency", vec![4_800, 1_200])] {
        let table = database.embedding_table(name).unwrap();
        assert_eq!(table.pin().lookup(&ids).unwrap(), expected(), "{name}");
        let found: Vec<u64> = table.stats().unwrap().segments.iter().map(|(_, bytes)| *bytes).collect();
        assert_eq!(found, segments, "{name}");
        table.put(&[1], &row(1, 4)).unwrap();
        table.compact().unwrap();
        assert_eq!(table.pin().lookup(&[1]).unwrap(), row(1, 4));
    }
    drop(database);
    let report = Database::builder(folder.path()).verify(None, false, &mut |_, _| {}).unwrap();
    assert!(report.damaged.is_empty() && report.leftovers.is_empty(), "{report:?}");
}
