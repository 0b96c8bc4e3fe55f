//! The calls of an api role to the host that has a server: one HTTP request each, with JSON both
//! ways.

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serialproxy_audit::Audit;
use serialproxy_proto::api;
use serialproxy_proto::audit;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::compute::OpenConsole;
use serialproxy_proto::compute::Page;
use serialproxy_proto::compute::Power;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::script::Awaited;
use serialproxy_proto::script::Typing;

use crate::publish::Has;

/// The path of calls.
pub(crate) const PATH: &str = "/cluster/v1/call";

/// Largest call, in bytes.
pub(crate) const CALL: usize = 256 * 1024;

/// Largest answer, in bytes: that of a host with thousands of lines.
pub(crate) const ANSWER: usize = 4 * 1024 * 1024;

/// One call of [`Servers`] or [`LineBook`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Call {
    Server(ServerId),
    Boot(api::Boot, String),
    Delete(ServerId),
    Power(ServerId, Power),
    Adopt(ServerId, api::Adopt),
    Unadopt(ServerId),
    OpenConsole(OpenConsole),
    Lines(Page<LineKey>),
    Line(LineKey),
    Output(LineKey, u64, usize),
    Boots(LineKey),
    SendBreak(LineKey),
    Sysrq(LineKey, char),
    TypeAt(LineKey, Typing),
    WaitAt(LineKey, Awaited),
    Sessions(Option<String>),
    DisconnectWriter(LineKey, Disconnect),
    Disconnect(LineKey, SessionId, Disconnect),
    Audit(audit::Query),
}

/// Who answers calls here.
#[derive(Clone, Copy)]
pub(crate) struct Answering<'a> {
    /// None where there are no servers.
    pub(crate) has: Option<&'a Has>,
    pub(crate) audit: &'a Audit,
}

/// The answer to a call, encoded.
pub(crate) async fn answer(call: Call, Answering { has, audit }: Answering<'_>) -> Vec<u8> {
    if let Call::Audit(query) = call {
        return json(&events(audit, query).await);
    }
    let Some(Has { servers, lines }) = has else {
        return json(&Err::<(), _>(ComputeError::Unsupported("this host has no servers".into())));
    };
    match call {
        Call::Server(id) => json(&servers.server(id).await),
        Call::Boot(boot, project) => json(&servers.boot(boot, project).await),
        Call::Delete(id) => json(&servers.delete(id).await),
        Call::Power(id, power) => json(&servers.power(id, power).await),
        Call::Adopt(id, adopt) => json(&servers.adopt(id, adopt).await),
        Call::Unadopt(id) => json(&servers.unadopt(id).await),
        Call::OpenConsole(ask) => json(&lines.open_console(ask).await),
        Call::Lines(page) => json(&lines.lines(page).await),
        Call::Line(line) => json(&lines.line(line).await),
        Call::Output(line, from, max) => json(&lines.output(line, from, max).await),
        Call::Boots(line) => json(&lines.boots(line).await),
        Call::SendBreak(line) => json(&lines.send_break(line).await),
        Call::Sysrq(line, key) => json(&lines.sysrq(line, key).await),
        Call::TypeAt(line, typing) => json(&lines.type_at(line, typing).await),
        Call::WaitAt(line, awaited) => json(&lines.wait_at(line, awaited).await),
        Call::Sessions(project) => json(&lines.sessions(project).await),
        Call::DisconnectWriter(line, by) => json(&lines.disconnect_writer(line, by).await),
        Call::Disconnect(line, session, by) => json(&lines.disconnect(line, session, by).await),
        // Answered above.
        Call::Audit(_) => Vec::new(),
    }
}

/// The files are read by a thread that may wait.
async fn events(audit: &Audit, query: audit::Query) -> Result<audit::Page, ComputeError> {
    let audit = audit.clone();
    let read = tokio::task::spawn_blocking(move || audit.read(&query)).await;
    let read = read.map_err(std::io::Error::other);
    read.flatten().map_err(|error| {
        ComputeError::Unavailable(format!("the audit trail cannot be read: {error}"))
    })
}

fn json<T: Serialize>(answer: &Result<T, ComputeError>) -> Vec<u8> {
    serde_json::to_vec(answer).unwrap_or_else(|error| {
        let failed = ComputeError::Failed(format!("an answer cannot be written: {error}"));
        serde_json::to_vec(&Err::<(), _>(failed)).unwrap_or_default()
    })
}

/// Decodes an answer.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ComputeError> {
    serde_json::from_slice::<Result<T, ComputeError>>(bytes)
        .unwrap_or_else(|_| Err(ComputeError::Failed("a host's answer is not understood".into())))
}
