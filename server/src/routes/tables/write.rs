//! Embedding tables fitted, trained and written to. All of it is durable when it is answered.

use axum::response::Response;
use axum::routing::MethodFilter;
use nearline::embedding::{DIM_MAX, FITTED, FitInput, SizeReport, fit_as};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{check_budget, of, table};
use crate::app::Kind;
use crate::call::{Call, either};
use crate::content::Content;
use crate::error::ApiError;
use crate::json::behavior::flat;
use crate::json::table::{FitIn, GradientsIn, RowsIn, method};
use crate::rights::Access;
use crate::rows::{self, BARE, Ids, NPY};
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            of("fit"),
            either::<FitIn, Value>(Kind::Slow, MethodFilter::POST, &[BARE, NPY], fit)
                .takes::<FitParams>()
                .needs(Access::Manage)
                .says("Creates an embedding table that is fitted to rows"),
        )
        .route(
            of("gradients"),
            either::<GradientsIn, Value>(Kind::Write, MethodFilter::POST, &[BARE], gradients)
                .says("A step of training: gradients of rows of an embedding table"),
        )
        .route(
            of("rows"),
            either::<RowsIn, Value>(Kind::Write, MethodFilter::PUT, &[BARE, NPY], put)
                .takes::<PutParams>()
                .says("Writes rows of an embedding table anew"),
        )
}

/// What goes with rows that are bytes.
#[derive(Debug, Deserialize, JsonSchema)]
struct FitParams {
    dim: usize,
    method: String,
    budget: u64,
    #[serde(default)]
    seed: u64,
}

fn fit(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let (values, dim, request) = match rows::kind(content) {
        Some(BARE | NPY) => {
            let FitParams { dim, method, budget, seed } = call.params()?;
            if !(1..=DIM_MAX).contains(&dim) {
                return Err(ApiError::parameters(format_args!("dim is {dim}; expected 1 to {DIM_MAX}")));
            }
            let (frequencies, fields) = (None, Vec::new());
            let (rows, by_frequency) = (Vec::new(), false);
            let request = FitIn { rows, method, budget, frequencies, by_frequency, fields, seed };
            (rows::flat(content, dim)?, dim, request)
        }
        _ => {
            let mut request: FitIn = content.json()?;
            let rows = std::mem::take(&mut request.rows);
            let dim = rows.first().map_or(0, Vec::len);
            (flat(&rows, dim)?, dim, request)
        }
    };
    let FitIn { method: name, budget, frequencies, by_frequency, fields, seed, .. } = request;
    check_budget(call, budget)?;
    let (database, table) = (call.app.database(), call.name("table"));
    // A fit may take long: what could not be made of it is refused before.
    database.check_embedding_table_name(table)?;
    if by_frequency && frequencies.is_none() {
        return Err(ApiError::wrong_input("by_frequency: true without frequencies; expected one a row"));
    }
    let input = FitInput::new(&values, dim, frequencies.as_deref(), budget, seed)?;
    let fitted = fit_as(method(&name, &FITTED)?, &input, &fields)?;
    let made = match frequencies.as_deref().filter(|_| by_frequency) {
        Some(frequencies) => database.create_embedding_table_by_frequency(table, &*fitted, frequencies)?,
        None => database.create_embedding_table(table, &*fitted)?,
    };
    // With the places of rows, if there are any.
    let report = SizeReport { segments: made.stats()?.segments, ..fitted.bytes() };
    let out = json!({
        "version": made.pin().number(),
        "rows": fitted.rows(),
        "dim": dim,
        "bytes": report.total(),
        "ratio": report.ratio(),
    });
    call.respond::<Value>(out.into())
}

/// Rows of values behind their ids, as bytes.
fn by_id(content: &Content, dim: usize, ids: Ids) -> Result<(Vec<u64>, Vec<f32>), ApiError> {
    let rows = rows::read(content, dim, ids)?;
    let ids = rows.iter().filter_map(|(id, _)| *id).collect();
    Ok((ids, rows.into_iter().flat_map(|(_, row)| row).collect()))
}

fn gradients(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let table = table(call)?;
    let dim = table.pin().dim();
    let (ids, values) = match rows::kind(content) {
        Some(BARE) => by_id(content, dim, Ids::Inside)?,
        _ => {
            let GradientsIn { ids, gradients } = content.json()?;
            (ids, flat(&gradients, dim)?)
        }
    };
    let version = table.train(&ids, &values)?;
    call.respond::<Value>(json!({ "version": version }).into())
}

/// What goes with rows that are bytes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct PutParams {
    start: Option<u64>,
}

fn put(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let table = table(call)?;
    let dim = table.pin().dim();
    let (ids, values) = match rows::kind(content) {
        Some(BARE | NPY) => {
            let PutParams { start } = call.params()?;
            by_id(content, dim, start.map_or(Ids::Inside, Ids::From))?
        }
        _ => {
            let RowsIn { ids, rows } = content.json()?;
            (ids, flat(&rows, dim)?)
        }
    };
    let version = table.put(&ids, &values)?;
    call.respond::<Value>(json!({ "version": version }).into())
}
