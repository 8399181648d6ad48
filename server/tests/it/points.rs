//! Points written, changed and read.

use serde_json::{Value, json};

use crate::support::{Server, ids};

const UUID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

#[test]
fn points_are_written_in_both_forms_and_read() {
    let server = Server::with_points("Dot");
    let batch =
        json!({ "batch": { "ids": [5, 6], "vectors": [[1, 1], [2, 2]], "payloads": [{ "n": 5 }, null] } });
    let written = server.put("/collections/c/points", batch).result();
    assert_eq!(written, json!({ "operation_id": 2, "status": "acknowledged" }));
    assert_eq!(
        server.get("/collections/c/points/5").result(),
        json!({ "id": 5, "payload": { "n": 5 }, "vector": [1.0, 1.0] })
    );
    assert_eq!(server.get(&format!("/collections/c/points/{UUID}")).result()["payload"], json!({}));
    let missing = server.get("/collections/c/points/77");
    assert_eq!((missing.status.as_u16(), missing.error().contains("Point with id 77")), (404, true));
    assert_eq!(server.get("/collections/c/points/seven").status.as_u16(), 400);

    let some = json!({ "ids": [3, 77, 1], "with_payload": ["n"] });
    assert_eq!(
        server.post("/collections/c/points", some).result(),
        json!([{ "id": 3, "payload": { "n": 3 } }, { "id": 1, "payload": { "n": 1 } }])
    );
    let bare = json!({ "ids": [1], "with_payload": false, "with_vector": true });
    assert_eq!(
        server.post("/collections/c/points", bare).result(),
        json!([{ "id": 1, "vector": [1.0, 0.0] }])
    );
}

#[test]
fn named_vectors_may_be_missing_and_change_alone() {
    let server = Server::start();
    let vectors =
        json!({ "a": { "size": 2, "distance": "Cosine" }, "b": { "size": 1, "distance": "Euclid" } });
    server.put("/collections/c", json!({ "vectors": vectors })).result();
    let points = json!([
        { "id": 1, "vector": { "a": [3, 4], "b": [7] } },
        { "id": 2, "vector": { "b": [8] } },
        { "id": 3, "vector": {} },
    ]);
    server.put("/collections/c/points", json!({ "points": points })).result();
    let get = |with: Value| {
        let request = json!({ "ids": [1, 2, 3], "with_payload": false, "with_vector": with });
        server.post("/collections/c/points", request)
    };
    let all = get(json!(true)).result();
    assert_eq!(all[0]["vector"], json!({ "a": [0.6, 0.8], "b": [7.0] }), "of length 1 where angles count");
    assert_eq!((&all[1]["vector"], &all[2]["vector"]), (&json!({ "b": [8.0] }), &json!({})));
    assert_eq!(get(json!(["b"])).result()[0]["vector"], json!({ "b": [7.0] }));
    assert!(get(json!(["z"])).error().contains("Not existing vector name error: z"));

    let update =
        json!({ "points": [{ "id": 2, "vector": { "a": [0, 2] } }, { "id": 1, "vector": { "b": [9] } }] });
    server.put("/collections/c/points/vectors?wait=true", update).result();
    server.post("/collections/c/points/vectors/delete", json!({ "points": [1], "vector": ["a"] })).result();
    let all = get(json!(true)).result();
    assert_eq!(all[0]["vector"], json!({ "b": [9.0] }));
    assert_eq!(all[1]["vector"], json!({ "a": [0.0, 1.0], "b": [8.0] }));
    let missing = json!({ "points": [{ "id": 9, "vector": { "b": [1] } }] });
    assert_eq!(server.put("/collections/c/points/vectors", missing).status.as_u16(), 404);
}

