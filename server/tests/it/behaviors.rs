//! Behaviour spaces: every route, by JSON and by bytes; what is odd about a request.

use axum::http::Request;
use serde_json::{Value, json};

use crate::support::{Answer, BARE, NPY, Server, answer, bytes, numbers, send};

/// Two planes a group, as the axes: what collides can be counted by hand.
const PLANES: [f32; 16] = [1., 0., 0., 0., 0., 1., 0., 0., 1., -1., 0., 0., 0., 0., 1., -2.];
const HISTORY: [[f32; 4]; 5] =
    [[3., 4., 0., 0.], [3., -4., 0., 0.], [-1., 2., 2., 0.], [6., 8., 0., 1.], [0., 5., 1., 0.]];
const CANDIDATE: [f32; 4] = [2., 1., 3., 1.];

fn of(rest: &str) -> String {
    format!("/nearline/v1/behaviors/s{rest}")
}

/// A space `s`, and items 0 to 4 that user 7 saw at 1,000 to 1,004.
fn with_history(normalize: &str) -> Server {
    let server = Server::start();
    let space = json!({
        "dim": 4, "groups": 2, "bits": 2, "projections": PLANES, "normalize": normalize, "ttl_ms": 1_000_000,
        "embedding_version": "v3",
    });
    server.put(&of(""), space).result();
    server.put(&of("/items"), json!({ "items": [0, 1, 2, 3, 4], "vectors": HISTORY })).result();
    let behaviors: Vec<Value> =
        (0..5).map(|i| json!({ "user": 7, "event": i, "time": 1_000 + i, "item": i })).collect();
    let written = server.post(&of("/append"), json!({ "behaviors": behaviors })).result();
    assert_eq!(written["appended"], 5);
    server
}

#[test]
fn interest_is_what_the_formula_says() {
    for (normalize, expected) in [
        ("none", [4.5_f32, 6., 0., 0.5]),
        ("l2", [0.299_335_54, 0.399_114_07, 0., 0.033_259_5]),
        ("count", [4.5, 6., 0., 0.5]),
    ] {
        let server = with_history(normalize);
        let queries = json!({ "queries": [{ "user": 7, "vectors": [CANDIDATE] }], "at": 2_000 });
        let found = server.post(&of("/interest"), queries.clone()).result();
        assert_eq!(found["lengths"], json!([1]));
        for (found, expected) in found["values"][0].as_array().unwrap().iter().zip(expected) {
            assert!((found.as_f64().unwrap() as f32 - expected).abs() < 1e-6, "{normalize} {found}");
        }
        // In and out as bytes, of numpy or not.
        let by_json: Vec<f32> = serde_json::from_value(found["values"][0].clone()).unwrap();
        let ask = |kinds, body| send(&server, "POST", &of("/interest?user=7&at=2000"), kinds, body);
        assert_eq!(numbers(&ask([BARE, BARE], bytes(&CANDIDATE))), by_json);
        let npy = ask([BARE, NPY], bytes(&CANDIDATE));
        assert_eq!((&npy.bytes[..6], &npy.headers["x-shape"]), (&b"\x93NUMPY"[..], &"1,4".parse().unwrap()));
        assert_eq!(npy.bytes[npy.bytes.len() - 16..], bytes(&by_json));
        assert_eq!(numbers(&ask([NPY, BARE], ask([BARE, NPY], bytes(&CANDIDATE)).bytes)).len(), 4);
        assert_eq!(ask([BARE, "*/*"], bytes(&CANDIDATE)).result()["values"], found["values"]);
        let by_json =
            send(&server, "POST", &of("/interest"), ["application/json", BARE], queries.to_string().into());
        assert_eq!(numbers(&by_json).len(), 4);
    }
}

#[test]
fn several_users_are_answered_at_once_each_about_its_own() {
    let server = with_history("none");
    let queries = json!({ "at": 2_000, "queries": [
        { "user": 7, "items": [3, 0] }, { "user": 8, "items": [1] }, { "user": 7, "vectors": [] },
        { "user": 7, "vectors": [CANDIDATE] },
    ] });
    let found = server.post(&of("/interest"), queries).result();
    assert_eq!(found["lengths"], json!([2, 1, 0, 1]));
    assert_eq!(found["values"][2], json!([0.0, 0.0, 0.0, 0.0]), "nobody heard of user 8");
    assert_eq!(found["values"][3], json!([4.5, 6.0, 0.0, 0.5]));
    let items = [3_u64, 0].map(u64::to_le_bytes).concat();
    let by_bytes = send(&server, "POST", &of("/interest?user=7&items=true&at=2000"), [BARE, "*/*"], items);
    assert_eq!(by_bytes.result()["values"].as_array().unwrap()[..], found["values"].as_array().unwrap()[..2]);
}

