//! What users did, written: by JSON or by bytes. All of it is durable when it is answered.

use axum::response::Response;
use axum::routing::MethodFilter;
use nearline::Behavior;
use serde::Deserialize;

use super::{dim, of, space};
use crate::app::Kind;
use crate::call::{Answer, Call, either, write};
use crate::content::Content;
use crate::error::ApiError;
use crate::json::behavior::{AppendIn, DeleteIn, ItemsIn, SourceIn, TruncateIn, WrittenOut, flat};
use crate::rows::{self, BARE, Ids, NPY};
use crate::table::Routes;

/// Bytes of the numbers of a behaviour: user, event, time, item.
const NUMBERS: usize = 32;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            of("items"),
            either::<ItemsIn>(Kind::Write, MethodFilter::PUT, &[BARE, NPY], put_items)
                .says("Gives items of a behaviour space vectors"),
        )
        .route(
            of("append"),
            either::<AppendIn>(Kind::Write, MethodFilter::POST, &[BARE], append)
                .says("Adds behaviours of any users, all or none"),
        )
        .route(of("delete"), write(MethodFilter::POST, delete).says("Deletes behaviours of a user"))
        .route(
            of("truncate"),
            write(MethodFilter::POST, truncate).says("Deletes all behaviours of a user but the last ones"),
        )
}

/// What goes with rows that are the vectors of items.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ItemsParams {
    start: Option<u64>,
    ids: bool,
}

fn put_items(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let space = space(call)?;
    let (items, vectors) = match rows::kind(content) {
        Some(BARE | NPY) => {
            let ids = match call.params()? {
                ItemsParams { start: Some(start), ids: false } => Ids::From(start),
                ItemsParams { start: None, ids: true } => Ids::Inside,
                _ => {
                    return Err(ApiError::parameters(
                        "expected `start`, the number of the first item, or `ids=true`: a number before each",
                    ));
                }
            };
            let rows = rows::read(content, dim(&space), ids)?;
            let items: Vec<u64> = rows.iter().filter_map(|(id, _)| *id).collect();
            (items, rows.into_iter().flat_map(|(_, row)| row).collect())
        }
        _ => {
            let ItemsIn { items, vectors } = content.json()?;
            (items, flat(&vectors, dim(&space))?)
        }
    };
    call.respond(WrittenOut::from(space.put_items(&items, &vectors)?).into())
}

/// What goes with behaviours that are bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AppendParams {
    vectors: bool,
    source: Option<String>,
    partition: Option<u32>,
    offset: Option<u64>,
}

fn append(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let space = space(call)?;
    let (behaviors, source) = match rows::kind(content) {
        Some(BARE) => {
            let AppendParams { vectors, source, partition, offset } = call.params()?;
            let dim = if vectors { Some(dim(&space)) } else { None };
            (behaviors(content.bytes(), dim)?, SourceIn::new(source, partition, offset).offset()?)
        }
        _ => content.json::<AppendIn>()?.parts()?,
    };
    let report = match source {
        Some(source) => space.append_from(source, behaviors)?,
        None => space.append(behaviors)?,
    };
    call.respond(WrittenOut::from(report).into())
}

/// Behaviours as bytes: four numbers each, little-endian, behind them a vector of `dim` values or none.
fn behaviors(bytes: &[u8], dim: Option<usize>) -> Result<Vec<Behavior>, ApiError> {
    let each = NUMBERS + dim.unwrap_or(0) * size_of::<f32>();
    if !bytes.len().is_multiple_of(each) {
        return Err(ApiError::bad_request(format_args!(
            "a body of {} bytes; expected a multiple of {each}: user, event, time, item, 8 bytes each, and {} f32",
            bytes.len(),
            dim.unwrap_or(0)
        )));
    }
    let one = |bytes: &[u8]| {
        let (numbers, vector) = bytes.split_at(NUMBERS);
        let at = |i: usize| numbers.as_chunks().0.get(i).map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let vector = vector.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let vector = dim.map(|_| vector.collect());
        Behavior { user: at(0), event: at(1), time: at(2) as i64, item: at(3), vector }
    };
    Ok(bytes.chunks_exact(each).map(one).collect())
}

fn delete(call: &Call, request: DeleteIn) -> Answer<WrittenOut> {
    let space = space(call)?;
    let report = match (request.events, request.before) {
        (Some(events), None) => space.delete_events(request.user, &events)?,
        (None, Some(before)) => space.delete_before(request.user, before)?,
        _ => return Err(ApiError::wrong_input("expected events or before")),
    };
    Ok(WrittenOut::from(report).into())
}

fn truncate(call: &Call, request: TruncateIn) -> Answer<WrittenOut> {
    Ok(WrittenOut::from(space(call)?.truncate(request.user, request.keep)?).into())
}
