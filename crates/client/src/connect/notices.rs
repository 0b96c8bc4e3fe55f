//! What the person is told beside the guest's output.

use std::time::Duration;

use serialproxy_proto::console::Hello;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::token::Mode;

use crate::failure::Failure;

pub(crate) const DRAINING: &str = "the proxy is shutting down; connecting again";
pub(crate) const NEW_LINE: &str =
    "output may be missing here: the console began a new history meanwhile";
pub(crate) const READ_ONLY: &str =
    "you only watch: nothing that you type is sent. ~. or Ctrl-C leaves";

/// The first notice of a connection.
pub(crate) fn greeting(hello: &Hello) -> String {
    let Hello { server, port, user, .. } = hello;
    let name = &server.name;
    match hello.mode {
        Mode::Write => {
            format!("connected to {name}, port {port}, as {user}. ~. leaves, ~? lists more")
        }
        Mode::Watch => format!("watching {name}, port {port}. ~. or Ctrl-C leaves"),
    }
}

/// Where the connection to the guest stands.
pub(crate) fn state(state: LineState, reason: &str) -> String {
    let state = match state {
        LineState::Connected => return "the guest is connected".into(),
        LineState::Waiting => "waiting for the guest",
        LineState::Failed => "the guest cannot be reached, trying again",
    };
    with_reason(state.to_owned(), Some(reason))
}

pub(crate) fn lost(cause: &str) -> String {
    format!("connection lost: {cause}. Connecting again; what you type is not sent until then")
}

pub(crate) fn again(failure: &Failure, pause: Duration) -> String {
    format!("trying again in {} s: {failure}", pause.as_secs())
}

pub(crate) fn ended(reason: &str) -> String {
    with_reason("the console ended".to_owned(), Some(reason))
}

/// What a control message says to the person, if anything. Who writes is news to a watcher only.
pub(crate) fn message(message: &ServerMessage, watching: bool) -> Option<String> {
    match message {
        ServerMessage::State { state: now, reason } => Some(state(*now, reason)),
        ServerMessage::Epoch { .. } => Some("the guest started again".into()),
        ServerMessage::Gap { from, to } => Some(format!(
            "{} bytes of output are missing here: they are no longer kept",
            to.saturating_sub(*from)
        )),
        ServerMessage::Pen { state, holder, by, reason, .. } => {
            let text = pen(*state, holder.as_deref(), by.as_deref());
            watching.then(|| with_reason(text, reason.as_deref()))
        }
        ServerMessage::Error { message } => Some(message.clone()),
        ServerMessage::Hello(_)
        | ServerMessage::Replay { .. }
        | ServerMessage::Viewers { .. }
        | ServerMessage::Ack { .. }
        | ServerMessage::Size(_)
        | ServerMessage::Pong { .. }
        | ServerMessage::Unknown => None,
    }
}

fn pen(state: PenState, holder: Option<&str>, by: Option<&str>) -> String {
    let someone = |name: Option<&str>| name.unwrap_or("someone").to_owned();
    match state {
        PenState::Free => "nobody writes now".to_owned(),
        PenState::Held => format!("{} writes", someone(holder)),
        PenState::Requested => format!("{} asks to write", someone(by)),
        PenState::Lost => format!("{} writes now, you only watch", someone(by.or(holder))),
    }
}

fn with_reason(text: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) if !reason.is_empty() => format!("{text}: {reason}"),
        _ => text,
    }
}
