//! Questions of the older forms, each with a route of its own.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::filter::FilterIn;
use super::super::one_or_many::OneOrMany;
use super::super::payload::{WithPayload, WithVector};
use super::super::vector::{Dense, Input};
use super::kind::{DiscoverIn, Kind, PairIn, RecommendIn, StrategyIn};
use super::{LookupIn, ParamsIn, QueryIn};

/// For the nearest to a vector, perhaps with its name.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct OlderSearch {
    vector: NamedIn,
    filter: Option<FilterIn>,
    params: Option<ParamsIn>,
    score_threshold: Option<f32>,
    limit: usize,
    offset: Option<usize>,
    with_payload: Option<WithPayload>,
    #[serde(alias = "with_vectors")]
    with_vector: Option<WithVector>,
    #[schemars(with = "Option<serde_json::Value>")]
    shard_key: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a list of numbers, or {name, vector}")]
enum NamedIn {
    Plain(Dense),
    Named { name: String, vector: Dense },
}

/// The name of vectors.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected the name of vectors")]
enum UsingIn {
    Plain(String),
    Named { name: String },
}

impl UsingIn {
    fn name(self) -> String {
        match self {
            Self::Plain(name) | Self::Named { name } => name,
        }
    }
}

impl From<OlderSearch> for QueryIn {
    fn from(search: OlderSearch) -> Self {
        let (vector, using) = match search.vector {
            NamedIn::Plain(vector) => (vector, None),
            NamedIn::Named { name, vector } => (vector, Some(name)),
        };
        Self {
            query: Some(Kind::Nearest(Input::Vector(vector), None)),
            using,
            filter: search.filter,
            params: search.params,
            score_threshold: search.score_threshold,
            limit: Some(search.limit),
            offset: search.offset,
            with_payload: search.with_payload,
            with_vector: search.with_vector,
            shard_key: search.shard_key,
            ..Self::default()
        }
    }
}

/// For points like some and unlike others.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct OlderRecommend {
    positive: Option<Vec<Input>>,
    negative: Option<Vec<Input>>,
    strategy: Option<StrategyIn>,
    filter: Option<FilterIn>,
    params: Option<ParamsIn>,
    score_threshold: Option<f32>,
    limit: usize,
    offset: Option<usize>,
    with_payload: Option<WithPayload>,
    #[serde(alias = "with_vectors")]
    with_vector: Option<WithVector>,
    using: Option<UsingIn>,
    lookup_from: Option<LookupIn>,
    #[schemars(with = "Option<serde_json::Value>")]
    shard_key: Option<IgnoredAny>,
}

impl From<OlderRecommend> for QueryIn {
    fn from(older: OlderRecommend) -> Self {
        let OlderRecommend { positive, negative, strategy, .. } = older;
        Self {
            query: Some(Kind::Recommend(RecommendIn { positive, negative, strategy })),
            using: older.using.map(UsingIn::name),
            filter: older.filter,
            params: older.params,
            score_threshold: older.score_threshold,
            limit: Some(older.limit),
            offset: older.offset,
            with_payload: older.with_payload,
            with_vector: older.with_vector,
            lookup_from: older.lookup_from,
            shard_key: older.shard_key,
            prefetch: None,
        }
    }
}

/// For points near to a target, in a context; or for those in a context.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct OlderDiscover {
    target: Option<Input>,
    context: Option<Vec<PairIn>>,
    filter: Option<FilterIn>,
    params: Option<ParamsIn>,
    limit: usize,
    offset: Option<usize>,
    with_payload: Option<WithPayload>,
    #[serde(alias = "with_vectors")]
    with_vector: Option<WithVector>,
    using: Option<UsingIn>,
    lookup_from: Option<LookupIn>,
    #[schemars(with = "Option<serde_json::Value>")]
    shard_key: Option<IgnoredAny>,
}

impl From<OlderDiscover> for QueryIn {
    fn from(older: OlderDiscover) -> Self {
        let context = older.context.unwrap_or_default();
        let kind = match older.target {
            Some(target) => Kind::Discover(DiscoverIn { target, context: Some(OneOrMany(context)) }),
            None => Kind::Context(context),
        };
        Self {
            query: Some(kind),
            using: older.using.map(UsingIn::name),
            filter: older.filter,
            params: older.params,
            limit: Some(older.limit),
            offset: older.offset,
            with_payload: older.with_payload,
            with_vector: older.with_vector,
            lookup_from: older.lookup_from,
            shard_key: older.shard_key,
            ..Self::default()
        }
    }
}
