//! How many points there are.

use axum::routing::MethodFilter;
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::call::{Answer, Call, read};
use crate::json::filter::FilterIn;
use crate::json::no_shards;
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    Routes::new().route(
        "/collections/{collection}/points/count",
        read(MethodFilter::POST, count).says("How many points there are, or match"),
    )
}

/// Whether it is exact is not asked: it always is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct CountIn {
    filter: Option<FilterIn>,
    #[schemars(with = "Option<serde_json::Value>")]
    shard_key: Option<IgnoredAny>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct CountOut {
    count: u64,
}

fn count(call: &Call, request: CountIn) -> Answer<CountOut> {
    no_shards(&request.shard_key)?;
    let filter = request.filter.map(FilterIn::read).transpose()?;
    Ok(CountOut { count: call.source()?.count(filter.as_ref())? }.into())
}
