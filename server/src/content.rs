//! Bodies of requests: read whole, within limits that hold for one and for all together.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::error::ApiError;

/// Bytes of a body that are counted together.
const UNIT: usize = 1024;

/// The body of a request. While it is there, its bytes count among those of all.
#[derive(Debug)]
pub(crate) struct Content {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Content {
    /// The body as JSON. No body is `null`.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let bytes: &[u8] = if self.bytes.is_empty() { b"null" } else { &self.bytes };
        serde_json::from_slice(bytes).map_err(|error| ApiError::format(&error))
    }
}

impl FromRequest<App> for Content {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let most = app.config().body_bytes;
        let too_large = || ApiError::too_large(format_args!("a body of more than {most} bytes"));
        if content_length(request.headers()).is_some_and(|length| length > most as u64) {
            return Err(too_large());
        }
        let mut reading = Reading { body: request.into_body(), bytes: Vec::new(), room: None };
        while let Some(data) = reading.next().await? {
            if reading.bytes.len() + data.len() > most {
                return Err(too_large());
            }
            reading.make_room(app, data.len())?;
            reading.bytes.extend_from_slice(&data);
        }
        Ok(Self { bytes: reading.bytes.into(), _room: reading.room })
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body that is being read.
struct Reading {
    body: Body,
    bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            match self.body.frame().await {
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

    /// Takes what more bytes need of the room that all bodies have together.
    fn make_room(&mut self, app: &App, more: usize) -> Result<(), ApiError> {
        let needed = (self.bytes.len() + more).div_ceil(UNIT);
        let held = self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if needed <= held {
            return Ok(());
        }
        let full = |_| ApiError::busy("the bodies of other requests take all the room there is");
        let more = app.room().try_acquire_many_owned((needed - held) as u32).map_err(full)?;
        match &mut self.room {
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
