//! Too much, too slow, too many at a time.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Request;
use hyper::body::Frame;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{Answer, Server, answer};

#[test]
fn a_body_beyond_its_limit_is_refused_before_it_is_read() {
    let server = Server::with("body_bytes = 1000\nbodies_bytes = 4096");
    let refused = server.send("PUT", "/collections/c", vec![b' '; 1001]);
    assert_eq!(refused.status.as_u16(), 413);
    assert!(refused.error().contains("1000 bytes"), "{refused:?}");
    assert_eq!(server.send("PUT", "/collections/c", format!("{{{:>990}", "}")).status.as_u16(), 200);
    let declared =
        Request::builder().method("PUT").uri("/collections/d").header("content-length", "104857600");
    let declared = declared.body(Body::from("{}")).unwrap();
    assert_eq!(server.runtime().block_on(answer(server.router(), declared)).status.as_u16(), 413);
}

/// A body that never ends: so many bytes, then nothing.
fn endless(bytes: usize) -> Body {
    Body::new(Endless(Some(vec![b' '; bytes].into())))
}

struct Endless(Option<Bytes>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
    }
}

#[test]
fn a_body_that_never_ends_is_given_up() {
    let server = Server::with("request_seconds = 0.2");
    let refused = server.send("PUT", "/collections/c", endless(10));
    assert_eq!(refused.status.as_u16(), 408);
    assert!(refused.error().starts_with("Timeout: "), "{refused:?}");
}

/// Sends a request that will not end until it is aborted, again and again if it is refused itself, and others until one of those
/// is refused.
fn refused_beside(
    server: &Server,
    held: impl Fn() -> Request<Body>,
    other: impl Fn() -> Request<Body>,
) -> (Answer, JoinHandle<Answer>) {
    let (router, runtime) = (server.router(), server.runtime());
    let mut task = runtime.spawn(answer(router.clone(), held()));
    loop {
        let other = runtime.block_on(answer(router.clone(), other()));
        if other.status.as_u16() == 503 && !task.is_finished() {
            return (other, task);
        }
        if task.is_finished() {
            task = runtime.spawn(answer(router.clone(), held()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn put(path: &str, body: Body) -> Request<Body> {
    Request::builder().method("PUT").uri(path).body(body).unwrap()
}

#[test]
fn bodies_together_have_a_limit_and_their_room_comes_back() {
    let server = Server::with("body_bytes = 8192\nbodies_bytes = 10240");
    let small = || format!("{{{:>4000}", "}").into();
    let (refused, task) =
        refused_beside(&server, || put("/collections/c", endless(8000)), || put("/collections/c", small()));
    assert!(refused.headers.contains_key("retry-after") && refused.error().contains("bodies"), "{refused:?}");
    task.abort();
    assert!(server.runtime().block_on(task).unwrap_err().is_cancelled());
    let after = server.send("PUT", "/collections/d", format!("{{{:>8000}", "}"));
    assert_eq!(after.status.as_u16(), 200);
}

#[test]
fn requests_beyond_their_number_are_told_to_come_again() {
    let server = Server::with("requests = 1");
    let get = || Request::builder().uri("/collections").body(Body::empty()).unwrap();
    let (refused, task) = refused_beside(&server, || put("/collections/c", endless(10)), get);
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    assert_eq!(server.get("/healthz").status.as_u16(), 200, "probes are answered in any case");
    task.abort();
    assert!(server.runtime().block_on(task).is_err());
    assert_eq!(server.get("/collections").status.as_u16(), 200);
}

#[test]
fn many_requests_at_a_time_are_answered_or_told_to_come_again() {
    let server = Server::with("queue = 8\nwrite_threads = 2");
    server.put("/collections/c", json!({ "vectors": { "size": 2, "distance": "Dot" } })).result();
    let (router, runtime) = (server.router(), server.runtime());
    let request = |id: u64| {
        let body = json!({ "points": [{ "id": id, "vector": [1, id] }] }).to_string();
        Request::builder().method("PUT").uri("/collections/c/points?wait=true").body(body.into()).unwrap()
    };
    let all: Vec<_> = (0..300).map(|id| (id, runtime.spawn(answer(router.clone(), request(id))))).collect();
    let mut written = 0;
    for (id, task) in all {
        let answer = runtime.block_on(task).unwrap();
        match answer.status.as_u16() {
            200 => {
                written += 1;
                assert_eq!(server.get(&format!("/collections/c/points/{id}")).status.as_u16(), 200);
            }
            status => assert_eq!(status, 503, "{answer:?}"),
        }
    }
    assert!(written >= 8);
    let count = server.post("/collections/c/points/count", json!({})).result();
    assert_eq!(count, json!({ "count": written }), "what was refused was not written");
}

#[test]
fn thousands_at_a_time_are_answered_or_told_to_come_again() {
    let server = Server::with_points("Dot");
    let (router, runtime) = (server.router(), server.runtime());
    let request = || {
        let body = json!({ "query": [1, 1], "limit": 3 }).to_string();
        Request::builder().method("POST").uri("/collections/c/points/query").body(body.into()).unwrap()
    };
    let all: Vec<_> = (0..5_000).map(|_| runtime.spawn(answer(router.clone(), request()))).collect();
    let statuses: Vec<u16> =
        all.into_iter().map(|task| runtime.block_on(task).unwrap().status.as_u16()).collect();
    assert!(statuses.iter().all(|status| [200, 503].contains(status)));
    assert!(statuses.contains(&200));
    assert_eq!(server.get("/collections").status.as_u16(), 200);
}

#[test]
fn a_hundred_megabytes_are_refused_however_they_come() {
    let server = Server::start();
    for (path, kind) in [
        ("/collections/c", "application/json"),
        ("/collections/c/points", "application/json"),
        ("/nearline/v1/collections/c/points?start=0", "application/octet-stream"),
    ] {
        let request = Request::builder().method("PUT").uri(path).header("content-type", kind);
        let request = request.body(Body::from(vec![b'1'; 100 << 20])).unwrap();
        let refused = server.runtime().block_on(answer(server.router(), request));
        assert_eq!(refused.status.as_u16(), 413, "{path}: {refused:?}");
    }
}

#[test]
fn whoever_is_refused_before_the_body_is_read_is_told_that_the_connection_ends() {
    let server = Server::with_points("Dot");
    let told = |method: &str, path: &str, body: &'static str| {
        let answer = server.send(method, path, body);
        (answer.status.as_u16(), answer.headers.get("connection").map(|value| value.as_bytes().to_vec()))
    };
    let ends = Some(b"close".to_vec());
    assert_eq!(told("POST", "/nowhere", "{}"), (404, ends.clone()));
    assert_eq!(told("DELETE", "/collections/c/points/count", "{}"), (405, ends.clone()));
    assert_eq!(told("POST", "/collections/c/points/count?timeout=x", "{}"), (400, ends));
    assert_eq!(told("POST", "/collections/c/points/count", "{}"), (200, None));
    assert_eq!(told("POST", "/collections/c/points/count", "{"), (400, None));
    assert_eq!(told("POST", "/collections/d/points/count", "{}"), (404, None));
    assert_eq!(told("POST", "/nowhere", ""), (404, None));
}
