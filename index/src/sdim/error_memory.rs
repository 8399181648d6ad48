//! An error memory (ReLoop2): how wrong a model was lately about what is like this, and what to add to it.
//!
//! It is a table of buckets of three sums: how many observations, what came of them, what the model had said. Hidden vectors
//! of a model are hashed into it as behaviours are; many users share one.

use crate::error::{IndexError, Result};

use super::check_len;
use super::family::{SignFamily, SignShape};

/// The decay that is not yet in the sums goes into them when it is as small as this.
const SCALE_MIN: f64 = 1e-100;

/// How a memory corrects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorOptions {
    /// How much of the error found is added (λ), 0 to 1.
    pub rate: f32,
    /// Whose error it is (γ): with 1 that of the answer to be corrected, with 0 that of the answers that were observed.
    pub own: f32,
    /// How much groups count that saw more observations (T): the lower, the more.
    pub temperature: f32,
    /// Observations that are not further off than this are passed over (σ).
    pub threshold: f32,
}

impl Default for ErrorOptions {
    fn default() -> Self {
        Self { rate: 0.3, own: 1.0, temperature: 0.1, threshold: 0.0 }
    }
}

/// What was observed in one bucket, weighed by how long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bucket {
    count: f64,
    truth: f64,
    answer: f64,
}

/// Errors of a model by where its hidden vectors lie.
#[derive(Clone, Debug)]
pub struct ErrorMemory {
    family: SignFamily,
    options: ErrorOptions,
    /// `[group][bucket]`, each to be multiplied by `scale`.
    buckets: Vec<Bucket>,
    scale: f64,
}

impl ErrorMemory {
    /// An empty memory, for vectors that a family hashes.
    ///
    /// # Errors
    /// When an option is out of its range, or there would be too many buckets.
    pub fn new(family: SignFamily, options: ErrorOptions) -> Result<Self> {
        let share = |option, value: f32| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => {
                Err(IndexError::BadOption { option, found: value.to_string(), expected: "0 to 1".to_owned() })
            }
        };
        share("rate of an error memory", options.rate)?;
        share("own part of an error memory", options.own)?;
        share("threshold of an error memory", options.threshold)?;
        if !(options.temperature.is_finite() && options.temperature > 0.0) {
            let (found, expected) = (options.temperature.to_string(), "above 0".to_owned());
            return Err(IndexError::BadOption { option: "temperature of an error memory", found, expected });
        }
        let shape = family.shape();
        // A table of it has three values a bucket.
        SignShape::new(3, shape.groups(), shape.bits())?;
        let buckets = vec![Bucket::default(); shape.groups() << shape.bits()];
        Ok(Self { family, options, buckets, scale: 1.0 })
    }

    /// Bytes of memory its buckets take.
    pub fn ram_bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// Takes in what came of some answers: hidden vectors back to back, the truth and the answer of each, 0 to 1.
    ///
    /// # Errors
    /// When the numbers of vectors, truths and answers differ, or one is not finite. Nothing was taken in then.
    pub fn observe(&mut self, hidden: &[f32], truths: &[f32], answers: &[f32]) -> Result<()> {
        let signatures = self.signatures(hidden, answers)?;
        check_len("truths", truths.len(), answers.len())?;
        check_finite("truths", truths)?;
        let shape = self.family.shape();
        let weight = 1.0 / self.scale;
        let pairs = truths.iter().zip(answers).zip(signatures.chunks_exact(shape.words()));
        for ((&truth, &answer), signature) in pairs {
            if (truth - answer).abs() < self.options.threshold {
                continue;
            }
            for group in 0..shape.groups() {
                let bucket = &mut self.buckets[shape.row(signature, group)];
                bucket.count += weight;
                bucket.truth += weight * f64::from(truth);
                bucket.answer += weight * f64::from(answer);
            }
        }
        Ok(())
    }

    /// Answers as they are better given what was observed; where nothing was, as they are.
    ///
    /// # Errors
    /// As [`ErrorMemory::observe`].
    pub fn correct(&self, hidden: &[f32], answers: &[f32]) -> Result<Vec<f32>> {
        let signatures = self.signatures(hidden, answers)?;
        let pairs = answers.iter().zip(signatures.chunks_exact(self.family.shape().words()));
        Ok(pairs.map(|(&answer, signature)| self.corrected(answer, signature)).collect())
    }

    fn corrected(&self, answer: f32, signature: &[u64]) -> f32 {
        let shape = self.family.shape();
        let buckets = (0..shape.groups()).map(|group| self.buckets[shape.row(signature, group)]);
        let seen: Vec<Bucket> = buckets.filter(|bucket| bucket.count > 0.0).collect();
        let total: f64 = seen.iter().map(|bucket| bucket.count).sum();
        let most = seen.iter().map(|bucket| bucket.count).fold(0.0, f64::max);
        let [mut weights, mut truth, mut said] = [0.0; 3];
        for bucket in &seen {
            let weight = ((bucket.count - most) / total / f64::from(self.options.temperature)).exp();
            weights += weight;
            truth += weight * bucket.truth / bucket.count;
            said += weight * bucket.answer / bucket.count;
        }
        if weights == 0.0 {
            return answer;
        }
        let (own, truth, said) = (f64::from(self.options.own), truth / weights, said / weights);
        let error = own * (truth - f64::from(answer)) + (1.0 - own) * (truth - said);
        (f64::from(answer) + f64::from(self.options.rate) * error).clamp(0.0, 1.0) as f32
    }

    /// Lets all that was observed count so many times as much as before, 0 to 1.
    ///
    /// # Errors
    /// When it is another number.
    pub fn decay(&mut self, factor: f64) -> Result<()> {
        if !(0.0..=1.0).contains(&factor) {
            let (found, expected) = (factor.to_string(), "0 to 1".to_owned());
            return Err(IndexError::BadOption { option: "decay", found, expected });
        }
        self.scale *= factor;
        if self.scale == 0.0 {
            self.reset();
        } else if self.scale < SCALE_MIN {
            for bucket in &mut self.buckets {
                *bucket = Bucket {
                    count: bucket.count * self.scale,
                    truth: bucket.truth * self.scale,
                    answer: bucket.answer * self.scale,
                };
            }
            self.scale = 1.0;
        }
        Ok(())
    }

    /// Forgets everything: the model is another one.
    pub fn reset(&mut self) {
        self.buckets.fill(Bucket::default());
        self.scale = 1.0;
    }

    fn signatures(&self, hidden: &[f32], answers: &[f32]) -> Result<Vec<u64>> {
        check_len("hidden vectors", hidden.len(), answers.len() * self.family.shape().dim())?;
        check_finite("answers", answers)?;
        self.family.signatures(hidden)
    }
}

