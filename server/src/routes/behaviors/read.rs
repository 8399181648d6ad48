//! Questions about what users did. Vectors come and go as JSON or as bytes.

use axum::response::Response;
use axum::routing::MethodFilter;
use nearline::{BehaviorReader, BehaviorSpace, Candidates};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{of, space};
use crate::app::Kind;
use crate::call::{Answer, Call, either, read};
use crate::content::Content;
use crate::error::ApiError;
use crate::json::behavior::{
    AttentionIn, BehaviorJson, BehaviorsIn, HammingIn, InterestIn, MomentIn, TablesIn, Wanted,
};
use crate::rows::{self, BARE, NPY};
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    let post = MethodFilter::POST;
    Routes::new()
        .route(
            of("interest"),
            either::<InterestIn, Value>(Kind::Search, post, &[BARE, NPY], interest)
                .takes::<InterestParams>()
                .says("The interest of users in candidates of each (SDIM)"),
        )
        .route(
            of("exact_attention"),
            either::<AttentionIn, Value>(Kind::Search, post, &[], exact_attention)
                .says("Softmax attention of candidates over all behaviours of a user"),
        )
        .route(
            of("tables"),
            either::<TablesIn, Value>(Kind::Search, post, &[], tables).says("The bucket tables of users"),
        )
        .route(of("behaviors"), read(post, behaviors).says("Behaviours of a user, by number or by time"))
        .route(
            of("top_k_hamming"),
            read(post, top_k_hamming).says("The behaviours whose signatures are like those of candidates"),
        )
}

/// The space at a moment: that of the system's clock, unless another is given; in the epoch that serves, likewise.
pub(super) fn reader(space: &BehaviorSpace, moment: MomentIn) -> Result<BehaviorReader<'_>, ApiError> {
    let reader = moment.at.map_or_else(|| space.now(), |at| space.at(at));
    Ok(match moment.epoch {
        None => reader,
        Some(epoch) => reader.epoch(epoch)?,
    })
}

/// Refuses what would be answered with more bytes than a body may have.
pub(super) fn check_size(call: &Call, vectors: usize, dim: usize) -> Result<(), ApiError> {
    let most = call.app.config().body_bytes / size_of::<f32>();
    if vectors.saturating_mul(dim) > most {
        return Err(ApiError::too_large(format_args!(
            "an answer of {vectors} vectors of {dim} values; expected at most {most} values: ask in parts"
        )));
    }
    Ok(())
}

/// What goes with candidates that are bytes.
#[derive(Debug, Deserialize, JsonSchema)]
struct InterestParams {
    user: u64,
    #[serde(default)]
    items: bool,
    at: Option<i64>,
    epoch: Option<u32>,
}

