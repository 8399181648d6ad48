//! Behaviour spaces: made, shown, dropped; epochs, what writes to them and what reads them are in the files below.

mod epochs;
mod infer;
mod read;
mod write;

use axum::routing::MethodFilter;
use nearline::BehaviorSpace;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::Kind;
use crate::call::{Answer, Call, plain, slow, write as writes};
use crate::error::ApiError;
use crate::json::behavior::{SpaceIn, space_out};
use crate::rights::{Access, of_space};
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    let one = plain(Kind::Search, MethodFilter::GET, show)
        .says("What a behaviour space is and has")
        .merge(writes(MethodFilter::PUT, create).needs(Access::Manage).says("Creates a behaviour space"))
        .merge(
            plain(Kind::Write, MethodFilter::DELETE, delete)
                .needs(Access::Manage)
                .says("Drops a behaviour space"),
        );
    Routes::new()
        .route(
            "/nearline/v1/behaviors",
            plain(Kind::Search, MethodFilter::GET, list).says("The names of all behaviour spaces"),
        )
        .route("/nearline/v1/behaviors/{space}", one)
        .route(
            of("planes"),
            plain(Kind::Search, MethodFilter::GET, planes).says("The random planes of a behaviour space"),
        )
        .route(
            of("sources"),
            plain(Kind::Search, MethodFilter::GET, sources).says("How far sources were read"),
        )
        .route(
            of("maintenance"),
            slow(MethodFilter::POST, maintain).says("Does now what a behaviour space does by itself"),
        )
        .route(
            of("snapshots"),
            plain(Kind::Search, MethodFilter::GET, snapshots)
                .says("The names of all snapshots of a behaviour space")
                .merge(slow(MethodFilter::POST, snapshot).says("Keeps a behaviour space as it is")),
        )
        .route(
            of("snapshots/{name}"),
            plain(Kind::Write, MethodFilter::DELETE, drop_snapshot)
                .says("Drops a snapshot of a behaviour space"),
        )
        .route(
            of("snapshots/{name}/restore"),
            slow(MethodFilter::POST, restore)
                .needs(Access::Manage)
                .says("Makes a behaviour space of a snapshot of another"),
        )
        .merge(epochs::routes())
        .merge(write::routes())
        .merge(read::routes())
        .merge(infer::routes())
}

/// A path below a space.
fn of(rest: &str) -> String {
    format!("/nearline/v1/behaviors/{{space}}/{rest}")
}

/// The space in the path.
fn space(call: &Call) -> Result<BehaviorSpace, ApiError> {
    call.app.space(call.name("space"))
}

/// How many values a vector of a space has.
fn dim(space: &BehaviorSpace) -> usize {
    space.shape().dim()
}

fn list(call: &Call) -> Answer<Value> {
    let mut names = call.app.database().behavior_spaces();
    names.retain(|name| call.app.rights().may_read(&of_space(name)));
    Ok(json!({ "spaces": names }).into())
}

fn create(call: &Call, request: SpaceIn) -> Answer<bool> {
    call.app.database().create_behavior_space(call.name("space"), request.options()?)?;
    Ok(true.into())
}

fn show(call: &Call) -> Answer<Value> {
    Ok(space_out(&space(call)?.stats()).into())
}

/// Says whether there was one.
fn delete(call: &Call) -> Answer<bool> {
    Ok(call.app.drop_space(call.name("space"))?.into())
}

fn planes(call: &Call) -> Answer<Value> {
    Ok(json!({ "projections": space(call)?.projections() }).into())
}

fn sources(call: &Call) -> Answer<Value> {
    let sources = space(call)?
        .sources()
        .into_iter()
        .map(|mark| json!({ "source": mark.source, "partition": mark.partition, "offset": mark.offset }));
    Ok(json!({ "sources": sources.collect::<Vec<_>>() }).into())
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// All changes go from memory into files.
    Flush,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct MaintainIn {
    action: Action,
}

fn maintain(call: &Call, request: MaintainIn) -> Answer<bool> {
    let space = space(call)?;
    match request.action {
        Action::Flush => space.flush()?,
    }
    Ok(true.into())
}

fn snapshots(call: &Call) -> Answer<Value> {
    Ok(json!({ "snapshots": space(call)?.snapshots()? }).into())
}

#[derive(Debug, Deserialize, JsonSchema)]
struct NameIn {
    name: String,
}

fn snapshot(call: &Call, request: NameIn) -> Answer<bool> {
    space(call)?.snapshot(&request.name)?;
    Ok(true.into())
}

fn drop_snapshot(call: &Call) -> Answer<bool> {
    space(call)?.drop_snapshot(call.name("name"))?;
    Ok(true.into())
}

fn restore(call: &Call, request: NameIn) -> Answer<bool> {
    let (of, snapshot) = (call.name("space"), call.name("name"));
    call.app.database().restore_behavior_snapshot(of, snapshot, &request.name)?;
    Ok(true.into())
}
