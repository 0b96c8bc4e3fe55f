//! What the relay on the users' port tells the API of the user whose call it passes on.

use std::net::IpAddr;
use std::sync::LazyLock;

use uuid::Uuid;

use crate::token::TokenDigest;

/// The header that carries it: `ADDRESS HOST KEY`.
pub const RELAYED_USER: &str = "serialproxy-client";

/// Known to this process alone: by it an API knows the relay that runs beside it.
static KEY: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().to_string());

/// A call that a relay passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RelayedUser<'a> {
    /// Where the user is.
    pub address: IpAddr,
    /// Whom the user called: the call's `Host`, with its port.
    pub host: &'a str,
    /// Whether the relay of this very process says so. Of any other the address is hearsay.
    pub ours: bool,
}

impl<'a> RelayedUser<'a> {
    /// The header's value, for a call that the relay of this process passes on.
    pub fn header(address: IpAddr, host: &str) -> String {
        format!("{address} {host} {}", *KEY)
    }

    /// Reads the header.
    pub fn read(header: &'a str) -> Option<Self> {
        let mut parts = header.split(' ');
        let address = parts.next()?.parse().ok()?;
        let host = parts.next()?;
        // By digest, so that the time it takes says nothing of the key.
        let ours = parts.next().is_some_and(|key| TokenDigest::of(key) == TokenDigest::of(&KEY));
        Some(Self { address, host, ours })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_relay_writes_the_api_reads_and_believes() {
        let address: IpAddr = "2001:db8::7".parse().unwrap();
        let header = RelayedUser::header(address, "a.example:6083");
        let read = RelayedUser { address, host: "a.example:6083", ours: true };
        assert_eq!(RelayedUser::read(&header), Some(read));
    }

    #[test]
    fn what_others_write_is_hearsay() {
        for text in ["192.0.2.7 a", "192.0.2.7 a ", "192.0.2.7 a key"] {
            assert!(!RelayedUser::read(text).unwrap().ours, "{text}");
        }
        for text in ["", "a", "192.0.2.7", "localhost a key"] {
            assert_eq!(RelayedUser::read(text), None, "{text}");
        }
    }
}
