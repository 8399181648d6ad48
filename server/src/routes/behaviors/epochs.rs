//! Epochs of a behaviour space: made, built while another serves, dropped.

use axum::routing::MethodFilter;
use serde_json::{Value, json};

use super::{of, space};
use crate::app::Kind;
use crate::call::{Answer, Call, plain, write};
use crate::error::ApiError;
use crate::json::behavior::{EpochIn, epoch_out};
use crate::rights::Access;
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            of("epochs"),
            plain(Kind::Search, MethodFilter::GET, list)
                .says("All epochs of a behaviour space, and how far")
                .merge(
                    write(MethodFilter::POST, create)
                        .needs(Access::Manage)
                        .says("Makes an epoch of a behaviour space"),
                ),
        )
        .route(
            of("epochs/{epoch}/build"),
            plain(Kind::Write, MethodFilter::POST, build)
                .needs(Access::Manage)
                .says("Builds an epoch in the background, which then serves"),
        )
        .route(
            of("epochs/{epoch}"),
            plain(Kind::Write, MethodFilter::DELETE, delete)
                .needs(Access::Manage)
                .says("Drops an epoch that does not serve"),
        )
}

fn list(call: &Call) -> Answer<Value> {
    let epochs: Vec<Value> = space(call)?.epochs().iter().map(epoch_out).collect();
    Ok(json!({ "epochs": epochs }).into())
}

fn create(call: &Call, request: EpochIn) -> Answer<Value> {
    let EpochIn { options, keep } = request;
    let epoch = space(call)?.create_epoch(options.options()?, keep)?;
    Ok(json!({ "epoch": epoch }).into())
}

fn build(call: &Call) -> Answer<bool> {
    space(call)?.build_epoch(number(call)?)?;
    Ok(true.into())
}

fn delete(call: &Call) -> Answer<bool> {
    space(call)?.drop_epoch(number(call)?)?;
    Ok(true.into())
}

/// The number of the epoch in the path.
fn number(call: &Call) -> Result<u32, ApiError> {
    let found = call.name("epoch");
    let bad = |_| ApiError::bad_request(format_args!("epoch {found:?}; expected the number of an epoch"));
    found.parse().map_err(bad)
}
