//! HTTP byte by byte: requests that no client library would send, on plain and on TLS.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::within;

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    text: String,
}

impl Head {
    /// The value of a header; the name is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A byte stream, plain or TLS.
pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A connection to `host:port`; over TLS where a CA is named, which vouches for the server.
pub async fn connect(ca: Option<&Path>, address: &str) -> Box<dyn Bytes> {
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let Some(ca) = ca else { return Box::new(tcp) };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    Box::new(within(connector.connect(name, tcp)).await.unwrap())
}

/// Sends a request and reads the head of its answer.
pub async fn ask(ca: Option<&Path>, address: &str, request: &str) -> Head {
    open(ca, address, request).await.0
}

/// The same; returns the connection as well, on which nothing was read that follows the head.
pub async fn open(ca: Option<&Path>, address: &str, request: &str) -> (Head, Box<dyn Bytes>) {
    let mut stream = connect(ca, address).await;
    within(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let byte = within(stream.read_u8()).await;
        answer.push(byte.unwrap_or_else(|error| panic!("no answer to {request}: {error}")));
    }
    let text = String::from_utf8(answer).unwrap();
    (Head { status: text.split(' ').nth(1).unwrap().parse().unwrap(), text }, stream)
}
