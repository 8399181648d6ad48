//! The document of all routes, made of the table that the router is made of.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::rights::Access;
use crate::table::{Body, Operation, Shape};

/// The page that shows the document.
pub(crate) const PAGE: &str = include_str!("docs.html");

/// The document (OpenAPI 3.0).
pub(crate) fn document<'a>(operations: impl IntoIterator<Item = (&'a str, &'a Operation)>) -> Value {
    let mut shapes = SchemaSettings::openapi3().into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for (path, operation) in operations {
        let method = operation.method.as_str().to_lowercase();
        paths.entry(path).or_insert_with(|| json!({}))[method] = described(path, operation, &mut shapes);
    }
    let mut schemas = shapes.take_definitions(true);
    schemas.insert("Refusal".to_owned(), refusal());
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
            "schemas": schemas,
            "securitySchemes": {
                "api-key": { "type": "apiKey", "in": "header", "name": "api-key" },
                "bearer": { "type": "http", "scheme": "bearer" },
            },
        },
        "security": [{ "api-key": [] }, { "bearer": [] }, {}],
    })
}

/// The envelope of a refusal.
fn refusal() -> Value {
    json!({
        "type": "object",
        "required": ["result", "status", "time"],
        "properties": {
            "result": { "nullable": true },
            "status": {
                "type": "object",
                "required": ["error"],
                "properties": { "error": { "type": "string" } },
            },
            "time": { "type": "number" },
        },
    })
}

/// The envelope of a result.
fn success(result: Schema) -> Value {
    json!({
        "type": "object",
        "required": ["result", "status", "time"],
        "properties": {
            "result": result,
            "status": { "type": "string", "enum": ["ok"] },
            "time": { "type": "number" },
            "usage": { "type": "object", "description": "What searching cost" },
        },
    })
}

fn described(path: &str, operation: &Operation, shapes: &mut SchemaGenerator) -> Value {
    let content = |schema: Value| json!({ "application/json": { "schema": schema } });
    let done = match operation.result {
        Some(result) => json!({ "description": "Done", "content": content(success(result(shapes))) }),
        None => json!({ "description": "Without an envelope", "content": { "*/*": { "schema": {} } } }),
    };
    let refused = content(json!({ "$ref": "#/components/schemas/Refusal" }));
    let mut described = json!({
        "operationId": id(path, operation),
        "summary": operation.summary,
        "tags": [tag(path)],
        "parameters": parameters(path, operation, shapes),
        "responses": { "200": done, "default": { "description": "Refused", "content": refused } },
    });
    if operation.access == Access::Open {
        described["security"] = json!([]);
    }
    if let Some(body) = body(&operation.body, shapes) {
        described["requestBody"] = body;
    }
    described
}

fn body(body: &Body, shapes: &mut SchemaGenerator) -> Option<Value> {
    let (shape, kinds) = match body {
        Body::None => return None,
        Body::Json(shape) => (Some(shape), &[][..]),
        Body::Either(shape, kinds) => (Some(shape), *kinds),
        Body::Other(kinds) => (None, *kinds),
    };
    let binary = |kind: &str| match kind {
        "multipart/form-data" => json!({
            "type": "object",
            "properties": { "snapshot": { "type": "string", "format": "binary" } },
        }),
        _ => json!({ "type": "string", "format": "binary" }),
    };
    let mut content: Map<String, Value> =
        kinds.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": binary(kind) }))).collect();
    if let Some(shape) = shape {
        content.insert("application/json".to_owned(), json!({ "schema": shape(shapes) }));
    }
    Some(json!({ "content": content, "required": true }))
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

fn parameters(path: &str, operation: &Operation, shapes: &mut SchemaGenerator) -> Value {
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
        Access::Read if path.contains("{collection}") && !matches!(operation.body, Body::None) => {
            query(
                "as_of",
                json!({ "type": "string" }),
                "Name of a snapshot that is read in place of the collection",
            );
            query("consistency", json!({ "type": "string" }), "Says nothing");
        }
        _ => {}
    }
    if let Some(params) = operation.params {
        for (name, schema) in properties(params, shapes) {
            query(&name, schema, "");
        }
    }
    all.into()
}

/// The members of an object, none of which is another object.
fn properties(shape: Shape, shapes: &mut SchemaGenerator) -> Map<String, Value> {
    let mut inline =
        shapes.settings().clone().with(|settings| settings.inline_subschemas = true).into_generator();
    let properties = shape(&mut inline).get("properties").cloned();
    properties.and_then(|properties| properties.as_object().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

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
    fn bodies_and_results_are_described_by_their_types() {
        let routes = routes::limited();
        let document = super::document(routes.operations());
        let operation = &document["paths"]["/collections/{collection}/points/query"]["post"];
        let named = |schema: &Value| {
            let name = schema["$ref"].as_str().unwrap_or_else(|| panic!("{schema}"));
            document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name}")).clone()
        };
        let body = named(&operation["requestBody"]["content"]["application/json"]["schema"]);
        for name in ["query", "limit", "filter", "with_payload"] {
            assert!(body["properties"][name].is_object(), "{name}: {body}");
        }
        let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let result = named(&answer["properties"]["result"]);
        assert_eq!(result["properties"]["points"]["type"], "array", "{result}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let (always, limited) = (routes::always(), routes::limited());
        let document = super::document(always.operations().chain(limited.operations()));
        let mut left = vec![&document];
        let mut references = 0;
        while let Some(value) = left.pop() {
            if let Some(name) = value.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(name.trim_start_matches('#')).is_some(), "{name}");
                references += 1;
            }
            // OpenAPI has no `true` for anything.
            if let Some(members) = value.get("properties").and_then(Value::as_object) {
                assert!(members.values().all(Value::is_object), "{value}");
            }
            left.extend(value.as_array().into_iter().flatten());
            left.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        }
        assert!(references > 100, "{references}");
    }
}
