//! Parts of points changed: payloads and vectors, one call at a time or several.

use std::collections::BTreeSet;

use axum::routing::MethodFilter;
use nearline::{Collection, PointId, Selector, WriteReport};
use schemars::JsonSchema;
use serde::Deserialize;

use super::upsert::{Updated, updated, upsert_in};
use crate::call::{Answer, Call, write};
use crate::error::ApiError;
use crate::json::point::{
    DeletePayloadIn, DeleteVectorsIn, SelectorIn, SetPayloadIn, UpdateVectors, UpdateVectorsIn, UpsertIn,
};
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    let payload = write(MethodFilter::POST, set_payload)
        .says("Merges payloads")
        .merge(write(MethodFilter::PUT, overwrite_payload).says("Replaces payloads"));
    Routes::new()
        .route("/collections/{collection}/points/payload", payload)
        .route(
            "/collections/{collection}/points/payload/delete",
            write(MethodFilter::POST, delete_payload).says("Removes parts of payloads"),
        )
        .route(
            "/collections/{collection}/points/payload/clear",
            write(MethodFilter::POST, clear_payload).says("Removes payloads"),
        )
        .route(
            "/collections/{collection}/points/vectors",
            write(MethodFilter::PUT, update_vectors).says("Replaces some vectors of points"),
        )
        .route(
            "/collections/{collection}/points/vectors/delete",
            write(MethodFilter::POST, delete_vectors).says("Removes some vectors of points"),
        )
        .route(
            "/collections/{collection}/points/batch",
            write(MethodFilter::POST, batch).says("Several writes, one after the other"),
        )
}

/// One of several writes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Operation {
    Upsert(UpsertIn),
    Delete(SelectorIn),
    SetPayload(SetPayloadIn),
    OverwritePayload(SetPayloadIn),
    DeletePayload(DeletePayloadIn),
    ClearPayload(SelectorIn),
    UpdateVectors(UpdateVectorsIn),
    DeleteVectors(DeleteVectorsIn),
}

#[derive(Debug, Deserialize, JsonSchema)]
struct BatchIn {
    operations: Vec<Operation>,
}

fn set_payload(call: &Call, request: SetPayloadIn) -> Answer<Updated> {
    one(call, Operation::SetPayload(request))
}

fn overwrite_payload(call: &Call, request: SetPayloadIn) -> Answer<Updated> {
    one(call, Operation::OverwritePayload(request))
}

fn delete_payload(call: &Call, request: DeletePayloadIn) -> Answer<Updated> {
    one(call, Operation::DeletePayload(request))
}

fn clear_payload(call: &Call, request: SelectorIn) -> Answer<Updated> {
    one(call, Operation::ClearPayload(request))
}

fn update_vectors(call: &Call, request: UpdateVectorsIn) -> Answer<Updated> {
    one(call, Operation::UpdateVectors(request))
}

fn delete_vectors(call: &Call, request: DeleteVectorsIn) -> Answer<Updated> {
    one(call, Operation::DeleteVectors(request))
}

fn one(call: &Call, operation: Operation) -> Answer<Updated> {
    Ok(updated(call, operation.make(call, &call.collection()?)?.lsn).into())
}

/// One after the other. What was done before one that cannot be done stays.
fn batch(call: &Call, request: BatchIn) -> Answer<Vec<Updated>> {
    let collection = call.collection()?;
    let mut all = Vec::with_capacity(request.operations.len());
    for operation in request.operations {
        all.push(updated(call, operation.make(call, &collection)?.lsn));
    }
    Ok(all.into())
}

impl Operation {
    fn make(self, call: &Call, on: &Collection) -> Result<WriteReport, ApiError> {
        match self {
            Self::Upsert(request) => upsert_in(call, on, request),
            Self::Delete(selector) => Ok(on.delete(selector.read()?)?),
            Self::SetPayload(SetPayloadIn { payload, key, selector }) => {
                edit(on, selector, |points| match key {
                    Some(path) => on.set_payload_at(points, &path, payload),
                    None => on.set_payload(points, payload),
                })
            }
            Self::OverwritePayload(SetPayloadIn { payload, selector, .. }) => {
                edit(on, selector, |points| on.overwrite_payload(points, payload))
            }
            Self::DeletePayload(DeletePayloadIn { keys, selector }) => {
                edit(on, selector, |points| on.delete_payload_at(points, keys))
            }
            Self::ClearPayload(selector) => edit(on, selector, |points| on.clear_payload(points)),
            Self::UpdateVectors(request) => {
                let UpdateVectors { points, filter } = request.read(on.schema())?;
                let ids = points.iter().map(|(id, _)| *id).collect();
                let each = points.into_iter().map(|(id, vectors)| {
                    (id, vectors.into_iter().map(|(name, vector)| (name, Some(vector))))
                });
                let report = on.update_vectors_if(each, filter.as_ref())?;
                // Those that do not match are left alone, whether they are there or not.
                if filter.is_some() { Ok(report) } else { all_there(on, ids, report) }
            }
            Self::DeleteVectors(DeleteVectorsIn { vector, selector }) => {
                let removed = vector.into_iter().map(|name| (name, None));
                edit(on, selector, |points| on.update_vectors(points, removed))
            }
        }
    }
}

/// Changes points, and says so if one of them is not there.
fn edit(
    on: &Collection,
    selector: SelectorIn,
    change: impl FnOnce(Selector) -> Result<WriteReport, nearline::WriteError>,
) -> Result<WriteReport, ApiError> {
    let selector = selector.read()?;
    let ids: BTreeSet<PointId> = match &selector {
        Selector::Ids(ids) => ids.iter().copied().collect(),
        _ => BTreeSet::new(),
    };
    all_there(on, ids, change(selector)?)
}

/// What was done stays done; of points that were asked for and are not there, the client is told.
fn all_there(on: &Collection, ids: BTreeSet<PointId>, report: WriteReport) -> Result<WriteReport, ApiError> {
    if report.points >= ids.len() as u64 {
        return Ok(report);
    }
    let there: BTreeSet<PointId> =
        on.get_payloads(ids.iter().copied())?.into_iter().map(|point| point.id).collect();
    match ids.difference(&there).next() {
        Some(missing) => Err(ApiError::no_point(*missing)),
        // Written by somebody else meanwhile.
        None => Ok(report),
    }
}
