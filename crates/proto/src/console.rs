//! Control messages of the `console.v1` WebSocket subprotocol: JSON text frames, beside the binary
//! frames for the bytes. Both sides ignore messages of an unknown `type`.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::cause::Cause;
use crate::id::ServerId;
use crate::id::SessionId;
use crate::terminal::TerminalSettings;
use crate::times::optional_precise_time;
use crate::times::optional_time;
use crate::times::precise_time;
use crate::token::Mode;

/// Name of the subprotocol in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "console.v1";

/// A message from the server.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerMessage {
    /// The first message.
    Hello(Hello),
    /// The line's connection to the guest changed.
    State {
        /// The present state.
        state: LineState,
        /// In words, for a person.
        reason: String,
        /// The cause, if bytes do not flow or the guest is paused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
    /// The guest has booted again, at about this offset; counted from 1.
    Epoch {
        /// Boots so far.
        epoch: u64,
        /// Offset of the line at the boot.
        offset: u64,
    },
    /// Bytes that are no longer kept.
    Gap {
        /// First missing offset.
        from: u64,
        /// Offset of the first byte that follows.
        to: u64,
    },
    /// The next `bytes` bytes are replay: a terminal must not answer queries in them.
    Replay {
        /// The kind of replay.
        kind: ReplayKind,
        /// How many bytes of the following binary frames belong to it.
        bytes: u64,
        /// The offset of the line where live bytes continue.
        offset: u64,
        /// Of a screen: the offset of the first byte of output that it was painted from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        /// Of a screen: the boots whose rows it shows.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        boots: Vec<PaintedBoot>,
    },
    /// The pen changed.
    Pen {
        /// The state of the pen, as this session sees it.
        state: PenState,
        /// The session that holds it or, for `requested`, the one that asks. The user's name does
        /// not distinguish two windows of one user.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        /// The user who holds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holder: Option<String>,
        /// Since when.
        #[serde(
            default,
            serialize_with = "optional_time",
            skip_serializing_if = "Option::is_none"
        )]
        since: Option<Timestamp>,
        /// The user who caused the change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// The reason that this user gave.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The cause, if the pen changed hands or a request was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
        /// For `requested`: seconds after which the pen is granted without an answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
        /// If its holder lost the connection: seconds until the pen is free, unless the holder
        /// resumes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        free_in: Option<u64>,
        /// In this case: seconds since the last sign of life of its holder's client, unless the
        /// server was restarted since then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen_ago: Option<u64>,
        /// Whether its holder is another session of the client's own user.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        own: bool,
        /// Before a refusal: the actions that the client's user may take, as in `hello`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        can: Vec<Action>,
    },
    /// How many sessions are attached, the writer included.
    Viewers {
        /// The number.
        count: u64,
        /// The first [`VIEWERS`] of them, the writer first.
        #[serde(default)]
        who: Vec<Viewer>,
    },
    /// The writer's grid, to which watchers scale their view.
    Size(Size),
    /// Input up to this offset is settled.
    Ack {
        /// Count of input bytes of the session.
        input: u64,
    },
    /// A request that could not be met; the session goes on.
    Error {
        /// In words, for a person.
        message: String,
    },
    /// Unsolicited information.
    Notice {
        /// In words, for a person.
        message: String,
    },
    /// The answer to `link`.
    Link {
        /// A console URL with which anyone can watch this line.
        url: String,
        /// How many seconds it is valid.
        seconds: u64,
    },
    /// The answer to `ping`.
    Pong {
        /// The id of the ping.
        id: u64,
    },
    /// The answer to `boots`.
    Boots(Boots),
    /// The answer to `times`.
    Times(Times),
    /// A message of a newer server.
    #[serde(other)]
    Unknown,
}

/// The boots of a line's guest.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Boots {
    /// The oldest byte of output that is still kept.
    #[serde(default)]
    pub first: u64,
    /// The last boots, in their order.
    pub boots: Vec<Boot>,
}

/// A boot of a line's guest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Boot {
    /// Its number, from 1.
    pub epoch: u64,
    /// About where its output begins.
    pub offset: u64,
    /// When it began.
    #[serde(serialize_with = "precise_time")]
    pub time: Timestamp,
    /// How it began.
    pub reason: BootReason,
    /// The version of its kernel, if it has printed that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
}

/// A boot in a painted screen.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PaintedBoot {
    /// Its number.
    pub epoch: u64,
    /// How many of the painted bytes come before its rows.
    pub at: u64,
}

/// How a boot began.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BootReason {
    /// The server was switched on.
    Started,
    /// The running guest rebooted or was reset.
    Rebooted,
}

/// When output arrived.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Times {
    /// The first offset that was asked for.
    pub from: u64,
    /// The times are those of all kept output up to here.
    pub to: u64,
    /// The times, ordered by offset.
    pub times: Vec<Arrival>,
}

/// From an offset on, output arrived at a time, or less than 10 ms later.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Arrival {
    /// Offset of the first byte.
    pub offset: u64,
    /// The time; none where it is not known.
    #[serde(
        default,
        serialize_with = "optional_precise_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub time: Option<Timestamp>,
}

/// Most sessions that a `viewers` message names.
pub const VIEWERS: usize = 20;

/// An attached person or program, as the others see it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Viewer {
    /// The session.
    pub session: SessionId,
    /// Its user.
    pub user: String,
    /// `write` for the one that holds the pen.
    pub mode: Mode,
    /// Whether its connection is lost, so that it may resume.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
}

/// A terminal's grid.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Size {
    /// Rows, from 1.
    pub rows: u16,
    /// Columns, from 1.
    pub cols: u16,
}