#[test]
fn payloads_are_merged_overwritten_cut_and_cleared() {
    let server = Server::with_points("Dot");
    let payload = |id: u64| server.get(&format!("/collections/c/points/{id}")).result()["payload"].clone();
    let path = "/collections/c/points/payload";
    server.post(path, json!({ "payload": { "new": 1 }, "points": [1] })).result();
    server.post(path, json!({ "payload": { "c": 3 }, "points": [1], "key": "in.deep" })).result();
    assert_eq!(
        payload(1),
        json!({ "n": 1, "city": "Oslo", "new": 1, "in": { "a": 1, "b": 2, "deep": { "c": 3 } } })
    );
    let cut = json!({ "keys": ["in.a", "new", "nothing"], "points": [1] });
    server.post(&format!("{path}/delete"), cut).result();
    assert_eq!(payload(1), json!({ "n": 1, "city": "Oslo", "in": { "b": 2, "deep": { "c": 3 } } }));
    let oslo = json!({ "must": [{ "key": "city", "match": { "value": "Oslo" } }] });
    server.put(path, json!({ "payload": { "only": true }, "filter": oslo })).result();
    assert_eq!((payload(1), payload(3)), (json!({ "only": true }), json!({ "only": true })));
    server.post(&format!("{path}/clear"), json!({ "points": [3] })).result();
    assert_eq!((payload(3), payload(2)["n"].clone()), (json!({}), json!(2)));
    let missing = server.post(path, json!({ "payload": { "x": 1 }, "points": [2, 99] }));
    assert_eq!(
        (missing.status.as_u16(), missing.error().as_str()),
        (404, "Not found: No point with id 99 found")
    );
    assert_eq!(payload(2)["x"], 1, "what is there was changed");
    assert_eq!(server.post(path, json!({ "payload": { "x": 1 } })).status.as_u16(), 400);
    assert_eq!(server.post(path, json!({ "payload": {}, "points": [1], "key": "a[" })).status.as_u16(), 400);
}

#[test]
fn points_are_deleted_by_ids_and_by_filters() {
    let server = Server::with_points("Dot");
    let count =
        || server.post("/collections/c/points/count", json!({ "exact": false })).result()["count"].clone();
    server.post("/collections/c/points/delete", json!({ "points": [1, 99] })).result();
    assert_eq!(count(), 3);
    let filter = json!({ "filter": { "must": { "key": "n", "range": { "gte": 3 } } } });
    server.post("/collections/c/points/delete?ordering=strong&wait=true", filter).result();
    assert_eq!(count(), 2);
    assert_eq!(server.post("/collections/c/points/delete", json!({})).status.as_u16(), 400);
}

