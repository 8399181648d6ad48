//! Embedding tables: made, shown, dropped, pinned; what writes to them, what reads them and what carries them to others and
//! back is in the files below.

mod carry;
mod read;
mod write;

use axum::routing::MethodFilter;
use nearline::EmbeddingTable;
use nearline::embedding::{Method, STARTED, start_as};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::Kind;
use crate::call::{Answer, Call, plain, slow, write as writes};
use crate::error::ApiError;
use crate::json::table::{TableIn, method, table_out};
use crate::rights::{Access, of_table};
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    let one = plain(Kind::Search, MethodFilter::GET, show)
        .says("What an embedding table is and has")
        .merge(
            writes(MethodFilter::PUT, create)
                .needs(Access::Manage)
                .says("Creates an embedding table that is trained"),
        )
        .merge(
            plain(Kind::Write, MethodFilter::DELETE, delete)
                .needs(Access::Manage)
                .says("Drops an embedding table"),
        );
    Routes::new()
        .route(
            "/nearline/v1/tables",
            plain(Kind::Search, MethodFilter::GET, list).says("The names of all embedding tables"),
        )
        .route("/nearline/v1/tables/{table}", one)
        .route(
            of("pins"),
            plain(Kind::Write, MethodFilter::POST, pin).says("Keeps an embedding table's version of now"),
        )
        .route(
            of("pins/{version}"),
            plain(Kind::Write, MethodFilter::DELETE, unpin)
                .says("Lets go of a version of an embedding table"),
        )
        .route(
            of("maintenance"),
            slow(MethodFilter::POST, maintain).says("Does now what an embedding table does by itself"),
        )
        .merge(write::routes())
        .merge(read::routes())
        .merge(carry::routes())
}

/// A path below a table.
fn of(rest: &str) -> String {
    format!("/nearline/v1/tables/{{table}}/{rest}")
}

/// The table in the path.
fn table(call: &Call) -> Result<EmbeddingTable, ApiError> {
    call.app.tables().get(call.app.database(), call.name("table"))
}

fn list(call: &Call) -> Answer<Value> {
    let mut names = call.app.database().embedding_tables();
    names.retain(|name| call.app.rights().may_read(&of_table(name)));
    Ok(json!({ "tables": names }).into())
}

/// Refuses what would take more memory than the database has for tables.
fn check_budget(call: &Call, bytes: u64) -> Result<(), ApiError> {
    let most = call.app.database().memory_budget() / 2;
    if bytes > most {
        return Err(ApiError::wrong_input(format_args!(
            "budget: {bytes} bytes; expected at most {most}, half the memory of the database: start it with more"
        )));
    }
    Ok(())
}

fn create(call: &Call, request: TableIn) -> Answer<Value> {
    check_budget(call, request.budget)?;
    let method = method(&request.method, &[&STARTED[..], &[Method::Dynamic]].concat())?;
    if method == Method::Dynamic {
        let started = request.dynamic()?;
        let made = call.app.database().create_dynamic_table(call.name("table"), &started)?;
        let rows_max = started.rules().rows_max;
        return Ok(json!({ "version": made.pin().number(), "rows_max": rows_max }).into());
    }
    let TableIn { rows, dim, budget, scale, seed, optimizer, .. } = request;
    let started = start_as(method, rows, dim, budget, scale, seed)?;
    let made = call.app.database().create_trained_table(call.name("table"), &*started, optimizer.into())?;
    let bytes = started.bytes().total();
    Ok(json!({ "version": made.pin().number(), "bytes": bytes }).into())
}

fn show(call: &Call) -> Answer<Value> {
    let stats = table(call)?.stats()?;
    Ok(table_out(&stats, &call.app.tables().pins(call.name("table"))).into())
}

/// Says whether there was one.
fn delete(call: &Call) -> Answer<bool> {
    Ok(call.app.tables().drop_table(call.app.database(), call.name("table"))?.into())
}

fn pin(call: &Call) -> Answer<Value> {
    let version = call.app.tables().pin(&table(call)?, call.name("table"))?;
    Ok(json!({ "version": version }).into())
}

/// Says whether it was kept.
fn unpin(call: &Call) -> Answer<bool> {
    table(call)?;
    let number = call.name("version");
    let version: u64 = number.parse().map_err(|_| {
        ApiError::bad_request(format_args!("path: version {number:?}; expected the number of a version"))
    })?;
    Ok(call.app.tables().unpin(call.name("table"), version).into())
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// The log is folded into a new file.
    Compact,
    /// Rows that have expired go.
    Expire,
    /// So many levels are kept in memory.
    Resize,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct MaintainIn {
    action: Action,
    #[serde(default)]
    levels: u64,
}

fn maintain(call: &Call, request: MaintainIn) -> Answer<bool> {
    let table = table(call)?;
    match request.action {
        Action::Compact => table.compact()?,
        Action::Expire => drop(table.expire()?),
        Action::Resize => drop(table.resize(request.levels)?),
    }
    Ok(true.into())
}
