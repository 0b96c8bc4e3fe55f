//! The host at the other end of a connection, identified by its certificate.

use std::fmt;
use std::time::Duration;
use std::time::SystemTime;

use rustls::CommonState;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde::Serialize;
use serialproxy_config::cluster_name;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::role::Role;
use crate::role::Roles;

/// The protocol (ALPN) in which a proxy forwards users' requests to a host, and a host requests a
/// certificate.
pub const ALPN: &[u8] = b"serialproxy/1";

/// The protocol (ALPN) of an api role's calls to a host.
pub const CALLS: &[u8] = b"serialproxy-calls/1";

/// The prefix of hosts' names in a certificate: `serialproxy://ROLE/HOST`.
const SCHEME: &str = "serialproxy://";

/// A host of the cluster, as its certificate names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Its name in the cluster.
    pub host: String,
    /// Its roles.
    pub roles: Roles,
    /// The serial number of the certificate.
    pub serial: Serial,
    /// When the certificate's validity begins.
    pub since: SystemTime,
    /// When it ends.
    pub until: SystemTime,
    /// Its public key, in the certificate's encoding.
    pub key: Vec<u8>,
}

/// The serial number of a certificate, in lower-case hexadecimal.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Serial(String);

/// Why the peer is not the expected one. The certificate itself is verified before.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PeerError {
    /// It sent no certificate.
    #[error("no certificate was shown")]
    NoCertificate,
    /// It uses another protocol.
    #[error("no protocol of serialproxy was agreed on (ALPN)")]
    OtherProtocol,
    /// The certificate cannot be parsed.
    #[error("the certificate cannot be parsed")]
    Unreadable,
    /// The certificate has no name of ours.
    #[error("the certificate names no host of a cluster: it has no URI serialproxy://ROLE/HOST")]
    Nameless,
    /// The certificate names several hosts.
    #[error("the certificate names more than one host: {0} and {1}")]
    Ambiguous(String, String),
    /// The host was removed.
    #[error("host {0} was removed from the cluster")]
    Removed(String),
    /// It is unknown whether the host was removed.
    #[error(
        "cannot tell whether host {0} was removed from the cluster: etcd has too many removed certificates; \
         wait until some of them expire"
    )]
    Unknowable(String),
    /// It is another host.
    #[error("this is host {found}, not {expected}")]
    OtherHost {
        /// Its name.
        found: String,
        /// The expected name.
        expected: String,
    },
    /// It has another role.
    #[error("host {host} has the role {found}, and not {expected}")]
    OtherRole {
        /// Its name.
        host: String,
        /// Its roles.
        found: Roles,
        /// The required role.
        expected: Role,
    },
}

impl Peer {
    /// The host at the other end of a connection, after the handshake.
    ///
    /// # Errors
    ///
    /// When it sent no certificate, or does not speak our protocol.
    pub fn of(connection: &CommonState) -> Result<Self, PeerError> {
        if ![Some(ALPN), Some(CALLS)].contains(&connection.alpn_protocol()) {
            return Err(PeerError::OtherProtocol);
        }
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        Self::read(shown.ok_or(PeerError::NoCertificate)?)
    }

    /// The host that a certificate names. This verifies nothing.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| PeerError::Unreadable)?;
        let (host, roles) = names(&parsed)?;
        let validity = parsed.validity();
        Ok(Self {
            host,
            roles,
            serial: Serial::of(parsed.raw_serial()),
            since: time(validity.not_before.timestamp()),
            until: time(validity.not_after.timestamp()),
            key: parsed.public_key().subject_public_key.data.to_vec(),
        })
    }

    /// Checks that the host has this role; the error names its roles.
    ///
    /// # Errors
    ///
    /// When it does not have it.
    pub fn require(&self, role: Role) -> Result<(), PeerError> {
        if self.roles.has(role) {
            return Ok(());
        }
        let (host, found) = (self.host.clone(), self.roles.clone());
        Err(PeerError::OtherRole { host, found, expected: role })
    }
}

/// The host and its roles. A role that this version does not know is ignored, so that hosts of two
/// versions can communicate.
fn names(certificate: &X509Certificate<'_>) -> Result<(String, Roles), PeerError> {
    let names = certificate.subject_alternative_name().map_err(|_| PeerError::Unreadable)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let mut found: Option<(String, Option<Roles>)> = None;
    for (role, host) in names.iter().filter_map(named) {
        let (known, roles) = found.take().unwrap_or_else(|| (host.to_owned(), None));
        if known != host {
            return Err(PeerError::Ambiguous(known, host.to_owned()));
        }
        let roles = match (roles, role.parse().ok()) {
            (Some(roles), Some(role)) => Some(roles.and(role)),
            (roles, role) => roles.or_else(|| role.map(Roles::from)),
        };
        found = Some((known, roles));
    }
    match found {
        Some((host, Some(roles))) => Ok((host, roles)),
        _ => Err(PeerError::Nameless),
    }
}

/// The role and the host in a name of ours.
fn named<'a>(name: &GeneralName<'a>) -> Option<(&'a str, &'a str)> {
    let GeneralName::URI(uri) = *name else { return None };
    let (role, host) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    cluster_name(host).is_ok_and(|name| name == host).then_some((role, host))
}

/// The name of a host in a role, in the form that certificates use.
pub(crate) fn uri(role: Role, host: &str) -> String {
    format!("{SCHEME}{role}/{host}")
}

fn time(timestamp: i64) -> SystemTime {
    let seconds = u64::try_from(timestamp).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

impl Serial {
    /// A serial number from a certificate's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Serial {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;
    use rcgen::KeyPair;
    use rcgen::SanType;

    use super::*;

    fn read(uris: &[&str]) -> Result<Peer, PeerError> {
        let mut parameters = CertificateParams::default();
        let names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        parameters.subject_alt_names = names.collect();
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Peer::read(certificate.der())
    }

    #[test]
    fn a_certificate_names_one_host_and_its_roles() {
        let peer = read(&["serialproxy://proxy/h1", "serialproxy://api/h1"]).unwrap();
        assert_eq!((peer.host.as_str(), peer.roles.to_string().as_str()), ("h1", "api,proxy"));
        assert!(peer.require(Role::Api).is_ok());
        let wrong = peer.require(Role::Compute).unwrap_err().to_string();
        assert_eq!(wrong, "host h1 has the role api,proxy, and not compute");
    }

    #[test]
    fn names_of_others_and_roles_of_other_versions_say_nothing() {
        let peer = read(&["spiffe://a/b", "serialproxy://journal/h1", "serialproxy://compute/h1"]);
        assert_eq!(peer.unwrap().roles, Roles::from(Role::Compute));
    }

    #[test]
    fn a_certificate_without_exactly_one_host_names_nobody() {
        for uris in [
            &[][..],
            &["serialproxy://api/"],
            &["serialproxy://api"],
            &["serialproxy://root/h1"],
            &["serialproxy://api/H1"],
            &["serialproxy://api/h1/h2"],
            &["serialproxy://api/h1?"],
            &["https://api/h1"],
        ] {
            assert_eq!(read(uris), Err(PeerError::Nameless), "{uris:?}");
        }
        let two = read(&["serialproxy://api/h1", "serialproxy://root/h2"]);
        assert_eq!(two, Err(PeerError::Ambiguous("h1".into(), "h2".into())));
        assert_eq!(Peer::read(&CertificateDer::from(vec![0x30, 0x80])), Err(PeerError::Unreadable));
    }
}
