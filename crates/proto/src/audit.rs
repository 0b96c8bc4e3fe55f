//! Events of the audit trail: what happened that matters for security, who did it, from where, and to what.
//!
//! An event is one flat JSON object. Its names are fixed, in the file, in the API and in syslog.

use std::fmt;
use std::fmt::Write;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::compute::Answer;
use crate::id::LineKey;
use crate::id::ServerId;
use crate::id::SessionId;
use crate::times::precise;
use crate::times::precise_time;

macro_rules! events {
    ($($(#[doc = $what:literal])+ $name:ident $word:literal;)+) => {
        /// What kind of event it is.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
        pub enum EventName {
            $($(#[doc = $what])+ #[serde(rename = $word)] $name,)+
            /// One that a newer server names.
            #[serde(other)]
            Unknown,
        }

        impl EventName {
            /// All events of ours.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                    Self::Unknown => "unknown",
                }
            }
        }
    };
}

events! {
    /// A console token was issued.
    TokenIssued "token.issued";
    /// A console token, or a resume key, let a client in.
    TokenUsed "token.used";
    /// A console token, or a resume key, was refused.
    TokenRefused "token.refused";
    /// Console tokens were revoked.
    TokenRevoked "token.revoked";
    /// A session began, or was resumed.
    SessionOpened "session.opened";
    /// A session was refused.
    SessionRefused "session.refused";
    /// A session was ended by somebody else.
    SessionForced "session.forced";
    /// A session ended.
    SessionEnded "session.ended";
    /// Another session has the pen, or none.
    PenChanged "pen.changed";
    /// A break was sent to a guest.
    GuestBreak "guest.break";
    /// A SysRq was sent to a guest.
    GuestSysrq "guest.sysrq";
    /// A guest's power was changed.
    GuestPower "guest.power";
    /// An existing domain got serial ports, or its own back.
    GuestAdopted "guest.adopted";
    /// A local user was added, changed or removed.
    UserChanged "user.changed";
    /// An API token was made or revoked.
    ApiTokenChanged "apitoken.changed";
    /// Somebody logged in.
    LoginSucceeded "login.succeeded";
    /// Wrong credentials.
    LoginFailed "login.failed";
    /// Another configuration, or another certificate, is in effect.
    ConfigReloaded "config.reloaded";
    /// A host joined the cluster.
    HostEnrolled "host.enrolled";
    /// A host was removed from the cluster.
    HostRemoved "host.removed";
    /// A line's journal was deleted.
    JournalDeleted "journal.deleted";
    /// Events are missing here.
    AuditGap "audit.gap";
}

/// An event. What does not apply to it is absent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Event {
    /// When it happened, in milliseconds.
    #[serde(serialize_with = "precise_time")]
    pub time: Timestamp,
    /// What happened.
    #[serde(rename = "event.name")]
    pub name: EventName,
    /// Who did it, or whose session or token it is.
    #[serde(rename = "user.id", default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Their project.
    #[serde(rename = "project.id", default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// From where.
    #[serde(rename = "client.address", default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The session.
    #[serde(rename = "session.id", default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The server.
    #[serde(rename = "server.id", default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerId>,
    /// Its name.
    #[serde(rename = "server.name", default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The index of its serial port.
    #[serde(rename = "console.port", default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u8>,
    /// The API request that did it, as logs name it.
    #[serde(rename = "request.id", default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Why, or what exactly: a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Whom or what it changed, if that is no server: the name of a user, an API token or a host.
    #[serde(rename = "target.id", default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many events are missing, or tokens were revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Bytes of input that a session sent.
    #[serde(rename = "bytes.in", default, skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// Bytes of output that it got.
    #[serde(rename = "bytes.out", default, skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
    /// The hash of the event before; empty until the event is written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prev: String,
    /// The hash of this event; empty until the event is written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

impl Event {
    /// An event of which nothing else is known yet.
    pub fn new(name: EventName, now: Timestamp) -> Self {
        Self {
            time: Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now),
            name,
            user: None,
            project: None,
            address: None,
            session: None,
            server: None,
            server_name: None,
            port: None,
            request: None,
            cause: None,
            target: None,
            count: None,
            bytes_in: None,
            bytes_out: None,
            prev: String::new(),
            hash: String::new(),
        }
    }

    /// Who did it, or whose it is.
    pub fn user(self, user: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..self }
    }

    /// Their project, if it is known.
    pub fn project(self, project: Option<String>) -> Self {
        Self { project, ..self }
    }

    /// From where.
    pub fn address(self, address: impl Into<String>) -> Self {
        Self { address: Some(address.into()), ..self }
    }

    /// The session.
    pub fn session(self, session: SessionId) -> Self {
        Self { session: Some(session), ..self }
    }

    /// The server.
    pub fn server(self, server: ServerId) -> Self {
        Self { server: Some(server), ..self }
    }

    /// The name of the server, if it is known.
    pub fn server_name(self, name: Option<String>) -> Self {
        Self { server_name: name, ..self }
    }

    /// The server and its serial port.
    pub fn line(self, line: LineKey) -> Self {
        Self { server: Some(line.server), port: Some(line.port), ..self }
    }

    /// Why, or what exactly.
    pub fn cause(self, cause: &str) -> Self {
        Self { cause: Some(cause.to_owned()), ..self }
    }

    /// Whom or what it changed.
    pub fn target(self, target: impl Into<String>) -> Self {
        Self { target: Some(target.into()), ..self }
    }

    /// How many.
    pub fn count(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    /// The event as a line: JSON in ASCII, so that nothing in it ends a line or changes a terminal. Its hash is
    /// that of these bytes.
    ///
    /// # Errors
    ///
    /// Never for an event of this version.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        let text = serde_json::to_string(self)?;
        let mut line = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                ' '..='~' => line.push(c),
                // Only strings have other characters.
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a string cannot fail.
                        let _ = write!(line, "\\u{unit:04x}");
                    }
                }
            }
        }
        Ok(line)
    }

    /// Bytes of input, and of output.
    pub fn bytes(self, input: u64, output: u64) -> Self {
        Self { bytes_in: Some(input), bytes_out: Some(output), ..self }
    }
}

