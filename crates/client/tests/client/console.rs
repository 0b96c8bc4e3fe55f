//! A console that `connect` connects to, whose every step the test decides.

use std::process::Command;

use futures_util::SinkExt;
use futures_util::StreamExt;
use http::HeaderValue;
use http::Uri;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_websockets::CloseCode;
use tokio_websockets::Message;
use tokio_websockets::ServerBuilder;
use tokio_websockets::WebSocketStream;

use crate::support::Api;
use crate::support::client;
use crate::support::with_hosts;

pub(crate) const ID: &str = "3f0c2a52-6d0a-4b9a-9d0e-0a54e1a7c0de";
pub(crate) const LINE: &str = "b7a1e0de-0000-4000-8000-000000000001";
pub(crate) const ME: &str = "5e551000-0000-4000-8000-000000000001";
pub(crate) const BOB: &str = "5e551000-0000-4000-8000-000000000002";
pub(crate) const NEW_LINE: &str = "b7a1e0de-0000-4000-8000-000000000002";
pub(crate) const BUSY: &str = "busy: bob since 2026-11-22T09:00:00Z";

/// A console whose every step the test decides.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) listener: TcpListener,
    pub(crate) api: Api,
}

/// The name of the consoles that `Console::pair` starts.
const NAME: &str = "console.test";

/// One connection to it.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: WebSocketStream<TcpStream>,
    /// What the client asked for.
    uri: Uri,
}

impl Console {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/serial.html?token=t", listener.local_addr().unwrap());
        Self::of(listener, &url)
    }

    fn of(listener: TcpListener, url: &str) -> Self {
        let answer = json!({"serial_console": {"url": url}}).to_string();
        let api = Api::start(move |_| (202, answer.clone()));
        Self { listener, api }
    }

    /// Two consoles, at the first and the second address of one name.
    pub(crate) async fn pair() -> [Self; 2] {
        let first = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let second = TcpListener::bind(("127.0.0.3", port)).await.unwrap();
        let url = format!("http://{NAME}:{port}/serial.html?token=t");
        [first, second].map(|listener| Self::of(listener, &url))
    }

    /// A client of a pair of consoles.
    pub(crate) fn client_of_pair(&self) -> Command {
        let hosts = format!("127.0.0.2 {NAME}\n127.0.0.3 {NAME}\n");
        with_hosts(&self.client(&[]), &hosts)
    }

    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        client(self.api.address, &[&["connect", ID], arguments].concat())
    }

    /// The next connection, after its handshake.
    pub(crate) async fn accept(&self) -> Peer {
        let (socket, _) = self.listener.accept().await.unwrap();
        let protocol = HeaderValue::from_static("console.v1");
        let server = ServerBuilder::new().add_header(SEC_WEBSOCKET_PROTOCOL, protocol).unwrap();
        let (request, stream) = server.accept(socket).await.unwrap();
        assert_eq!(request.headers()[SEC_WEBSOCKET_PROTOCOL], "console.v1");
        Peer { stream, uri: request.uri().clone() }
    }

    /// The next connection, which may write.
    pub(crate) async fn welcome(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.hello(LINE, 0).await;
        peer
    }
}

impl Peer {
    pub(crate) async fn hello(&mut self, line: &str, offset: u64) {
        self.hello_with(json!({"line": line, "offset": offset})).await;
    }

    /// Says hello, with some of its fields replaced.
    pub(crate) async fn hello_with(&mut self, fields: Value) {
        let mode = if self.query().contains("mode=watch") { "watch" } else { "write" };
        let mut hello = json!({
            "type": "hello", "session": ME, "line": LINE, "port": 0, "user": "alice",
            "server": {"id": ID, "name": "demo"}, "mode": mode, "state": "connected",
            "reason": "", "epoch": 1, "offset": 0, "input": 0, "can": ["write", "force"],
        });
        for (name, value) in fields.as_object().unwrap() {
            hello[name] = value.clone();
        }
        self.tell(hello).await;
    }

    pub(crate) async fn acknowledge(&mut self, input: usize) {
        self.tell(json!({"type": "ack", "input": input})).await;
    }

    pub(crate) async fn pen(&mut self, state: &str, session: &str, holder: &str) {
        let pen = json!({"type": "pen", "state": state, "session": session, "holder": holder});
        self.tell(pen).await;
    }

    pub(crate) fn query(&self) -> String {
        self.uri.query().unwrap_or_default().to_owned()
    }

    /// Waits for a control message.
    pub(crate) async fn control(&mut self) -> Value {
        let message = self.stream.next().await.unwrap().unwrap();
        serde_json::from_str(message.as_text().unwrap()).unwrap()
    }

    pub(crate) async fn tell(&mut self, message: Value) {
        self.stream.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn print(&mut self, bytes: &[u8]) {
        self.stream.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    pub(crate) async fn close(mut self, code: u16, reason: &str) {
        let code = CloseCode::try_from(code).unwrap();
        self.stream.send(Message::close(Some(code), reason)).await.unwrap();
        while let Some(Ok(_)) = self.stream.next().await {}
    }

    /// Waits for so many bytes of input.
    pub(crate) async fn input(&mut self, size: usize) -> String {
        let mut all = Vec::new();
        while all.len() < size {
            let message = self.stream.next().await.unwrap().unwrap();
            if message.is_binary() {
                all.extend_from_slice(message.as_payload());
            }
        }
        String::from_utf8(all).unwrap()
    }

    /// All input until the client goes away.
    pub(crate) async fn rest(self) -> Vec<u8> {
        self.end().await.0
    }

    /// All input until the client goes away, and the code of its Close.
    pub(crate) async fn end(mut self) -> (Vec<u8>, Option<u16>) {
        let (mut all, mut code) = (Vec::new(), None);
        while let Some(Ok(message)) = self.stream.next().await {
            if message.is_binary() {
                all.extend_from_slice(message.as_payload());
            }
            code = message.as_close().map(|(code, _)| code.into()).or(code);
        }
        (all, code)
    }
}

/// Runs what blocks beside the console.
pub(crate) async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
