//! What the server says of itself.

use axum::http::StatusCode;
use axum::routing::{MethodFilter, MethodRouter, get};
use serde_json::{Value, json};

use crate::app::{App, Kind};
use crate::call::{Answer, Call, plain};
use crate::reply::as_json;
use crate::rights::Access;
use crate::table::{Body, Endpoint, Routes};

/// The version of the dialect that is spoken: clients compare it with their own.
const DIALECT: &str = "1.19.0";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Probes: they need no thread, and answer when nothing else does.
pub(super) fn health() -> Routes {
    Routes::new()
        .route("/healthz", open(get(async || "healthz check passed")).says("Whether the server runs"))
        .route("/livez", open(get(async || "healthz check passed")).says("Whether the server runs"))
        .route("/readyz", open(get(async || "all shards are ready")).says("Whether the server answers"))
}

/// Something that everybody may see.
fn open(router: MethodRouter<App>) -> Endpoint {
    Endpoint::new(MethodFilter::GET, Access::Open, Body::None, router)
}

pub(super) fn routes() -> Routes {
    let with = |handler| plain(Kind::Search, MethodFilter::GET, handler);
    Routes::new()
        .route(
            "/",
            open(get(async || as_json(StatusCode::OK, version().to_string().into()))).says("Versions"),
        )
        .route("/telemetry", with(telemetry).says("A few figures"))
        .route(
            "/cluster",
            with(|_| Ok(json!({ "status": "disabled" }).into())).says("That there is no cluster"),
        )
        .route(
            "/issues",
            with(issues).says("Issues, of which there are none").merge(
                plain(Kind::Search, MethodFilter::DELETE, |_| Ok(json!(true).into()))
                    .needs(Access::Manage)
                    .says("Forgets all issues"),
            ),
        )
}

/// The one answer without an envelope.
fn version() -> Value {
    json!({ "title": "nearline - vector search in a folder", "version": DIALECT, "nearline_version": VERSION })
}

fn telemetry(call: &Call) -> Answer<Value> {
    let names = call.app.database().collections();
    let telemetry = json!({
        "id": "nearline",
        "app": { "name": "nearline", "version": DIALECT, "nearline_version": VERSION },
        "uptime_seconds": call.app.uptime().as_secs(),
        "collections": { "number_of_collections": names.len() },
        "cluster": { "enabled": false },
    });
    Ok(telemetry.into())
}

fn issues(_: &Call) -> Answer<Value> {
    Ok(json!({ "issues": [] }).into())
}
