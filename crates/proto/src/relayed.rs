//! What is said of a user whose request a proxy forwards: from the relay on the users' port to the
//! API, and from the proxy of a cluster to the host of a line.

use std::net::SocketAddr;
use std::sync::LazyLock;

use uuid::Uuid;

use crate::token::TokenDigest;

/// The header for it: `ADDRESS:PORT SCHEME HOST`, and the key of this process if the request does
/// not leave the process. A user's own header of this name is never forwarded.
pub const RELAYED_USER: &str = "serialproxy-client";

/// The header with which a proxy in front of a Nova tells the host of a line that the user's token is
/// Nova's, and its value.
pub const RELAYED_ISSUER: (&str, &str) = ("serialproxy-issuer", "nova");

/// The header for the secret of a login at the page: the relay takes it from the page's cookie, and the API's answer
/// to `POST /v1/login` brings a new one, followed by its lifetime in seconds.
pub const PAGE_LOGIN: &str = "serialproxy-login";

/// The value of [`PAGE_LOGIN`] with which the relay says that a page logs in.
pub const NEW_PAGE_LOGIN: &str = "new";

/// Known only to this process: an API recognizes the relay in its own process by it.
static KEY: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().to_string());

/// The user of a forwarded request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RelayedUser<'a> {
    /// The user's address; the port is 0 where it is unknown.
    pub address: SocketAddr,
    /// Whether the user connected with TLS.
    pub secure: bool,
    /// The `Host` of the user's request, with its port.
    pub host: &'a str,
    /// Whether this process wrote the header. A header from elsewhere counts only if its sender is
    /// authenticated in another way.
    pub ours: bool,
}

impl<'a> RelayedUser<'a> {
    /// The header's value. With [`Self::ours`], it contains the key of this process.
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
        // Compares digests, so that the time of the comparison reveals nothing about the key.
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
