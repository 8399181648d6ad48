//! The lowest estimates of many, and where they were cut off.

/// An estimate and its row in one number that orders as the two do.
fn key(estimate: f32, row: u32) -> u64 {
    let bits = estimate.to_bits();
    // The sign bit of what is not negative, all bits of what is: then they order as unsigned numbers.
    let ordered = bits ^ (((bits as i32 >> 31) as u32) | 1 << 31);
    u64::from(ordered) << 32 | u64::from(row)
}

/// The parts of a key.
fn parts(key: u64) -> (f32, u32) {
    let ordered = (key >> 32) as u32;
    let bits = ordered ^ (((!ordered as i32 >> 31) as u32) | 1 << 31);
    (f32::from_bits(bits), key as u32)
}

/// One of the list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Listed {
    pub(super) estimate: f32,
    pub(super) row: u32,
    /// The addend and the scale it was made with.
    pub(super) factors: (f32, f32),
}

/// Keeps at least the `room` lowest of all estimates that are above a bound, with what they were made of.
#[derive(Debug)]
pub(super) struct Shortlist {
    room: usize,
    entries: Vec<(u64, (f32, f32))>,
    /// Only what is above it counts: what was there before.
    above: Option<u64>,
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
        Self { room, entries: Vec::new(), above: None, limit: u64::MAX, limit_estimate: f32::INFINITY }
    }

    /// Whether an estimate is too high, whatever its row. Most are.
    pub(super) fn is_beyond(&self, estimate: f32) -> bool {
        estimate > self.limit_estimate
    }

    pub(super) fn push(&mut self, Listed { estimate, row, factors }: Listed) {
        let key = key(estimate, row);
        if key < self.limit && self.above.is_none_or(|above| key > above) {
            self.entries.push((key, factors));
            if self.entries.len() >= self.room * 2 {
                let (_, last, _) = self.entries.select_nth_unstable_by_key(self.room - 1, |entry| entry.0);
                self.limit = last.0;
                self.limit_estimate = parts(last.0).0;
                self.entries.truncate(self.room);
            }
        }
    }

    /// The list, lowest first. What is pushed next is behind them.
    pub(super) fn take(&mut self) -> Vec<Listed> {
        self.entries.sort_unstable_by_key(|entry| entry.0);
        self.above = self.entries.last().map(|entry| entry.0).or(self.above);
        let listed = |(key, factors)| {
            let (estimate, row) = parts(key);
            Listed { estimate, row, factors }
        };
        self.entries.drain(..).map(listed).collect()
    }

    /// An estimate above which some were left out, if any were.
    pub(super) fn cut(&self) -> Option<f32> {
        (self.limit != u64::MAX).then_some(self.limit_estimate)
    }

    /// Begins again behind what was taken, with more room.
    pub(super) fn go_on(&mut self) {
        (self.limit, self.limit_estimate) = (u64::MAX, f32::INFINITY);
        self.room *= 4;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// All that is there comes in order, whatever the room, round by round.
        #[test]
        fn rounds_give_all_in_order(
            estimates in prop::collection::vec(prop_oneof![-9.0f32..9.0, Just(0.0), Just(f32::NEG_INFINITY), Just(f32::MAX)], 0..300),
            room in 1usize..40,
        ) {
            let of = |(&estimate, row): (&f32, u32)| Listed { estimate, row, factors: (row as f32, estimate) };
            let mut expected: Vec<Listed> = estimates.iter().zip(0..).map(of).collect();
            expected.sort_by(|a, b| a.estimate.total_cmp(&b.estimate).then(a.row.cmp(&b.row)));
            let (mut list, mut found) = (Shortlist::new(room), Vec::<Listed>::new());
            loop {
                for listed in estimates.iter().zip(0..).map(of) {
                    if !list.is_beyond(listed.estimate) {
                        list.push(listed);
                    }
                }
                let taken = list.take();
                prop_assert!(taken.len() < 2 * list.room);
                found.extend(&taken);
                let Some(cut) = list.cut() else { break };
                prop_assert!(taken.len() >= room && taken.iter().all(|listed| listed.estimate <= cut));
                list.go_on();
            }
            prop_assert_eq!(found, expected);
        }
    }
}
