//! Connections to what answers at a URL, and one HTTP/1.1 exchange over one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes of a head and of a body that are read at most.
const HEAD: usize = 16 * 1024;
const BODY: usize = 4 * 1024 * 1024;

/// A connection, with or without TLS.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(super) type Stream = Box<dyn Io>;

/// How TLS is spoken, and to whom.
pub(super) type Tls = (Arc<ClientConfig>, ServerName<'static>);

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    /// The first value of a field; its name in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value.as_str())
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields =
            fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Some(Self { status, fields: fields.collect() })
    }
}

/// Connects to the first address that answers.
pub(super) async fn connect(addresses: &[SocketAddr], tls: Option<Tls>) -> io::Result<Stream> {
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(tcp) => {
                return Ok(match tls {
                    None => Box::new(tcp),
                    Some((config, name)) => {
                        Box::new(TlsConnector::from(config).connect(name, tcp).await?)
                    }
                });
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Sends a request, and reads the head of its answer and nothing behind it.
pub(super) async fn ask(stream: &mut Stream, request: &str) -> io::Result<Head> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD {
            return Err(io::Error::other("the head of the answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Head::read(&String::from_utf8_lossy(&head))
        .ok_or_else(|| io::Error::other("the answer is no HTTP/1.1"))
}

/// The body of an answer whose length is known.
pub(super) async fn body(stream: &mut Stream, head: &Head) -> io::Result<Vec<u8>> {
    let length = head.get("content-length").and_then(|length| length.parse().ok());
    let length = length.filter(|length| *length <= BODY);
    let mut body =
        vec![0; length.ok_or_else(|| io::Error::other("the answer has no usable length"))?];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// The request for a WebSocket, as a browser sends it.
pub(super) fn handshake(authority: &str, origin: &str, target: &str) -> String {
    // The key of RFC 6455's example: it protects nothing.
    format!(
        "GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Origin: {origin}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: console.v1\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUser-Agent: serialproxy-doctor\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_whatever_case_they_came() {
        let head =
            Head::read("HTTP/1.1 101 Switching Protocols\r\nX-Console-Cause: token\r\nA:b\r\n\r\n");
        let head = head.unwrap();
        assert_eq!((head.status, head.get("x-console-cause")), (101, Some("token")));
        assert_eq!((head.get("a"), head.get("b")), (Some("b"), None));
        for text in ["", "SSH-2.0-OpenSSH", "HTTP/1.1", "HTTP/1.1 x"] {
            assert!(Head::read(text).is_none(), "{text}");
        }
    }
}
