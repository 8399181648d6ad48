//! What calibrating takes, counted out, against the plan.

use std::sync::Arc;

use nearline_storage::SimDisk;

use super::*;
use crate::build::{BuildOptions, Silent, build_on};
use crate::error::SourceError;
use crate::metric::Metric;
use crate::search::{Index, OpenOptions};
use crate::vector::{ElementType, RowStream, VectorSlice};

/// Vectors that nobody reads.
struct Unread {
    shape: Shape,
    count: u64,
}

impl VectorSource for Unread {
    fn name(&self) -> String {
        "unread".to_owned()
    }
    fn element(&self) -> ElementType {
        self.shape.element
    }
    fn dim(&self) -> usize {
        self.shape.dim
    }
    fn count(&self) -> u64 {
        self.count
    }
    fn rows(&self, _: u64) -> Result<Box<dyn RowStream + '_>, SourceError> {
        Err("nobody reads".into())
    }
}

fn plan_of(rows: u64, dim: usize, codec: Codec, memory_bytes: u64) -> Result<Plan> {
    let source = Unread { shape: Shape { element: ElementType::F32, dim }, count: rows };
    let codec = Some(codec);
    plan(
        &source,
        &BuildOptions { metric: Metric::L2, codec, memory_bytes, threads: 2, ..BuildOptions::default() },
    )
}

#[test]
fn the_notes_of_all_queries_fit_the_budget_and_the_prediction() {
    let coded = Codec::Rabitq { bits: 4 };
    let mut counts = Vec::new();
    for (rows, dim) in [(5_000, 24), (20_000, 16), (100_000, 96), (1_000_000, 768)] {
        for memory in [8 << 20, 24 << 20, 70 << 20, 128 << 20, 256 << 20, 1 << 30, 4 << 30] {
            for (codec, keepers) in [(coded, 3), (Codec::Raw, 1)] {
                let Ok(plan) = plan_of(rows, dim, codec, memory) else { continue };
                // 28 bytes a note, 2048 notes a vector that doubles as it grows to 1600; for each list ranked its
                // number and distance, the rank of its node, a plane, and all of that once more by number.
                let ranked = plan.lists.min(1024);
                let query = keepers * 2048 * 28 + ranked * (8 + 4 + 4 + 16) + 12 * dim as u64;
                let held = plan.query_rows * query;
                assert!(held <= plan.memory_bytes, "{held} bytes of notes: {plan:?}");
                assert!(plan.memory_bytes <= memory, "{plan:?}");
                assert!((QUERIES_MIN..=CALIBRATION_ROWS).contains(&plan.query_rows), "{plan:?}");
                counts.push(plan.query_rows);
            }
        }
    }
    // Memory decides how many there are, from few to all.
    assert!(counts.len() > 30 && counts.contains(&CALIBRATION_ROWS), "{counts:?}");
    assert!(counts.iter().any(|&count| count < 100), "{counts:?}");
}

#[test]
fn too_little_memory_for_a_few_queries_is_refused() {
    let codec = Codec::Rabitq { bits: 4 };
    let least =
        (1..1 << 10).map(|step| step << 16).find(|&memory| plan_of(20_000, 16, codec, memory).is_ok());
    let least = least.unwrap();
    let plan = plan_of(20_000, 16, codec, least).unwrap();
    assert!(plan.memory_bytes <= least && least < 16 << 20, "{least}: {plan:?}");
    match plan_of(20_000, 16, codec, least - (1 << 16)) {
        Err(IndexError::Budget { needed, .. }) => assert!(plan_of(20_000, 16, codec, needed).is_ok()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_plan_once_the_bits_are_known_takes_fewer_of_the_rows_that_were_kept() {
    // Of so few values one bit may do, where more are planned for.
    let values: Vec<f32> = (0..4_000 * 16u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 31) as f32).collect();
    let source = VectorSlice::from_f32(16, &values).unwrap();
    let mut taken = Vec::new();
    for memory_bytes in [10 << 20, 16 << 20, 24 << 20, 40 << 20, 256 << 20] {
        let options = BuildOptions { memory_bytes, threads: 2, rerank: false, ..BuildOptions::default() };
        let first = plan(&source, &options).unwrap();
        let disk = Arc::new(SimDisk::new(1));
        let last = build_on(disk.clone(), &source, &options, &Silent).unwrap().plan;
        let index = Index::open_on(disk, &OpenOptions::default()).unwrap();
        let queries = u64::from(index.info().calibration.queries);
        assert_eq!(queries, first.query_rows.min(last.query_rows), "{first:?} {last:?}");
        taken.push((first.query_rows, last.query_rows));
    }
    assert!(taken.iter().any(|(first, last)| first != last), "{taken:?}");
}
