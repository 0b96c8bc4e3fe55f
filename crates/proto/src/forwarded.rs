//! The origin of a request that reverse proxies forward, from `X-Forwarded-For` and
//! `X-Forwarded-Proto` or from `Forwarded` (RFC 7239). Any client can send these headers, so only
//! those of trusted reverse proxies count.

use std::borrow::Cow;
use std::net::IpAddr;
use std::net::SocketAddr;

/// Most trusted reverse proxies in a row.
const HOPS: usize = 16;

/// The headers of a request, each with its values in their order.
#[derive(Clone, Debug, Default)]
pub struct Headers<'a> {
    /// `X-Forwarded-For`
    pub x_for: Vec<Cow<'a, str>>,
    /// `X-Forwarded-Proto`
    pub x_proto: Vec<Cow<'a, str>>,
    /// `Forwarded`
    pub forwarded: Vec<Cow<'a, str>>,
}

impl<'a> Headers<'a> {
    /// The headers of a request, with all bytes of their values: if a value that is not text were
    /// left out, so would be what a reverse proxy appended to it.
    pub fn of<I: Iterator<Item = &'a [u8]>>(values: impl Fn(&'static str) -> I) -> Self {
        let values = |name| values(name).map(String::from_utf8_lossy).collect();
        Self {
            x_for: values("x-forwarded-for"),
            x_proto: values("x-forwarded-proto"),
            forwarded: values("forwarded"),
        }
    }
}

/// The user of a request, as trusted reverse proxies report it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct User {
    /// The user's address; the port is 0 where it is unknown.
    pub address: SocketAddr,
    /// Whether the user connected with TLS, if it is known.
    pub secure: Option<bool>,
}

/// Why the headers are not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// One of them is the user's own, which the reverse proxy did not remove.
    #[error(
        "Forwarded and X-Forwarded-For name different addresses: the reverse proxy must set one \
         of them and delete the other"
    )]
    Different,
    /// A part of it may be the user's own, and hide the reverse proxy's.
    #[error("the Forwarded header is not valid (RFC 7239)")]
    Malformed,
}

/// The user of a request from `peer`. The headers count only where the peer is trusted.
///
/// # Errors
///
/// When the headers could be a user's attempt to come from another address.
pub fn user(
    peer: SocketAddr,
    trusted: impl Fn(IpAddr) -> bool,
    headers: &Headers<'_>,
) -> Result<User, Fault> {
    if !trusted(peer.ip()) {
        return Ok(User { address: peer, secure: None });
    }
    let elements = elements(&headers.forwarded)?;
    let x_for = headers.x_for.iter().rev().flat_map(|value| value.rsplit(',')).map(node);
    let (_, by_x_for) = walk(peer, &trusted, x_for);
    let nodes = elements.iter().rev().map(|element| element.node.as_deref().and_then(node));
    let (hop, by_forwarded) = walk(peer, &trusted, nodes);
    let address = match (by_x_for, by_forwarded) {
        (Some(one), Some(other)) if one.ip() != other.ip() => return Err(Fault::Different),
        (one, other) => one.or(other).unwrap_or(peer),
    };
    let x_proto = headers.x_proto.last().and_then(|value| value.rsplit(',').next());
    let proto = elements.iter().rev().nth(hop).and_then(|element| element.proto.as_deref());
    Ok(User { address, secure: x_proto.and_then(secure).or_else(|| proto.and_then(secure)) })
}

/// Follows the trusted reverse proxies from the peer to the user, the nearest first. Returns the
/// number of steps beyond the first, and the address; none where the first names no address.
fn walk(
    peer: SocketAddr,
    trusted: impl Fn(IpAddr) -> bool,
    named: impl Iterator<Item = Option<SocketAddr>>,
) -> (usize, Option<SocketAddr>) {
    let (mut steps, mut at) = (0, None);
    for node in named.take(HOPS) {
        if !trusted(at.unwrap_or(peer).ip()) {
            break;
        }
        let Some(node) = node else { break };
        steps += 1;
        at = Some(node);
    }
    (steps.max(1) - 1, at)
}

