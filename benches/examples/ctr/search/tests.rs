//! Searches end, keep within their bytes, and find what predicts.

use super::*;
use crate::data::made;

#[test]
fn searches_find_small_tables_that_predict() {
    let data = made();
    let plain = data.ids * DIM as u64 * 4;
    for (name, search) in SEARCHED {
        for (kind, ratio) in [(Kind::FactorizationMachine, 2), (Kind::Interactions, 5)] {
            let found = search(kind, &data, plain / ratio, 0.01, 0).unwrap();
            let bytes = found.table.bytes().total();
            assert!(bytes <= plain / ratio, "{name}, {ratio}: {bytes}");
            // Chance is 0.69.
            println!("{name}, {ratio}x: {bytes} bytes, loss {}", found.valid);
            assert!(found.valid < 0.5, "{name}, {ratio}: {}", found.valid);
        }
        assert!(search(Kind::FactorizationMachine, &data, plain / 100, 0.01, 0).is_err(), "{name}");
    }
}
