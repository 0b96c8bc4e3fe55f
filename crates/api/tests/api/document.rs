//! Compares the OpenAPI document with what the API really does.

use axum::body::Body;
use axum::extract::Request;
use serde_json::Value;
use serde_json::json;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::identity::Name;

use crate::bench::ADMIN;
use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::SESSION;
use crate::fake::running;

/// These calls are about a token in a header; other tests call them.
const LOGINS: [&str; 2] = ["GET /v3/auth/tokens", "DELETE /v3/auth/tokens"];

#[tokio::test]
async fn every_call_of_the_document_answers_as_the_document_says() {
    let bench = Bench::new();
    let (document, mut operations) = operations(&bench).await;
    operations.retain(|(call, _)| !LOGINS.contains(&call.as_str()));
    for (call, operation) in &operations {
        let answer = bench.call(call, body_of(operation)).await;
        is_documented(&document, operation, &answer, call);
    }
    assert!(operations.len() > 30, "{}", operations.len());
}

/// Every operation of the document, with a call that fits it.
async fn operations(bench: &Bench) -> (Value, Vec<(String, Value)>) {
    let document = bench.get("/v1/openapi.json").await.json();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let call = format!("{} {}", method.to_uppercase(), filled(path));
            operations.push((call, operation.clone()));
        }
    }
    // Calls that delete come last, so that the other calls find what earlier ones created.
    operations.sort_by_key(|(call, _)| call.starts_with("DELETE"));
    (document, operations)
}

/// Whether this error of the compute role applies to the call: a list cannot miss its servers, and
/// the state of a server does not prevent anyone from looking.
fn may_fail(call: &str, error: Option<&ComputeError>) -> bool {
    let names_one = call.contains(&running().to_string());
    match error {
        None | Some(ComputeError::Unavailable(_) | ComputeError::Failed(_)) => true,
        Some(ComputeError::NotFound(_)) => names_one,
        Some(_) => names_one && !call.starts_with("GET "),
    }
}

/// Panics unless the document allows an operation to give this answer.
fn is_documented(document: &Value, operation: &Value, answer: &Answer, call: &str) {
    let said = &operation["responses"][answer.status.as_str()];
    assert!(said.is_object(), "{call}: {}", answer.status);
    let said = said["$ref"]
        .as_str()
        .map_or(said, |reference| document.pointer(reference.trim_start_matches('#')).unwrap());
    if let Some(schema) = said["content"]["application/json"].get("schema") {
        check(document, schema, &answer.json(), call);
    }
    for header in said["headers"].as_object().into_iter().flat_map(|all| all.keys()) {
        assert!(answer.headers.contains_key(header), "{call}: {header}");
    }
}

#[tokio::test]
async fn whatever_goes_wrong_is_a_fault_that_the_document_has_for_the_call() {
    let text = || "the reason".to_owned();
    let errors = [
        None,
        Some(ComputeError::Invalid(text())),
        Some(ComputeError::NotFound(text())),
        Some(ComputeError::Conflict(text())),
        Some(ComputeError::Unsupported(text())),
        Some(ComputeError::Unavailable(text())),
        Some(ComputeError::Failed(text())),
    ];
    let large = " ".repeat(114_689);
    for error in errors {
        let bench = Bench::local(Fake { error: error.clone(), ..Fake::default() }, &config());
        let (document, operations) = operations(&bench).await;
        for (call, operation) in &operations {
            if !may_fail(call, error.as_ref()) {
                continue;
            }
            let (method, path) = call.split_once(' ').unwrap();
            let body = body_of(operation);
            for (token, version, kind, body) in [
                (ADMIN, "latest", "application/json", body),
                ("wrong", "latest", "application/json", body),
                (ADMIN, "2.1", "application/json", body),
                (ADMIN, "2.999", "application/json", body),
                (ADMIN, "x", "application/json", body),
                (ADMIN, "latest", "image/png", body),
                (ADMIN, "latest", "application/json", "{"),
                (ADMIN, "latest", "application/json", "[]"),
                (ADMIN, "latest", "application/json", &large),
            ] {
                let request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header("x-auth-token", token)
                    .header("content-type", kind)
                    .header("x-openstack-nova-api-version", version)
                    .body(Body::from(body.to_owned()));
                let answer = bench.send(request.unwrap()).await;
                is_documented(&document, operation, &answer, call);
            }
        }
    }
}

#[tokio::test]
async fn a_fault_is_as_the_document_says() {
    let bench = Bench::new();
    let document = bench.get("/v1/openapi.json").await.json();
    let fault = json!({"$ref": "#/components/schemas/Fault"});
    check(&document, &fault, &bench.get("/v1/nope").await.json(), "fault");
}