fn interest(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let space = space(call)?;
    let (wanted, reader): (Vec<(u64, Wanted)>, _) = match rows::kind(content) {
        Some(BARE | NPY) => {
            let InterestParams { user, items, at, epoch } = call.params()?;
            let reader = reader(&space, MomentIn { at, epoch })?;
            let dim = reader.shape().dim();
            let wanted = if items { of_bytes(content)? } else { Wanted::Vectors(rows::flat(content, dim)?) };
            (vec![(user, wanted)], reader)
        }
        _ => {
            let InterestIn { queries, moment } = content.json()?;
            let reader = reader(&space, moment)?;
            let dim = reader.shape().dim();
            let wanted = queries.into_iter().map(|query| Ok((query.user, query.wanted(dim)?)));
            (wanted.collect::<Result<_, ApiError>>()?, reader)
        }
    };
    let dim = reader.shape().dim();
    check_size(call, wanted.iter().map(|(_, wanted)| wanted.len(dim)).sum(), dim)?;
    let questions: Vec<(u64, Candidates<'_>)> =
        wanted.iter().map(|(user, wanted)| (*user, wanted.as_candidates())).collect();
    let found = reader.interests(&questions)?;
    let dim = dim_of(found.values.len(), found.lengths.iter().sum(), dim);
    call.respond_rows(
        &[found.values.len() / dim, dim],
        &found.values,
        || json!({ "lengths": found.lengths, "values": nested(&found.values, dim) }),
    )
}

/// How many values each vector of an answer has: another epoch may have answered than the one that served when the request came.
pub(super) fn dim_of(values: usize, vectors: usize, usual: usize) -> usize {
    values.checked_div(vectors).unwrap_or(usual)
}

/// Numbers of items, 8 bytes each, little-endian.
fn of_bytes(content: &Content) -> Result<Wanted, ApiError> {
    let (items, rest) = content.bytes().as_chunks();
    if !rest.is_empty() || rows::kind(content) != Some(BARE) {
        let found = content.bytes().len();
        return Err(ApiError::bad_request(format_args!(
            "a body of {found} bytes; expected numbers of items, 8 bytes each, as {BARE}"
        )));
    }
    Ok(Wanted::Items(items.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()))
}

fn nested(values: &[f32], dim: usize) -> Vec<&[f32]> {
    values.chunks_exact(dim).collect()
}

fn exact_attention(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let space = space(call)?;
    let AttentionIn { query, scale, moment } = content.json()?;
    let reader = reader(&space, moment)?;
    let dim = reader.shape().dim();
    let (user, wanted) = (query.user, query.wanted(dim)?);
    check_size(call, wanted.len(dim), dim)?;
    let found = reader.exact_attention(user, &wanted.as_candidates(), scale)?;
    let dim = dim_of(found.len(), wanted.len(dim), dim);
    call.respond_rows(&[found.len() / dim, dim], &found, || json!({ "values": nested(&found, dim) }))
}

fn tables(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let space = space(call)?;
    let TablesIn { users, moment } = content.json()?;
    let reader = reader(&space, moment)?;
    let shape = reader.shape();
    check_size(call, users.len(), shape.table_values())?;
    let found = reader.tables(&users)?;
    let sums = found.iter().flat_map(|user| user.table.sums());
    let sums: Vec<f32> = sums.map(|&sum| sum as f32).collect();
    // Another epoch may have answered than the one that serves when the request came.
    let shape = found.first().map_or(shape, |user| user.table.shape());
    let sizes = [users.len(), shape.groups(), shape.buckets(), shape.dim()];
    call.respond_rows(&sizes, &sums, || {
        let tables = found.iter().map(|user| {
            json!({
                "user": user.user,
                "version": user.version,
                "behaviors": user.table.len(),
                "counts": user.table.counts(),
                "sums": user.table.sums(),
            })
        });
        json!({ "tables": tables.collect::<Vec<_>>() })
    })
}

fn behaviors(call: &Call, request: BehaviorsIn) -> Answer<Value> {
    let space = space(call)?;
    let found = reader(&space, request.moment)?.behaviors(request.user, request.span()?)?;
    let most = call.app.config().points;
    if found.len() > most {
        return Err(ApiError::too_large(format_args!(
            "{} behaviours; expected {most} at most: ask for the last, or for a shorter time",
            found.len()
        )));
    }
    let found: Vec<BehaviorJson> = found.into_iter().map(BehaviorJson::from).collect();
    Ok(json!({ "behaviors": found }).into())
}

fn top_k_hamming(call: &Call, request: HammingIn) -> Answer<Value> {
    let space = space(call)?;
    let HammingIn { query, k, moment } = request;
    let reader = reader(&space, moment)?;
    let dim = reader.shape().dim();
    let (user, wanted) = (query.user, query.wanted(dim)?);
    let most = call.app.config().points;
    if k == 0 || k.saturating_mul(wanted.len(dim).max(1)) > most {
        let expected = format!("must be 1 or larger, and {most} or less for all candidates together");
        return Err(ApiError::invalid("k", k, &expected));
    }
    let found = reader.top_k_hamming(user, &wanted.as_candidates(), k)?;
    let of_one = |similar: Vec<nearline::SimilarBehavior>| {
        let all = similar
            .into_iter()
            .map(|one| json!({ "distance": one.distance, "behavior": BehaviorJson::from(one.behavior) }));
        all.collect::<Vec<_>>()
    };
    Ok(json!({ "similar": found.into_iter().map(of_one).collect::<Vec<_>>() }).into())
}
