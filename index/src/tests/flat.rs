//! Picking vectors out of a file finds what going through all of it does.

use std::collections::BTreeSet;
use std::sync::Arc;

use nearline_storage::{Disk, SimDisk};
use proptest::prelude::*;

use crate::rows::RowLayout;
use crate::{ElementType, Flat, FlatWriter, Metric, Nearest, Picked, RowId, RowSet, Scorer, Shape};

const DIM: usize = 96;
const SHAPE: Shape = Shape { dim: DIM, element: ElementType::U8 };

fn vector(row: u32) -> Vec<u8> {
    (0..DIM).map(|at| (row.wrapping_mul(2_654_435_761) >> (at % 24)) as u8).collect()
}

fn written(rows: &BTreeSet<u32>) -> (SimDisk, RowSet) {
    let disk = SimDisk::new(0);
    let mut writer = FlatWriter::create(&disk, "vectors", 7, SHAPE).unwrap();
    for &row in rows {
        writer.push(RowId(row), &vector(row)).unwrap();
    }
    let written = writer.finish().unwrap();
    assert_eq!(disk.bytes("vectors").unwrap().len() as u64, written.bytes);
    (disk, written.rows)
}

fn opened(disk: &SimDisk, rows: RowSet) -> Flat {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Flat::open(&disk, "vectors", 7, SHAPE, rows).unwrap()
}

fn file(rows: &BTreeSet<u32>) -> Flat {
    let (disk, rows) = written(rows);
    opened(&disk, rows)
}

fn scorer() -> Scorer {
    Scorer::new(Metric::L2, SHAPE, &[100; DIM])
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
    fn what_is_picked_is_what_a_scan_finds(rows in any_rows(), every in 1..40_u32, k in 1..40_usize) {
        let flat = file(&rows);
        let (first, last) = (*rows.first().unwrap(), *rows.last().unwrap());
        // Some that are there, some that are not.
        let wanted: BTreeSet<u32> = (first.saturating_sub(9)..last + 9).step_by(every as usize)
            .chain(rows.iter().copied().filter(|row| row % every == 0)).collect();
        let (mut right, mut found) = (Nearest::new(k), Nearest::new(k));
        let compared = flat.nearest(&scorer(), |row| wanted.contains(&row.0), &mut right).unwrap();
        let picked = flat.nearest_of(&scorer(), wanted.iter().copied().map(RowId), &mut found).unwrap();
        prop_assert_eq!(picked.compared, compared);
        prop_assert_eq!(found.into_sorted(), right.into_sorted());
        // No page twice, none without a row that is wanted.
        prop_assert!(picked.pages <= flat.pages() && picked.pages <= flat.pages_of(compared));
    }

    #[test]
    fn every_row_is_where_it_is_said_to_be(rows in any_rows(), seed in any::<u32>()) {
        let (disk, set) = written(&rows);
        prop_assert_eq!(&set, &RowSet::from_sorted(rows.iter().copied().map(RowId)));
        let flat = opened(&disk, set);
        flat.verify().unwrap();
        let mut walk = flat.walk();
        for row in rows.iter().flat_map(|&row| [row, row + 1]) {
            let found = walk.get(RowId(row)).unwrap().map(<[u8]>::to_vec);
            prop_assert_eq!(found, rows.contains(&row).then(|| vector(row)), "row {}", row);
        }
        let some = rows.iter().copied().skip(seed as usize % 7).step_by(13);
        for row in some.flat_map(|row| [row, row + 1]) {
            let found = flat.get(RowId(row)).unwrap();
            prop_assert_eq!(found, rows.contains(&row).then(|| vector(row)), "row {}", row);
            prop_assert_eq!(flat.place_of(RowId(row)).is_some(), rows.contains(&row));
            let after = flat.slot_after(RowId(row));
            prop_assert_eq!(after, rows.range(..=row).count() as u64);
            let mut from = Vec::new();
            flat.read(after, 1, |row, _| from.push(row.0)).unwrap();
            prop_assert_eq!(from.first(), rows.range(row + 1..).next());
            let (mut right, mut found) = (Nearest::new(5), Nearest::new(5));
            let counts = (
                flat.nearest(&scorer(), |other| other.0 > row, &mut right).unwrap(),
                flat.nearest_from(after, &scorer(), |_| true, &mut found).unwrap(),
            );
            prop_assert_eq!(counts.0, counts.1);
            prop_assert_eq!(found.into_sorted(), right.into_sorted());
        }
        // Who does not know the rows finds them in the file.
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let unlisted = Flat::open_unlisted(&disk, "vectors", 7, SHAPE, flat.rows()).unwrap();
        prop_assert_eq!(unlisted.row_set(), flat.row_set());
    }
}

