//! `os-getConsoleOutput`: the end of a server's output, counted in lines.

use serde_json::Value;
use serialproxy_proto::api::Line;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::validation::Part;

/// Nova's policy for a server's output.
const POLICY: &str = "os_compute_api:os-console-output";

/// Most output in bytes, as in Nova's libvirt driver.
const MOST: u64 = 100 * 1024;

/// The text that the caller requests, if the caller may read it.
pub(super) async fn of(
    api: &Api,
    caller: &Caller,
    server: ServerId,
    arguments: Part<'_>,
) -> Result<String, Fault> {
    let length = length(arguments)?;
    let server = api.server(caller, server).await?;
    caller.require(Role::Member, POLICY)?;
    let bytes = printed(api, &server).await?;
    Ok(last_lines(&readable(&bytes), length).to_owned())
}

/// How many lines are requested; `None` is all.
fn length(arguments: Part<'_>) -> Result<Option<usize>, Fault> {
    let Some(length) = arguments.object(&[], &["length"])?.get("length") else { return Ok(None) };
    let number = match length.value() {
        Value::Null => return Ok(None),
        Value::Number(number) if !number.is_f64() => number.as_i64().unwrap_or(i64::MAX),
        Value::String(text) if is_number(text) => {
            let most = if text.starts_with('-') { i64::MIN } else { i64::MAX };
            text.parse().unwrap_or(most)
        }
        Value::String(_) => return Err(length.wrong("does not match '^-?[0-9]+$'")),
        _ => return Err(length.is_not_of_type("'integer', 'string', 'null'")),
    };
    match number {
        -1 => Ok(None),
        0.. => Ok(Some(usize::try_from(number).unwrap_or(usize::MAX))),
        _ => Err(length.wrong("is less than the minimum of -1")),
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The newest bytes that a server printed on its first serial port.
async fn printed(api: &Api, server: &Server) -> Result<Vec<u8>, Fault> {
    let id = server.id;
    let key = LineKey { server: id, port: 0 };
    let line = match api.lines.line(key).await {
        Err(ComputeError::NotFound(_)) => {
            return Err(Fault::NotFound("Guest does not have a console available.".into()));
        }
        line => line?,
    };
    if line.offset <= line.first_offset && server.status == Status::Shutoff {
        return Err(Fault::Conflict(format!(
            "Instance {id} is not ready: it is not running, and none of its output is kept."
        )));
    }
    newest(api, key, &line).await
}

/// The newest bytes of a line without a gap. The kept beginnings of earlier boots are not part of
/// them.
async fn newest(api: &Api, key: LineKey, line: &Line) -> Result<Vec<u8>, Fault> {
    let mut from = line.offset.saturating_sub(MOST).max(line.first_offset);
    let mut bytes = Vec::new();
    while from < line.offset {
        let left = usize::try_from(line.offset - from).unwrap_or(usize::MAX);
        let output = api.lines.output(key, from, left).await?;
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

/// The text as Nova makes it: control characters are left out, except tabs and line feeds.
fn readable(bytes: &[u8]) -> String {
    let obeyed = |c: char| c < ' ' && c != '\t' && c != '\n';
    String::from_utf8_lossy(bytes).chars().filter(|c| !obeyed(*c)).collect()
}

/// The last lines. As in Nova, the empty text after a final line feed counts as a line.
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
