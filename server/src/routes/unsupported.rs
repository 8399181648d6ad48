//! What the dialect has and is not here yet: said so, in so many words.

use axum::routing::any;

use crate::error::ApiError;
use crate::table::{Endpoint, Routes};

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

pub(super) fn routes() -> Routes {
    let mut routes = Routes::new();
    for path in PATHS {
        let refuse = async move || ApiError::unsupported(path);
        routes = routes.route(format!("/collections/{{collection}}{path}"), Endpoint::refusing(any(refuse)));
    }
    routes
}
