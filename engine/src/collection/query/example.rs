//! Examples: vectors, or points that have them.

use nearline_index::{ElementType, Metric};

use super::super::Reader;
use super::Query;
use crate::error::QueryError;
use crate::point::Vector;
use crate::point_id::{PointId, Uuid};
use crate::schema::VectorConfig;

/// Examples of a question at most.
pub const EXAMPLES_MAX: usize = 1024;

/// Weights of all examples together at most: beyond, scores would be no numbers.
const WEIGHTS_MAX: f64 = 1e18;

/// A vector to be near to, or the point that has it. A point that is an example is not answered.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Example {
    /// A vector.
    Vector(Vector),
    /// A point of the collection.
    Point(PointId),
}

impl<const N: usize> From<[f32; N]> for Example {
    fn from(values: [f32; N]) -> Self {
        Self::Vector(values.into())
    }
}

macro_rules! from_vectors {
    ($($vector:ty),*) => {$(
        impl From<$vector> for Example {
            fn from(vector: $vector) -> Self {
                Self::Vector(vector.into())
            }
        }
    )*};
}

from_vectors!(Vec<f32>, &[f32], Vec<u8>, Vec<i8>, Vector);

macro_rules! from_ids {
    ($($id:ty),*) => {$(
        impl From<$id> for Example {
            fn from(id: $id) -> Self {
                Self::Point(id.into())
            }
        }
    )*};
}

from_ids!(PointId, u64, Uuid);

/// How points are compared with several examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecommendStrategy {
    /// With one vector: the mean of those to be like, and as far beyond it as the mean of those to be unlike lies before it.
    #[default]
    AverageVector,
    /// With all: the nearest example decides. Near one to be like, scores are above 0, and up to 1; near one to be unlike they are
    /// below 0, down to -1.
    BestScore,
    /// With all: the sum of similarities to those to be like, less those to the others. Similarities of distances are negative.
    SumScores,
}

/// Examples of what is wanted and of what is not.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Recommend {
    pub(super) like: Vec<Example>,
    pub(super) unlike: Vec<Example>,
    pub(super) strategy: RecommendStrategy,
}

impl Recommend {
    /// Points like these.
    pub fn like<E: Into<Example>>(examples: impl IntoIterator<Item = E>) -> Self {
        let like = examples.into_iter().map(Into::into).collect();
        Self { like, ..Self::default() }
    }

    /// Points unlike these.
    pub fn unlike<E: Into<Example>>(mut self, examples: impl IntoIterator<Item = E>) -> Self {
        self.unlike.extend(examples.into_iter().map(Into::into));
        self
    }

    /// How they are compared.
    pub fn strategy(mut self, strategy: RecommendStrategy) -> Self {
        self.strategy = strategy;
        self
    }
}

/// What was asked for, examples of what was found, and how well somebody says that each of these answers it.
///
/// A point's score is `a·s(target) + Σ c·(score_i - score_j)^b·(s(example_i) - s(example_j))` over all pairs of examples of which the
/// first has the higher score, where s is the similarity to the point: what is like good examples rises, what is like bad ones falls,
/// the more the farther their scores are apart. This is the strategy called naive in Qdrant's API, 1.17 and later.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Feedback {
    pub(super) target: Example,
    pub(super) examples: Vec<(Example, f32)>,
    pub(super) a: f32,
    pub(super) b: f32,
    pub(super) c: f32,
}

impl Feedback {
    /// Feedback to what was found for a target: examples with their scores. All coefficients are 1.
    pub fn new<E: Into<Example>>(
        target: impl Into<Example>,
        examples: impl IntoIterator<Item = (E, f32)>,
    ) -> Self {
        let examples = examples.into_iter().map(|(example, score)| (example.into(), score)).collect();
        Self { target: target.into(), examples, a: 1.0, b: 1.0, c: 1.0 }
    }

