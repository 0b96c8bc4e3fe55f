//! The client that attaches to a line, and its options.

use jiff::Timestamp;
use serialproxy_limits::Source;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::console::Size;
use serialproxy_proto::id::LinkId;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;
use uuid::Uuid;

/// The client that attaches, and its options.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The project of the server that the grant is for; none where the grant names none and is for the
    /// server alone, whose project does not change: Nova's.
    pub project: Option<String>,
    /// The digest of the token. Sessions with the same token count together.
    pub token: TokenDigest,
    /// The user.
    pub user: String,
    /// `Write` asks for the pen.
    pub mode: Mode,
    /// Whether it watches, instead of being refused, where another session has the pen.
    pub yields: bool,
    /// The greatest mode that the user may have.
    pub may: Mode,
    /// Whether the user may take the pen from another session, and control the guest's power.
    pub operator: bool,
    /// Whether a stopped guest may be attached to (`console.v1`).
    pub wait: bool,
    /// Id of the shared link whose token it is, if any.
    pub link: Option<LinkId>,
    /// When the session ends at the latest.
    pub limit: Option<Timestamp>,
    /// The connection's protocol.
    pub protocol: Protocol,
    /// Its address, as people read it.
    pub address: String,
    /// Its address, for the limit on sessions; none where there is no limit.
    pub source: Option<Source>,
    /// Where the output begins.
    pub start: Start,
    /// The present time.
    pub now: Timestamp,
}

/// Where a session's output begins. On `console.v1`, output from before the session is marked as
/// replay, so that no terminal responds to queries in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// With the next output.
    Live,
    /// With the first byte of the line's connection to its port, for clients that waited for it.
    Connection,
    /// With the present screen and some rows above it (`console.v1`).
    Screen {
        /// The client's grid; none where the client has not sent it yet.
        size: Option<Size>,
        /// Whether the client shows the writer's grid while another session writes.
        follows: bool,
    },
    /// With the oldest byte that is kept.
    Oldest,
    /// With the byte at an offset.
    Offset {
        /// The offset.
        offset: u64,
        /// The id of the line that the offset counts in; for another line, the output begins at the
        /// oldest byte.
        line: Option<Uuid>,
    },
}
