//! Picking vectors out of a file finds what going through all of it does.

use std::collections::BTreeSet;
use std::sync::Arc;

use nearline_storage::{Disk, SimDisk};
use proptest::prelude::*;

use crate::{ElementType, Flat, FlatWriter, Metric, Nearest, RowId, Scorer, Shape};

const DIM: usize = 96;

fn file(rows: &BTreeSet<u32>) -> Flat {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(0));
    let shape = Shape { dim: DIM, element: ElementType::U8 };
    let mut writer = FlatWriter::create(disk.as_ref(), "vectors", 7, shape).unwrap();
    for &row in rows {
        let vector: Vec<u8> =
            (0..DIM).map(|at| (row.wrapping_mul(2_654_435_761) >> (at % 24)) as u8).collect();
        writer.push(RowId(row), &vector).unwrap();
    }
    let written = writer.finish().unwrap();
    Flat::open(&disk, "vectors", 7, shape, written.rows).unwrap()
}

fn scorer() -> Scorer {
    let shape = Shape { dim: DIM, element: ElementType::U8 };
    Scorer::new(Metric::L2, shape, &[100; DIM])
}

/// Rows with gaps here and there, or everywhere, from some row on.
fn any_rows() -> impl Strategy<Value = BTreeSet<u32>> {
    let gap = prop_oneof![20 => Just(1_u32), 2 => 2..5_u32, 1 => 100..9_000_u32];
    let wide = 1..500_u32;
    let gaps = prop_oneof![prop::collection::vec(gap, 1..600), prop::collection::vec(wide, 1..600)];
    (0..10_000_u32, gaps).prop_map(|(first, gaps)| {
        let mut row = first;
        gaps.into_iter()
            .map(|gap| {
                row += gap;
                row
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_is_picked_is_what_a_scan_finds(rows in any_rows(), every in 1..40_u32, slack in 0..50_u32, k in 1..40_usize) {
        let flat = file(&rows);
        let (first, last) = (*rows.first().unwrap(), *rows.last().unwrap());
        let within = RowId(first.saturating_sub(slack))..=RowId(last + slack);
        // Some that are there, some that are not.
        let wanted: BTreeSet<u32> = (first.saturating_sub(9)..last + 9).step_by(every as usize)
            .chain(rows.iter().copied().filter(|row| row % every == 0)).collect();
        let (mut right, mut found) = (Nearest::new(k), Nearest::new(k));
        let compared = flat.nearest(&scorer(), |row| wanted.contains(&row.0), &mut right).unwrap();
        let picked = flat.nearest_of(&scorer(), wanted.iter().copied().map(RowId), &within, &mut found).unwrap();
        prop_assert_eq!(picked.compared, compared);
        prop_assert_eq!(found.into_sorted(), right.into_sorted());
    }
}

#[test]
fn without_gaps_only_the_pages_of_the_rows_are_read() {
    let rows: BTreeSet<u32> = (1_000..5_000).collect();
    let flat = file(&rows);
    for count in [1_u32, 3, 50] {
        let wanted = (0..count).map(|at| RowId(1_003 + at * 4_000 / count));
        let mut nearest = Nearest::new(9);
        let picked =
            flat.nearest_of(&scorer(), wanted, &(RowId(1_000)..=RowId(4_999)), &mut nearest).unwrap();
        assert_eq!(picked.compared, u64::from(count));
        assert!(picked.pages <= flat.pages_of(u64::from(count)), "{count} rows, {picked:?}");
        assert!(picked.pages <= flat.pages() / 2, "{picked:?} of {}", flat.pages());
    }
}
