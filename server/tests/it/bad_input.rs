//! What should never have been sent: the right status, an envelope, and a server that goes on.

use serde_json::{Value, json};

use crate::support::Server;

/// Still there, and as it was.
fn is_well(server: &Server) {
    let count = server.post("/collections/c/points/count", json!({})).result();
    assert_eq!(count, json!({ "count": 4 }));
}

#[test]
fn what_is_no_json_is_refused() {
    let server = Server::with_points("Dot");
    let bodies: [&[u8]; 12] = [
        b"",
        b"{",
        b"[]",
        b"nul",
        b"\"points\"",
        b"{\"points\": }",
        b"{\"points\": [}",
        b"{\"points\": []} trailing",
        b"\xff\xfe",
        b"{\"points\": [{\"id\": 1, \"vector\": [1, 2], \"id\": 2}]}",
        b"\0\0\0\0",
        b"{\"points\": [{\"id\": 1e30, \"vector\": [1, 2]}]}",
    ];
    for body in bodies {
        let refused = server.send("PUT", "/collections/c/points", body);
        assert_eq!(refused.status.as_u16(), 400, "{body:?}");
        assert!(refused.error().starts_with("Format error in JSON body: "), "{}", refused.error());
    }
    is_well(&server);
}

#[test]
fn numbers_that_are_none_are_refused() {
    let server = Server::with_points("Dot");
    for number in
        ["NaN", "Infinity", "1e999", "-1e999", "1e39", "3.5e38", "null", "\"1\"", "[1]", "true", "{}"]
    {
        let point = format!(r#"{{"points": [{{"id": 9, "vector": [1, {number}]}}]}}"#);
        let refused = server.send("PUT", "/collections/c/points", point);
        assert_eq!(refused.status.as_u16(), 400, "{number}: {refused:?}");
        let query = format!(r#"{{"query": [1, {number}]}}"#);
        let refused = server.send("POST", "/collections/c/points/query", query);
        assert_eq!(refused.status.as_u16(), 400, "{number}: {refused:?}");
    }
    for number in ["-1", "1.5", "18446744073709551616", "1e3", "\"x\"", "null", "[]"] {
        let point = format!(r#"{{"points": [{{"id": {number}, "vector": [1, 2]}}]}}"#);
        assert_eq!(server.send("PUT", "/collections/c/points", point).status.as_u16(), 400, "{number}");
    }
    let tiny = r#"{"query": [1e-400, 1]}"#;
    assert_eq!(server.send("POST", "/collections/c/points/query", tiny).status.as_u16(), 200);
    let huge = r#"{"points": [{"id": 1, "vector": [1, 0], "payload": {"n": 1e999}}]}"#;
    assert_eq!(server.send("PUT", "/collections/c/points", huge).status.as_u16(), 400);
    is_well(&server);
}

#[test]
fn what_is_nested_too_deeply_is_refused() {
    let server = Server::with_points("Dot");
    let nested = |open: &str, close: &str, levels| open.repeat(levels) + &close.repeat(levels);
    for levels in [65, 127, 128, 1_000, 100_000] {
        let payload = format!(
            r#"{{"points": [{{"id": 1, "vector": [1, 0], "payload": {{"a": {}}}}}]}}"#,
            nested("[", "]", levels)
        );
        assert_eq!(
            server.send("PUT", "/collections/c/points", payload).status.as_u16(),
            400,
            "{levels} arrays"
        );
        let filter =
            format!(r#"{{"filter": {}{{}}{}}}"#, r#"{"must": ["#.repeat(levels), "]}".repeat(levels));
        let refused = server.send("POST", "/collections/c/points/count", filter);
        assert_eq!(refused.status.as_u16(), 400, "{levels} filters");
        let metadata = format!(r#"{{"metadata": {{"a": {}}}}}"#, nested("[", "]", levels));
        assert_eq!(server.send("PUT", "/collections/deep", metadata).status.as_u16(), 400, "{levels}");
    }
    is_well(&server);
}

#[test]
fn filters_beyond_their_limits_are_refused() {
    let server = Server::with_points("Dot");
    let one = json!({ "key": "n", "match": { "value": 1 } });
    let many: Vec<&Value> = std::iter::repeat_n(&one, 5_000).collect();
    let corners: Vec<Value> = (0..70_000).map(|i| json!({ "lon": i % 90, "lat": i % 45 })).collect();
    for filter in [
        json!({ "must": many }),
        json!({ "must": { "key": "at", "geo_polygon": { "exterior": { "points": corners } } } }),
        json!({ "must": { "key": "at", "geo_radius": { "center": { "lon": 999, "lat": 0 }, "radius": 1 } } }),
        json!({ "must": { "key": "n", "range": { "gt": "yesterday" } } }),
        json!({ "must": { "key": "a.".repeat(600) + "b", "match": { "value": 1 } } }),
        json!({ "nothing_like_it": [] }),
    ] {
        let refused = server.post("/collections/c/points/count", json!({ "filter": filter }));
        assert_eq!(refused.status.as_u16(), 400);
        refused.error();
    }
    is_well(&server);
}

#[test]
fn names_lead_nowhere_else() {
    let server = Server::with_points("Dot");
    let body = json!({ "vectors": { "size": 2, "distance": "Dot" } });
    for name in [
        "..%2F..%2Fetc",
        "%2e%2e",
        "%2Fetc%2Fpasswd",
        "a%00b",
        "a%0Ab",
        "%1b%5B31m",
        "a%5Cb",
        ".hidden",
        "-x",
        "%20",
        "a%2Fb",
        "%EF%BF%BE",
        "a%3Cb%3E",
        &"n".repeat(256),
    ] {
        for answer in [
            server.put(&format!("/collections/{name}"), body.clone()),
            server.post(&format!("/collections/{name}/points/count"), json!({})),
            server.get(&format!("/collections/c/snapshots/{name}")),
            server.send("DELETE", &format!("/collections/c/snapshots/{name}"), ""),
        ] {
            assert!([400, 404].contains(&answer.status.as_u16()), "{name}: {answer:?}");
            answer.error();
        }
        let alias =
            json!({ "actions": [{ "create_alias": { "collection_name": "c", "alias_name": "../x\0" } }] });
        assert_eq!(server.post("/collections/aliases", alias).status.as_u16(), 400);
    }
    let broken = server.get("/collections/%FF%FE");
    assert_eq!(broken.status.as_u16(), 400, "{broken:?}");
    assert!(broken.error().contains("path"), "{broken:?}");
    assert_eq!(server.get("/collections").result(), json!({ "collections": [{ "name": "c" }] }));
    is_well(&server);
}

#[test]
fn parameters_are_checked() {
    let server = Server::with_points("Dot");
    for (parameters, status) in [
        ("wait=true&ordering=weak&timeout=10", 200),
        ("wait=maybe", 400),
        ("ordering=sideways", 400),
        ("timeout=0", 400),
        ("timeout=-1", 400),
        ("timeout=soon", 400),
        ("consistency=majority", 200),
        ("consistency=2", 200),
        ("consistency=0", 400),
        ("consistency=some", 400),
        ("unknown=1&%FF=2", 200),
    ] {
        let answer = server.post(&format!("/collections/c/points/count?{parameters}"), json!({}));
        assert_eq!(answer.status.as_u16(), status, "{parameters}: {answer:?}");
        if status == 400 {
            assert!(answer.error().starts_with("Format error in query parameters"), "{answer:?}");
        }
    }
}

#[test]
fn points_that_do_not_fit_are_refused_whole() {
    let server = Server::with_points("Cosine");
    let good = json!({ "id": 10, "vector": [1, 1] });
    for (points, part) in [
        (json!([good, { "id": 11, "vector": [1, 1, 1] }]), "3 elements"),
        (json!([good, { "id": 11, "vector": { "x": [1, 1] } }]), "not in the schema"),
        (json!([good, { "id": 11, "vector": [0, 0] }]), "direction"),
        (json!([good, { "id": 11, "vector": [[1, 1]] }]), "multi-vectors"),
        (json!([good, { "id": 11 }]), "missing field `vector`"),
        (json!([good, { "vector": [1, 1] }]), "missing field `id`"),
        (json!([good, { "id": 11, "vector": [1, 1], "payload": [] }]), "expected an object"),
    ] {
        let refused = server.put("/collections/c/points", json!({ "points": points }));
        assert_eq!(refused.status.as_u16(), 400, "{refused:?}");
        assert!(refused.error().contains(part), "{}", refused.error());
    }
    for (batch, status) in [
        (json!({ "ids": [1, 2], "vectors": [[1, 1]] }), 422),
        (json!({ "ids": [1], "vectors": [[1, 1]], "payloads": [] }), 422),
        (json!({ "ids": [1], "vectors": 7 }), 400),
    ] {
        assert_eq!(server.put("/collections/c/points", json!({ "batch": batch })).status.as_u16(), status);
    }
    for extra in [
        json!({ "update_mode": "merge" }),
        json!({ "update_filter": { "musts": [] } }),
        json!({ "shard_key": "a" }),
    ] {
        let mut request = json!({ "points": [good] });
        request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert_eq!(server.put("/collections/c/points", request).status.as_u16(), 400);
    }
    is_well(&server);
}

#[test]
fn collections_that_cannot_be_are_refused() {
    let server = Server::with_points("Dot");
    for (create, status) in [
        (json!({ "vectors": { "size": 0, "distance": "Dot" } }), 422),
        (json!({ "vectors": { "size": u64::MAX, "distance": "Dot" } }), 422),
        (json!({ "vectors": { "size": 2, "distance": "Hamming" } }), 400),
        (json!({ "vectors": { "size": "2", "distance": "Dot" } }), 400),
        (json!({ "vectors": 3 }), 400),
        (json!({ "shard_number": 0 }), 422),
        (json!({ "hnsw_config": { "ef_construct": 1 } }), 422),
        (json!({ "hnsw_config": { "m": -1 } }), 400),
        (json!({ "quantization_config": { "magic": {} } }), 400),
        (json!([]), 400),
    ] {
        let refused = server.put("/collections/new", create.clone());
        assert_eq!(refused.status.as_u16(), status, "{create}: {refused:?}");
        refused.error();
    }
    assert_eq!(server.get("/collections/new/exists").result(), json!({ "exists": false }));
}
