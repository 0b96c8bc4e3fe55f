//! The address of a client: that of the connection, or the one that a trusted reverse proxy reports.

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
    /// The user's; without a port it is 0.
    pub(crate) address: SocketAddr,
    /// Whether the user came by TLS: to here, or to a trusted reverse proxy.
    pub(crate) secure: bool,
    /// Whether the headers of the request are a trusted reverse proxy's.
    pub(crate) trusted: bool,
    /// Whether another proxy of the cluster passed the request on, and has checked what it alone can.
    pub(crate) passed_on: bool,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    address: SocketAddr,
    /// Whether it is a reverse proxy whose headers are believed.
    trusted: bool,
    /// Whether they came by TLS to a reverse proxy that speaks no HTTP, if that says so.
    tls: Option<bool>,
}

impl Client {
    /// As lists and logs name it.
    pub(crate) fn name(&self) -> String {
        match self.address.port() {
            0 => self.address.ip().to_string(),
            _ => self.address.to_string(),
        }
    }

    /// As others are told of it to whom its request is passed on; `ours` where they are in this process.
    pub(crate) fn relayed(self, host: &str, ours: bool) -> RelayedUser<'_> {
        RelayedUser { address: self.address, secure: self.secure, host, ours }
    }
}

impl Peer {
    /// Who a connection is from that came from an address: the header that it begins with is read, where
    /// that is wanted.
    ///
    /// # Errors
    ///
    /// When it has none and needs one, or a broken one.
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
            // What such a connection says may be anybody's.
            Some(Said::Nobody) => Ok(Self { trusted: false, ..plain }),
            None if required => {
                let text = "[proxy] proxy_protocol = require: there is no PROXY protocol header";
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
            None => Ok(plain),
        }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is a trusted reverse proxy, over whose connection many users come.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Who makes a request with these headers over the connection, which has TLS or not.
    ///
    /// # Errors
    ///
    /// When the headers could be a user's attempt to come from another address.
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
        Ok(Client { address: user.address, secure, trusted, passed_on: false })
    }
}
