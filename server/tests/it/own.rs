//! What is not of the dialect: bytes, figures of a collection, its maintenance, reads of a snapshot, the document.

use axum::http::Request;
use serde_json::{Value, json};

use crate::support::{Answer, Server, answer, ids};

const POINTS: &str = "/nearline/v1/collections/c/points";
const QUERY: &str = "/nearline/v1/collections/c/query";

fn send(server: &Server, method: &str, path: &str, kind: &str, body: Vec<u8>) -> Answer {
    let request = Request::builder().method(method).uri(path).header("content-type", kind);
    server.runtime().block_on(answer(server.router(), request.body(body.into()).unwrap()))
}

fn rows(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn npy(count: usize, numbers: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 2), }}\n");
    let head =
        [b"\x93NUMPY\x01\0".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
    [head, rows(numbers)].concat()
}

#[test]
fn rows_of_bytes_are_written_and_asked_with_as_json_is() {
    let server = Server::with_points("Cosine");
    let bare = "application/octet-stream";
    let written =
        send(&server, "PUT", &format!("{POINTS}?start=10&wait=true"), bare, rows(&[3.0, 4.0, 0.0, 5.0]));
    assert_eq!(written.result()["status"], "completed");
    let written =
        send(&server, "PUT", &format!("{POINTS}?start=20"), "application/x-npy", npy(1, &[5.0, 0.0]));
    written.result();
    let with_ids = [7_u64.to_le_bytes().to_vec(), rows(&[1.0, 1.0])].concat();
    send(&server, "PUT", &format!("{POINTS}?ids=true"), bare, with_ids).result();
    let got =
        server.post("/collections/c/points", json!({ "ids": [10, 11, 20, 7], "with_vector": true })).result();
    assert_eq!(ids(&got), [json!(10), json!(11), json!(20), json!(7)], "{got}");
    assert_eq!(got[0]["vector"][1], json!(0.8), "of length 1, as by JSON");

    let asked = [[1.0_f32, 0.0], [0.2, 0.9]];
    for (kind, body) in
        [(bare, rows(asked.as_flattened())), ("application/x-npy", npy(2, asked.as_flattened()))]
    {
        let found = send(&server, "POST", &format!("{QUERY}?limit=3"), kind, body).result();
        assert_eq!(found.as_array().unwrap().len(), 2);
        for (vector, found) in asked.iter().zip(found.as_array().unwrap()) {
            let same =
                server.post("/collections/c/points/query", json!({ "query": vector, "limit": 3 })).result();
            assert_eq!(found["ids"], Value::from(ids(&same["points"])));
            let scores: Vec<Value> =
                same["points"].as_array().unwrap().iter().map(|point| point["score"].clone()).collect();
            assert_eq!(found["scores"], Value::from(scores));
        }
    }
}

#[test]
fn bytes_that_are_no_such_rows_are_refused() {
    let server = Server::with_points("Dot");
    let bare = "application/octet-stream";
    let good = rows(&[1.0, 2.0]);
    for (path, kind, body, status) in [
        (format!("{POINTS}?start=1"), bare, good[..7].to_vec(), 400),
        (format!("{POINTS}?start=1"), "text/plain", good.clone(), 415),
        (POINTS.to_owned(), bare, good.clone(), 400),
        (format!("{POINTS}?start=1&ids=true"), bare, good.clone(), 400),
        (format!("{POINTS}?start=-1"), bare, good.clone(), 400),
        (format!("{POINTS}?start=18446744073709551615"), bare, rows(&[1.0; 4]), 400),
        (format!("{POINTS}?start=1&using=x"), bare, good.clone(), 400),
        (format!("{POINTS}?start=1"), bare, rows(&[1.0, f32::NAN]), 400),
        (format!("{POINTS}?start=1"), bare, rows(&[f32::INFINITY, 1.0]), 400),
        (format!("{POINTS}?ids=true"), "application/x-npy", npy(1, &[1.0, 2.0]), 400),
        (format!("{POINTS}?start=1"), "application/x-npy", npy(2, &[1.0, 2.0]), 400),
    ] {
        let refused = send(&server, "PUT", &path, kind, body);
        assert_eq!(refused.status.as_u16(), status, "{path}: {refused:?}");
        refused.error();
    }
    for (path, body, status) in [
        (format!("{QUERY}?limit=0"), good.clone(), 422),
        (format!("{QUERY}?limit=70000"), good.clone(), 422),
        (format!("{QUERY}?limit=18446744073709551615"), rows(&[1.0; 6]), 422),
        (format!("{QUERY}?target_recall=nan"), good.clone(), 400),
        (QUERY.to_owned(), rows(&[f32::NAN, 1.0]), 400),
        (QUERY.to_owned(), good[1..].to_vec(), 400),
    ] {
        let refused = send(&server, "POST", &path, bare, body);
        assert_eq!(refused.status.as_u16(), status, "{path}: {refused:?}");
    }
    let count = server.post("/collections/c/points/count", json!({})).result();
    assert_eq!(count, json!({ "count": 4 }));
    assert!(send(&server, "POST", QUERY, bare, Vec::new()).result().as_array().unwrap().is_empty());
}

