//! The exact answers, kept small, and how many of a search's hits are among them.

use std::path::Path;

use nearline::{Hit, Metric};
use nearline_datasets::{DatasetError, GroundTruth, VectorFile};

use crate::exit;

/// The first `k` exact answers of every query.
pub(crate) struct Truth {
    k: usize,
    /// Sorted for each query.
    ids: Vec<u32>,
    /// Distance of the last one of each query, as the index measures it.
    worst: Vec<f32>,
}

/// Bytes held for each query.
pub(crate) fn query_bytes(k: usize) -> u64 {
    k as u64 * 4 + 4
}

/// Reads a file of exact answers. Files of ids alone, as searches write them, are told apart, and how one is made is said.
pub(crate) fn read(path: &Path) -> anyhow::Result<GroundTruth> {
    let file = path.display();
    let only_ids = || {
        exit::bad_input(format!(
            "{file}: no ground truth: found ids alone, expected ids and distances, as nearline groundtruth writes them"
        ))
    };
    // Ids of 8 bytes are as long as ids of 4 with distances of 4.
    if path.extension().is_some_and(|extension| extension == "i64bin") {
        return Err(only_ids());
    }
    GroundTruth::read(path).map_err(|error| match error {
        DatasetError::Size { found, expected, .. } if found.checked_mul(2) == expected.checked_add(HEAD) => {
            only_ids()
        }
        DatasetError::Io { .. } => error.into(),
        _ => exit::bad_input(format!("{error}; a ground truth is made by nearline groundtruth")),
    })
}

/// Bytes at the head of files of ids and of ground truths.
const HEAD: u64 = 8;

impl Truth {
    /// Takes the first `k` of each query of a truth read from `path`, which must be that of `queries`.
    pub(crate) fn new(
        truth: &GroundTruth,
        path: &Path,
        queries: &VectorFile,
        k: usize,
    ) -> anyhow::Result<Self> {
        let (file, of) = (path.display(), queries.path().display());
        if truth.queries as u64 != queries.count() {
            let (found, count) = (truth.queries, queries.count());
            return Err(exit::bad_input(format!(
                "{file}: found {found} queries, expected {count} as in {of}"
            )));
        }
        if truth.k < k {
            let found = truth.k;
            let hint = "make it again with a larger --k, or lower --k here";
            return Err(exit::bad_input(format!(
                "{file}: found {found} per query, expected at least {k}: {hint}"
            )));
        }
        let mut ids = Vec::with_capacity(truth.queries * k);
        let mut worst = Vec::with_capacity(truth.queries);
        for query in 0..truth.queries {
            let (row, distances) = truth.row(query);
            ids.extend_from_slice(&row[..k]);
            worst.push(distances[k - 1]);
        }
        ids.chunks_exact_mut(k).for_each(<[u32]>::sort_unstable);
        Ok(Self { k, ids, worst })
    }

    /// Inner products become distances: smaller is nearer.
    pub(crate) fn of_metric(mut self, metric: Metric) -> Self {
        if metric == Metric::InnerProduct {
            self.worst.iter_mut().for_each(|value| *value = -*value);
        }
        self
    }

    /// How many of the first `k` hits are right: among the exact answers, or no farther than the last of them, where that is
    /// known: an estimated distance says nothing of it.
    pub(crate) fn right(&self, query: usize, hits: &[Hit]) -> u32 {
        let ids = &self.ids[query * self.k..(query + 1) * self.k];
        let worst = self.worst[query];
        // both sides round a sum of f64 once, but add in different orders
        let limit = worst + worst.abs() * f32::EPSILON;
        let mut rows: Vec<u32> = hits.iter().take(self.k).map(|hit| hit.row.0).collect();
        rows.sort_unstable();
        let twice = rows.windows(2).filter(|pair| pair[0] == pair[1]).count();
        let right =
            |hit: &&Hit| (hit.exact && hit.distance <= limit) || ids.binary_search(&hit.row.0).is_ok();
        (hits.iter().take(self.k).filter(right).count() - twice.min(hits.len())) as u32
    }
}

#[cfg(test)]
mod tests {
    use nearline::RowId;

    use super::*;

    #[test]
    fn an_estimated_distance_makes_nothing_right() {
        let truth = Truth { k: 2, ids: vec![3, 8], worst: vec![1.0] };
        let hit =
            |row: u32, distance: f32, exact: bool| Hit { id: row.into(), row: RowId(row), distance, exact };
        assert_eq!(truth.right(0, &[hit(8, 2.0, false), hit(4, 0.5, false)]), 1);
        // As near as the last of the exact answers, it is a tie.
        assert_eq!(truth.right(0, &[hit(8, 2.0, false), hit(4, 1.0, true)]), 2);
        assert_eq!(truth.right(0, &[hit(3, 0.1, true), hit(3, 0.1, true)]), 1);
    }
}
