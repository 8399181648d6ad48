//! The document of all routes, made of the table that the router is made of.

use serde_json::{Map, Value, json};

use crate::rights::Access;
use crate::table::{Body, Operation};

/// The page that shows the document.
pub(crate) const PAGE: &str = include_str!("docs.html");

/// The document (OpenAPI 3.0).
pub(crate) fn document<'a>(operations: impl IntoIterator<Item = (&'a str, &'a Operation)>) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (path, operation) in operations {
        let method = operation.method.as_str().to_lowercase();
        paths.entry(path).or_insert_with(|| json!({}))[method] = described(path, operation);
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Nearline",
            "description": "Collections and points in the REST dialect of Qdrant, and what Nearline adds under /nearline/v1.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Success": {
                    "type": "object",
                    "required": ["result", "status", "time"],
                    "properties": {
                        "result": {},
                        "status": { "type": "string", "enum": ["ok"] },
                        "time": { "type": "number" },
                        "usage": { "type": "object", "description": "What searching cost" },
                    },
                },
                "Refusal": {
                    "type": "object",
                    "required": ["result", "status", "time"],
                    "properties": {
                        "result": { "nullable": true },
                        "status": { "type": "object", "properties": { "error": { "type": "string" } } },
                        "time": { "type": "number" },
                    },
                },
            },
            "securitySchemes": {
                "api-key": { "type": "apiKey", "in": "header", "name": "api-key" },
                "bearer": { "type": "http", "scheme": "bearer" },
            },
        },
        "security": [{ "api-key": [] }, { "bearer": [] }, {}],
    })
}

fn described(path: &str, operation: &Operation) -> Value {
    let content = |schema: &str| json!({ "application/json": { "schema": { "$ref": schema } } });
    let mut described = json!({
        "operationId": id(path, operation),
        "summary": operation.summary,
        "tags": [tag(path)],
        "parameters": parameters(path, operation),
        "responses": {
            "200": { "description": "Done", "content": content("#/components/schemas/Success") },
            "default": { "description": "Refused", "content": content("#/components/schemas/Refusal") },
        },
    });
    if tells_otherwise(path) {
        described["responses"]["200"] =
            json!({ "description": "Without an envelope", "content": { "*/*": { "schema": {} } } });
    }
    if operation.access == Access::Open {
        described["security"] = json!([]);
    }
    let (members, kinds) = match &operation.body {
        Body::None => return described,
        Body::Json(members) => (Some(members), &[][..]),
        Body::Either(members, kinds) => (Some(members), *kinds),
        Body::Other(kinds) => (None, *kinds),
    };
    let binary = json!({ "schema": { "type": "string", "format": "binary" } });
    let mut content: Map<String, Value> =
        kinds.iter().map(|kind| ((*kind).to_owned(), binary.clone())).collect();
    if let Some(members) = members {
        let properties: Map<String, Value> =
            members.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let schema = json!({ "type": "object", "properties": properties });
        content.insert("application/json".to_owned(), json!({ "schema": schema }));
    }
    described["requestBody"] = json!({ "content": content });
    if members.is_none() {
        described["requestBody"]["required"] = json!(true);
    }
    described
}

/// Whether an answer is something else than JSON in its envelope.
fn tells_otherwise(path: &str) -> bool {
    matches!(path, "/" | "/healthz" | "/livez" | "/readyz" | "/metrics" | "/docs" | "/openapi.json")
        || path.ends_with("/snapshots/{snapshot}")
        || path.ends_with("/tables/{table}/export")
}

fn id(path: &str, operation: &Operation) -> String {
    let words = path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(operation.method.as_str().to_lowercase().as_str())
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

fn tag(path: &str) -> &'static str {
    let groups = [
        ("/behaviors", "behaviors"),
        ("/v1/tables", "tables"),
        ("/nearline/", "nearline"),
        ("/snapshots", "snapshots"),
        ("/aliases", "aliases"),
        ("/index", "indexes"),
        ("/points", "points"),
        ("/facet", "points"),
        ("/collections", "collections"),
    ];
    groups.into_iter().find(|(part, _)| path.contains(part)).map_or("service", |(_, tag)| tag)
}

