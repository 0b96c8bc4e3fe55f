//! `servers`: each serial port with its state, who types, and what it printed last.

use std::collections::BTreeMap;
use std::collections::HashMap;

use reqwest::Method;
use rustix::termios::isatty;
use rustix::termios::tcgetwinsize;
use serde::Deserialize;
use serde_json::Value;
use serialproxy_proto::api::Line;
use serialproxy_proto::api::Lines;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::Servers;
use serialproxy_proto::api::Status;
use serialproxy_proto::api::UnusablePort;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::compute::PAGE;
use serialproxy_proto::console::LineState;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::times::rfc3339;

use crate::api::Api;
use crate::api::ServerRow;
use crate::command::Format;
use crate::failure::Failure;
use crate::queries::json;
use crate::text::cut;
use crate::text::printable;
use crate::text::say;
use crate::text::status_word;
use crate::text::table;
use crate::text::width;

/// The smallest width of the column with what a port printed last.
const LAST_LINE: usize = 10;

/// What our own list of servers says beside Nova's. Another API has none.
#[derive(Debug, Deserialize)]
struct Details {
    #[serde(flatten)]
    server: Server,
    /// Whether it is a static line, not a guest.
    #[serde(default)]
    r#static: bool,
}

pub(crate) async fn servers(api: &Api, format: Format) -> Result<String, Failure> {
    let answer = api.servers(None).await?;
    match format {
        Format::Json => Ok(json(&without_nulls(answer))),
        Format::Table => {
            let servers = api.read::<Servers<ServerRow>>(answer)?.servers;
            let lines = lines(api).await;
            let details = details(api).await;
            say_failed(&lines);
            Ok(overview(&servers, &lines, &details, room()))
        }
    }
}

/// Nova's objects have many fields, of which most are always empty here.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        value => value,
    }
}

/// The columns of the terminal, if the table is for one.
fn room() -> Option<usize> {
    let stdout = rustix::stdio::stdout();
    let size = tcgetwinsize(stdout).ok().filter(|_| isatty(stdout))?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A row for each port, and one for each server that has none.
fn overview(
    servers: &[ServerRow],
    lines: &[Line],
    details: &HashMap<ServerId, Details>,
    room: Option<usize>,
) -> String {
    let mut ports = HashMap::<ServerId, Vec<&Line>>::new();
    for line in lines {
        ports.entry(line.server.id).or_default().push(line);
    }
    let mut names = HashMap::<&str, usize>::new();
    for server in servers {
        *names.entry(&server.name).or_default() += 1;
    }
    let mut rows = Vec::new();
    for server in servers {
        let details = details.get(&server.id);
        let name = match names.get(&*server.name) {
            // The UUID is what commands need then.
            Some(2..) => format!("{} ({})", server.name, server.id),
            _ => server.name.clone(),
        };
        let row = |line: Option<&Line>| {
            let writer = line.and_then(|line| line.writer.as_ref());
            let lost = writer.is_some_and(|writer| writer.free_in.is_some());
            let who = writer.map_or_else(String::new, |writer| writer.user.clone());
            [
                name.clone(),
                line.map_or_else(|| "-".to_owned(), |line| line.port.to_string()),
                state(server, details, line).to_owned(),
                if lost { format!("{who} (lost)") } else { who },
                line.and_then(|line| line.last_line.clone()).unwrap_or_default(),
            ]
        };
        match ports.get_mut(&server.id) {
            None => rows.push(row(None)),
            Some(ports) => {
                ports.sort_by_key(|line| line.port);
                rows.extend(ports.iter().map(|line| row(Some(line))));
            }
        }
    }
    let header = ["Server", "Port", "State", "Typing", "Last line"];
    if let Some(room) = room {
        fit(&header, &mut rows, room);
    }
    table(header, rows)
}

/// Cuts the last column, so that the table is no wider than the terminal.
fn fit(header: &[&str; 5], rows: &mut [[String; 5]], room: usize) {
    let mut widths = header.map(width);
    for row in &*rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(&printable(cell)).max(*widest);
        }
    }
    let [server, port, state, typing, _] = widths;
    // Each column has a border and two spaces.
    let others = server + port + state + typing + 3 * header.len() + 1;
    let room = room.saturating_sub(others).max(LAST_LINE);
    for [.., last] in rows {
        *last = cut(&printable(last), room);
    }
}

