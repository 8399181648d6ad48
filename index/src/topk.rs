//! The k nearest of all candidates seen, each row once.

use std::collections::BinaryHeap;

use crate::vector::RowId;

/// A candidate. Ordered by distance, ties by row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) distance: f32,
    pub(crate) row: RowId,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A bounded heap over candidates of which one row may come up to `copies` times, always with the same distance.
///
/// Copies are removed at the end: the `k * copies` nearest candidates hold at least the k nearest rows.
#[derive(Debug, Default)]
pub(crate) struct TopK {
    k: usize,
    room: usize,
    heap: BinaryHeap<Candidate>,
}

impl TopK {
    /// Starts over for another query.
    pub(crate) fn reset(&mut self, k: usize, copies: usize) {
        self.k = k;
        self.room = k.saturating_mul(copies);
        self.heap.clear();
    }

    /// How many are kept, at most.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// A candidate farther than this changes nothing any more.
    pub(crate) fn limit(&self) -> f32 {
        if self.heap.len() < self.room {
            return f32::INFINITY;
        }
        self.heap.peek().map_or(f32::INFINITY, |worst| worst.distance)
    }

    /// The distances of those that are kept, in any order.
    pub(crate) fn distances(&self) -> impl Iterator<Item = f32> {
        self.heap.iter().map(|candidate| candidate.distance)
    }

    pub(crate) fn push(&mut self, candidate: Candidate) {
        if self.heap.len() < self.room {
            self.heap.push(candidate);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    /// The k nearest rows, nearest first.
    pub(crate) fn take(&mut self) -> Vec<Candidate> {
        let mut nearest = std::mem::take(&mut self.heap).into_sorted_vec();
        nearest.dedup();
        nearest.truncate(self.k);
        nearest
    }
}