/// Tensors of the Open Inference Protocol; `behind` are the bytes behind the head.
fn infer(server: &Server, head: &Value, behind: &[u8]) -> Answer {
    let head = head.to_string().into_bytes();
    let request = Request::builder()
        .method("POST")
        .uri(of("/infer?at=2000"))
        .header("content-type", BARE)
        .header("inference-header-content-length", head.len());
    let body = [&head, behind].concat();
    server.runtime().block_on(answer(server.router(), request.body(body.into()).unwrap()))
}

#[test]
fn tensors_are_answered_as_json_is() {
    let server = with_history("none");
    let queries = json!({ "at": 2_000, "queries": [
        { "user": 7, "vectors": [CANDIDATE, HISTORY[3]] }, { "user": 8, "vectors": [CANDIDATE] },
    ] });
    let right = server.post(&of("/interest"), queries).result();
    let right: Vec<f32> = right["values"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| serde_json::from_value::<Vec<f32>>(row.clone()).unwrap())
        .collect();
    let candidates = [CANDIDATE, HISTORY[3], CANDIDATE].concat();
    // Users and candidates as bytes, lengths in the head; both ways out.
    let head = json!({
        "id": "42",
        "inputs": [
            { "name": "users", "shape": [2], "datatype": "INT64", "parameters": { "binary_data_size": 16 } },
            { "name": "lengths", "shape": [2], "datatype": "UINT64", "data": [2, 1] },
            { "name": "candidates", "shape": [3, 4], "datatype": "FP32", "parameters": { "binary_data_size": 48 } },
        ],
        "outputs": [{ "name": "interest", "parameters": { "binary_data": true } }, { "name": "lengths" }],
    });
    let behind = [[7_u64, 8].map(u64::to_le_bytes).concat(), bytes(&candidates)].concat();
    let found = infer(&server, &head, &behind);
    assert_eq!(found.status.as_u16(), 200, "{found:?}");
    let length: usize = found.headers["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let told: Value = serde_json::from_slice(&found.bytes[..length]).unwrap();
    assert_eq!((&told["id"], &told["model_name"]), (&json!("42"), &json!("s")));
    assert_eq!(told["outputs"][0]["shape"], json!([3, 4]));
    assert_eq!(told["outputs"][0]["parameters"]["binary_data_size"], 48);
    assert_eq!(told["outputs"][1]["data"], json!([2, 1]));
    assert_eq!(found.bytes[length..], bytes(&right));
    // Items of each user, all in JSON.
    let head = json!({ "inputs": [
        { "name": "users", "shape": [2], "datatype": "UINT64", "data": [7, 8] },
        { "name": "items", "shape": [2, 2], "datatype": "INT64", "data": [[3, 0], [1, 2]] },
    ]});
    let found = infer(&server, &head, b"").json();
    let queries =
        json!({ "at": 2_000, "queries": [{ "user": 7, "items": [3, 0] }, { "user": 8, "items": [1, 2] }] });
    let right = server.post(&of("/interest"), queries).result();
    assert_eq!(found["outputs"][0]["shape"], json!([2, 2, 4]));
    let flat: Vec<&Value> =
        right["values"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap()).collect();
    assert_eq!(found["outputs"][0]["data"].as_array().unwrap().iter().collect::<Vec<_>>(), flat);
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let server = with_history("none");
    let users =
        |ids: &[u64]| json!({ "name": "users", "shape": [ids.len()], "datatype": "UINT64", "data": ids });
    let of_items = |shape: &[usize], ids: &[u64]| json!({ "name": "items", "shape": shape, "datatype": "INT64", "data": ids });
    let lengths =
        |all: &[u64]| json!({ "name": "lengths", "shape": [all.len()], "datatype": "INT64", "data": all });
    let floats = |name: &str, shape: &[usize], all: &[f64]| json!({ "name": name, "shape": shape, "datatype": "FP32", "data": all });
    for (inputs, part) in [
        (json!([of_items(&[1], &[1])]), "expected users"),
        (json!([users(&[7])]), "items or candidates"),
        (json!([users(&[7]), of_items(&[1], &[1]), floats("candidates", &[1, 4], &[1.0; 4])]), "one of them"),
        (json!([users(&[7]), of_items(&[1], &[1]), floats("x", &[1], &[1.0])]), "input \\\"x\\\""),
        (json!([floats("users", &[1], &[1.0]), of_items(&[1], &[1])]), "expected INT64 or UINT64"),
        (json!([users(&[7]), floats("candidates", &[4], &[1.0; 4])]), "[candidates, 4]"),
        (json!([users(&[7]), floats("candidates", &[1, 3], &[1.0; 3])]), "[candidates, 4]"),
        (json!([users(&[7]), floats("items", &[1], &[1.0])]), "INT64 or UINT64 of one or two"),
        (json!([users(&[7]), of_items(&[1, 1, 1], &[1])]), "one or two"),
        (json!([users(&[7, 8]), of_items(&[2], &[1, 2])]), "expected lengths"),
        (json!([users(&[7, 8]), of_items(&[1, 2], &[1, 2])]), "candidates of 1 users"),
        (json!([users(&[7, 8]), of_items(&[2], &[1, 2]), lengths(&[2])]), "1 lengths"),
        (json!([users(&[7, 8]), of_items(&[2], &[1, 2]), lengths(&[1, 2])]), "2 in all"),
        (
            json!([users(&[7, 8]), of_items(&[2], &[1, 2]), lengths(&[u64::MAX >> 1, u64::MAX >> 1])]),
            "2 in all",
        ),
        (json!([users(&[7]), of_items(&[1, 1], &[1]), lengths(&[1])]), "one of them"),
        (json!([users(&[7]), of_items(&[1], &[99])]), "99"),
        (json!([users(&[7]), floats("candidates", &[1, 4], &[1e39, 1.0, 1.0, 1.0])]), "finite"),
        (json!([users(&[])]), "items or candidates"),
    ] {
        let found = infer(&server, &json!({ "inputs": inputs }), b"");
        let text = String::from_utf8_lossy(&found.bytes).into_owned();
        assert!(found.status.as_u16() == 400 && text.contains(part), "{inputs}: {text}");
    }
    // Nobody, and nothing.
    let none = json!({ "inputs": [users(&[]), of_items(&[0], &[]), lengths(&[])] });
    assert_eq!(infer(&server, &none, b"").json()["outputs"][0]["shape"], json!([0, 4]));
    let request =
        Request::builder().method("POST").uri(of("/infer")).header("inference-header-content-length", "-1");
    let request = request.body("{}".into()).unwrap();
    assert_eq!(server.runtime().block_on(answer(server.router(), request)).status.as_u16(), 400);
}

#[test]
fn everything_else_is_read_as_well() {
    let server = with_history("l2");
    let tables = json!({ "users": [7, 8], "at": 2_000 });
    let found = server.post(&of("/tables"), tables.clone()).result();
    assert_eq!(found["tables"][0]["counts"], json!([0, 1, 2, 2, 2, 1, 2, 0]));
    assert_eq!((&found["tables"][0]["behaviors"], &found["tables"][1]["version"]), (&json!(5), &json!(0)));
    let sums = send(&server, "POST", &of("/tables"), ["application/json", BARE], tables.to_string().into());
    assert_eq!((&sums.headers["x-shape"], numbers(&sums).len()), (&"2,2,4,4".parse().unwrap(), 64));
    assert_eq!(numbers(&sums)[12..16], [9., 12., 0., 1.]);

    let events = |body: Value| -> Vec<u64> {
        let found = server.post(&of("/behaviors"), body).result();
        found["behaviors"].as_array().unwrap().iter().map(|one| one["event"].as_u64().unwrap()).collect()
    };
    assert_eq!(events(json!({ "user": 7, "last": 2, "at": 2_000 })), [3, 4]);
    assert_eq!(events(json!({ "user": 7, "from": 1_001, "to": 1_003, "at": 2_000 })), [1, 2]);
    assert_eq!(events(json!({ "user": 7, "at": 1_001_002 })), [3, 4], "the others have expired");
    assert!(events(json!({ "user": 7 })).is_empty(), "by the system's clock all have");
    assert!(events(json!({ "user": 8, "at": 2_000 })).is_empty());

    let hamming = json!({ "user": 7, "vectors": [CANDIDATE], "k": 2, "at": 2_000 });
    let found = server.post(&of("/top_k_hamming"), hamming).result();
    let first = &found["similar"][0][0];
    assert_eq!(
        (&first["distance"], &first["behavior"]["event"]),
        (&json!(2), &json!(4)),
        "of equals the newest: {found}"
    );
    let attention = json!({ "user": 7, "items": [3], "scale": 50.0, "at": 2_000 });
    let found = server.post(&of("/exact_attention"), attention.clone()).result();
    assert_eq!(found["values"], json!([HISTORY[3]]), "it is most like itself");
    let of_bytes = send(
        &server,
        "POST",
        &of("/exact_attention"),
        ["application/json", BARE],
        attention.to_string().into(),
    );
    assert_eq!(numbers(&of_bytes), HISTORY[3]);
}

#[test]
fn behaviors_come_as_bytes_count_once_and_go() {
    let server = with_history("none");
    let record = |event: u64, vector: &[f32]| {
        [&[9, event, 1_500, 77].map(u64::to_le_bytes).concat()[..], &bytes(vector)].concat()
    };
    let body = [record(1, &CANDIDATE), record(2, &CANDIDATE)].concat();
    let path = of("/append?vectors=true&source=topic&partition=3&offset=12");
    let append = |body: Vec<u8>| send(&server, "POST", &path, [BARE, "*/*"], body).result();
    assert_eq!(append(body.clone())["appended"], 2);
    assert_eq!(append(body)["is_repeated"], true);
    let mark = json!({ "source": "topic", "partition": 3, "offset": 12 });
    assert_eq!(server.get(&of("/sources")).result()["sources"], json!([mark]));
    let ids = [record(3, &[]), record(1, &[])].concat();
    assert_eq!(
        send(&server, "POST", &of("/append"), [BARE, "*/*"], ids.clone()).status.as_u16(),
        400,
        "item 77"
    );
    let items = [&77_u64.to_le_bytes()[..], &bytes(&HISTORY[0])].concat();
    let put = |query: &str, body: Vec<u8>| {
        send(&server, "PUT", &of(&format!("/items{query}")), [BARE, "*/*"], body)
    };
    assert_eq!(put("?ids=true", items).result()["items"], 1);
    assert_eq!(put("?start=77", bytes(&HISTORY[0])).result()["items"], 0, "it is there");
    assert_eq!(put("?start=77", bytes(&HISTORY[1])).status.as_u16(), 409);
    assert_eq!(put("", bytes(&HISTORY[1])).status.as_u16(), 400);
    let written = send(&server, "POST", &of("/append"), [BARE, "*/*"], ids).result();
    assert_eq!((&written["appended"], &written["duplicates"]), (&json!(1), &json!(1)));

    let deleted = |path: &str, body: Value| server.post(&of(path), body).result()["deleted"].clone();
    assert_eq!(deleted("/delete", json!({ "user": 9, "events": [1, 55] })), 1);
    assert_eq!(deleted("/delete", json!({ "user": 7, "before": 1_002 })), 2);
    assert_eq!(deleted("/truncate", json!({ "user": 7, "keep": 1 })), 2);
    assert_eq!(server.post(&of("/maintenance"), json!({ "action": "flush" })).result(), true);
    let left = server.post(&of("/behaviors"), json!({ "user": 7, "at": 2_000 })).result();
    assert_eq!(left["behaviors"], json!([{ "user": 7, "event": 4, "time": 1_004, "item": 4 }]));
}

#[test]
fn a_snapshot_becomes_a_space() {
    let server = with_history("l2");
    assert_eq!(server.post(&of("/snapshots"), json!({ "name": "monday" })).result(), true);
    assert_eq!(server.post(&of("/snapshots"), json!({ "name": "monday" })).status.as_u16(), 409);
    assert_eq!(server.post(&of("/snapshots"), json!({ "name": "../x" })).status.as_u16(), 400);
    server.post(&of("/truncate"), json!({ "user": 7, "keep": 0 })).result();
    assert_eq!(server.get(&of("/snapshots")).result(), json!({ "snapshots": ["monday"] }));
    let restore =
        |name: &str| server.post(&of(&format!("/snapshots/{name}/restore")), json!({ "name": "t" }));
    assert_eq!(restore("tuesday").status.as_u16(), 404);
    assert_eq!(restore("monday").result(), true);
    for (space, count) in [("s", 0), ("t", 5)] {
        let path = format!("/nearline/v1/behaviors/{space}/behaviors");
        let found = server.post(&path, json!({ "user": 7, "at": 2_000 })).result();
        assert_eq!(found["behaviors"].as_array().unwrap().len(), count, "{space}");
    }
    assert_eq!(server.send("DELETE", &of("/snapshots/monday"), "").result(), true);
    assert_eq!(server.send("DELETE", &of("/snapshots/monday"), "").status.as_u16(), 404);
}

#[test]
fn spaces_are_made_told_of_and_dropped() {
    let server = with_history("count");
    assert_eq!(server.get("/nearline/v1/behaviors").result(), json!({ "spaces": ["s"] }));
    let stats = server.get(&of("")).result();
    for (name, expected) in [
        ("dim", json!(4)),
        ("groups", json!(2)),
        ("bits", json!(2)),
        ("normalize", json!("count")),
        ("ttl_ms", json!(1_000_000)),
        ("embedding_version", json!("v3")),
    ] {
        assert_eq!(stats[name], expected, "{name}");
    }
    assert_eq!(server.get(&of("/planes")).result()["projections"], json!(PLANES));
    assert_eq!(server.put(&of(""), json!({ "dim": 4 })).status.as_u16(), 409);
    assert_eq!(server.send("DELETE", &of(""), "").result(), true);
    assert_eq!(server.send("DELETE", &of(""), "").result(), false);
    assert_eq!(server.get(&of("")).status.as_u16(), 404);
    server.put(&of(""), json!({ "dim": 3, "seed": 1 })).result();
    assert_eq!(server.get(&of("")).result()["lsn"], 0);
}

#[test]
fn what_is_odd_is_refused_or_answered_with_nothing() {
    let server = with_history("l2");
    let many: Vec<u64> = vec![0; 3_000_000];
    let vectors = |vector: Value| json!({ "queries": [{ "user": 7, "vectors": [vector] }] });
    let append = |one: Value| json!({ "behaviors": [one] });
    for (path, body, status) in [
        ("/interest", json!({ "queries": [{ "user": 7, "items": [] }] }), 200),
        ("/interest", json!({ "queries": [] }), 200),
        ("/interest", json!({ "queries": [{ "user": 7, "items": many }] }), 413),
        ("/interest", json!({ "queries": [{ "user": 7, "items": [99] }] }), 400),
        ("/interest", json!({ "queries": [{ "user": 7 }] }), 400),
        ("/interest", json!({ "queries": [{ "user": -7, "items": [1] }] }), 400),
        ("/interest", vectors(json!([1, 2, 3])), 400),
        ("/interest", vectors(json!([1, 2, 3, 1e39])), 400),
        ("/interest", json!({}), 400),
        ("/exact_attention", json!({ "user": 7, "items": [1], "scale": 1e39 }), 400),
        ("/exact_attention", json!({ "user": 8, "items": [1] }), 200),
        ("/top_k_hamming", json!({ "user": 7, "items": [1], "k": 0 }), 422),
        ("/top_k_hamming", json!({ "user": 7, "items": [1], "k": 100_000 }), 422),
        ("/top_k_hamming", json!({ "user": 8, "items": [1] }), 200),
        ("/tables", json!({ "users": vec![7; 300_000] }), 413),
        ("/behaviors", json!({ "user": 7, "last": 1, "from": 2 }), 400),
        ("/append", append(json!({ "user": 7, "event": 9, "time": -5, "item": 1 })), 200),
        ("/append", append(json!({ "user": 7, "event": 10, "time": i64::MAX, "item": 1 })), 200),
        ("/append", append(json!({ "user": 7, "event": 11, "time": 1, "item": 1, "vector": [1, 2] })), 400),
        ("/append", append(json!({ "user": 7, "event": 11, "time": 1, "item": 1234 })), 400),
        ("/append", append(json!({ "user": 7, "event": 11, "time": 1 })), 400),
        ("/append", json!({ "behaviors": [], "source": "a" }), 400),
        ("/append", json!({ "behaviors": [], "source": "", "offset": 1 }), 400),
        ("/delete", json!({ "user": 7 }), 400),
        ("/delete", json!({ "user": 8, "events": [1] }), 200),
        ("/truncate", json!({ "user": 8, "keep": 0 }), 200),
        ("/maintenance", json!({ "action": "explode" }), 400),
    ] {
        let answer = server.post(&of(path), body);
        assert_eq!(answer.status.as_u16(), status, "{path}: {answer:?}");
        let absent = server.post(&format!("/nearline/v1/behaviors/x{path}"), json!({}));
        assert!(!absent.status.is_success(), "{path}: {absent:?}");
    }
    for (path, body) in [
        ("/interest?user=7", bytes(&[1., 2., 3., f32::NAN])),
        ("/interest?user=7", vec![1; 7]),
        ("/interest?user=7&items=true", vec![1; 7]),
        ("/interest", bytes(&CANDIDATE)),
        ("/append", vec![0; 31]),
        ("/append?source=a", vec![0; 32]),
        ("/append?vectors=true", [vec![0; 32], bytes(&[f32::INFINITY; 4])].concat()),
    ] {
        let answer = send(&server, "POST", &of(path), [BARE, "*/*"], body);
        assert_eq!(answer.status.as_u16(), 400, "{path}: {answer:?}");
    }
    for space in [
        json!({}),
        json!({ "dim": 0 }),
        json!({ "dim": 4, "bits": 40 }),
        json!({ "dim": 4, "groups": 1_000_000_000 }),
        json!({ "dim": 4, "projections": [1, 2] }),
        json!({ "dim": 4, "seed": 1, "rotations": [1] }),
        json!({ "dim": 4, "normalize": "l3" }),
    ] {
        assert_eq!(server.put("/nearline/v1/behaviors/t", space.clone()).status.as_u16(), 400, "{space}");
    }
    assert_eq!(server.put("/nearline/v1/behaviors/..%2Ft", json!({ "dim": 4 })).status.as_u16(), 400);
    let visible = server.post(&of("/behaviors"), json!({ "user": 7, "at": 900_000 })).result();
    let visible: Vec<&Value> =
        visible["behaviors"].as_array().unwrap().iter().map(|one| &one["event"]).collect();
    assert_eq!(visible, [9, 0, 1, 2, 3, 4, 10], "late ones are where they belong");
}

#[test]
fn an_epoch_is_made_built_asked_and_dropped() {
    let server = with_history("none");
    let epochs = || server.get(&of("/epochs")).result()["epochs"].clone();
    assert_eq!(epochs()[0]["stage"], "serving");
    let wanted = json!({ "dim": 2, "groups": 1, "bits": 1, "normalize": "none", "embedding_version": "v4", "values": "f16", "keep": true });
    assert_eq!(server.post(&of("/epochs"), wanted.clone()).result()["epoch"], 2);
    assert_eq!(epochs()[1]["stage"], "filling");
    // One at a time; and it lacks items.
    let refused = server.post(&of("/epochs"), wanted);
    assert!(refused.error().contains("epoch 2 is being made"));
    let becomes = |is_so: &dyn Fn(&Value) -> bool| {
        for _ in 0..2_000 {
            if is_so(&epochs()[1]) {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        false
    };
    let stage_is = |stage: &str| becomes(&|epoch| epoch["stage"] == stage);
    server.post(&of("/epochs/2/build"), json!(null)).result();
    assert!(becomes(&|epoch| epoch["stage"] == "filling" && epoch["failure"].is_string()));
    let failure = epochs()[1]["failure"].as_str().unwrap_or_default().to_owned();
    assert!(failure.contains("has no vector in epoch 2"), "{failure}");
    let vectors = [[1., 0.5]; 4];
    server.put(&of("/items"), json!({ "epoch": 2, "items": [0, 1, 2, 3], "vectors": vectors })).result();
    let rows = bytes(&[1., 0.5]);
    let put = send(&server, "PUT", &of("/items?start=4&epoch=2"), [BARE, BARE], rows);
    assert_eq!(put.status.as_u16(), 200);
    server.post(&of("/epochs/2/build"), json!(null)).result();
    assert!(stage_is("serving"));
    assert_eq!(server.get(&of("")).result()["epoch"], 2);
    let ask = |epoch: Value| {
        let queries = json!({ "queries": [{ "user": 7, "items": [0] }], "at": 2_000, "epoch": epoch });
        server.post(&of("/interest"), queries)
    };
    assert_eq!(ask(json!(null)).result()["values"], json!([[5.0, 2.5]]));
    assert_eq!(ask(json!(2)).result()["values"], json!([[5.0, 2.5]]));
    assert_eq!(ask(json!(1)).result()["values"][0].as_array().unwrap().len(), 4);
    let unknown = ask(json!(3));
    assert!(unknown.error().contains("those that do: 1, 2"));
    let drop =
        |epoch: &str| send(&server, "DELETE", &of(&format!("/epochs/{epoch}")), [BARE, BARE], Vec::new());
    for epoch in ["2", "9", "x"] {
        assert_eq!(drop(epoch).status.as_u16(), 400, "{epoch}");
    }
    assert_eq!(drop("1").status.as_u16(), 200);
    assert_eq!(ask(json!(1)).status.as_u16(), 400);
}
