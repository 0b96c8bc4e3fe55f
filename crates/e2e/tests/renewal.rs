//! Certificates for hypervisors that change while the program runs.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use serialproxy_e2e::eventually;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::within;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A port with a certificate of this PKI, which accepts only clients of the same PKI.
fn acceptor(pki: &Pki) -> TlsAcceptor {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.file("ca-cert.pem")).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let chain = vec![CertificateDer::from_pem_file(pki.file("server-cert.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(pki.file("server-key.pem")).unwrap();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// The guest's end of the first connection with successful verification on both sides.
async fn trusted(port: &Port, acceptor: &TlsAcceptor) -> TlsStream<TcpStream> {
    within(async {
        loop {
            if let Ok(guest) = acceptor.accept(port.accept().await.0).await {
                return guest;
            }
        }
    })
    .await
}

/// Replaces the program's certificates by these, one after the other.
fn show(pki: &Pki, directory: &Path) {
    for name in ["ca-cert.pem", "client-cert.pem", "client-key.pem"] {
        let new = directory.join("new");
        std::fs::copy(pki.file(name), &new).unwrap();
        std::fs::rename(new, directory.join(name)).unwrap();
    }
}

#[tokio::test]
async fn certificates_for_hypervisors_are_read_again_when_they_change() {
    let (old, new, port) = (Pki::new(), Pki::new(), Port::new("switch").await);
    let directory = tempfile::tempdir().unwrap();
    show(&old, directory.path());
    let file = |name| directory.path().join(name).display().to_string();
    let (ca, cert, key) = (file("ca-cert.pem"), file("client-cert.pem"), file("client-key.pem"));
    let line = format!("switch tls://{}", port.address());
    let server = Server::start(&[
        "--serial_console-tls_ca_certs",
        &ca,
        "--serial_console-tls_client_cert",
        &cert,
        "--serial_console-tls_client_key",
        &key,
        "--static-line",
        &line,
    ])
    .await;
    let mut guest = trusted(&port, &acceptor(&old)).await;
    show(&new, directory.path());
    let other = acceptor(&new);
    // An open connection goes on; the next one uses the new content of the files.
    guest.write_all(b"still here").await.unwrap();
    guest.shutdown().await.unwrap();
    let mut guest = trusted(&port, &other).await;
    guest.write_all(b", and back").await.unwrap();
    let id = port.server();
    eventually(async || (server.line(&id, 0).await["offset"] == 20).then_some(())).await;
}