/// Which events are asked for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Query {
    /// Those of the server of this name or id.
    pub server: Option<String>,
    /// Those of this user.
    pub user: Option<String>,
    /// Those from this time on.
    pub since: Option<Timestamp>,
    /// Those behind this one.
    pub marker: Option<Marker>,
    /// So many at most.
    pub limit: usize,
}

impl Query {
    /// No event before this time is one of them.
    pub fn earliest(&self) -> Option<Timestamp> {
        self.since.max(self.marker.as_ref().map(|marker| marker.time))
    }

    /// Whether an event is one of them, the limit aside.
    pub fn matches(&self, event: &Event) -> bool {
        let is_server = |wanted: &String| {
            let id = event.server.is_some_and(|id| wanted.parse() == Ok(id));
            id || event.server_name.as_ref() == Some(wanted)
        };
        self.server.as_ref().is_none_or(is_server)
            && self.user.as_ref().is_none_or(|user| event.user.as_ref() == Some(user))
            && self.since.is_none_or(|since| event.time >= since)
            && self.marker.as_ref().is_none_or(|marker| Marker::of(event) > *marker)
    }
}

/// The place of an event among those of all hosts, which are ordered by time.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Marker {
    time: Timestamp,
    hash: String,
}

impl Marker {
    /// The place of this event.
    pub fn of(event: &Event) -> Self {
        Self { time: event.time, hash: event.hash.clone() }
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.time.as_millisecond(), self.hash)
    }
}

impl FromStr for Marker {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "expected what `next` of the page before says";
        let (time, hash) = text.split_once('-').ok_or(wrong)?;
        let time = time.parse().ok().and_then(|time| Timestamp::from_millisecond(time).ok());
        let sound = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        match time {
            Some(time) if sound => Ok(Self { time, hash: hash.to_owned() }),
            _ => Err(wrong),
        }
    }
}

