//! Maximal marginal relevance: the nearest points, but not the same one again and again.

use nearline_index::{RowId, Scorer};

use crate::error::QueryError;
use crate::schema::VectorConfig;

/// Candidates of [`Mmr`] at most.
pub const MMR_CANDIDATES_MAX: usize = 16_384;

/// Chooses among the nearest points, one after the other, the one that is near to the query and not so near to any chosen
/// before. Scores stay what they are; only the order and the choice change.
///
/// ```
/// use nearline::{Mmr, Query};
///
/// let query = Query::nearest([0.1, 0.2]).k(5).mmr(Mmr::new(0.3).candidates(100));
/// # let _ = query;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Mmr {
    diversity: f32,
    candidates: Option<usize>,
}

impl Mmr {
    /// With this much weight on differing, 0 to 1: at 0 the nearest are taken, at 1 only the first is chosen by the query.
    pub fn new(diversity: f32) -> Self {
        Self { diversity, candidates: None }
    }

    /// Among so many nearest points; as many as are wanted unless told otherwise, which changes only their order.
    pub fn candidates(mut self, candidates: usize) -> Self {
        self.candidates = Some(candidates);
        self
    }

    pub(super) fn check(&self) -> Result<(), QueryError> {
        if !(0.0..=1.0).contains(&self.diversity) {
            return Err(QueryError::bad("diversity of mmr", self.diversity, "0 to 1"));
        }
        match self.candidates {
            Some(found) if found > MMR_CANDIDATES_MAX => {
                let expected = format!("at most {MMR_CANDIDATES_MAX}");
                Err(QueryError::bad("candidates of mmr", found, expected))
            }
            _ => Ok(()),
        }
    }

    /// Candidates for so many points.
    pub(super) fn wanted(&self, k: usize) -> usize {
        self.candidates.unwrap_or(k).min(MMR_CANDIDATES_MAX)
    }

    /// The places of the candidates that are chosen, in order. `found` has their distances to the query, nearest first,
    /// `vectors` their vectors as they are stored.
    pub(super) fn choose(
        &self,
        config: &VectorConfig,
        found: &[(RowId, f32)],
        vectors: &[Box<[u8]>],
        k: usize,
    ) -> Vec<usize> {
        let diversity = f64::from(self.diversity);
        // Distances instead of similarities: they differ by their sign, and of cosines by 1, which is taken from all alike.
        let relevance: Vec<f64> = found.iter().map(|(_, distance)| -f64::from(*distance)).collect();
        let mut closest = vec![f64::NEG_INFINITY; found.len()];
        let mut pending: Vec<usize> = (0..found.len()).collect();
        let (mut chosen, mut next) = (Vec::new(), 0);
        while chosen.len() < k && next < pending.len() {
            let at = pending.remove(next);
            chosen.push(at);
            let scorer = Scorer::new(config.metric, config.shape(), &vectors[at]);
            for &other in &pending {
                closest[other] = closest[other].max(-f64::from(scorer.distance(&vectors[other])));
            }
            let worth = |at: usize| (1.0 - diversity) * relevance[at] - diversity * closest[at];
            // Of equal ones the nearest.
            next = (1..pending.len()).fold(0, |best, place| {
                if worth(pending[place]) > worth(pending[best]) { place } else { best }
            });
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use nearline_index::Metric;
    use proptest::prelude::*;

    use super::*;

    /// By the formula, over similarities, everything computed anew in each step.
    fn naive(
        diversity: f64,
        relevance: &[f64],
        similar: &dyn Fn(usize, usize) -> f64,
        k: usize,
    ) -> Vec<usize> {
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < k.min(relevance.len()) {
            let worth = |at: usize| {
                let closest =
                    chosen.iter().map(|&other| similar(at, other)).fold(f64::NEG_INFINITY, f64::max);
                if chosen.is_empty() {
                    -(at as f64)
                } else {
                    (1.0 - diversity) * relevance[at] - diversity * closest
                }
            };
            let pending = (0..relevance.len()).filter(|at| !chosen.contains(at));
            chosen.push(pending.reduce(|best, at| if worth(at) > worth(best) { at } else { best }).unwrap());
        }
        chosen
    }

    proptest! {
        #[test]
        fn it_chooses_as_the_formula_says(
            rows in prop::collection::vec(prop::collection::vec(1..9_i32, 2), 1..12),
            query in prop::collection::vec(1..9_i32, 2),
            metric in prop_oneof![Just(Metric::L2), Just(Metric::InnerProduct), Just(Metric::Manhattan)],
            quarters in 0..5_u8, k in 1..12_usize,
        ) {
            let config = VectorConfig::new(2, metric);
            let bytes = |row: &Vec<i32>| {
                config.encode(&row.iter().map(|&x| x as f32).collect::<Vec<f32>>().into()).unwrap()
            };
            let distance = |a: &[u8], b: &[u8]| Scorer::new(metric, config.shape(), a).distance(b);
            let (query, mut vectors) = (bytes(&query), rows.iter().map(bytes).collect::<Vec<_>>());
            vectors.sort_by(|a, b| distance(&query, a).total_cmp(&distance(&query, b)));
            let found: Vec<(RowId, f32)> =
                vectors.iter().enumerate().map(|(at, row)| (RowId(at as u32), distance(&query, row))).collect();
            let relevance: Vec<f64> = found.iter().map(|(_, distance)| -f64::from(*distance)).collect();
            let similar = |a: usize, b: usize| -f64::from(distance(&vectors[a], &vectors[b]));
            // Quarters and whole numbers: no rounding.
            let diversity = f32::from(quarters) / 4.0;
            let right = naive(diversity.into(), &relevance, &similar, k);
            prop_assert_eq!(Mmr::new(diversity).choose(&config, &found, &vectors, k), right);
        }
    }
}
