//! `audit`: the events of the audit trail.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::io::Write;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;
use reqwest::Method;
use serialproxy_proto::audit::Event;
use serialproxy_proto::audit::Marker;
use serialproxy_proto::audit::Page;
use serialproxy_proto::audit::written;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::api::Api;
use crate::command::Audit;
use crate::command::Format;
use crate::failure::Failure;
use crate::text::printable;
use crate::text::say;

/// How often new events are asked for.
const POLL: Duration = Duration::from_secs(1);

/// How much older than the newest event another one may be that comes later: the clock or the disk of its host
/// is behind.
const LATE: SignedDuration = SignedDuration::from_secs(30);

/// Events of that time that are known to be printed, at most.
const KNOWN: usize = 100_000;

/// How long to try again when the API does not respond.
const AWAY: Duration = Duration::from_secs(60);

/// Prints events, one a line, until there are no more; with `--follow`, until a signal.
pub(crate) async fn audit(api: &Api, command: &Audit, format: Format) -> Result<(), Failure> {
    let mut printed = Printed { since: command.since, ..Printed::default() };
    loop {
        let asked = Instant::now();
        loop {
            match print_all(api, command, format, &mut printed).await {
                Err(Failure::Api { .. }) if command.follow && asked.elapsed() < AWAY => {
                    printed.note_away();
                    sleep(POLL).await;
                }
                Ok(true) if command.follow => break,
                done => return done.map(drop),
            }
        }
        printed.is_away = false;
        sleep(POLL).await;
    }
}

/// Prints the events that are not printed yet; false once nobody reads them.
async fn print_all(
    api: &Api,
    command: &Audit,
    format: Format,
    printed: &mut Printed,
) -> Result<bool, Failure> {
    let (since, mut marker) = (printed.since, None);
    loop {
        let page = page(api, command, since, marker.as_ref()).await?;
        printed.note_hosts(&page);
        for event in &page.events {
            if printed.is_new(event) && !print(event, format)? {
                return Ok(false);
            }
        }
        // A marker that stands still would ask for the same page for ever.
        if page.next <= marker {
            return Ok(true);
        }
        marker = page.next;
    }
}

/// What is printed already.
#[derive(Default)]
struct Printed {
    /// Events before this time are.
    since: Option<Timestamp>,
    /// So are these, by time and hash.
    known: BTreeSet<(Timestamp, String)>,
    unreachable: Vec<String>,
    not_included: Vec<String>,
    is_away: bool,
}

impl Printed {
    /// Whether the event is not printed yet; it is from now on.
    fn is_new(&mut self, event: &Event) -> bool {
        if !self.known.insert((event.time, event.hash.clone())) {
            return false;
        }
        let oldest = event.time.saturating_sub(LATE).ok();
        if let Some(oldest) = oldest.filter(|oldest| self.since.is_none_or(|since| since < *oldest))
        {
            self.since = Some(oldest);
            self.known = self.known.split_off(&(oldest, String::new()));
        }
        if self.known.len() > KNOWN {
            self.known.pop_first();
        }
        true
    }

    /// Says whose events are missing.
    fn note_hosts(&mut self, page: &Page) {
        if page.unreachable != self.unreachable {
            self.unreachable.clone_from(&page.unreachable);
            match page.unreachable.join(", ").as_str() {
                "" => {
                    say("all hosts respond again; print what they recorded meanwhile with --since")
                }
                hosts => say(&format!("no events of hosts that do not respond: {hosts}")),
            }
        }
        if page.not_included != self.not_included {
            self.not_included.clone_from(&page.not_included);
            let hosts = page.not_included.join(", ");
            say(&format!(
                "no events of hosts that have the role proxy alone, which keep their own: {hosts}"
            ));
        }
    }

    fn note_away(&mut self) {
        if !std::mem::replace(&mut self.is_away, true) {
            say(&format!("the API does not respond; retrying for up to {} s", AWAY.as_secs()));
        }
    }
}

async fn page(
    api: &Api,
    command: &Audit,
    since: Option<Timestamp>,
    marker: Option<&Marker>,
) -> Result<Page, Failure> {
    let (since, marker) = (since.map(|since| since.to_string()), marker.map(Marker::to_string));
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
        // As it is in the trail.
        Format::Json => event.text().unwrap_or_default(),
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
    let mut words = vec![written(event.time), event.name.as_str().to_owned()];
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
    use serialproxy_proto::audit::EventName;

    use super::*;

    #[test]
    fn an_event_that_comes_late_is_printed_and_none_is_twice() {
        let mut printed = Printed::default();
        let event = |seconds, hash: &str| Event {
            hash: hash.into(),
            ..Event::new(EventName::TokenUsed, Timestamp::from_second(seconds).unwrap())
        };
        let seen = [(100, "a"), (102, "b"), (101, "c"), (102, "b"), (100, "a"), (140, "d")];
        let new = seen.map(|(seconds, hash)| printed.is_new(&event(seconds, hash)));
        assert_eq!(new, [true, true, true, false, false, true]);
        assert_eq!((printed.since, printed.known.len()), (Timestamp::from_second(110).ok(), 1));
    }

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
