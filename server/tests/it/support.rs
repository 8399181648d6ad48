//! A server in this process, and requests to it.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use nearline::Database;
use nearline_server::{App, Config, router};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// A server over an empty database.
pub(crate) struct Server {
    runtime: Runtime,
    router: Router,
    app: App,
    _folder: TempDir,
}

pub(crate) const BARE: &str = "application/octet-stream";
pub(crate) const NPY: &str = "application/x-npy";

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// The answer as JSON.
    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.bytes);
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The result in its envelope.
    pub(crate) fn result(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status.as_u16(), &json["status"]), (200, &json!("ok")), "{json}");
        assert!(json["time"].as_f64().is_some_and(|time| time >= 0.0), "{json}");
        json["result"].clone()
    }

    /// The text of a refusal in its envelope.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        assert!(self.status.is_client_error() || self.status.is_server_error(), "{} {json}", self.status);
        assert_eq!((&json["result"], &json["time"]), (&Value::Null, &json!(0.0)), "{json}");
        json["status"]["error"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// With settings in the form of their file.
    pub(crate) fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::builder(folder.path()).memory_budget(32 << 20).open().unwrap();
        let app = App::new(database, Config::read(config, |_| None).unwrap()).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { runtime, router: router(app.clone()), app, _folder: folder }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Sends a body as it is.
    pub(crate) fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        self.runtime.block_on(answer(self.router(), request))
    }

    /// Sends JSON.
    pub(crate) fn json(&self, method: &str, path: &str, body: Value) -> Answer {
        self.send(method, path, body.to_string())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "")
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Answer {
        self.json("POST", path, body)
    }

    pub(crate) fn put(&self, path: &str, body: Value) -> Answer {
        self.json("PUT", path, body)
    }

    /// A collection `c` of vectors of two numbers, and the points 1 to 4 in it.
    pub(crate) fn with_points(distance: &str) -> Self {
        let server = Self::start();
        server.put("/collections/c", json!({ "vectors": { "size": 2, "distance": distance } })).result();
        let points = [
            json!({ "id": 1, "vector": [1, 0], "payload": { "n": 1, "city": "Oslo", "in": { "a": 1, "b": 2 } } }),
            json!({ "id": 2, "vector": [3, 4], "payload": { "n": 2, "city": "Rome", "tags": ["x", "y"] } }),
            json!({ "id": 3, "vector": [0, 2], "payload": { "n": 3, "city": "Oslo" } }),
            json!({ "id": "f47ac10b-58cc-4372-a567-0e02b2c3d479", "vector": [-1, -1], "payload": null }),
        ];
        let written = server.put("/collections/c/points?wait=true", json!({ "points": points })).result();
        assert_eq!(written, json!({ "operation_id": 1, "status": "completed" }));
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.app.close();
    }
}

/// The answer to a request, read whole.
pub(crate) async fn answer(router: Router, request: Request<Body>) -> Answer {
    let (head, body) = router.oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { status: head.status, headers: head.headers, bytes }
}

/// The ids of points, in their order.
pub(crate) fn ids(points: &Value) -> Vec<Value> {
    points.as_array().unwrap_or_else(|| panic!("{points}")).iter().map(|point| point["id"].clone()).collect()
}

/// A request whose body and answer are of these kinds.
pub(crate) fn send(server: &Server, method: &str, path: &str, kinds: [&str; 2], body: Vec<u8>) -> Answer {
    let [kind, accept] = kinds;
    let request =
        Request::builder().method(method).uri(path).header("content-type", kind).header("accept", accept);
    server.runtime().block_on(answer(server.router(), request.body(body.into()).unwrap()))
}

pub(crate) fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The numbers of an answer in bytes.
pub(crate) fn numbers(answer: &Answer) -> Vec<f32> {
    assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
    answer.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