/// The state of a port in the words of the servers page.
fn state<'a>(server: &'a ServerRow, details: Option<&Details>, line: Option<&Line>) -> &'a str {
    let status = match details {
        // Nova has no word for it, and says UNKNOWN.
        Some(details) if details.server.status == Status::HostLost => Status::HostLost.as_str(),
        _ => &server.status,
    };
    let is = |wanted: Status| status == wanted.as_str();
    let Some(line) = line.filter(|_| !is(Status::HostLost) && !is(Status::Error)) else {
        return status_word(status);
    };
    match (line.state, line.cause) {
        (LineState::Failed, _) => "failed",
        (_, Some(Cause::Crashed)) => "crashed",
        (LineState::Connected, _) if details.is_some_and(|details| details.r#static) => "connected",
        (LineState::Waiting, _) if is(Status::Active) => "connecting",
        _ => status_word(status),
    }
}

/// The lines, or as many as the API gives. Another API has none.
pub(crate) async fn lines(api: &Api) -> Vec<Line> {
    let mut all = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let query: Vec<_> = marker.as_deref().map(|line| ("marker", line)).into_iter().collect();
        let Ok(answer) = api.call(Method::GET, "/v1/lines", &query, None).await else { return all };
        let Ok(Lines { lines, .. }) = api.read::<Lines>(answer) else { return all };
        let last = lines.last().map(|line| format!("{}/{}", line.server.id, line.port));
        let count = lines.len();
        all.extend(lines);
        // A marker that stands still would ask for the same page for ever.
        if count < PAGE || last == marker {
            return all;
        }
        marker = last;
    }
}

/// Says which serial ports have no console and why, which hosts do not respond, and how old the list
/// is if it is not current. An API that does not know it says nothing.
async fn details(api: &Api) -> HashMap<ServerId, Details> {
    let mut all = HashMap::new();
    let mut hosts = BTreeMap::<String, usize>::new();
    let mut oldest = None;
    let mut marker: Option<String> = None;
    loop {
        let query: Vec<_> = marker.as_deref().map(|id| ("marker", id)).into_iter().collect();
        let Ok(answer) = api.call(Method::GET, "/v1/servers", &query, None).await else { break };
        let Ok(Servers { servers, as_of, .. }) = api.read::<Servers<Details>>(answer) else {
            break;
        };
        oldest = [oldest, as_of].into_iter().flatten().min();
        let last = servers.last().map(|details| details.server.id.to_string());
        // A marker that stands still would ask for the same page for ever.
        let is_last = servers.len() < PAGE || last == marker;
        for details in servers {
            let Server { id, name, status, host, unusable_ports, .. } = &details.server;
            for UnusablePort { port, reason } in unusable_ports {
                say(&format!("{name}, port {port}, has no console: {reason}"));
            }
            if *status == Status::HostLost {
                *hosts.entry(host.clone()).or_default() += 1;
            }
            all.insert(*id, details);
        }
        if is_last {
            break;
        }
        marker = last;
    }
    say_lost(&hosts);
    if let Some(time) = oldest.map(rfc3339) {
        say(&format!(
            "the list is as of {time}: etcd does not respond, and it may have changed since"
        ));
    }
    all
}

/// Says which serial ports of running guests are not connected, and why.
fn say_failed(lines: &[Line]) {
    for line in lines.iter().filter(|line| line.state == LineState::Failed) {
        let (name, port, reason) = (&line.server.name, line.port, &line.reason);
        say(&format!("{name}, port {port}, is not connected: {reason}"));
    }
}

