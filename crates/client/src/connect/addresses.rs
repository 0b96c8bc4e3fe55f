//! The addresses of the console's host name. Each may be another proxy, and any proxy serves any
//! session.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Url;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long looking up the name may take.
const LOOKUP_TIME: Duration = Duration::from_secs(5);
/// Most addresses; further ones are left out.
const MOST: usize = 16;

/// The addresses from the last lookup, in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Vec<SocketAddr>);

impl Addresses {
    /// The addresses of the URL's host name; those that failed last are at the end. If the lookup
    /// fails, the earlier addresses.
    pub(crate) async fn look_up(&mut self, url: &Url) -> io::Result<Vec<SocketAddr>> {
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or(80);
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let found = timeout(LOOKUP_TIME, lookup_host((host, port))).await.map_err(late).flatten();
        match found {
            Ok(found) => self.replace(&found.take(MOST).collect::<Vec<_>>()),
            Err(error) if self.0.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(self.0.clone())
    }

    /// From now on, tries this address after all others.
    pub(crate) fn postpone(&mut self, address: SocketAddr) {
        self.0.retain(|other| *other != address);
        self.0.push(address);
    }

    /// New addresses come first, and known ones keep their order.
    fn replace(&mut self, found: &[SocketAddr]) {
        let known = std::mem::take(&mut self.0);
        let new = found.iter().filter(|address| !known.contains(address));
        self.0 = new.copied().collect();
        self.0.extend(known.iter().filter(|address| found.contains(address)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last: &[u8]) -> Vec<SocketAddr> {
        last.iter().map(|last| SocketAddr::from(([10, 0, 0, *last], 6083))).collect()
    }

    #[test]
    fn an_address_that_failed_is_tried_after_the_others_and_after_those_that_are_new() {
        let mut known = Addresses(addresses(&[1, 2, 3]));
        known.postpone(addresses(&[1])[0]);
        assert_eq!(known.0, addresses(&[2, 3, 1]));
        known.replace(&addresses(&[3, 1, 2]));
        assert_eq!(known.0, addresses(&[2, 3, 1]), "a name server may rotate its answers");
        known.replace(&addresses(&[1, 4, 3]));
        assert_eq!(known.0, addresses(&[4, 3, 1]));
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_looked_up_any_more_has_the_addresses_that_it_had() {
        let url = Url::parse("ws://console.invalid:6083/").unwrap();
        let mut known = Addresses(addresses(&[1, 2]));
        assert_eq!(known.look_up(&url).await.unwrap(), addresses(&[1, 2]));
        assert!(Addresses::default().look_up(&url).await.is_err());
    }

    #[tokio::test]
    async fn an_address_needs_no_name() {
        for (url, address) in [("ws://127.0.0.1/", "127.0.0.1:80"), ("wss://[::1]/", "[::1]:443")] {
            let url = Url::parse(url).unwrap();
            let found = Addresses::default().look_up(&url).await.unwrap();
            assert_eq!(found, [address.parse().unwrap()]);
        }
    }
}
