//! What console URLs begin with, taken apart.

/// A URL that a browser opens, or a WebSocket client connects to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Url {
    /// A name or an IP address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Url {
    /// None where it is no URL of these schemes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let default = match scheme {
            "http" | "ws" => 80,
            "https" | "wss" => 443,
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, default),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        (!host.is_empty()).then_some(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_as_browsers_do() {
        for (text, host, port) in [
            ("http://127.0.0.1:6083/serial.html", "127.0.0.1", 6083),
            ("wss://console.example", "console.example", 443),
            ("https://console.example:443/a/b?c", "console.example", 443),
            ("http://[::1]:80/", "::1", 80),
            ("http://[fd00::7]", "fd00::7", 80),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
        }
        for text in ["", "console.example", "ftp://a", "http://", "http://a:x/"] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }
}
