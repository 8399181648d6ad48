//! Figures, ids of requests, packed bodies, pages of other origins.

use std::io::{Read, Write};
use std::time::Duration;

use axum::http::Request;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::{Answer, Server, answer};

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.runtime().block_on(answer(server.router(), request.body(body.into()).unwrap()))
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// The value of a figure with these labels.
fn figure(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

fn told(server: &Server) -> String {
    let told = server.get("/metrics");
    assert!(told.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    String::from_utf8(told.bytes).unwrap()
}

#[test]
fn what_is_asked_is_counted_by_route_and_what_it_cost() {
    let server = Server::with_points("Dot");
    for _ in 0..3 {
        server.post("/collections/c/points/query", json!({ "query": [1, 0], "limit": 2 })).result();
    }
    for name in ["a", "b", "x%00"] {
        server.get(&format!("/collections/{name}"));
        server.get(&format!("/nowhere/{name}"));
        server.send("PURGE", &format!("/collections/{name}"), "");
    }
    let text = told(&server);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let query = r#"method="POST",route="/collections/{collection}/points/query""#;
    assert_eq!(figure(&text, &format!(r#"nearline_http_requests_total{{{query},status="200"}}"#)), 3.0);
    assert_eq!(figure(&text, &format!("nearline_http_request_seconds_count{{{query}}}")), 3.0);
    let other = r#"method="other",route="other""#;
    assert_eq!(figure(&text, &format!(r#"nearline_http_requests_total{{{other},status="404"}}"#)), 3.0);
    assert_eq!(figure(&text, &format!(r#"nearline_http_requests_total{{{other},status="405"}}"#)), 3.0);
    assert_eq!(figure(&text, "nearline_query_lists_count"), 3.0);
    assert_eq!(figure(&text, r#"nearline_points{collection="c"}"#), 4.0);
    assert_eq!(figure(&text, "nearline_memory_budget_bytes"), f64::from(32 << 20));
    assert!(figure(&text, "nearline_process_resident_bytes") > 1e6);
    assert_eq!(figure(&text, r#"nearline_queue_waiting{kind="search"}"#), 0.0);
    assert!(!text.contains("nowhere") && !text.contains("PURGE"), "labels are not the clients' to choose");
}

#[test]
fn the_recall_of_samples_is_told() {
    let server = Server::with("recall_sample = 1");
    server.put("/collections/c", json!({ "vectors": { "size": 2, "distance": "Dot" } })).result();
    let points: Vec<Value> = (0..50).map(|id| json!({ "id": id, "vector": [id, 1] })).collect();
    server.put("/collections/c/points?wait=true", json!({ "points": points })).result();
    server.post("/collections/c/points/query", json!({ "query": [1, 0], "limit": 7 })).result();
    let text = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(10));
        told(&server)
    })
    .take(1_000)
    .find(|text| figure(text, "nearline_recall_samples_total") > 0.0)
    .unwrap();
    assert_eq!(figure(&text, "nearline_recall_expected_total"), 7.0);
    assert_eq!(figure(&text, "nearline_recall_found_total"), 7.0);
}

#[test]
fn requests_have_ids_their_own_or_new_ones() {
    let server = Server::start();
    for path in ["/collections", "/healthz", "/nowhere"] {
        let own = ask(&server, "GET", path, &[("x-request-id", "abc-1")], Vec::new());
        assert_eq!(own.headers["x-request-id"], "abc-1");
        let (one, two) = (server.get(path), server.get(path));
        assert_ne!(one.headers["x-request-id"], two.headers["x-request-id"]);
    }
    for odd in ["", "a b", "a\tb", &"x".repeat(129)] {
        let answered = ask(&server, "GET", "/healthz", &[("x-request-id", odd)], Vec::new());
        assert_ne!(answered.headers["x-request-id"], odd);
    }
}

#[test]
fn bodies_and_answers_are_packed_for_those_that_want_it() {
    let server = Server::with_points("Dot");
    let body = packed(json!({ "points": [{ "id": 9, "vector": [5, 5] }] }).to_string().as_bytes());
    let path = "/collections/c/points?wait=true";
    ask(&server, "PUT", path, &[("content-encoding", "gzip")], body.clone()).result();
    let plain = server
        .post("/collections/c/points/query", json!({ "query": [1, 1], "limit": 5, "with_vector": true }));
    assert!(!plain.headers.contains_key("content-encoding"));
    server.put(
        path,
        json!({ "points": [{ "id": 9, "vector": [5, 5], "payload": { "text": "a".repeat(5_000) } }] }),
    );
    let small = ask(&server, "GET", "/collections", &[("accept-encoding", "gzip")], Vec::new());
    assert!(!small.headers.contains_key("content-encoding"), "it would not be smaller");
    let large =
        ask(&server, "GET", "/collections/c/points/9", &[("accept-encoding", "br, gzip")], Vec::new());
    assert_eq!(
        (&large.headers["content-encoding"], &large.headers["vary"]),
        (&"gzip".parse().unwrap(), &"accept-encoding".parse().unwrap())
    );
    let mut unpacked = String::new();
    GzDecoder::new(large.bytes.as_slice()).read_to_string(&mut unpacked).unwrap();
    let json: Value = serde_json::from_str(&unpacked).unwrap();
    assert_eq!(json["result"]["payload"]["text"].as_str().unwrap().len(), 5_000);
    for (encoding, body, status) in [
        ("gzip", body[..body.len() - 4].to_vec(), 400),
        ("gzip", b"{}".to_vec(), 400),
        ("br", body.clone(), 415),
        ("gzip, gzip", body, 415),
    ] {
        let refused = ask(&server, "PUT", path, &[("content-encoding", encoding)], body);
        assert_eq!(refused.status.as_u16(), status, "{encoding}: {refused:?}");
        refused.error();
    }
}

#[test]
fn a_bomb_is_refused_when_it_has_grown_to_the_limit() {
    let server = Server::with("body_bytes = 1000000\nbodies_bytes = 1000000");
    let bomb = packed(&vec![b' '; 200 << 20]);
    assert!(bomb.len() < 1_000_000);
    for _ in 0..3 {
        let refused = ask(&server, "PUT", "/collections/c", &[("content-encoding", "gzip")], bomb.clone());
        // With its own bytes there is not even room for the limit.
        assert!([413, 503].contains(&refused.status.as_u16()), "{refused:?}");
    }
    let server = Server::with("body_bytes = 1000000");
    let refused = ask(&server, "PUT", "/collections/c", &[("content-encoding", "gzip")], bomb);
    assert_eq!(refused.status.as_u16(), 413, "{refused:?}");
    assert_eq!(server.get("/collections").status.as_u16(), 200);
}

#[test]
fn pages_of_other_origins_may_ask_only_where_it_is_set() {
    let preflight = [
        ("origin", "https://a.org"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "api-key"),
    ];
    let shut = ask(&Server::start(), "OPTIONS", "/collections", &preflight, Vec::new());
    assert!(!shut.headers.contains_key("access-control-allow-origin"));
    let server = Server::with("origins = ['https://a.org']\napi_key = 'k'");
    let open = ask(&server, "OPTIONS", "/collections", &preflight, Vec::new());
    assert_eq!(open.headers["access-control-allow-origin"], "https://a.org");
    let other =
        ask(&server, "OPTIONS", "/collections", &[("origin", "https://b.org"), preflight[1]], Vec::new());
    assert!(!other.headers.contains_key("access-control-allow-origin"));
    let asked = ask(&server, "GET", "/collections", &[preflight[0]], Vec::new());
    assert_eq!(asked.status.as_u16(), 401, "an origin is no key");
}
