//! Bodies of requests: read whole, within limits that hold for one and for all together, packed or not.

use std::io::Read;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::error::ApiError;
use crate::tensors;

/// Bytes of a body that are counted together.
const UNIT: usize = 1024;
/// Bytes that are unpacked at a time.
const PIECE_BYTES: usize = 64 << 10;

/// The body of a request. While it is there, its bytes count among those of all.
#[derive(Debug)]
pub(crate) struct Content {
    bytes: Bytes,
    is_packed: bool,
    media_type: Option<String>,
    /// Bytes of the head of a body that has numbers behind it.
    head_bytes: Option<usize>,
    _room: Room,
}

impl Content {
    /// The body as JSON. No body is `null`.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let bytes: &[u8] = if self.bytes.is_empty() { b"null" } else { &self.bytes };
        serde_json::from_slice(bytes).map_err(|error| ApiError::format(&error))
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What kind of bytes they are, if the client says.
    pub(crate) fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// How many of the bytes are a head in JSON, if the client says.
    pub(crate) fn head_bytes(&self) -> Option<usize> {
        self.head_bytes
    }

    /// The same unpacked, if it is packed. The limits are those of a body that is not.
    pub(crate) fn unpacked(self, app: &App) -> Result<Self, ApiError> {
        if !self.is_packed {
            return Ok(self);
        }
        let most = app.config().body_bytes;
        let mut unpacked = MultiGzDecoder::new(self.bytes.as_ref());
        let (mut bytes, mut room, mut piece) = (Vec::new(), Room::default(), vec![0; PIECE_BYTES]);
        loop {
            let read = unpacked
                .read(&mut piece)
                .map_err(|error| ApiError::bad_request(format_args!("body: gzip: {error}")))?;
            if read == 0 {
                break;
            }
            if bytes.len() + read > most {
                return Err(too_large(most));
            }
            room.make(app, bytes.len() + read)?;
            bytes.extend_from_slice(&piece[..read]);
        }
        Ok(Self { bytes: bytes.into(), is_packed: false, _room: room, ..self })
    }
}

fn too_large(most: usize) -> ApiError {
    ApiError::too_large(format_args!("a body of more than {most} bytes"))
}

impl FromRequest<App> for Content {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let most = app.config().body_bytes;
        let headers = request.headers();
        if content_length(headers).is_some_and(|length| length > most as u64) {
            return Err(too_large(most));
        }
        let (is_packed, head_bytes) = (is_packed(headers)?, tensors::head_bytes(headers)?);
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.map(str::to_owned);
        let (mut body, mut bytes, mut room) = (request.into_body(), Vec::new(), Room::default());
        while let Some(data) = next(&mut body).await? {
            if bytes.len() + data.len() > most {
                return Err(too_large(most));
            }
            room.make(app, bytes.len() + data.len())?;
            bytes.extend_from_slice(&data);
        }
        Ok(Self { bytes: bytes.into(), is_packed, media_type, head_bytes, _room: room })
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_packed(headers: &HeaderMap) -> Result<bool, ApiError> {
    let encoding =
        headers.get(header::CONTENT_ENCODING).map_or("identity", |value| value.to_str().unwrap_or("?"));
    match encoding.to_ascii_lowercase().as_str() {
        "identity" | "" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        other => {
            Err(ApiError::media_type(format_args!("content-encoding is {other:?}; expected gzip or none")))
        }
    }
}

/// The next piece of a body that is being read.
async fn next(body: &mut Body) -> Result<Option<Bytes>, ApiError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(ApiError::bad_request(format_args!("body: {error}"))),
            // Trailers say nothing to us.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// What a body takes of the room that all bodies have together.
#[derive(Debug, Default)]
struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    /// Takes as much as so many bytes need in all.
    fn make(&mut self, app: &App, bytes: usize) -> Result<(), ApiError> {
        let needed = units(bytes);
        let held = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if needed <= held {
            return Ok(());
        }
        let full = |_| ApiError::busy("the bodies of other requests take all the room there is");
        let more = app.room().try_acquire_many_owned((needed - held) as u32).map_err(full)?;
        match &mut self.0 {
            Some(room) => room.merge(more),
            room => *room = Some(more),
        }
        Ok(())
    }
}

/// Units that so many bytes are counted as.
pub(crate) fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

/// Bytes that so many units are.
pub(crate) fn bytes_of(units: usize) -> u64 {
    (units * UNIT) as u64
}
