//! What the dialect has and is not here yet: said so, in so many words.

use axum::Router;
use axum::routing::any;

use crate::app::App;
use crate::error::ApiError;

/// Paths behind that of a collection.
const PATHS: [&str; 8] = [
    "/shards",
    "/shards/delete",
    "/shards/{shard}/snapshot",
    "/shards/{shard}/snapshots",
    "/shards/{shard}/snapshots/recover",
    "/shards/{shard}/snapshots/upload",
    "/shards/{shard}/snapshots/{snapshot}",
    "/vectors/{vector}",
];

pub(super) fn routes() -> Router<App> {
    let mut routes = Router::new();
    for path in PATHS {
        let refuse = async move || ApiError::unsupported(path);
        routes = routes.route(&format!("/collections/{{collection}}{path}"), any(refuse));
    }
    routes
}
