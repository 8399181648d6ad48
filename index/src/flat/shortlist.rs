//! The lowest estimates of many, and where they were cut off.

use crate::kernel::Kernel;
use crate::quantize::BLOCK;
use crate::rank::{rank, ranked};

/// One of the list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Listed {
    pub(super) estimate: f32,
    pub(super) row: u32,
    /// The addend and the scale it was made with.
    pub(super) factors: (f32, f32),
}

/// Keeps at least the `room` lowest of all estimates, with what they were made of.
#[derive(Debug)]
pub(super) struct Shortlist {
    room: usize,
    entries: Vec<(u64, (f32, f32))>,
    /// Nothing above it is kept any more.
    limit: u64,
    /// The estimate of that.
    limit_estimate: f32,
}

impl Shortlist {
    /// # Panics
    /// When there is no room.
    pub(super) fn new(room: usize) -> Self {
        assert!(room > 0, "a shortlist has room");
        Self { room, entries: Vec::new(), limit: u64::MAX, limit_estimate: f32::INFINITY }
    }

    /// Whether an estimate is too high, whatever its row. Most are.
    pub(super) fn is_beyond(&self, estimate: f32) -> bool {
        estimate > self.limit_estimate
    }

    /// Which estimates of a block are not too high: a bit for each.
    pub(super) fn within(&self, estimates: &[f32; BLOCK]) -> u32 {
        Kernel::best().up_to(estimates, self.limit_estimate)
    }

    pub(super) fn push(&mut self, Listed { estimate, row, factors }: Listed) {
        let key = rank(estimate, row);
        if key < self.limit {
            self.entries.push((key, factors));
            if self.entries.len() >= self.room * 2 {
                let (_, last, _) = self.entries.select_nth_unstable_by_key(self.room - 1, |entry| entry.0);
                self.limit = last.0;
                self.limit_estimate = ranked(last.0).0;
                self.entries.truncate(self.room);
            }
        }
    }

    /// The list, lowest first.
    pub(super) fn take(mut self) -> Vec<Listed> {
        self.entries.sort_unstable_by_key(|entry| entry.0);
        let listed = |(key, factors)| {
            let (estimate, row) = ranked(key);
            Listed { estimate, row, factors }
        };
        self.entries.into_iter().map(listed).collect()
    }

    /// An estimate above which some were left out, if any were.
    pub(super) fn cut(&self) -> Option<f32> {
        (self.limit != u64::MAX).then_some(self.limit_estimate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The lowest are there in order, whatever the room, and what is not there is not below the cut.
        #[test]
        fn the_lowest_are_kept_in_order(
            estimates in prop::collection::vec(prop_oneof![-9.0f32..9.0, Just(0.0), Just(f32::NEG_INFINITY), Just(f32::MAX)], 0..300),
            room in 1usize..40,
        ) {
            let of = |(&estimate, row): (&f32, u32)| Listed { estimate, row, factors: (row as f32, estimate) };
            let mut expected: Vec<Listed> = estimates.iter().zip(0..).map(of).collect();
            expected.sort_by(|a, b| a.estimate.total_cmp(&b.estimate).then(a.row.cmp(&b.row)));
            let mut list = Shortlist::new(room);
            for listed in estimates.iter().zip(0..).map(of) {
                if !list.is_beyond(listed.estimate) {
                    list.push(listed);
                }
            }
            let (cut, taken) = (list.cut(), list.take());
            prop_assert!(taken.len() < 2 * room && taken.len() >= room.min(expected.len()));
            prop_assert_eq!(&taken[..], &expected[..taken.len()]);
            prop_assert_eq!(cut.is_some(), taken.len() < expected.len());
            if let Some(cut) = cut {
                prop_assert!(expected[taken.len()].estimate >= cut);
            }
        }
    }
}