#[test]
fn only_the_pages_of_the_rows_are_read() {
    let per_page = RowLayout::new(SHAPE).rows;
    let all: BTreeSet<u32> = (1_000..5_000).collect();
    let gaps = all.iter().copied().filter(|row| row % 7 != 0).collect();
    for rows in [all, gaps] {
        let flat = file(&rows);
        for count in [1, 3, 50] {
            let slots: Vec<usize> = (0..count).map(|at| 3 + at * rows.len() / count).collect();
            let wanted = slots.iter().map(|&slot| RowId(*rows.iter().nth(slot).unwrap()));
            let picked = flat.nearest_of(&scorer(), wanted, &mut Nearest::new(9)).unwrap();
            let pages: BTreeSet<usize> = slots.iter().map(|slot| slot / per_page).collect();
            assert_eq!((picked.compared, picked.pages), (count as u64, pages.len() as u64));
            // Pages side by side are one read, as long as it is not too long.
            let alone = pages.iter().filter(|&&page| !pages.contains(&(page.wrapping_sub(1)))).count() as u64;
            assert!((alone..=picked.pages).contains(&picked.reads), "{picked:?}");
            assert!(picked.pages <= flat.pages_of(count as u64));
        }
    }
}

#[test]
fn gaps_where_pages_end() {
    let per_page = RowLayout::new(SHAPE).rows as u32;
    // Before, at and behind the border, between the first two extents and before the last row.
    for gap in [per_page - 1, per_page, per_page + 1, 3 * per_page - 1] {
        let rows: BTreeSet<u32> = (0..3 * per_page + 1).filter(|&row| row != gap).collect();
        let flat = file(&rows);
        for row in 0..=3 * per_page + 1 {
            assert_eq!(flat.get(RowId(row)).unwrap(), rows.contains(&row).then(|| vector(row)), "row {row}");
        }
        let mut nearest = Nearest::new(1);
        let all = (0..u32::from(u16::MAX)).map(RowId);
        let picked = flat.nearest_of(&scorer(), all, &mut nearest).unwrap();
        assert_eq!((picked.compared, picked.pages), (u64::from(3 * per_page), flat.pages() - 1));
    }
}

#[test]
fn a_single_row_and_rows_that_are_absent() {
    let flat = file(&BTreeSet::from([70_000]));
    let row = RowId(70_000);
    assert_eq!((flat.rows(), flat.ram_bytes(), flat.place_of(row).map(|(_, at)| at)), (1, 0, Some(0)));
    assert_eq!(flat.get(row).unwrap(), Some(vector(70_000)));
    let ends = [RowId(0), RowId(69_999), row, RowId(u32::MAX)];
    assert_eq!(ends.map(|row| flat.slot_after(row)), [0, 0, 1, 1]);
    let absent = [0, 69_999, 70_001, u32::MAX].map(RowId);
    for row in absent {
        assert_eq!(flat.get(row).unwrap(), None);
    }
    let mut nearest = Nearest::new(3);
    assert_eq!(flat.nearest_of(&scorer(), absent, &mut nearest).unwrap(), Picked::default());
    assert!(nearest.into_sorted().is_empty());
}

#[test]
fn other_rows_than_those_in_the_file_are_noticed() {
    let rows: BTreeSet<u32> = (0..1_000).filter(|row| row % 5 != 0).collect();
    let (disk, set) = written(&rows);
    let mut wrong: Vec<RowId> = set.iter().collect();
    wrong[300].0 += 1;
    wrong.dedup();
    let wrong = RowSet::from_sorted(wrong.into_iter().chain([RowId(5_000)]).take(rows.len()));
    let flat = opened(&disk, wrong);
    for error in [
        flat.verify().unwrap_err(),
        flat.get(RowId(5_000)).unwrap_err(),
        flat.walk().get(RowId(5_000)).unwrap_err(),
        flat.nearest_of(&scorer(), [RowId(5_000)], &mut Nearest::new(1)).unwrap_err(),
    ] {
        assert!(error.to_string().contains("row of a vector"), "{error}");
    }
    let shared: Arc<dyn Disk> = Arc::new(disk);
    assert!(Flat::open(&shared, "vectors", 7, SHAPE, RowSet::dense(RowId(0), RowId(999))).is_err());
    assert!(Flat::open_unlisted(&shared, "vectors", 7, SHAPE, 1_000).is_err());
}
