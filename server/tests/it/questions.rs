//! Questions for the nearest points.

use serde_json::{Value, json};

use crate::support::{Server, ids};

const UUID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

fn query(server: &Server, request: Value) -> Value {
    server.post("/collections/c/points/query", request).result()["points"].clone()
}

fn scores(points: &Value) -> Vec<f64> {
    points.as_array().unwrap().iter().map(|point| point["score"].as_f64().unwrap()).collect()
}

#[test]
fn scores_are_those_of_the_dialect() {
    for (distance, right_ids, right_scores, threshold) in [
        ("Dot", [json!(2), json!(1), json!(3), json!(UUID)], [3.0, 1.0, 0.0, -1.0], 0.5),
        ("Cosine", [json!(1), json!(2), json!(3), json!(UUID)], [1.0, 0.6, 0.0, -0.5_f64.sqrt()], 0.5),
        (
            "Euclid",
            [json!(1), json!(3), json!(UUID), json!(2)],
            [0.0, 5.0_f64.sqrt(), 5.0_f64.sqrt(), 20.0_f64.sqrt()],
            1.0,
        ),
        ("Manhattan", [json!(1), json!(3), json!(UUID), json!(2)], [0.0, 3.0, 3.0, 6.0], 1.0),
    ] {
        let server = Server::with_points(distance);
        let points = query(&server, json!({ "query": [1, 0] }));
        assert_eq!(ids(&points), right_ids, "{distance}");
        for (found, right) in scores(&points).into_iter().zip(right_scores) {
            assert!((found - right).abs() < 1e-6, "{distance}: {found}, not {right}");
        }
        let near = query(&server, json!({ "query": [1, 0], "score_threshold": threshold }));
        assert!(!ids(&near).is_empty() && ids(&near).len() < 3, "{distance}: {near}");
        let rest = query(&server, json!({ "query": { "nearest": [1, 0] }, "offset": 1, "limit": 2 }));
        assert_eq!(ids(&rest), right_ids[1..3], "{distance}");
    }
}

#[test]
fn points_are_asked_for_by_others() {
    let server = Server::with_points("Dot");
    assert_eq!(ids(&query(&server, json!({ "query": 1 }))), [json!(2), json!(3), json!(UUID)]);
    assert_eq!(ids(&query(&server, json!({ "query": { "nearest": UUID }, "limit": 1 }))), [json!(1)]);
    server.put("/collections/d", json!({ "vectors": { "v": { "size": 2, "distance": "Dot" } } })).result();
    let point = json!({ "points": [{ "id": 1, "vector": { "v": [0, 9] } }] });
    server.put("/collections/d/points", point).result();
    let elsewhere = json!({ "query": 1, "lookup_from": { "collection": "d", "vector": "v" }, "limit": 2 });
    assert_eq!(ids(&query(&server, elsewhere)), [json!(2), json!(3)]);
    let missing = server.post("/collections/c/points/query", json!({ "query": 99 }));
    assert_eq!(
        (missing.status.as_u16(), missing.error().as_str()),
        (404, "Not found: No point with id 99 found")
    );
    let nowhere = json!({ "query": 1, "lookup_from": { "collection": "x" } });
    assert_eq!(server.post("/collections/c/points/query", nowhere).status.as_u16(), 404);
}

#[test]
fn what_is_wanted_of_points_is_chosen() {
    let server = Server::with_points("Dot");
    let only = |with: Value| query(&server, with)[0].clone();
    assert_eq!(only(json!({ "query": [1, 0] })), json!({ "id": 2, "version": 0, "score": 3.0 }));
    let filter = json!({ "must": [{ "key": "city", "match": { "value": "Oslo" } }] });
    let some = json!({
        "query": [1, 0], "filter": filter, "with_vector": true,
        "with_payload": { "exclude": ["in.a", "n"] },
    });
    assert_eq!(
        only(some),
        json!({ "id": 1, "version": 0, "score": 1.0, "vector": [1.0, 0.0],
                "payload": { "city": "Oslo", "in": { "b": 2 } } })
    );
}

#[test]
fn questions_without_a_vector_are_answered_in_order() {
    let server = Server::with_points("Dot");
    let all = query(&server, json!({ "limit": 2, "offset": 1 }));
    assert_eq!((ids(&all), scores(&all)), (vec![json!(2), json!(3)], vec![1.0, 1.0]));
    let ordered = json!({ "query": { "order_by": { "key": "n", "direction": "desc" } }, "limit": 2 });
    let ordered = query(&server, ordered);
    assert_eq!((ids(&ordered), &ordered[0]["order_value"]), (vec![json!(3), json!(2)], &json!(3)));
}

