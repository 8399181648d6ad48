//! Embedding tables from the bytes of other systems, and for them.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::MethodFilter;
use nearline::embedding::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{check_budget, of, table};
use crate::app::Kind;
use crate::call::{Answer, Call, bytes, raw};
use crate::content::Content;
use crate::error::ApiError;
use crate::exchange::{Format, Shape, export_table, import_table};
use crate::rights::Access;
use crate::rows::BARE;
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            of("import"),
            bytes(Kind::Slow, MethodFilter::POST, import)
                .takes::<ImportParams>()
                .needs(Access::Manage)
                .says("Creates an embedding table of the bytes of another system"),
        )
        .route(
            of("export"),
            raw(Kind::Search, MethodFilter::GET, export)
                .takes::<ExportParams>()
                .says("An embedding table in the bytes of another system"),
        )
}

/// Whose bytes, and what they do not say themselves.
#[derive(Debug, Deserialize, JsonSchema)]
struct ImportParams {
    format: String,
    #[serde(default)]
    dim: usize,
    #[serde(default = "usual_bits")]
    bits: usize,
    #[serde(default = "usual_align")]
    align: usize,
}

fn usual_bits() -> usize {
    8
}

fn usual_align() -> usize {
    1
}

fn format(name: &str) -> Result<Format, ApiError> {
    Format::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
        ApiError::parameters(format_args!("format is {name:?}; expected one of {}", names.join(", ")))
    })
}

fn import(call: &Call, content: &Content) -> Answer<Value> {
    let ImportParams { format: name, dim, bits, align } = call.params()?;
    let table = import_table(format(&name)?, Shape { dim, bits, align }, content.bytes())
        .map_err(|error| ApiError::wrong_input(format_args!("body: {error}")))?;
    check_budget(call, table.bytes().total())?;
    if let (Method::Dynamic, [_, _, _, rows_max, ..]) = (table.method(), &table.params()[..]) {
        // What it may grow to.
        check_budget(call, rows_max.saturating_mul(table.dim() as u64 * 4))?;
    }
    let made = call.app.database().create_embedding_table(call.name("table"), &*table)?.pin();
    Ok(json!({ "version": made.number(), "rows": made.rows(), "dim": made.dim() }).into())
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ExportParams {
    format: String,
    version: Option<u64>,
}

fn export(call: &Call) -> Result<Response, ApiError> {
    let ExportParams { format: name, version } = call.params()?;
    let format = format(&name)?;
    let version = call.app.tables().version(&table(call)?, call.name("table"), version)?;
    let most = call.app.config().body_bytes as u64;
    let plain = version.rows().saturating_mul(version.dim() as u64 * 4);
    if plain > most {
        return Err(ApiError::too_large(format_args!(
            "a table of {plain} bytes as f32; expected at most {most}: `nearline table convert` writes larger ones"
        )));
    }
    let mut response = Response::new(export_table(format, &version)?.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(BARE));
    response.headers_mut().insert("x-version", HeaderValue::from(version.number()));
    Ok(response)
}
