//! The best candidates of a query, each vector once.

#[cfg(test)]
mod tests;

use crate::vector::RowId;

/// The row of a candidate whose row is not known yet.
pub(super) const NO_ROW: RowId = RowId(u32::MAX);

/// A vector that may be among the nearest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// Its squared distance in the routing space as estimated; for raw lists, the metric's exact one.
    pub(super) distance: f32,
    /// Half the width of the interval in which the distance is; 0 if it is exact.
    pub(super) error: f32,
    /// Tells vectors apart: the slot in the file of rows, or the row.
    pub(super) key: u32,
    pub(super) row: RowId,
}

/// A bounded set of candidates. A vector that is offered again stays once, with the distance that is known best: the
/// smallest of several estimates would be too small.
///
/// Few candidates are ever let in, so that a scan over all of them each time is cheap.
#[derive(Debug, Default)]
pub(super) struct Pool {
    room: usize,
    distances: Vec<f32>,
    keys: Vec<u32>,
    rest: Vec<(f32, RowId)>,
    /// The place of the worst candidate, once the pool is full.
    worst: usize,
    sorted: Vec<f32>,
}

impl Pool {
    /// Starts over for another query.
    pub(super) fn reset(&mut self, room: usize) {
        self.room = room.max(1);
        self.distances.clear();
        self.keys.clear();
        self.rest.clear();
    }

    /// A candidate farther than this is not let in any more.
    pub(super) fn limit(&self) -> f32 {
        if self.distances.len() < self.room { f32::INFINITY } else { self.distances[self.worst] }
    }

    /// Offers a candidate.
    pub(super) fn push(&mut self, candidate: Candidate) {
        if let Some(at) = self.keys.iter().position(|&key| key == candidate.key) {
            let (error, distance) = (self.rest[at].0, self.distances[at]);
            if (candidate.error, candidate.distance) < (error, distance) {
                self.put(at, candidate);
            }
            return;
        }
        if self.distances.len() < self.room {
            self.distances.push(0.0);
            self.keys.push(0);
            self.rest.push((0.0, NO_ROW));
            self.put(self.distances.len() - 1, candidate);
        } else if Order(candidate.distance, candidate.row) < self.order_at(self.worst) {
            self.put(self.worst, candidate);
        }
    }

    fn put(&mut self, at: usize, candidate: Candidate) {
        self.distances[at] = candidate.distance;
        self.keys[at] = candidate.key;
        self.rest[at] = (candidate.error, candidate.row);
        if self.distances.len() == self.room {
            self.find_worst();
        }
    }

    fn find_worst(&mut self) {
        let mut worst = 0;
        for at in 1..self.distances.len() {
            if self.order_at(at) > self.order_at(worst) {
                worst = at;
            }
        }
        self.worst = worst;
    }

    fn order_at(&self, at: usize) -> Order {
        Order(self.distances[at], self.rest[at].1)
    }

    /// The distance of the `k`-th nearest candidate, or infinity.
    pub(super) fn kth(&mut self, k: usize) -> f32 {
        if self.distances.len() < k {
            return f32::INFINITY;
        }
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.distances);
        *self.sorted.select_nth_unstable_by(k - 1, f32::total_cmp).1
    }

    /// All candidates, nearest first, ties by row.
    pub(super) fn take(&mut self, out: &mut Vec<Candidate>) {
        out.clear();
        let rest = self.distances.iter().zip(&self.keys).zip(&self.rest);
        out.extend(rest.map(|((&distance, &key), &(error, row))| Candidate { distance, error, key, row }));
        out.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
    }
}

/// By distance, ties by row.
#[derive(PartialEq)]
struct Order(f32, RowId);

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.0.total_cmp(&other.0).then(self.1.cmp(&other.1)))
    }
}
