//! JSON shapes of the REST calls, shared by the API and the client.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::cause::Cause;
use crate::console;
use crate::console::Action;
use crate::console::LineState;
use crate::console::ServerRef;
use crate::endpoint;
use crate::endpoint::Endpoint;
use crate::id::LinkId;
use crate::id::ServerId;
use crate::id::SessionId;
use crate::times::optional_time;
use crate::times::time;
use crate::token::Mode;

/// Id of the administrators' project. Servers without another project belong to it.
pub const ADMIN_PROJECT: &str = "admin";

/// `{"serial_console": {"url": …}}`: the answer of the blueprint's call.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SerialConsoleAnswer {
    /// The console.
    pub serial_console: SerialConsole,
}

/// The URL of a console.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SerialConsole {
    /// `<base_url>?token=<uuid4>`.
    pub url: String,
}

/// `{"disconnected": …}`: the answer of `disconnect-serial-console`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Disconnected {
    /// The session that was ended.
    pub disconnected: Writer,
}

/// The session that writes to a line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Writer {
    /// Its id.
    pub session: SessionId,
    /// Its user.
    pub user: String,
    /// When it began to write.
    #[serde(serialize_with = "time")]
    pub since: Timestamp,
    /// If its connection is lost: seconds until the pen is free, unless it resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_in: Option<u64>,
}

/// One serial port of one server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Line {
    /// The server.
    pub server: ServerRef,
    /// Index of the port in the server, from 0.
    pub port: u8,
    /// The connection to the guest.
    pub state: LineState,
    /// The state in words.
    pub reason: String,
    /// The cause, if bytes do not flow or the guest is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The address of the guest's port, if it is known.
    #[serde(default, deserialize_with = "endpoint::understood")]
    pub endpoint: Option<Endpoint>,
    /// Random id, new whenever offsets start at 0 again.
    pub line: Uuid,
    /// Guest boots that the line has seen.
    pub epoch: u64,
    /// Output bytes so far.
    pub offset: u64,
    /// The oldest byte that is still kept.
    pub first_offset: u64,
    /// Bytes written to the guest.
    pub bytes_in: u64,
    /// Bytes read from the guest.
    pub bytes_out: u64,
    /// The session that writes.
    pub writer: Option<Writer>,
    /// How many sessions watch.
    pub watchers: u64,
    /// The last printed line, without control characters and invisible ones, of at most
    /// [`LAST_LINE`](crate::bounds::LAST_LINE) characters; none where the boot has printed no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_line: Option<String>,
    /// Seconds since the last output; none where none has arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<u64>,
}

/// `{"lines": […]}`, paged.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lines {
    /// One page.
    pub lines: Vec<Line>,
    /// Names of the hosts whose lines are missing, because they did not respond in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<String>,
}

/// `{"boots": […]}`: the last boots of a line's guest, in their order.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct BootList {
    /// The boots.
    pub boots: Vec<console::Boot>,
}

/// `{"sessions": […]}`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sessions {
    /// All sessions.
    pub sessions: Vec<Session>,
    /// Names of the hosts whose sessions are missing, because they did not respond in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<String>,
}

/// One attached person or program.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The server.
    pub server: ServerRef,
    /// Index of the port.
    pub port: u8,
    /// Its user.
    pub user: String,
    /// Its present mode.
    pub mode: Mode,
    /// When it was attached.
    #[serde(serialize_with = "time")]
    pub since: Timestamp,
    /// The address of its client.
    pub address: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// The state of its connection.
    pub state: SessionState,
    /// If its connection is lost: seconds until the session ends, unless it resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in: Option<u64>,
    /// Id of the shared link that opened it, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkId>,
}

/// The protocol of a session.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Protocol {
    /// Only the console's bytes, as with Nova's proxy.
    #[serde(rename = "raw")]
    Raw,
    /// Bytes and control messages.
    #[serde(rename = "console.v1")]
    ConsoleV1,
}

/// The state of a session's connection.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Connected.
    Live,
    /// The connection is lost and may come back within the grace time.
    Detached,
}

/// `{"server": …}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServerAnswer<S = Server> {
    /// The server.
    pub server: S,
}

/// `{"servers": […]}`, paged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Servers<S = Server> {
    /// One page.
    pub servers: Vec<S>,
    /// If the list may be out of date, because its source does not respond: the time of its
    /// content.
    #[serde(default, serialize_with = "optional_time", skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Whether [`Self::as_of`] is set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

impl<S> Servers<S> {
    /// The present servers or, with `as_of`, those at that time.
    pub fn new(servers: Vec<S>, as_of: Option<Timestamp>) -> Self {
        Self { servers, as_of, stale: as_of.is_some() }
    }
}

/// A server (guest).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Server {
    /// UUID.
    pub id: ServerId,
    /// The name that people use.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// Id of its project.
    pub project: String,
    /// Name of its host; empty where the host has no name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Serial ports that have no console, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unusable_ports: Vec<UnusablePort>,
}

/// A serial port that has no console.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UnusablePort {
    /// Its index.
    pub port: u8,
    /// Why, and what to change.
    pub reason: String,
}

