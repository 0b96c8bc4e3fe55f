//! `[cluster]`: the cluster that this host belongs to, and its shared store.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use super::Listen;
use crate::login::Secret;
use crate::machine;

/// `[cluster]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cluster {
    /// URLs of etcd, `http(s)://HOST:PORT`; none means one machine, with SQLite.
    pub etcd_endpoints: Vec<String>,
    /// CA bundle that verifies etcd (PEM), where it is not the cluster's CA.
    pub etcd_ca_file: Option<PathBuf>,
    /// Client certificate for etcd (PEM), where it is not the host's.
    pub etcd_cert_file: Option<PathBuf>,
    /// Its private key (PEM).
    pub etcd_key_file: Option<PathBuf>,
    /// etcd's user, where its common name authentication is not used.
    pub etcd_username: Option<String>,
    /// Their password.
    pub etcd_password: Option<Secret>,
    /// What all keys begin with; begins and ends with a slash.
    pub etcd_prefix: String,
    /// The name of this host in the cluster; empty where none is set and the machine's own is of no
    /// use.
    pub name: String,
    /// Where the other hosts connect to.
    pub listen: Listen,
    /// `HOST:PORT` by which they reach it, if it is set; see [`Self::advertised`].
    pub advertise: Option<String>,
    /// The cluster's CA certificate, or CA bundle (PEM).
    pub ca_file: PathBuf,
    /// The certificate of this host (PEM).
    pub cert_file: PathBuf,
    /// Its private key (PEM).
    pub key_file: PathBuf,
    /// Lifetime of the certificates that this host issues.
    pub certificate_life: Duration,
}

impl Cluster {
    /// Whether there is a cluster: a store that hosts share.
    pub fn is_set(&self) -> bool {
        !self.etcd_endpoints.is_empty()
    }

    /// CA bundle that verifies etcd.
    pub fn ca_of_etcd(&self) -> &Path {
        self.etcd_ca_file.as_deref().unwrap_or(&self.ca_file)
    }

    /// Client certificate for etcd, and its private key.
    pub fn certificate_for_etcd(&self) -> (&Path, &Path) {
        match (&self.etcd_cert_file, &self.etcd_key_file) {
            (Some(cert), Some(key)) => (cert, key),
            _ => (&self.cert_file, &self.key_file),
        }
    }

    /// `HOST:PORT` by which other hosts reach the cluster listener, which has this port.
    pub fn advertised(&self, port: u16) -> String {
        let own = || format!("{}:{port}", machine::fqdn().unwrap_or_else(|| self.name.clone()));
        self.advertise.clone().unwrap_or_else(own)
    }
}
