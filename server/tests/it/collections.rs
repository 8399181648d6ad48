//! Collections, their aliases and field indexes, and what the server says of itself.

use serde_json::{Value, json};

use crate::support::Server;

#[test]
fn the_server_says_what_it_is() {
    let server = Server::start();
    let root = server.get("/").json();
    assert_eq!(root["version"], "1.19.0");
    assert_eq!(root.get("result"), None);
    for path in ["/healthz", "/livez", "/readyz", "/healthz/"] {
        assert_eq!(server.get(path).status.as_u16(), 200, "{path}");
    }
    assert_eq!(server.get("/cluster").result(), json!({ "status": "disabled" }));
    assert_eq!(server.get("/telemetry").result()["collections"]["number_of_collections"], 0);
    assert_eq!(server.get("/issues").result(), json!({ "issues": [] }));
    assert_eq!(server.get("/no/such/path").status.as_u16(), 404);
    assert!(server.get("/no/such/path").error().starts_with("Not found: "));
    assert_eq!(server.post("/aliases", json!({})).status.as_u16(), 405);
}

#[test]
fn a_collection_comes_changes_and_goes() {
    let server = Server::start();
    let created = json!({
        "vectors": { "a": { "size": 3, "distance": "Cosine", "datatype": "float16", "on_disk": true },
                     "b": { "size": 2, "distance": "Manhattan", "hnsw_config": { "m": 4 } } },
        "hnsw_config": { "m": 8 },
        "optimizers_config": { "max_optimization_threads": "auto" },
        "quantization_config": { "binary": { "always_ram": true } },
        "shard_number": 1,
        "metadata": { "model": "m", "deep": { "x": 1 } },
        "what_is_this": "ignored",
    });
    assert_eq!(server.put("/collections/c", created.clone()).result(), json!(true));
    let again = server.put("/collections/c", created);
    assert_eq!(again.status.as_u16(), 409);
    assert_eq!(again.error(), "Wrong input: Collection `c` already exists!");
    assert_eq!(server.get("/collections").result(), json!({ "collections": [{ "name": "c" }] }));

    let info = server.get("/collections/c").result();
    assert_eq!((&info["status"], &info["optimizer_status"]), (&json!("green"), &json!("ok")));
    let config = &info["config"];
    assert_eq!(config["hnsw_config"]["m"], 8);
    assert_eq!(config["hnsw_config"]["ef_construct"], 100);
    assert_eq!(config["optimizer_config"]["max_optimization_threads"], Value::Null);
    assert_eq!(config["quantization_config"], json!({ "binary": { "always_ram": true } }));
    assert_eq!(
        config["params"]["vectors"],
        json!({ "a": { "size": 3, "distance": "Cosine", "datatype": "float16", "on_disk": true },
                "b": { "size": 2, "distance": "Manhattan", "hnsw_config": { "m": 4 } } })
    );

    let diff = json!({
        "hnsw_config": { "ef_construct": 50 }, "quantization_config": "Disabled", "metadata": { "deep": { "y": 2 } },
        "vectors": { "b": { "hnsw_config": { "m": 5 } } }, "params": { "on_disk_payload": false },
    });
    assert_eq!(server.json("PATCH", "/collections/c", diff).result(), json!(true));
    let config = server.get("/collections/c").result()["config"].clone();
    assert_eq!(
        (&config["hnsw_config"]["m"], &config["hnsw_config"]["ef_construct"]),
        (&json!(8), &json!(50))
    );
    assert_eq!(config["quantization_config"], Value::Null);
    assert_eq!(config["metadata"], json!({ "model": "m", "deep": { "x": 1, "y": 2 } }));
    assert_eq!(config["params"]["vectors"]["b"]["hnsw_config"]["m"], 5);
    assert_eq!(config["params"]["on_disk_payload"], false);
    let wrong = server.json("PATCH", "/collections/c", json!({ "vectors": { "z": {} } }));
    assert!(wrong.error().contains("Not existing vector name"), "{wrong:?}");
    assert_eq!(server.json("PATCH", "/collections/x", json!({})).status.as_u16(), 404);

    assert_eq!(server.get("/collections/c/exists").result(), json!({ "exists": true }));
    assert_eq!(server.get("/collections/c/cluster").result()["shard_count"], 1);
    assert_eq!(server.get("/collections/c/optimizations").result()["running"], json!([]));
    assert_eq!(server.send("DELETE", "/collections/c?timeout=5", "").result(), json!(true));
    assert_eq!(server.send("DELETE", "/collections/c", "").result(), json!(false));
    assert_eq!(server.get("/collections/c/exists").result(), json!({ "exists": false }));
    let gone = server.get("/collections/c");
    assert_eq!(
        (gone.status.as_u16(), gone.error().as_str()),
        (404, "Not found: Collection `c` doesn't exist!")
    );
}

