//! What is asked for: the member `query` of a question.

use std::collections::BTreeMap;
use std::fmt;

use nearline::{OrderBy, PointId, RecommendStrategy, Value};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::formula::{ExpressionIn, FormulaIn};
use super::super::one_or_many::OneOrMany;
use super::super::shape::shaped;
use super::super::vector::{Dense, Input};

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Kind {
    /// The nearest to a vector, or to that of a point; perhaps such that differ.
    Nearest(Input, Option<MmrIn>),
    Recommend(RecommendIn),
    Discover(DiscoverIn),
    Context(Vec<PairIn>),
    Feedback(FeedbackIn),
    /// The first in the order of a field.
    OrderBy(OrderByIn),
    Fusion(FusionIn),
    Rrf(RrfIn),
    Formula(FormulaIn),
    Sample,
    /// A kind that is not answered yet.
    Other(&'static str),
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(crate) struct MmrIn {
    pub(crate) diversity: Option<f32>,
    pub(crate) candidates_limit: Option<usize>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct RecommendIn {
    pub(crate) positive: Option<Vec<Input>>,
    pub(crate) negative: Option<Vec<Input>>,
    pub(crate) strategy: Option<StrategyIn>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StrategyIn {
    AverageVector,
    BestScore,
    SumScores,
}

impl From<StrategyIn> for RecommendStrategy {
    fn from(strategy: StrategyIn) -> Self {
        match strategy {
            StrategyIn::AverageVector => Self::AverageVector,
            StrategyIn::BestScore => Self::BestScore,
            StrategyIn::SumScores => Self::SumScores,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct DiscoverIn {
    pub(crate) target: Input,
    pub(crate) context: Option<OneOrMany<PairIn>>,
}

/// Something to be nearer to than to something else.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PairIn {
    pub(crate) positive: Input,
    pub(crate) negative: Input,
}

/// What was asked for, and what somebody says of answers.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct FeedbackIn {
    pub(crate) target: Input,
    pub(crate) feedback: Vec<SaidIn>,
    pub(crate) strategy: FeedbackStrategyIn,
}

/// An answer, and how good it is.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct SaidIn {
    pub(crate) example: Input,
    pub(crate) score: f32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FeedbackStrategyIn {
    Naive { a: f32, b: f32, c: f32 },
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FusionIn {
    Rrf,
    Dbsf,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct RrfIn {
    pub(crate) k: Option<u32>,
    pub(crate) weights: Option<Vec<f32>>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SampleIn {
    Random,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindReader)
    }
}

/// A vector, an id or an object.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is asked for")]
enum KindShape {
    Nearest(Input),
    Object(Box<KindMap>),
}

shaped!(Kind, "Query", KindShape);

struct KindReader;

impl<'de> Visitor<'de> for KindReader {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector, the id of a point, or an object such as {\"nearest\": [0.1, 0.2]}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Kind, E> {
        Ok(Kind::Nearest(Input::Id(number.into()), None))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Kind, E> {
        text.parse().map(|id: PointId| Kind::Nearest(Input::Id(id), None)).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Kind, A::Error> {
        Dense::deserialize(serde::de::value::SeqAccessDeserializer::new(sequence))
            .map(|vector| Kind::Nearest(Input::Vector(vector), None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Kind, A::Error> {
        KindMap::deserialize(MapAccessDeserializer::new(map))?.kind().map_err(A::Error::custom)
    }
}

/// The members of all kinds of questions.
#[derive(Debug, Deserialize, JsonSchema)]
struct KindMap {
    nearest: Option<Input>,
    mmr: Option<MmrIn>,
    recommend: Option<RecommendIn>,
    discover: Option<DiscoverIn>,
    context: Option<OneOrMany<PairIn>>,
    order_by: Option<OrderByIn>,
    fusion: Option<FusionIn>,
    rrf: Option<RrfIn>,
    formula: Option<ExpressionIn>,
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    defaults: Option<BTreeMap<String, Value>>,
    sample: Option<SampleIn>,
    relevance_feedback: Option<FeedbackIn>,
    #[schemars(skip)]
    indices: Option<IgnoredAny>,
    #[schemars(skip)]
    text: Option<IgnoredAny>,
    #[schemars(skip)]
    image: Option<IgnoredAny>,
    #[schemars(skip)]
    object: Option<IgnoredAny>,
}

impl KindMap {
    fn kind(self) -> Result<Kind, &'static str> {
        let others = [
            ("a sparse vector as query", &self.indices),
            ("a query of text", &self.text),
            ("a query of an image", &self.image),
            ("a query of an object", &self.object),
        ];
        if let Some((name, _)) = others.into_iter().find(|(_, value)| value.is_some()) {
            return Ok(Kind::Other(name));
        }
        let mmr = self.mmr;
        let kinds = [
            self.nearest.map(|input| Kind::Nearest(input, mmr)),
            self.recommend.map(Kind::Recommend),
            self.discover.map(Kind::Discover),
            self.context.map(|pairs| Kind::Context(pairs.0)),
            self.relevance_feedback.map(Kind::Feedback),
            self.order_by.map(Kind::OrderBy),
            self.fusion.map(Kind::Fusion),
            self.rrf.map(Kind::Rrf),
            self.formula.map(|expression| {
                Kind::Formula(FormulaIn { expression, defaults: self.defaults.unwrap_or_default() })
            }),
            self.sample.map(|SampleIn::Random| Kind::Sample),
        ];
        let mut kinds = kinds.into_iter().flatten();
        match (kinds.next(), kinds.next()) {
            (Some(kind), None) => Ok(kind),
            (None, _) => Err("an object that is no query; expected such as {\"nearest\": [0.1, 0.2]}"),
            (Some(_), Some(_)) => Err("an object that is two queries at once; expected one of them"),
        }
    }
}

/// The order of a field's values.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a path, or an object {key, direction, start_from}")]
pub(crate) enum OrderByIn {
    Key(String),
    Full {
        key: String,
        direction: Option<Direction>,
        #[schemars(with = "Option<serde_json::Value>")]
        start_from: Option<Value>,
    },
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    Asc,
    Desc,
}

impl OrderByIn {
    /// The order of the library.
    pub(crate) fn read(self) -> OrderBy {
        match self {
            Self::Key(key) => OrderBy::ascending(key),
            Self::Full { key, direction, start_from } => {
                let order = match direction {
                    Some(Direction::Desc) => OrderBy::descending(key),
                    _ => OrderBy::ascending(key),
                };
                match start_from {
                    Some(value) if !value.is_null() => order.start_from(value),
                    _ => order,
                }
            }
        }
    }
}