    /// The coefficients: how much the target counts; to which power, 0 or more, differences of scores are raised; how much
    /// pairs count.
    pub fn coefficients(mut self, a: f32, b: f32, c: f32) -> Self {
        (self.a, self.b, self.c) = (a, b, c);
        self
    }

    /// Refuses numbers that make no score.
    fn check(&self) -> Result<(), QueryError> {
        let Self { a, b, c, .. } = *self;
        if ![a, b, c].iter().all(|number| number.is_finite()) || b < 0.0 {
            let found = format!("{a}, {b}, {c}");
            return Err(QueryError::bad(
                "coefficients of feedback",
                found,
                "finite numbers, the second 0 or more",
            ));
        }
        match self.examples.iter().find(|(_, score)| !score.is_finite()) {
            Some((_, score)) => Err(QueryError::bad("score of feedback", *score, "a finite number")),
            None => Ok(()),
        }
    }

    /// By how much the similarity to each example counts.
    fn weights(&self) -> Vec<f64> {
        let mut weights = vec![0.0; self.examples.len()];
        for (i, (_, better)) in self.examples.iter().enumerate() {
            for (j, (_, worse)) in self.examples.iter().enumerate().filter(|(_, (_, worse))| better > worse) {
                let apart = f64::from(*better) - f64::from(*worse);
                let weight = f64::from(self.c) * apart.powf(self.b.into());
                weights[i] += weight;
                weights[j] -= weight;
            }
        }
        weights
    }
}

/// Two vectors as they are stored: to be nearer to the first than to the second.
pub(super) type Pair = (Box<[u8]>, Box<[u8]>);

/// By how much the similarity to a vector counts, and the vector as it is stored.
pub(super) type Weighted = (f64, Box<[u8]>);

/// The examples of one question: where their vectors come from, and which points were named.
pub(super) struct Examples<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) config: &'a VectorConfig,
    /// The name of the vectors of points.
    pub(super) name: &'a str,
    pub(super) named: Vec<PointId>,
}

impl<'a> Examples<'a> {
    pub(super) fn of(reader: Reader<'a>, config: &'a VectorConfig, query: &'a Query) -> Self {
        let name = query.lookup.as_deref().unwrap_or(&query.using);
        Self { reader, config, name, named: Vec::new() }
    }

    /// The vector of an example.
    fn vector(&mut self, example: &Example) -> Result<Vector, QueryError> {
        let id = match example {
            Example::Vector(vector) => return Ok(vector.clone()),
            Example::Point(id) => *id,
        };
        self.named.push(id);
        let point = self.reader.get(&[id], true)?.pop();
        let mut point = point.ok_or(QueryError::NoPoint { id })?;
        point.vectors.remove(self.name).ok_or_else(|| QueryError::NoVector { id, name: self.name.to_owned() })
    }

    /// The vector of an example as it is stored.
    pub(super) fn bytes(&mut self, example: &Example) -> Result<Box<[u8]>, QueryError> {
        let vector = self.vector(example)?;
        query_bytes(self.config, &vector)
    }

