//! TLS to the hypervisors' ports: the CA bundle and our client certificate. Both may change while
//! the program runs, as the users' certificate may; open connections go on.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::Context;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serialproxy_config::values::SerialConsole;
use serialproxy_tls::Stamp;
use tokio::sync::watch;

/// The present configuration, and the files that it comes from.
#[derive(Debug)]
pub(crate) struct Hypervisors {
    files: Files,
    /// The versions of the files that were read last, whether they could be used or not.
    stamps: Mutex<Vec<Option<Stamp>>>,
    current: watch::Sender<Arc<ClientConfig>>,
}

#[derive(Debug)]
struct Files {
    ca_certs: PathBuf,
    /// Our certificate, and its key.
    client: Option<(PathBuf, PathBuf)>,
}

impl Hypervisors {
    /// Reads `tls_ca_certs`, `tls_client_cert` and `tls_client_key`; none where the first is not set.
    pub(crate) fn load(console: &SerialConsole) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(ca_certs) = console.tls_ca_certs.clone() else { return Ok(None) };
        let client = console.tls_client_cert.clone().zip(console.tls_client_key.clone());
        let files = Files { ca_certs, client };
        let stamps = Mutex::new(files.stamps());
        let current = watch::Sender::new(Arc::new(files.read()?));
        Ok(Some(Arc::new(Self { files, stamps, current })))
    }

    /// The present configuration, for lines, which read it at each connection.
    pub(crate) fn current(&self) -> watch::Receiver<Arc<ClientConfig>> {
        self.current.subscribe()
    }

    /// Uses the present content of the files from now on. If it cannot be used, logs that and keeps
    /// the configuration. Returns whether a file had changed and its content is used now.
    pub(crate) fn reload(&self) -> bool {
        let stamps = self.files.stamps();
        let mut known = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = std::mem::replace(&mut *known, stamps.clone()) != stamps;
        drop(known);
        match self.files.read() {
            Ok(new) => {
                self.current.send_replace(Arc::new(new));
                tracing::info!("the certificates for TLS to hypervisors were reloaded");
                is_other
            }
            Err(error) => {
                tracing::error!(
                    "the new certificates for TLS to hypervisors cannot be used; keeping the \
                     previous ones: {error:#}"
                );
                false
            }
        }
    }

    /// Calls [`Self::reload`] if a file has changed since it was read last.
    pub(crate) fn reload_if_changed(&self) -> bool {
        let known = self.stamps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.files.stamps() != known && self.reload()
    }
}

impl Files {
    fn stamps(&self) -> Vec<Option<Stamp>> {
        let client = self.client.iter().flat_map(|(cert, key)| [cert, key]);
        [&self.ca_certs].into_iter().chain(client).map(|path| Stamp::of(path).ok()).collect()
    }

    fn read(&self) -> anyhow::Result<ClientConfig> {
        let ca_certs = &self.ca_certs;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca_certs, "tls_ca_certs")? {
            roots.add(certificate).with_context(|| {
                let file = ca_certs.display();
                format!("[serial_console] tls_ca_certs: {file} contains an invalid certificate")
            })?;
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        let Some((cert, key)) = &self.client else { return Ok(config.with_no_client_auth()) };
        let chain = certificates(cert, "tls_client_cert")?;
        let key = PrivateKeyDer::from_pem_file(key).with_context(|| {
            format!("[serial_console] tls_client_key: {} contains no key", key.display())
        })?;
        config
            .with_client_auth_cert(chain, key)
            .context("[serial_console] tls_client_cert and tls_client_key do not belong together")
    }
}

fn certificates(path: &Path, option: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    serialproxy_tls::certificates(path).with_context(|| format!("[serial_console] {option}"))
}
