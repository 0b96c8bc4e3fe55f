//! The notices for the person, beside the guest's output.

use std::time::Duration;

use jiff::tz::TimeZone;
use serialproxy_proto::api::Status;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::Viewer;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::token::Mode;

use crate::connect::escape::Escapes;
use crate::connect::guest::Guest;
use crate::connect::typing::Typing;
use crate::failure::Failure;
use crate::text::grouped;
use crate::text::in_words;
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
    pub(crate) can: &'a [Action],
    /// Who types, the message included.
    pub(crate) typing: &'a Typing,
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
pub(crate) fn read_only(typing: &Typing, can: &[Action], escapes: &Escapes) -> String {
    let mut how = typing.how(can, escapes);
    if !how.is_empty() {
        how.push_str(", ");
    }
    let leave = escapes.hint("~. or ");
    format!("you are watching: what you type is not sent. {how}{leave}Ctrl-C leaves")
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
            let (reason, server) = (in_words(reason), word(server));
            return format!("{reason}: waiting; to start it: serialproxy start {server}");
        }
        LineState::Waiting => "waiting for the guest",
        LineState::Failed => "the guest cannot be reached, retrying",
    };
    with_reason(state.to_owned(), Some(&in_words(reason)))
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
        ServerMessage::Pen { state, session, holder, by, reason, cause, seconds, .. } => {
            let pen = Pen {
                mine: session.map(|session| session == reader.session),
                holder: holder.as_deref().or(by.as_deref()).unwrap_or("someone"),
                by: by.as_deref().unwrap_or("someone"),
                reason: reason.as_deref(),
                cause: *cause,
                silence: seconds.map_or_else(|| "later".to_owned(), |s| format!("in {s} s")),
                reader,
            };
            pen.text(*state)
        }
        ServerMessage::Error { message } | ServerMessage::Notice { message } => {
            Some(message.clone())
        }
        ServerMessage::Hello(_)
        | ServerMessage::Boots(_)
        | ServerMessage::Times(_)
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
    reason: Option<&'a str>,
    cause: Option<Cause>,
    /// When a request is granted without an answer.
    silence: String,
    reader: Reader<'a>,
}

impl Pen<'_> {
    fn text(&self, state: PenState) -> Option<String> {
        let Self { mine, holder, by, silence, cause, reader, .. } = self;
        let hint = |text| reader.escapes.hint(text);
        Some(match (state, mine, reader.watching) {
            (PenState::Free, _, true) => self.watching(""),
            (PenState::Free, _, false) => {
                let hint = hint("; ~p lets you type again");
                format!("you stopped typing and are watching now{hint}")
            }
            (PenState::Held, Some(true), true) => "you are typing now".to_owned(),
            // The answer to a request of one's own, or no news.
            (PenState::Held, Some(true) | None, false) => return None,
            (PenState::Held, _, true) => match cause {
                Some(Cause::Resumed) => format!("{holder} has reconnected"),
                Some(Cause::Denied) => self.with_reason(format!("{holder} keeps typing")),
                _ => self.watching(". You are watching"),
            },
            (PenState::Lost, ..) | (PenState::Held, Some(false), false) => {
                let told = match cause {
                    Some(Cause::Moved) => "you are typing in another window now".to_owned(),
                    _ => self.with_reason(format!("{holder} is typing now")),
                };
                let how = reader.typing.how(reader.can, reader.escapes);
                with_reason(format!("{told}. You are watching"), Some(&how))
            }
            (PenState::Requested, Some(true), _) => self.with_reason(format!(
                "{holder} was asked; without an answer you can type {silence}"
            )),
            (PenState::Requested, _, false) => {
                let hint = hint(": ~g allows it, ~d refuses");
                self.with_reason(format!(
                    "{by} asks to type{hint}; without an answer {by} can type {silence}"
                ))
            }
            (PenState::Requested, _, true) => {
                self.with_reason(format!("{by} asks {holder} to let them type"))
            }
        })
    }

    /// For a watcher: who types, `then`, and what to press to type.
    fn watching(&self, then: &str) -> String {
        let Reader { typing, can, escapes, .. } = self.reader;
        let mut told = typing.told(&TimeZone::system());
        if self.cause != Some(Cause::Detached) {
            told = self.with_reason(told);
        }
        let how = typing.how(can, escapes);
        match how.is_empty() {
            true => format!("{told}{then}."),
            false if then.is_empty() => format!("{told}. {how}"),
            false => format!("{told}{then}: {how}"),
        }
    }

    fn with_reason(&self, text: String) -> String {
        with_reason(text, self.reason)
    }
}

fn with_reason(text: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) if !reason.is_empty() => format!("{text}: {reason}"),
        _ => text,
    }
}
