//! Values of `[cluster]`. The text of a refusal continues after the value.

use std::ops::RangeInclusive;
use std::time::Duration;

use serialproxy_proto::address::target;

use crate::error::shown;
use crate::machine;
use crate::option::Surroundings;
use crate::scalar::list;
use crate::scalar::number;
use crate::scalar::one_line;

/// Longest name of a host in the cluster, as for a host name.
const MAX_NAME: usize = 253;

/// Most etcd endpoints: a cluster of etcd has up to seven members.
const MAX_ENDPOINTS: usize = 16;

/// Longest prefix of keys.
const MAX_PREFIX: usize = 255;

/// How long a certificate may live, in seconds: 60 s to 825 days.
const LIFE: RangeInclusive<u64> = 60..=825 * DAY;

const DAY: u64 = 24 * 3600;

/// The name of a host in the cluster. It is part of certificates, URLs and keys, where case counts,
/// and people write it, too, for whom it does not: so it is lower case.
///
/// # Errors
///
/// When it is not such a name; the reason continues after it.
pub fn name(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let valid = text.bytes().all(inner)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.len() <= MAX_NAME;
    if valid { Ok(text.to_ascii_lowercase()) } else { Err("is not a name of a host".into()) }
}

/// The URLs of etcd.
pub(crate) fn endpoints(text: &str) -> Result<Vec<String>, String> {
    let endpoints = list(text)?;
    if endpoints.len() > MAX_ENDPOINTS {
        return Err(format!("has more than {MAX_ENDPOINTS} URLs"));
    }
    endpoints.into_iter().map(endpoint).collect()
}

fn endpoint(text: &str) -> Result<String, String> {
    let shown = shown(text);
    let url = text.strip_suffix('/').unwrap_or(text);
    let authority = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let authority = authority.ok_or_else(|| {
        format!("contains `{shown}`, which does not begin with http:// or https://")
    })?;
    target(authority).map_err(|reason| format!("contains `{shown}`, which {reason}"))?;
    Ok(url.to_owned())
}

/// The prefix of keys.
pub(crate) fn prefix(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_graphic();
    if !text.starts_with('/') || !text.ends_with('/') || text.len() < 3 {
        return Err("does not begin and end with a slash, with a name in between".into());
    }
    if text.len() > MAX_PREFIX || !text.bytes().all(inner) {
        return Err(format!(
            "is longer than {MAX_PREFIX} bytes, or has a character other than visible ASCII"
        ));
    }
    Ok(text.to_owned())
}

/// `HOST:PORT` at which other hosts reach this one.
pub(crate) fn advertise(text: &str) -> Result<String, String> {
    let (host, _) = target(text)?;
    if host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified()) {
        return Err("is not an address that other hosts can connect to".into());
    }
    Ok(text.to_owned())
}

/// The lifetime of a certificate.
pub(crate) fn life(text: &str) -> Result<Duration, String> {
    let life = duration(text)?;
    if LIFE.contains(&life.as_secs()) { Ok(life) } else { Err("is not within 60s and 825d".into()) }
}

/// A time: seconds, or a number with the unit s, m, h or d.
///
/// # Errors
///
/// When it is not a time; the reason continues after it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.strip_prefix(digits).unwrap_or_default() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => DAY,
        _ => return Err("has a unit other than s, m, h and d".into()),
    };
    let seconds = number(digits, 0..=u64::MAX)?.checked_mul(unit);
    seconds.map(Duration::from_secs).ok_or_else(|| "is too long".into())
}

/// A user of etcd.
pub(crate) fn username(text: &str) -> Result<String, String> {
    one_line(text).map(str::to_owned)
}

pub(crate) fn default_name(_: &Surroundings) -> Option<String> {
    name(&machine::host_name()?).ok()
}

pub(crate) fn default_ca(surroundings: &Surroundings) -> Option<String> {
    file(surroundings, "ca.pem")
}

pub(crate) fn default_cert(surroundings: &Surroundings) -> Option<String> {
    file(surroundings, "cert.pem")
}

pub(crate) fn default_key(surroundings: &Surroundings) -> Option<String> {
    file(surroundings, "key.pem")
}

fn file(surroundings: &Surroundings, name: &str) -> Option<String> {
    let path = surroundings.state_dir.join("cluster").join(name);
    Some(path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_lower_case_and_has_no_character_that_a_key_or_a_url_could_misread() {
        assert_eq!(name("Compute-7.example_1"), Ok("compute-7.example_1".into()));
        for text in ["", "a/b", "a b", ".a", "-a", "ä", "a%2f", &"a".repeat(254)] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_are_urls_with_a_port_and_lose_their_slash() {
        let both = "https://etcd-1:2379/, http://[::1]:2379";
        let read = vec!["https://etcd-1:2379".to_owned(), "http://[::1]:2379".to_owned()];
        assert_eq!(endpoints(both), Ok(read));
        assert_eq!(endpoints(""), Ok(vec![]));
        for (text, why) in [
            ("etcd-1:2379", "does not begin with http:// or https://"),
            ("https://etcd-1", "has no port"),
            ("https://etcd-1:0", "has a port that is not within 1 and 65535"),
            ("https://u@etcd-1:2379", "is neither an IP address nor a host name"),
            ("https://etcd-1:2379/v3", "has a port that is not within 1 and 65535"),
        ] {
            let wrong = endpoints(text).unwrap_err();
            assert_eq!(wrong, format!("contains `{text}`, which {why}"));
        }
        assert!(endpoints(&"http://a:1,".repeat(17)).is_err());
    }

    #[test]
    fn a_life_is_a_number_of_seconds_or_has_a_unit() {
        for (text, seconds) in
            [("60", 60), ("90s", 90), ("2m", 120), ("1h", 3600), ("825d", 825 * DAY)]
        {
            assert_eq!(life(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["59", "826d", "", "d", "1.5h", "-1d", "1 d", "1w", "99999999999999999999d"] {
            assert!(life(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_has_slashes_around_it() {
        assert_eq!(prefix("/serialproxy/v1/"), Ok("/serialproxy/v1/".into()));
        for text in ["", "/", "//", "a/", "/a", "/a b/", "/ä/"] {
            assert!(prefix(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nobody_can_connect_to_an_address_that_stands_for_all() {
        assert_eq!(advertise("h1.example:6084"), Ok("h1.example:6084".into()));
        assert_eq!(advertise("[2001:db8::1]:6084"), Ok("[2001:db8::1]:6084".into()));
        for text in ["0.0.0.0:6084", "[::]:6084", "h1", "h1:0"] {
            assert!(advertise(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "[0-9a-z:/.,\\[\\]]{0,40}|.{0,40}") {
            let _ = (name(&text), endpoints(&text), prefix(&text), advertise(&text), life(&text));
        }
    }
}
