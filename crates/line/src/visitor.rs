//! Who attaches to a line, and how.

use jiff::Timestamp;
use serialproxy_limits::Source;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::console::Size;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;
use uuid::Uuid;

/// The client that attaches, and how.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The project for whose server the grant is; none where grants name none.
    pub project: Option<String>,
    /// The digest of the token: sessions that have the same one count together.
    pub token: TokenDigest,
    /// The user.
    pub user: String,
    /// `Write` asks for the pen.
    pub mode: Mode,
    /// The most that the user may do.
    pub may: Mode,
    /// Whether the user may take the pen from someone, and control the guest's power.
    pub operator: bool,
    /// Whether a stopped guest may be attached to (`console.v1`).
    pub wait: bool,
    /// When the session ends whatever it does.
    pub limit: Option<Timestamp>,
    /// What the connection speaks.
    pub protocol: Protocol,
    /// Where it comes from, as people read it.
    pub address: String,
    /// Where it comes from, as sessions are counted; none where they are not.
    pub source: Option<Source>,
    /// Where the output begins.
    pub start: Start,
    /// The time of now.
    pub now: Timestamp,
}

/// Where a session's output begins. On `console.v1` what was printed before the session attached is
/// announced as replay, so that no terminal answers queries in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// With what is printed from now on.
    Live,
    /// With the first byte of the line's connection to its port, for who waited for that.
    Connection,
    /// With the screen as it is now, and some rows above it (`console.v1`).
    Screen {
        /// The client's grid; none where it is yet to say it.
        size: Option<Size>,
        /// Whether the client shows the writer's grid while somebody else writes.
        follows: bool,
    },
    /// With the oldest byte that is kept.
    Oldest,
    /// With the byte of an offset.
    Offset {
        /// The offset.
        offset: u64,
        /// The line id in whose count it is; with another one the output begins at the oldest.
        line: Option<Uuid>,
    },
}
