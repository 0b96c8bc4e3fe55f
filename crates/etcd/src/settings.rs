//! The address of etcd, and the credentials for it.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::EtcdError;

/// Most nodes of one etcd that are tried.
const ENDPOINTS: usize = 16;

/// The address of etcd, and the credentials for it.
#[derive(Clone)]
pub struct Settings {
    /// URLs of its nodes (`https://10.0.0.1:2379`). Any of them is enough.
    pub endpoints: Vec<String>,
    /// Files for `https`; none for `http`.
    pub tls: Option<Tls>,
    /// User name and password. Without them, etcd may know a client by its certificate's common name.
    pub user: Option<(String, String)>,
    /// The prefix of every key.
    pub prefix: String,
}

/// Files for TLS. A renewed certificate is used within seconds.
#[derive(Clone, Debug)]
pub struct Tls {
    /// CA bundle that verifies etcd's nodes.
    pub ca: PathBuf,
    /// The client's certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl Settings {
    /// # Errors
    ///
    /// In words, when they are contradictory.
    pub(crate) fn check(&self) -> Result<(), EtcdError> {
        let wrong = |text: String| Err(EtcdError::Settings(text));
        if !(1..=ENDPOINTS).contains(&self.endpoints.len()) {
            return wrong(format!("it needs 1 to {ENDPOINTS} endpoints"));
        }
        if self.prefix.is_empty() {
            return wrong("it needs a prefix for its keys".into());
        }
        for endpoint in &self.endpoints {
            let (scheme, host) = endpoint.split_once("://").unwrap_or(("", endpoint));
            if host.contains('@') {
                return wrong("an endpoint must not contain a user or password".into());
            }
            match (scheme, &self.tls) {
                ("http", _) | ("https", Some(_)) => {}
                ("https", None) => return wrong(format!("{endpoint} needs a CA bundle")),
                _ => return wrong(format!("an endpoint is http:// or https://, not {endpoint}")),
            }
        }
        Ok(())
    }
}

impl Tls {
    /// When the client's certificate was written.
    pub(crate) fn written(&self) -> Option<SystemTime> {
        let (certificate, _) = self.client.as_ref()?;
        std::fs::metadata(certificate).ok()?.modified().ok()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.tls)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: &str) -> Settings {
        let user = Some(("serialproxy".into(), "hunter2".into()));
        Settings { endpoints: vec![endpoint.into()], tls: None, user, prefix: "/s/".into() }
    }

    #[test]
    fn an_endpoint_is_a_url_without_credentials() {
        assert_eq!(settings("http://127.0.0.1:2379").check(), Ok(()));
        for endpoint in ["127.0.0.1:2379", "http://me:pw@h:1", "ftp://h", "https://h:1", ""] {
            let refused = settings(endpoint).check().unwrap_err().to_string();
            assert!(!refused.contains("pw@"), "{refused}");
        }
    }

    #[test]
    fn the_debug_form_hides_the_password() {
        assert!(!format!("{:?}", settings("http://h")).contains("hunter2"));
    }
}
