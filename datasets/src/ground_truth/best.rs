//! The k best candidates of one query.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Keeps the `k` smallest (key, row) pairs.
pub(super) struct Best {
    k: usize,
    heap: BinaryHeap<Candidate>,
}

/// A row by its key, smaller is nearer; equal keys are ordered by row.
#[derive(Clone, Copy)]
struct Candidate {
    key: f64,
    row: u32,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.total_cmp(&other.key).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl Best {
    pub(super) fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    /// No row with a larger key can enter any more; infinite until there are k.
    pub(super) fn limit(&self) -> f64 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() == self.k => worst.key,
            _ => f64::INFINITY,
        }
    }

    /// Offers a row. `key` must not be -0.0, which would sort before 0.0.
    pub(super) fn offer(&mut self, key: f64, row: u32) {
        let candidate = Candidate { key, row };
        if self.heap.len() < self.k {
            self.heap.push(candidate);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    /// All kept, nearest first.
    pub(super) fn into_sorted(self) -> impl Iterator<Item = (f64, u32)> {
        self.heap.into_sorted_vec().into_iter().map(|c| (c.key, c.row))
    }
}
