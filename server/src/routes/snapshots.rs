//! Snapshots: kept, listed, dropped, downloaded.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::{MethodFilter, any, on};
use nearline::filter::format_datetime;
use nearline::{Collection, OpenError, WriteError};
use serde::Serialize;

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
    let of_all = any(async || ApiError::unsupported("snapshots of the whole storage"));
    Routes::new()
        .route("/collections/{collection}/snapshots", all)
        .route("/collections/{collection}/snapshots/{snapshot}", one)
        .route("/snapshots", Endpoint::refusing(of_all.clone()))
        .route("/snapshots/{snapshot}", Endpoint::refusing(of_all))
}

/// A snapshot as it describes itself.
#[derive(Debug, Serialize)]
struct Described {
    name: String,
    creation_time: Option<String>,
    size: u64,
    checksum: Option<String>,
}

fn described(collection: &Collection, name: String) -> Result<Described, ApiError> {
    let info = collection.snapshot_info(&name)?;
    let micros = since_1970(info.created).as_micros() as i64;
    // The dialect has moments without a zone here.
    let creation_time = format_datetime(micros - micros % 1_000_000).trim_end_matches('Z').to_owned();
    Ok(Described { name, creation_time: Some(creation_time), size: info.bytes, checksum: None })
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn list(call: &Call) -> Answer<Vec<Described>> {
    let collection = call.collection()?;
    let all = collection.snapshots()?.into_iter().filter_map(|name| match described(&collection, name) {
        // Dropped meanwhile.
        Err(error) if error.status().as_u16() == 404 => None,
        described => Some(described),
    });
    Ok(all.collect::<Result<Vec<_>, _>>()?.into())
}

fn create(call: &Call) -> Answer<Described> {
    let collection = call.collection()?;
    let mut millis = since_1970(SystemTime::now()).as_millis();
    loop {
        // Names are at most 255 bytes; that of the collection is only there to be recognised.
        let of: String = collection.name().chars().take(48).collect();
        let name = format!("{of}-{millis}.snapshot");
        match collection.snapshot(&name) {
            Err(WriteError::Name(error)) if matches!(*error, OpenError::Exists { .. }) => millis += 1,
            made => {
                made?;
                return Ok(described(&collection, name)?.into());
            }
        }
    }
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
    let mut response = Response::new(archive::stream(files, slot)?);
    let tar = HeaderValue::from_static("application/x-tar");
    response.headers_mut().insert(header::CONTENT_TYPE, tar);
    // Names may have letters that a header cannot have: then the path says it.
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.tar\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}
