//! Points by their ids.

use axum::routing::MethodFilter;
use nearline::PointId;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::app::Kind;
use crate::call::{Answer, Call, plain, read};
use crate::error::ApiError;
use crate::json::no_shards;
use crate::json::payload::{WithPayload, WithVector};
use crate::json::point::Record;
use crate::json::shape::Id;
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/collections/{collection}/points", read(MethodFilter::POST, get).says("Points by their ids"))
        .route(
            "/collections/{collection}/points/{id}",
            plain(Kind::Search, MethodFilter::GET, get_one).says("A point by its id"),
        )
}

#[derive(Debug, Deserialize, JsonSchema)]
struct GetIn {
    #[schemars(with = "Vec<Id>")]
    ids: Vec<PointId>,
    with_payload: Option<WithPayload>,
    #[serde(alias = "with_vectors")]
    with_vector: Option<WithVector>,
    #[schemars(with = "Option<serde_json::Value>")]
    shard_key: Option<IgnoredAny>,
}

fn get(call: &Call, request: GetIn) -> Answer<Vec<Record>> {
    no_shards(&request.shard_key)?;
    if request.ids.len() > call.app.config().points {
        let most = format!("must be {} or less", call.app.config().points);
        return Err(ApiError::invalid("ids", request.ids.len(), &most));
    }
    let (payload, vector) = (
        request.with_payload.unwrap_or(WithPayload::All(true)),
        request.with_vector.unwrap_or(WithVector::All(false)),
    );
    let collection = call.source()?;
    vector.check(collection.schema())?;
    let points = if vector.wants_any() {
        collection.get(request.ids)?
    } else {
        collection.get_payloads(request.ids)?
    };
    let records: Vec<Record> =
        points.into_iter().map(|point| Record::new(point, &payload, &vector)).collect();
    Ok(records.into())
}

fn get_one(call: &Call) -> Answer<Record> {
    let id: PointId = call.name("id").parse().map_err(ApiError::wrong_input)?;
    let point = call.source()?.get([id])?.pop();
    let point =
        point.ok_or_else(|| ApiError::not_found(format_args!("Point with id {id} does not exists!")))?;
    Ok(Record::new(point, &WithPayload::All(true), &WithVector::All(true)).into())
}
