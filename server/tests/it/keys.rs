//! Keys and tokens: who may do what.

use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use crate::support::{Answer, Server, answer};

const FULL: &str = "the-full-key-of-the-tests-0123456789";
const READER: &str = "the-key-to-read";

fn with_keys() -> Server {
    let server = Server::with(&format!("api_key = '{FULL}'\nread_only_api_key = '{READER}'\njwt = true"));
    for name in ["a", "b"] {
        let made = json!({ "vectors": { "size": 2, "distance": "Dot" } });
        assert_eq!(ask(&server, FULL, "PUT", &format!("/collections/{name}"), made).status.as_u16(), 200);
    }
    server
}

fn ask(server: &Server, key: &str, method: &str, path: &str, body: Value) -> Answer {
    with_header(server, ("api-key", key), method, path, body)
}

fn with_header(server: &Server, header: (&str, &str), method: &str, path: &str, body: Value) -> Answer {
    let request = Request::builder().method(method).uri(path).header(header.0, header.1);
    let request = request.body(body.to_string().into()).unwrap();
    server.runtime().block_on(answer(server.router(), request))
}

/// A token as any library makes it.
fn token(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, FULL.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

#[test]
fn without_a_key_only_probes_are_answered() {
    let server = with_keys();
    for path in ["/", "/healthz", "/livez", "/readyz"] {
        assert_eq!(server.get(path).status.as_u16(), 200, "{path}");
    }
    for (method, path) in [
        ("GET", "/collections"),
        ("GET", "/nowhere"),
        ("PATCH", "/aliases"),
        ("POST", "/collections/a/points/query"),
    ] {
        let refused = server.send(method, path, "{}");
        assert_eq!(refused.status.as_u16(), 401, "{path}");
        assert!(refused.error().contains("Must provide an API key"), "{refused:?}");
        for header in [
            ("api-key", "wrong"),
            ("api-key", ""),
            ("api-key", &FULL[1..]),
            ("authorization", "Bearer x.y.z"),
            ("authorization", FULL),
        ] {
            assert_eq!(
                with_header(&server, header, method, path, json!({})).status.as_u16(),
                401,
                "{header:?}"
            );
        }
    }
    let bearer = format!("Bearer {READER}");
    let header = ("authorization", bearer.as_str());
    assert_eq!(with_header(&server, header, "GET", "/collections", json!({})).status.as_u16(), 200);
}

#[test]
fn who_may_read_may_not_write() {
    let server = with_keys();
    let expired = token(&json!({ "access": "r", "exp": 1 }));
    assert_eq!(ask(&server, &expired, "GET", "/collections", json!({})).status.as_u16(), 401);
    let reader = token(&json!({ "access": "r", "exp": 99_999_999_999_u64 }));
    for key in [READER, &reader] {
        for (method, path) in [
            ("GET", "/collections"),
            ("POST", "/collections/a/points/query"),
            ("POST", "/collections/a/points/scroll"),
            ("GET", "/collections/a"),
        ] {
            assert_eq!(ask(&server, key, method, path, json!({})).status.as_u16(), 200, "{method} {path}");
        }
        for (method, path) in [
            ("PUT", "/collections/c"),
            ("PUT", "/collections/a/points"),
            ("POST", "/collections/a/points/delete"),
            ("DELETE", "/collections/a"),
            ("PATCH", "/collections/a"),
            ("POST", "/collections/aliases"),
            ("PUT", "/collections/a/index"),
            ("POST", "/collections/a/snapshots"),
            ("DELETE", "/issues"),
        ] {
            let refused = ask(&server, key, method, path, json!({}));
            assert_eq!(refused.status.as_u16(), 403, "{method} {path}: {refused:?}");
            assert!(refused.error().starts_with("Forbidden: "), "{refused:?}");
        }
    }
}

#[test]
fn a_token_of_a_collection_reaches_no_other_by_whatever_name() {
    let server = with_keys();
    let create =
        |alias, collection| json!({ "create_alias": { "alias_name": alias, "collection_name": collection } });
    let aliases = json!({ "actions": [create("of-a", "a"), create("of-b", "b")] });
    assert_eq!(ask(&server, FULL, "POST", "/collections/aliases", aliases).status.as_u16(), 200);
    let access = json!([{ "collection": "a", "access": "rw" }]);
    let key = token(&json!({ "access": access }));
    let point = json!({ "points": [{ "id": 1, "vector": [1, 2] }] });
    for (method, path, body, status) in [
        ("PUT", "/collections/a/points", point.clone(), 200),
        ("PUT", "/collections/of-a/points", point.clone(), 200),
        ("PUT", "/collections/b/points", point.clone(), 403),
        ("PUT", "/collections/of-b/points", point, 403),
        ("POST", "/collections/a/points/query", json!({ "query": [1, 1] }), 200),
        ("POST", "/collections/%62/points/query", json!({ "query": [1, 1] }), 403),
        ("POST", "/collections/b/points/query/", json!({ "query": [1, 1] }), 403),
        ("GET", "/collections/nowhere", json!({}), 403),
        ("GET", "/collections/b/exists", json!({}), 403),
        ("PUT", "/collections/c", json!({}), 403),
        ("DELETE", "/collections/a", json!({}), 403),
        ("POST", "/collections/aliases", json!({ "actions": [] }), 403),
        (
            "POST",
            "/collections/a/points/query",
            json!({ "query": 1, "lookup_from": { "collection": "b" } }),
            403,
        ),
    ] {
        let answered = ask(&server, &key, method, path, body);
        assert_eq!(answered.status.as_u16(), status, "{method} {path}: {answered:?}");
    }
    let seen = ask(&server, &key, "GET", "/collections", json!({})).result();
    assert_eq!(seen, json!({ "collections": [{ "name": "a" }] }));
    let seen = ask(&server, &key, "GET", "/aliases", json!({})).result();
    assert_eq!(seen["aliases"].as_array().unwrap().len(), 1, "{seen}");
}

#[test]
fn a_token_reaches_the_behavior_spaces_it_names() {
    let server = with_keys();
    let base = "/nearline/v1/behaviors";
    for name in ["s", "t"] {
        let made = ask(&server, FULL, "PUT", &format!("{base}/{name}"), json!({ "dim": 2 }));
        assert_eq!(made.status.as_u16(), 200);
    }
    let of = |name, access| token(&json!({ "access": [{ "collection": name, "access": access }] }));
    let (reads, writes) = (of("behaviors/s", "r"), of("behaviors/s", "rw"));
    let read = json!({ "queries": [] });
    let write = json!({ "behaviors": [] });
    for (key, method, path, body, status) in [
        (&reads, "POST", "/s/interest", &read, 200),
        (&reads, "POST", "/s/append", &write, 403),
        (&writes, "POST", "/s/append", &write, 200),
        (&writes, "POST", "/t/append", &write, 403),
        (&writes, "POST", "/t/interest", &read, 403),
        (&writes, "DELETE", "/s", &read, 403),
        (&writes, "PUT", "/u", &read, 403),
        (&of("s", "rw"), "POST", "/s/interest", &read, 403),
        (&READER.to_owned(), "POST", "/t/interest", &read, 200),
        (&READER.to_owned(), "POST", "/t/append", &write, 403),
        (&READER.to_owned(), "DELETE", "/t", &read, 403),
    ] {
        let found = ask(&server, key, method, &format!("{base}{path}"), body.clone());
        assert_eq!(found.status.as_u16(), status, "{method} {path}");
    }
    let shown = ask(&server, &reads, "GET", base, json!({})).result();
    assert_eq!(shown, json!({ "spaces": ["s"] }));
}

#[test]
fn a_token_is_valid_as_long_as_its_point_is_there() {
    let server = with_keys();
    let matches = json!([{ "key": "user", "value": "ann" }, { "key": "active", "value": true }]);
    let claims = |collection| json!({ "access": "r", "value_exists": { "collection": collection, "matches": matches } });
    let (key, nowhere) = (token(&claims("b")), token(&claims("nowhere")));
    let status = |key: &str| ask(&server, key, "GET", "/collections/a", json!({})).status.as_u16();
    assert_eq!((status(&key), status(&nowhere)), (401, 401));
    for (id, payload, expected) in [
        (1, json!({ "user": "ann" }), 401),
        (2, json!({ "user": "bob", "active": true }), 401),
        (3, json!({ "user": ["ann", "eve"], "active": true }), 200),
    ] {
        let points = json!({ "points": [{ "id": id, "vector": [1, 2], "payload": payload }] });
        assert_eq!(ask(&server, FULL, "PUT", "/collections/b/points", points).status.as_u16(), 200);
        assert_eq!(status(&key), expected, "{id}");
    }
    let gone = json!({ "points": [3] });
    assert_eq!(ask(&server, FULL, "POST", "/collections/b/points/delete", gone).status.as_u16(), 200);
    assert_eq!((status(&key), status(&nowhere)), (401, 401));
    let all = json!({ "access": "r", "value_exists": { "collection": "a", "matches": [] } });
    assert_eq!(status(&token(&all)), 401, "a has no point at all");
}

#[test]
fn snapshots_of_all_there_is_are_not_for_tokens_of_some() {
    let server = with_keys();
    let made = ask(&server, FULL, "POST", "/snapshots", json!({})).result();
    let one = format!("/snapshots/{}", made["name"].as_str().unwrap());
    let some = token(&json!({ "access": [{ "collection": "a", "access": "rw" }] }));
    for (key, method, path, status) in [
        (some.as_str(), "GET", "/snapshots", 403),
        (some.as_str(), "POST", "/snapshots", 403),
        (some.as_str(), "GET", one.as_str(), 403),
        (some.as_str(), "DELETE", one.as_str(), 403),
        (READER, "GET", "/snapshots", 200),
        (READER, "GET", one.as_str(), 200),
        (READER, "POST", "/snapshots", 403),
        (READER, "DELETE", one.as_str(), 403),
        (FULL, "DELETE", one.as_str(), 200),
    ] {
        assert_eq!(ask(&server, key, method, path, json!({})).status.as_u16(), status, "{method} {path}");
    }
}

#[test]
fn a_token_reaches_the_embedding_tables_it_names() {
    let server = with_keys();
    let base = "/nearline/v1/tables";
    let optimizer = json!({ "rule": "sgd", "rate": 0.1 });
    let table = json!({ "method": "hash", "rows": 4, "dim": 1, "budget": 16, "optimizer": optimizer });
    for name in ["s", "t"] {
        let made = ask(&server, FULL, "PUT", &format!("{base}/{name}"), table.clone());
        assert_eq!(made.status.as_u16(), 200);
    }
    let of = |name, access| token(&json!({ "access": [{ "collection": name, "access": access }] }));
    let (reads, writes) = (of("tables/s", "r"), of("tables/s", "rw"));
    let read = json!({ "ids": [1] });
    let write = json!({ "ids": [1], "gradients": [[1]] });
    for (key, method, path, body, status) in [
        (&reads, "POST", "/s/lookup", &read, 200),
        (&reads, "GET", "/s/export?format=npy", &read, 200),
        (&reads, "POST", "/s/gradients", &write, 403),
        (&reads, "POST", "/s/pins", &write, 403),
        (&writes, "POST", "/s/gradients", &write, 200),
        (&writes, "POST", "/s/pins", &write, 200),
        (&writes, "POST", "/t/gradients", &write, 403),
        (&writes, "POST", "/t/lookup", &read, 403),
        (&writes, "DELETE", "/s", &read, 403),
        (&writes, "PUT", "/u", &table, 403),
        (&writes, "POST", "/u/fit", &table, 403),
        (&writes, "POST", "/u/import?format=npy&dim=1", &table, 403),
        (&READER.to_owned(), "POST", "/t/lookup", &read, 200),
        (&READER.to_owned(), "POST", "/t/gradients", &write, 403),
        (&READER.to_owned(), "PUT", "/t/rows", &write, 403),
        (&READER.to_owned(), "POST", "/u/fit", &write, 403),
        (&READER.to_owned(), "DELETE", "/t", &read, 403),
    ] {
        let found = ask(&server, key, method, &format!("{base}{path}"), body.clone());
        assert_eq!(found.status.as_u16(), status, "{method} {path}");
    }
    let shown = ask(&server, &reads, "GET", base, json!({})).result();
    assert_eq!(shown, json!({ "tables": ["s"] }));
}
