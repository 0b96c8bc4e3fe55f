//! The OpenAPI document, made from the route table.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use serialproxy_proto::compute::PAGE;

use crate::route::Access;
use crate::route::Route;
use crate::schema;

/// The descriptions of statuses other than success.
const OTHERS: [(u16, &str); 13] = [
    (202, "Accepted"),
    (400, "Bad request: a parameter, header or body is not valid"),
    (401, "Missing or invalid credentials"),
    (403, "Forbidden for this caller"),
    (404, "Not found, or in another project than the caller's"),
    (406, "Unsupported microversion"),
    (409, "Conflict with the state of the server or line"),
    (413, "Request body too large"),
    (415, "Unsupported media type: the body needs Content-Type: application/json"),
    (429, "Too many simultaneous logins from that address"),
    (500, "Internal error"),
    (501, "Not supported by the hypervisor"),
    (503, "Temporarily unavailable: try again later"),
];

/// The headers that name a microversion, each with an example. The first takes precedence.
const MICROVERSIONS: [(&str, &str); 2] =
    [("OpenStack-API-Version", "compute 2.31"), ("X-OpenStack-Nova-API-Version", "2.31")];

/// The OpenAPI document of a table of routes.
pub(crate) fn document(routes: &[Route]) -> Value {
    let mut paths: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for route in routes {
        let method = route.method.as_str().to_lowercase();
        paths.entry(&route.path).or_default().insert(method, operation(route));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "serialproxy",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Serial consoles of virtual machines. Errors have the same form as \
                     Nova's.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schema::all(),
            "responses": responses(),
            "parameters": microversions(),
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {
                    "type": "http", "scheme": "basic",
                    "description": "With auth_strategy = http_basic: name and password of a \
                             local user.",
                },
                "user": {
                    "type": "apiKey", "in": "header", "name": "X-User",
                    "description": "With auth_strategy = noauth: name of the user. Default: \
                             anonymous.",
                },
            },
        },
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    summary: &'static str,
    parameters: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body: Option<Value>,
    responses: BTreeMap<u16, Value>,
    security: Value,
}

fn operation(route: &Route) -> Operation {
    let in_path = path_parameters(&route.path).map(|name| parameter(name, "path"));
    let in_query = route.query.iter().map(|name| parameter(name, "query"));
    let in_header = MICROVERSIONS.iter().filter(|_| route.is_microversioned());
    let in_header =
        in_header.map(|(name, _)| json!({"$ref": format!("#/components/parameters/{name}")}));
    Operation {
        summary: route.summary,
        parameters: in_path.chain(in_query).chain(in_header).collect(),
        request_body: route
            .body
            .map(|body| json!({"required": schema::is_required(body), "content": json_of(body)})),
        responses: answers(route),
        security: match route.access() {
            Access::Caller => json!([{"token": []}, {"bearer": []}, {"basic": []}, {"user": []}]),
            Access::Anyone | Access::Loopback => json!([]),
        },
    }
}

fn answers(route: &Route) -> BTreeMap<u16, Value> {
    let other = |status| (status, json!({"$ref": format!("#/components/responses/{status}")}));
    let mut answers: BTreeMap<_, _> = route.statuses().into_iter().map(other).collect();
    answers.insert(route.status().as_u16(), answer(route));
    answers.extend(route.failure.map(|status| (status, answer(route))));
    answers
}

/// The answers that many calls share, by status.
fn responses() -> BTreeMap<u16, Value> {
    let described = OTHERS.into_iter().map(|(status, text)| {
        let mut response = json!({"description": text});
        if status >= 400
            && let Some(response) = response.as_object_mut()
        {
            response.insert("content".into(), json_of("Fault"));
        }
        (status, response)
    });
    described.collect()
}

fn microversions() -> BTreeMap<&'static str, Value> {
    let header = |(name, example)| {
        let parameter = json!({
            "name": name,
            "in": "header",
            "description": "Requested microversion of the compute API. Default: 2.1",
            "schema": {"type": "string"},
            "example": example,
        });
        (name, parameter)
    };
    MICROVERSIONS.into_iter().map(header).collect()
}

fn answer(route: &Route) -> Value {
    let description = route.status().canonical_reason().unwrap_or_default();
    match route.answer {
        None => json!({"description": description}),
        Some(schema::OCTETS) => {
            json!({"description": description, "headers": output_headers(), "content": {
                "application/octet-stream": {"schema": schema::reference(schema::OCTETS)},
            }})
        }
        Some(schema::METRICS) => json!({"description": description, "content": {
            "text/plain": {"schema": schema::reference(schema::METRICS)},
        }}),
        Some(name) => json!({"description": description, "content": json_of(name)}),
    }
}

