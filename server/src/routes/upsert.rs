//! Points written as a whole, and deleted.

use axum::routing::MethodFilter;
use nearline::{Collection, WriteReport};
use schemars::JsonSchema;
use serde::Serialize;

use crate::call::{Answer, Call, write};
use crate::error::ApiError;
use crate::json::point::{SelectorIn, Upsert, UpsertIn};
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/collections/{collection}/points", write(MethodFilter::PUT, upsert).says("Writes points"))
        .route(
            "/collections/{collection}/points/delete",
            write(MethodFilter::POST, delete).says("Deletes points"),
        )
}

/// What a write says when it is done.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Updated {
    operation_id: u64,
    status: &'static str,
}

/// What a write of this number says to who asked for it.
pub(super) fn updated(call: &Call, lsn: u64) -> Updated {
    Updated { operation_id: lsn, status: if call.waits() { "completed" } else { "acknowledged" } }
}

fn upsert(call: &Call, request: UpsertIn) -> Answer<Updated> {
    Ok(updated(call, upsert_in(call, &call.collection()?, request)?.lsn).into())
}

pub(super) fn upsert_in(
    call: &Call,
    collection: &Collection,
    request: UpsertIn,
) -> Result<WriteReport, ApiError> {
    let Upsert { points, mode, filter } = request.read(collection.schema())?;
    Ok(collection.upsert_if(points, mode, filter.as_ref(), call.durability())?)
}

fn delete(call: &Call, request: SelectorIn) -> Answer<Updated> {
    Ok(updated(call, call.collection()?.delete(request.read()?)?.lsn).into())
}