fn parameters(path: &str, operation: &Operation) -> Value {
    let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> = parts
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let mut query = |name: &str, schema: Value, what: &str| {
        all.push(json!({ "name": name, "in": "query", "schema": schema, "description": what }));
    };
    if operation.access > Access::Open {
        query("timeout", json!({ "type": "integer", "minimum": 1 }), "Seconds that the request may take");
    }
    match operation.access {
        Access::Write => {
            query("wait", json!({ "type": "boolean" }), "Whether to answer when it survives a loss of power");
            query(
                "ordering",
                json!({ "type": "string", "enum": ["weak", "medium", "strong"] }),
                "Says nothing",
            );
        }
        Access::Read if path.contains("{collection}") && operation.body != Body::None => {
            query(
                "as_of",
                json!({ "type": "string" }),
                "Name of a snapshot that is read in place of the collection",
            );
            query("consistency", json!({ "type": "string" }), "Says nothing");
        }
        _ => {}
    }
    for &(name, kind, what) in of_tables(path) {
        query(name, json!({ "type": kind }), what);
    }
    if matches!(operation.body, Body::Other(_)) && !path.contains("{table}") {
        query("using", json!({ "type": "string" }), "Name of the vector");
        if operation.access == Access::Write {
            query("start", json!({ "type": "integer", "minimum": 0 }), "Id of the first row");
            query("ids", json!({ "type": "boolean" }), "Whether each row begins with its id, 8 bytes");
        } else {
            query("limit", json!({ "type": "integer", "minimum": 1 }), "Points for each row");
            query(
                "target_recall",
                json!({ "type": "number" }),
                "The part of the nearest that shall be found",
            );
        }
    }
    all.into()
}

type Parameter = (&'static str, &'static str, &'static str);
const VERSION: Parameter =
    ("version", "integer", "The version that is read: the one of now, or one that is pinned");
const DIM: Parameter = ("dim", "integer", "Values of a row");
const FORMAT: Parameter =
    ("format", "string", "npy, torch, torch-byte, tbe, tbe-cast, faiss-pq or safetensors");

/// What routes of embedding tables take behind their paths, with bodies that are bytes: name, type, what it says.
fn of_tables(path: &str) -> &'static [Parameter] {
    match path.split_once("{table}/").map_or("", |(_, rest)| rest) {
        "lookup" | "dot" => &[VERSION],
        "pool" => &[
            VERSION,
            ("bags", "integer", "Bags, one less than the offsets that the body begins with"),
            ("weights", "boolean", "Whether the body ends with a weight for each id"),
            ("pool", "string", "sum or mean"),
        ],
        "rows" => &[("start", "integer", "Id of the first row; without it, rows begin with their ids")],
        "fit" => &[
            DIM,
            ("method", "string", "How rows are kept"),
            ("budget", "integer", "Bytes the table may take"),
            ("seed", "integer", "What random choices follow from"),
        ],
        "import" => &[
            FORMAT,
            DIM,
            ("bits", "integer", "Bits of a value"),
            ("align", "integer", "Bytes that rows are filled up to a multiple of"),
        ],
        "export" => &[FORMAT, VERSION],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::routes;

    #[test]
    fn every_route_is_in_the_document_with_an_id_and_words_of_its_own() {
        let (always, limited) = (routes::always(), routes::limited());
        let operations = || always.operations().chain(limited.operations());
        let document = super::document(operations());
        let mut ids = BTreeSet::new();
        for (path, operation) in operations() {
            let described = &document["paths"][path][operation.method.as_str().to_lowercase()];
            assert!(described.is_object(), "{path}");
            assert!(ids.insert(described["operationId"].as_str().unwrap().to_owned()), "{path}");
            assert!(!operation.summary.is_empty(), "{} {path} says nothing", operation.method);
        }
        assert!(ids.len() > 40, "{}", ids.len());
    }

    #[test]
    fn members_of_bodies_are_those_of_their_types() {
        let routes = routes::limited();
        let document = super::document(routes.operations());
        let body = &document["paths"]["/collections/{collection}/points/query"]["post"]["requestBody"];
        let properties = &body["content"]["application/json"]["schema"]["properties"];
        for name in ["query", "limit", "filter", "with_payload"] {
            assert!(properties[name].is_object(), "{name}: {body}");
        }
    }
}
