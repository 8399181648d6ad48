//! What Nearline tells of a collection, and does to it, beyond the dialect.

use std::collections::BTreeSet;

use axum::routing::MethodFilter;
use nearline::{Collection, PointId, Query, Scroll};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::Kind;
use crate::call::{Answer, Call, plain, slow};
use crate::error::ApiError;
use crate::rights::Access;
use crate::table::Routes;

/// Questions of one measurement.
const QUERIES: usize = 100;

pub(super) fn routes() -> Routes {
    let of = |rest: &str| format!("/nearline/v1/collections/{{collection}}/{rest}");
    Routes::new()
        .route(
            of("stats"),
            plain(Kind::Search, MethodFilter::GET, stats).says("What a collection is and does"),
        )
        .route(
            of("maintenance"),
            slow(MethodFilter::POST, maintain).says("Does now what the background does"),
        )
        .route(
            of("verify"),
            plain(Kind::Slow, MethodFilter::POST, verify)
                .needs(Access::Read)
                .says("Reads all files of a collection and its snapshots and checks them"),
        )
        .route(
            of("recall"),
            slow(MethodFilter::POST, recall)
                .needs(Access::Read)
                .says("Measures the recall with stored vectors"),
        )
}

fn stats(call: &Call) -> Answer<Value> {
    let collection = call.collection()?;
    let stats = collection.stats();
    let job = |job: &nearline::Job| format!("{job:?}");
    Ok(json!({
        "points": stats.points,
        "points_in_memory": stats.points_in_memory,
        "memory_bytes": stats.delta_bytes + stats.ram_bytes,
        "segments": stats.segments,
        "dead_points": stats.dead_points,
        "disk_bytes": stats.disk_bytes,
        "log_bytes": stats.wal_bytes,
        "lsn": stats.lsn,
        "flushed_lsn": stats.flushed_lsn,
        "indexes": stats.indexes,
        "indexed": stats.indexed,
        "not_indexed": stats.not_indexed,
        "indexing_us": stats.indexing,
        "is_idle": collection.is_idle(),
        "pending": stats.pending.as_ref().map(job),
        "running": stats.running.as_ref().map(|(running, us)| json!({ "job": job(running), "us": us })),
        "jobs_done": stats.jobs_done,
        "failure": stats.failure,
        "live_tier": format!("{:?}", stats.live_tier),
    })
    .into())
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Points in memory go into a segment.
    Flush,
    /// All segments become one; dead points give back their space.
    Compact,
    /// Whatever the background has begun or will begin.
    WaitIdle,
    /// All field indexes anew.
    RebuildFieldIndexes,
    /// All vector indexes anew, calibrated with vectors of now.
    RebuildVectorIndexes,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct MaintainIn {
    action: Action,
}

fn maintain(call: &Call, request: MaintainIn) -> Answer<bool> {
    let collection = call.collection()?;
    match request.action {
        Action::Flush => collection.flush()?,
        Action::Compact => collection.compact()?,
        Action::WaitIdle => collection.wait_idle()?,
        Action::RebuildFieldIndexes => collection.rebuild_field_indexes()?,
        Action::RebuildVectorIndexes => collection.rebuild_vector_indexes()?,
    }
    Ok(true.into())
}

/// Damage is an error that names the file.
fn verify(call: &Call) -> Answer<bool> {
    call.collection()?.verify()?;
    Ok(true.into())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
struct RecallIn {
    using: String,
    queries: usize,
    limit: usize,
    target_recall: Option<f32>,
}

impl Default for RecallIn {
    fn default() -> Self {
        Self { using: String::new(), queries: 20, limit: 10, target_recall: None }
    }
}

/// Means over the questions.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct RecallOut {
    queries: usize,
    recall: f64,
    microseconds: f64,
    pages: f64,
    lists: f64,
    exact_microseconds: f64,
}

fn recall(call: &Call, request: RecallIn) -> Answer<RecallOut> {
    for (name, found, most) in
        [("queries", request.queries, QUERIES), ("limit", request.limit, call.app.config().points)]
    {
        if !(1..=most).contains(&found) {
            return Err(ApiError::invalid(name, found, &format!("must be from 1 to {most}")));
        }
    }
    let collection = call.collection()?;
    let page = collection.scroll(&Scroll::new().limit(request.queries).with_vectors(true))?;
    let vectors: Vec<_> =
        page.points.into_iter().filter_map(|mut point| point.vectors.remove(&request.using)).collect();
    let mut out = RecallOut { queries: vectors.len(), ..RecallOut::default() };
    let share = 1.0 / vectors.len().max(1) as f64;
    for vector in vectors {
        let query = Query::nearest(vector).using(request.using.clone()).k(request.limit);
        add(&mut out, &collection, query, request.target_recall, share)?;
    }
    Ok(out.into())
}

fn add(
    out: &mut RecallOut,
    collection: &Collection,
    query: Query,
    target: Option<f32>,
    share: f64,
) -> Result<(), ApiError> {
    let exact = collection.query(&query.clone().target_recall(1.0))?;
    let answer = collection.query(&match target {
        Some(target) => query.target_recall(target),
        None => query,
    })?;
    let expected: BTreeSet<PointId> = exact.hits.iter().map(|hit| hit.id).collect();
    let found = answer.hits.iter().filter(|hit| expected.contains(&hit.id)).count();
    out.recall += share * found as f64 / expected.len().max(1) as f64;
    out.microseconds += share * answer.report.total_us;
    out.exact_microseconds += share * exact.report.total_us;
    out.pages += share * answer.report.pages as f64;
    out.lists += share * answer.report.lists as f64;
    Ok(())
}
