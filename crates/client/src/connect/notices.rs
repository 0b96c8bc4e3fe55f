//! The notices for the person, beside the guest's output.

use std::time::Duration;

use serialproxy_proto::api::Status;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::Viewer;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::token::Mode;

use crate::connect::escape::Escapes;
use crate::connect::guest::Guest;
use crate::failure::Failure;
use crate::text::grouped;
use crate::text::word;

pub(crate) const DRAINING: &str = "the proxy is shutting down; reconnecting";
pub(crate) const NEW_LINE: &str =
    "output may be missing here: the server started a new history in the meantime";
pub(crate) const NO_GUEST: &str = "what you type now is dropped: no guest is connected";
pub(crate) const PAUSED: &str = "what you type now is delivered when the guest resumes";
pub(crate) const ASK_SYSRQ: &str =
    "magic SysRq: press a letter or digit (h lists them; any other key cancels)";
pub(crate) const ASK_FORCE: &str = "take over? The person who is typing will only watch. Press y to take over, any other key to \
     cancel";
pub(crate) const CANCELED: &str = "canceled: nothing was sent";
pub(crate) const MAY_NOT_FORCE: &str = "you may not take over: only administrators and members \
         of the server's project may";
pub(crate) const MAY_ONLY_WATCH: &str =
    "this session may only watch. Connect without --watch to type";
pub(crate) const TYPING_ALREADY: &str = "you are typing already";
pub(crate) const REFUSED: &str = "refused: you are still typing";
pub(crate) const NOBODY_ASKS: &str = "nobody asks to type";
pub(crate) const NO_SIZE: &str = "the size of this terminal is not known";

/// The session of the person, and whether it types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    /// The escapes for hints.
    pub(crate) escapes: &'a Escapes,
    pub(crate) session: SessionId,
    pub(crate) watching: bool,
    /// The earlier state of the guest.
    pub(crate) guest: Guest,
    pub(crate) may_write: bool,
    /// Name of the server.
    pub(crate) server: &'a str,
}

/// The first notice of a connection.
pub(crate) fn greeting(hello: &Hello, escapes: &Escapes) -> String {
    let Hello { server, port, user, .. } = hello;
    let name = &server.name;
    match hello.mode {
        Mode::Write => {
            let hint = escapes.hint(". ~. leaves, ~? shows help");
            format!("connected to {name}, port {port}, as {user}{hint}")
        }
        Mode::Watch => {
            let hint = escapes.hint("~. or ");
            format!("watching {name}, port {port}. {hint}Ctrl-C leaves")
        }
    }
}

/// For a person who types while watching.
pub(crate) fn read_only(may_write: bool, escapes: &Escapes) -> String {
    let ask = if may_write { escapes.hint("~p asks to type, ") } else { String::new() };
    let leave = escapes.hint("~. or ");
    format!("you are watching: what you type is not sent. {ask}{leave}Ctrl-C leaves")
}

/// For a person who uses an escape while there is no connection.
pub(crate) fn not_connected(escapes: &Escapes) -> String {
    format!("not connected{}", escapes.hint("; ~. leaves"))
}

/// The first notice of a connection that resumed its session.
pub(crate) fn resumed(hello: &Hello) -> String {
    let Hello { server, port, .. } = hello;
    let what = match hello.mode {
        Mode::Write => "reconnected to",
        Mode::Watch => "watching again:",
    };
    format!("{what} {}, port {port}: the session continues", server.name)
}

/// The state of the connection to the guest.
pub(crate) fn state(guest: Guest, reason: &str, server: &str) -> String {
    let state = match guest.state {
        LineState::Connected if guest.cause.is_some() => {
            // The reason is at the end of the description of the connection.
            let reason = reason.rsplit_once("; ").map_or(reason, |(_, why)| why);
            let hint = match guest.cause {
                Some(Cause::Paused) => {
                    format!("; to resume it: serialproxy resume {}", word(server))
                }
                Some(Cause::Crashed) => {
                    format!("; to reset it: serialproxy reset {}", word(server))
                }
                _ => String::new(),
            };
            return format!("{reason}{hint}");
        }
        LineState::Connected => return "the guest is connected".into(),
        LineState::Waiting if reason.ends_with(Status::Shutoff.as_str()) => {
            let server = word(server);
            return format!("{reason}: waiting; to start it: serialproxy start {server}");
        }
        LineState::Waiting => "waiting for the guest",
        LineState::Failed => "the guest cannot be reached, retrying",
    };
    with_reason(state.to_owned(), Some(reason))
}

/// Keys are dropped meanwhile; piped input waits.
pub(crate) fn lost(cause: &str, limit: Duration, is_interactive: bool) -> String {
    let limit = limit.as_secs();
    let dropped = if is_interactive { "; what you type until then is dropped" } else { "" };
    format!("connection lost: {cause}. Reconnecting for up to {limit} s{dropped}")
}

pub(crate) fn again(failure: &Failure, pause: Duration) -> String {
    format!("retrying in {:.1} s: {failure}", pause.as_secs_f32())
}

pub(crate) fn ended(reason: &str) -> String {
    with_reason("the console ended".to_owned(), Some(reason))
}

/// Input that was lost together with the session or the pen.
pub(crate) fn input_lost(bytes: usize) -> String {
    format!(
        "the last {} bytes that you typed may not have reached the guest; they are not sent again",
        grouped(bytes as u64)
    )
}

