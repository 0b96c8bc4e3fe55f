//! `audit`: the events of the audit trail.

use std::io::ErrorKind;
use std::io::Write;
use std::time::Duration;

use reqwest::Method;
use serialproxy_proto::audit::Event;
use serialproxy_proto::audit::Marker;
use serialproxy_proto::audit::Page;
use tokio::time::sleep;

use crate::api::Api;
use crate::command::Audit;
use crate::command::Format;
use crate::failure::Failure;
use crate::text::printable;
use crate::text::printable_json;
use crate::text::say;

/// How often new events are asked for.
const POLL: Duration = Duration::from_secs(1);

/// Prints events, one a line, until there are no more; with `--follow`, until a signal.
pub(crate) async fn audit(api: &Api, command: &Audit, format: Format) -> Result<(), Failure> {
    let mut marker = None;
    let mut unreachable = Vec::new();
    loop {
        let page = page(api, command, marker.as_ref()).await?;
        if page.unreachable != unreachable && !page.unreachable.is_empty() {
            say(&format!(
                "no events of hosts that do not respond: {}",
                page.unreachable.join(", ")
            ));
        }
        unreachable = page.unreachable;
        for event in &page.events {
            if !print(event, format)? {
                return Ok(());
            }
        }
        let last = page.events.last().map(Marker::of);
        // A marker that stands still would ask for the same page for ever.
        let is_last = page.next.is_none() || page.next == marker;
        marker = page.next.or(last).or(marker);
        match (is_last, command.follow) {
            (true, false) => return Ok(()),
            (true, true) => sleep(POLL).await,
            (false, _) => {}
        }
    }
}

async fn page(api: &Api, command: &Audit, marker: Option<&Marker>) -> Result<Page, Failure> {
    let (since, marker) =
        (command.since.map(|since| since.to_string()), marker.map(Marker::to_string));
    let all = [
        ("server", command.server.as_deref()),
        ("user", command.user.as_deref()),
        ("since", since.as_deref()),
        ("marker", marker.as_deref()),
    ];
    let query: Vec<_> = all.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    api.read(api.call(Method::GET, "/v1/audit", &query, None).await?)
}

/// False once nobody reads any more.
fn print(event: &Event, format: Format) -> Result<bool, Failure> {
    let line = match format {
        Format::Json => printable_json(&serde_json::to_string(event).unwrap_or_default()),
        Format::Table => in_words(event),
    };
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(_) => Err(Failure::Output),
    }
}

/// `TIME EVENT name=value …`, without the hashes.
fn in_words(event: &Event) -> String {
    let mut words = vec![
        event.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        event.name.as_str().to_owned(),
    ];
    let object = serde_json::to_value(event).unwrap_or_default();
    for name in SHOWN {
        match object.get(name) {
            Some(serde_json::Value::String(text)) => {
                words.push(format!("{name}={}", quoted(&printable(text))));
            }
            Some(value) => words.push(format!("{name}={value}")),
            None => {}
        }
    }
    words.join(" ")
}

/// The members that people are shown, in this order.
const SHOWN: [&str; 13] = [
    "cause",
    "user.id",
    "target.id",
    "count",
    "client.address",
    "server.name",
    "console.port",
    "session.id",
    "server.id",
    "project.id",
    "request.id",
    "bytes.in",
    "bytes.out",
];

/// A value that could be taken for several.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._@:-/[]".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serialproxy_proto::audit::EventName;

    use super::*;

    #[test]
    fn no_name_looks_like_another_member() {
        let event = Event::new(EventName::LoginFailed, Timestamp::UNIX_EPOCH)
            .user("a\n2026 login.succeeded user.id=root\u{9b}2J")
            .cause("password");
        let line = in_words(&event);
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z login.failed cause=password \
             user.id=\"a 2026 login.succeeded user.id=root\\\\u{9b}2J\""
        );
    }
}
