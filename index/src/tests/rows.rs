//! The file of rows against the rows that went in.

use nearline_storage::{Disk, ExtentFile, FileHeader, PAGE, SimDisk};
use proptest::prelude::*;

use crate::rows::{RowLayout, RowPage, RowWriter};
use crate::vector::{ElementType, Shape};

const HEADER: FileHeader = FileHeader { kind: *b"ROWS", file_id: 77 };

/// Some number that is not the slot.
fn row_of(slot: u64) -> u32 {
    (slot as u32).wrapping_mul(2_654_435_761)
}

fn vector_of(slot: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|i| (slot * 31 + i * 7 + (i >> 8)) as u8).collect()
}

fn push(writer: &mut RowWriter, slots: std::ops::Range<u64>, bytes: usize) {
    let rows: Vec<u8> = slots.clone().flat_map(|slot| row_of(slot).to_le_bytes()).collect();
    let vectors: Vec<u8> = slots.flat_map(|slot| vector_of(slot, bytes)).collect();
    writer.push(&rows, &vectors).unwrap();
}

/// Every slot holds what was pushed, and the file nothing else.
fn check(disk: &SimDisk, layout: RowLayout, total: u64) {
    let file = ExtentFile::open(disk, "rows", HEADER.kind).unwrap();
    assert_eq!(file.len(), layout.file_bytes(total));
    let mut bytes = Vec::new();
    for slot in 0..total {
        let (range, at) = layout.place(slot as u32, total);
        let extent = file.read_extent(range, &mut bytes).unwrap();
        let page = RowPage::of(&extent, range.offset, file.file().path(), layout, total).unwrap();
        let vector = vector_of(slot, layout.shape.row_bytes());
        assert_eq!(page.get(at), Some((row_of(slot), &vector[..])), "slot {slot} of {total}");
        assert_eq!(page.get(page.len()), None);
    }
    // The extents are those that a walk from front to back finds.
    let mut extents = file.extents();
    let mut rows = 0;
    while let Some((range, extent)) = extents.next().unwrap() {
        assert_eq!(layout.place(rows as u32, total), (range, 0));
        rows += u64::from(extent.header.count);
    }
    assert_eq!(rows, total);
}

/// What happens between rows that are pushed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Nothing,
    Sync,
    /// A checkpoint, then more rows that a crash takes away.
    Crash,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 200 }, ..ProptestConfig::default() })]

    #[test]
    fn all_slots_are_found_again(
        dim in prop_oneof![1usize..70, 200usize..1_100, Just(5_000)],
        element in prop::sample::select(vec![ElementType::F32, ElementType::F16, ElementType::U8]),
        steps in prop::collection::vec((0u64..60, 0u8..3, 0u64..40), 1..7),
        seed in any::<u64>(),
    ) {
        let shape = Shape { element, dim };
        let (layout, bytes) = (RowLayout::new(shape), shape.row_bytes());
        let disk = SimDisk::new(seed);
        let mut writer = RowWriter::open(&disk, "rows", HEADER, layout, 0, &[]).unwrap();
        disk.sync_dir().unwrap();
        let mut total = 0;
        for (i, (count, event, lost)) in (1..).zip(steps) {
            push(&mut writer, total..total + count, bytes);
            total += count;
            prop_assert_eq!(writer.slots(), total);
            match [Event::Nothing, Event::Sync, Event::Crash][usize::from(event)] {
                Event::Nothing => {}
                Event::Sync => writer.sync().unwrap(),
                Event::Crash => {
                    writer.sync().unwrap();
                    let tail = writer.tail();
                    push(&mut writer, total..total + lost, bytes);
                    if lost % 2 == 0 {
                        writer.sync().unwrap();
                    }
                    disk.crash(seed ^ i);
                    // A file without rows is made anew, as the build does.
                    if total == 0 {
                        disk.remove("rows").unwrap();
                    }
                    writer = RowWriter::open(&disk, "rows", HEADER, layout, total, &tail).unwrap();
                    disk.sync_dir().unwrap();
                }
            }
        }
        writer.finish().unwrap();
        check(&disk, layout, total);
    }

    #[test]
    fn extents_are_whole_pages_that_hold_their_rows(
        dim in prop_oneof![1usize..3_000, 1usize..=65_535],
        element in prop::sample::select(vec![ElementType::F32, ElementType::F16, ElementType::I8]),
        slot in any::<u32>(),
        beyond in 1u64..9,
    ) {
        let shape = Shape { element, dim };
        let layout = RowLayout::new(shape);
        let total = u64::from(slot) + beyond;
        let (range, at) = layout.place(slot, total);
        prop_assert!(range.bytes.is_multiple_of(PAGE) && range.bytes <= layout.bytes && at < layout.rows);
        prop_assert!(range.offset.is_multiple_of(PAGE as u64) && range.end() <= layout.file_bytes(total));
        let first = slot - at as u32;
        prop_assert_eq!(layout.place(first, total), (range, 0));
        if let Some(before) = first.checked_sub(1) {
            prop_assert_eq!(layout.place(before, total).0.end(), range.offset);
        }
        // No more than half is wasted where rows are short, and one more row would not fit.
        prop_assert!(layout.rows * (shape.row_bytes() + 4) <= layout.bytes);
        prop_assert!(nearline_storage::extent_bytes(&[4 * (layout.rows + 1), shape.row_bytes() * (layout.rows + 1)]) > layout.bytes);
    }
}
