//! Scores by several examples: each vector is compared with all of them.
//!
//! A vector index finds what is near to one vector. So it is asked for the nearest to each example that can make a score good,
//! and what it finds is scored exactly. Whatever it did not find is farther from every such example than the last that it
//! found: that bounds its score, and when the k-th score found is not below the bound, nothing better is left out.

use nearline_index::{Distances, ElementType, Metric, Scorer};

use super::example::{Pair, Weighted, numbers, query_bytes, stored_as};
use crate::point::Vector;
use crate::schema::VectorConfig;

/// What keeps equal distances apart in a context.
const MARGIN: f32 = f32::EPSILON;

/// Where weights nearly cancel each other, the vector at which their sum is largest is far from all others: what is nearest to it
/// would be up to rounding.
const LEAST_OF_WEIGHTS: f64 = 0.05;

/// A vector to compare with, as it is stored.
pub(super) struct Seed {
    pub(super) bytes: Box<[u8]>,
    pub(super) scorer: Scorer,
}

impl Seed {
    fn new(config: &VectorConfig, bytes: Box<[u8]>) -> Self {
        Self { scorer: Scorer::new(config.metric, config.shape(), &bytes), bytes }
    }
}

/// Scores vectors by several examples. A "distance" of it is the score with its sign turned.
pub(super) struct Judge {
    metric: Metric,
    /// Bytes of a stored vector.
    row_bytes: usize,
    rule: Rule,
    /// In pairs of a context, those to be near to at even places, the others behind them.
    examples: Vec<Seed>,
    /// What the index is to be asked for, if it can help.
    pub(super) seeds: Vec<Seed>,
}

/// How the similarities to the examples make a score.
enum Rule {
    /// The first so many are to be near to.
    Best(usize),
    /// Each with its weight.
    Sum(Vec<f64>),
    /// The last is the target, those before it are pairs.
    Discover,
    Context,
}

impl Judge {
    fn new(config: &VectorConfig, rule: Rule, examples: Vec<Box<[u8]>>, seeds: Vec<Box<[u8]>>) -> Self {
        let all =
            |vectors: Vec<Box<[u8]>>| vectors.into_iter().map(|bytes| Seed::new(config, bytes)).collect();
        let row_bytes = config.shape().row_bytes();
        Self { metric: config.metric, row_bytes, rule, examples: all(examples), seeds: all(seeds) }
    }

    pub(super) fn best(config: &VectorConfig, like: Vec<Box<[u8]>>, unlike: Vec<Box<[u8]>>) -> Self {
        let (count, seeds) = (like.len(), like.clone());
        Self::new(config, Rule::Best(count), [like, unlike].concat(), seeds)
    }

    pub(super) fn sum(config: &VectorConfig, examples: Vec<Weighted>) -> Self {
        let seeds = middle(config, &examples).into_iter().collect();
        let (weights, examples) = examples.into_iter().unzip();
        Self::new(config, Rule::Sum(weights), examples, seeds)
    }

    pub(super) fn discover(config: &VectorConfig, target: Box<[u8]>, pairs: Vec<Pair>) -> Self {
        let mut examples = flat(pairs);
        examples.push(target.clone());
        Self::new(config, Rule::Discover, examples, vec![target])
    }

    pub(super) fn context(config: &VectorConfig, pairs: Vec<Pair>) -> Self {
        let seeds = pairs.iter().map(|(positive, _)| positive.clone()).collect();
        Self::new(config, Rule::Context, flat(pairs), seeds)
    }

    /// The best score of what is farther from every seed than these distances.
    pub(super) fn bound(&self, farthest: &[f32]) -> f32 {
        let nearest = farthest.iter().map(|&distance| self.similarity(distance));
        let nearest = nearest.fold(f32::NEG_INFINITY, f32::max);
        match &self.rule {
            Rule::Best(_) => half_open(nearest),
            Rule::Discover => (self.examples.len() / 2) as f32 + half_open(nearest),
            Rule::Context => 0.0,
            // The seed is where sums are largest: they fall with the distance from it.
            Rule::Sum(_) => f32::NEG_INFINITY,
        }
    }

    /// Larger is nearer.
    fn similarity(&self, distance: f32) -> f32 {
        match self.metric {
            Metric::Cosine => 1.0 - distance,
            Metric::L2 | Metric::InnerProduct | Metric::Manhattan => -distance,
        }
    }

