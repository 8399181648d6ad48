//! How many points have each value of a field.

use axum::routing::MethodFilter;
use nearline::{Facet, Value};
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::call::{Answer, Call, read};
use crate::error::ApiError;
use crate::json::filter::FilterIn;
use crate::json::no_shards;
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    let facet = read(MethodFilter::POST, facet).says("Counts the most frequent values of a field");
    Routes::new().route("/collections/{collection}/facet", facet)
}

/// Whether counts are exact is not asked: they always are.
#[derive(Debug, Deserialize, JsonSchema)]
struct FacetIn {
    key: String,
    limit: Option<usize>,
    filter: Option<FilterIn>,
    #[schemars(with = "Option<serde_json::Value>")]
    shard_key: Option<IgnoredAny>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FacetOut {
    hits: Vec<HitOut>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct HitOut {
    #[schemars(with = "serde_json::Value")]
    value: Value,
    count: u64,
}

fn facet(call: &Call, request: FacetIn) -> Answer<FacetOut> {
    no_shards(&request.shard_key)?;
    let mut facet = Facet::of(request.key);
    if let Some(limit) = request.limit {
        if limit == 0 {
            return Err(ApiError::invalid("limit", 0, "must be 1 or larger"));
        }
        facet = facet.limit(limit);
    }
    if let Some(filter) = request.filter.map(FilterIn::read).transpose()? {
        facet = facet.filter(filter);
    }
    let hits = call.source()?.facet(&facet)?;
    let hits = hits.into_iter().map(|hit| HitOut { value: hit.value, count: hit.count }).collect();
    Ok(FacetOut { hits }.into())
}
