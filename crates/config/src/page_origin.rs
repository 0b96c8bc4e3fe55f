//! Origins of pages (RFC 6454), and the allowed ones.

use std::fmt;

use serialproxy_proto::address::host;
use serialproxy_proto::address::is_bare_v6;
use serialproxy_proto::address::target;

use crate::network::is_local;

/// Longest accepted scheme.
const SCHEME: usize = 32;

/// The origin of a page: scheme, host and port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PageOrigin {
    /// In lower case.
    scheme: String,
    /// In lower case, IPv6 without brackets.
    host: String,
    /// Without a port in the text, the scheme's default; none where the scheme has none.
    port: Option<u16>,
}

impl PageOrigin {
    /// Parses an `Origin` header: a scheme and a host, optionally a port, and nothing else. `null`
    /// is not an origin.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let valid = scheme.len() <= SCHEME
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !valid {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = match target(authority) {
            Ok((host, port)) => (host, Some(port)),
            Err(_) if is_bare_v6(authority) => return None,
            Err(_) => (host(authority).ok()?, default_port(&scheme)),
        };
        Some(Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// The origin of the pages that a connection serves, from its `Host` header.
    pub fn of_connection(tls: bool, host: &str) -> Option<Self> {
        Self::parse(&format!("{}://{host}", if tls { "https" } else { "http" }))
    }

    /// The origin of the pages below a URL; `http` for a `ws` URL.
    pub fn of_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split('/').next()?;
        Self::of_connection(["https", "wss"].contains(&scheme), authority)
    }

    /// The scheme, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host, in lower case; IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the host is a local name of this machine.
    pub fn is_local(&self) -> bool {
        is_local(&self.host)
    }
}

impl fmt::Display for PageOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        let v6 = host.contains(':');
        let (open, close) = if v6 { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{host}{close}")?;
        match port {
            Some(port) if Some(*port) != default_port(scheme) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// An entry of `[console] allowed_origins`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AllowedOrigin {
    /// All pages of a host, by any scheme and on any port.
    Host(String),
    /// The pages of one origin.
    Origin(PageOrigin),
}

impl AllowedOrigin {
    /// A host, or a complete origin. The text of a refusal continues after the value.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if let Some(origin) = PageOrigin::parse(text) {
            return Ok(Self::Origin(origin));
        }
        match host(text) {
            Ok(host) => Ok(Self::Host(host.to_ascii_lowercase())),
            Err(_) if text.contains("://") => {
                Err(format!("contains `{text}`: an origin is SCHEME://HOST or SCHEME://HOST:PORT"))
            }
            Err(_) if text.contains([':', '/']) => Err(format!(
                "contains `{text}`: name the host alone, or a whole SCHEME://HOST:PORT"
            )),
            Err(reason) => Err(format!("contains `{text}`, which {reason}")),
        }
    }

    /// Whether it allows a page of this origin.
    pub fn covers(&self, page: &PageOrigin) -> bool {
        match self {
            Self::Host(host) => *host == page.host,
            Self::Origin(origin) => origin == page,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(text: &str) -> PageOrigin {
        PageOrigin::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("http://a"), origin("HTTP://A:80"));
        assert_eq!(origin("https://a"), origin("https://a:443"));
        assert_eq!(origin("http://[::1]:6083"), origin("http://[0::1]:6083"));
        assert_ne!(origin("http://a"), origin("https://a"));
        assert_ne!(origin("http://a"), origin("http://a:443"));
        assert_ne!(origin("app://a"), origin("app://a:80"));
    }

    #[test]
    fn an_origin_is_shown_as_browsers_send_it() {
        for text in ["http://a", "https://a:80", "http://[::1]:6083", "app://a"] {
            assert_eq!(origin(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_origin_is_none() {
        for text in [
            "",
            "null",
            "a",
            "a:80",
            "://a",
            "http://",
            "http:///",
            "http://a/",
            "http://a:80/",
            "http://a:80.evil.example",
            "http://a:80@evil.example",
            "http://u@a",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+80",
            "http://a b",
            "http://a,http://b",
            "http://a http://b",
            "http://a?",
            "http://a#",
            "http://a\\b",
            "http://::1",
            "http://[::1",
            "http://[::1]x",
            "1http://a",
            "ht tp://a",
            "file://",
            " http://a",
            "http://a ",
            "http://é",
        ] {
            assert_eq!(PageOrigin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_pages_below_a_url_have_its_origin() {
        for (url, page) in [
            ("http://127.0.0.1:6083/serial.html", "http://127.0.0.1:6083"),
            ("wss://console.example", "https://console.example"),
            ("ws://[::1]/a/b", "http://[::1]"),
        ] {
            assert_eq!(PageOrigin::of_url(url), Some(origin(page)), "{url}");
        }
    }

    #[test]
    fn an_allowed_host_stands_for_every_scheme_and_port() {
        let host = AllowedOrigin::read("Dashboard.example").unwrap();
        for page in ["http://dashboard.example", "https://dashboard.example:8443"] {
            assert!(host.covers(&origin(page)), "{page}");
        }
        assert!(!host.covers(&origin("http://a.dashboard.example")));
        for text in ["::1", "[::1]"] {
            assert!(AllowedOrigin::read(text).unwrap().covers(&origin("http://[::1]:80")));
        }
    }

    #[test]
    fn an_allowed_origin_stands_for_itself() {
        let allowed = AllowedOrigin::read("https://dashboard.example").unwrap();
        assert!(allowed.covers(&origin("https://dashboard.example:443")));
        for page in ["http://dashboard.example", "https://dashboard.example:8443"] {
            assert!(!allowed.covers(&origin(page)), "{page}");
        }
    }

    #[test]
    fn a_wrong_entry_says_what_is_wrong() {
        for (text, reason) in [
            (
                "https://a/",
                "contains `https://a/`: an origin is SCHEME://HOST or \
                     SCHEME://HOST:PORT",
            ),
            ("a:80", "contains `a:80`: name the host alone, or a whole SCHEME://HOST:PORT"),
            ("a b", "contains `a b`, which is neither an IP address nor a host name"),
        ] {
            assert_eq!(AllowedOrigin::read(text), Err(reason.into()));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(https?://)?[a-z0-9.:@/\\[\\] -]{0,30}|\\PC{0,40}") {
            let _ = (PageOrigin::parse(&text), AllowedOrigin::read(&text));
            let _ = (PageOrigin::of_connection(true, &text), PageOrigin::of_url(&text));
        }
    }
}
