//! This host in its cluster: its certificate, and the CA that verifies the other hosts.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::Error;
use rustls::ServerConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use serialproxy_config::values::Cluster;
use serialproxy_tls::Certificate;
use serialproxy_tls::Files;

use crate::peer::ALPN;
use crate::peer::CALLS;
use crate::peer::Peer;
use crate::peer::PeerError;
use crate::removed::Removed;
use crate::role::Role;
use crate::trust::Clients;
use crate::trust::Host;
use crate::trust::IdentityError;
use crate::trust::Trust;

/// Whether a listener accepts clients without a certificate. Only [`Peer::of`] tells them from
/// hosts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Strangers {
    /// The handshake fails.
    Refused,
    /// They may connect: a host that joins has no certificate yet.
    Admitted,
}

/// This host in its cluster. [`Self::reload_if_changed`] reads the certificates again; earlier
/// configurations then use the new ones.
#[derive(Debug)]
pub struct Identity {
    name: String,
    certificate: Arc<Certificate>,
    trust: Arc<Trust>,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    /// Reads the files of this host, and checks that other hosts will accept them.
    ///
    /// # Errors
    ///
    /// When they will not, or a file cannot be read.
    pub fn load(cluster: &Cluster) -> Result<Self, IdentityError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let files = Files { cert: cluster.cert_file.clone(), key: Some(cluster.key_file.clone()) };
        let certificate = Arc::new(Certificate::load(files)?);
        let trust =
            Trust::load(cluster.ca_file.clone(), Removed::default(), Arc::clone(&provider))?;
        let (name, trust) = (cluster.name.clone(), Arc::new(trust));
        let identity = Self { name, certificate, trust, provider };
        identity.check()?;
        Ok(identity)
    }

    fn check(&self) -> Result<(), IdentityError> {
        let own = self.own()?;
        if own.host != self.name {
            let (found, expected) = (own.host, self.name.clone());
            return Err(IdentityError::OtherName { found, expected });
        }
        let shown = self.certificate.shown();
        let (first, chain) = shown.cert.split_first().ok_or(PeerError::NoCertificate)?;
        self.trust.server(first, chain, UnixTime::now()).map_err(IdentityError::Own)?;
        Ok(())
    }

    /// This host as others see it: its name, roles and certificate.
    ///
    /// # Errors
    ///
    /// When the certificate that was loaded last names no host.
    pub fn own(&self) -> Result<Peer, PeerError> {
        let shown = self.certificate.shown();
        Peer::read(shown.cert.first().ok_or(PeerError::NoCertificate)?)
    }

    /// TLS for a listener for the hosts of the cluster.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up.
    pub fn server_config(&self, strangers: Strangers) -> Result<ServerConfig, Error> {
        let may_be_strangers = strangers == Strangers::Admitted;
        let clients = Clients { trust: Arc::clone(&self.trust), may_be_strangers };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?;
        let mut config = builder
            .with_client_cert_verifier(Arc::new(clients))
            .with_cert_resolver(Arc::clone(&self.certificate) as _);
        config.alpn_protocols = vec![ALPN.to_vec(), CALLS.to_vec()];
        // A resumed session would skip the check whether its host was removed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// TLS for a connection to one host in one role, at any address; use it with [`server_name`].
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up.
    pub fn client_config(&self, role: Role, host: &str) -> Result<ClientConfig, Error> {
        let verifier = Host { trust: Arc::clone(&self.trust), name: host.to_owned(), role };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?;
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::clone(&self.certificate) as _);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// The certificates of removed hosts.
    pub fn removed(&self) -> &Removed {
        self.trust.removed()
    }

    /// Whether this host was removed from the cluster.
    pub fn is_removed(&self) -> bool {
        self.own().is_ok_and(|own| self.removed().contains(&own.serial))
    }

    /// Waits until this host is removed from the cluster: then no other host accepts its
    /// certificate.
    pub async fn until_removed(&self) {
        self.removed().until_contains(|| Some(self.own().ok()?.serial)).await;
    }

    /// Reads the files that have changed. A file that cannot be used is logged, and changes
    /// nothing.
    pub fn reload_if_changed(&self) {
        self.certificate.reload_if_changed();
        self.trust.reload_if_changed();
    }
}

/// The name that a TLS client connects to. Nothing depends on it, since hosts are identified by the
/// names in their certificates.
pub fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
}
