//! Commands that only ask: a console's URL, the sessions.

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::SessionState;
use serialproxy_proto::api::Sessions;
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
use crate::text::status_word;
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
                match session.mode {
                    Mode::Write => "typing".into(),
                    Mode::Watch => "watching".into(),
                },
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
    let rows = servers.into_iter().map(|row| {
        let state = status_word(&row.status).to_owned();
        [row.id.to_string(), row.name, state]
    });
    table(["ID", "Name", "State"], rows.collect())
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
