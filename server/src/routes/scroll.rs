//! Points one page after the other.

use axum::routing::MethodFilter;
use nearline::{PointId, Scroll};
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::call::{Answer, Call, read};
use crate::error::ApiError;
use crate::json::filter::FilterIn;
use crate::json::no_shards;
use crate::json::payload::{WithPayload, WithVector};
use crate::json::point::Record;
use crate::json::query::OrderByIn;
use crate::json::shape::Id;
use crate::source::Source;
use crate::table::Routes;

/// Points of a page unless told otherwise.
const LIMIT: usize = 10;

pub(super) fn routes() -> Routes {
    Routes::new().route(
        "/collections/{collection}/points/scroll",
        read(MethodFilter::POST, scroll).says("Points one page after the other"),
    )
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ScrollIn {
    #[schemars(with = "Option<Id>")]
    offset: Option<PointId>,
    limit: Option<usize>,
    filter: Option<FilterIn>,
    with_payload: Option<WithPayload>,
    #[serde(alias = "with_vectors")]
    with_vector: Option<WithVector>,
    order_by: Option<OrderByIn>,
    #[schemars(with = "Option<serde_json::Value>")]
    shard_key: Option<IgnoredAny>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ScrollOut {
    points: Vec<Record>,
    #[schemars(with = "Option<Id>")]
    next_page_offset: Option<PointId>,
}

fn scroll(call: &Call, request: ScrollIn) -> Answer<ScrollOut> {
    no_shards(&request.shard_key)?;
    let wanted = Wanted {
        limit: request.limit.unwrap_or(LIMIT),
        payload: request.with_payload.unwrap_or(WithPayload::All(true)),
        vector: request.with_vector.unwrap_or(WithVector::All(false)),
    };
    if wanted.limit == 0 || wanted.limit > call.app.config().points {
        let expected = format!("must be from 1 to {}", call.app.config().points);
        return Err(ApiError::invalid("limit", wanted.limit, &expected));
    }
    let collection = call.source()?;
    wanted.vector.check(collection.schema())?;
    let filter = request.filter.map(FilterIn::read).transpose()?;
    let mut scroll = Scroll::new().limit(wanted.limit).with_vectors(wanted.vector.wants_any());
    if let Some(filter) = filter {
        scroll = scroll.filter(filter);
    }
    if let Some(order) = request.order_by {
        scroll = scroll.order_by(order.read());
    }
    if let Some(offset) = request.offset {
        scroll = scroll.from(offset);
    }
    let (points, next_page_offset) = records(&collection, &scroll, &wanted)?;
    Ok(ScrollOut { points, next_page_offset }.into())
}

/// How many points are wanted, and what of them.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) limit: usize,
    pub(super) payload: WithPayload,
    pub(super) vector: WithVector,
}

/// A page as it is handed out, and where the next one begins.
pub(super) fn records(
    collection: &Source,
    scroll: &Scroll,
    wanted: &Wanted,
) -> Result<(Vec<Record>, Option<PointId>), ApiError> {
    let page = collection.scroll(scroll)?;
    let next = page.next;
    let (points, mut values) = (page.points, page.order_values.into_iter());
    let record = |point| {
        let record = Record::new(point, &wanted.payload, &wanted.vector);
        match values.next() {
            Some(value) => record.ordered_by(value),
            None => record,
        }
    };
    Ok((points.into_iter().map(record).collect(), next))
}