#[test]
fn several_questions_are_answered_together_and_the_older_form_too() {
    let server = Server::with_points("Dot");
    let searches = json!([{ "query": [1, 0], "limit": 1 }, { "limit": 1 }, { "query": 1, "limit": 1 }]);
    let all = server.post("/collections/c/points/query/batch", json!({ "searches": searches })).result();
    let firsts: Vec<Value> =
        all.as_array().unwrap().iter().map(|one| one["points"][0]["id"].clone()).collect();
    assert_eq!(firsts, [json!(2), json!(1), json!(2)]);
    let old = json!({ "vector": [1, 0], "limit": 2, "with_payload": true });
    let found = server.post("/collections/c/points/search", old.clone()).result();
    assert_eq!((ids(&found), &found[0]["payload"]["n"]), (vec![json!(2), json!(1)], &json!(2)));
    let named = json!({ "vector": { "name": "", "vector": [1, 0] }, "limit": 1 });
    let both = json!({ "searches": [old, named] });
    let found = server.post("/collections/c/points/search/batch", both).result();
    assert_eq!((ids(&found[0]).len(), ids(&found[1])), (2, vec![json!(2)]));
    let none = server.post("/collections/c/points/query/batch", json!({ "searches": [] })).result();
    assert_eq!(none, json!([]));
}

#[test]
fn answers_say_what_they_cost() {
    let server = Server::with_points("Dot");
    let request =
        json!({ "query": [1, 0], "params": { "target_recall": 0.9, "hnsw_ef": 128, "exact": false } });
    let usage = server.post("/collections/c/points/query", request).json()["usage"].clone();
    assert_eq!((&usage["strategy"], &usage["compared"]), (&json!("exact"), &json!(4)));
    for name in ["lists", "pages", "bytes", "microseconds"] {
        assert!(usage[name].is_u64(), "{name}: {usage}");
    }
    let filtered = json!({ "query": [1, 0], "filter": { "must": { "key": "n", "range": { "gt": 1 } } } });
    let usage = server.post("/collections/c/points/query", filtered).json()["usage"].clone();
    assert_eq!(usage["unindexed"], json!(["n"]));
    assert_eq!(server.post("/collections/c/points/query", json!({})).json().get("usage"), None);
}

#[test]
fn questions_that_cannot_be_answered_are_refused() {
    let server = Server::with_points("Dot");
    for (request, status, part) in [
        (json!({ "query": [1] }), 400, "Wrong input: query: 1 elements"),
        (json!({ "query": [1, 0], "using": "x" }), 400, "Not existing vector name error: x"),
        (json!({ "query": [1, 0], "limit": 0 }), 422, "limit: value 0"),
        (json!({ "query": [1, 0], "limit": 99_999_999 }), 422, "must be 1048576 or less"),
        (json!({ "query": [1, 0], "limit": u64::MAX, "offset": u64::MAX }), 422, "limit + offset"),
        (json!({ "query": [1, 0], "limit": 100_000, "with_payload": true }), 422, "must be 65536 or less"),
        (json!({ "query": [1, 0], "limit": -1 }), 400, "Format error in JSON body"),
        (json!({ "query": [1, 0], "params": { "target_recall": 2 } }), 400, "target recall"),
        (json!({ "query": [1, 0], "params": { "nprobe": 3 } }), 400, "params.nprobe: not supported yet"),
        (json!({ "query": [1, 0], "prefetch": { "query": [1, 0] } }), 400, "prefetch: not supported yet"),
        (json!({ "query": { "fusion": "rrf" } }), 400, "not supported yet"),
        (json!({ "query": { "sample": "random" } }), 400, "not supported yet"),
        (json!({ "query": { "nearest": [1, 0], "mmr": {} } }), 400, "not supported yet"),
        (json!({ "query": { "indices": [1], "values": [1] } }), 400, "not supported yet"),
        (json!({ "query": { "text": "hello", "model": "m" } }), 400, "not supported yet"),
        (json!({ "query": {} }), 400, "no query"),
        (json!({ "query": true }), 400, "a vector, the id of a point"),
        (json!({ "query": "no uuid" }), 400, "no point id"),
        (json!({ "query": [1, 0], "shard_key": "a" }), 400, "shard"),
        (json!({ "query": [1, 0], "with_payload": 7 }), 400, "expected a bool, a list of paths"),
    ] {
        let refused = server.post("/collections/c/points/query", request.clone());
        assert_eq!(refused.status.as_u16(), status, "{request}: {}", refused.error());
        assert!(refused.error().contains(part), "{request}: {}", refused.error());
    }
}