pub(crate) fn paste_stopped(left: usize) -> String {
    format!("paste stopped: {} bytes were not sent", grouped(left as u64))
}

/// The attached sessions, from the last `viewers` message.
pub(crate) fn who(count: u64, who: &[Viewer], me: SessionId) -> String {
    let name = |viewer: &Viewer| {
        let does = match viewer.mode {
            Mode::Write => "typing",
            Mode::Watch => "watching",
        };
        let lost = if viewer.detached { ", lost the connection" } else { "" };
        let you = if viewer.session == me { ", you" } else { "" };
        format!("{} ({does}{lost}{you})", viewer.user)
    };
    let names: Vec<String> = who.iter().map(name).collect();
    match count.saturating_sub(who.len() as u64) {
        0 => format!("attached: {}", names.join(", ")),
        more if names.is_empty() => format!("attached: {more}"),
        more => format!("attached: {}, and {more} more", names.join(", ")),
    }
}

/// The notice about a control message, if any.
pub(crate) fn message(message: &ServerMessage, reader: Reader<'_>) -> Option<String> {
    match message {
        ServerMessage::State { state: LineState::Connected, cause: None, .. }
            if reader.guest.cause == Some(Cause::Paused) =>
        {
            Some("the guest was resumed".into())
        }
        ServerMessage::State { state: now, reason, cause } => {
            let guest = Guest { state: *now, cause: *cause };
            Some(state(guest, reason, reader.server))
        }
        ServerMessage::Epoch { .. } => Some("the guest was started again".into()),
        ServerMessage::Gap { from, to } => Some(format!(
            "{} bytes of output are missing here: they are no longer kept",
            to.saturating_sub(*from)
        )),
        ServerMessage::Pen {
            state: PenState::Held,
            holder: Some(holder),
            free_in: Some(seconds),
            own,
            ..
        } if reader.watching => Some(match own {
            true => {
                let hint = reader.escapes.hint(": ~p takes over from it at once");
                let hint = if reader.may_write { hint } else { String::new() };
                format!(
                    "your other session lost its connection; the console is free in \
                         {seconds} s{hint}"
                )
            }
            false => format!("{holder} lost the connection; the console is free in {seconds} s"),
        }),
        ServerMessage::Pen { holder: Some(holder), cause: Some(Cause::Resumed), .. }
            if reader.watching =>
        {
            Some(format!("{holder} has reconnected"))
        }
        ServerMessage::Pen { state, session, holder, by, reason, seconds, .. } => {
            let pen = Pen {
                mine: session.map(|session| session == reader.session),
                holder: holder.as_deref().or(by.as_deref()).unwrap_or("someone"),
                by: by.as_deref().unwrap_or("someone"),
                escapes: reader.escapes,
                silence: seconds.map_or_else(|| "later".to_owned(), |s| format!("in {s} s")),
            };
            let text = match state {
                PenState::Free if !reader.may_write => "nobody is typing now".to_owned(),
                _ => pen.text(*state, reader.watching)?,
            };
            Some(with_reason(text, reason.as_deref()))
        }
        ServerMessage::Error { message } | ServerMessage::Notice { message } => {
            Some(message.clone())
        }
        ServerMessage::Hello(_)
        | ServerMessage::Replay { .. }
        | ServerMessage::Viewers { .. }
        | ServerMessage::Ack { .. }
        | ServerMessage::Size(_)
        | ServerMessage::Pong { .. }
        | ServerMessage::Link { .. }
        | ServerMessage::Unknown => None,
    }
}

struct Pen<'a> {
    /// Whether the message names the reader's session, if it names one.
    mine: Option<bool>,
    holder: &'a str,
    by: &'a str,
    escapes: &'a Escapes,
    /// When a request is granted without an answer.
    silence: String,
}

impl Pen<'_> {
    /// `watching` is whether the session watched before the message.
    fn text(&self, state: PenState, watching: bool) -> Option<String> {
        let Self { mine, holder, by, silence, escapes } = self;
        Some(match (state, mine, watching) {
            (PenState::Free, _, true) => {
                format!("nobody is typing now{}", escapes.hint(": ~p lets you type"))
            }
            (PenState::Free, _, false) => {
                let hint = escapes.hint("; ~p lets you type again");
                format!("you stopped typing and are watching now{hint}")
            }
            (PenState::Held, Some(true), true) => "you are typing now".to_owned(),
            // The answer to a request of one's own, or no news.
            (PenState::Held, Some(true) | None, false) => return None,
            (PenState::Held, _, true) => format!("{holder} is typing"),
            (PenState::Lost, ..) | (PenState::Held, Some(false), false) => {
                format!("{holder} is typing now, you are watching")
            }
            (PenState::Requested, Some(true), _) => {
                format!("{holder} was asked; without an answer you can type {silence}")
            }
            (PenState::Requested, _, false) => {
                let hint = escapes.hint(": ~g allows it, ~d refuses");
                format!("{by} asks to type{hint}; without an answer {by} can type {silence}")
            }
            (PenState::Requested, _, true) => format!("{by} asks {holder} to let them type"),
        })
    }
}

fn with_reason(text: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) if !reason.is_empty() => format!("{text}: {reason}"),
        _ => text,
    }
}
