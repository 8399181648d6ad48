//! Collections made of snapshots: of one that is here, or of one that is uploaded.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use nearline::OpenError;
use serde::Deserialize;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;

use crate::app::App;
use crate::archive::{self, Limits, Received};
use crate::call::{Answer, Call, slow};
use crate::error::ApiError;
use crate::reply::Reply;
use crate::rights::Access;
use crate::table::{Body, Endpoint, Routes};

/// Files of an archive.
const FILES: usize = 1 << 16;
/// Pieces that were received and not yet written.
const PIECES: usize = 4;

pub(super) fn routes() -> Routes {
    let recover = slow(MethodFilter::PUT, recover).needs(Access::Manage);
    Routes::new().route(
        "/collections/{collection}/snapshots/recover",
        recover.says("Makes a collection of a snapshot, in place of what is there"),
    )
}

/// Uploads take as long as they take: every piece has its time.
pub(super) fn uploads() -> Routes {
    let router = on(MethodFilter::POST, upload).layer(DefaultBodyLimit::disable());
    let upload =
        Endpoint::new(MethodFilter::POST, Access::Manage, Body::Other(&["multipart/form-data"]), router);
    Routes::new().route(
        "/collections/{collection}/snapshots/upload",
        upload.says("Makes a collection of a snapshot as it was downloaded, in place of what is there"),
    )
}

#[derive(Debug, Deserialize)]
struct RecoverIn {
    location: String,
}

/// A location says which collection and which snapshot of it. It is never a path: nothing else of the disk can be meant.
fn recover(call: &Call, request: RecoverIn) -> Answer<bool> {
    let location = &request.location;
    let odd = || {
        ApiError::bad_request(format_args!(
            "location is {location:?}; expected file:///COLLECTION/SNAPSHOT, both of this server; what is elsewhere can be uploaded"
        ))
    };
    let (from, snapshot) =
        location.strip_prefix("file:///").and_then(|rest| rest.split_once('/')).ok_or_else(odd)?;
    let database = call.app.database();
    in_place(&call.app, call.collection_name(), "recovering", |name| {
        database.restore_snapshot(from, snapshot, name).map(drop)
    })?;
    Ok(true.into())
}

/// Makes a collection under a name of its own, and then puts it in the place of the one that is there.
fn in_place(
    app: &App,
    name: &str,
    doing: &str,
    make: impl FnOnce(&str) -> Result<(), OpenError>,
) -> Result<(), ApiError> {
    let (database, name) = (app.database(), app.real_name(name));
    if !database.collections().contains(&name) {
        return Ok(make(&name)?);
    }
    let draft: String = format!("{}.{doing}", name.chars().take(48).collect::<String>());
    if database.collections().contains(&draft) {
        // Of an attempt that the end of the process cut short: there is one at a time.
        database.drop_collection(&draft)?;
    }
    make(&draft)?;
    app.forget(&name);
    Ok(database.replace_collection(&name, &draft)?)
}

async fn upload(
    State(app): State<App>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let started = std::time::Instant::now();
    let slot = app.download()?;
    let alone = Arc::clone(app.uploading()).lock_owned().await;
    let mut form = Multipart::from_request(request, &app).await.map_err(ApiError::bad_request)?;
    let (sender, receiver) = channel(PIECES);
    let (tell, told) = oneshot::channel();
    let limits = Limits { files: FILES, bytes: app.config().upload_bytes as u64 };
    let work = {
        let app = app.clone();
        move || {
            let unpacked = |folder: &std::path::Path| {
                archive::unpack(Received::new(receiver), folder, limits)
                    .map_err(|error| OpenError::Source(Arc::new(error)))
            };
            let done = in_place(&app, &name, "uploading", |name| {
                app.database().import_snapshot(name, unpacked).map(drop)
            });
            drop((slot, alone));
            // Whoever asked may have gone.
            let _ = tell.send(done);
        }
    };
    std::thread::Builder::new().name("upload".to_owned()).spawn(work).map_err(ApiError::internal)?;
    let limit = Duration::from_secs_f64(app.config().write_seconds);
    // What is wrong with the archive is told first; that the rest was not taken follows from it.
    let pumped = pump(&mut form, sender, limit).await;
    match told.await.map_err(ApiError::internal)? {
        Ok(()) => Reply::from(true).into_response(started, false),
        Err(error) => Err(pumped.err().unwrap_or(error)),
    }
    .map(IntoResponse::into_response)
}

/// Hands on the first file of a form, piece by piece.
async fn pump(
    form: &mut Multipart,
    sender: Sender<Option<axum::body::Bytes>>,
    limit: Duration,
) -> Result<(), ApiError> {
    let late = |_| ApiError::timeout(limit.as_secs_f64());
    let field = tokio::time::timeout(limit, form.next_field()).await.map_err(late)?;
    let field = field.map_err(ApiError::bad_request)?;
    let mut field =
        field.ok_or_else(|| ApiError::bad_request("an empty form; expected a file `snapshot`"))?;
    loop {
        let piece = tokio::time::timeout(limit, field.chunk()).await.map_err(late)?;
        let piece = piece.map_err(ApiError::bad_request)?;
        let is_last = piece.is_none();
        if sender.send(piece).await.is_err() || is_last {
            return Ok(());
        }
    }
}
