//! Questions: one or several, in the newer form and in the older ones.

mod translate;

use axum::routing::MethodFilter;
use nearline::{Query, QueryReport, ScoredPoint};
use schemars::JsonSchema;
use serde::Serialize;

use super::scroll::Wanted;
use crate::call::{Answer, Call, read};
use crate::json::point::Scored;
use crate::json::query::{Batch, OlderDiscover, OlderRecommend, OlderSearch, QueryIn};
use crate::reply::{Reply, Usage};
use crate::table::Routes;

pub(super) use translate::Asked;

pub(super) fn routes() -> Routes {
    let path = |rest: &str| format!("/collections/{{collection}}/points/{rest}");
    let post = MethodFilter::POST;
    Routes::new()
        .route(path("query"), read(post, query).says("Answers a question"))
        .route(path("query/batch"), read(post, query_batch).says("Answers several questions"))
        .route(path("search"), read(post, older::<OlderSearch>).says("The nearest, in the older form"))
        .route(
            path("search/batch"),
            read(post, older_batch::<OlderSearch>)
                .says("Several questions for the nearest, in the older form"),
        )
        .route(
            path("recommend"),
            read(post, older::<OlderRecommend>).says("Points like examples, in the older form"),
        )
        .route(
            path("recommend/batch"),
            read(post, older_batch::<OlderRecommend>)
                .says("Several questions by examples, in the older form"),
        )
        .route(
            path("discover"),
            read(post, older::<OlderDiscover>).says("Points on the side of examples, in the older form"),
        )
        .route(
            path("discover/batch"),
            read(post, older_batch::<OlderDiscover>).says("Several discoveries, in the older form"),
        )
}

#[derive(Debug, Serialize, JsonSchema)]
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
    let collection = call.source()?;
    let asked = requests.into_iter().map(|request| Asked::read(call, &collection, request));
    let asked = asked.collect::<Result<Vec<_>, _>>()?;
    let (queries, wanted): (Vec<Query>, Vec<Wanted>) =
        asked.into_iter().map(|asked| (asked.query, asked.wanted)).unzip();
    let answers = collection.query_batch(&queries)?;
    call.app.note_answers(&collection, &queries, &answers);
    let (mut all, mut reports) = (Vec::with_capacity(queries.len()), Vec::with_capacity(queries.len()));
    for (answer, wanted) in answers.into_iter().zip(wanted) {
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
