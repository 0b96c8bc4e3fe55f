//! The location of a server's port as Nova told it, and the right to use the port.

use std::sync::Arc;
use std::time::Duration;

use serialproxy_line::Permit;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::ServerId;
use tokio::time::Instant;

/// How long an answer of Nova about a server is used again, so that one attach does not ask several times.
pub(crate) const FRESH: Duration = Duration::from_secs(2);

/// The location of a server's port when Nova was asked.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) server: ServerRef,
    pub(crate) endpoint: Endpoint,
    /// When the server last changed, as Nova writes it, to the second.
    pub(crate) updated: Option<String>,
    pub(crate) seen: Instant,
}

/// The right of this proxy, one of several, to use a port.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) target: String,
    pub(crate) permit: Arc<dyn Permit>,
}

impl Located {
    /// Whether the answer is recent enough to use.
    pub(crate) fn is_fresh(&self) -> bool {
        self.seen.elapsed() < FRESH
    }

    /// The name of its port among the proxies.
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
