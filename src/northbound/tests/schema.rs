//! Every answer against the schema that the OpenAPI document promises for it.
//!
//! A small checker for the keywords that the document uses. It is strict where JSON Schema is lenient: an unknown
//! keyword, or a field of an answer that the schema does not name, is a failure.

use serde_json::Value;
use utoipa::OpenApi;

use super::*;

/// Walks `value` along `schema`, which may refer into `document`.
fn validate(document: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return validate(document, target.ok_or(format!("{path}: {reference} leads nowhere"))?, value, path);
    }
    for (keyword, given) in schema.as_object().ok_or(format!("{path}: the schema is no object"))? {
        let good = match keyword.as_str() {
            "description" | "properties" | "items" | "format" | "pattern" => true,
            // Names that are data: every value is checked below.
            "additionalProperties" => given.is_object(),
            "propertyNames" => *given == json!({"type": "string"}),
            "type" => is_of_type(given, value),
            "enum" => given.as_array().is_some_and(|values| values.contains(value)),
            "minimum" => value.as_f64() >= given.as_f64(),
            "required" => {
                let names = given.as_array().into_iter().flatten().filter_map(Value::as_str);
                names.clone().all(|name| value.get(name).is_some())
            }
            unknown => return Err(format!("{path}: the checker does not know '{unknown}'")),
        };
        if !good {
            return Err(format!("{path}: {value} against {keyword} {given}"));
        }
    }
    validate_format(schema, value, path)?;
    match value {
        Value::Object(fields) if schema["properties"].is_object() => fields.iter().try_for_each(|(name, field)| {
            let path = format!("{path}.{name}");
            let schema = schema["properties"].get(name).ok_or(format!("{path} is in no schema"))?;
            validate(document, schema, field, &path)
        }),
        Value::Object(fields) if schema["additionalProperties"].is_object() => {
            let each = &schema["additionalProperties"];
            fields.iter().try_for_each(|(name, field)| validate(document, each, field, &format!("{path}.{name}")))
        }
        Value::Array(items) => {
            items.iter().try_for_each(|item| validate(document, &schema["items"], item, &format!("{path}[]")))
        }
        _ => Ok(()),
    }
}

fn is_of_type(wanted: &Value, value: &Value) -> bool {
    match wanted.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        _ => false,
    }
}

fn validate_format(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let good = match (schema["format"].as_str(), value.as_str()) {
        (Some("date-time"), Some(text)) => text.parse::<jiff::Timestamp>().is_ok(),
        (Some("ipv4"), Some(text)) => text.parse::<std::net::Ipv4Addr>().is_ok(),
        (Some("int32" | "int64" | "double"), None) | (None, _) => true,
        (Some(_), _) => false,
    };
    if good { Ok(()) } else { Err(format!("{path}: {value} against {}", schema["format"])) }
}

fn document() -> Value {
    serde_json::to_value(super::super::ApiDoc::openapi()).expect("JSON")
}

fn promised<'d>(document: &'d Value, path: &str, status: &str, kind: &str) -> &'d Value {
    &document["paths"][path]["get"]["responses"][status]["content"][kind]["schema"]
}

#[tokio::test]
async fn answers_keep_what_the_document_promises() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut empty = sample();
    empty.cycle = 0;
    empty.differences.clear();
    (empty.switches, empty.links, empty.hosts) = Default::default();
    (empty.services, empty.routers) = Default::default();
    for (name, fixture) in [("full", fixture(sample())), ("empty", fixture(empty))] {
        for (path, concrete) in
            documented_paths().into_iter().filter(|(path, _)| path.contains("/v1") && !path.ends_with(".yaml"))
        {
            let answer = ask(&fixture, Method::GET, &concrete).await;
            let status = answer.status.as_u16().to_string();
            let kind = answer.kind.as_str();
            let schema = promised(&document, &path, &status, kind);
            assert!(schema.is_object(), "{name} {path}: no schema for {status} {kind}");
            validate(&document, schema, &answer.json(), &path).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
}

#[tokio::test]
async fn problems_keep_what_the_document_promises() {
    let (document, fixture) = (document(), fixture(sample()));
    let cases = [
        ("/api/v1/routers/{id}", "/api/v1/routers/x9", "404"),
        ("/api/v1/events", "/api/v1/events?limit=some", "400"),
        ("/v1.0/topology/switches/{dpid}", "/v1.0/topology/switches/x9", "404"),
        ("/v1.0/topology/links/{dpid}", "/v1.0/topology/links/x9", "404"),
        ("/v1.0/topology/hosts/{dpid}", "/v1.0/topology/hosts/x9", "404"),
        ("/api/v1/paths", "/api/v1/paths?from=r1", "400"),
        ("/api/v1/paths", "/api/v1/paths?from=r1&to=r2&max=0", "400"),
        ("/api/v1/paths", "/api/v1/paths?from=r1&to=nobody", "404"),
        ("/api/v1/stages", "/api/v1/stages?server=o1", "400"),
        ("/api/v1/stages", "/api/v1/stages?servers=nobody", "404"),
    ];
    for (path, concrete, status) in cases {
        let answer = ask(&fixture, Method::GET, concrete).await;
        assert_eq!(answer.status.as_u16().to_string(), status);
        let schema = promised(&document, path, status, PROBLEM_JSON);
        validate(&document, schema, &answer.json(), path).expect("the problem fits its schema");
    }
}

#[test]
fn the_checker_refuses_what_does_not_fit() {
    let document = json!({"components": {"n": {"type": "integer", "minimum": 0}}});
    let schema = json!({"type": "object", "required": ["a"], "properties": {
        "a": {"$ref": "#/components/n"}, "b": {"type": "array", "items": {"type": "string", "enum": ["x"]}},
        "t": {"type": "string", "format": "date-time"},
        "m": {"type": "object", "additionalProperties": {"$ref": "#/components/n"}}}});
    let good = json!({"a": 1, "b": ["x"], "t": "2026-01-01T12:00:00Z", "m": {"any": 1}});
    assert_eq!(validate(&document, &schema, &good, ""), Ok(()));
    for bad in [
        json!({}),
        json!({"a": -1}),
        json!({"a": 1.5}),
        json!({"a": null}),
        json!({"a": 1, "b": ["y"]}),
        json!({"a": 1, "c": 1}),
        json!({"a": 1, "t": "noon"}),
        json!({"a": 1, "m": {"any": "x"}}),
    ] {
        assert!(validate(&document, &schema, &bad, "").is_err(), "{bad}");
    }
}
