//! What console URLs begin with, taken apart.

/// A URL that a browser opens, or a WebSocket client connects to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Url {
    pub(super) tls: bool,
    /// A name or an IP address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Begins with a slash.
    pub(super) path: String,
}

impl Url {
    /// None where it is no URL of these schemes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let tls = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return None,
        };
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(end) => rest.split_at(end),
            None => (rest, ""),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        (!host.is_empty()).then_some(Self { tls, host, port, path })
    }

    /// As the `Host` header has it.
    pub(super) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Where its pages come from, as a browser says it.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_as_browsers_do() {
        for (text, origin, path) in [
            ("http://127.0.0.1:6083/serial.html", "http://127.0.0.1:6083", "/serial.html"),
            ("wss://console.example", "https://console.example", "/"),
            ("https://console.example:443/a/b?c", "https://console.example", "/a/b"),
            ("http://[::1]:80/", "http://[::1]", "/"),
            ("http://[fd00::7]", "http://[fd00::7]", "/"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.origin().as_str(), url.path.as_str()), (origin, path), "{text}");
        }
        for text in ["", "console.example", "ftp://a", "http://", "http://a:x/"] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }
}
