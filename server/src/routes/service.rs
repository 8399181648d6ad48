//! What the server says of itself.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{MethodFilter, get};
use serde_json::{Value, json};

use crate::app::{App, Kind};
use crate::call::{Answer, Call, plain};
use crate::reply::as_json;

/// The version of the dialect that is spoken: clients compare it with their own.
const DIALECT: &str = "1.19.0";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Probes: they need no thread, and answer when nothing else does.
pub(super) fn health() -> Router<App> {
    Router::new()
        .route("/healthz", get(async || "healthz check passed"))
        .route("/livez", get(async || "healthz check passed"))
        .route("/readyz", get(async || "all shards are ready"))
}

pub(super) fn routes() -> Router<App> {
    let with = |handler| plain(Kind::Search, MethodFilter::GET, handler);
    Router::new()
        .route("/", get(async || as_json(StatusCode::OK, version().to_string().into())))
        .route("/telemetry", with(telemetry))
        .route("/cluster", with(|_| Ok(json!({ "status": "disabled" }).into())))
        .route(
            "/issues",
            with(issues).merge(plain(Kind::Search, MethodFilter::DELETE, |_| Ok(json!(true).into()))),
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