/// A body that an operation takes.
pub(crate) fn body_of(operation: &Value) -> &'static str {
    let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    match body.as_str().and_then(|name| name.rsplit('/').next()) {
        Some("Boot") => r#"{"name": "a", "image": "b"}"#,
        Some("Login") => {
            // The admin token of the bench.
            r#"{"auth": {"identity": {"methods": ["token"],
                "token": {"id": "correct-horse-battery-staple"}}}}"#
        }
        Some("NewLink") => r#"{"mode": "watch", "seconds": 600}"#,
        Some("NewPassword") => r#"{"password": "battery staple"}"#,
        Some("NewUser") => {
            r#"{"name": "alice", "project": "demo", "role": "member", "password": "correct horse"}"#
        }
        Some("NewToken") => r#"{"name": "ci", "project": "demo", "role": "member"}"#,
        Some("RemoteConsoleRequest") => {
            r#"{"remote_console": {"protocol": "serial", "type": "serial"}}"#
        }
        Some("ServerActionV2") => r#"{"os-getSerialConsole": {"type": "serial"}}"#,
        Some("ServerAction") => r#"{"os-getConsoleOutput": {}}"#,
        Some("Send") => r#"{"text": "ls\r"}"#,
        Some("Wait") => r#"{"text": "login:"}"#,
        Some("Sysrq") => r#"{"key": "h"}"#,
        _ => "",
    }
}

/// A path with the servers and sessions of the simulated compute role.
pub(crate) fn filled(path: &str) -> String {
    path.replace("{server}", &running().to_string())
        .replace("{session}", &SESSION.to_string())
        .replace("{project}", "demo")
        .replace("{port}", "0")
        .replace("{token_name}", "ci")
        .replace("{user_name}", "alice")
        .replace("{link}", "11111111-2222-4333-8444-555555555555")
        .replace("{token}", "11111111-2222-4333-8444-555555555555")
}

/// Whether a value fits a schema. Knows only the keywords of JSON Schema that the document uses.
fn check(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Err(why) = fits(document, schema, value) {
        panic!("{place}: {why}");
    }
}

fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let members = value.as_object().into_iter().flatten();
    for (word, rule) in schema.as_object().unwrap() {
        let fine = match word.as_str() {
            "$ref" => {
                let name = rule.as_str().unwrap().rsplit('/').next().unwrap();
                let schema = &document["components"]["schemas"][name];
                fits(document, schema, value).map_err(|why| format!("{name}: {why}"))?;
                true
            }
            "anyOf" => {
                rule.as_array().unwrap().iter().any(|rule| fits(document, rule, value).is_ok())
            }
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => match rule {
                Value::Array(kinds) => kinds.iter().any(|kind| is(kind, value)),
                kind => is(kind, value),
            },
            "format" => value.as_str().is_none_or(|text| has_format(rule, text)),
            // The only pattern of the document.
            "pattern" => value.as_str().is_none_or(|text| text.parse::<Name>().is_ok()),
            "minimum" => value.as_i64() >= rule.as_i64(),
            "maximum" => value.as_i64() <= rule.as_i64(),
            "maxLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 <= rule.as_u64().unwrap()),
            "minProperties" => members.clone().count() as u64 >= rule.as_u64().unwrap(),
            "maxProperties" => members.clone().count() as u64 <= rule.as_u64().unwrap(),
            "required" => {
                let has = |name: &Value| value.get(name.as_str().unwrap()).is_some();
                rule.as_array().unwrap().iter().all(has)
            }
            "items" => {
                value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .try_for_each(|item| fits(document, rule, item))?;
                true
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    let Some(value) = value.get(name) else { continue };
                    fits(document, schema, value).map_err(|why| format!("{name}: {why}"))?;
                }
                true
            }
            "additionalProperties" => {
                let known = |name: &str| schema["properties"].get(name).is_some();
                let mut others = members.clone().filter(|(name, _)| !known(name));
                others.all(|(_, value)| rule.is_object() && fits(document, rule, value).is_ok())
            }
            other => panic!("a word that this check does not know: {other}"),
        };
        if !fine {
            return Err(format!("{value} breaks {word}: {rule}"));
        }
    }
    Ok(())
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        other => panic!("a type that this check does not know: {other}"),
    }
}

fn has_format(format: &Value, text: &str) -> bool {
    match format.as_str().unwrap() {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok() && text.ends_with('Z'),
        "uri" => text.parse::<axum::http::Uri>().is_ok_and(|uri| uri.host().is_some()),
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        other => panic!("a format that this check does not know: {other}"),
    }
}
