//! Collections made of snapshots: of one that is here, or of one that is uploaded.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use nearline::OpenError;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;

use crate::app::App;
use crate::archive::{self, FILES, Limits, Received, check_sum};
use crate::call::{Answer, Call, slow};
use crate::error::ApiError;
use crate::reply::Reply;
use crate::rights::Access;
use crate::table::{Body, Endpoint, Routes};

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
        Endpoint::new(MethodFilter::POST, Access::Manage, Body::Other(&["multipart/form-data"]), router)
            .answers::<bool>()
            .takes::<UploadParams>();
    Routes::new().route(
        "/collections/{collection}/snapshots/upload",
        upload.says("Makes a collection of a snapshot as it was downloaded, in place of what is there"),
    )
}

#[derive(Debug, Deserialize, JsonSchema)]
struct RecoverIn {
    location: String,
    checksum: Option<String>,
    /// Which of several copies would be right; there is one.
    priority: Option<PriorityIn>,
}

/// What goes with an archive that is uploaded.
#[derive(Debug, Deserialize, JsonSchema)]
struct UploadParams {
    checksum: Option<String>,
    priority: Option<PriorityIn>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum PriorityIn {
    NoSync,
    Snapshot,
    Replica,
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
    if let Some(checksum) = &request.checksum {
        let files = call.app.collection(from)?.snapshot_files(snapshot)?;
        check_sum(Some(checksum), || archive::checksum(&files)).map_err(ApiError::bad_request)?;
    }
    // It is checked, and there is nothing to choose.
    let _ = request.priority;
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
    let Query(UploadParams { checksum, priority }) =
        Query::try_from_uri(request.uri()).map_err(ApiError::parameters)?;
    // As when recovering.
    let _ = priority;
    let slot = app.download()?;
    let alone = Arc::clone(app.uploading()).lock_owned().await;
    let mut form = Multipart::from_request(request, &app).await.map_err(ApiError::bad_request)?;
    let (sender, receiver) = channel(PIECES);
    let (tell, told) = oneshot::channel();
    let limits = Limits { files: FILES, bytes: app.config().upload_bytes as u64, folders: false };
    let work = {
        let app = app.clone();
        move || {
            let unpacked = |folder: &std::path::Path| {
                let mut received = Received::new(receiver);
                archive::unpack(&mut received, folder, limits)
                    .and_then(|()| received.finish(checksum.as_deref()))
                    .map_err(|error| archive::not_unpacked(folder, error))
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
