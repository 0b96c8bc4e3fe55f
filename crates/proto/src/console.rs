//! Control messages of the `console.v1` WebSocket subprotocol: JSON text frames beside the
//! binary frames that carry the bytes. Both sides ignore a message whose `type` they don't know.

use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::cause::Cause;
use crate::id::ServerId;
use crate::id::SessionId;
use crate::terminal::TerminalSettings;
use crate::token::Mode;

/// Name of the subprotocol in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "console.v1";

/// What the server says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerMessage {
    /// Always first.
    Hello(Hello),
    /// The line's connection to the guest changed.
    State {
        /// Where it stands now.
        state: LineState,
        /// In words, for a person.
        reason: String,
        /// Why, where bytes do not flow, or the guest is paused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
    /// The guest started again: counts from 1 more, at about this offset.
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
        /// What is replayed.
        kind: ReplayKind,
        /// How many bytes of the following binary frames belong to it.
        bytes: u64,
        /// Offset of the line where the live bytes go on.
        offset: u64,
    },
    /// The pen changed.
    Pen {
        /// How it stands, as this session sees it.
        state: PenState,
        /// The session that holds it or, where it is `requested`, the one that asks: a name alone
        /// does not tell two windows of one user apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        /// Who holds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holder: Option<String>,
        /// Who caused the change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// Why, in the words of who caused it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Why, where it changed hands or somebody was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
        /// Where it is `requested`: seconds of silence after which it is granted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
        /// Where its holder lost the connection: seconds until it is free, unless the holder comes back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        free_in: Option<u64>,
        /// Whether its holder is another session of the client's own user.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        own: bool,
        /// Before a refusal: what the client's user may do, as in `hello`.
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
    /// The grid of who writes, which watchers scale theirs to.
    Size(Size),
    /// Input up to this offset was handed to the guest.
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
    /// The answer to a `link`.
    Link {
        /// A console URL with which anyone watches this line.
        url: String,
        /// For how many seconds it is good.
        seconds: u64,
    },
    /// The answer to a `ping`.
    Pong {
        /// The ping's.
        id: u64,
    },
    /// A message of a newer server.
    #[serde(other)]
    Unknown,
}

/// Sessions that a `viewers` message names at most.
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
    /// Whether its connection is lost, and may come back.
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
    /// Whom the server takes us for.
    pub user: String,
    /// What the session may do now.
    pub mode: Mode,
    /// The line's connection to the guest.
    pub state: LineState,
    /// The state in words.
    pub reason: String,
    /// Why, where bytes do not flow, or the guest is paused.
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
    /// Key for coming back after a dropped connection, good for one time: the next `hello` brings
    /// another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// Seconds after its last sign of life for which a dropped session can come back.
    #[serde(default)]
    pub grace: u64,
    /// What the session's user may do.
    pub can: Vec<Action>,
    /// Whether Nova creates the console URLs, so that a session cannot ask for a link.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nova: bool,
    /// What the line wants of terminals.
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

/// Where a line's connection to its guest stands.
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

/// What a `replay` message announces.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayKind {
    /// Bytes that paint the current screen; they do not count as offset.
    Screen,
    /// Bytes of the history, with their own offsets.
    History,
}

/// The pen as one session sees it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PenState {
    /// Nobody writes.
    Free,
    /// `holder` writes.
    Held,
    /// `by` asks for it: the holder may grant or deny, and silence grants.
    Requested,
    /// This session wrote until now.
    Lost,
}

/// Something a user may do. A session's own are those beside watching.
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
    /// What concerns the hypervisor: adopt, for example.
    Admin,
}

/// What the client says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientMessage {
    /// Asks for, gives back or takes the pen.
    Pen {
        /// What to do.
        #[serde(rename = "do")]
        action: PenAction,
        /// Why, for the one who loses it.
        #[serde(default)]
        reason: Option<String>,
    },
    /// First after coming back: where the next byte of input belongs in the session's count. What
    /// the server has of it already is dropped.
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
    /// Asks for a URL with which someone else can watch.
    Link,
    /// Asks for a `pong`: what a key needs to the server and back.
    Ping {
        /// Comes back in the answer.
        id: u64,
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

/// What a client may do with the pen.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PenAction {
    /// Take it when it is free, else ask its holder.
    Request,
    /// Give it back.
    Release,
    /// Hand it to who asks.
    Grant,
    /// Keep it.
    Deny,
    /// Take it from its holder.
    Force,
}

/// What may be done to a server's power from its console.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerAction {
    /// Start it.
    Start,
    /// Ask the guest to shut down; cut its power when it does not in time.
    Stop,
    /// Ask the guest to reboot.
    Reboot,
    /// Press the reset button.
    Reset,
    /// Send a non-maskable interrupt.
    Nmi,
    /// Stop its CPUs.
    Pause,
    /// Let a paused server go on.
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
