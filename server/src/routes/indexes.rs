//! Field indexes: created and dropped.

use axum::routing::MethodFilter;
use nearline::WriteError;

use super::upsert::{Updated, updated};
use crate::app::Kind;
use crate::call::{Answer, Call, plain, write};
use crate::json::index::CreateIndexIn;
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            "/collections/{collection}/index",
            write(MethodFilter::PUT, create).says("Creates a field index"),
        )
        .route(
            "/collections/{collection}/index/{field}",
            plain(Kind::Write, MethodFilter::DELETE, delete).says("Drops a field index"),
        )
}

/// Creates an index, in place of one of another type. Its files follow; queries ask payloads until they are there.
fn create(call: &Call, request: CreateIndexIn) -> Answer<Updated> {
    let (collection, field_type) = (call.collection()?, request.field_type()?);
    let path = &request.field_name;
    match collection.create_field_index(path, field_type) {
        Err(WriteError::FieldType { .. }) => {
            collection.drop_field_index(path)?;
            collection.create_field_index(path, field_type)?;
        }
        created => created?,
    }
    Ok(updated(call, collection.stats().lsn).into())
}

fn delete(call: &Call) -> Answer<Updated> {
    let collection = call.collection()?;
    collection.drop_field_index(call.name("field"))?;
    Ok(updated(call, collection.stats().lsn).into())
}
