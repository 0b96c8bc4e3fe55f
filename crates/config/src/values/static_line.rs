//! What `[static] line` holds.

use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::terminal::TerminalSettings;

/// `[static] line = NAME[:PORT] ENDPOINT [SETTING=VALUE…]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StaticLine {
    /// Name of the server.
    pub name: String,
    /// Index of the port.
    pub port: u8,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Defaults for the terminals of its users.
    pub terminal: TerminalSettings,
}
