//! Questions, as they are asked.

mod kind;
mod older;

use nearline::Query;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::filter::FilterIn;
use super::one_or_many::OneOrMany;
use super::payload::{WithPayload, WithVector};
use crate::error::ApiError;

pub(crate) use kind::{
    FeedbackIn, FeedbackStrategyIn, FusionIn, Kind, MmrIn, OrderByIn, PairIn, RecommendIn, RrfIn, SaidIn,
};
pub(crate) use older::{OlderDiscover, OlderRecommend, OlderSearch};

/// A question of any kind.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct QueryIn {
    pub(crate) query: Option<Kind>,
    pub(crate) prefetch: Option<OneOrMany<PrefetchIn>>,
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
    #[schemars(with = "Option<serde_json::Value>")]
    pub(crate) shard_key: Option<IgnoredAny>,
}

/// A question whose points are ranked by another one.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PrefetchIn {
    query: Option<Kind>,
    prefetch: Option<OneOrMany<PrefetchIn>>,
    using: Option<String>,
    filter: Option<FilterIn>,
    params: Option<ParamsIn>,
    score_threshold: Option<f32>,
    limit: Option<usize>,
    lookup_from: Option<LookupIn>,
}

impl From<PrefetchIn> for QueryIn {
    fn from(inner: PrefetchIn) -> Self {
        let PrefetchIn { query, prefetch, using, filter, params, score_threshold, limit, lookup_from } =
            inner;
        Self {
            query,
            prefetch,
            using,
            filter,
            params,
            score_threshold,
            limit,
            lookup_from,
            ..Self::default()
        }
    }
}

/// Several questions.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Batch<Q> {
    pub(crate) searches: Vec<Q>,
}

/// A question whose points are put into groups. Its limit is that of groups.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GroupsIn<Q> {
    pub(crate) group_by: String,
    pub(crate) group_size: Option<usize>,
    pub(crate) with_lookup: Option<WithLookupIn>,
    #[serde(flatten)]
    pub(crate) query: Q,
}

/// Where points are whose ids are the values of groups.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected the name of a collection, or {collection, with_payload, with_vectors}"
)]
pub(crate) enum WithLookupIn {
    Name(String),
    Full { collection: String, with_payload: Option<WithPayload>, with_vectors: Option<WithVector> },
}

/// Where the vectors of ids in a question are looked up.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct LookupIn {
    pub(crate) collection: String,
    pub(crate) vector: Option<String>,
    #[schemars(with = "Option<serde_json::Value>")]
    pub(crate) shard_key: Option<IgnoredAny>,
}

/// How a question is to be answered. Knobs of graphs say nothing here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ParamsIn {
    exact: bool,
    target_recall: Option<f32>,
    nprobe: Option<usize>,
    max_bytes_read: Option<u64>,
    max_ms: Option<f64>,
    hnsw_ef: Option<usize>,
}

/// Milliseconds that a question may be given at most: a day.
const MS_MOST: f64 = 86_400_000.0;

impl ParamsIn {
    /// The question, to be answered so.
    pub(crate) fn apply(&self, mut query: Query) -> Result<Query, ApiError> {
        for (name, value) in [("params.hnsw_ef", self.hnsw_ef), ("params.nprobe", self.nprobe)] {
            if value == Some(0) {
                return Err(ApiError::invalid(name, 0, "must be 1 or larger"));
            }
        }
        if let Some(recall) = if self.exact { Some(1.0) } else { self.target_recall } {
            query = query.target_recall(recall);
        }
        // An exact answer looks at everything.
        if let Some(lists) = self.nprobe.filter(|_| !self.exact) {
            query = query.nprobe(lists);
        }
        if let Some(bytes) = self.max_bytes_read {
            query = query.max_bytes_read(bytes);
        }
        if let Some(ms) = self.max_ms {
            if !(0.0..=MS_MOST).contains(&ms) {
                return Err(ApiError::invalid("params.max_ms", ms, &format!("must be from 0 to {MS_MOST}")));
            }
            query = query.max_us((ms * 1000.0) as u64);
        }
        Ok(query)
    }
}
