//! The stored form of a console session.

use jiff::Timestamp;

use crate::id::LineKey;
use crate::id::LinkId;
use crate::id::SessionId;
use crate::token::Mode;
use crate::token::TokenDigest;

/// The part of a `console.v1` session that its client needs to resume after a restart of the
/// server. Output and input are not included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptSession {
    /// The session.
    pub id: SessionId,
    /// The line that it is attached to.
    pub line: LineKey,
    /// Digests of the keys with which its client may resume, the oldest first.
    pub keys: Vec<TokenDigest>,
    /// Digest of the token that it attached with.
    pub token: TokenDigest,
    /// The project that its grant names, if any.
    pub project: Option<String>,
    /// Its user.
    pub user: String,
    /// The most that its user may do.
    pub may: Mode,
    /// Whether its user may take the pen from others, and control the guest's power.
    pub operator: bool,
    /// When it ends at the latest.
    pub limit: Option<Timestamp>,
    /// When it began.
    pub since: Timestamp,
    /// Whether it holds the pen.
    pub writes: bool,
    /// The address of its last connection.
    pub address: String,
    /// Id of the shared link that opened it, if any.
    pub link: Option<LinkId>,
}

impl KeptSession {
    /// Whether its time limit is reached.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.limit.is_some_and(|limit| limit <= now)
    }
}
