//! The beginning of console URLs, and whether users have TLS.

use std::io::ErrorKind;
use std::net::IpAddr;

use crate::values::Listen;
use crate::values::SerialConsole;

/// The certificate where none is set, in the working directory, as in Nova.
pub(crate) const DEFAULT_CERT: &str = "self.pem";

impl SerialConsole {
    /// The beginning of a console URL: `base_url`, or else the address on which the proxy listens,
    /// with `https` if there is a certificate. A proxy that listens on all addresses is reached at
    /// the loopback one.
    pub fn console_url(&self) -> String {
        if let Some(url) = &self.base_url {
            return url.clone();
        }
        let Listen { host, port } = &self.listen;
        let scheme = if self.has_certificate() { "https" } else { "http" };
        let host = match host.parse() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".into(),
            Ok(IpAddr::V6(address)) if address.is_unspecified() => "[::1]".into(),
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => host.clone(),
        };
        format!("{scheme}://{host}:{port}/serial.html")
    }

    /// Whether users have TLS. A certificate that is set has to be there, except in Nova's place; the file that
    /// `cert` names by default may be missing.
    pub fn has_certificate(&self) -> bool {
        if self.cert.as_os_str().is_empty() {
            return false;
        }
        let found = self.cert.metadata();
        let is_missing = found.is_err_and(|error| error.kind() == ErrorKind::NotFound);
        !(is_missing && self.cert_may_be_missing)
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
        assert_eq!(url("::", 1, "self.pem"), "http://[::1]:1/serial.html");
        assert_eq!(url("fd00::7", 1, ""), "http://[fd00::7]:1/serial.html");
        assert_eq!(url("a.example", 7083, "/dev/null"), "https://a.example:7083/serial.html");
    }

    #[test]
    fn a_certificate_that_is_set_is_expected_and_only_another_one_may_be_missing() {
        let mut console = Config::default().serial_console;
        assert!(!console.has_certificate());
        console.cert = "/nonexistent/self.pem".into();
        assert!(!console.has_certificate());
        console.cert_may_be_missing = false;
        assert!(console.has_certificate());
        console.cert = "".into();
        assert!(!console.has_certificate());
    }

    #[test]
    fn a_console_url_that_is_set_stays() {
        let mut console = Config::default().serial_console;
        console.base_url = Some("wss://a/".into());
        assert_eq!(console.console_url(), "wss://a/");
    }
}
