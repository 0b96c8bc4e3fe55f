//! Why an attach is refused.
//!
//! On the raw protocol a refusal is an HTTP status before the upgrade; on `console.v1` it is a
//! close code after it, since browsers hide the status of a failed handshake.

use jiff::Timestamp;

use crate::cause::Cause;
use crate::close::Close;
use crate::close::CloseCode;
use crate::console::Action;
use crate::id::SessionId;
use crate::times::rfc3339;

/// A refused attach. Its text is what the user reads.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// An invalid query parameter or header.
    #[error("{0}")]
    BadRequest(String),
    /// Missing, unknown and expired tokens all give the same answer.
    #[error("token missing, unknown or expired: ask for a new console URL")]
    Token,
    /// The key of a session that is over, or of none.
    #[error("resume key unknown or expired: attach again with the console URL")]
    Resume,
    /// The page that opened the connection has an origin that is not allowed.
    #[error("{0}")]
    Origin(String),
    /// The grant does not cover the mode that was asked for.
    #[error("this token only allows watching: ask for a console URL that allows typing")]
    Mode,
    /// The server is gone or has no such port.
    #[error("{0}")]
    NoSuchLine(String),
    /// Another session holds the pen.
    #[error("busy: {user} since {}{}", rfc3339(*.since), lost(*.free_in))]
    Busy {
        /// The session that writes.
        session: SessionId,
        /// Who writes.
        user: String,
        /// Since when.
        since: Timestamp,
        /// Whether it is the user who attaches.
        own: bool,
        /// Where its connection is lost: seconds until the pen is free, unless it comes back.
        free_in: Option<u64>,
        /// In this case: seconds since the last sign of life of its client, where it is known.
        seen_ago: Option<u64>,
        /// What the user who attaches may do, beside watching.
        can: Vec<Action>,
    },
    /// The guest is not running.
    #[error("stopped: server is {status}")]
    Stopped {
        /// The server's status in Nova's words, for example `SHUTOFF`.
        status: String,
    },
    /// A task or a state of the server leaves it without a reachable guest.
    #[error("unreachable: the server is {status}: try again when that has finished")]
    Away {
        /// The server's status in Nova's words, for example `MIGRATING (migrating)`.
        status: String,
    },
    /// The guest runs and its port cannot be reached.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The guest runs and another program holds its port.
    #[error("held: {0}")]
    Held(String),
    /// A service that is needed is down; the client can retry.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// What happens here could not be recorded; the client can retry.
    #[error(
        "audit: sessions cannot be recorded in the audit trail now, so none begins: try again later"
    )]
    Audit,
    /// The server's host does not respond; the client can retry.
    #[error("host lost: {0}")]
    HostLost(String),
    /// The line already has as many sessions as it may have.
    #[error("too many sessions: {0}")]
    TooMany(String),
    /// The proxy shuts down, or is drained.
    #[error("draining: this proxy takes no sessions now, connect again")]
    Draining,
    /// The server's host is drained: sessions that it has go on.
    #[error("draining: the host of this server is being drained and takes no new sessions")]
    HostDraining,
}

impl Refusal {
    /// Its cause, for programs.
    pub fn cause(&self) -> Cause {
        match self {
            Self::BadRequest(_) => Cause::Handshake,
            Self::Token | Self::Resume => Cause::Token,
            Self::Origin(_) => Cause::Origin,
            Self::Mode => Cause::Mode,
            Self::NoSuchLine(_) => Cause::Gone,
            Self::Busy { .. } => Cause::Busy,
            Self::Stopped { .. } => Cause::Stopped,
            Self::Unreachable(_) | Self::Away { .. } => Cause::Unreachable,
            Self::Held(_) => Cause::Held,
            Self::Unavailable(_) => Cause::Store,
            Self::Audit => Cause::Audit,
            Self::HostLost(_) => Cause::HostLost,
            Self::TooMany(_) => Cause::Limit,
            Self::Draining | Self::HostDraining => Cause::Draining,
        }
    }

    /// The same refusal for a connection that was accepted first.
    pub fn close(&self) -> Close {
        let code = match self {
            Self::BadRequest(_) => CloseCode::ProtocolError,
            Self::Token | Self::Resume => CloseCode::Token,
            Self::Origin(_) | Self::Mode => CloseCode::Forbidden,
            Self::NoSuchLine(_) => CloseCode::NoSuchLine,
            Self::Busy { .. } => CloseCode::Busy,
            Self::Stopped { .. } => CloseCode::GuestStopped,
            Self::Unreachable(_) | Self::Away { .. } | Self::Held(_) => CloseCode::Unreachable,
            Self::TooMany(_) => CloseCode::SessionLimit,
            Self::Unavailable(_) | Self::Audit => CloseCode::InternalError,
            Self::HostLost(_) => CloseCode::HostLost,
            Self::Draining => CloseCode::Draining,
            Self::HostDraining => CloseCode::HostDraining,
        };
        Close::new(code, self.to_string())
    }
}

/// What is said of a holder of the pen who lost the connection.
fn lost(free_in: Option<u64>) -> String {
    free_in.map_or_else(String::new, |seconds| format!(" ({})", lost_connection(seconds)))
}

/// What is said of a session whose connection is lost, and whose pen is free in so many seconds.
pub fn lost_connection(free_in: u64) -> String {
    format!("lost the connection, free in {free_in} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_names_the_holder_and_since_when() {
        let since: Timestamp = "2026-11-22T09:00:00.7Z".parse().unwrap();
        let busy = |free_in| {
            let (session, user) = (SessionId::new(), "alice".into());
            let (seen_ago, can) = (None, Vec::new());
            Refusal::Busy { session, user, since, own: false, free_in, seen_ago, can }
        };
        assert_eq!(busy(None).to_string(), "busy: alice since 2026-11-22T09:00:00Z");
        assert_eq!(busy(None).close().code.number(), 4004);
        let lost = "busy: alice since 2026-11-22T09:00:00Z (lost the connection, free in 40 s)";
        assert_eq!(busy(Some(40)).to_string(), lost);
    }
}
