//! The address of a guest's port.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serialproxy_proto::api::EndpointInfo;
use serialproxy_proto::api::EndpointKind;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::id::LineKey;
use uuid::Uuid;

/// The address of a guest's serial port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// A TCP socket that the hypervisor listens on.
    Tcp {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A TCP socket that speaks TLS.
    Tls {
        /// Name or address, which the certificate must contain.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A TCP socket that speaks telnet, as QEMU does.
    Telnet {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A TCP address that the hypervisor connects to: the line listens there.
    Incoming {
        /// Name or address, of this host.
        host: String,
        /// TCP port.
        port: u16,
        /// Whether it speaks telnet, as QEMU does.
        telnet: bool,
    },
    /// A TCP socket that carries the port's bytes after a request for a path (`CONNECT path
    /// HTTP/1.1`), as with Nova's `internal_access_path`.
    Tunnel {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// The path; may be a secret.
        path: String,
    },
    /// A unix socket that the hypervisor listens on.
    Unix(PathBuf),
    /// A pseudo-terminal, whose other side the hypervisor holds.
    Pty(PathBuf),
}

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
    /// server's id is not unique, the name includes the endpoint ([`Endpoint::claim`]).
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

impl Endpoint {
    /// The name of a claim that includes the endpoint.
    pub fn claim(&self, line: LineKey) -> String {
        let EndpointInfo { kind, address } = self.info();
        let mut text = format!("{kind:?} {address}");
        // Each network namespace has its own ports.
        if self.is_loopback()
            && let Ok(namespace) = std::fs::read_link("/proc/self/ns/net")
        {
            text = format!("{text} {}", namespace.display());
        }
        let endpoint = Uuid::new_v5(&line.server.0, text.as_bytes());
        format!("{}-{}-{endpoint}", line.server, line.port)
    }

    /// Whether bytes go over TCP unchanged.
    pub fn is_plain_tcp(&self) -> bool {
        matches!(self, Self::Tcp { .. } | Self::Telnet { .. } | Self::Incoming { .. })
    }

    fn is_loopback(&self) -> bool {
        let (Self::Tcp { host, .. }
        | Self::Tls { host, .. }
        | Self::Telnet { host, .. }
        | Self::Incoming { host, .. }
        | Self::Tunnel { host, .. }) = self
        else {
            return false;
        };
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// The endpoint for messages, without paths of the hypervisor's host.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Unix(_) => "the guest's socket".into(),
            Self::Pty(_) => "the guest's pseudo-terminal".into(),
            Self::Tcp { .. }
            | Self::Tls { .. }
            | Self::Telnet { .. }
            | Self::Incoming { .. }
            | Self::Tunnel { .. } => self.info().address,
        }
    }

    /// The endpoint as the API shows it.
    pub fn info(&self) -> EndpointInfo {
        match self {
            Self::Tcp { host, port } if host.contains(':') => {
                EndpointInfo { kind: EndpointKind::Tcp, address: format!("[{host}]:{port}") }
            }
            Self::Tcp { host, port } => {
                EndpointInfo { kind: EndpointKind::Tcp, address: format!("{host}:{port}") }
            }
            Self::Tls { host, port } => {
                let plain = Self::Tcp { host: host.clone(), port: *port }.info();
                EndpointInfo { kind: EndpointKind::Tls, ..plain }
            }
            Self::Telnet { host, port } => {
                let plain = Self::Tcp { host: host.clone(), port: *port }.info();
                EndpointInfo { kind: EndpointKind::Telnet, ..plain }
            }
            Self::Incoming { host, port, .. } => {
                let plain = Self::Tcp { host: host.clone(), port: *port }.info();
                EndpointInfo { kind: EndpointKind::Incoming, ..plain }
            }
            Self::Tunnel { host, port, .. } => Self::Tcp { host: host.clone(), port: *port }.info(),
            Self::Unix(path) => {
                EndpointInfo { kind: EndpointKind::Unix, address: path.display().to_string() }
            }
            Self::Pty(path) => {
                EndpointInfo { kind: EndpointKind::Pty, address: path.display().to_string() }
            }
        }
    }
}
