//! Values that name hosts, ports and addresses. The text of a refusal continues after the value.

use std::net::IpAddr;

use serialproxy_proto::address;
use serialproxy_proto::address::host;
use serialproxy_proto::address::is_bare_v6;
use serialproxy_proto::address::split;
use serialproxy_proto::address::target;

use crate::scalar::number;

/// Longest URL, since it is part of every answer and of address bars.
const MAX_URL: usize = 2048;

/// The address of a listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// An IP address, or a name, which is resolved when the program starts.
    pub host: String,
    /// TCP port; 0 is any free one.
    pub port: u16,
}

impl Listen {
    /// Whether only this machine can reach it, judging by the name.
    pub fn is_local(&self) -> bool {
        is_local(&self.host)
    }
}

/// A half-open range of TCP ports: `start` is the first, `end` the first that is not in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortRange {
    /// First port, at least 1.
    pub start: u16,
    /// One past the last port, at most 65536, so it needs the wider type.
    pub end: u32,
}

/// The address of an API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiAddress {
    /// Whether it uses TLS.
    pub tls: bool,
    /// `HOST:PORT`, an IPv6 address in brackets.
    pub authority: String,
}

/// A half-open range of ports, `START:END`.
pub(crate) fn port_range(text: &str) -> Result<PortRange, String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((start, end)) = text.split_once(':').filter(|(a, b)| digits(a) && digits(b)) else {
        return Err("does not have the form START:END".into());
    };
    let Ok(start) = number(start, 1..=u16::MAX) else {
        return Err("starts outside the ports 1 to 65535".into());
    };
    let Ok(end) = number(end, 0..=65536_u32) else {
        return Err("ends above 65536".into());
    };
    match u32::from(start).cmp(&end) {
        std::cmp::Ordering::Less => Ok(PortRange { start, end }),
        std::cmp::Ordering::Equal => Err("is empty: END is the first port after the range".into()),
        std::cmp::Ordering::Greater => Err("ends before it starts".into()),
    }
}

/// `HOST:PORT` to listen on; an IPv6 address has brackets. A name is not resolved here, since
/// loading opens no socket.
pub(crate) fn listen(text: &str) -> Result<Listen, String> {
    let (host, port) = split(text)?;
    let Ok(port) = number(port, 0..=u16::MAX) else {
        return Err("has a port that is not within 0 and 65535".into());
    };
    let host = address::host(host).map_err(|reason| format!("has a host that {reason}"))?;
    Ok(Listen { host, port })
}

/// Whether a host is a local name of this machine, judging by the name.
pub(crate) fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

/// The beginning of console URLs. A token is appended as `?token=`.
pub(crate) fn base_url(text: &str) -> Result<String, String> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("contains white space or a character that is not ASCII".into());
    }
    if text.contains(['?', '#', '"', '<', '>', '\\', '`', '{', '}', '|', '^']) {
        return Err("contains a query, a fragment or a character that is not valid in a URL".into());
    }
    if text.len() > MAX_URL {
        return Err(format!("is longer than {MAX_URL} bytes"));
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    if !["http", "https", "ws", "wss"].contains(&scheme) {
        return Err("does not begin with http://, https://, ws:// or wss://".into());
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let valid = target(authority).is_ok() || (host(authority).is_ok() && !is_bare_v6(authority));
    if valid { Ok(text.to_owned()) } else { Err("has no valid host, or no valid port".into()) }
}

/// The URL of an OpenStack service, without a trailing slash.
pub(crate) fn service_url(text: &str) -> Result<String, String> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err("does not begin with http:// or https://".into());
    }
    base_url(text).map(|url| url.trim_end_matches('/').to_owned())
}

/// The API's URL.
pub(crate) fn api_url(text: &str) -> Result<ApiAddress, String> {
    let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err("does not begin with http:// or https://".into()),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('/') {
        return Err("has a path: give only scheme, host and port".into());
    }
    let authority = if target(authority).is_ok() {
        authority.to_owned()
    } else if host(authority).is_ok() && !is_bare_v6(authority) {
        let port = if tls { 443 } else { 80 };
        format!("{authority}:{port}")
    } else {
        return Err("has no valid host, or no valid port".into());
    };
    Ok(ApiAddress { tls, authority })
}

