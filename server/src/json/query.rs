//! Questions, as they are asked.

use std::fmt;

use nearline::{OrderBy, PointId, Value};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::filter::FilterIn;
use super::one_or_many::OneOrMany;
use super::payload::{WithPayload, WithVector};
use super::vector::{Dense, Input};
use crate::error::ApiError;

/// A question of any kind.
#[derive(Debug, Deserialize)]
pub(crate) struct QueryIn {
    pub(crate) query: Option<Kind>,
    pub(crate) prefetch: Option<OneOrMany<IgnoredAny>>,
    pub(crate) using: Option<String>,
    pub(crate) filter: Option<FilterIn>,
    pub(crate) params: Option<ParamsIn>,
    pub(crate) score_threshold: Option<f32>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: Option<usize>,
    pub(crate) with_payload: Option<WithPayload>,
    #[serde(alias = "with_vectors")]
    pub(crate) with_vector: Option<WithVector>,
    pub(crate) lookup_from: Option<LookupIn>,
    pub(crate) shard_key: Option<IgnoredAny>,
}

/// Several questions.
#[derive(Debug, Deserialize)]
pub(crate) struct Batch<Q> {
    pub(crate) searches: Vec<Q>,
}

/// Where the vectors of ids in a question are looked up.
#[derive(Debug, Deserialize)]
pub(crate) struct LookupIn {
    pub(crate) collection: String,
    pub(crate) vector: Option<String>,
    pub(crate) shard_key: Option<IgnoredAny>,
}

/// How a question is to be answered. Knobs of graphs say nothing here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ParamsIn {
    pub(crate) exact: bool,
    pub(crate) target_recall: Option<f32>,
    nprobe: Option<IgnoredAny>,
    max_bytes_read: Option<IgnoredAny>,
    max_ms: Option<IgnoredAny>,
    hnsw_ef: Option<usize>,
}

impl ParamsIn {
    /// Refuses what would be meant in vain.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let unknown = [
            ("params.nprobe", &self.nprobe),
            ("params.max_bytes_read", &self.max_bytes_read),
            ("params.max_ms", &self.max_ms),
        ];
        if let Some((name, _)) = unknown.into_iter().find(|(_, value)| value.is_some()) {
            return Err(ApiError::unsupported(name));
        }
        match self.hnsw_ef {
            Some(0) => Err(ApiError::invalid("params.hnsw_ef", 0, "must be 1 or larger")),
            _ => Ok(()),
        }
    }
}

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Kind {
    /// The nearest to a vector, or to that of a point.
    Nearest(Input),
    /// The first in the order of a field.
    OrderBy(OrderByIn),
    /// A kind that is not answered yet.
    Other(&'static str),
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindReader)
    }
}

struct KindReader;

impl<'de> Visitor<'de> for KindReader {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector, the id of a point, or an object such as {\"nearest\": [0.1, 0.2]}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Kind, E> {
        Ok(Kind::Nearest(Input::Id(number.into())))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Kind, E> {
        text.parse().map(|id: PointId| Kind::Nearest(Input::Id(id))).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Kind, A::Error> {
        Dense::deserialize(serde::de::value::SeqAccessDeserializer::new(sequence))
            .map(|vector| Kind::Nearest(Input::Vector(vector)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Kind, A::Error> {
        KindMap::deserialize(MapAccessDeserializer::new(map))?.kind().map_err(A::Error::custom)
    }
}

/// The members of all kinds of questions.
#[derive(Debug, Deserialize)]
struct KindMap {
    nearest: Option<Input>,
    order_by: Option<OrderByIn>,
    mmr: Option<IgnoredAny>,
    recommend: Option<IgnoredAny>,
    discover: Option<IgnoredAny>,
    context: Option<IgnoredAny>,
    fusion: Option<IgnoredAny>,
    rrf: Option<IgnoredAny>,
    formula: Option<IgnoredAny>,
    sample: Option<IgnoredAny>,
    relevance_feedback: Option<IgnoredAny>,
    indices: Option<IgnoredAny>,
    text: Option<IgnoredAny>,
    image: Option<IgnoredAny>,
    object: Option<IgnoredAny>,
}

impl KindMap {
    fn kind(self) -> Result<Kind, &'static str> {
        let others = [
            ("a query with `mmr`", &self.mmr),
            ("a query `recommend`", &self.recommend),
            ("a query `discover`", &self.discover),
            ("a query `context`", &self.context),
            ("a query `fusion`", &self.fusion),
            ("a query `rrf`", &self.rrf),
            ("a query `formula`", &self.formula),
            ("a query `sample`", &self.sample),
            ("a query `relevance_feedback`", &self.relevance_feedback),
            ("a sparse vector as query", &self.indices),
            ("a query of text", &self.text),
            ("a query of an image", &self.image),
            ("a query of an object", &self.object),
        ];
        if let Some((name, _)) = others.into_iter().find(|(_, value)| value.is_some()) {
            return Ok(Kind::Other(name));
        }
        match (self.nearest, self.order_by) {
            (Some(input), None) => Ok(Kind::Nearest(input)),
            (None, Some(order)) => Ok(Kind::OrderBy(order)),
            _ => Err("an object that is no query; expected such as {\"nearest\": [0.1, 0.2]}"),
        }
    }
}

/// The order of a field's values.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a path, or an object {key, direction, start_from}")]
pub(crate) enum OrderByIn {
    Key(String),
    Full { key: String, direction: Option<Direction>, start_from: Option<Value> },
}

#[derive(Clone, Copy, Debug, Deserialize)]
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

/// A question of the older form: a vector, perhaps with its name.
#[derive(Debug, Deserialize)]
pub(crate) struct SearchIn {
    vector: NamedIn,
    filter: Option<FilterIn>,
    params: Option<ParamsIn>,
    score_threshold: Option<f32>,
    limit: usize,
    offset: Option<usize>,
    with_payload: Option<WithPayload>,
    #[serde(alias = "with_vectors")]
    with_vector: Option<WithVector>,
    shard_key: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a list of numbers, or {name, vector}")]
enum NamedIn {
    Plain(Dense),
    Named { name: String, vector: Dense },
}

impl From<SearchIn> for QueryIn {
    fn from(search: SearchIn) -> Self {
        let (vector, using) = match search.vector {
            NamedIn::Plain(vector) => (vector, None),
            NamedIn::Named { name, vector } => (vector, Some(name)),
        };
        Self {
            query: Some(Kind::Nearest(Input::Vector(vector))),
            prefetch: None,
            using,
            filter: search.filter,
            params: search.params,
            score_threshold: search.score_threshold,
            limit: Some(search.limit),
            offset: search.offset,
            with_payload: search.with_payload,
            with_vector: search.with_vector,
            lookup_from: None,
            shard_key: search.shard_key,
        }
    }
}
