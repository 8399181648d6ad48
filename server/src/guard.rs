//! Before a request is looked at: who sent it, and whether they may.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nearline::Scroll;

use crate::app::{App, Kind};
use crate::error::ApiError;
use crate::rights::{Access, Rights, of_space, of_table};
use crate::table::Needs;
use crate::token::{Granted, ValueExists};

/// Refuses what the sender may not do, and notes for what comes after what they may.
pub(crate) async fn guard(
    State((app, needs)): State<(App, Arc<Needs>)>,
    request: Request,
    next: Next,
) -> Response {
    match admitted(&app, &needs, request).await {
        Ok(request) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Refuses a token whose point is not there any more. The search threads look for it.
async fn must_exist(app: &App, wanted: ValueExists) -> Result<(), ApiError> {
    let invalid = || ApiError::unauthorized("Invalid JWT, stateful validation failed");
    let every = app.clone();
    let find = move || -> Result<bool, ApiError> {
        let one = Scroll::new().limit(1).filter(wanted.filter());
        let found = every.collection(&wanted.collection)?.scroll(&one)?;
        Ok(!found.points.is_empty())
    };
    match app.pool(Kind::Search).run(find).await? {
        Ok(true) => Ok(()),
        Ok(false) => Err(invalid()),
        Err(error) if error.status().is_client_error() => Err(invalid()),
        Err(error) => Err(error),
    }
}

async fn admitted(app: &App, needs: &Needs, request: Request) -> Result<Request, ApiError> {
    let (mut parts, body) = request.into_parts();
    let path = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let access = path.map_or(Access::Read, |path| needs.access(&path, &parts.method));
    if access > Access::Open {
        let Granted { rights, value_exists } = app.keys().rights(&parts.headers)?;
        if let Some(wanted) = value_exists {
            must_exist(app, wanted).await?;
        }
        // A path without such a part, or one that cannot be read, is refused by whoever reads it.
        let params = RawPathParams::from_request_parts(&mut parts, app).await.ok();
        let part = |part: &str| {
            let mut parts = params.as_ref()?.iter();
            parts.find_map(|(name, value)| (name == part).then_some(value))
        };
        match (part("collection"), part("space"), part("table")) {
            _ if rights == Rights::Manage => {}
            (Some(name), ..) => rights.check(access, Some(&app.real_name(name)))?,
            (_, Some(name), _) => rights.check(access, Some(&of_space(name)))?,
            (.., Some(name)) => rights.check(access, Some(&of_table(name)))?,
            _ => rights.check(access, None)?,
        }
        parts.extensions.insert(rights);
    }
    Ok(Request::from_parts(parts, body))
}
