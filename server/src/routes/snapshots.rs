//! Snapshots: kept, listed, dropped, downloaded.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use nearline::filter::format_datetime;
use nearline::{OpenError, SnapshotFile, SnapshotInfo, WriteError};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::Kind;
use crate::archive;
use crate::call::{Answer, Call, Incoming, on_pool, plain};
use crate::error::ApiError;
use crate::rights::Access;
use crate::table::{Body, Endpoint, Routes};

pub(super) fn routes() -> Routes {
    let all = plain(Kind::Search, MethodFilter::GET, list)
        .says("The snapshots of a collection")
        .merge(plain(Kind::Write, MethodFilter::POST, create).says("Makes a snapshot"));
    let one = plain(Kind::Write, MethodFilter::DELETE, delete).says("Drops a snapshot").merge(
        Endpoint::new(MethodFilter::GET, Access::Read, Body::None, on(MethodFilter::GET, download))
            .says("A snapshot as a tar archive"),
    );
    Routes::new()
        .route("/collections/{collection}/snapshots", all)
        .route("/collections/{collection}/snapshots/{snapshot}", one)
}

/// A snapshot as it describes itself.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Described {
    name: String,
    creation_time: Option<String>,
    size: u64,
    checksum: Option<String>,
}

impl Described {
    pub(super) fn new(info: SnapshotInfo) -> Self {
        let micros = since_1970(info.created).as_micros() as i64;
        // The dialect has moments without a zone here.
        let time = format_datetime(micros - micros % 1_000_000).trim_end_matches('Z').to_owned();
        Self { name: info.name, creation_time: Some(time), size: info.bytes, checksum: None }
    }
}

/// Descriptions of those that are there; what was dropped meanwhile is left out.
pub(super) fn all_described(
    names: Vec<String>,
    info: impl Fn(&str) -> Result<SnapshotInfo, OpenError>,
) -> Result<Vec<Described>, ApiError> {
    let all = names.iter().filter_map(|name| match info(name) {
        Err(OpenError::Missing { .. }) => None,
        info => Some(info.map(Described::new)),
    });
    Ok(all.collect::<Result<Vec<_>, _>>()?)
}

/// Makes a snapshot under a name of the time that begins like this, and says its name.
pub(super) fn make_named(
    of: &str,
    make: impl Fn(&str) -> Result<(), WriteError>,
) -> Result<String, WriteError> {
    let mut millis = since_1970(SystemTime::now()).as_millis();
    loop {
        let name = format!("{of}-{millis}.snapshot");
        match make(&name) {
            Err(WriteError::Name(error)) if matches!(*error, OpenError::Exists { .. }) => millis += 1,
            made => return made.map(|()| name),
        }
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn list(call: &Call) -> Answer<Vec<Described>> {
    let collection = call.collection()?;
    Ok(all_described(collection.snapshots()?, |name| collection.snapshot_info(name))?.into())
}

fn create(call: &Call) -> Answer<Described> {
    let collection = call.collection()?;
    // Names are at most 255 bytes; that of the collection is only there to be recognised.
    let of: String = collection.name().chars().take(48).collect();
    let name = make_named(&of, |name| collection.snapshot(name))?;
    Ok(Described::new(collection.snapshot_info(&name)?).into())
}

fn delete(call: &Call) -> Answer<bool> {
    call.collection()?.drop_snapshot(call.name("snapshot"))?;
    Ok(true.into())
}

/// The files of a snapshot as one archive.
async fn download(incoming: Incoming) -> Result<Response, ApiError> {
    let app = incoming.app();
    let slot = app.download()?;
    let (name, files) = on_pool(Kind::Search, incoming, |call, _| {
        let name = call.name("snapshot").to_owned();
        let files = call.collection()?.snapshot_files(&name)?;
        Ok((name, files))
    })
    .await?;
    sent(&name, files, slot)
}

/// Files as an archive of this name.
pub(super) fn sent(
    name: &str,
    files: Vec<SnapshotFile>,
    slot: OwnedSemaphorePermit,
) -> Result<Response, ApiError> {
    let mut response = Response::new(archive::stream(files, slot)?);
    let tar = HeaderValue::from_static("application/x-tar");
    response.headers_mut().insert(header::CONTENT_TYPE, tar);
    // Names may have letters that a header cannot have: then the path says it.
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.tar\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}
