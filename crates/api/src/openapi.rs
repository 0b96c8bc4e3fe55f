//! The OpenAPI document, made from the route table.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::query::PAGE;
use crate::routes::Access;
use crate::routes::Route;
use crate::schema;

/// The document for a table of routes.
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
            "description": "Serial consoles of virtual machines. Faults have Nova's form.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schema::all(),
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "user": {
                    "type": "apiKey", "in": "header", "name": "X-User",
                    "description": "Under auth_strategy = noauth: names the user, else anonymous.",
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
    responses: Value,
    security: Value,
}

fn operation(route: &Route) -> Operation {
    let in_path = path_parameters(&route.path).map(|name| parameter(name, "path"));
    let in_query = route.query.iter().map(|name| parameter(name, "query"));
    Operation {
        summary: route.summary,
        parameters: in_path.chain(in_query).collect(),
        request_body: route
            .body
            .map(|body| json!({"required": schema::is_required(body), "content": json_of(body)})),
        responses: json!({
            route.status().as_str(): answer(route),
            "default": {"description": "Why not", "content": json_of("Fault")},
        }),
        security: match route.access() {
            Access::Caller => json!([{"token": []}, {"bearer": []}, {"user": []}]),
            Access::Anyone | Access::Loopback => json!([]),
        },
    }
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
        Some(name) => json!({"description": description, "content": json_of(name)}),
    }
}

fn output_headers() -> Value {
    let header = |description: &str, schema: Value| json!({"description": description, "required": true, "schema": schema});
    json!({
        "X-Console-Offset": header("Offset of the first byte", schema::count()),
        "X-Console-Next": header("Offset that follows the last byte", schema::count()),
        "X-Console-Epoch": header("Boots that the line has seen", schema::count()),
        "X-Console-Line": header("Id of the line's count of offsets", schema::uuid()),
    })
}

fn json_of(name: &str) -> Value {
    json!({"application/json": {"schema": schema::reference(name)}})
}

/// The names in braces of a path's template.
fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn parameter(name: &str, place: &str) -> Value {
    let (text, schema) = match name {
        "from" => ("First offset", schema::count()),
        "limit" => ("Most items", json!({"type": "integer", "minimum": 0, "default": PAGE})),
        "marker" => ("Last item of the page before", json!({"type": "string"})),
        "max" => ("Most bytes", schema::count()),
        "mode" => ("What the session may do", schema::mode()),
        "name" => ("Part of a server's name", json!({"type": "string"})),
        "port" => ("Index of the serial port", schema::port()),
        "project" => ("Project; any text", json!({"type": "string"})),
        "reason" => ("Shown to who is disconnected", json!({"type": "string", "maxLength": 200})),
        "server" => ("UUID of the server", schema::uuid()),
        "session" => ("Id of the session", schema::uuid()),
        "token_name" => ("Name of the token", json!({"type": "string"})),
        "wait" => ("Also for a guest that does not run", json!({"enum": ["0", "1"]})),
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
                assert_ne!(parameter["description"], "", "{}: {parameter}", route.path);
            }
        }
    }

    #[test]
    fn every_schema_that_is_referred_to_exists() {
        let document = document(&routes::all());
        let text = document.to_string();
        let mut names = text.split("#/components/schemas/").skip(1);
        assert!(names.clone().count() > 20);
        names.all(|rest| {
            let name = rest.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
            true
        });
    }
}
