//! How the hosts of a cluster verify each other: the certificate's chain, then the name in it, and
//! that it was not removed.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use rustls::CertificateError;
use rustls::DigitallySignedStruct;
use rustls::DistinguishedName;
use rustls::Error;
use rustls::OtherError;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::server::ParsedCertificate;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerified;
use rustls::server::danger::ClientCertVerifier;
use serialproxy_tls::Stamp;
use serialproxy_tls::certificates;

use crate::peer::Peer;
use crate::peer::PeerError;
use crate::removed::Removed;
use crate::removed::Status;
use crate::role::Role;

/// Why this host cannot be part of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be used.
    #[error("{0}; `serialproxy cluster init` and `serialproxy join` create the files of a cluster")]
    File(#[from] serialproxy_tls::CertificateError),
    /// Other hosts would not accept its certificate.
    #[error(
        "the certificate of this host cannot be used: {}; to replace it, use `serialproxy enroll \
         --replace NAME` on an api host",
        in_words(.0)
    )]
    Own(Error),
    /// Its certificate names another host.
    #[error("the certificate is that of host {found}, but [cluster] name is {expected}")]
    OtherName {
        /// The name in the certificate.
        found: String,
        /// The name in the configuration.
        expected: String,
    },
    /// Its certificate names no host.
    #[error("the certificate of this host cannot be used: {0}")]
    Nameless(#[from] PeerError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] Error),
}

/// The CA that verifies other hosts. Its certificates are read again when their file changes.
#[derive(Debug)]
pub(crate) struct Trust {
    file: PathBuf,
    anchors: RwLock<Anchors>,
    removed: Removed,
    provider: Arc<CryptoProvider>,
}

#[derive(Clone, Debug)]
struct Anchors {
    /// The version of the file that was read last, whether it could be used or not.
    stamp: Option<Stamp>,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    pub(crate) fn load(
        file: PathBuf,
        removed: Removed,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, IdentityError> {
        let anchors = RwLock::new(Anchors::read(&file, &provider)?);
        Ok(Self { file, anchors, removed, provider })
    }

    /// Reads the CA certificates again if their file has changed. A file that cannot be used
    /// changes nothing.
    pub(crate) fn reload_if_changed(&self) {
        let stamp = Stamp::of(&self.file).ok();
        if self.anchors().stamp == stamp {
            return;
        }
        let read = Anchors::read(&self.file, &self.provider);
        let file = self.file.display();
        let mut anchors = self.anchors.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(new) => {
                *anchors = new;
                tracing::info!(%file, "the cluster's CA certificates were reloaded");
            }
            Err(error) => {
                anchors.stamp = stamp;
                tracing::error!(%error, "the cluster's new CA certificates cannot be used; keeping \
                         the previous ones");
            }
        }
    }

    /// Verifies the certificate of a server.
    pub(crate) fn server(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Peer, Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(shown)?;
        let roots = self.anchors().roots;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, chain, now, algorithms)?;
        self.admit(shown).map_err(refused)
    }

    fn admit(&self, verified: &CertificateDer<'_>) -> Result<Peer, PeerError> {
        let peer = Peer::read(verified)?;
        match self.removed.status(&peer.serial) {
            Status::Good => Ok(peer),
            Status::Removed => Err(PeerError::Removed(peer.host)),
            Status::Unknowable => Err(PeerError::Unknowable(peer.host)),
        }
    }

    pub(crate) fn removed(&self) -> &Removed {
        &self.removed
    }

    fn anchors(&self) -> Anchors {
        self.anchors.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Anchors {
    fn read(file: &Path, provider: &Arc<CryptoProvider>) -> Result<Self, IdentityError> {
        let stamp = Stamp::of(file).ok();
        let mut roots = RootCertStore::empty();
        for certificate in certificates(file)? {
            roots.add(certificate)?;
        }
        let roots = Arc::new(roots);
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        let clients = clients.build().map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { stamp, roots, clients })
    }
}

pub(crate) fn refused(error: PeerError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// Why a handshake failed, in words for the log.
pub fn reason(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    tls.map_or_else(|| error.to_string(), in_words)
}

pub(crate) fn in_words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) => {
            reason.to_string()
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the certificate was issued by another CA".to_owned()
        }
        error => error.to_string(),
    }
}

/// Verifies the hosts that connect to a listener.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) trust: Arc<Trust>,
    /// Whether a client may send no certificate.
    pub(crate) may_be_strangers: bool,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        !self.may_be_strangers
    }

    /// Every host has only one certificate, so it needs no hint to choose one.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.trust.anchors().clients.verify_client_cert(shown, chain, now)?;
        self.trust.admit(shown).map_err(refused)?;
        Ok(verified)
    }

    signatures!(self => self.trust.provider);
}

/// Verifies that a server is one host in one role. Its address does not matter.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) trust: Arc<Trust>,
    pub(crate) name: String,
    pub(crate) role: Role,
}

impl Host {
    fn is(&self, peer: &Peer) -> Result<(), PeerError> {
        if peer.host != self.name {
            let (found, expected) = (peer.host.clone(), self.name.clone());
            return Err(PeerError::OtherHost { found, expected });
        }
        peer.require(self.role)
    }
}

impl ServerCertVerifier for Host {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let peer = self.trust.server(shown, chain, now)?;
        self.is(&peer).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!(self => self.trust.provider);
}