    /// The score by the distances to all examples.
    fn score(&self, distances: impl Fn(usize) -> f32) -> f32 {
        let similarity = |at: usize| self.similarity(distances(at));
        let count = self.examples.len();
        match &self.rule {
            &Rule::Best(like) => {
                let best =
                    |range: std::ops::Range<usize>| range.map(similarity).fold(f32::NEG_INFINITY, f32::max);
                let (like, unlike) = (best(0..like), best(like..count));
                if like > unlike { half_open(like) } else { -half_open(unlike) }
            }
            Rule::Sum(weights) => {
                let parts = weights.iter().enumerate().map(|(at, weight)| weight * f64::from(similarity(at)));
                parts.sum::<f64>().clamp(f32::MIN.into(), f32::MAX.into()) as f32
            }
            Rule::Discover => {
                let rank = |pair: usize| match similarity(2 * pair).total_cmp(&similarity(2 * pair + 1)) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.0,
                    std::cmp::Ordering::Less => -1.0,
                };
                let ranks: f32 = (0..count / 2).map(rank).sum();
                ranks + half_open(similarity(count - 1))
            }
            Rule::Context => {
                let lack = |pair: usize| {
                    let ahead = similarity(2 * pair) - similarity(2 * pair + 1) - MARGIN;
                    squashed(ahead.min(0.0))
                };
                (0..count / 2).map(lack).sum()
            }
        }
    }
}

impl Distances for Judge {
    fn distances(&self, rows: &[u8], out: &mut [f32]) {
        let count = rows.len() / self.row_bytes;
        let mut all = vec![0.0; self.examples.len() * count];
        if count == 0 {
            return;
        }
        for (example, distances) in self.examples.iter().zip(all.chunks_exact_mut(count)) {
            example.scorer.distances(rows, distances);
        }
        for (row, out) in out.iter_mut().enumerate() {
            *out = -self.score(|example| all[example * count + row]);
        }
    }
}

/// From -1 to 1, without an exponential.
fn squashed(x: f32) -> f32 {
    if x.is_finite() { x / (1.0 + x.abs()) } else { x }
}

/// From 0 to 1.
fn half_open(x: f32) -> f32 {
    if x.is_finite() { 0.5 * (squashed(x) + 1.0) } else { x }
}

fn flat(pairs: Vec<Pair>) -> Vec<Box<[u8]>> {
    pairs.into_iter().flat_map(|(positive, negative)| [positive, negative]).collect()
}

