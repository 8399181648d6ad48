//! Which path leads to which handler: one file for each group of them.

mod aliases;
mod behaviors;
mod binary;
mod calibrate;
mod collections;
mod count;
mod edit;
mod facet;
mod groups;
mod indexes;
mod matrix;
mod own;
mod points;
mod query;
mod recover;
mod scroll;
mod service;
mod snapshots;
mod storage;
mod tables;
mod unsupported;
mod upsert;

use crate::table::Routes;

/// Routes that answer however much is going on.
pub(crate) fn always() -> Routes {
    service::health().merge(recover::uploads())
}

/// All others.
pub(crate) fn limited() -> Routes {
    Routes::new()
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
        .merge(storage::routes())
        .merge(binary::routes())
        .merge(own::routes())
        .merge(calibrate::routes())
        .merge(behaviors::routes())
        .merge(tables::routes())
        .merge(recover::routes())
        .merge(unsupported::routes())
}