#[test]
fn operations_follow_each_other() {
    let server = Server::with_points("Dot");
    let operations = json!([
        { "upsert": { "points": [{ "id": 7, "vector": [1, 1], "payload": { "a": 1 } }] } },
        { "set_payload": { "payload": { "b": 2 }, "points": [7] } },
        { "overwrite_payload": { "payload": { "c": 3 }, "points": [2] } },
        { "delete_payload": { "keys": ["a"], "points": [7] } },
        { "update_vectors": { "points": [{ "id": 7, "vector": [5, 5] }] } },
        { "delete_vectors": { "points": [3], "vector": [""] } },
        { "clear_payload": { "points": [3] } },
        { "delete": { "points": [1] } },
    ]);
    let done =
        server.post("/collections/c/points/batch?wait=true", json!({ "operations": operations })).result();
    let numbers: Vec<u64> =
        done.as_array().unwrap().iter().map(|done| done["operation_id"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (2..10).collect::<Vec<_>>());
    let all = json!({ "with_vector": true });
    let all = server.post("/collections/c/points/scroll", all).result()["points"].clone();
    assert_eq!(all[2], json!({ "id": 7, "payload": { "b": 2 }, "vector": [5.0, 5.0] }));
    assert_eq!(all[1], json!({ "id": 3, "payload": {}, "vector": {} }));
    assert_eq!(all[0]["payload"], json!({ "c": 3 }));
    let half = json!({ "operations": [{ "delete": { "points": [2] } }, { "set_payload": { "payload": {}, "points": [99] } }] });
    assert_eq!(server.post("/collections/c/points/batch", half).status.as_u16(), 404);
    assert_eq!(server.get("/collections/c/points/2").status.as_u16(), 404, "what came before is done");
    let unknown = json!({ "operations": [{ "explode": {} }] });
    assert_eq!(server.post("/collections/c/points/batch", unknown).status.as_u16(), 400);
}

#[test]
fn scrolls_go_through_all_points_once() {
    let server = Server::with_points("Dot");
    let path = "/collections/c/points/scroll";
    let page = server.post(path, json!({ "limit": 3 })).result();
    assert_eq!(
        (ids(&page["points"]), &page["next_page_offset"]),
        (vec![json!(1), json!(2), json!(3)], &json!(UUID))
    );
    let last = server.post(path, json!({ "limit": 3, "offset": UUID })).result();
    assert_eq!((ids(&last["points"]), &last["next_page_offset"]), (vec![json!(UUID)], &Value::Null));
    let newest = json!({ "order_by": { "key": "n", "direction": "desc", "start_from": 2 } });
    let newest = server.post(path, newest).result();
    let values: Vec<&Value> =
        newest["points"].as_array().unwrap().iter().map(|point| &point["order_value"]).collect();
    assert_eq!((ids(&newest["points"]), values), (vec![json!(2), json!(1)], vec![&json!(2), &json!(1)]));
    let both = server.post(path, json!({ "order_by": "n", "offset": 1 }));
    assert_eq!(both.status.as_u16(), 400);
    assert_eq!(server.post(path, json!({ "limit": 0 })).status.as_u16(), 422);
}

#[test]
fn upserts_are_of_new_points_or_of_those_that_are_there_or_of_those_that_match() {
    let server = Server::with_points("Dot");
    let put = |id: u64, n: u64, how: Value| {
        let mut body = json!({ "points": [{ "id": id, "vector": [1, 0], "payload": { "n": n } }] });
        body.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
        server.put("/collections/c/points?wait=true", body).result();
        let found = server.post("/collections/c/points", json!({ "ids": [id] })).result();
        found[0]["payload"]["n"].as_u64()
    };
    let older = json!({ "must": [{ "key": "n", "range": { "lt": 5 } }] });
    for (id, n, how, right) in [
        (1, 9, json!({ "update_mode": "insert_only" }), Some(1)),
        (7, 9, json!({ "update_mode": "update_only" }), None),
        (7, 4, json!({ "update_mode": "insert_only" }), Some(4)),
        (7, 5, json!({ "update_mode": "update_only", "update_filter": older }), Some(5)),
        (7, 6, json!({ "update_filter": older }), Some(5)),
        (7, 6, json!({ "update_mode": "upsert" }), Some(6)),
        (8, 1, json!({ "update_filter": older }), Some(1)),
    ] {
        assert_eq!(put(id, n, how.clone()), right, "{id} {n} {how}");
    }
}

#[test]
fn vectors_are_replaced_where_points_match() {
    let server = Server::with_points("Dot");
    let update = |filter: Value| {
        let points = json!([{ "id": 1, "vector": [7, 7] }, { "id": 2, "vector": [7, 7] }, { "id": 99, "vector": [7, 7] }]);
        let body = json!({ "points": points, "update_filter": filter });
        server.put("/collections/c/points/vectors?wait=true", body)
    };
    let in_rome = json!({ "must": [{ "key": "city", "match": { "value": "Rome" } }] });
    update(in_rome.clone()).result();
    let vector = |id: u64| server.get(&format!("/collections/c/points/{id}")).result()["vector"].clone();
    assert_eq!((vector(1), vector(2)), (json!([1.0, 0.0]), json!([7.0, 7.0])));
    assert_eq!(update(json!({ "must": [{ "key": 7 }] })).status.as_u16(), 400);
    assert_eq!(update(Value::Null).status.as_u16(), 404, "99 is not there");
    let batch = json!({ "operations": [{ "update_vectors": {
        "points": [{ "id": 1, "vector": [9, 9] }, { "id": 2, "vector": [9, 9] }],
        "update_filter": { "must_not": [in_rome] },
    } }] });
    server.post("/collections/c/points/batch", batch).result();
    assert_eq!((vector(1), vector(2)), (json!([9.0, 9.0]), json!([7.0, 7.0])));
}

#[test]
fn what_a_snapshot_keeps_is_not_written() {
    let server = Server::with_points("Dot");
    let made = server.send("POST", "/collections/c/snapshots", "").result();
    let name = made["name"].as_str().unwrap();
    for (method, path, body) in [
        ("PUT", "points", json!({ "points": [] })),
        ("POST", "points/delete", json!({ "points": [1] })),
        ("POST", "points/payload", json!({ "points": [1], "payload": {} })),
        ("PUT", "index", json!({ "field_name": "n", "field_schema": "integer" })),
        ("DELETE", "index/n", json!({})),
    ] {
        let refused = server.json(method, &format!("/collections/c/{path}?as_of={name}"), body);
        assert!(refused.status.as_u16() == 400 && refused.error().contains("as_of"), "{path}: {refused:?}");
    }
    let counted = server.post(&format!("/collections/c/points/count?as_of={name}"), json!({})).result();
    assert_eq!(counted["count"], 4);
}
