//! Questions about what users did. Vectors come and go as JSON or as bytes.

use axum::response::Response;
use axum::routing::MethodFilter;
use nearline::{BehaviorReader, BehaviorSpace, Candidates};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{dim, of, space};
use crate::app::Kind;
use crate::call::{Answer, Call, either, read};
use crate::content::Content;
use crate::error::ApiError;
use crate::json::behavior::{
    AttentionIn, BehaviorJson, BehaviorsIn, HammingIn, InterestIn, TablesIn, Wanted,
};
use crate::rows::{self, BARE, NPY};
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    let post = MethodFilter::POST;
    Routes::new()
        .route(
            of("interest"),
            either::<InterestIn>(Kind::Search, post, &[BARE, NPY], interest)
                .says("The interest of users in candidates of each (SDIM)"),
        )
        .route(
            of("exact_attention"),
            either::<AttentionIn>(Kind::Search, post, &[], exact_attention)
                .says("Softmax attention of candidates over all behaviours of a user"),
        )
        .route(
            of("tables"),
            either::<TablesIn>(Kind::Search, post, &[], tables).says("The bucket tables of users"),
        )
        .route(of("behaviors"), read(post, behaviors).says("Behaviours of a user, by number or by time"))
        .route(
            of("top_k_hamming"),
            read(post, top_k_hamming).says("The behaviours whose signatures are like those of candidates"),
        )
}

/// The space at a moment: that of the system's clock, unless another is given.
fn reader(space: &BehaviorSpace, at: Option<i64>) -> BehaviorReader<'_> {
    at.map_or_else(|| space.now(), |at| space.at(at))
}

/// Refuses what would be answered with more bytes than a body may have.
fn check_size(call: &Call, vectors: usize, dim: usize) -> Result<(), ApiError> {
    let most = call.app.config().body_bytes / size_of::<f32>();
    if vectors.saturating_mul(dim) > most {
        return Err(ApiError::too_large(format_args!(
            "an answer of {vectors} vectors of {dim} values; expected at most {most} values: ask in parts"
        )));
    }
    Ok(())
}

/// What goes with candidates that are bytes.
#[derive(Debug, Deserialize)]
struct InterestParams {
    user: u64,
    #[serde(default)]
    items: bool,
    at: Option<i64>,
}

fn interest(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let space = space(call)?;
    let dim = dim(&space);
    let (wanted, at): (Vec<(u64, Wanted)>, _) = match rows::kind(content) {
        Some(BARE | NPY) => {
            let InterestParams { user, items, at } = call.params()?;
            let wanted = if items { of_bytes(content)? } else { Wanted::Vectors(rows::flat(content, dim)?) };
            (vec![(user, wanted)], at)
        }
        _ => {
            let InterestIn { queries, at } = content.json()?;
            let wanted = queries.into_iter().map(|query| Ok((query.user, query.wanted(dim)?)));
            (wanted.collect::<Result<_, ApiError>>()?, at)
        }
    };
    check_size(call, wanted.iter().map(|(_, wanted)| wanted.len(dim)).sum(), dim)?;
    let questions: Vec<(u64, Candidates<'_>)> =
        wanted.iter().map(|(user, wanted)| (*user, wanted.as_candidates())).collect();
    let found = reader(&space, at).interests(&questions)?;
    call.respond_rows(
        &[found.values.len() / dim, dim],
        &found.values,
        || json!({ "lengths": found.lengths, "values": nested(&found.values, dim) }),
    )
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
    let dim = dim(&space);
    let AttentionIn { query, scale, at } = content.json()?;
    let (user, wanted) = (query.user, query.wanted(dim)?);
    check_size(call, wanted.len(dim), dim)?;
    let found = reader(&space, at).exact_attention(user, &wanted.as_candidates(), scale)?;
    call.respond_rows(&[found.len() / dim, dim], &found, || json!({ "values": nested(&found, dim) }))
}

fn tables(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let space = space(call)?;
    let TablesIn { users, at } = content.json()?;
    let shape = space.shape();
    check_size(call, users.len(), shape.table_values())?;
    let found = reader(&space, at).tables(&users)?;
    let sums = found.iter().flat_map(|user| user.table.sums());
    let sums: Vec<f32> = sums.map(|&sum| sum as f32).collect();
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
    let found = reader(&space, request.at).behaviors(request.user, request.span()?)?;
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
    let dim = dim(&space);
    let HammingIn { query, k, at } = request;
    let (user, wanted) = (query.user, query.wanted(dim)?);
    let most = call.app.config().points;
    if k == 0 || k.saturating_mul(wanted.len(dim).max(1)) > most {
        let expected = format!("must be 1 or larger, and {most} or less for all candidates together");
        return Err(ApiError::invalid("k", k, &expected));
    }
    let found = reader(&space, at).top_k_hamming(user, &wanted.as_candidates(), k)?;
    let of_one = |similar: Vec<nearline::SimilarBehavior>| {
        let all = similar
            .into_iter()
            .map(|one| json!({ "distance": one.distance, "behavior": BehaviorJson::from(one.behavior) }));
        all.collect::<Vec<_>>()
    };
    Ok(json!({ "similar": found.into_iter().map(of_one).collect::<Vec<_>>() }).into())
}