/// Says which hosts do not respond, with the number of their servers.
fn say_lost(hosts: &BTreeMap<String, usize>) {
    for (host, count) in hosts {
        let servers = if *count == 1 { "server" } else { "servers" };
        say(&format!(
            "host {host} does not respond: the state of its {count} {servers} is not known, and they \
             have no consoles until it is back"
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "3f0c2a52-6d0a-4b9a-9d0e-0a54e1a7c0de";
    const OTHER: &str = "b7a1e0de-0000-4000-8000-000000000001";

    fn server(id: &str, name: &str, status: &str) -> ServerRow {
        serde_json::from_value(json!({"id": id, "name": name, "status": status})).unwrap()
    }

    fn line(id: &str, port: u8, more: &Value) -> Line {
        let mut line = json!({"server": {"id": id, "name": "x"}, "port": port, "state": "connected",
            "reason": "", "endpoint": null, "line": OTHER, "epoch": 1, "offset": 0, "first_offset": 0,
            "bytes_in": 0, "bytes_out": 0, "writer": null, "watchers": 0});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(line).unwrap()
    }

    fn is_static(id: &str) -> HashMap<ServerId, Details> {
        let details =
            json!({"id": id, "name": "x", "status": "ACTIVE", "project": "p", "static": true});
        let details: Details = serde_json::from_value(details).unwrap();
        HashMap::from([(details.server.id, details)])
    }

    #[test]
    fn each_port_has_a_row_with_its_state_who_types_and_the_last_line() {
        let session = OTHER;
        let writer = json!({"session": session, "user": "alice", "since": "2026-11-22T09:00:00Z"});
        let lost = json!({"session": session, "user": "bob", "since": "2026-11-22T09:00:00Z", "free_in": 9});
        let lines = [
            line(ID, 1, &json!({"writer": lost, "last_line": "ready"})),
            line(ID, 0, &json!({"writer": writer, "last_line": "demo login: "})),
        ];
        let servers = [server(ID, "demo", "ACTIVE"), server(OTHER, "old\u{1b}[2J", "SHUTOFF")];
        assert_eq!(
            overview(&servers, &lines, &HashMap::new(), None),
            "+--------------+------+---------+------------+--------------+\n\
             | Server       | Port | State   | Typing     | Last line    |\n\
             +--------------+------+---------+------------+--------------+\n\
             | demo         | 0    | running | alice      | demo login:  |\n\
             | demo         | 1    | running | bob (lost) | ready        |\n\
             | old\\u{1b}[2J | -    | off     |            |              |\n\
             +--------------+------+---------+------------+--------------+\n"
        );
    }

    #[test]
    fn states_are_in_the_words_of_people() {
        let at = |status: &str, more: &Value| {
            state(&server(ID, "x", status), None, Some(&line(ID, 0, more))).to_owned()
        };
        assert_eq!(at("ACTIVE", &json!({})), "running");
        assert_eq!(at("ACTIVE", &json!({"state": "waiting"})), "connecting");
        assert_eq!(at("ACTIVE", &json!({"state": "failed", "cause": "held"})), "failed");
        assert_eq!(at("ACTIVE", &json!({"cause": "crashed"})), "crashed");
        assert_eq!(at("PAUSED", &json!({"cause": "paused"})), "paused");
        assert_eq!(at("SHUTOFF", &json!({"state": "waiting"})), "off");
        assert_eq!(at("ERROR", &json!({"state": "waiting"})), "in error");
        assert_eq!(at("VERIFY_RESIZE", &json!({})), "VERIFY_RESIZE");
        let details = is_static(ID);
        let details = details.values().next();
        let connected = line(ID, 0, &json!({}));
        assert_eq!(state(&server(ID, "x", "ACTIVE"), details, Some(&connected)), "connected");
    }

    #[test]
    fn a_name_that_two_servers_have_is_shown_with_its_uuid() {
        let servers = [server(ID, "twin", "ACTIVE"), server(OTHER, "twin", "ACTIVE")];
        let text = overview(&servers, &[], &HashMap::new(), None);
        assert!(text.contains(&format!("| twin ({ID})")), "{text}");
    }

    #[test]
    fn the_last_line_is_cut_to_the_width_of_the_terminal() {
        let lines = [
            line(ID, 0, &json!({"last_line": "x".repeat(200)})),
            line(ID, 1, &json!({"last_line": "日本".repeat(50)})),
        ];
        let servers = [server(ID, "demo", "ACTIVE")];
        for room in [60, 61, 80, 120] {
            let text = overview(&servers, &lines, &HashMap::new(), Some(room));
            assert!(text.lines().all(|line| width(line) <= room), "{room}:\n{text}");
            assert!(text.contains("xxxx…") && text.contains("日本"), "{text}");
        }
        let narrow = overview(&servers, &lines, &HashMap::new(), Some(20));
        assert!(narrow.contains(&format!("| {}… |", "x".repeat(LAST_LINE - 1))), "{narrow}");
    }

    #[test]
    fn nothing_that_is_null_is_printed() {
        let answer = json!({"servers": [{"id": "1", "OS-EXT-STS:task_state": null, "addresses": {},
            "fault": {"code": 1, "details": null}, "tags": [null, {"a": null}]}]});
        let wanted = json!({"servers": [{"id": "1", "addresses": {}, "fault": {"code": 1}, "tags": [null, {}]}]});
        assert_eq!(without_nulls(answer), wanted);
    }
}
