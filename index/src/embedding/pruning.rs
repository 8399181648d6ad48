//! DeepLight's search: values of least magnitude become zero while a table is trained, more of them as time goes on.

use crate::error::{IndexError, Result};

use super::gradients::Train;

/// Of the share of values that is zero in the end, `1 − DAMPING^(t/period)` are after t steps of pruning.
const DAMPING: f64 = 0.99;

/// Which share of a table's values is zero after how many steps of training. What is zero goes on learning, so that a value
/// may come back; after the last step [`super::Sparse::prune`] stores what is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pruning {
    share: f64,
    warm_up: u64,
    every: u64,
    period: u64,
}

impl Pruning {
    /// After `warm_up` steps without, every `every` steps the least values become zero: `share` of all in the end, of which a
    /// hundredth is missing after 460 times `period` steps.
    ///
    /// # Errors
    /// When the share is not 0 to 1, or one of the last two is 0.
    pub fn new(share: f64, warm_up: u64, every: u64, period: u64) -> Result<Self> {
        if !(0.0..=1.0).contains(&share) {
            return Err(IndexError::option("share of zeros", share, "0 to 1"));
        }
        if every == 0 || period == 0 {
            let found = format!("{every}, {period}");
            return Err(IndexError::option("steps between prunings, and of a period", found, "1 or more"));
        }
        Ok(Self { share, warm_up, every, period })
    }

    /// The share of values that is zero after so many steps of training.
    pub fn share_after(&self, steps: u64) -> f64 {
        let pruned = steps.saturating_sub(self.warm_up) as f64;
        self.share * (1.0 - DAMPING.powf(pruned / self.period as f64))
    }

    /// To be called after each step of training, with their number: makes the least values of all segments zero where it is
    /// time for it, of equals the first. Gives how many are to be.
    pub fn prune(&self, table: &mut dyn Train, steps: u64) -> Option<usize> {
        if steps < self.warm_up || !(steps - self.warm_up).is_multiple_of(self.every) {
            return None;
        }
        let mut values = Vec::new();
        for (segment, shape) in table.shapes().into_iter().enumerate() {
            for row in 0..shape.rows {
                let magnitudes = table.row_mut(segment, row).iter().map(|value| value.abs());
                values.extend((0..).zip(magnitudes).map(|(at, magnitude)| (magnitude, segment, row, at)));
            }
        }
        let count = (self.share_after(steps) * values.len() as f64) as usize;
        if count < values.len() {
            values.select_nth_unstable_by(count, |a, b| {
                a.0.total_cmp(&b.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3)))
            });
        }
        for &(_, segment, row, at) in &values[..count] {
            table.row_mut(segment, row)[at as usize] = 0.0;
        }
        Some(count)
    }
}
