//! Sets of rows against sorted vectors of them.

use std::path::Path;

use nearline_storage::{Decoder, Encoder, StorageError};
use proptest::prelude::*;

use crate::{RowId, RowSet};

fn set(rows: &[u32]) -> RowSet {
    RowSet::from_sorted(rows.iter().copied().map(RowId))
}

fn encoded(set: &RowSet) -> Vec<u8> {
    let mut out = Encoder::new();
    set.encode(&mut out);
    out.into_bytes()
}

fn decoded(bytes: &[u8]) -> Result<RowSet, StorageError> {
    let mut decoder = Decoder::new(bytes, Path::new("rows"), 4096);
    let set = RowSet::decode(&mut decoder)?;
    decoder.finish()?;
    Ok(set)
}

/// All that is said of a set is so of its rows.
fn check(set: &RowSet, rows: &[u32]) {
    assert_eq!(set.len(), rows.len() as u64);
    assert_eq!(set.is_empty(), rows.is_empty());
    assert_eq!(
        (set.first(), set.last()),
        (rows.first().copied().map(RowId), rows.last().copied().map(RowId))
    );
    assert!(set.iter().map(|row| row.0).eq(rows.iter().copied()));
    assert!(set.ram_bytes() <= 4 * rows.len(), "{} bytes for {} rows", set.ram_bytes(), rows.len());
    let around = rows.iter().flat_map(|&row| [row.saturating_sub(1), row, row.saturating_add(1)]);
    let last = rows.last().copied().unwrap_or(0);
    for row in around.chain([0, 1, last / 2, u32::MAX]) {
        let found = rows.binary_search(&row);
        assert_eq!(set.slot_of(RowId(row)), found.ok().map(|slot| slot as u32), "row {row}");
        if let Ok(slot) = found {
            assert_eq!(set.row_of(slot as u32), RowId(row));
        }
        assert_eq!(set.contains(RowId(row)), found.is_ok(), "row {row}");
        let before = rows.partition_point(|&other| other < row) as u32;
        assert_eq!(set.slots_before(RowId(row)), before, "row {row}");
    }
}

/// Runs of rows and gaps, short and long.
fn any_rows() -> impl Strategy<Value = Vec<u32>> {
    let first = prop_oneof![Just(0), 0..10_000_u32, Just(3_000_000_000)];
    let gap = prop_oneof![6 => 2..9_u32, 2 => 9..100_u32, 1 => 100..60_000_u32];
    let run = prop_oneof![3 => 1..4_u32, 1 => 1..700_u32];
    (first, prop::collection::vec((gap, run), 0..60)).prop_map(|(first, runs)| {
        let mut row = first;
        let mut rows = Vec::new();
        for (gap, run) in runs {
            rows.extend(row..row + run);
            row += run - 1 + gap;
        }
        rows
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_set_is_what_its_rows_are(rows in any_rows()) {
        let set = set(&rows);
        check(&set, &rows);
        prop_assert_eq!(decoded(&encoded(&set)).unwrap(), set);
    }

    #[test]
    fn whatever_is_decoded_is_encoded_so(rows in any_rows(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut bytes = encoded(&set(&rows));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(set) = decoded(&bytes) {
            let rows: Vec<u32> = set.iter().take(1 << 16).map(|row| row.0).collect();
            if set.len() == rows.len() as u64 {
                check(&set, &rows);
            }
            prop_assert_eq!(encoded(&set), bytes);
        }
    }
}

#[test]
fn sets_at_the_ends() {
    let all = RowSet::dense(RowId(0), RowId(u32::MAX));
    assert_eq!((all.len(), all.ram_bytes()), (1 << 32, 0));
    assert_eq!(all.slot_of(RowId(u32::MAX)), Some(u32::MAX));
    assert_eq!(all.slots_before(RowId(u32::MAX)), u32::MAX);
    assert_eq!(decoded(&encoded(&all)).unwrap(), all);
    let cases: [&[u32]; 6] = [&[], &[0], &[u32::MAX], &[0, u32::MAX], &[u32::MAX - 1, u32::MAX], &[7, 8, 9]];
    for rows in cases {
        check(&set(rows), rows);
        assert_eq!(decoded(&encoded(&set(rows))).unwrap(), set(rows));
    }
    assert_eq!(set(&[7, 8, 9]), RowSet::dense(RowId(7), RowId(9)));
}

#[test]
fn the_shortest_form_is_held_whatever_came_on_the_way() {
    // Few rows far apart, then many: a list that becomes bits; then so few that it becomes a list again.
    let mut rows: Vec<u32> = (0..1_000).map(|at| at * 500).collect();
    let sparse = set(&rows);
    assert_eq!(sparse.ram_bytes(), 4_000);
    rows.extend((1_000_000..1_400_000).filter(|row| row % 3 != 0));
    let dense = set(&rows);
    check(&dense, &rows);
    let words = rows[rows.len() - 1] as usize / 64 + 1;
    assert_eq!(dense.ram_bytes(), words * 8 + words.div_ceil(8) * 4);
    rows.truncate(1_100);
    rows.push(1 << 31);
    assert_eq!(set(&rows).ram_bytes(), 4 * rows.len());
}

#[test]
fn bad_bytes_are_refused_with_file_and_offset() {
    let samples: [&[u32]; 3] = [&[3, 4, 9, 12], &[3, 100, 101, 900], &[7, 8, 9]];
    for rows in samples {
        let good = encoded(&set(rows));
        for len in 0..good.len() {
            let error = decoded(&good[..len]).unwrap_err();
            assert!(matches!(error, StorageError::UnexpectedEnd { .. }), "{error}");
        }
        assert!(decoded(&[&good[..], &[0]].concat()).is_err());
        for (len, first, last) in [(0, 1, 1), (2, 5, 5), (1, 5, 4), (u64::MAX, 0, u32::MAX)] {
            let mut bad = Encoder::new();
            bad.u64(len).u32(first).u32(last).raw(&good[16..]);
            let error = decoded(bad.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("rows"), "{error}");
        }
    }
    // A list out of order; bits that are not as many as rows, or do not end with the last.
    let mut list = encoded(&set(&[3, 100, 101, 900]));
    list.swap(20, 24);
    let error = decoded(&list).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { what: "order of rows", offset: 4120, .. }), "{error}");
    for (bits, what) in [
        (0x3ff_u64, "rows of a set"),
        (0b11_1100_0000, "bit of the first row"),
        (0b1111, "bit of the last row"),
    ] {
        let mut bytes = encoded(&set(&[3, 4, 9, 12]));
        assert_eq!(bytes.len(), 24);
        bytes[16..].copy_from_slice(&bits.to_le_bytes());
        let error = decoded(&bytes).unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { what: found, .. } if found == what), "{error}");
    }
}
