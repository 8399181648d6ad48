//! Samples of a model: in what a user's interest is asked for, and how much of the history it may know of.

use std::collections::HashMap;

use crate::exit;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Its place among all, from 1.
    pub(super) row: u64,
    pub(super) item: u64,
    /// How many of the user's first behaviours it knows of.
    pub(super) len: u64,
}

/// Questions by user, those that know most first.
#[derive(Debug)]
pub(super) struct Samples(HashMap<u64, Vec<Sample>>);

impl Samples {
    pub(super) fn new(all: Vec<(u64, Sample)>) -> Self {
        let mut by_user: HashMap<u64, Vec<Sample>> = HashMap::new();
        for (user, sample) in all {
            by_user.entry(user).or_default().push(sample);
        }
        by_user
            .values_mut()
            .for_each(|samples| samples.sort_by_key(|sample| std::cmp::Reverse((sample.len, sample.row))));
        Self(by_user)
    }

    /// Takes out a question about a user that knows of no more than so many behaviours, the one that knows least first.
    pub(super) fn take(&mut self, user: u64, len: u64) -> Option<Sample> {
        let waiting = self.0.get_mut(&user)?;
        waiting.pop_if(|sample| sample.len <= len)
    }

    /// Refuses questions that are left, because there is no such history.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let left = self.0.iter().flat_map(|(user, samples)| samples.iter().map(move |sample| (user, sample)));
        match left.min_by_key(|(_, sample)| sample.row) {
            None => Ok(()),
            Some((user, Sample { row, len, .. })) => Err(exit::bad_input(format!(
                "sample {row} asks for the first {len} behaviours of user {user}; the log has fewer"
            ))),
        }
    }

    /// The users that are still asked about, in order.
    pub(super) fn users(&self) -> Vec<u64> {
        let mut users: Vec<u64> =
            self.0.iter().filter(|(_, samples)| !samples.is_empty()).map(|(&user, _)| user).collect();
        users.sort_unstable();
        users
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_when_the_history_is_as_long_as_it_asks() {
        let sample = |row, len| Sample { row, item: 7, len };
        let all =
            [(1, sample(1, 3)), (2, sample(2, 0)), (1, sample(3, 0)), (1, sample(4, 3)), (3, sample(5, 9))];
        let mut samples = Samples::new(all.to_vec());
        assert_eq!(samples.users(), [1, 2, 3]);
        let mut taken = Vec::new();
        for len in 0..5 {
            while let Some(sample) = samples.take(1, len) {
                taken.push((len, sample.row));
            }
        }
        assert_eq!(taken, [(0, 3), (3, 1), (3, 4)]);
        assert_eq!((samples.take(2, 5), samples.take(9, 5)), (Some(sample(2, 0)), None));
        let error = samples.finish().unwrap_err().to_string();
        assert!(error.contains("sample 5 asks for the first 9 behaviours of user 3"), "{error}");
    }
}
