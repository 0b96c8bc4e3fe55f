//! What the person is told beside the guest's output.

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

pub(crate) const DRAINING: &str = "the proxy is shutting down; connecting again";
pub(crate) const NEW_LINE: &str =
    "output may be missing here: the console began a new history meanwhile";
pub(crate) const NO_GUEST: &str = "what you type now is dropped: no guest is connected";
pub(crate) const PAUSED: &str = "what you type now waits until the guest goes on";
pub(crate) const ASK_SYSRQ: &str =
    "magic SysRq: which letter or digit? (h lists them, any other key sends nothing)";
pub(crate) const ASK_FORCE: &str =
    "take over? Whoever writes now only watches then. y takes over, any other key does not";
pub(crate) const NOTHING_DONE: &str = "nothing was sent";
pub(crate) const MAY_NOT_FORCE: &str = "you may not take over: that needs an administrator, or a \
     member of the server's project";
pub(crate) const MAY_ONLY_WATCH: &str =
    "this session may only watch. Connect without --watch to write";
pub(crate) const WRITES_ALREADY: &str = "you write already";
pub(crate) const KEPT: &str = "you keep the console";
pub(crate) const NOBODY_ASKS: &str = "nobody asks to write";
pub(crate) const NO_SIZE: &str = "this terminal does not say how large it is";

/// Who the notices are for, and whether they write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    /// What they type for what is hinted at.
    pub(crate) escapes: &'a Escapes,
    pub(crate) session: SessionId,
    pub(crate) watching: bool,
    /// How it was about the guest before.
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
            let hint = escapes.hint(". ~. leaves, ~? lists more");
            format!("connected to {name}, port {port}, as {user}{hint}")
        }
        Mode::Watch => {
            let hint = escapes.hint("~. or ");
            format!("watching {name}, port {port}. {hint}Ctrl-C leaves")
        }
    }
}

/// For who types and only watches.
pub(crate) fn read_only(may_write: bool, escapes: &Escapes) -> String {
    let ask = if may_write { escapes.hint("~p asks to write, ") } else { String::new() };
    let leave = escapes.hint("~. or ");
    format!("you only watch: nothing that you type is sent. {ask}{leave}Ctrl-C leaves")
}

/// For who types a command while there is no connection.
pub(crate) fn not_connected(escapes: &Escapes) -> String {
    format!("not connected now{}", escapes.hint("; ~. leaves"))
}

/// The first notice of a connection that goes on with its session.
pub(crate) fn resumed(hello: &Hello) -> String {
    let Hello { server, port, .. } = hello;
    let what = match hello.mode {
        Mode::Write => "connected again to",
        Mode::Watch => "watching again:",
    };
    format!("{what} {}, port {port}: the session goes on", server.name)
}

/// Where the connection to the guest stands.
pub(crate) fn state(guest: Guest, reason: &str, server: &str) -> String {
    let state = match guest.state {
        LineState::Connected if guest.cause.is_some() => {
            // It stands behind what else there is to say of the connection.
            let reason = reason.rsplit_once("; ").map_or(reason, |(_, why)| why);
            // One that crashed does not go on.
            let goes_on = ["paused", "sleeps"].iter().any(|word| reason.contains(word));
            let hint = format!("; it goes on with: serialproxy resume {}", word(server));
            return format!("{reason}{}", if goes_on { hint } else { String::new() });
        }
        LineState::Connected => return "the guest is connected".into(),
        LineState::Waiting if reason.ends_with(Status::Shutoff.as_str()) => {
            let server = word(server);
            return format!("{reason}: waiting; start it with: serialproxy start {server}");
        }
        LineState::Waiting => "waiting for the guest",
        LineState::Failed => "the guest cannot be reached, trying again",
    };
    with_reason(state.to_owned(), Some(reason))
}

pub(crate) fn lost(cause: &str, limit: Duration) -> String {
    let limit = limit.as_secs();
    format!(
        "connection lost: {cause}. Connecting again, for up to {limit} s; what you type until then is \
         dropped"
    )
}

