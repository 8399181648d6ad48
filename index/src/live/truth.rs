//! Exact answers to many questions, by one pass over all vectors.

use rayon::prelude::*;

use super::RowFiles;
use crate::error::{IndexError, Result};
use crate::flat::Nearest;
use crate::metric::{Metric, Scorer};
use crate::vector::{RowId, Shape};

/// Bytes of vectors that are compared with all questions before the next are read.
const BLOCK_BYTES: usize = 1 << 20;

/// The `k` nearest rows to each question, nearest first, with their distances. Those that are dead are left out.
pub(super) fn exact(
    rows: &RowFiles,
    (metric, shape): (Metric, Shape),
    (questions, k): (&[u8], usize),
    is_dead: &(dyn Fn(RowId) -> bool + Sync),
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Vec<(RowId, f32)>>> {
    let vectors = questions.chunks_exact(shape.row_bytes());
    let mut best: Vec<(Scorer, Nearest)> =
        vectors.map(|vector| (Scorer::new(metric, shape, vector), Nearest::new(k))).collect();
    let (mut some, mut bytes) = (Vec::new(), Vec::new());
    rows.for_each(|row, vector| {
        if !is_dead(row) {
            some.push(row);
            bytes.extend_from_slice(vector);
        }
        if bytes.len() >= BLOCK_BYTES {
            if is_cancelled() {
                return Err(IndexError::Interrupted);
            }
            compare(&mut best, &some, &bytes);
            some.clear();
            bytes.clear();
        }
        Ok(())
    })?;
    compare(&mut best, &some, &bytes);
    Ok(best.into_iter().map(|(_, nearest)| nearest.into_sorted()).collect())
}

fn compare(best: &mut [(Scorer, Nearest)], rows: &[RowId], bytes: &[u8]) {
    best.par_iter_mut().for_each(|(scorer, nearest)| nearest.push_all(scorer, rows, bytes, |_| true));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nearline_storage::{Disk, SimDisk};
    use proptest::prelude::*;

    use super::*;
    use crate::flat::{Flat, FlatWriter, RowSet};
    use crate::vector::ElementType;

    /// A file of these vectors, of rows at equal distances.
    fn rows_of(vectors: &[[f32; 2]], first: u32, step: u32) -> RowFiles {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(0));
        let shape = Shape { element: ElementType::F32, dim: 2 };
        let mut writer = FlatWriter::create(disk.as_ref(), "v", 1, shape).unwrap();
        let rows: Vec<RowId> = (0..vectors.len() as u32).map(|at| RowId(first + at * step)).collect();
        for (row, vector) in rows.iter().zip(vectors) {
            writer.push(*row, bytemuck::cast_slice(vector)).unwrap();
        }
        writer.finish().unwrap();
        let range = rows[0]..=rows[rows.len() - 1];
        let flat = Flat::open(&disk, "v", 1, shape, RowSet::from_sorted(rows)).unwrap();
        RowFiles::new(disk.as_ref(), vec![(range, Arc::new(flat))]).unwrap()
    }

    proptest! {
        #[test]
        fn exact_answers_are_those_of_sorting_everything(
            vectors in prop::collection::vec([-9i8..9, -9i8..9], 1..2_000),
            questions in prop::collection::vec([-9i8..9, -9i8..9], 1..5),
            (k, dead, first, step) in (1usize..30, 1u32..7, 0u32..9, 1u32..4),
        ) {
            let float = |values: &[i8; 2]| values.map(f32::from);
            let vectors: Vec<[f32; 2]> = vectors.iter().map(float).collect();
            let questions: Vec<[f32; 2]> = questions.iter().map(float).collect();
            let is_dead = |row: RowId| row.0.is_multiple_of(dead + 1);
            let shape = Shape { element: ElementType::F32, dim: 2 };
            let asked: &[u8] = bytemuck::cast_slice(&questions);
            let rows = rows_of(&vectors, first, step);
            let found = exact(&rows, (Metric::L2, shape), (asked, k), &is_dead, &|| false).unwrap();
            for (question, found) in questions.iter().zip(found) {
                let mut all: Vec<(f32, u32)> = (first..).step_by(step as usize).zip(&vectors).map(|(row, vector)| {
                    ((vector[0] - question[0]).powi(2) + (vector[1] - question[1]).powi(2), row)
                }).filter(|(_, row)| !is_dead(RowId(*row))).collect();
                all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                all.truncate(k);
                let found: Vec<(f32, u32)> = found.into_iter().map(|(row, distance)| (distance, row.0)).collect();
                prop_assert_eq!(found, all);
            }
        }
    }

    #[test]
    fn a_pass_can_be_cancelled() {
        let vectors = vec![[1.0, 2.0]; BLOCK_BYTES / 8 + 1];
        let shape = Shape { element: ElementType::F32, dim: 2 };
        let asked = ((Metric::L2, shape), (&[0; 8][..], 1));
        let refused = exact(&rows_of(&vectors, 0, 1), asked.0, asked.1, &|_| false, &|| true);
        assert!(matches!(refused, Err(IndexError::Interrupted)));
    }
}
