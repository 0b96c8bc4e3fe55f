//! `POST …/servers/{server}/action`: one of Nova's actions, which the body names.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;
use serialproxy_proto::api::Line;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;

use super::PLACES;
use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::fault::echo;
use crate::request::Body;
use crate::request::ServerPath;
use crate::routes::Route;

const GET_CONSOLE_OUTPUT: &str = "os-getConsoleOutput";

/// Nova's name of the right to what a server printed.
const POLICY: &str = "os_compute_api:os-console-output";

/// Most output in bytes, as Nova's libvirt driver has it.
const MOST: u64 = 100 * 1024;

pub(super) fn routes() -> Vec<Route> {
    let at = |place| {
        Route::post(format!("{place}/servers/{{server}}/action"), action)
            .summary("os-getConsoleOutput: the end of what a server printed, in lines")
            .body("ServerAction")
            .answer("ConsoleOutput")
    };
    PLACES.into_iter().map(at).collect()
}

#[derive(Serialize)]
struct ConsoleOutput {
    output: String,
}

async fn action(
    State(api): State<Arc<Api>>,
    caller: Caller,
    ServerPath(server): ServerPath,
    body: Body,
) -> Result<Json<ConsoleOutput>, Fault> {
    let malformed = || Fault::BadRequest("Malformed request body".into());
    let body = body.object().map_err(|_| malformed())?;
    let mut actions = body.iter();
    let (Some((name, arguments)), None) = (actions.next(), actions.next()) else {
        return Err(malformed());
    };
    if name != GET_CONSOLE_OUTPUT {
        return Err(Fault::BadRequest(format!("There is no such action: {}", echo(name))));
    }
    let length = length(arguments)?;
    let server = api.server(&caller, server).await?;
    caller.require(Role::Member, POLICY)?;
    let bytes = printed(&api, &server).await?;
    Ok(Json(ConsoleOutput { output: last_lines(&readable(&bytes), length).to_owned() }))
}

/// How many lines are wanted; `None` is all.
fn length(arguments: &Value) -> Result<Option<usize>, Fault> {
    let arguments: &Map<_, _> = arguments
        .as_object()
        .ok_or_else(|| invalid(GET_CONSOLE_OUTPUT, arguments, "is not of type 'object'"))?;
    if let Some(unknown) = arguments.keys().find(|key| *key != "length") {
        return Err(Fault::BadRequest(format!(
            "Additional properties are not allowed ('{}' was unexpected)",
            echo(unknown)
        )));
    }
    let Some(value) = arguments.get("length") else { return Ok(None) };
    let number = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64(),
        _ => None,
    };
    match number {
        Some(-1) => Ok(None),
        Some(number @ 0..) => Ok(Some(usize::try_from(number).unwrap_or(usize::MAX))),
        Some(_) => Err(invalid("length", value, "is less than the minimum of -1")),
        None if value.is_string() => Err(invalid("length", value, "does not match '^-?[0-9]+$'")),
        None => Err(invalid("length", value, "is not of type 'integer', 'string', 'null'")),
    }
}

fn invalid(field: &str, value: &Value, why: &str) -> Fault {
    let value = echo(&value.to_string());
    Fault::BadRequest(format!(
        "Invalid input for field/attribute {field}. Value: {value}. {value} {why}"
    ))
}

/// The newest bytes that a server printed on its first serial port.
async fn printed(api: &Api, server: &Server) -> Result<Vec<u8>, Fault> {
    let id = server.id;
    let key = LineKey { server: id, port: 0 };
    let line = match api.compute.line(key).await {
        Err(ComputeError::NotFound(_)) => {
            return Err(not_ready(id, "it has no serial port 0 that can be reached"));
        }
        line => line?,
    };
    if line.offset <= line.first_offset && server.status == Status::Shutoff {
        return Err(not_ready(id, "it does not run, and nothing that it printed is kept"));
    }
    newest(api, key, &line).await
}

/// In Nova's words.
fn not_ready(id: ServerId, why: &str) -> Fault {
    Fault::Conflict(format!("Instance {id} is not ready: {why}."))
}

/// The newest bytes of a line without a gap: what is kept of the beginnings of boots lies before.
async fn newest(api: &Api, key: LineKey, line: &Line) -> Result<Vec<u8>, Fault> {
    let mut from = line.offset.saturating_sub(MOST).max(line.first_offset);
    let mut bytes = Vec::new();
    while from < line.offset {
        let left = usize::try_from(line.offset - from).unwrap_or(usize::MAX);
        let output = api.compute.output(key, from, left).await?;
        if output.offset != from {
            bytes.clear();
        }
        if output.bytes.is_empty() {
            break;
        }
        from = output.offset + output.bytes.len() as u64;
        bytes.extend(output.bytes);
    }
    Ok(bytes)
}

/// As Nova makes text of it: what a terminal obeys is left out, only tabs and line feeds stay.
fn readable(bytes: &[u8]) -> String {
    let obeyed = |c: char| c < ' ' && c != '\t' && c != '\n';
    String::from_utf8_lossy(bytes).chars().filter(|c| !obeyed(*c)).collect()
}

/// The last lines, where the empty one after a final line feed counts, as Nova counts it.
fn last_lines(text: &str, length: Option<usize>) -> &str {
    match length {
        None => text,
        Some(0) => "",
        Some(length) => {
            let feed = text.rmatch_indices('\n').nth(length - 1);
            feed.and_then(|(at, feed)| text.get(at + feed.len()..)).unwrap_or(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_nova_counts_them() {
        for (text, length, expected) in [
            ("a\nb\nc\n", Some(0), ""),
            ("a\nb\nc\n", Some(1), ""),
            ("a\nb\nc\n", Some(2), "c\n"),
            ("a\nb\nc", Some(2), "b\nc"),
            ("a\nb\nc\n", Some(4), "a\nb\nc\n"),
            ("a\nb\nc\n", Some(usize::MAX), "a\nb\nc\n"),
            ("a\nb\nc\n", None, "a\nb\nc\n"),
            ("", Some(3), ""),
        ] {
            assert_eq!(last_lines(text, length), expected, "{text:?} {length:?}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        assert_eq!(readable(b"a\r\n\x1b[0m\tb\x00\x7f"), "a\n[0m\tb\x7f");
        assert_eq!(readable("gr\u{fc}n \u{fffd}".as_bytes()), "gr\u{fc}n \u{fffd}");
        assert_eq!(readable(b"\xff\xc3"), "\u{fffd}\u{fffd}");
    }
}
