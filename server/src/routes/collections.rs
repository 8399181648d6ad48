//! Collections: made, shown, changed, dropped.

use axum::routing::MethodFilter;
use nearline::{OpenError, Payload};
use serde_json::{Value, json};

use crate::app::Kind;
use crate::call::{Answer, Call, plain, write};
use crate::error::ApiError;
use crate::json::collection::{CreateIn, Settings, UpdateIn, info};
use crate::rights::Access;
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    let get = |handler| plain(Kind::Search, MethodFilter::GET, handler);
    let one = get(show)
        .says("Describes a collection")
        .merge(write(MethodFilter::PUT, create).needs(Access::Manage).says("Creates a collection"))
        .merge(
            write(MethodFilter::PATCH, update).needs(Access::Manage).says("Changes settings of a collection"),
        )
        .merge(
            plain(Kind::Write, MethodFilter::DELETE, delete).needs(Access::Manage).says("Drops a collection"),
        );
    Routes::new()
        .route("/collections", get(list).says("The names of all collections"))
        .route("/collections/{collection}", one)
        .route("/collections/{collection}/exists", get(exists).says("Whether there is such a collection"))
        .route(
            "/collections/{collection}/cluster",
            get(cluster).says("Where a collection is: here, all of it"),
        )
        .route(
            "/collections/{collection}/optimizations",
            get(optimizations).says("What the background is doing"),
        )
}

fn list(call: &Call) -> Answer<Value> {
    let mut names = call.app.database().collections();
    names.retain(|name| call.app.rights().may_read(name));
    let collections: Vec<Value> = names.into_iter().map(|name| json!({ "name": name })).collect();
    Ok(json!({ "collections": collections }).into())
}

fn show(call: &Call) -> Answer<Value> {
    Ok(info(&call.collection()?)?.into())
}

fn create(call: &Call, request: CreateIn) -> Answer<bool> {
    let settings = request.kept()?.entry()?;
    let collection = call.app.database().create_collection(call.collection_name(), request.schema()?)?;
    call.app.keep_open(&collection);
    collection.update_metadata(|metadata| drop(metadata.insert(settings.0, settings.1)))?;
    Ok(true.into())
}

fn update(call: &Call, request: UpdateIn) -> Answer<bool> {
    let collection = call.collection()?;
    let schema = collection.schema();
    let mut made: Result<(), ApiError> = Ok(());
    collection.update_metadata(|metadata| made = changed(metadata, &request, schema))?;
    made.map(|()| true.into())
}

/// Takes the changes into the metadata, or leaves it as it is.
fn changed(metadata: &mut Payload, request: &UpdateIn, schema: &nearline::Schema) -> Result<(), ApiError> {
    let mut settings = Settings::read(metadata);
    request.apply(&mut settings, schema)?;
    let (key, value) = settings.entry()?;
    metadata.insert(key, value);
    Ok(())
}

/// Says whether there was one.
fn delete(call: &Call) -> Answer<bool> {
    let name = call.collection_name();
    match call.app.database().drop_collection(name) {
        Ok(()) => {
            call.app.forget(name);
            Ok(true.into())
        }
        Err(OpenError::Missing { .. }) => Ok(false.into()),
        Err(error) => Err(error.into()),
    }
}

fn exists(call: &Call) -> Answer<Value> {
    let (name, database) = (call.collection_name(), call.app.database());
    let exists =
        database.collections().iter().any(|known| known == name) || database.aliases().contains_key(name);
    Ok(json!({ "exists": exists }).into())
}

/// All of a collection is here.
fn cluster(call: &Call) -> Answer<Value> {
    let points = call.collection()?.stats().points;
    let shard = json!({ "shard_id": 0, "points_count": points, "state": "Active" });
    let cluster = json!({
        "peer_id": 0,
        "shard_count": 1,
        "local_shards": [shard],
        "remote_shards": [],
        "shard_transfers": [],
    });
    Ok(cluster.into())
}

fn optimizations(call: &Call) -> Answer<Value> {
    let collection = call.collection()?;
    let busy = !collection.is_idle();
    let summary = json!({
        "queued_optimizations": u64::from(busy),
        "queued_segments": 0,
        "queued_points": 0,
        "idle_segments": collection.stats().segments,
    });
    Ok(json!({ "summary": summary, "running": [] }).into())
}