/// A server as a caller of the API sees it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SeenServer {
    /// The server.
    #[serde(flatten)]
    pub server: Server,
    /// Whether it is a static line, not a guest.
    pub r#static: bool,
    /// The actions that the caller may take.
    pub can: Vec<Action>,
}

/// The status of a server, in Nova's words and one of ours.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It runs.
    Active,
    /// It has crashed, or cannot be asked.
    Error,
    /// Its host does not respond, so its status is unknown.
    HostLost,
    /// It is paused.
    Paused,
    /// It is off.
    Shutoff,
    /// Its memory is saved on disk.
    Suspended,
}

impl Status {
    /// All statuses.
    pub const ALL: [Self; 6] =
        [Self::Active, Self::Error, Self::HostLost, Self::Paused, Self::Shutoff, Self::Suspended];

    /// Nova's word for it; Nova has none for a host that does not respond.
    pub fn in_nova(self) -> &'static str {
        match self {
            Self::HostLost => "UNKNOWN",
            status => status.as_str(),
        }
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Error => "ERROR",
            Self::HostLost => "HOST_LOST",
            Self::Paused => "PAUSED",
            Self::Shutoff => "SHUTOFF",
            Self::Suspended => "SUSPENDED",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Body of `POST /v1/servers`: a guest to define and start.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// Name of the new server.
    pub name: String,
    /// Name of an image directory.
    pub image: String,
    /// Image properties that are added to the image's own, or replace them.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// The flavor's extra specs: `hw:serial_port_count` limits the number of ports.
    #[serde(default)]
    pub flavor_properties: BTreeMap<String, String>,
    /// Name of the host to run on; optional where only one host has libvirt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Body of `POST /v1/servers/{id}/stop`: may be empty.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Seconds that the guest may take to shut down before its power is cut (default 60).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Cut the power at once.
    #[serde(default)]
    pub force: bool,
}

impl Stop {
    /// The largest [`Self::timeout`].
    pub const MOST_SECONDS: u64 = 600;
}

/// Body of `POST /v1/lines/{server}/{port}/sysrq`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sysrq {
    /// The command key: a letter or digit, for example `b`.
    pub key: char,
}

/// Body of `POST /v1/lines/{server}/{port}/links`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    /// The most that a session may do that it opens.
    pub mode: Mode,
    /// Its lifetime in seconds, from [`Self::LEAST_SECONDS`] to `[consoleauth] link_ttl`.
    pub seconds: u64,
}

impl NewLink {
    /// The shortest lifetime.
    pub const LEAST_SECONDS: u64 = 60;
}

/// A link that a user shared, without its token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Link {
    /// Its public id, with which it can be revoked.
    pub id: LinkId,
    /// The most that a session may do that it opens.
    pub mode: Mode,
    /// The user who made it.
    pub user: String,
    /// When it was made.
    #[serde(serialize_with = "time")]
    pub created: Timestamp,
    /// When it and the sessions that it opened end.
    #[serde(serialize_with = "time")]
    pub expires: Timestamp,
    /// How many sessions it opened that have not ended.
    pub sessions: u64,
}

/// `{"link": …, "url": …}`: the answer to a [`NewLink`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MadeLink {
    /// The link.
    pub link: Link,
    /// Its URL. Only this answer contains it.
    pub url: String,
}

/// `{"links": […]}`: the live links of a line that the caller may revoke.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Links {
    /// The links, the newest first.
    pub links: Vec<Link>,
    /// The longest lifetime of a link in seconds; 0 where links are turned off.
    pub longest: u64,
    /// Names of the hosts whose sessions are not counted, because they did not respond in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<String>,
}

/// Body of `POST /v1/servers/{id}/adopt`: may be empty.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Adopt {
    /// How many TCP ports the domain gets (default: as many as it has serial ports, at least 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_ports: Option<u8>,
    /// Stop and start a running domain, so that it has the ports at once.
    #[serde(default)]
    pub restart: bool,
}

/// `{"server": …, "ports": […]}`: the answer of an adoption.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Adopted<S = Server> {
    /// The server.
    pub server: S,
    /// The serial ports that it has been given.
    #[serde(default)]
    pub ports: Vec<AdoptedPort>,
}

/// A serial port that a domain has been given.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AdoptedPort {
    /// Its index.
    pub port: u8,
    /// What it replaces, in words; none where there was no such port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The address on which QEMU listens from the next start on: `host:port`.
    pub now: String,
}

/// The content of an error answer: `{"<fault name>": {"code": …, "message": …}}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Fault {
    /// The HTTP status.
    pub code: u16,
    /// The problem, and what to do.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc_with_whole_seconds() {
        let writer = Writer {
            session: SessionId::new(),
            user: "alice".into(),
            since: "2026-11-22T09:00:00.25Z".parse().unwrap(),
            free_in: None,
        };
        let json = serde_json::to_value(&writer).unwrap();
        assert_eq!(json["since"], "2026-11-22T09:00:00Z");
        assert_eq!(serde_json::from_value::<Writer>(json).unwrap().user, "alice");
    }

    #[test]
    fn a_boot_with_an_unknown_field_is_refused() {
        let text = r#"{"name": "a", "image": "b", "flavour": {}}"#;
        assert!(serde_json::from_str::<Boot>(text).is_err());
    }
}
