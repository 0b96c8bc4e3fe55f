//! Hosts and ports as people write them: `HOST:PORT`, with an IPv6 address in brackets.
//!
//! An error is the rest of a sentence that begins with the text: `"a" has no port`.

use std::net::IpAddr;
use std::net::Ipv6Addr;

/// Longest host name (RFC 1035 section 2.3.4), and longest part between its dots.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// `HOST:PORT` to connect to; returns the host without brackets.
///
/// # Errors
///
/// When the text is something else.
pub fn target(text: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = split(text)?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|port| digits && *port > 0);
    let port = port.ok_or("has a port that is not within 1 and 65535")?;
    Ok((self::host(host)?, port))
}

/// A host name or an IP address, without brackets. Accepted values are safe in XML and URLs.
///
/// # Errors
///
/// When the text is something else.
pub fn host(text: &str) -> Result<String, &'static str> {
    if let Some(v6) = unbracketed(text) {
        return Ok(v6.to_string());
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.to_string());
    }
    if is_host_name(text) {
        return Ok(text.to_owned());
    }
    Err("is neither an IP address nor a host name")
}

/// The two parts of `HOST:PORT`, not checked further.
///
/// # Errors
///
/// When one of them is missing.
pub fn split(text: &str) -> Result<(&str, &str), &'static str> {
    match text.rsplit_once(':') {
        Some((host, _)) if is_bare_v6(host) => {
            Err("has an IPv6 address without brackets, or no port")
        }
        Some(("", _)) => Err("has no host"),
        Some(parts) => Ok(parts),
        None => Err("has no port"),
    }
}

/// `HOST:PORT` of a host without brackets.
pub fn join(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Whether colons are part of the host, so that a further one does not begin a port.
pub fn is_bare_v6(host: &str) -> bool {
    host.contains(':') && !host.starts_with('[')
}

fn unbracketed(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= MAX_HOST && name.split('.').all(is_label) && !ends_in_number(name)
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Such a name is meant as an IPv4 address, and is an invalid one (WHATWG URL section 3.5).
fn ends_in_number(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_an_address_or_a_sane_name() {
        for (text, host_) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
            ("FD00:0::1", "fd00::1"),
            ("[::1]", "::1"),
            ("compute-1.example.com", "compute-1.example.com"),
            ("node_7", "node_7"),
            ("a.", "a."),
        ] {
            assert_eq!(host(text), Ok(host_.into()));
        }
        let long = "a".repeat(64);
        for text in
            ["", ".", "a..b", "-a", "a-", "a b", "a'b", "a<b", "a:80", "300.1.1.1", "7", &long]
        {
            let reason = "is neither an IP address nor a host name";
            assert_eq!(host(text), Err(reason), "{text}");
        }
        assert!(host(&format!("{}a", "a.".repeat(126))).is_ok());
        assert!(host(&format!("{}ab", "a.".repeat(126))).is_err());
    }

    #[test]
    fn a_wrong_target_says_what_is_wrong() {
        let port = "has a port that is not within 1 and 65535";
        for (text, reason) in [
            ("a", "has no port"),
            (":80", "has no host"),
            ("::1:80", "has an IPv6 address without brackets, or no port"),
            ("a:", port),
            ("a:0", port),
            ("a:+1", port),
            ("a:65536", port),
            ("1.2.3:80", "is neither an IP address nor a host name"),
        ] {
            assert_eq!(target(text), Err(reason), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_that_is_joined_is_read_back(ip: IpAddr, port in 1..=u16::MAX) {
            prop_assert_eq!(target(&join(&ip.to_string(), port)), Ok((ip.to_string(), port)));
        }

        #[test]
        fn a_host_holds_nothing_that_xml_or_a_url_could_trip_over(text in "[ -~]{0,20}") {
            if let Ok(host) = host(&text) {
                prop_assert!(host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)));
            }
        }
    }
}
