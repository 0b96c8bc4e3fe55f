//! A WebSocket client that sees what users' clients see.

use std::path::Path;
use std::str::FromStr;

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::StreamExt;
use http::HeaderName;
use http::HeaderValue;
use http::Uri;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_websockets::ClientBuilder;
use tokio_websockets::MaybeTlsStream;
use tokio_websockets::Message;
use tokio_websockets::WebSocketStream;

use crate::PATIENCE;
use crate::connection::connect;
use crate::exchange::upgrade;
use crate::within;

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

/// A handshake that was refused.
#[derive(Debug)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// `X-Console-Reason`.
    pub reason: String,
    /// Seconds of `Retry-After`.
    pub retry_after: Option<u64>,
    /// Size of the body.
    pub body: usize,
}

impl Socket {
    /// Opens one on the proxy at `host:port`, with this path, query and headers.
    pub async fn open(proxy: &str, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::over(None, proxy, path, headers).await
    }

    /// The same; over TLS where a CA is named, which verifies the proxy.
    pub async fn over(
        ca: Option<&Path>,
        proxy: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        Self::on(connect(ca, proxy).await.unwrap(), proxy, path, headers).await
    }

    /// The same, on a connection that is there already.
    pub async fn on(
        stream: MaybeTlsStream<TcpStream>,
        proxy: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let uri = Uri::from_str(&format!("ws://{proxy}{path}")).unwrap();
        let mut builder = ClientBuilder::from_uri(uri);
        for (name, value) in headers {
            builder = builder
                .add_header(
                    HeaderName::from_str(name).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
                .unwrap();
        }
        Self(within(builder.connect_on(stream)).await.unwrap().0)
    }

    /// Opens a raw session.
    pub async fn raw(proxy: &str, token: &str) -> Self {
        Self::open(proxy, &format!("/?token={token}"), &[]).await
    }

    /// Opens a `console.v1` session.
    pub async fn v1(proxy: &str, token: &str, query: &str) -> Self {
        let headers = [("sec-websocket-protocol", "console.v1")];
        Self::open(proxy, &format!("/?token={token}{query}"), &headers).await
    }

    /// Types.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) {
        within(self.0.send(Message::binary(bytes.into()))).await.unwrap();
    }

    /// Sends a control message.
    pub async fn say(&mut self, json: &str) {
        within(self.0.send(Message::text(json.to_owned()))).await.unwrap();
    }

    /// The next binary or text message.
    pub async fn next(&mut self) -> Message {
        loop {
            let message = within(self.0.next()).await.expect("the connection ended").unwrap();
            if message.is_binary() || message.is_text() {
                return message;
            }
            assert!(!message.is_close(), "closed: {:?}", message.as_close());
        }
    }

    /// Output up to and including `wanted`.
    pub async fn output_with(&mut self, wanted: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        // Pings arrive all the time, so a time limit for one message is not enough.
        let came = tokio::time::timeout(PATIENCE, async {
            while !all.windows(wanted.len()).any(|window| window == wanted) {
                let message = self.next().await;
                if message.is_binary() {
                    all.extend_from_slice(message.as_payload());
                }
            }
        });
        let came = came.await.is_ok();
        let [wanted, seen] = [wanted, &all].map(String::from_utf8_lossy);
        assert!(came, "no {wanted:?} in {seen:?}");
        all
    }

    /// The next control message of this type.
    pub async fn message(&mut self, kind: &str) -> serde_json::Value {
        let message = async {
            loop {
                let message = self.next().await;
                if let Some(text) = message.as_text() {
                    let json: serde_json::Value = serde_json::from_str(text).unwrap();
                    if json["type"] == kind {
                        return json;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, message).await.unwrap_or_else(|_| panic!("no {kind:?}"))
    }

    /// Code and reason of the Close frame; skips everything before it.
    pub async fn closed(mut self) -> (u16, String) {
        loop {
            let message = within(self.0.next()).await.expect("no Close frame").unwrap();
            if let Some((code, reason)) = message.as_close() {
                return (code.into(), reason.to_owned());
            }
        }
    }

    /// Closes the session, which ends at once.
    pub async fn leave(mut self) {
        within(self.0.close()).await.unwrap();
    }

    /// A handshake that is expected to be refused.
    pub async fn refused(proxy: &str, path: &str, headers: &[(&str, &str)]) -> Refused {
        let (hosts, more): (Vec<_>, Vec<_>) =
            headers.iter().partition(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = hosts.first().map_or(proxy, |(_, host)| host);
        let request = upgrade(path, host, &more);
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // If the handshake is accepted, the connection stays open, and its bytes are not text.
        while !answer.starts_with(b"HTTP/1.1 101") {
            if within(stream.read_buf(&mut answer)).await.unwrap() == 0 {
                break;
            }
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
        let header =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Refused {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            reason: header("x-console-reason").unwrap_or_default().to_owned(),
            retry_after: header("retry-after").map(|seconds| seconds.parse().unwrap()),
            body: body.len(),
        }
    }
}
