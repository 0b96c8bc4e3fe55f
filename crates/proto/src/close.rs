//! WebSocket close codes (RFC 6455 section 7.4): the only place that knows the numbers.

use crate::cause::Cause;

/// Why a session ended, as the code of the Close frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseCode {
    /// 1000: the session or its static target ended normally.
    Normal,
    /// 1002: the client broke RFC 6455.
    ProtocolError,
    /// 1007: a text message was not UTF-8.
    BadText,
    /// 1009: a message was too large.
    TooBig,
    /// 1011: internal error.
    InternalError,
    /// 4001: token missing, unknown or expired.
    Token,
    /// 4002: origin or mode not allowed.
    Forbidden,
    /// 4003: no such line, or its server was deleted.
    NoSuchLine,
    /// 4004: someone else is typing.
    Busy,
    /// 4005: someone else took the pen (raw).
    TakenOver,
    /// 4006: an administrator ended the session.
    Disconnected,
    /// 4007: no sign of life for too long.
    Idle,
    /// 4008: the session's time is over.
    SessionLimit,
    /// 4009: the guest stopped (raw).
    GuestStopped,
    /// 4011: the viewer reads too slowly.
    TooSlow,
    /// 4012: the proxy shuts down or is drained; reconnect at once.
    Draining,
    /// 4013: the guest's port cannot be reached.
    Unreachable,
    /// 4014: the server's host does not respond; try again.
    HostLost,
    /// 4015: the server's host is drained, and takes no new sessions.
    HostDraining,
}

impl CloseCode {
    /// Its cause, for programs; of a normal end, that the user left.
    pub fn cause(self) -> Cause {
        match self {
            Self::Normal => Cause::Left,
            Self::ProtocolError | Self::BadText | Self::TooBig => Cause::Handshake,
            Self::InternalError => Cause::Store,
            Self::Token => Cause::Token,
            Self::Forbidden => Cause::Mode,
            Self::NoSuchLine => Cause::Gone,
            Self::Busy => Cause::Busy,
            Self::TakenOver | Self::Disconnected => Cause::Forced,
            Self::Idle => Cause::Silent,
            Self::SessionLimit | Self::TooSlow => Cause::Limit,
            Self::GuestStopped => Cause::Stopped,
            Self::Draining | Self::HostDraining => Cause::Draining,
            Self::Unreachable => Cause::Unreachable,
            Self::HostLost => Cause::HostLost,
        }
    }

    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::ProtocolError => 1002,
            Self::BadText => 1007,
            Self::TooBig => 1009,
            Self::InternalError => 1011,
            Self::Token => 4001,
            Self::Forbidden => 4002,
            Self::NoSuchLine => 4003,
            Self::Busy => 4004,
            Self::TakenOver => 4005,
            Self::Disconnected => 4006,
            Self::Idle => 4007,
            Self::SessionLimit => 4008,
            Self::GuestStopped => 4009,
            Self::TooSlow => 4011,
            Self::Draining => 4012,
            Self::Unreachable => 4013,
            Self::HostLost => 4014,
            Self::HostDraining => 4015,
        }
    }
}

/// The end of a session: code and reason, as its Close frame carries them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Close {
    /// The code.
    pub code: CloseCode,
    /// In words, for a person.
    pub reason: String,
}

impl Close {
    /// A close with its reason.
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The reason cut to the 123 bytes that a Close frame has room for (RFC 6455 section 5.5),
    /// at a character's border.
    pub fn wire_reason(&self) -> &str {
        let mut end = self.reason.len().min(123);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        self.reason.get(..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let close = Close::new(CloseCode::Busy, "é".repeat(100));
        assert_eq!(close.wire_reason().len(), 122);
    }
}
