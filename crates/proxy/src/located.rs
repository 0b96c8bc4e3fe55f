//! Where the port of a Nova's server was when the proxy asked, and the right to use it.

use std::sync::Arc;
use std::time::Duration;

use serialproxy_line::Permit;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::ServerId;
use tokio::time::Instant;

/// How long Nova's answer about a server counts: an attach asks once, not once more for each connect.
const FRESH: Duration = Duration::from_secs(2);

/// Where a server's port was when somebody asked.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) server: ServerRef,
    pub(crate) endpoint: Endpoint,
    /// When the server last changed, in Nova's words: to the second.
    pub(crate) updated: Option<String>,
    pub(crate) seen: Instant,
}

/// The right to use a port, of several proxies.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) target: String,
    pub(crate) permit: Arc<dyn Permit>,
}

impl Located {
    /// Whether it still counts.
    pub(crate) fn is_fresh(&self) -> bool {
        self.seen.elapsed() < FRESH
    }

    /// What the proxies call its port among each other.
    pub(crate) fn target(&self) -> String {
        target(self.server.id, &self.endpoint)
    }
}

impl Offer {
    pub(crate) fn is_of(&self, target: &str) -> bool {
        self.target == target && self.permit.is_good()
    }
}

/// The name of a port among the proxies. A server has as many ports as it was started on.
pub(crate) fn target(server: ServerId, endpoint: &Endpoint) -> String {
    let (Endpoint::Tcp { port, .. } | Endpoint::Tunnel { port, .. }) = endpoint else {
        return server.to_string();
    };
    format!("{server}-{port}")
}