/// The value of `frame-ancestors` (CSP). Adds the quotes of `none` and `self` where the file format
/// has removed them.
pub(crate) fn frame_ancestors(text: &str) -> Result<String, String> {
    let mut sources = Vec::new();
    for source in text.split_whitespace() {
        match source {
            "none" | "'none'" => sources.push("'none'"),
            "self" | "'self'" => sources.push("'self'"),
            _ if is_frame_source(source) => sources.push(source),
            _ => return Err("contains something that is neither a scheme nor a host".into()),
        }
    }
    if sources.is_empty() {
        return Err("is empty".into());
    }
    if sources.len() > 1 && sources.contains(&"'none'") {
        return Err("combines 'none' with other values".into());
    }
    Ok(sources.join(" "))
}

/// The characters of a source expression that is not a keyword (CSP Level 3 section 2.3.1).
fn is_frame_source(source: &str) -> bool {
    source.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*.-_:/[]~%+".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_port_range_is_half_open() {
        assert_eq!(port_range("10000:20000"), Ok(PortRange { start: 10000, end: 20000 }));
        assert_eq!(port_range("1:65536"), Ok(PortRange { start: 1, end: 65536 }));
        assert_eq!(port_range("65535:65536"), Ok(PortRange { start: 65535, end: 65536 }));
    }

    #[test]
    fn a_wrong_port_range_says_what_is_wrong() {
        let wrong = |text| port_range(text).unwrap_err();
        for text in ["", "1", "1-2", ":", "1:", ":2", "1:2:3", " 1:2", "a:b", "+1:2", "1:-2"] {
            assert_eq!(wrong(text), "does not have the form START:END", "{text}");
        }
        assert_eq!(wrong("0:10"), "starts outside the ports 1 to 65535");
        assert_eq!(wrong("65536:65537"), "starts outside the ports 1 to 65535");
        assert_eq!(wrong("1:65537"), "ends above 65536");
        assert_eq!(wrong("5:99999999999999999999"), "ends above 65536");
        assert_eq!(wrong("5:5"), "is empty: END is the first port after the range");
        assert_eq!(wrong("6:5"), "ends before it starts");
    }

    #[test]
    fn one_listens_on_an_address_or_a_name_and_a_port() {
        let at = |host: &str, port| Ok(Listen { host: host.into(), port });
        assert_eq!(listen("127.0.0.1:0"), at("127.0.0.1", 0));
        assert_eq!(listen("localhost:8774"), at("localhost", 8774));
        assert_eq!(listen("api.example.com:80"), at("api.example.com", 80));
        assert_eq!(listen("[::]:8774"), at("::", 8774));
        let no_host = "has a host that is neither an IP address nor a host name";
        for (text, reason) in [
            ("127.0.0.1", "has no port"),
            (":80", "has no host"),
            ("::1:80", "has an IPv6 address without brackets, or no port"),
            ("127.0.0.1:65536", "has a port that is not within 0 and 65535"),
            ("127.0.0.1:", "has a port that is not within 0 and 65535"),
            ("[::1]", "has a port that is not within 0 and 65535"),
            ("1.2.3:80", no_host),
            ("[127.0.0.1]:80", no_host),
        ] {
            assert_eq!(listen(text), Err(reason.into()), "{text}");
        }
    }

    #[test]
    fn a_base_url_has_a_scheme_and_a_host() {
        for text in [
            "http://127.0.0.1:6083/serial.html",
            "https://console.example.com",
            "ws://127.0.0.1:6083/",
            "wss://[::1]:443/a/b",
            "http://[::1]/",
        ] {
            assert_eq!(base_url(text), Ok(text.into()));
        }
    }

    #[test]
    fn a_wrong_base_url_says_what_is_wrong() {
        let scheme = "does not begin with http://, https://, ws:// or wss://";
        let rest = "contains a query, a fragment or a character that is not valid in a URL";
        let space = "contains white space or a character that is not ASCII";
        let host = "has no valid host, or no valid port";
        for (text, reason) in [
            ("", scheme),
            ("example.com", scheme),
            ("ftp://a", scheme),
            ("HTTP://a", scheme),
            ("http://a/?x=1", rest),
            ("http://a/#x", rest),
            ("http://a/\"", rest),
            ("http://a /", space),
            ("http://a/\nb", space),
            ("http://ä/", space),
            ("http://", host),
            ("http:///serial.html", host),
            ("http://:80/", host),
            ("http://a:0/", host),
            ("http://a:x/", host),
            ("http://::1/", host),
            ("http://user:secret@a/", host),
        ] {
            assert_eq!(base_url(text), Err(reason.into()), "{text}");
        }
        let long = format!("http://a/{}", "x".repeat(MAX_URL));
        assert_eq!(base_url(&long), Err("is longer than 2048 bytes".into()));
    }

    #[test]
    fn a_service_is_found_over_http_or_https() {
        assert_eq!(service_url("http://10.0.0.1/identity/"), Ok("http://10.0.0.1/identity".into()));
        assert_eq!(service_url("https://[::1]:5000/v3"), Ok("https://[::1]:5000/v3".into()));
        for text in ["", "ws://a/", "a:5000", "http://", "http://user:secret@a/"] {
            assert!(service_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn frame_ancestors_are_sources_and_cannot_add_a_directive() {
        assert_eq!(frame_ancestors("none"), Ok("'none'".into()));
        assert_eq!(frame_ancestors("'none'"), Ok("'none'".into()));
        assert_eq!(
            frame_ancestors("self  https://*.example.com:8443 https:"),
            Ok("'self' https://*.example.com:8443 https:".into())
        );
        for text in ["a; script-src *", "a, b", "'unsafe-inline'", "\"a\"", "ä"] {
            let reason = "contains something that is neither a scheme nor a host";
            assert_eq!(frame_ancestors(text), Err(reason.into()), "{text}");
        }
        assert_eq!(frame_ancestors(" "), Err("is empty".into()));
        assert_eq!(frame_ancestors("none a"), Err("combines 'none' with other values".into()));
    }

    #[test]
    fn an_api_url_is_a_host_and_a_port_behind_http_or_https() {
        for (text, tls, authority) in [
            ("http://127.0.0.1:8774", false, "127.0.0.1:8774"),
            ("http://api.example.com:8774/", false, "api.example.com:8774"),
            ("http://api.example.com", false, "api.example.com:80"),
            ("https://api.example.com", true, "api.example.com:443"),
            ("https://[::1]:8774", true, "[::1]:8774"),
            ("http://[::1]", false, "[::1]:80"),
        ] {
            assert_eq!(
                api_url(text),
                Ok(ApiAddress { tls, authority: authority.into() }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_wrong_api_url_says_what_is_wrong() {
        for (text, reason) in [
            ("a:8774", "does not begin with http:// or https://"),
            ("http://a/compute", "has a path: give only scheme, host and port"),
            ("http://", "has no valid host, or no valid port"),
            ("http://::1", "has no valid host, or no valid port"),
            ("http://a:0", "has no valid host, or no valid port"),
            ("http://user@a", "has no valid host, or no valid port"),
            ("http://a?b", "has no valid host, or no valid port"),
        ] {
            assert_eq!(api_url(text), Err(reason.into()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "[0-9a-z:/.\\[\\]%@-]{0,40}|.{0,60}") {
            let _ = (port_range(&text), listen(&text), target(&text));
            let _ = (host(&text), base_url(&text), frame_ancestors(&text));
            let _ = api_url(&text);
        }

        #[test]
        fn every_range_within_the_ports_is_itself(start in 1..=u16::MAX, end in 2..=65536_u32) {
            prop_assume!(u32::from(start) < end);
            prop_assert_eq!(port_range(&format!("{start}:{end}")), Ok(PortRange { start, end }));
        }

        #[test]
        fn every_address_is_itself(address: std::net::SocketAddr) {
            prop_assume!(!address.to_string().contains('%'));
            let (host, port) = (address.ip().to_string(), address.port());
            let plain = std::net::SocketAddr::new(address.ip(), port);
            prop_assert_eq!(listen(&plain.to_string()), Ok(Listen { host, port }));
        }
    }
}
