//! `[audit]`: the audit trail.

use std::time::Duration;

/// `[audit]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Audit {
    /// Whether nothing may happen without being recorded.
    pub required: bool,
    /// Bytes of a file at most.
    pub max_size: u64,
    /// When a file is closed, and how long it is kept then.
    pub max_age: Duration,
    /// The server that gets the events as well.
    pub syslog: Option<SyslogServer>,
}

/// A syslog server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SyslogServer {
    /// Whether it is spoken to with TLS.
    pub tls: bool,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            required: false,
            max_size: 64 * 1024 * 1024,
            max_age: Duration::from_secs(90 * 24 * 3600),
            syslog: None,
        }
    }
}
