//! A client of a proxy that checks every byte.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A client, and what it received and has not checked yet.
pub(in crate::passing) struct Client {
    pub(in crate::passing) stream: TcpStream,
    pub(in crate::passing) unread: Vec<u8>,
}

impl Client {
    /// Asks for a WebSocket; returns the answer's head as well.
    pub(in crate::passing) async fn open(
        at: SocketAddr,
        target: &str,
        headers: &str,
    ) -> (Self, String) {
        let mut client = Self { stream: TcpStream::connect(at).await.unwrap(), unread: Vec::new() };
        let request = format!(
            "GET /{target} HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {headers}\r\n"
        );
        client.stream.write_all(request.as_bytes()).await.unwrap();
        let head = client.head().await;
        (client, head)
    }

    /// A session on raw.
    pub(in crate::passing) async fn raw(at: SocketAddr, token: &str) -> Self {
        let (client, head) = Self::open(at, &format!("?token={token}"), "").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    /// A session on `console.v1`, with its `hello`.
    pub(in crate::passing) async fn v1(at: SocketAddr, query: &str) -> (Self, Value) {
        let protocol = "Sec-WebSocket-Protocol: console.v1\r\n";
        let (mut client, head) = Self::open(at, query, protocol).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let (opcode, hello) = client.frame().await;
        assert_eq!(opcode, 1);
        (client, serde_json::from_slice(&hello).unwrap())
    }

    async fn head(&mut self) -> String {
        loop {
            let end = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.unread.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert_ne!(self.stream.read_buf(&mut self.unread).await.unwrap(), 0, "no head");
        }
    }

    pub(in crate::passing) async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            let read = self.stream.read_buf(&mut self.unread).await.unwrap();
            assert_ne!(read, 0, "the connection ended before {length} bytes");
        }
        self.unread.drain(..length).collect()
    }

    /// The next frame: opcode and payload.
    pub(in crate::passing) async fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.take(2).await;
        let length = match head[1] {
            126 => u16::from_be_bytes(self.take(2).await.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.take(8).await.try_into().unwrap()),
            short => short.into(),
        };
        (head[0] & 0x0f, self.take(usize::try_from(length).unwrap()).await)
    }

    /// Skips to the Close frame and returns its code; the connection must end after it.
    pub(in crate::passing) async fn closed(mut self) -> u16 {
        loop {
            let (opcode, payload) = self.frame().await;
            if opcode == 8 {
                let _ = self.stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await;
                self.ended().await;
                return u16::from_be_bytes(payload[..2].try_into().unwrap());
            }
        }
    }

    /// Waits for the end of the connection; nothing may come before it.
    pub(in crate::passing) async fn ended(mut self) {
        assert_eq!(self.unread, b"");
        let end = self.stream.read_buf(&mut self.unread).await.unwrap_or_default();
        assert_eq!(end, 0, "{:?}", self.unread);
    }

    /// The next `length` bytes of output.
    pub(in crate::passing) async fn output(&mut self, length: usize) -> Vec<u8> {
        let mut output = Vec::new();
        while output.len() < length {
            match self.frame().await {
                (2, payload) => output.extend(payload),
                (opcode, _) => assert_ne!(opcode, 8, "the session was closed"),
            }
        }
        output
    }

    /// Sends input; the mask is zero.
    pub(in crate::passing) async fn write(&mut self, bytes: &[u8]) {
        let length = u8::try_from(bytes.len()).unwrap();
        let frame = [&[0x82, 0x80 | length, 0, 0, 0, 0], bytes].concat();
        self.stream.write_all(&frame).await.unwrap();
    }
}
