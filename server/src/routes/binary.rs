//! Vectors as bytes, written and asked with: no digits to read.

use axum::routing::MethodFilter;
use nearline::{Point, PointId, Query};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::upsert::{Updated, updated};
use crate::app::Kind;
use crate::call::{Answer, Call, bytes};
use crate::content::Content;
use crate::error::ApiError;
use crate::json::point::finite;
use crate::json::shape::Id;
use crate::json::vector::{Dense, config_of, prepared};
use crate::reply::{Reply, Usage};
use crate::rows::{self, Ids};
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            "/nearline/v1/collections/{collection}/points",
            bytes(Kind::Write, MethodFilter::PUT, upsert)
                .takes::<UpsertParams>()
                .says("Writes points whose vectors are rows of bytes"),
        )
        .route(
            "/nearline/v1/collections/{collection}/query",
            bytes(Kind::Search, MethodFilter::POST, query)
                .takes::<QueryParams>()
                .says("The nearest to each of the rows of bytes"),
        )
}

/// What goes with rows that are written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct UpsertParams {
    using: String,
    start: Option<u64>,
    ids: bool,
}

fn upsert(call: &Call, content: &Content) -> Answer<Updated> {
    let UpsertParams { using, start, ids } = call.params()?;
    let ids = match (start, ids) {
        (Some(start), false) => Ids::From(start),
        (None, true) => Ids::Inside,
        _ => {
            return Err(ApiError::parameters(
                "expected `start`, the id of the first row, or `ids=true`: an id before each",
            ));
        }
    };
    let collection = call.collection()?;
    let schema = collection.schema();
    let rows = rows::read(content, dim(schema, &using)?, ids)?;
    let points = rows.into_iter().filter_map(|(id, row)| {
        Some(Point::new(id?).named_vector(using.clone(), prepared(Dense(row), schema, &using)))
    });
    Ok(updated(call, collection.upsert_with(points, call.durability())?.lsn).into())
}

/// What goes with rows that are asked with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
struct QueryParams {
    using: String,
    limit: usize,
    target_recall: Option<f32>,
}

impl Default for QueryParams {
    fn default() -> Self {
        Self { using: String::new(), limit: 10, target_recall: None }
    }
}

/// The points found for a row, nearest first.
#[derive(Debug, Serialize, JsonSchema)]
struct Found {
    #[schemars(with = "Vec<Id>")]
    ids: Vec<PointId>,
    scores: Vec<f32>,
}

fn query(call: &Call, content: &Content) -> Answer<Vec<Found>> {
    let QueryParams { using, limit, target_recall } = call.params()?;
    let source = call.source()?;
    let rows = rows::read(content, dim(source.schema(), &using)?, Ids::None)?;
    let most = call.app.config().points;
    if limit == 0 || limit.saturating_mul(rows.len().max(1)) > most {
        return Err(ApiError::invalid(
            "limit",
            limit,
            &format!("must be 1 or larger, and {most} or less for all rows together"),
        ));
    }
    let ask = |(_, row)| {
        let query =
            Query::nearest(prepared(Dense(row), source.schema(), &using)).using(using.clone()).k(limit);
        match target_recall {
            Some(recall) => query.target_recall(recall),
            None => query,
        }
    };
    let queries: Vec<Query> = rows.into_iter().map(ask).collect();
    let answers = source.query_batch(&queries)?;
    call.app.note_answers(&source, &queries, &answers);
    let usage = Usage::of(answers.iter().map(|answer| &answer.report));
    let found = answers.into_iter().map(|answer| Found {
        ids: answer.hits.iter().map(|hit| hit.id).collect(),
        scores: answer.hits.iter().map(|hit| finite(hit.score)).collect(),
    });
    let reply = Reply::from(found.collect::<Vec<_>>());
    Ok(match usage {
        Some(usage) => reply.with_usage(usage),
        None => reply,
    })
}

pub(super) fn dim(schema: &nearline::Schema, using: &str) -> Result<usize, ApiError> {
    let config = config_of(schema, using);
    Ok(config
        .ok_or_else(|| ApiError::wrong_input(format_args!("Not existing vector name error: {using}")))?
        .dim)
}
