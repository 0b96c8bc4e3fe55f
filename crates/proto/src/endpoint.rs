//! The address of a guest's serial port: in the configuration, for the line that opens it, and in the JSON of
//! the API and between roles.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde_json::Value;

use crate::address;

/// Longest path of a unix socket on Linux: `sun_path` without its final NUL (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// The address of a guest's serial port.
///
/// Its JSON has a kind and an address. The kind of a [`Tunnel`](Self::Tunnel) is `tcp` there, and its path is
/// left out, because it may be a secret. Whether an [`Incoming`](Self::Incoming) one speaks telnet is left out
/// too.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "Shown", try_from = "Shown")]
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

/// The transport of a guest's port.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointKind {
    /// A plain TCP socket.
    Tcp,
    /// TCP with TLS.
    Tls,
    /// TCP that speaks telnet.
    Telnet,
    /// TCP where the hypervisor connects to us.
    Incoming,
    /// A unix socket.
    Unix,
    /// A pseudo-terminal.
    Pty,
}

/// An endpoint in JSON.
#[derive(Deserialize, Serialize)]
struct Shown {
    kind: EndpointKind,
    address: String,
}

impl Endpoint {
    fn new(kind: EndpointKind, address: &str) -> Result<Self, &'static str> {
        let target = || address::target(address);
        Ok(match kind {
            EndpointKind::Tcp => target().map(|(host, port)| Self::Tcp { host, port })?,
            EndpointKind::Tls => target().map(|(host, port)| Self::Tls { host, port })?,
            EndpointKind::Telnet => target().map(|(host, port)| Self::Telnet { host, port })?,
            EndpointKind::Incoming => {
                target().map(|(host, port)| Self::Incoming { host, port, telnet: false })?
            }
            EndpointKind::Unix | EndpointKind::Pty if !address.starts_with('/') => {
                return Err("has no absolute path: write unix:///path");
            }
            EndpointKind::Unix if address.len() > MAX_SOCKET_PATH => {
                return Err("has a path of more than 107 bytes");
            }
            EndpointKind::Unix => Self::Unix(address.into()),
            EndpointKind::Pty => Self::Pty(address.into()),
        })
    }

    /// The TCP port on which the hypervisor listens, if it does.
    pub fn tcp_port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } | Self::Tls { port, .. } | Self::Telnet { port, .. } => {
                Some(*port)
            }
            Self::Incoming { .. } | Self::Tunnel { .. } | Self::Unix(_) | Self::Pty(_) => None,
        }
    }

    /// Where the hypervisor listens for TCP connections, if it does and the host is no name.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { host, port } | Self::Tls { host, port } | Self::Telnet { host, port } => {
                Some(SocketAddr::new(host.parse().ok()?, *port))
            }
            Self::Incoming { .. } | Self::Tunnel { .. } | Self::Unix(_) | Self::Pty(_) => None,
        }
    }

    /// The transport.
    pub fn kind(&self) -> EndpointKind {
        match self {
            Self::Tcp { .. } | Self::Tunnel { .. } => EndpointKind::Tcp,
            Self::Tls { .. } => EndpointKind::Tls,
            Self::Telnet { .. } => EndpointKind::Telnet,
            Self::Incoming { .. } => EndpointKind::Incoming,
            Self::Unix(_) => EndpointKind::Unix,
            Self::Pty(_) => EndpointKind::Pty,
        }
    }

    /// `HOST:PORT` or a path.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp { host, port }
            | Self::Tls { host, port }
            | Self::Telnet { host, port }
            | Self::Incoming { host, port, .. }
            | Self::Tunnel { host, port, .. } => address::join(host, *port),
            Self::Unix(path) | Self::Pty(path) => path.display().to_string(),
        }
    }

    /// The endpoint for messages, without paths of the hypervisor's host.
    pub fn in_words(&self) -> String {
        match self {
            Self::Unix(_) => "the guest's socket".into(),
            Self::Pty(_) => "the guest's pseudo-terminal".into(),
            Self::Tcp { .. }
            | Self::Tls { .. }
            | Self::Telnet { .. }
            | Self::Incoming { .. }
            | Self::Tunnel { .. } => self.address(),
        }
    }

    /// Whether bytes go over TCP unchanged.
    pub fn is_plain_tcp(&self) -> bool {
        matches!(self, Self::Tcp { .. } | Self::Telnet { .. } | Self::Incoming { .. })
    }
}

