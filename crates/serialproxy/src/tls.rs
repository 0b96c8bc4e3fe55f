//! TLS towards the hypervisors' ports.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serialproxy_config::values::SerialConsole;

/// What ports are trusted and who we are to them; none where `tls_ca_certs` is not set.
pub(crate) fn client(config: &SerialConsole) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    let Some(ca_certs) = &config.tls_ca_certs else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_certs, "tls_ca_certs")? {
        roots.add(certificate).with_context(|| {
            format!("[serial_console] tls_ca_certs: {} has a bad certificate", ca_certs.display())
        })?;
    }
    let config_builder = ClientConfig::builder().with_root_certificates(roots);
    let client = match (&config.tls_client_cert, &config.tls_client_key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert, "tls_client_cert")?;
            let key = PrivateKeyDer::from_pem_file(key).with_context(|| {
                format!("[serial_console] tls_client_key: no key in {}", key.display())
            })?;
            config_builder
                .with_client_auth_cert(chain, key)
                .context("[serial_console] tls_client_cert and tls_client_key do not fit")?
        }
        _ => config_builder.with_no_client_auth(),
    };
    Ok(Some(Arc::new(client)))
}

fn certificates(path: &Path, option: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    let all = all
        .with_context(|| format!("[serial_console] {option}: {} cannot be read", path.display()))?;
    anyhow::ensure!(
        !all.is_empty(),
        "[serial_console] {option}: no certificate in {}",
        path.display()
    );
    Ok(all)
}
