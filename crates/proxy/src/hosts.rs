//! What a proxy needs to know of the hosts of a cluster: which host has a line, and a connection to it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_limits::seldom;
use serialproxy_line::Permit;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::TokenDigest;
use serialproxy_tls::Stream;
use socket2::SockRef;
use socket2::TcpKeepalive;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Timeout for finding a host, and for connecting to it.
const PATIENCE: Duration = Duration::from_secs(2);

/// TCP keepalive time of connections between roles. A host pings the clients of its sessions as often.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Connections to other hosts of a cluster.
pub trait Reach: fmt::Debug + Send + Sync {
    /// Opens a mutual TLS connection to a host, on the runtime of the caller.
    ///
    /// # Errors
    ///
    /// When the host cannot be reached.
    fn connect<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Reached>>;
}

/// Finds the host of a line in a cluster. The program has one implementation, the tests another.
pub trait Hosts: Reach {
    /// The name of the host that has the line.
    ///
    /// # Errors
    ///
    /// [`Refusal::Token`] for an unknown or expired token, [`Refusal::NoSuchLine`] where no host has the
    /// line, [`Refusal::HostLost`] where the one that had it is away, [`Refusal::Unavailable`] where
    /// nothing can be looked up.
    fn find(&self, sought: Sought) -> BoxFuture<'_, Result<String, Refusal>>;
}

/// The other proxies in front of a Nova. Only one of all proxies connects to a port. A target is `SERVER-PORT`: a
/// server's id and the TCP port of its serial port.
pub trait Owners: Reach {
    /// Takes a target for this proxy, unless another one has it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] where the owner cannot be looked up, [`Refusal::TooMany`] where this proxy has
    /// too many targets.
    fn take<'a>(&'a self, target: &'a str) -> BoxFuture<'a, Result<Taken, Refusal>>;

    /// The host of another proxy that has a port of a server.
    fn of(&self, server: ServerId) -> Option<String>;
}

/// What a proxy in front of a Nova has beside it in a cluster.
#[derive(Clone, Debug)]
pub struct Neighbors {
    /// The other proxies in front of that Nova.
    pub proxies: Arc<dyn Owners>,
    /// The hosts with a compute role, which may have the servers.
    pub hosts: Arc<dyn Hosts>,
}

impl Neighbors {
    /// The host whose compute role has a server, if one has it.
    pub(crate) async fn host(&self, server: ServerId) -> Result<Option<String>, Refusal> {
        // Hosts have servers with all their lines.
        match sought(&*self.hosts, Sought::Line(LineKey { server, port: 0 })).await {
            Ok(host) => Ok(Some(host)),
            Err(Refusal::NoSuchLine(_)) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

/// Which proxy owns a target.
#[derive(Debug)]
pub enum Taken {
    /// This proxy, which may connect to the port as long as the permit is good.
    Here(Arc<dyn Permit>),
    /// The proxy on the host of this name.
    By(String),
}

/// The line whose host is looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sought {
    /// The line of a console token.
    Token(TokenDigest),
    /// The line that a resume key names.
    Line(LineKey),
}

/// A connection to a host.
#[derive(Debug)]
pub struct Reached {
    /// The connection.
    pub stream: Stream,
    /// Cancelled when the host is lost: its lease has ended, or its certificate is revoked. It is not cancelled
    /// when etcd is away.
    pub lost: CancellationToken,
}

pub(crate) async fn find(hosts: &dyn Hosts, wanted: Sought) -> Result<String, Refusal> {
    match (wanted, sought(hosts, wanted).await) {
        (Sought::Line(_), Err(Refusal::NoSuchLine(_))) => Err(Refusal::Resume),
        (_, found) => found,
    }
}

async fn sought(hosts: &dyn Hosts, wanted: Sought) -> Result<String, Refusal> {
    let found = tokio::time::timeout(PATIENCE, hosts.find(wanted)).await;
    found.unwrap_or_else(|_| {
        let text = "the host of this server cannot be looked up now, try again";
        Err(Refusal::Unavailable(text.into()))
    })
}

pub(crate) async fn connect(
    hosts: &dyn Reach,
    host: &str,
    grace: Duration,
) -> Result<Reached, Refusal> {
    let reached = tokio::time::timeout(PATIENCE, hosts.connect(host)).await;
    let reached = reached.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let tended = reached.and_then(|reached| tend(reached.stream.tcp(), grace).map(|()| reached));
    tended.map_err(|error| lost(host, &error))
}

/// The refusal for a host that does not respond. Only the log names the host.
pub(crate) fn lost(host: &str, error: &dyn fmt::Display) -> Refusal {
    if seldom::is_due("host") {
        tracing::warn!(host, %error, "a host does not respond");
    }
    Refusal::HostLost("the host of this server does not respond, try again".into())
}

/// Configures a connection between roles: it sends without delay, and the kernel ends it when the other side does
/// not respond for the grace time, also when nothing is sent.
pub(crate) fn tend(tcp: &TcpStream, grace: Duration) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_user_timeout(Some(grace))?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 2);
    socket.set_tcp_keepalive(&keepalive)
}
