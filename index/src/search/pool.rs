//! The best candidates of a query, each vector once.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::vector::RowId;

/// The row of a candidate whose row is not known yet.
pub(super) const NO_ROW: RowId = RowId(u32::MAX);

/// Candidates up to which all are looked through for every one that is let in.
const FEW: usize = 512;

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
/// Few candidates are ever let in, so that a scan over all of them each time is cheap. Where there is room for many, they
/// are found by a table instead, and half as many again come in before the worst are thrown out together.
#[derive(Debug, Default)]
pub(super) struct Pool {
    room: usize,
    /// The places of keys, where there is room for many.
    places: HashMap<u32, u32>,
    /// The limit, where there is room for many.
    limit: f32,
    distances: Vec<f32>,
    keys: Vec<u32>,
    rest: Vec<(f32, RowId)>,
    /// The lists where they were found first, as [`Pool::enter`] numbers them.
    lists: Vec<u32>,
    list: u32,
    /// The place of the worst candidate, once the pool is full.
    worst: usize,
    sorted: Vec<f32>,
}

impl Pool {
    /// Starts over for another query.
    pub(super) fn reset(&mut self, room: usize) {
        self.room = room.max(1);
        self.places.clear();
        self.limit = f32::INFINITY;
        self.distances.clear();
        self.keys.clear();
        self.rest.clear();
        self.lists.clear();
        self.list = 0;
    }

    /// What is offered from now on is found in the list of this number.
    pub(super) fn enter(&mut self, list: usize) {
        self.list = list as u32;
    }

    /// A candidate farther than this is not let in any more.
    pub(super) fn limit(&self) -> f32 {
        match self.distances.len() {
            _ if self.has_many() => self.limit,
            few if few < self.room => f32::INFINITY,
            _ => self.distances[self.worst],
        }
    }

    /// Whether there is room for many.
    fn has_many(&self) -> bool {
        self.room > FEW
    }

    fn find(&self, key: u32) -> Option<usize> {
        if self.has_many() {
            return self.places.get(&key).map(|&at| at as usize);
        }
        self.keys.iter().position(|&held| held == key)
    }

    /// Offers a candidate.
    pub(super) fn push(&mut self, candidate: Candidate) {
        if let Some(at) = self.find(candidate.key) {
            let (error, distance) = (self.rest[at].0, self.distances[at]);
            if (candidate.error, candidate.distance) < (error, distance) {
                self.put(at, candidate);
            }
            return;
        }
        if self.has_many() {
            self.places.insert(candidate.key, self.keys.len() as u32);
            self.append(candidate);
            if self.keys.len() == self.room + self.room / 2 {
                self.shrink();
            }
        } else if self.distances.len() < self.room {
            self.append(candidate);
        } else if Order(candidate.distance, candidate.row) < self.order_at(self.worst) {
            self.lists[self.worst] = self.list;
            self.put(self.worst, candidate);
        }
    }

    fn append(&mut self, candidate: Candidate) {
        self.distances.push(0.0);
        self.keys.push(0);
        self.rest.push((0.0, NO_ROW));
        self.lists.push(self.list);
        self.put(self.distances.len() - 1, candidate);
    }

    /// Throws out the worst, where there is room for many.
    fn shrink(&mut self) {
        if !self.has_many() || self.keys.len() < self.room {
            return;
        }
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        let by_order = |&a: &usize, &b: &usize| self.order_at(a).cmp(&self.order_at(b));
        let (_, &mut worst, gone) = order.select_nth_unstable_by(self.room - 1, by_order);
        self.limit = self.distances[worst];
        // From the last on, so that what takes their places stays.
        gone.sort_unstable_by(|a, b| b.cmp(a));
        for &mut at in gone {
            self.places.remove(&self.keys[at]);
            self.distances.swap_remove(at);
            self.keys.swap_remove(at);
            self.rest.swap_remove(at);
            self.lists.swap_remove(at);
            if let Some(&moved) = self.keys.get(at) {
                self.places.insert(moved, at as u32);
            }
        }
    }

    fn put(&mut self, at: usize, candidate: Candidate) {
        self.distances[at] = candidate.distance;
        self.keys[at] = candidate.key;
        self.rest[at] = (candidate.error, candidate.row);
        if self.distances.len() == self.room && !self.has_many() {
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

    /// Candidates held.
    pub(super) fn len(&self) -> usize {
        self.distances.len()
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

    /// How many of those at most so far away were found in the list `from` or later.
    pub(super) fn found_since(&self, from: usize, distance: f32) -> usize {
        let is_late = |found: &(&f32, &u32)| *found.0 <= distance && *found.1 as usize >= from;
        self.distances.iter().zip(&self.lists).filter(is_late).count()
    }

    /// All candidates, nearest first, ties by row.
    pub(super) fn take(&mut self, out: &mut Vec<Candidate>) {
        out.clear();
        self.shrink();
        let rest = self.distances.iter().zip(&self.keys).zip(&self.rest);
        out.extend(rest.map(|((&distance, &key), &(error, row))| Candidate { distance, error, key, row }));
        out.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
    }
}

/// By distance, ties by row.
#[derive(PartialEq)]
struct Order(f32, RowId);

impl Order {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