/// The vector where sums of similarities are largest and from where they fall with the distance, if there is one that can be
/// stored.
fn middle(config: &VectorConfig, examples: &[Weighted]) -> Option<Box<[u8]>> {
    if !matches!(config.element, ElementType::F32 | ElementType::F16) {
        return None;
    }
    let mut sum = vec![0.0; config.dim];
    for (weight, bytes) in examples {
        let values = numbers(&Vector::from_bytes(bytes, config.element));
        let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let scale = if config.metric == Metric::Cosine { weight / norm } else { *weight };
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += scale * value);
    }
    let more: f64 = examples.iter().map(|(weight, _)| weight).sum();
    let all: f64 = examples.iter().map(|(weight, _)| weight.abs()).sum();
    let norm = sum.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
    let scale = match config.metric {
        Metric::L2 if more > LEAST_OF_WEIGHTS * all => more,
        // Whatever its length, the order is the same.
        Metric::InnerProduct | Metric::Cosine if norm > 0.0 => norm,
        _ => return None,
    };
    sum.iter_mut().for_each(|sum| *sum /= scale);
    query_bytes(config, &stored_as(config, &sum)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signed(like: Vec<Box<[u8]>>, unlike: Vec<Box<[u8]>>) -> Vec<Weighted> {
        let plus = like.into_iter().map(|bytes| (1.0, bytes));
        plus.chain(unlike.into_iter().map(|bytes| (-0.75, bytes))).collect()
    }

    /// The rules as one would write them down, in f64, with similarities given.
    fn naive(rule: &Rule, s: &[f64]) -> f64 {
        let fast = |x: f64| x / (1.0 + x.abs());
        let scaled = |x: f64| 0.5 * (fast(x) + 1.0);
        match rule {
            &Rule::Best(like) => {
                let max = |part: &[f64]| part.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let (like, unlike) = (max(&s[..like]), max(&s[like..]));
                if like > unlike { scaled(like) } else { -scaled(unlike) }
            }
            Rule::Sum(weights) => weights.iter().zip(s).map(|(weight, s)| weight * s).sum(),
            Rule::Discover => {
                let (target, pairs) = s.split_last().unwrap();
                let rank: f64 = pairs
                    .chunks(2)
                    .map(|p| if p[0] > p[1] { 1.0 } else { f64::from(-i8::from(p[0] < p[1])) })
                    .sum();
                rank + scaled(*target)
            }
            Rule::Context => {
                s.chunks(2).map(|p| fast((p[0] - p[1] - f64::from(f32::EPSILON)).min(0.0))).sum()
            }
        }
    }

    fn similarity(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
        let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        match metric {
            Metric::L2 => -pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>(),
            Metric::Manhattan => -pairs().map(|(a, b)| (a - b).abs()).sum::<f64>(),
            Metric::InnerProduct => dot(a, b),
            Metric::Cosine => dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
        }
    }

    fn metrics() -> impl Strategy<Value = Metric> {
        prop_oneof![
            Just(Metric::L2),
            Just(Metric::Manhattan),
            Just(Metric::InnerProduct),
            Just(Metric::Cosine)
        ]
    }

    fn vectors(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<f32>>> {
        prop::collection::vec(prop::collection::vec((1..100_i32).prop_map(|x| x as f32 / 16.0), 3), count)
    }

    fn bytes(config: &VectorConfig, vectors: &[Vec<f32>]) -> Vec<Box<[u8]>> {
        vectors.iter().map(|vector| config.encode(&vector.clone().into()).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn scores_are_those_that_one_would_write_down(
            metric in metrics(), like in vectors(1..4), unlike in vectors(1..4), rows in vectors(1..20), which in 0..4,
        ) {
            let config = VectorConfig::new(3, metric);
            let (plus, minus) = (bytes(&config, &like), bytes(&config, &unlike));
            let count = like.len().min(unlike.len());
            let pairs: Vec<_> = plus.iter().cloned().zip(minus.iter().cloned()).collect();
            let in_pairs: Vec<_> = like.iter().zip(&unlike).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
            let (judge, examples) = match which {
                0 => (Judge::best(&config, plus, minus), [like, unlike].concat()),
                1 => (Judge::sum(&config, signed(plus, minus)), [like, unlike].concat()),
                2 => {
                    let target = like[0].clone();
                    (Judge::discover(&config, plus[0].clone(), pairs), [in_pairs, vec![target]].concat())
                }
                _ => (Judge::context(&config, pairs), in_pairs),
            };
            let mut found = vec![0.0; rows.len()];
            judge.distances(&bytes(&config, &rows).concat(), &mut found);
            for (row, distance) in rows.iter().zip(found) {
                let all: Vec<f64> = examples.iter().map(|example| similarity(metric, row, example)).collect();
                // Where it is close, rounding decides who is ahead.
                if which == 2 && all.chunks(2).take(count).any(|pair| (pair[0] - pair[1]).abs() < 1e-5) {
                    continue;
                }
                let right = naive(&judge.rule, &all);
                prop_assert!((f64::from(-distance) - right).abs() <= 1e-4 * (1.0 + right.abs()), "{} {right}", -distance);
            }
        }

        #[test]
        fn nothing_far_from_all_seeds_is_better_than_the_bound(
            metric in metrics(), like in vectors(1..4), unlike in vectors(1..4), rows in vectors(2..40), which in 0..3, m in 1..10_usize,
        ) {
            let config = VectorConfig::new(3, metric);
            let (plus, minus) = (bytes(&config, &like), bytes(&config, &unlike));
            let pairs: Vec<_> = plus.iter().cloned().zip(minus.iter().cloned()).collect();
            let judge = match which {
                0 => Judge::best(&config, plus, minus),
                1 => Judge::discover(&config, plus[0].clone(), pairs),
                _ => Judge::context(&config, pairs),
            };
            let stored = bytes(&config, &rows);
            let mut seen = std::collections::BTreeSet::new();
            let mut farthest = Vec::new();
            for seed in &judge.seeds {
                let mut order: Vec<usize> = (0..stored.len()).collect();
                let distance = |at: usize| seed.scorer.distance(&stored[at]);
                order.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
                order.truncate(m);
                farthest.push(distance(*order.last().unwrap()));
                seen.extend(order);
            }
            for row in (0..stored.len()).filter(|row| !seen.contains(row)) {
                prop_assert!(-Distances::distance(&judge, &stored[row]) <= judge.bound(&farthest));
            }
        }

        #[test]
        fn sums_fall_with_the_distance_from_the_middle(
            metric in metrics(), like in vectors(1..5), unlike in vectors(0..4), rows in vectors(2..20),
        ) {
            let config = VectorConfig::new(3, metric);
            let judge = Judge::sum(&config, signed(bytes(&config, &like), bytes(&config, &unlike)));
            let Some(seed) = judge.seeds.first() else { return Ok(()) };
            let both = |row: &[u8]| (seed.scorer.distance(row), -Distances::distance(&judge, row));
            let all: Vec<(f32, f32)> = bytes(&config, &rows).iter().map(|row| both(row)).collect();
            for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
                let slack = 1e-3 * (1.0 + a.0.abs());
                prop_assert!(a.0 > b.0 - slack || a.1 >= b.1 - 1e-3 * (1.0 + a.1.abs()), "{a:?} {b:?}");
            }
        }
    }
}
