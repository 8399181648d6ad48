//! Which path leads to which handler: one file for each group of them.

mod aliases;
mod collections;
mod count;
mod edit;
mod facet;
mod groups;
mod indexes;
mod matrix;
mod points;
mod query;
mod scroll;
mod service;
mod snapshots;
mod unsupported;
mod upsert;

use axum::Router;

use crate::app::App;

/// Routes that answer however much is going on.
pub(crate) fn always() -> Router<App> {
    service::health()
}

/// All others.
pub(crate) fn limited() -> Router<App> {
    Router::new()
        .merge(service::routes())
        .merge(collections::routes())
        .merge(aliases::routes())
        .merge(indexes::routes())
        .merge(points::routes())
        .merge(upsert::routes())
        .merge(edit::routes())
        .merge(scroll::routes())
        .merge(count::routes())
        .merge(query::routes())
        .merge(groups::routes())
        .merge(facet::routes())
        .merge(matrix::routes())
        .merge(snapshots::routes())
        .merge(unsupported::routes())
}
