//! Where a guest's port is, and the connected stream to it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serialproxy_proto::api::EndpointInfo;
use serialproxy_proto::api::EndpointKind;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::id::LineKey;
use tokio::io::Interest;
use tokio::io::Ready;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

/// Where a guest's serial port is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// A TCP socket that the hypervisor listens on.
    Tcp {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A unix socket that the hypervisor listens on.
    Unix(PathBuf),
}

/// Why there is no endpoint now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unresolved {
    /// The guest does not run.
    Stopped(Status),
    /// The server or its port is gone.
    Gone(String),
    /// It could not be found out; worth another try.
    Failed(String),
}

/// Who knows where a line's port is. Asked anew before every connect, and once more after it, so
/// that a line never reaches a guest that took over another guest's port.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// Where the port of the *running* guest is.
    fn resolve(&self, line: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>>;
}

impl Endpoint {
    pub(crate) fn info(&self) -> EndpointInfo {
        match self {
            Self::Tcp { host, port } if host.contains(':') => {
                EndpointInfo { kind: EndpointKind::Tcp, address: format!("[{host}]:{port}") }
            }
            Self::Tcp { host, port } => {
                EndpointInfo { kind: EndpointKind::Tcp, address: format!("{host}:{port}") }
            }
            Self::Unix(path) => {
                EndpointInfo { kind: EndpointKind::Unix, address: path.display().to_string() }
            }
        }
    }

    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        }
    }
}

/// A connected port. Reads and writes do not wait, so that they may happen under a lock and
/// without a buffer of the line's own.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Unix(stream) => stream.ready(interest).await,
        }
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }
}