/// Numbers that look like chance, and are the same each time.
fn by_chance(count: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_collection_is_calibrated_with_questions_in_json_and_bytes() {
    let server = Server::start();
    let dim = 8;
    server.put("/collections/c", json!({ "vectors": { "size": dim, "distance": "Cosine" } })).result();
    let bare = "application/octet-stream";
    let calibrate = "/nearline/v1/collections/c/calibrate";
    let questions = by_chance(80 * dim);
    let lists: Vec<&[f32]> = questions.chunks_exact(dim).collect();
    let found = server.post(calibrate, json!({ "queries": lists, "limit": 7 })).result();
    assert_eq!(found, json!({ "queries": 80, "limit": 7, "targets": [] }), "there is no index yet");
    let points = by_chance(30_000 * dim);
    send(&server, "PUT", &format!("{POINTS}?start=0"), bare, rows(&points)).result();
    let wait = json!({ "action": "flush" });
    server.post("/nearline/v1/collections/c/maintenance", wait).result();
    let wait = json!({ "action": "wait_idle" });
    server.post("/nearline/v1/collections/c/maintenance", wait).result();
    assert_eq!(server.get("/nearline/v1/collections/c/stats").result()["indexes"], 1);
    let by_json = server.post(calibrate, json!({ "queries": lists, "limit": 7, "using": "" })).result();
    let by_bytes = send(&server, "POST", &format!("{calibrate}?limit=7"), bare, rows(&questions)).result();
    assert_eq!(by_bytes["targets"].as_array().unwrap().len(), 3, "{by_bytes}");
    for (one, other) in
        by_json["targets"].as_array().unwrap().iter().zip(by_bytes["targets"].as_array().unwrap())
    {
        // The second begins where the first ended.
        assert_eq!(
            (&one["factor"], &one["recall"]),
            (&other["factor"], &other["recall_before"]),
            "{by_bytes}"
        );
        assert!(one["factor"].as_f64().unwrap() >= 1.0 && one["lists"].as_f64().unwrap() >= 1.0, "{one}");
        assert!(one["recall_at_least"].as_f64() <= one["recall"].as_f64(), "{one}");
    }
    let good = rows(&questions);
    for (path, kind, body, status, part) in [
        (
            calibrate.to_owned(),
            bare,
            good[..59 * dim * 4].to_vec(),
            400,
            "questions: 59; expected 60 or more",
        ),
        (calibrate.to_owned(), bare, good[1..].to_vec(), 400, "expected a multiple of"),
        (format!("{calibrate}?limit=0"), bare, good.clone(), 400, "k: 0; expected 1 to 100"),
        (format!("{calibrate}?limit=x"), bare, good.clone(), 400, "limit"),
        (format!("{calibrate}?using=x"), bare, good.clone(), 400, "Not existing vector name"),
        (calibrate.to_owned(), bare, rows(&[f32::NAN; 480]), 400, "question: number 0"),
        (calibrate.to_owned(), "application/json", b"{}".to_vec(), 400, "queries"),
        (calibrate.to_owned(), "application/json", b"[]".to_vec(), 400, "Format error"),
        ("/nearline/v1/collections/no/calibrate".to_owned(), bare, good.clone(), 404, "no"),
    ] {
        let refused = send(&server, "POST", &path, kind, body);
        assert_eq!(refused.status.as_u16(), status, "{path}: {refused:?}");
        let text = refused.error();
        assert!(text.contains(part), "{path}: {text}");
    }
}

#[test]
fn a_collection_is_told_of_kept_up_checked_and_measured() {
    let server = Server::with_points("Dot");
    let of = |rest: &str| format!("/nearline/v1/collections/c/{rest}");
    assert_eq!(server.get(&of("stats")).result()["points_in_memory"], json!(4));
    for action in ["flush", "compact", "rebuild_field_indexes", "rebuild_vector_indexes", "wait_idle"] {
        assert_eq!(
            server.post(&of("maintenance"), json!({ "action": action })).result(),
            json!(true),
            "{action}"
        );
    }
    let stats = server.get(&of("stats")).result();
    assert_eq!(
        (&stats["points"], &stats["points_in_memory"], &stats["is_idle"]),
        (&json!(4), &json!(0), &json!(true))
    );
    assert_eq!(server.post(&of("verify"), json!({})).result(), json!(true));
    let recall = server.post(&of("recall"), json!({ "queries": 3, "limit": 2 })).result();
    assert_eq!(
        (&recall["queries"], recall["recall"].as_f64().unwrap() > 0.99),
        (&json!(3), true),
        "{recall}"
    );
    for (rest, body, status) in [
        ("maintenance", json!({ "action": "explode" }), 400),
        ("maintenance", json!({}), 400),
        ("recall", json!({ "queries": 0 }), 422),
        ("recall", json!({ "queries": 1_000_000 }), 422),
        ("recall", json!({ "limit": 1_000_000_000 }), 422),
    ] {
        assert_eq!(server.post(&of(rest), body.clone()).status.as_u16(), status, "{rest} {body}");
    }
    assert_eq!(server.get("/nearline/v1/collections/x/stats").status.as_u16(), 404);
}

#[test]
fn a_snapshot_is_read_where_it_lies() {
    let server = Server::with_points("Dot");
    let made = server.send("POST", "/collections/c/snapshots", "").result();
    let name = made["name"].as_str().unwrap();
    server.post("/collections/c/points/delete?wait=true", json!({ "points": [1, 2] })).result();
    for (path, body, then, now) in [
        ("count", json!({}), 4, 2),
        ("scroll", json!({}), 4, 2),
        ("query", json!({ "query": [1, 1] }), 4, 2),
        ("search", json!({ "vector": [1, 1], "limit": 9 }), 4, 2),
    ] {
        let count = |result: &Value| match (&result["count"], &result["points"]) {
            (Value::Number(count), _) => count.as_u64().unwrap(),
            (_, Value::Array(points)) => points.len() as u64,
            _ => result.as_array().unwrap().len() as u64,
        };
        let path = format!("/collections/c/points/{path}");
        assert_eq!(count(&server.post(&path, body.clone()).result()), now, "{path}");
        assert_eq!(
            count(&server.post(&format!("{path}?as_of={name}"), body.clone()).result()),
            then,
            "{path}"
        );
        assert_eq!(server.post(&format!("{path}?as_of=never"), body).status.as_u16(), 404);
    }
    assert_eq!(server.get(&format!("/collections/c/points/1?as_of={name}")).result()["id"], json!(1));
    assert_eq!(server.get("/collections/c/points/1").status.as_u16(), 404);
    let odd = server.post("/collections/c/points/count?as_of=..%2F..%2Fetc", json!({}));
    assert!([400, 404].contains(&odd.status.as_u16()), "{odd:?}");
}

#[test]
fn the_document_says_what_is_answered() {
    let server = Server::with("api_key = 'k'");
    let document = server.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.0.3");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace(['{', '}'], "");
            let answered = server.send(&method.to_uppercase(), &path, "{}").status.as_u16();
            let is_open = methods[method]["security"] == json!([]);
            assert_eq!(answered, if is_open { 200 } else { 401 }, "{method} {path}");
        }
    }
    let page = server.get("/docs");
    let text = String::from_utf8(page.bytes).unwrap();
    assert!(
        text.contains("openapi.json") && !text.contains("http://") && !text.contains("https://"),
        "it needs no network"
    );
}