/// The first message of a `console.v1` session.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Hello {
    /// This session.
    pub session: SessionId,
    /// The line id: changes whenever the count of offsets starts at 0 again.
    pub line: Uuid,
    /// Name and id of the server.
    pub server: ServerRef,
    /// Index of the serial port.
    pub port: u8,
    /// The session's user.
    pub user: String,
    /// The session's present mode.
    pub mode: Mode,
    /// The line's connection to the guest.
    pub state: LineState,
    /// The state in words.
    pub reason: String,
    /// The cause, if bytes do not flow or the guest is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Guest boots so far.
    pub epoch: u64,
    /// Offset of the line at the last boot.
    #[serde(default)]
    pub epoch_offset: u64,
    /// Offset of the first byte that follows.
    pub offset: u64,
    /// Input bytes that the server already has from this session.
    pub input: u64,
    /// The key for resuming after the connection was lost. It is valid once: the next `hello`
    /// contains another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// How many seconds after its last sign of life a session can resume.
    #[serde(default)]
    pub grace: u64,
    /// The actions that the session's user may take.
    pub can: Vec<Action>,
    /// Whether Nova creates the console URLs, so that a session cannot ask for a link.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nova: bool,
    /// Whether a shared link opened the session, so that it cannot ask for a link.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// The line's requirements for terminals.
    #[serde(default, skip_serializing_if = "TerminalSettings::is_empty")]
    pub terminal: TerminalSettings,
}

/// A server's id and name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerRef {
    /// UUID.
    pub id: ServerId,
    /// The name that people use.
    pub name: String,
}

/// The state of a line's connection to its guest.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LineState {
    /// The guest does not run, or the line is about to connect.
    Waiting,
    /// Bytes flow.
    Connected,
    /// The guest runs and its port cannot be reached; the line tries again with backoff.
    Failed,
}

/// The kind of bytes that a `replay` message announces.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayKind {
    /// Bytes that paint the current screen; they do not change the offset.
    Screen,
    /// Bytes of the history, which have their own offsets.
    History,
}

/// The pen as one session sees it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PenState {
    /// No session writes.
    Free,
    /// `holder` writes.
    Held,
    /// `by` asks for it. The holder may grant or deny; without an answer it is granted.
    Requested,
    /// This session has just lost it.
    Lost,
}

/// An action that a user may take. Those of a session are in addition to watching.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Watch a console.
    Watch,
    /// Type.
    Write,
    /// Take the pen from someone.
    Force,
    /// Start, stop, reset, SysRq, NMI.
    Power,
    /// Operations on the hypervisor, such as adopt.
    Admin,
}

/// A message from the client.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientMessage {
    /// Requests, releases or takes the pen.
    Pen {
        /// What to do.
        #[serde(rename = "do")]
        action: PenAction,
        /// The reason, for the user who loses it.
        #[serde(default)]
        reason: Option<String>,
    },
    /// The first message after resuming: the offset of the next input byte in the session's count.
    /// The server drops bytes that it has already.
    Input {
        /// Count of input bytes of the session.
        offset: u64,
    },
    /// This session's grid.
    Size(Size),
    /// Sends a break condition to the guest.
    Break,
    /// Sends a magic SysRq to the guest.
    Sysrq {
        /// The command key, for example `b`.
        key: char,
    },
    /// Changes the server's power state.
    Power {
        /// What to do.
        #[serde(rename = "do")]
        action: PowerAction,
    },
    /// Requests a URL with which another person can watch.
    Link,
    /// Requests a `pong`: measures the time of a key to the server and back.
    Ping {
        /// Repeated in the answer.
        id: u64,
    },
    /// Requests `boots`.
    Boots,
    /// Requests `times`.
    Times {
        /// Offset of the first byte.
        from: u64,
        /// Offset after the last byte.
        to: u64,
    },
    /// Flow control: this session has shown everything up to `offset`.
    Ack {
        /// Offset of the line.
        offset: u64,
    },
    /// A message of a newer client.
    #[serde(other)]
    Unknown,
}

/// An operation on the pen.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PenAction {
    /// Take it if it is free; otherwise ask its holder.
    Request,
    /// Release it.
    Release,
    /// Hand it to the session that asks.
    Grant,
    /// Keep it.
    Deny,
    /// Take it from its holder.
    Force,
    /// Take it if it is free or another session of the same user holds it; otherwise nothing
    /// changes.
    Take,
}

/// An operation on the server's power from its console.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerAction {
    /// Start it.
    Start,
    /// Ask the guest to shut down; cut its power if it does not in time.
    Stop,
    /// Ask the guest to reboot.
    Reboot,
    /// Press the reset button.
    Reset,
    /// Send a non-maskable interrupt.
    Nmi,
    /// Stop its CPUs.
    Pause,
    /// Resume a paused server.
    Resume,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_message_is_recognized_as_such() {
        let message: ClientMessage = serde_json::from_str(r#"{"type":"dance","x":1}"#).unwrap();
        assert_eq!(message, ClientMessage::Unknown);
    }

    #[test]
    fn messages_carry_their_type() {
        let text = serde_json::to_string(&ServerMessage::Gap { from: 1, to: 9 }).unwrap();
        assert_eq!(text, r#"{"type":"gap","from":1,"to":9}"#);
        let pen: ClientMessage = serde_json::from_str(r#"{"type":"pen","do":"force"}"#).unwrap();
        assert_eq!(pen, ClientMessage::Pen { action: PenAction::Force, reason: None });
    }
}
