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
    for name in ["lists", "pages", "reads", "bytes", "microseconds"] {
        assert!(usage[name].is_u64(), "{name}: {usage}");
    }
    assert_eq!(usage["cut"], json!(false));
    let limited = json!({ "query": [1, 0], "params": { "nprobe": 3, "max_bytes_read": 1, "max_ms": 0.5 } });
    assert_eq!(ids(&query(&server, limited)).len(), 4);
    let filtered = json!({ "query": [1, 0], "filter": { "must": { "key": "n", "range": { "gt": 1 } } } });
    let usage = server.post("/collections/c/points/query", filtered).json()["usage"].clone();
    assert_eq!(usage["unindexed"], json!(["n"]));
    let usage = server.post("/collections/c/points/query", json!({})).json()["usage"].clone();
    assert_eq!((&usage["strategy"], &usage["compared"]), (&json!("in_order"), &json!(0)));
}

fn feedback(strategy: Value) -> Value {
    json!({ "relevance_feedback": { "target": 1, "feedback": [{ "example": 2, "score": 0.5 }], "strategy": strategy } })
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
        (json!({ "query": [1, 0], "params": { "nprobe": 0 } }), 422, "params.nprobe: value 0"),
        (json!({ "query": [1, 0], "params": { "max_ms": -1 } }), 422, "params.max_ms: value -1"),
        (json!({ "query": { "relevance_feedback": {} } }), 400, "missing field `target`"),
        (json!({ "query": feedback(json!("best")) }), 400, "unknown variant `best`"),
        (
            json!({ "query": feedback(json!({ "naive": { "a": 1, "b": -1, "c": 1 } })) }),
            422,
            "naive.b: value -1",
        ),
        (
            json!({ "query": feedback(json!({ "naive": { "a": 1e39, "b": 1, "c": 1 } })) }),
            400,
            "number out of range",
        ),
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

/// Prefetches nested so deep.
fn nested(depth: usize) -> Value {
    let inner = json!({ "query": [1, 0] });
    (0..depth).fold(inner, |inner, _| json!({ "query": [1, 0], "prefetch": [inner] }))
}

#[test]
fn questions_with_parts_that_cannot_be_are_refused() {
    let server = Server::with_points("Dot");
    let formula =
        |formula: Value| json!({ "query": { "formula": formula }, "prefetch": { "query": [1, 0] } });
    let fetched =
        |query: Value| json!({ "query": query, "prefetch": [{ "query": [1, 0] }, { "query": [0, 1] }] });
    for (request, status, part) in [
        (json!({ "query": { "fusion": "rrf" } }), 400, "Wrong input: prefetches: none"),
        (json!({ "query": { "formula": 1 } }), 400, "Wrong input: prefetches: none"),
        (json!({ "query": { "fusion": "sum" } }), 400, "unknown variant `sum`"),
        (json!({ "prefetch": { "query": [1, 0] } }), 400, "prefetch: in a question for all points"),
        (
            json!({ "query": [1, 0], "prefetch": { "query": [1, 0], "limit": 0 } }),
            422,
            "prefetch.limit: value 0",
        ),
        (json!({ "query": [1, 0], "prefetch": { "query": [1] } }), 400, "query: 1 elements"),
        (nested(6), 400, "prefetch: 6 levels; expected at most 5 levels"),
        (nested(60), 400, "prefetch: 6 levels"),
        (json!({ "query": [1, 0], "prefetch": vec![json!({}); 65] }), 400, "number of prefetches: 65"),
        (fetched(json!({ "rrf": { "k": 0 } })), 422, "rrf.k: value 0"),
        (fetched(json!({ "rrf": { "weights": [1] } })), 400, "as many as prefetches: 2"),
        (fetched(json!({ "rrf": { "k": 3 }, "fusion": "rrf" })), 400, "two queries at once"),
        (json!({ "query": { "nearest": [1, 0], "mmr": { "diversity": 2 } } }), 422, "mmr.diversity"),
        (json!({ "query": { "nearest": [1, 0], "mmr": { "candidates_limit": 99999 } } }), 422, "0 to 16384"),
        (json!({ "query": { "sample": "biased" } }), 400, "unknown variant `biased`"),
        (json!({ "query": { "recommend": {} } }), 400, "examples to be like: none"),
        (json!({ "query": { "recommend": { "strategy": "best_score" } } }), 400, "examples: none"),
        (json!({ "query": { "recommend": { "positive": [99] } } }), 404, "No point with id 99 found"),
        (json!({ "query": { "recommend": { "positive": [[1]] } } }), 400, "query: 1 elements"),
        (json!({ "query": { "recommend": { "positive": [1] } }, "using": "x" }), 400, "vector name error: x"),
        (json!({ "query": { "discover": { "context": [] } } }), 400, "missing field `target`"),
        (json!({ "query": { "context": [] } }), 400, "pairs of the context: none"),
        (json!({ "query": { "context": { "positive": 1, "negative": 98 } } }), 404, "No point with id 98"),
        (formula(json!("city")), 400, "formula: a string at city of point"),
        (formula(json!("nothing")), 400, "no value of point"),
        (formula(json!("$score[")), 400, "variable of a formula"),
        (formula(json!({ "sqrt": -1 })), 400, "sqrt(-1) is no finite number"),
        (formula(json!({ "lin_decay": { "x": 1, "scale": 0 } })), 400, "scale of a decay"),
        (formula(json!({ "datetime": "soon" })), 400, "datetime"),
        (formula(json!({ "key": "n" })), 422, "at least one field condition"),
        (formula(json!(null)), 400, "no query"),
    ] {
        let refused = server.post("/collections/c/points/query", request.clone());
        assert_eq!(refused.status.as_u16(), status, "{request}: {}", refused.error());
        assert!(refused.error().contains(part), "{request}: {}", refused.error());
    }
    for (path, request, status, part) in [
        ("points/query/groups", json!({ "query": [1, 0] }), 400, "missing field `group_by`"),
        ("points/query/groups", json!({ "query": [1, 0], "group_by": "" }), 422, "group_by"),
        ("points/query/groups", json!({ "group_by": "n", "group_size": 0 }), 422, "group_size: value 0"),
        ("points/query/groups", json!({ "group_by": "n", "limit": 0 }), 422, "limit: value 0"),
        ("points/query/groups", json!({ "group_by": "a[", "query": [1, 0] }), 400, "path to group by"),
        ("points/query/groups", json!({ "group_by": "n", "with_lookup": "x" }), 404, "Collection `x`"),
        ("points/search/groups", json!({ "group_by": "n", "vector": [1, 0] }), 400, "missing field `limit`"),
        ("points/search/matrix/pairs", json!({ "sample": 1 }), 422, "sample: value 1"),
        ("points/search/matrix/offsets", json!({ "limit": 0 }), 422, "limit: value 0"),
        ("points/search/matrix/pairs", json!({ "using": "x" }), 400, "vector name error: x"),
        ("points/recommend", json!({ "limit": 1 }), 400, "examples to be like: none"),
        ("points/discover", json!({ "limit": 1 }), 400, "pairs of the context: none"),
        ("facet", json!({}), 400, "missing field `key`"),
        ("facet", json!({ "key": "a[" }), 400, "path of a facet"),
        ("facet", json!({ "key": "n", "limit": 0 }), 422, "limit: value 0"),
    ] {
        let refused = server.post(&format!("/collections/c/{path}"), request.clone());
        assert_eq!(refused.status.as_u16(), status, "{path} {request}: {}", refused.error());
        assert!(refused.error().contains(part), "{path} {request}: {}", refused.error());
    }
}

#[test]
fn prefetches_are_put_together() {
    let server = Server::with_points("Dot");
    let ask = |query: Value| {
        let prefetch = json!([{ "query": [1, 0], "limit": 2 }, { "query": [0, 1], "limit": 2 }]);
        query_of(&server, json!({ "query": query, "prefetch": prefetch }))
    };
    let (first, second) =
        (query(&server, json!({ "query": [1, 0] })), query(&server, json!({ "query": [0, 1] })));
    let (first, second) = (&ids(&first)[..2], &ids(&second)[..2]);
    let place = |list: &[Value], id: &Value| list.iter().position(|other| other == id);
    let fused = ask(json!({ "fusion": "rrf" }));
    for (id, score) in &fused {
        let part = |list| place(list, id).map_or(0.0, |place| 1.0 / (place as f64 + 2.0));
        assert!((score - part(first) - part(second)).abs() < 1e-6, "{fused:?}");
    }
    let only_second = ask(json!({ "rrf": { "k": 1, "weights": [0, 1] } }));
    assert_eq!(only_second[0], (second[0].clone(), 1.0));
    let formula =
        ask(json!({ "formula": { "sum": ["$score[1]", { "mult": [100, "n"] }] }, "defaults": { "n": 7 } }));
    assert!(formula.iter().all(|(_, score)| *score > 90.0) && formula.len() == fused.len(), "{formula:?}");
    // What prefetches did not find is not found, whatever else is asked.
    let nearest = ask(json!([1, 0]));
    assert_eq!(nearest.len(), fused.len());
    assert_eq!(ask(json!({ "sample": "random" })).len(), fused.len());
}

fn query_of(server: &Server, request: Value) -> Vec<(Value, f64)> {
    let points = query(server, request);
    ids(&points).into_iter().zip(scores(&points)).collect()
}

#[test]
fn older_forms_ask_the_same() {
    let server = Server::with_points("Dot");
    let post = |path: &str, body: &Value| {
        server.post(&format!("/collections/c/points/{path}"), body.clone()).result()
    };
    for (path, older, newer) in [
        (
            "recommend",
            json!({ "positive": [1], "negative": [[0, 1]], "limit": 3 }),
            json!({ "recommend": { "positive": [1], "negative": [[0, 1]] } }),
        ),
        (
            "recommend",
            json!({ "positive": [1, 2], "strategy": "best_score", "limit": 3, "using": "" }),
            json!({ "recommend": { "positive": [1, 2], "strategy": "best_score" } }),
        ),
        (
            "discover",
            json!({ "target": [1, 1], "context": [{ "positive": 1, "negative": 2 }], "limit": 3 }),
            json!({ "discover": { "target": [1, 1], "context": [{ "positive": 1, "negative": 2 }] } }),
        ),
        (
            "discover",
            json!({ "context": [{ "positive": 1, "negative": 2 }], "limit": 3 }),
            json!({ "context": { "positive": 1, "negative": 2 } }),
        ),
    ] {
        let right = query(&server, json!({ "query": newer, "limit": 3 }));
        assert_eq!(post(path, &older), right, "{older}");
        assert_eq!(post(&format!("{path}/batch"), &json!({ "searches": [older] })), json!([right]));
    }
    let groups = json!({ "positive": [1], "group_by": "city", "group_size": 1, "limit": 5 });
    assert_eq!(post("recommend/groups", &groups)["groups"][0]["hits"].as_array().unwrap().len(), 1);
}

#[test]
fn groups_facets_and_matrices() {
    let server = Server::with_points("Dot");
    let post = |path: &str, body: Value| server.post(&format!("/collections/c/{path}"), body).result();
    let groups = post(
        "points/query/groups",
        json!({ "query": [1, 0], "group_by": "n", "group_size": 1, "limit": 2, "with_lookup": "c", "with_payload": ["n"] }),
    );
    let groups = groups["groups"].as_array().unwrap().clone();
    assert_eq!(groups.len(), 2);
    for group in &groups {
        assert_eq!((&group["hits"][0]["payload"]["n"], &group["lookup"]["id"]), (&group["id"], &group["id"]));
    }
    let older = json!({ "vector": [1, 0], "group_by": "n", "group_size": 1, "limit": 2 });
    let older = post("points/search/groups", older);
    assert_eq!(older["groups"][1]["id"], groups[1]["id"]);
    let hits =
        post("facet", json!({ "key": "city", "filter": { "must": { "has_id": [1] } }, "exact": true }));
    assert_eq!(hits, json!({ "hits": [{ "value": "Oslo", "count": 1 }] }));
    let pairs = post("points/search/matrix/pairs", json!({ "limit": 1 }));
    let offsets = post("points/search/matrix/offsets", json!({ "limit": 1 }));
    let ids = offsets["ids"].as_array().unwrap();
    assert_eq!((ids.len(), pairs["pairs"].as_array().unwrap().len()), (4, 4));
    for (at, pair) in pairs["pairs"].as_array().unwrap().iter().enumerate() {
        let id = |name: &str| &ids[offsets[name][at].as_u64().unwrap() as usize];
        assert_eq!((&pair["a"], &pair["b"]), (id("offsets_row"), id("offsets_col")));
        assert_eq!(pair["score"], offsets["scores"][at]);
    }
    let none = post("points/search/matrix/pairs", json!({ "filter": { "must": { "has_id": [1] } } }));
    assert_eq!(none, json!({ "pairs": [] }));
}