pub(crate) fn again(failure: &Failure, pause: Duration) -> String {
    format!("trying again in {:.1} s: {failure}", pause.as_secs_f32())
}

pub(crate) fn ended(reason: &str) -> String {
    with_reason("the console ended".to_owned(), Some(reason))
}

/// Input that went with a session that the proxy does not know any more, or with the pen.
pub(crate) fn input_lost(bytes: usize) -> String {
    format!(
        "whether the last {} bytes that you typed reached the guest is not \
         known, and they are not sent again",
        grouped(bytes as u64)
    )
}

pub(crate) fn paste_stopped(left: usize) -> String {
    format!("the paste is stopped: {} bytes of it were not sent", grouped(left as u64))
}

/// Who is attached, as the last `viewers` message said it.
pub(crate) fn who(count: u64, who: &[Viewer], me: SessionId) -> String {
    let name = |viewer: &Viewer| {
        let does = match viewer.mode {
            Mode::Write => "writes",
            Mode::Watch => "watches",
        };
        let lost = if viewer.detached { ", lost the connection" } else { "" };
        let you = if viewer.session == me { ", that is you" } else { "" };
        format!("{} ({does}{lost}{you})", viewer.user)
    };
    let names: Vec<String> = who.iter().map(name).collect();
    match count.saturating_sub(who.len() as u64) {
        0 => format!("attached: {}", names.join(", ")),
        more if names.is_empty() => format!("attached: {more}"),
        more => format!("attached: {}, and {more} more", names.join(", ")),
    }
}

/// What a control message says to the person, if anything.
pub(crate) fn message(message: &ServerMessage, reader: Reader<'_>) -> Option<String> {
    match message {
        ServerMessage::State { state: LineState::Connected, cause: None, .. }
            if reader.guest.cause == Some(Cause::Paused) =>
        {
            Some("the guest goes on".into())
        }
        ServerMessage::State { state: now, reason, cause } => {
            let guest = Guest { state: *now, cause: *cause };
            Some(state(guest, reason, reader.server))
        }
        ServerMessage::Epoch { .. } => Some("the guest started again".into()),
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
                let hint = reader.escapes.hint(": ~p takes it back at once");
                let hint = if reader.may_write { hint } else { String::new() };
                format!("your other session lost the connection, free in {seconds} s{hint}")
            }
            false => format!("{holder} lost the connection: the console is free in {seconds} s"),
        }),
        ServerMessage::Pen { holder: Some(holder), cause: Some(Cause::Resumed), .. }
            if reader.watching =>
        {
            Some(format!("{holder} is connected again"))
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
                PenState::Free if !reader.may_write => "nobody writes now".to_owned(),
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
    /// When silence grants what is asked for.
    silence: String,
}

impl Pen<'_> {
    /// `watching` is how it was before the message.
    fn text(&self, state: PenState, watching: bool) -> Option<String> {
        let Self { mine, holder, by, silence, escapes } = self;
        Some(match (state, mine, watching) {
            (PenState::Free, _, true) => {
                format!("nobody writes now{}", escapes.hint(": ~p takes the console"))
            }
            (PenState::Free, _, false) => {
                let hint = escapes.hint("; ~p takes it again");
                format!("you gave the console back and only watch{hint}")
            }
            (PenState::Held, Some(true), true) => "you write now".to_owned(),
            // An answer of their own to a request, or nothing new.
            (PenState::Held, Some(true) | None, false) => return None,
            (PenState::Held, _, true) => format!("{holder} writes"),
            (PenState::Lost, ..) | (PenState::Held, Some(false), false) => {
                format!("{holder} writes now, you only watch")
            }
            (PenState::Requested, Some(true), _) => {
                format!("{holder} is asked; silence gives you the console {silence}")
            }
            (PenState::Requested, _, false) => {
                let hint = escapes.hint(": ~g gives, ~d keeps");
                format!("{by} asks to write{hint}; silence gives it {silence}")
            }
            (PenState::Requested, _, true) => format!("{by} asks {holder} to write"),
        })
    }
}

fn with_reason(text: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) if !reason.is_empty() => format!("{text}: {reason}"),
        _ => text,
    }
}
