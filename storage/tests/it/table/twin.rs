//! Whatever is asked of a table, a `BTreeMap` answers alike.

use std::collections::BTreeMap;
use std::ops::Bound;

use nearline_storage::{PAGE, Pair, Result, SimDisk, StorageError, Table, TableOptions, TableWriter, merge};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{HEADER, Map, noise, numbers, open, table_of};

type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
}

/// What the twin says is in a range, which may be empty the wrong way round.
fn in_range(map: &Map, (from, to): &Range) -> Vec<Pair> {
    let after = |key: &[u8]| match from {
        Bound::Unbounded => true,
        Bound::Included(from) => key >= &from[..],
        Bound::Excluded(from) => key > &from[..],
    };
    let before = |key: &[u8]| match to {
        Bound::Unbounded => true,
        Bound::Included(to) => key <= &to[..],
        Bound::Excluded(to) => key < &to[..],
    };
    let inside = map.iter().filter(|(key, _)| after(key) && before(key));
    inside.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Compares ranges in both directions and their estimates.
fn check_range(table: &Table, map: &Map, range: &Range) {
    let expected = in_range(map, range);
    let (from, to) = (as_slice(&range.0), as_slice(&range.1));
    let found: Result<Vec<Pair>> = table.range(from, to).collect();
    assert!(found.unwrap() == expected, "forward {range:?}");
    let found: Result<Vec<Pair>> = table.range_back(from, to).collect();
    assert!(found.unwrap().into_iter().rev().eq(expected.iter().cloned()), "backward {range:?}");
    let estimate = table.count_estimate(from, to).unwrap();
    // An entry takes at least four bytes of its block.
    let most = expected.len() as u64 + 2 * (PAGE as u64 / 4);
    assert!((expected.len() as u64..=most).contains(&estimate), "{} as {estimate}", expected.len());
}

/// Compares lookups of all keys and of some that are not there.
fn check_lookups(table: &Table, map: &Map) {
    let mut keys: Vec<Vec<u8>> = map.keys().flat_map(|key| [key.clone(), [key, &[0][..]].concat()]).collect();
    keys.extend([vec![], vec![255; 301]]);
    keys.extend(map.keys().filter_map(|key| Some(key.split_last()?.1.to_vec())));
    for key in &keys {
        assert!(table.get(key).unwrap().as_ref() == map.get(key), "{key:?}");
    }
    let found = table.get_many(&keys).unwrap();
    assert!(found.iter().zip(&keys).all(|(found, key)| found.as_ref() == map.get(key)));
    assert_eq!(found.len(), keys.len());
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(0..3_u8, 0..10),
        2 => vec(0..2_u8, 0..10).prop_map(|tail| [&[9; 120][..], &tail].concat()),
        2 => any::<u32>().prop_map(|number| number.to_be_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..300),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let len =
        prop_oneof![20 => 0..30_usize, 6 => 0..2500_usize, 2 => 3900..4100_usize, 1 => 4000..20_000_usize];
    (len, any::<u64>()).prop_map(|(len, seed)| noise(len, seed))
}

fn map(most: usize) -> impl Strategy<Value = Map> {
    proptest::collection::btree_map(key(), value(), 0..most)
}

fn range() -> impl Strategy<Value = Range> {
    let bound = || {
        prop_oneof![key().prop_map(Bound::Included), key().prop_map(Bound::Excluded), Just(Bound::Unbounded)]
    };
    (bound(), bound())
}

fn options() -> impl Strategy<Value = TableOptions> {
    let made = |(block_bytes, filter_bits)| TableOptions { block_bytes, filter_bits, keys: None };
    (prop_oneof![Just(PAGE), Just(0), 1..80_000_usize], prop_oneof![Just(10), Just(0), 1..20_u32])
        .prop_map(made)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_table_answers_as_a_map(
        map in map(300),
        options in options(),
        ranges in vec(range(), 20),
    ) {
        let (_disk, table) = table_of(&map, options);
        table.verify().unwrap();
        check_lookups(&table, &map);
        for range in ranges {
            let mut keys = map.keys();
            let between = (keys.next().cloned(), keys.nth(map.len() / 2).cloned());
            check_range(&table, &map, &range);
            if let (Some(from), Some(to)) = between {
                check_range(&table, &map, &(Bound::Excluded(from.clone()), range.1));
                check_range(&table, &map, &(range.0, Bound::Included(to.clone())));
                check_range(&table, &map, &(Bound::Included(to), Bound::Excluded(from)));
            }
        }
    }

    #[test]
    fn a_filter_filled_on_the_way_is_the_same(map in map(300), options in options(), wrong in 0..600_u64) {
        let known = TableOptions { keys: Some(map.len() as u64), ..options };
        let (kept, filled) = (table_of(&map, options).0, table_of(&map, known).0);
        prop_assert!(kept.bytes("t").unwrap() == filled.bytes("t").unwrap());
        let (_disk, table) = table_of(&map, TableOptions { keys: Some(wrong), ..options });
        check_lookups(&table, &map);
    }

    #[test]
    fn a_merge_is_maps_written_over_each_other(maps in vec(map(60), 0..5)) {
        let tables: Vec<_> = maps.iter().map(|map| table_of(map, TableOptions::default()).1).collect();
        let keep = |key: &[u8], value: &[u8]| !(key.len() + value.len()).is_multiple_of(3);
        let found: Result<Vec<Pair>> = merge(tables.iter().map(Table::scan), keep).collect();
        let mut expected = BTreeMap::new();
        // The newest is the first.
        for map in maps.into_iter().rev() {
            expected.extend(map);
        }
        expected.retain(|key, value| keep(key, value));
        prop_assert!(found.unwrap().into_iter().eq(expected));
    }
}

#[test]
fn a_merge_ends_with_the_first_error() {
    let map = numbers(2000, 60);
    let (disk, table) = table_of(&map, TableOptions::default());
    disk.flip_bit("t", disk.bytes("t").unwrap().len() as u64 * 4);
    let mut merged = merge([table.scan(), table.scan()], |_, _| true);
    let found: Vec<bool> = merged.by_ref().map(|pair| pair.is_ok()).collect();
    assert!((1..2000).contains(&found.len()) && found.iter().rposition(|ok| *ok) == Some(found.len() - 2));
    assert!(merged.next().is_none());
}

#[test]
fn tables_of_every_size() {
    for (count, value_len) in [(0, 0), (1, 0), (1, 9000), (2, 5), (400, 0), (5000, 40), (300, 4000)] {
        let map = numbers(count, value_len);
        let (_disk, table) = table_of(&map, TableOptions::default());
        table.verify().unwrap();
        check_lookups(&table, &map);
        check_range(&table, &map, &(Bound::Unbounded, Bound::Unbounded));
        for start in (0..count * 3).step_by(117) {
            let [from, to] = [start, start + 400].map(|key| key.to_be_bytes().to_vec());
            check_range(&table, &map, &(Bound::Included(from.clone()), Bound::Excluded(to.clone())));
            check_range(&table, &map, &(Bound::Excluded(from), Bound::Included(to)));
        }
    }
}

/// One entry more than fits into a block, and exactly as many.
#[test]
fn a_block_filled_to_its_last_byte() {
    let blocks = |count: u64, len: usize| {
        let map = (0..count).map(|i| (vec![i as u8], vec![1; len])).collect();
        let (_disk, table) = table_of(&map, TableOptions { filter_bits: 0, ..TableOptions::default() });
        check_lookups(&table, &map);
        // Header page, index block, top index and footer.
        table.summary().bytes as usize / PAGE - 4
    };
    // Two entries of 3 + 2 + 1 bytes beside the value, one restart, their number: 4032 bytes in all.
    let (fits, too_long) = ((4032 - 4 - 2 * 5) / 2, (4032 - 4 - 2 * 5) / 2 + 1);
    assert_eq!((blocks(2, fits), blocks(2, too_long)), (1, 2));
    assert_eq!((blocks(1, 4032 - 4 - 5), blocks(1, 4032 - 4 - 4)), (1, 2), "a value of its own");
}

#[test]
fn values_of_many_extents_come_back() {
    let map: Map = [(1, 3 << 20), (2, 10), (3, (1 << 20) - 64), (4, (1 << 20) - 63), (5, 5000), (6, 1 << 20)]
        .map(|(key, len)| (vec![key], noise(len, len as u64)))
        .into();
    let (_disk, table) = table_of(&map, TableOptions::default());
    table.verify().unwrap();
    check_lookups(&table, &map);
    assert!(table.ram_bytes() < 2000);
}

#[test]
fn what_does_not_belong_is_refused() {
    let disk = SimDisk::new(1);
    let mut writer = TableWriter::create(&disk, "t", HEADER, TableOptions::default()).unwrap();
    writer.push(b"b", b"1").unwrap();
    for key in [&b""[..], b"a", b"b"] {
        let error = writer.push(key, b"2").unwrap_err();
        assert!(matches!(error, StorageError::KeyOrder { entry: 1, .. }), "{error}");
    }
    let error = writer.push(&[b'c'; 1025], b"").unwrap_err();
    assert!(matches!(error, StorageError::TooLong { what: "key", found: 1025, max: 1024, .. }), "{error}");
    writer.push(&[b'c'; 1024], &[3; 5000]).unwrap();
    writer.push(&[b'd'; 1024], b"4").unwrap();
    writer.finish().unwrap();
    let expected = [
        (b"b".to_vec(), b"1".to_vec()),
        (vec![b'c'; 1024], vec![3; 5000]),
        (vec![b'd'; 1024], b"4".to_vec()),
    ];
    let table = open(&disk, 0).unwrap();
    assert!(table.scan().map(Result::unwrap).eq(expected));
}