    pub(super) fn all_bytes<'e>(
        &mut self,
        examples: impl ExactSizeIterator<Item = &'e Example>,
    ) -> Result<Vec<Box<[u8]>>, QueryError> {
        let most = EXAMPLES_MAX;
        if examples.len() > most {
            return Err(QueryError::bad("number of examples", examples.len(), format!("at most {most}")));
        }
        examples.map(|example| self.bytes(example)).collect()
    }

    pub(super) fn pair_bytes(&mut self, pairs: &[(Example, Example)]) -> Result<Vec<Pair>, QueryError> {
        let most = EXAMPLES_MAX / 2;
        if pairs.len() > most {
            return Err(QueryError::bad("pairs of the context", pairs.len(), format!("at most {most}")));
        }
        pairs.iter().map(|(positive, negative)| Ok((self.bytes(positive)?, self.bytes(negative)?))).collect()
    }

    /// The target of feedback and its examples with their weights.
    pub(super) fn weighted(&mut self, feedback: &Feedback) -> Result<Vec<Weighted>, QueryError> {
        feedback.check()?;
        // Refused before weights are worked out, if there are too many.
        let examples = self.all_bytes(feedback.examples.iter().map(|(example, _)| example))?;
        let mut all = vec![(feedback.a.into(), self.bytes(&feedback.target)?)];
        all.extend(feedback.weights().into_iter().zip(examples));
        let sum: f64 = all.iter().map(|(weight, _)| weight.abs()).sum();
        if sum > WEIGHTS_MAX || sum.is_nan() {
            let found = format!("weights of {sum:e} in all");
            return Err(QueryError::bad(
                "coefficients and scores of feedback",
                found,
                format!("at most {WEIGHTS_MAX:e}"),
            ));
        }
        Ok(all)
    }

    /// What lies as far beyond the mean of some as that of others lies before it.
    pub(super) fn average(&mut self, recommend: &Recommend) -> Result<Box<[u8]>, QueryError> {
        if recommend.like.is_empty() {
            let expected = "one at least, to average them";
            return Err(QueryError::bad("examples to be like", "none", expected));
        }
        let mut mean = self.mean(&recommend.like)?;
        if !recommend.unlike.is_empty() {
            let unlike = self.mean(&recommend.unlike)?;
            mean.iter_mut().zip(unlike).for_each(|(like, unlike)| *like += *like - unlike);
        }
        query_bytes(self.config, &stored_as(self.config, &mean))
    }

    fn mean(&mut self, examples: &[Example]) -> Result<Vec<f64>, QueryError> {
        if examples.len() > EXAMPLES_MAX {
            let expected = format!("at most {EXAMPLES_MAX}");
            return Err(QueryError::bad("number of examples", examples.len(), expected));
        }
        let mut sum = vec![0.0; self.config.dim];
        for example in examples {
            let vector = self.vector(example)?;
            // As a query it would be refused, and so it is here.
            query_bytes(self.config, &vector)?;
            sum.iter_mut().zip(numbers(&vector)).for_each(|(sum, value)| *sum += value);
        }
        let count = examples.len() as f64;
        Ok(sum.into_iter().map(|sum| sum / count).collect())
    }
}

/// The elements of a vector.
pub(super) fn numbers(vector: &Vector) -> Vec<f64> {
    match vector {
        Vector::F32(values) => values.iter().map(|&value| value.into()).collect(),
        Vector::U8(values) => values.iter().map(|&value| value.into()).collect(),
        Vector::I8(values) => values.iter().map(|&value| value.into()).collect(),
    }
}

/// A vector that was computed, in elements that are stored: bytes are rounded; where angles are compared, floats are brought to
/// length 1, so that they fit whatever they are.
pub(super) fn stored_as(config: &VectorConfig, values: &[f64]) -> Vector {
    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let is_float = matches!(config.element, ElementType::F32 | ElementType::F16);
    let scale = if config.metric == Metric::Cosine && is_float && norm > 0.0 { 1.0 / norm } else { 1.0 };
    let (low, high) = match config.element {
        ElementType::U8 => (0.0, 255.0),
        ElementType::I8 => (-128.0, 127.0),
        ElementType::F32 | ElementType::F16 => return floats(values, scale),
    };
    Vector::F32(values.iter().map(|value| value.round().clamp(low, high) as f32).collect())
}

fn floats(values: &[f64], scale: f64) -> Vector {
    Vector::F32(values.iter().map(|value| (value * scale) as f32).collect())
}

/// A query of inner products or distances may be zero; one of angles has none.
pub(super) fn query_bytes(config: &VectorConfig, vector: &Vector) -> Result<Box<[u8]>, QueryError> {
    config.encode(vector).map_err(|(found, expected)| QueryError::Bad { what: "query", found, expected })
}
