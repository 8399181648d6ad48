//! What the server says of itself.

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get};
use serde_json::{Value, json};

use crate::app::{App, Kind};
use crate::call::{Answer, Call, plain};
use crate::error::ApiError;
use crate::metrics::CONTENT_TYPE;
use crate::openapi::PAGE;
use crate::reply::as_json;
use crate::rights::{Access, Rights};
use crate::table::{Body, Endpoint, Routes};

/// The version of the dialect that is spoken: clients compare it with their own.
const DIALECT: &str = "1.19.0";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Probes: they need no thread, and answer when nothing else does.
pub(super) fn health() -> Routes {
    let metrics = Endpoint::new(MethodFilter::GET, Access::Read, Body::None, get(metrics))
        .says("Figures for Prometheus, in the form of OpenMetrics");
    Routes::new()
        .route("/healthz", open(get(async || "healthz check passed")).says("Whether the server runs"))
        .route("/livez", open(get(async || "healthz check passed")).says("Whether the server runs"))
        .route("/openapi.json", open(get(document)).says("This document"))
        .route("/docs", open(get(async || Html(PAGE))).says("A page that shows it"))
        .route("/metrics", metrics)
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

async fn document(State(app): State<App>) -> Response {
    as_json(StatusCode::OK, app.document().into())
}

/// Told by a thread that may wait for locks of collections.
async fn metrics(State(app): State<App>, Extension(rights): Extension<Rights>) -> Result<Response, ApiError> {
    // Names of all collections are in it.
    if let Rights::Some(_) = rights {
        return Err(ApiError::forbidden("Global access is required"));
    }
    let told = tokio::task::spawn_blocking(move || app.metrics().told(&app)).await;
    let text = told.map_err(ApiError::internal)?.map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
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