fn output_headers() -> Value {
    let header = |description: &str, schema: Value| json!({"description": description, "required": true, "schema": schema});
    json!({
        "X-Console-Offset": header(
            "Offset of the first byte. Larger than `from` if the bytes at `from` are no longer \
             kept",
            schema::count(),
        ),
        "X-Console-Next": header("Offset after the last byte: the `from` of the next call", schema::count()),
        "X-Console-End": header("Offset at which the output ends now", schema::count()),
        "X-Console-Epoch": header("Number of guest boots that the line has seen", schema::count()),
        "X-Console-Line": header("Id of the line. Offsets of different ids are not comparable", schema::uuid()),
    })
}

fn json_of(name: &str) -> Value {
    json!({"application/json": {"schema": schema::reference(name)}})
}

/// The names in braces in a path's template.
fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn parameter(name: &str, place: &str) -> Value {
    let (text, schema) = match name {
        "all_tenants" => (
            "Include the servers of all projects; for administrators",
            json!({"type": "string", "enum": ["", "0", "1", "False", "True", "false", "true"]}),
        ),
        "changed_within" => (
            "Only lines that have printed, or whose state, sessions or endpoint changed, within \
             this many seconds",
            schema::count(),
        ),
        "deleted" => ("Deleted servers; there are never any", json!({"type": "string"})),
        "exact_name" => ("Only servers of exactly this name", json!({"type": "string"})),
        "from" => ("Offset of the first byte", schema::count()),
        "limit" => {
            ("Maximum number of items", json!({"type": "integer", "minimum": 0, "default": PAGE}))
        }
        "marker" => ("Last item of the previous page", json!({"type": "string"})),
        "max" => ("Maximum number of bytes", schema::count()),
        "mode" => ("What the session may do", schema::mode()),
        "name" => (
            "Part of the server's name, literally or as a regular expression",
            json!({"type": "string", "format": "regex"}),
        ),
        "of_server" => ("Only lines of the server with this UUID", schema::uuid()),
        "port" => ("Index of the serial port", schema::port()),
        "project" => ("Id of the caller's project", json!({"type": "string"})),
        "project_id" | "tenant_id" => {
            ("With all_tenants: only the servers of this project", json!({"type": "string"}))
        }
        "reason" => (
            "Reason, shown to the person who is disconnected",
            json!({"type": "string", "maxLength": 200}),
        ),
        "server" if place == "query" => {
            ("Only events of the server of this name or UUID", json!({"type": "string"}))
        }
        "server" => ("UUID of the server", schema::uuid()),
        "link" => ("Id of the link", schema::uuid()),
        "session" => ("Id of the session", schema::uuid()),
        "since" => {
            ("Only events from this time on", json!({"type": "string", "format": "date-time"}))
        }
        "status" => (
            "Only servers with one of these statuses",
            json!({"type": "array", "items": {"type": "string"}}),
        ),
        "token" => ("The console token", json!({"type": "string"})),
        "token_name" => ("Name of the token", json!({"type": "string"})),
        "user" => ("Only events of this user", json!({"type": "string"})),
        "user_name" => ("Name of the user", json!({"type": "string"})),
        "wait" => ("Create the URL even if the guest is not running", json!({"enum": ["0", "1"]})),
        _ => ("", json!({})),
    };
    json!({
        "name": name,
        "in": place,
        "required": place == "path",
        "description": text,
        "schema": schema,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes;

    #[test]
    fn every_route_is_in_the_document_with_its_parameters_described() {
        let routes = routes::all();
        let document = document(&routes);
        for route in &routes {
            let operation = &document["paths"][&route.path][route.method.as_str().to_lowercase()];
            assert_ne!(operation["summary"], "", "{} {}", route.method, route.path);
            assert!(operation["summary"].is_string(), "{} {}", route.method, route.path);
            for parameter in operation["parameters"].as_array().unwrap() {
                let parameter = parameter["$ref"].as_str().map_or(parameter, |reference| {
                    document.pointer(reference.trim_start_matches('#')).unwrap()
                });
                assert!(parameter["description"] != "", "{}: {parameter}", route.path);
            }
        }
    }

    #[test]
    fn everything_that_is_referred_to_exists() {
        let document = document(&routes::all());
        let text = document.to_string();
        let references: Vec<_> = text.split(r##"":"#"##).skip(1).collect();
        assert!(references.len() > 20);
        for reference in references {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
