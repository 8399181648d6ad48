//! Around every request: its id, what is counted of it, and what is logged.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::reply::Usage;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Bytes of an id that is taken from a client.
const ID_BYTES: usize = 128;

/// Counts and logs a request, and answers with its id.
pub(crate) async fn edge(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = sent_id(request.headers()).unwrap_or_else(new_id);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let (took, status) = (started.elapsed(), response.status().as_u16());
    // Methods and paths that nobody answers are the clients': they are counted together.
    let (of, at) = match &route {
        Some(route) if status != 405 => (method.as_str(), route.as_str()),
        _ => ("other", "other"),
    };
    app.metrics().answered(of, at, status, took);
    let usage = response.extensions_mut().remove::<Usage>();
    if let Some(usage) = &usage {
        app.metrics().searched(usage);
    }
    let shown = id.to_str().unwrap_or_default();
    log(&app, shown, method.as_str(), &path, status, took, usage.as_ref());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn log(app: &App, id: &str, method: &str, path: &str, status: u16, took: Duration, usage: Option<&Usage>) {
    let ms = took.as_secs_f64() * 1e3;
    if status >= 500 {
        tracing::warn!(id, method, path, status, ms, "failed");
    } else {
        tracing::debug!(id, method, path, status, ms, "answered");
    }
    let is_slow = took.as_secs_f64() >= app.config().slow_seconds;
    if let (Some(usage), true) = (usage, is_slow) {
        let Usage { strategy, lists, compared, pages, bytes, microseconds, .. } = usage;
        tracing::warn!(
            id,
            path,
            ms,
            strategy,
            lists,
            compared,
            pages,
            bytes,
            searched_us = microseconds,
            "slow query"
        );
    }
}

fn sent_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let is_plain = id.len() <= ID_BYTES && id.as_bytes().iter().all(u8::is_ascii_graphic);
    (is_plain && !id.is_empty()).then(|| id.clone())
}

/// An id that no other request of this process has, nor likely one of another.
fn new_id() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::try_from(format!("{:016x}-{number}", *PROCESS))
        .unwrap_or_else(|_| HeaderValue::from_static("none"))
}