impl TryFrom<String> for Marker {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Marker> for String {
    fn from(marker: Marker) -> Self {
        marker.to_string()
    }
}

/// Events, ordered by time, and where the next ones begin.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Page {
    /// The events.
    pub events: Vec<Event>,
    /// The `marker` of the next page, if there may be more events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Marker>,
    /// Hosts that did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<String>,
    /// Hosts that keep their events to themselves: no other host may ask them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_included: Vec<String>,
}

/// What other hosts recorded.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// What each of them answers.
    pub pages: Vec<Page>,
    /// The names of those that do not answer.
    pub unreachable: Vec<String>,
    /// The names of those that cannot be asked.
    pub not_included: Vec<String>,
}

/// The trails of other hosts.
pub trait Trails: fmt::Debug + Send + Sync {
    /// What they recorded.
    fn others(&self, query: Query) -> Answer<'_, Others>;
}

/// A time as events have it: later ones are greater texts.
pub fn written(time: Timestamp) -> String {
    precise(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: EventName) -> Event {
        Event::new(name, "2026-11-29T08:07:06.5004Z".parse().unwrap())
    }

    #[test]
    fn an_event_is_a_flat_object_with_the_names_that_are_fixed() {
        let line = LineKey { server: ServerId::of_static("demo"), port: 1 };
        let full = Event {
            request: Some("req-1".into()),
            prev: "p".into(),
            hash: "h".into(),
            ..event(EventName::SessionEnded)
                .user("alice")
                .project(Some("demo".into()))
                .address("192.0.2.1:4711")
                .session(SessionId::new())
                .line(line)
                .server_name(Some("web".into()))
                .cause("left")
                .bytes(1, 2)
        };
        let text = serde_json::to_string(&full).unwrap();
        assert!(text.starts_with(
            r#"{"time":"2026-11-29T08:07:06.500Z","event.name":"session.ended","user.id":"alice""#
        ));
        let names = serde_json::from_str::<serde_json::Map<_, _>>(&text).unwrap();
        let mut wanted = [
            "time",
            "event.name",
            "user.id",
            "project.id",
            "client.address",
            "session.id",
            "server.id",
            "server.name",
            "console.port",
            "request.id",
            "cause",
            "bytes.in",
            "bytes.out",
            "prev",
            "hash",
        ];
        wanted.sort_unstable();
        assert_eq!(names.keys().collect::<Vec<_>>(), wanted);
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), full);
    }

    #[test]
    fn an_event_of_a_newer_server_is_read() {
        let text = r#"{"time":"2026-11-29T08:07:06.500Z","event.name":"moon.landed","crew":3}"#;
        assert_eq!(serde_json::from_str::<Event>(text).unwrap().name, EventName::Unknown);
        for name in EventName::ALL {
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
    }

    #[test]
    fn a_marker_is_read_as_it_is_written_and_lies_behind_its_event() {
        let event = Event { hash: "ab".repeat(32), ..event(EventName::AuditGap) };
        let marker = Marker::of(&event);
        assert_eq!(marker.to_string().parse(), Ok(marker.clone()));
        let query = |marker| Query { marker, ..Query::default() };
        assert!(query(None).matches(&event) && !query(Some(marker.clone())).matches(&event));
        let later = Event { time: event.time + jiff::Span::new().milliseconds(1), ..event };
        assert!(query(Some(marker)).matches(&later));
        for text in ["", "1", "1-", "x-y", &format!("1-{}", "g".repeat(64)), "1-é"] {
            assert!(text.parse::<Marker>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_server_is_asked_for_by_name_or_id() {
        let server = ServerId::of_static("demo");
        let event = event(EventName::GuestPower).server(server).server_name(Some("web".into()));
        let by = |name: &str| Query { server: Some(name.into()), ..Query::default() };
        assert!(by("web").matches(&event) && by(&server.to_string()).matches(&event));
        assert!(!by("demo").matches(&event));
    }
}