#[test]
fn a_collection_made_by_the_library_describes_itself() {
    let server = Server::start();
    server.put("/collections/none", json!({})).result();
    let info = server.get("/collections/none").result();
    assert_eq!(info["config"]["params"]["vectors"], json!({}));
    assert_eq!(info["config"]["wal_config"]["wal_capacity_mb"], 32);
}

#[test]
fn what_is_not_there_yet_is_said_so() {
    let server = Server::start();
    let dense = json!({ "size": 2, "distance": "Dot" });
    for create in [
        json!({ "sparse_vectors": { "s": {} } }),
        json!({ "vectors": { "size": 2, "distance": "Dot", "multivector_config": { "comparator": "max_sim" } } }),
        json!({ "vectors": dense, "sharding_method": "custom" }),
        json!({ "vectors": { "size": 2, "distance": "Dot", "datatype": "turbo4" } }),
    ] {
        let refused = server.put("/collections/c", create);
        assert_eq!(refused.status.as_u16(), 400);
        assert!(refused.error().contains("not supported yet"), "{refused:?}");
    }
    server.put("/collections/c", json!({ "vectors": dense })).result();
    for path in ["shards", "shards/delete"] {
        let refused = server.post(&format!("/collections/c/{path}"), json!({}));
        assert_eq!(refused.status.as_u16(), 400, "{path}");
        assert!(refused.error().contains("not supported yet"), "{refused:?}");
    }
}

#[test]
fn aliases_change_together() {
    let server = Server::start();
    for name in ["c", "d"] {
        server.put(&format!("/collections/{name}"), json!({})).result();
    }
    let create = |alias: &str, collection: &str| json!({ "create_alias": { "alias_name": alias, "collection_name": collection } });
    let change =
        |actions: Value| server.post("/collections/aliases?timeout=1", json!({ "actions": actions }));
    change(json!([create("live", "c"), create("old", "c")])).result();
    server
        .put("/collections/live/points?wait=true", json!({ "points": [{ "id": 1, "vector": {} }] }))
        .result();
    assert_eq!(server.post("/collections/c/points/count", json!({})).result(), json!({ "count": 1 }));
    let delete = json!({ "delete_alias": { "alias_name": "old" } });
    let failed = change(json!([delete, create("live", "nowhere")]));
    assert_eq!(failed.status.as_u16(), 404);
    let rename = json!({ "rename_alias": { "old_alias_name": "live", "new_alias_name": "now" } });
    change(json!([delete, create("live", "d"), rename])).result();
    let now = json!({ "aliases": [{ "alias_name": "now", "collection_name": "d" }] });
    assert_eq!(server.get("/aliases").result(), now);
    assert_eq!(server.get("/collections/d/aliases").result(), now);
    assert_eq!(server.get("/collections/c/aliases").result(), json!({ "aliases": [] }));
    assert_eq!(server.get("/collections/now/exists").result(), json!({ "exists": true }));
    assert_eq!(server.put("/collections/now", json!({})).status.as_u16(), 409);
    assert_eq!(server.send("DELETE", "/collections/now", "").result(), json!(false));
}

#[test]
fn field_indexes_come_and_go() {
    let server = Server::with_points("Dot");
    let path = "/collections/c/index";
    let create = |field: &str, schema: Value| {
        server.put(&format!("{path}?wait=true"), json!({ "field_name": field, "field_schema": schema }))
    };
    assert_eq!(create("n", json!("integer")).result()["status"], "completed");
    create("city", json!({ "type": "keyword", "is_tenant": true })).result();
    let text = json!({ "type": "text", "tokenizer": "prefix", "min_token_len": 2, "lowercase": false });
    create("text", text.clone()).result();
    create("n", json!("float")).result();
    let schema = server.get("/collections/c").result()["payload_schema"].clone();
    assert_eq!(schema["n"]["data_type"], "float");
    assert_eq!(schema["city"]["data_type"], "keyword");
    assert_eq!(schema["text"]["params"]["tokenizer"], "prefix");
    assert_eq!(schema["text"]["params"]["min_token_len"], 2);
    for (schema, part) in [
        (json!("colour"), "expected the name of a type"),
        (
            json!({ "type": "text", "stemmer": { "type": "snowball", "language": "english" } }),
            "not supported yet",
        ),
        (json!({ "type": "text", "ascii_folding": true }), "not supported yet"),
    ] {
        let refused = create("x", schema);
        assert_eq!(refused.status.as_u16(), 400);
        assert!(refused.error().contains(part), "{refused:?}");
    }
    assert!(server.put(path, json!({ "field_name": "x" })).error().contains("field_schema"));
    assert_eq!(create("a[", json!("bool")).status.as_u16(), 400);
    for field in ["n", "city", "text", "never"] {
        assert_eq!(server.send("DELETE", &format!("{path}/{field}"), "").result()["status"], "acknowledged");
    }
    assert_eq!(server.get("/collections/c").result()["payload_schema"], json!({}));
}
