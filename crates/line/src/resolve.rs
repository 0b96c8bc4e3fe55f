//! What a line asks about its port.

use std::fmt;
use std::sync::Arc;

use serialproxy_proto::api::Status;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;

/// Why a line has no endpoint now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unresolved {
    /// The guest does not run.
    Stopped(Status),
    /// The server or its port is gone.
    Gone(String),
    /// It could not be determined; another try may succeed.
    Failed(String),
    /// The port may not be used until something else is back; another try may succeed.
    Waits(String),
}

/// The right to use a port that may be given to another process. It is kept while the port is
/// connected.
pub trait Permit: fmt::Debug + Send + Sync {
    /// Whether it is valid now. This is checked before each write, since a process can be stopped
    /// for any time.
    fn is_good(&self) -> bool;

    /// Waits until it is not valid any more.
    fn ended(&self) -> BoxFuture<'_, ()>;
}

/// Knows the addresses of lines' ports. It is asked before every connection, and once more after
/// it, so that a line never stays connected to a guest that took over another guest's port.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The address of the *running* guest's port.
    fn resolve(&self, line: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>>;

    /// The name of the line's claim, which one process of this host holds at a time. Where a
    /// server's id is not unique, the name includes the endpoint ([`crate::claim_at`]).
    fn claim(&self, line: LineKey, endpoint: &Endpoint) -> String {
        let _ = endpoint;
        format!("{}-{}", line.server, line.port)
    }

    /// The permit for the port that was resolved last, where one is needed.
    fn permit(&self, line: LineKey) -> Option<Arc<dyn Permit>> {
        let _ = line;
        None
    }

    /// Called when the port was closed; an error where the line has no endpoint any more.
    fn closed(&self, line: LineKey) -> BoxFuture<'_, Result<(), Unresolved>> {
        Box::pin(async move { self.resolve(line).await.map(|_| ()) })
    }

    /// Whether this process is the running guest's hypervisor. At a port where the line listens,
    /// only that process is accepted.
    fn is_guest(&self, line: LineKey, pid: u32) -> BoxFuture<'_, bool> {
        let _ = (line, pid);
        Box::pin(async { false })
    }

    /// Makes the hypervisor disconnect the program that holds the port, so that the line can
    /// connect.
    ///
    /// # Errors
    ///
    /// In words, where that is not possible.
    fn clear(&self, line: LineKey) -> BoxFuture<'_, Result<(), String>> {
        let _ = line;
        Box::pin(async { Err("serialproxy cannot disconnect it from the port".into()) })
    }

    /// The running guest's output in this boot so far, if another program keeps it (libvirt's
    /// `<log>`): the newest bytes, at most `most`.
    fn kept(&self, line: LineKey, most: usize) -> BoxFuture<'_, Option<Vec<u8>>> {
        let _ = (line, most);
        Box::pin(async { None })
    }
}