fn check_finite(name: &str, values: &[f32]) -> Result<()> {
    super::check_vectors(name, 1, values).map(drop)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::random::Random;

    const DIM: usize = 6;

    fn number(random: Random, i: u64) -> f32 {
        (random.at(i) >> 40) as f32 / (1u64 << 24) as f32
    }

    fn memory(options: ErrorOptions) -> ErrorMemory {
        let family = SignFamily::from_seed(SignShape::new(DIM, 5, 4).unwrap(), 3).unwrap();
        ErrorMemory::new(family, options).unwrap()
    }

    /// What is observed in maps, decayed at once.
    #[derive(Default)]
    struct Twin(HashMap<(usize, usize), [f64; 3]>);

    impl Twin {
        fn correct(&self, memory: &ErrorMemory, hidden: &[f32], answer: f32) -> f64 {
            let signature = memory.family.signatures(hidden).unwrap();
            let shape = memory.family.shape();
            let seen: Vec<[f64; 3]> = (0..shape.groups())
                .filter_map(|group| self.0.get(&(group, shape.bucket(&signature, group))).copied())
                .collect();
            let total: f64 = seen.iter().map(|sums| sums[0]).sum();
            let (own, answer) = (f64::from(memory.options.own), f64::from(answer));
            let weights: Vec<f64> = seen
                .iter()
                .map(|sums| (sums[0] / total / f64::from(memory.options.temperature)).exp())
                .collect();
            let all: f64 = weights.iter().sum();
            if seen.is_empty() {
                return answer;
            }
            let mean = |of: usize| -> f64 {
                seen.iter().zip(&weights).map(|(sums, weight)| weight / all * sums[of] / sums[0]).sum()
            };
            let error = own * (mean(1) - answer) + (1.0 - own) * (mean(1) - mean(2));
            (answer + f64::from(memory.options.rate) * error).clamp(0.0, 1.0)
        }
    }

    #[test]
    fn a_memory_is_its_twin() {
        for (seed, own) in [(1, 1.0), (2, 0.0), (3, 0.4)] {
            let random = Random::new(seed, 1);
            let options = ErrorOptions { rate: 0.7, own, temperature: 0.2, threshold: 0.1 };
            let (mut memory, mut twin) = (memory(options), Twin::default());
            for step in 0..600 {
                let at = step * 20;
                let hidden: Vec<f32> = (0..DIM as u64).map(|j| number(random, at + j) - 0.5).collect();
                let (truth, answer) = (number(random, at + 10).round(), number(random, at + 11));
                let expected = twin.correct(&memory, &hidden, answer);
                let found = memory.correct(&hidden, &[answer]).unwrap()[0];
                assert!((f64::from(found) - expected).abs() < 1e-5, "{step}: {found}, expected {expected}");
                memory.observe(&hidden, &[truth], &[answer]).unwrap();
                if (truth - answer).abs() >= 0.1 {
                    let signature = memory.family.signatures(&hidden).unwrap();
                    for group in 0..5 {
                        let bucket = memory.family.shape().bucket(&signature, group);
                        let sums = twin.0.entry((group, bucket)).or_default();
                        let came = [1.0, f64::from(truth), f64::from(answer)];
                        sums.iter_mut().zip(came).for_each(|(sum, came)| *sum += came);
                    }
                }
                if step % 7 == 0 {
                    memory.decay(1e-3).unwrap();
                    twin.0.values_mut().flatten().for_each(|sum| *sum *= 1e-3);
                }
                if step == 300 {
                    memory.reset();
                    twin.0.clear();
                }
            }
        }
    }

    #[test]
    fn a_model_that_is_wrong_somewhere_is_put_right_there() {
        let random = Random::new(9, 2);
        let mut memory = memory(ErrorOptions { rate: 0.8, ..ErrorOptions::default() });
        let (mut before, mut after) = (0.0, 0.0);
        for step in 0..4_000 {
            let at = step * 20;
            let hidden: Vec<f32> = (0..DIM as u64).map(|j| number(random, at + j) - 0.5).collect();
            // The truth follows the first element; the model says the same of all.
            let truth = f32::from(hidden[0] > 0.0);
            let corrected = memory.correct(&hidden, &[0.5]).unwrap()[0];
            if step > 2_000 {
                before += f64::from((truth - 0.5).abs());
                after += f64::from((truth - corrected).abs());
            }
            memory.observe(&hidden, &[truth], &[0.5]).unwrap();
        }
        assert!(after < 0.8 * before, "{after} of {before}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut memory = memory(ErrorOptions::default());
        let hidden = [0.5; DIM];
        assert_eq!(memory.correct(&hidden, &[0.25]).unwrap(), [0.25], "nothing is known");
        assert!(memory.observe(&hidden, &[1.0, 0.0], &[0.5]).is_err());
        assert!(memory.observe(&hidden, &[f32::NAN], &[0.5]).is_err());
        assert!(memory.observe(&hidden[1..], &[1.0], &[0.5]).is_err());
        assert!(memory.correct(&[f32::INFINITY; DIM], &[0.5]).is_err());
        assert!(memory.decay(1.5).is_err() && memory.decay(f64::NAN).is_err());
        assert_eq!(memory.correct(&hidden, &[0.25]).unwrap(), [0.25]);
        memory.observe(&hidden, &[1.0], &[0.5]).unwrap();
        assert!(memory.correct(&hidden, &[0.25]).unwrap()[0] > 0.4);
        memory.decay(0.0).unwrap();
        assert_eq!(memory.correct(&hidden, &[0.25]).unwrap(), [0.25]);
        let family = || SignFamily::from_seed(SignShape::new(2, 1, 1).unwrap(), 3).unwrap();
        for options in [
            ErrorOptions { rate: 1.5, ..ErrorOptions::default() },
            ErrorOptions { own: -0.1, ..ErrorOptions::default() },
            ErrorOptions { temperature: 0.0, ..ErrorOptions::default() },
            ErrorOptions { threshold: f32::NAN, ..ErrorOptions::default() },
        ] {
            assert!(ErrorMemory::new(family(), options).is_err(), "{options:?}");
        }
    }
}