/// An address, with or without a port: `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`. `unknown`
/// and obfuscated names are no addresses.
fn node(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = match bare.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, 0),
        Err(_) => text.parse().ok()?,
    };
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

fn secure(scheme: &str) -> Option<bool> {
    match scheme.trim().to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

/// The part of `Forwarded` from one reverse proxy.
#[derive(Debug, Default)]
struct Element {
    node: Option<String>,
    proto: Option<String>,
}

/// The elements of all `Forwarded` headers (RFC 7239 section 4).
fn elements(values: &[Cow<'_, str>]) -> Result<Vec<Element>, Fault> {
    let mut elements = Vec::new();
    for value in values {
        let mut rest = value.trim();
        let mut element = Element::default();
        while !rest.is_empty() {
            let (name, value, behind) = pair(rest).ok_or(Fault::Malformed)?;
            let slot = match name.to_ascii_lowercase().as_str() {
                "for" => Some(&mut element.node),
                "proto" => Some(&mut element.proto),
                _ => None,
            };
            // A parameter occurs once in an element.
            if slot.is_some_and(|slot| slot.replace(value).is_some()) {
                return Err(Fault::Malformed);
            }
            let behind = behind.trim_start();
            rest = match behind.strip_prefix(';') {
                Some(next) => next.trim_start(),
                None if behind.is_empty() => behind,
                None => {
                    elements.push(std::mem::take(&mut element));
                    behind.strip_prefix(',').ok_or(Fault::Malformed)?.trim_start()
                }
            };
        }
        elements.push(element);
    }
    Ok(elements)
}

/// `name=value` or `name="value"` at the beginning of a text, and the rest.
fn pair(text: &str) -> Option<(&str, String, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let (name, rest) = text.split_once('=').filter(|(name, _)| name.chars().all(is_token))?;
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut value = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next()? {
                '"' => return Some((name, value, chars.as_str())),
                '\\' => value.push(chars.next()?),
                c => value.push(c),
            }
        }
    }
    // IPv6 addresses and ports should be quoted, but often are not.
    let end = rest.find([',', ';', ' ', '\t', '"']).unwrap_or(rest.len());
    let (value, behind) = rest.split_at_checked(end)?;
    Some((name, value.to_owned(), behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Addresses of 10.0.0.0/8 belong to trusted reverse proxies.
    fn trusted(address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if address.octets()[0] == 10)
    }

    fn asked(peer: &str, headers: &[(&str, &str)]) -> Result<User, Fault> {
        let mut all = Headers::default();
        for (name, value) in headers {
            match *name {
                "for" => all.x_for.push((*value).into()),
                "proto" => all.x_proto.push((*value).into()),
                _ => all.forwarded.push((*value).into()),
            }
        }
        user(peer.parse().unwrap(), trusted, &all)
    }

    fn address(peer: &str, headers: &[(&str, &str)]) -> String {
        let address = asked(peer, headers).unwrap().address;
        if address.port() == 0 { address.ip().to_string() } else { address.to_string() }
    }

    const PROXY: &str = "10.0.0.1:5000";

    #[test]
    fn the_headers_of_others_are_passed_over() {
        let lies = [("for", "192.0.2.1"), ("proto", "https"), ("f", "for=192.0.2.1;proto=https")];
        let stranger = "198.51.100.9:1".parse().unwrap();
        let asked = asked("198.51.100.9:1", &lies);
        assert_eq!(asked, Ok(User { address: stranger, secure: None }));
    }

    #[test]
    fn the_user_is_the_first_from_behind_whom_nobody_trusted_is() {
        for (value, user) in [
            ("192.0.2.1", "192.0.2.1"),
            ("  192.0.2.1:80 ", "192.0.2.1:80"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("127.0.0.1, 192.0.2.1", "192.0.2.1"),
            ("192.0.2.1, 10.0.0.3, 10.0.0.2", "192.0.2.1"),
            ("127.0.0.1, 192.0.2.1,10.0.0.2", "192.0.2.1"),
            ("garbage, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
            ("10.0.0.2", "10.0.0.2"),
            ("unknown", PROXY),
            ("127.0.0.1, unknown", PROXY),
            ("127.0.0.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("", PROXY),
        ] {
            assert_eq!(address(PROXY, &[("for", value)]), user, "{value}");
        }
        let two = [("for", "127.0.0.1"), ("for", "192.0.2.1")];
        assert_eq!(address(PROXY, &two), "192.0.2.1", "the last header is the nearest");
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_has_it() {
        for (value, user, secure) in [
            ("for=192.0.2.1", "192.0.2.1", None),
            ("For=\"[2001:db8:cafe::17]:4711\"", "[2001:db8:cafe::17]:4711", None),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60", Some(false)),
            ("for=127.0.0.1;proto=http, for=192.0.2.1;proto=HTTPS", "192.0.2.1", Some(true)),
            ("for=192.0.2.1;proto=https,for=10.0.0.2;proto=http", "192.0.2.1", Some(true)),
            ("by=\"a,\\\"b\";for=192.0.2.1:1", "192.0.2.1:1", None),
            ("proto=https", PROXY, Some(true)),
            ("for=_hidden;proto=https", PROXY, Some(true)),
            ("", PROXY, None),
        ] {
            assert_eq!(address(PROXY, &[("f", value)]), user, "{value}");
            assert_eq!(asked(PROXY, &[("f", value)]).unwrap().secure, secure, "{value}");
        }
    }

    #[test]
    fn a_user_cannot_hide_what_the_reverse_proxy_adds() {
        for value in [
            "for=\"127.0.0.1, for=192.0.2.1",
            "for=\"127.0.0.1, for=\"[2001:db8::1]\"",
            "for=127.0.0.1;x=\"\\\", for=192.0.2.1",
            "for=127.0.0.1;for=192.0.2.1",
            "for",
            "for=a b",
            "for=a\"b\"",
            "f r=a",
            ",",
            ";",
        ] {
            assert_eq!(asked(PROXY, &[("f", value)]), Err(Fault::Malformed), "{value}");
        }
        let different = [("for", "192.0.2.1"), ("f", "for=127.0.0.1")];
        assert_eq!(asked(PROXY, &different), Err(Fault::Different));
        let same = [("for", "192.0.2.1"), ("f", "for=\"192.0.2.1:80\"")];
        assert_eq!(address(PROXY, &same), "192.0.2.1");
    }

    #[test]
    fn the_nearest_says_how_the_user_came() {
        let secure = |value| asked(PROXY, &[("proto", value)]).unwrap().secure;
        assert_eq!(secure("https"), Some(true));
        assert_eq!(secure("http, HTTPS"), Some(true));
        assert_eq!(secure("https, http"), Some(false));
        assert_eq!(secure("gopher"), None);
    }

    #[test]
    fn no_row_of_reverse_proxies_is_endless() {
        let row = "10.0.0.2,".repeat(1000) + "10.0.0.3";
        assert_eq!(address(PROXY, &[("for", &format!("192.0.2.1,{row}"))]), "10.0.0.2");
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(
            text in "(for|proto|by)?[=;, \"\\\\a-z0-9.:\\[\\]]{0,60}|\\PC{0,40}"
        ) {
            let _ = asked(PROXY, &[("for", &text), ("proto", &text)]);
            let _ = asked(PROXY, &[("f", &text)]);
        }

        #[test]
        fn whatever_a_user_sends_before_what_the_reverse_proxy_adds_is_of_no_account(
            text in "(for|proto|by)?[=;, \"\\\\a-z0-9.:\\[\\]]{0,60}"
        ) {
            let x_for = format!("{text}, 192.0.2.1");
            prop_assert_eq!(address(PROXY, &[("for", &x_for)]), "192.0.2.1");
            let forwarded = format!("{text}, for=192.0.2.1");
            if let Ok(user) = asked(PROXY, &[("f", &forwarded)]) {
                prop_assert_eq!(user.address.ip().to_string(), "192.0.2.1");
            }
        }
    }
}
