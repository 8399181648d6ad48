//! Rows, bags and products of an embedding table. Ids and values come and go as JSON or as bytes.

use axum::http::HeaderValue;
use axum::response::Response;
use axum::routing::MethodFilter;
use nearline::TableVersion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{of, table};
use crate::app::Kind;
use crate::call::{Call, either};
use crate::content::Content;
use crate::error::ApiError;
use crate::json::table::{DotIn, LookupIn, PoolIn, PoolName};
use crate::rows::{self, BARE};
use crate::table::Routes;

/// Behind which header an answer in bytes says its version.
const VERSION: &str = "x-version";

pub(super) fn routes() -> Routes {
    let post = MethodFilter::POST;
    Routes::new()
        .route(
            of("lookup"),
            either::<LookupIn, Value>(Kind::Search, post, &[BARE], lookup)
                .takes::<ReadParams>()
                .says("Rows of an embedding table by id"),
        )
        .route(
            of("pool"),
            either::<PoolIn, Value>(Kind::Search, post, &[BARE], pool)
                .takes::<ReadParams>()
                .says("Sums or means of rows of an embedding table"),
        )
        .route(
            of("dot"),
            either::<DotIn, Value>(Kind::Search, post, &[BARE], dot)
                .takes::<ReadParams>()
                .says("Products of a query with rows of an embedding table"),
        )
}

/// The version that is asked.
fn version(call: &Call, number: Option<u64>) -> Result<TableVersion, ApiError> {
    call.app.tables().version(&table(call)?, call.name("table"), number)
}

/// Refuses what would be answered with more bytes than a body may have, or gathered of more.
fn check_size(call: &Call, rows: usize, dim: usize) -> Result<(), ApiError> {
    let most = call.app.config().body_bytes / size_of::<f32>();
    if rows.saturating_mul(dim) > most {
        return Err(ApiError::too_large(format_args!(
            "an answer of {rows} rows of {dim} values; expected at most {most} values: ask in parts"
        )));
    }
    Ok(())
}

/// Values of a version as they go out.
fn respond<R: Serialize>(
    call: &Call,
    version: &TableVersion,
    shape: &[usize],
    values: &[f32],
    json: impl FnOnce() -> R,
) -> Result<Response, ApiError> {
    let mut response = call.respond_rows(shape, values, json)?;
    response.headers_mut().insert(VERSION, HeaderValue::from(version.number()));
    Ok(response)
}

/// Numbers of 8 bytes, little-endian.
fn ids_of(bytes: &[u8], what: &str) -> Result<Vec<u64>, ApiError> {
    let (ids, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(ApiError::bad_request(format_args!(
            "{} bytes of {what}; expected 8 bytes each, little-endian",
            bytes.len()
        )));
    }
    Ok(ids.iter().map(|id| u64::from_le_bytes(*id)).collect())
}

fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

/// What goes with ids that are bytes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct ReadParams {
    version: Option<u64>,
    /// Bags, for their offsets, which come first.
    bags: Option<usize>,
    /// Whether there is a weight for each id, behind them.
    weights: bool,
    pool: PoolName,
}

fn lookup(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let LookupIn { ids, version: number } = match rows::kind(content) {
        Some(BARE) => {
            let ReadParams { version, .. } = call.params()?;
            LookupIn { ids: ids_of(content.bytes(), "ids")?, version }
        }
        _ => content.json()?,
    };
    let version = version(call, number)?;
    let dim = version.dim();
    check_size(call, ids.len(), dim)?;
    let values = version.lookup(&ids)?;
    respond(
        call,
        &version,
        &[ids.len(), dim],
        &values,
        || json!({ "version": version.number(), "rows": nested(&values, dim) }),
    )
}

fn pool(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let request = match rows::kind(content) {
        Some(BARE) => bags_of(call.params()?, content.bytes())?,
        _ => content.json()?,
    };
    let PoolIn { ids, offsets, weights, pool, version: number } = request;
    let version = version(call, number)?;
    let dim = version.dim();
    check_size(call, offsets.len().max(ids.len()), dim)?;
    let values = version.pool(&ids, &offsets, weights.as_deref(), pool.into())?;
    respond(
        call,
        &version,
        &[values.len() / dim, dim],
        &values,
        || json!({ "version": version.number(), "rows": nested(&values, dim) }),
    )
}

/// Bags as bytes: one offset more than bags, then ids, 8 bytes each, then perhaps a weight for each id, 4 bytes.
fn bags_of(params: ReadParams, bytes: &[u8]) -> Result<PoolIn, ApiError> {
    let ReadParams { version, bags, weights, pool } = params;
    let bags = bags.ok_or_else(|| ApiError::parameters("expected `bags`, whose offsets come first"))?;
    let head = bags.checked_add(1).and_then(|offsets| offsets.checked_mul(size_of::<u64>()));
    let parts = head.and_then(|head| bytes.split_at_checked(head));
    let each = if weights { 12 } else { 8 };
    let (offsets, rest) = parts.filter(|(_, rest)| rest.len().is_multiple_of(each)).ok_or_else(|| {
        let found = bytes.len();
        ApiError::bad_request(format_args!(
            "a body of {found} bytes; expected {bags} + 1 offsets of 8 bytes and {each} bytes for each id"
        ))
    })?;
    let (ids, tail) = rest.split_at(rest.len() / each * 8);
    Ok(PoolIn {
        ids: ids_of(ids, "ids")?,
        offsets: ids_of(offsets, "offsets")?,
        weights: weights.then(|| floats_of(tail)),
        pool,
        version,
    })
}

fn dot(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let (version, query, ids) = match rows::kind(content) {
        Some(BARE) => {
            let ReadParams { version: number, .. } = call.params()?;
            let version = version(call, number)?;
            let bytes = content.bytes();
            let (query, ids) = bytes.split_at_checked(version.dim() * size_of::<f32>()).ok_or_else(|| {
                let (found, dim) = (bytes.len(), version.dim());
                ApiError::bad_request(format_args!(
                    "a body of {found} bytes; expected a query of {dim} f32, then ids"
                ))
            })?;
            let (query, ids) = (floats_of(query), ids_of(ids, "ids")?);
            (version, query, ids)
        }
        _ => {
            let DotIn { query, ids, version: number } = content.json()?;
            (version(call, number)?, query, ids)
        }
    };
    check_size(call, ids.len(), version.dim())?;
    let products = version.dot(&query, &ids)?;
    respond(
        call,
        &version,
        &[ids.len(), 1],
        &products,
        || json!({ "version": version.number(), "products": products }),
    )
}

fn nested(values: &[f32], dim: usize) -> Vec<&[f32]> {
    values.chunks_exact(dim).collect()
}
