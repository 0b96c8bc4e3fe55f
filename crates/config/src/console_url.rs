//! The beginning of console URLs.

use std::net::IpAddr;

use crate::values::Listen;
use crate::values::SerialConsole;

impl SerialConsole {
    /// The beginning of a console URL: `base_url`, or else the address on which the proxy listens,
    /// with `https` if there is a certificate. A proxy that listens on all addresses is reached at
    /// the loopback one. Checks whether `cert` exists.
    pub fn console_url(&self) -> String {
        if let Some(url) = &self.base_url {
            return url.clone();
        }
        let Listen { host, port } = &self.listen;
        let scheme = if self.cert.exists() { "https" } else { "http" };
        let host = match host.parse() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".into(),
            Ok(IpAddr::V6(address)) if address.is_unspecified() => "[::1]".into(),
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => host.clone(),
        };
        format!("{scheme}://{host}:{port}/serial.html")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Config;

    fn url(host: &str, port: u16, cert: &str) -> String {
        let mut console = Config::default().serial_console;
        console.listen = Listen { host: host.into(), port };
        console.cert = cert.into();
        console.console_url()
    }

    #[test]
    fn a_console_url_follows_where_and_how_the_proxy_listens() {
        assert_eq!(url("0.0.0.0", 6083, ""), "http://127.0.0.1:6083/serial.html");
        assert_eq!(url("::", 1, "/nonexistent.pem"), "http://[::1]:1/serial.html");
        assert_eq!(url("fd00::7", 1, ""), "http://[fd00::7]:1/serial.html");
        assert_eq!(url("a.example", 7083, "/dev/null"), "https://a.example:7083/serial.html");
    }

    #[test]
    fn a_console_url_that_is_set_stays() {
        let mut console = Config::default().serial_console;
        console.base_url = Some("wss://a/".into());
        assert_eq!(console.console_url(), "wss://a/");
    }
}