/// `tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:///PATH`: what a configuration may name. An error is the
/// rest of a sentence that begins with the text.
impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("tcp", address)) => Self::new(EndpointKind::Tcp, address),
            Some(("tls", address)) => Self::new(EndpointKind::Tls, address),
            Some(("unix", path)) => Self::new(EndpointKind::Unix, path),
            _ => Err("is of an unknown kind"),
        }
    }
}

/// Kind and address, as a configuration has them.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind(), self.address())
    }
}

/// The same: the path of a tunnel may be a secret.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl EndpointKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Tcp, Self::Tls, Self::Telnet, Self::Incoming, Self::Unix, Self::Pty];
}

impl fmt::Display for EndpointKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Telnet => "telnet",
            Self::Incoming => "incoming",
            Self::Unix => "unix",
            Self::Pty => "pty",
        })
    }
}

impl From<Endpoint> for Shown {
    fn from(endpoint: Endpoint) -> Self {
        Self { kind: endpoint.kind(), address: endpoint.address() }
    }
}

impl TryFrom<Shown> for Endpoint {
    type Error = &'static str;

    fn try_from(Shown { kind, address }: Shown) -> Result<Self, Self::Error> {
        Self::new(kind, &address)
    }
}

/// Reads the endpoint of a line that another host describes. One that this version does not understand
/// counts as none, so that the host's lines are shown all the same.
pub(crate) fn understood<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Endpoint>, D::Error> {
    Value::deserialize(deserializer).map(|value| serde_json::from_value(value).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_configuration_names_is_shown_as_it_was_written() {
        for text in ["tcp://10.0.0.1:7001", "tcp://[::1]:1", "tls://b:1", "unix:///run/x/y.sock"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        let (long, endpoint) = (format!("unix:///{}", "p".repeat(107)), str::parse::<Endpoint>);
        for (text, reason) in [
            ("tcp://b", "has no port"),
            ("tls://b:0", "has a port that is not within 1 and 65535"),
            ("unix://run/x", "has no absolute path: write unix:///path"),
            (&long, "has a path of more than 107 bytes"),
            ("telnet://b:1", "is of an unknown kind"),
            ("/run/x", "is of an unknown kind"),
        ] {
            assert_eq!(endpoint(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn in_json_an_endpoint_is_a_kind_and_an_address() {
        for kind in EndpointKind::ALL {
            let is_path = matches!(kind, EndpointKind::Unix | EndpointKind::Pty);
            let address = if is_path { "/run/x" } else { "[::1]:7" };
            let shown = json!({"kind": kind.to_string(), "address": address});
            let endpoint: Endpoint = serde_json::from_value(shown.clone()).unwrap();
            assert_eq!((endpoint.kind(), &*endpoint.address()), (kind, address));
            assert_eq!(serde_json::to_value(endpoint).unwrap(), shown);
        }
    }

    #[test]
    fn the_path_of_a_tunnel_is_shown_nowhere() {
        let tunnel = Endpoint::Tunnel { host: "h".into(), port: 7, path: "secret".into() };
        let json = serde_json::to_string(&tunnel).unwrap();
        assert_eq!(json, r#"{"kind":"tcp","address":"h:7"}"#);
        assert_eq!(format!("{tunnel} {tunnel:?} {}", tunnel.in_words()), "tcp://h:7 tcp://h:7 h:7");
    }
}
