//! HTTP byte by byte: requests that no client library would send, with or without TLS.

use std::io;
use std::path::Path;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_websockets::MaybeTlsStream;

use crate::connection::connect;
use crate::within;

/// The key in RFC 6455's example, which each [`upgrade`] uses.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    text: String,
}

impl Head {
    /// Reads a head, and nothing after it.
    ///
    /// # Errors
    ///
    /// When the connection ends before the end of the head.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await?);
        }
        let text = String::from_utf8(answer).unwrap();
        Ok(Self { status: text.split(' ').nth(1).unwrap().parse().unwrap(), text })
    }

    /// The value of a header; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// The request for a WebSocket, as RFC 6455 section 4.2.1 requires it, with additional headers.
pub fn upgrade(path: &str, host: &str, more: &[(&str, &str)]) -> String {
    let more: Vec<_> = more.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{}\r\n",
        more.concat()
    )
}

/// Sends a request to `host:port`, over TLS where a CA is named, and reads the head of its answer.
pub async fn ask(ca: Option<&Path>, address: &str, request: &str) -> Head {
    open(ca, address, request).await.0
}

/// The same; also returns the connection, from which nothing after the head was read.
pub async fn open(
    ca: Option<&Path>,
    address: &str,
    request: &str,
) -> (Head, MaybeTlsStream<TcpStream>) {
    let mut stream = connect(ca, address).await.unwrap();
    within(stream.write_all(request.as_bytes())).await.unwrap();
    let head = within(Head::read(&mut stream)).await;
    (head.unwrap_or_else(|error| panic!("no answer to {request}: {error}")), stream)
}
