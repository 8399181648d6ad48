//! Embedding tables of a database, beside other work on it.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nearline::embedding::{FloatCodec, FloatType, Hash, Rows};
use nearline::{Database, Metric, OpenError, Schema};

fn plain(value: f32) -> Rows<FloatCodec> {
    Rows::encode(FloatCodec::new(2, FloatType::F32), &[value; 4]).unwrap()
}

fn folders(path: &std::path::Path) -> usize {
    let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("table.")).count()
}

#[test]
fn while_a_table_is_written_others_go_on_and_the_first_to_be_done_has_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let database = &Database::builder(folder.path()).open().unwrap();
    thread::scope(|scope| {
        let (done, is_done) = channel();
        let mut steps = 0;
        let codec = Arc::new(FloatCodec::new(2, FloatType::F32));
        let made = database.create_table_of_rows("items", codec.clone(), |rows| {
            steps += 1;
            if steps == 1 {
                let done = done.clone();
                scope.spawn(move || {
                    database.create_collection("points", Schema::single(2, Metric::L2)).unwrap();
                    database.create_embedding_table("items", &plain(7.0)).unwrap();
                    done.send(()).unwrap();
                });
                is_done.recv_timeout(Duration::from_secs(60)).expect("others do not wait for the rows");
                rows.extend([1.0, 2.0]);
            }
            Ok(())
        });
        assert!(matches!(made, Err(OpenError::Exists { what: "embedding table", .. })), "{made:?}");
    });
    assert_eq!(database.embedding_table("items").unwrap().pin().lookup(&[1]).unwrap(), [7.0, 7.0]);
    assert_eq!((database.embedding_tables(), folders(folder.path())), (vec!["items".to_owned()], 1));
    database.drop_embedding_table("items").unwrap();
    let codec = Arc::new(FloatCodec::new(2, FloatType::F32));
    let mut rows = vec![vec![], vec![3.0, 4.0]];
    let table = database.create_table_of_rows("items", codec, |next| {
        next.extend(rows.pop().unwrap());
        Ok(())
    });
    assert_eq!(table.unwrap().pin().lookup(&[0]).unwrap(), [3.0, 4.0]);
}

#[test]
fn ids_of_a_table_are_counted_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder(folder.path()).open().unwrap();
    let table = Hash::new(1 << 50, 2, 800, 0.5, 0).unwrap();
    let version = database.create_embedding_table("hashed", &table).unwrap().pin();
    assert_eq!(version.rows(), 1 << 50);
    assert_eq!(version.ids().take(3).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(version.ids().nth((1 << 50) - 1), Some((1 << 50) - 1));
    assert_eq!(version.ids().nth(1 << 50), None);
}

#[test]
fn tables_have_no_more_memory_together_than_there_is_for_all() {
    const ROWS: u64 = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let memory = 16 << 20;
    let database = Database::builder(folder.path()).memory_budget(memory).open().unwrap();
    let rows = Rows::encode(FloatCodec::new(16, FloatType::F32), &[0.5; 16 * ROWS as usize]).unwrap();
    let small = database.create_embedding_table("small", &plain(7.0)).unwrap();
    let large: Vec<_> =
        ["a", "b", "c"].map(|name| database.create_embedding_table(name, &rows).unwrap()).into();
    let resident =
        || large.iter().map(|table| table.stats().unwrap().resident_rows * 64).collect::<Vec<u64>>();
    assert_eq!(small.stats().unwrap().resident_rows, 2);
    let bytes = resident();
    assert!(bytes.iter().sum::<u64>() <= memory / 2 && bytes[0] > memory / 3 && bytes[2] > 0, "{bytes:?}");
    for table in &large {
        assert_eq!(table.pin().lookup(&[0, ROWS - 1]).unwrap(), [0.5; 32]);
    }
    let before = bytes[0];
    drop((small, large));
    // What was closed gave its memory back.
    assert!(database.embedding_table("c").unwrap().stats().unwrap().resident_rows * 64 >= before);
}

#[test]
fn a_table_of_no_rows_is_refused_and_nothing_is_left_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder(folder.path()).open().unwrap();
    let codec = Arc::new(FloatCodec::new(2, FloatType::F32));
    let error = database.create_table_of_rows("none", codec, |_| Ok(())).unwrap_err().to_string();
    assert_eq!(error, "rows: none; expected one at least");
    assert_eq!((database.embedding_tables(), folders(folder.path())), (vec![], 0));
}
