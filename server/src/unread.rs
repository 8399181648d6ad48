//! Answers that did not wait for the whole body: their connection ends, and the client is told, lest its next request be lost.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

/// Answers a request; says that the connection ends if something of its body was left unread.
pub(crate) async fn unread(request: Request, next: Next) -> Response {
    let is_unread = Arc::new(AtomicBool::new(!request.body().is_end_stream()));
    let watching = Arc::clone(&is_unread);
    let request = request.map(|inner| Body::new(Watched { inner, is_unread: watching }));
    let mut response = next.run(request).await;
    if is_unread.load(Ordering::Relaxed) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body that notes when all of it was read.
#[derive(Debug)]
struct Watched {
    inner: Body,
    is_unread: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.inner.is_end_stream() {
            self.is_unread.store(false, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
