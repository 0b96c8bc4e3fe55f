//! Connections to the program, plain and over TLS.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio_websockets::Connector;
use tokio_websockets::MaybeTlsStream;

use crate::within;

/// Connects to `host:port`; over TLS where a CA is named, which verifies the certificate.
///
/// # Errors
///
/// When the connection or its TLS handshake fails.
pub async fn connect(ca: Option<&Path>, address: &str) -> io::Result<MaybeTlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    within(connect_on(stream, ca, address)).await
}

/// The same on an open TCP connection, without a limit of time.
///
/// # Errors
///
/// When the TLS handshake fails.
pub async fn connect_on(
    stream: TcpStream,
    ca: Option<&Path>,
    address: &str,
) -> io::Result<MaybeTlsStream<TcpStream>> {
    let connector = ca.map_or(Connector::Plain, |ca| {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Connector::Rustls(Arc::new(config).into())
    });
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    connector.wrap(host, stream).await.map_err(io::Error::other)
}
