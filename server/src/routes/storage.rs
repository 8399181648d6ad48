//! Snapshots of all there is: kept, listed, dropped, downloaded. A token of some collections has no part in them.

use axum::response::Response;
use axum::routing::{MethodFilter, on};

use super::snapshots::{Described, all_described, make_named, sent};
use crate::app::{App, Kind};
use crate::call::{Answer, Call, Incoming, on_pool, plain};
use crate::error::ApiError;
use crate::rights::{Access, Rights};
use crate::table::{Body, Endpoint, Routes};

pub(super) fn routes() -> Routes {
    let all = plain(Kind::Search, MethodFilter::GET, list).says("The snapshots of all there is").merge(
        plain(Kind::Slow, MethodFilter::POST, create)
            .needs(Access::Manage)
            .says("Makes a snapshot of all there is"),
    );
    let one = plain(Kind::Slow, MethodFilter::DELETE, delete)
        .needs(Access::Manage)
        .says("Drops a snapshot of all there is")
        .merge(
            Endpoint::new(MethodFilter::GET, Access::Read, Body::None, on(MethodFilter::GET, download))
                .says("A snapshot of all there is as a tar archive: unpacked, it is a database"),
        );
    Routes::new().route("/snapshots", all).route("/snapshots/{snapshot}", one)
}

fn may_read_all(app: &App) -> Result<(), ApiError> {
    match app.rights() {
        Rights::Some(_) => Err(ApiError::forbidden("Global access is required")),
        _ => Ok(()),
    }
}

fn list(call: &Call) -> Answer<Vec<Described>> {
    may_read_all(&call.app)?;
    let database = call.app.database();
    Ok(all_described(database.storage_snapshots()?, |name| database.storage_snapshot_info(name))?.into())
}

fn create(call: &Call) -> Answer<Described> {
    let database = call.app.database();
    let name = make_named("full-snapshot", |name| database.snapshot_storage(name))?;
    Ok(Described::new(database.storage_snapshot_info(&name)?).into())
}

fn delete(call: &Call) -> Answer<bool> {
    call.app.database().drop_storage_snapshot(call.name("snapshot"))?;
    Ok(true.into())
}

async fn download(incoming: Incoming) -> Result<Response, ApiError> {
    let app = incoming.app();
    let slot = app.download()?;
    let (name, files) = on_pool(Kind::Search, incoming, |call, _| {
        may_read_all(&call.app)?;
        let name = call.name("snapshot").to_owned();
        let files = call.app.database().storage_snapshot_files(&name)?;
        Ok((name, files))
    })
    .await?;
    sent(&name, files, slot)
}
