//! The address of a client: the peer address of its connection, or the address that a trusted reverse proxy
//! reports.

use std::io;
use std::net::SocketAddr;

use http::HeaderMap;
use http::HeaderValue;
use serialproxy_config::Config;
use serialproxy_config::ProxyProtocol;
use serialproxy_proto::forwarded;
use serialproxy_proto::forwarded::Headers;
use serialproxy_proto::forwarded::User;
use serialproxy_proto::relayed::RelayedUser;
use tokio::net::TcpStream;

use crate::proxy_protocol;
use crate::proxy_protocol::Said;

/// The client of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// Address of the user; the port is 0 if it is not known.
    pub(crate) address: SocketAddr,
    /// Whether the user's own connection has TLS, to this proxy or to a trusted reverse proxy.
    pub(crate) secure: bool,
    /// Whether the request comes from a trusted reverse proxy.
    pub(crate) trusted: bool,
    /// Whether another proxy of the cluster passed the request on. That proxy has checked the Origin.
    pub(crate) passed_on: bool,
    /// Whether that proxy is in front of a Nova, which made the token.
    pub(crate) of_nova: bool,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    address: SocketAddr,
    /// Whether it is one of `trusted_proxies`.
    trusted: bool,
    /// Whether the user's connection has TLS, if the PROXY protocol header says so.
    tls: Option<bool>,
}

impl Client {
    /// The name in lists and logs.
    pub(crate) fn name(&self) -> String {
        match self.address.port() {
            0 => self.address.ip().to_string(),
            _ => self.address.to_string(),
        }
    }

    /// The user as the receiver of a relayed request is told; `ours` means that the receiver is in this process.
    pub(crate) fn relayed(self, host: &str, ours: bool) -> RelayedUser<'_> {
        RelayedUser { address: self.address, secure: self.secure, host, ours }
    }
}

impl Peer {
    /// The peer of a new connection. Reads the PROXY protocol header, if one is configured.
    ///
    /// # Errors
    ///
    /// When the header is missing and required, or not valid.
    pub(crate) async fn receive(
        tcp: &mut TcpStream,
        address: SocketAddr,
        config: &Config,
    ) -> io::Result<Self> {
        let proxies = &config.proxy.trusted_proxies;
        let trusted = proxies.contain(address.ip());
        let plain = Self { address, trusted, tls: None };
        let required = match config.proxy.proxy_protocol {
            ProxyProtocol::Off => return Ok(plain),
            ProxyProtocol::Accept if !trusted => return Ok(plain),
            ProxyProtocol::Require if !trusted => {
                let text = "[proxy] proxy_protocol = require: the address is not one of \
                         trusted_proxies";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
            protocol => protocol == ProxyProtocol::Require,
        };
        match proxy_protocol::read(tcp).await? {
            Some(Said::User { address, tls }) => {
                Ok(Self { address, trusted: proxies.contain(address.ip()), tls })
            }
            // The header does not say whose connection it is, so its HTTP headers are not trusted either.
            Some(Said::Nobody) => Ok(Self { trusted: false, ..plain }),
            None if required => {
                let text = "[proxy] proxy_protocol = require: there is no PROXY protocol header";
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
            None => Ok(plain),
        }
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is a trusted reverse proxy, whose connection carries many users.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The client of a request with these headers on this connection.
    ///
    /// # Errors
    ///
    /// When a user may have forged the headers to fake another address.
    pub(crate) fn client(
        &self,
        tls: bool,
        headers: &HeaderMap,
        config: &Config,
    ) -> Result<Client, forwarded::Fault> {
        let Self { address, trusted, .. } = *self;
        let plain = User { address, secure: None };
        let proxies = &config.proxy.trusted_proxies;
        let user = match trusted {
            true => {
                let values = |name| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
                forwarded::user(address, |address| proxies.contain(address), &Headers::of(values))?
            }
            false => plain,
        };
        let secure = user.secure.or(self.tls).unwrap_or(tls);
        Ok(Client { address: user.address, secure, trusted, passed_on: false, of_nova: false })
    }
}
