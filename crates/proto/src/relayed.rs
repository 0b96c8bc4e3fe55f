//! What a proxy tells others of the user whose request it passes on: the relay on the users' port tells
//! the API, and the proxy of a cluster tells the host of a line.

use std::net::SocketAddr;
use std::sync::LazyLock;

use uuid::Uuid;

use crate::token::TokenDigest;

/// The header that carries it: `ADDRESS:PORT SCHEME HOST`, and the key of this process where the request
/// does not leave it. A user's own is never passed on.
pub const RELAYED_USER: &str = "serialproxy-client";

/// Known to this process alone: by it an API knows the relay that runs beside it.
static KEY: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().to_string());

/// The user of a request that was passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RelayedUser<'a> {
    /// Where the user is. Without a port it is 0.
    pub address: SocketAddr,
    /// Whether the user came by TLS.
    pub secure: bool,
    /// Whom the user called: the request's `Host`, with its port.
    pub host: &'a str,
    /// Whether this very process says so. What others say is hearsay, unless they have shown who they
    /// are in another way.
    pub ours: bool,
}

impl<'a> RelayedUser<'a> {
    /// The header's value. With [`Self::ours`] it has the key of this process, for whom it is.
    pub fn header(&self) -> String {
        let Self { address, host, .. } = self;
        let scheme = if self.secure { "https" } else { "http" };
        match self.ours {
            true => format!("{address} {scheme} {host} {}", *KEY),
            false => format!("{address} {scheme} {host}"),
        }
    }

    /// Reads the header.
    pub fn read(header: &'a str) -> Option<Self> {
        let mut parts = header.split(' ');
        let address: SocketAddr = parts.next()?.parse().ok()?;
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let secure = match parts.next()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = parts.next().filter(|host| !host.is_empty())?;
        // By digest, so that the time it takes says nothing of the key.
        let ours = parts.next().is_some_and(|key| TokenDigest::of(key) == TokenDigest::of(&KEY));
        parts.next().is_none().then_some(Self { address, secure, host, ours })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_writes_is_read_as_it_was_and_believed_in_its_own_process() {
        for (ours, secure) in [(true, false), (false, true)] {
            let address = "[2001:db8::7]:50000".parse().unwrap();
            let user = RelayedUser { address, secure, host: "a.example:6083", ours };
            assert_eq!(RelayedUser::read(&user.header()), Some(user));
        }
    }

    #[test]
    fn the_key_of_this_process_is_told_to_nobody_else() {
        let address = "192.0.2.7:1".parse().unwrap();
        let user = RelayedUser { address, secure: false, host: "a", ours: false };
        assert_eq!(user.header(), "192.0.2.7:1 http a");
    }

    #[test]
    fn what_others_write_is_hearsay() {
        for text in ["192.0.2.7:0 http a", "192.0.2.7:0 http a ", "192.0.2.7:0 https a key"] {
            assert!(!RelayedUser::read(text).unwrap().ours, "{text}");
        }
    }

    #[test]
    fn what_is_not_exactly_the_header_says_nothing() {
        for text in [
            "",
            "a",
            "192.0.2.7:0",
            "192.0.2.7 http a",
            "192.0.2.7:0 a",
            "192.0.2.7:0 ftp a",
            "192.0.2.7:0 http",
            "192.0.2.7:0 http ",
            "192.0.2.7:0  http a",
            " 192.0.2.7:0 http a",
            "localhost:0 http a key",
            "192.0.2.7:0 http a key more",
        ] {
            assert_eq!(RelayedUser::read(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_of_ipv4_is_one_however_it_is_written() {
        let user = RelayedUser::read("[::ffff:192.0.2.7]:1 http a").unwrap();
        assert_eq!(user.address, "192.0.2.7:1".parse().unwrap());
    }
}
