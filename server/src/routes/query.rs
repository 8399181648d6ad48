//! Questions: one or several, in the newer form and in the older ones.

mod translate;

use axum::Router;
use axum::routing::MethodFilter;
use nearline::{Query, QueryReport, ScoredPoint};
use serde::Serialize;

use super::scroll::Wanted;
use crate::app::App;
use crate::call::{Answer, Call, read};
use crate::json::point::Scored;
use crate::json::query::{Batch, OlderDiscover, OlderRecommend, OlderSearch, QueryIn};
use crate::reply::{Reply, Usage};

pub(super) use translate::Asked;

pub(super) fn routes() -> Router<App> {
    let post = MethodFilter::POST;
    let path = |rest: &str| format!("/collections/{{collection}}/points/{rest}");
    Router::new()
        .route(&path("query"), read(post, query))
        .route(&path("query/batch"), read(post, query_batch))
        .route(&path("search"), read(post, older::<OlderSearch>))
        .route(&path("search/batch"), read(post, older_batch::<OlderSearch>))
        .route(&path("recommend"), read(post, older::<OlderRecommend>))
        .route(&path("recommend/batch"), read(post, older_batch::<OlderRecommend>))
        .route(&path("discover"), read(post, older::<OlderDiscover>))
        .route(&path("discover/batch"), read(post, older_batch::<OlderDiscover>))
}

#[derive(Debug, Serialize)]
struct QueryOut {
    points: Vec<Scored>,
}

fn query(call: &Call, request: QueryIn) -> Answer<QueryOut> {
    Ok(answer(call, vec![request])?.map(|mut all| QueryOut { points: all.pop().unwrap_or_default() }))
}

fn query_batch(call: &Call, request: Batch<QueryIn>) -> Answer<Vec<QueryOut>> {
    let all = answer(call, request.searches)?;
    Ok(all.map(|all| all.into_iter().map(|points| QueryOut { points }).collect()))
}

fn older<Q: Into<QueryIn>>(call: &Call, request: Q) -> Answer<Vec<Scored>> {
    Ok(answer(call, vec![request.into()])?.map(|mut all| all.pop().unwrap_or_default()))
}

fn older_batch<Q: Into<QueryIn>>(call: &Call, request: Batch<Q>) -> Answer<Vec<Vec<Scored>>> {
    answer(call, request.searches.into_iter().map(Into::into).collect())
}

/// Answers several questions about one and the same moment.
fn answer(call: &Call, requests: Vec<QueryIn>) -> Answer<Vec<Vec<Scored>>> {
    let collection = call.collection()?;
    let asked = requests.into_iter().map(|request| Asked::read(call, &collection, request));
    let asked = asked.collect::<Result<Vec<_>, _>>()?;
    let (queries, wanted): (Vec<Query>, Vec<Wanted>) =
        asked.into_iter().map(|asked| (asked.query, asked.wanted)).unzip();
    let (mut all, mut reports) = (Vec::with_capacity(queries.len()), Vec::with_capacity(queries.len()));
    for (answer, wanted) in collection.query_batch(&queries)?.into_iter().zip(wanted) {
        all.push(scored(answer.hits, &wanted));
        reports.push(answer.report);
    }
    Ok(with_usage(all, &reports))
}

/// The points found, as far as they are wanted.
pub(super) fn scored(hits: Vec<ScoredPoint>, wanted: &Wanted) -> Vec<Scored> {
    hits.into_iter().map(|hit| Scored::new(hit, &wanted.payload, &wanted.vector)).collect()
}

pub(super) fn with_usage<R>(all: R, reports: &[QueryReport]) -> Reply<R> {
    let reply = Reply::from(all);
    match Usage::of(reports) {
        Some(usage) => reply.with_usage(usage),
        None => reply,
    }
}
