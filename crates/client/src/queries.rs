//! Commands that only ask: a console's URL, the servers, the sessions.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use serialproxy_proto::api::Lines;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::Servers;
use serialproxy_proto::api::SessionState;
use serialproxy_proto::api::Sessions;
use serialproxy_proto::api::Status;
use serialproxy_proto::api::UnusablePort;
use serialproxy_proto::compute::PAGE;
use serialproxy_proto::console::LineState;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::times::rfc3339;
use serialproxy_proto::token::Mode;

use crate::api::Api;
use crate::api::ConsoleRequest;
use crate::api::ServerRow;
use crate::command::Format;
use crate::command::GetSerialConsole;
use crate::failure::Failure;
use crate::text::printable_json;
use crate::text::say;
use crate::text::table;

/// `get-serial-console` as `-f json` prints it.
#[derive(Serialize)]
struct ConsoleUrl<'a> {
    r#type: &'a str,
    url: &'a str,
}

pub(crate) async fn console(
    api: &Api,
    command: &GetSerialConsole,
    format: Format,
) -> Result<String, Failure> {
    if command.console_type != "serial" {
        return Err(Failure::ConsoleType(command.console_type.clone()));
    }
    let mode = if command.watch { Mode::Watch } else { Mode::Write };
    let server = api.find(&command.server).await?;
    let request = ConsoleRequest { server, port: command.port, mode, wait: command.wait };
    let url = api.console_url(request).await?;
    Ok(match format {
        Format::Json => json(&ConsoleUrl { r#type: "serial", url: &url }),
        Format::Table => table(["Type", "Url"], vec![["serial".into(), url]]),
    })
}

pub(crate) async fn servers(api: &Api, format: Format) -> Result<String, Failure> {
    let answer = api.servers(None).await?;
    let lost = match format {
        Format::Table => {
            say_failed(api).await;
            say_trouble(api).await
        }
        Format::Json => BTreeSet::new(),
    };
    show(format, answer, |answer| {
        let mut servers = api.read::<Servers<ServerRow>>(answer)?.servers;
        // Nova has no word for it, and says UNKNOWN.
        for server in servers.iter_mut().filter(|server| lost.contains(&server.id)) {
            Status::HostLost.as_str().clone_into(&mut server.status);
        }
        Ok(server_table(servers))
    })
}

/// Says which serial ports have no console and why, which hosts do not respond, and how old the list
/// is if it is not current. Returns the servers whose host is lost. An API that does not know it says
/// nothing.
async fn say_trouble(api: &Api) -> BTreeSet<ServerId> {
    let mut lost = BTreeSet::new();
    let mut hosts = BTreeMap::<String, usize>::new();
    let mut oldest = None;
    let mut marker: Option<String> = None;
    loop {
        let query: Vec<_> = marker.as_deref().map(|id| ("marker", id)).into_iter().collect();
        let Ok(answer) = api.call(Method::GET, "/v1/servers", &query, None).await else { break };
        let Ok(Servers { servers, as_of, .. }) = api.read::<Servers>(answer) else { break };
        oldest = [oldest, as_of].into_iter().flatten().min();
        let last = servers.last().map(|server| server.id.to_string());
        // A marker that stands still would ask for the same page for ever.
        let is_last = servers.len() < PAGE || last == marker;
        for Server { id, name, status, host, unusable_ports, .. } in servers {
            for UnusablePort { port, reason } in unusable_ports {
                say(&format!("{name}, port {port}, has no console: {reason}"));
            }
            if status == Status::HostLost {
                lost.insert(id);
                *hosts.entry(host).or_default() += 1;
            }
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
    lost
}

/// Says which serial ports of running guests are not connected, and why.
async fn say_failed(api: &Api) {
    let mut marker: Option<String> = None;
    loop {
        let query: Vec<_> = marker.as_deref().map(|line| ("marker", line)).into_iter().collect();
        let Ok(answer) = api.call(Method::GET, "/v1/lines", &query, None).await else { return };
        let Ok(Lines { lines, .. }) = api.read::<Lines>(answer) else { return };
        for line in lines.iter().filter(|line| line.state == LineState::Failed) {
            let (name, port, reason) = (&line.server.name, line.port, &line.reason);
            say(&format!("{name}, port {port}, is not connected: {reason}"));
        }
        let last = lines.last().map(|line| format!("{}/{}", line.server.id, line.port));
        // A marker that stands still would ask for the same page for ever.
        if lines.len() < PAGE || last == marker {
            return;
        }
        marker = last;
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

pub(crate) async fn sessions(api: &Api, format: Format) -> Result<String, Failure> {
    let answer = api.call(Method::GET, "/v1/sessions", &[], None).await?;
    show(format, answer, |answer| {
        let Sessions { sessions, unreachable } = api.read(answer)?;
        if !unreachable.is_empty() {
            say(&format!("no sessions of hosts that do not respond: {}", unreachable.join(", ")));
        }
        let rows = sessions.into_iter().map(|session| {
            [
                session.id.to_string(),
                session.server.name,
                session.port.to_string(),
                session.user,
                session.mode.as_str().into(),
                rfc3339(session.since),
                session.address,
                match session.protocol {
                    Protocol::Raw => "raw".into(),
                    Protocol::ConsoleV1 => "console.v1".into(),
                },
                match (session.state, session.ends_in) {
                    (SessionState::Live, _) => "live".into(),
                    (SessionState::Detached, Some(seconds)) => format!("lost, ends in {seconds} s"),
                    (SessionState::Detached, None) => "lost".into(),
                },
            ]
        });
        let header = ["ID", "Server", "Port", "User", "Mode", "Since", "From", "Protocol", "State"];
        Ok(table(header, rows.collect()))
    })
}

/// Servers as a table.
pub(crate) fn server_table(servers: Vec<ServerRow>) -> String {
    let rows = servers.into_iter().map(|row| [row.id.to_string(), row.name, row.status]);
    table(["ID", "Name", "Status"], rows.collect())
}

/// The API's object as it is, or what `people` make of it.
pub(crate) fn show(
    format: Format,
    answer: Value,
    people: impl FnOnce(Value) -> Result<String, Failure>,
) -> Result<String, Failure> {
    match format {
        Format::Json => Ok(json(&answer)),
        Format::Table => people(answer),
    }
}

pub(crate) fn json(value: &impl Serialize) -> String {
    // Nothing that is printed here has a map with keys other than strings, the one way to fail.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    printable_json(&text) + "\n"
}
