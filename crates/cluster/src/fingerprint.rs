//! How a host without a certificate recognizes the cluster that it joins: the api host sends the
//! CA's certificate after its own, and the code contains its fingerprint.

use std::sync::Arc;

use rustls::CertificateError;
use rustls::DigitallySignedStruct;
use rustls::Error;
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

use crate::authority::fingerprint;
use crate::peer::Peer;
use crate::role::Role;
use crate::trust::refused;

/// Verifies that a listener is an api host of the cluster whose CA has this fingerprint.
#[derive(Debug)]
pub(crate) struct ByFingerprint {
    pub(crate) fingerprint: [u8; 32],
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ca = chain.iter().find(|one| fingerprint(one) == self.fingerprint);
        let ca = ca.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(shown)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, chain, now, algorithms)?;
        let peer = Peer::read(shown).map_err(refused)?;
        // A compute host's certificate must not be enough to issue certificates.
        peer.require(Role::Api).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!(self => self.provider);
}
