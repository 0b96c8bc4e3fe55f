//! Sessions over connections of this process, on a line whose guest is also in this process.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use serialproxy_config::Config;
use serialproxy_console::Consoles;
use serialproxy_console::Session;
use serialproxy_console::Socket;
use serialproxy_line::Line;
use serialproxy_line::Lines;
use serialproxy_line::Resolve;
use serialproxy_line::Settings;
use serialproxy_line::Start;
use serialproxy_line::Unresolved;
use serialproxy_line::Visitor;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Mode;
use serialproxy_tls::Stream;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// The longest time that a test waits.
const PATIENCE: Duration = Duration::from_secs(30);

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

#[derive(Debug)]
struct At(Endpoint);

impl Resolve for At {
    fn resolve(&self, _: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// A line, and its guest.
struct Rig {
    lines: Lines,
    line: Line,
    guest: TcpStream,
    consoles: Arc<Consoles>,
}

impl Rig {
    async fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = port.local_addr().unwrap();
        let at = Endpoint::Tcp { host: address.ip().to_string(), port: address.port() };
        let lines = Lines::new(Settings::default(), vec![Handle::current()]);
        let server = ServerRef { id: ServerId::of_static("web"), name: "web".into() };
        let line = lines.add(&server, None, 0, Arc::new(At(at)));
        line.guest_running();
        let (guest, _) = within(port.accept()).await.unwrap();
        assert!(line.connected(PATIENCE).await);
        let consoles = Arc::new(Consoles::new(&Config::default(), None).unwrap());
        Self { lines, line, guest, consoles }
    }

    /// A client of a session of alice.
    async fn attach(&self, protocol: Protocol) -> Client {
        let (client, session) = self.session(protocol).await;
        tokio::spawn(session.run(std::future::pending()));
        client
    }

    /// A session of alice that has not begun, and its client.
    async fn session(&self, protocol: Protocol) -> (Client, Box<Session>) {
        let visitor = Visitor {
            project: None,
            token: ConsoleToken::new().digest(),
            user: "alice".into(),
            mode: Mode::Write,
            yields: false,
            may: Mode::Write,
            operator: true,
            wait: true,
            limit: None,
            link: None,
            protocol,
            address: "192.0.2.1".into(),
            source: None,
            start: Start::Live,
            now: Timestamp::now(),
        };
        let ends = self.line.expect().attach(&visitor).unwrap();
        let (client, stream) = connection().await;
        let socket = Socket::new(stream, &[]);
        (client, Session::new(Arc::clone(&self.consoles), socket, ends, protocol))
    }

    async fn types(&mut self, wanted: &[u8]) {
        let mut got = vec![0; wanted.len()];
        within(self.guest.read_exact(&mut got)).await.unwrap();
        assert_eq!(got, wanted);
    }

    async fn until_nobody_is_attached(&self) {
        let over = async {
            while !self.lines.sessions().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        within(over).await;
    }
}

/// The client's end of a connection, and the proxy's.
async fn connection() -> (Client, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    (Client(client), Stream::Plain(stream))
}

struct Client(TcpStream);

impl Client {
    /// Sends a frame with a mask of zeros.
    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 126);
        let head = [0x80 | opcode, 0x80 | length, 0, 0, 0, 0];
        within(self.0.write_all(&[&head, payload].concat())).await.unwrap();
    }

    /// The next frame.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let [first, length] = self.bytes::<2>().await;
        let length = match length {
            126 => usize::from(u16::from_be_bytes(self.bytes().await)),
            127 => usize::try_from(u64::from_be_bytes(self.bytes().await)).unwrap(),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        within(self.0.read_exact(&mut payload)).await.unwrap();
        (first & 0x0f, payload)
    }

    async fn bytes<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        within(self.0.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// The next message of a type.
    async fn message(&mut self, kind: &str) -> Value {
        loop {
            let (opcode, payload) = self.frame().await;
            assert_eq!(opcode, TEXT, "{:?}", String::from_utf8_lossy(&payload));
            let message: Value = serde_json::from_slice(&payload).unwrap();
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The code and the reason of the Close frame, which may come before or after other frames.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            if let (CLOSE, payload) = self.frame().await {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
            }
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("not in time")
}

/// Most of thousands of sessions are idle.
#[tokio::test]
async fn a_session_takes_little_memory() {
    let (_client, session) = Rig::new().await.session(Protocol::ConsoleV1).await;
    let own = size_of_val(&*session);
    assert!(own <= 424, "a session has {own} bytes");
    let task = size_of_val(&session.run(std::future::pending()));
    assert!(task <= 1100, "its task has {task} bytes");
}

#[tokio::test]
async fn on_raw_bytes_go_both_ways_and_nothing_else() {
    let mut rig = Rig::new().await;
    let mut client = rig.attach(Protocol::Raw).await;
    client.send(BINARY, b"ls\r").await;
    client.send(TEXT, "gr\u{fc}n".as_bytes()).await;
    rig.types("ls\rgr\u{fc}n".as_bytes()).await;
    rig.guest.write_all(b"bin etc\r\n").await.unwrap();
    assert_eq!(client.frame().await, (BINARY, b"bin etc\r\n".to_vec()));
}

#[tokio::test]
async fn on_console_v1_text_is_a_message_and_what_is_typed_is_acknowledged() {
    let mut rig = Rig::new().await;
    let mut client = rig.attach(Protocol::ConsoleV1).await;
    let hello = client.message("hello").await;
    assert_eq!((&hello["server"]["name"], &hello["user"]), (&"web".into(), &"alice".into()));
    client.send(TEXT, br#"{"type": "ping", "id": 7}"#).await;
    assert_eq!(client.message("pong").await["id"], 7);
    client.send(BINARY, b"ls\r").await;
    rig.types(b"ls\r").await;
    assert_eq!(client.message("ack").await["input"], 3);
}

#[tokio::test]
async fn a_message_that_makes_no_sense_is_answered_and_the_session_goes_on() {
    let rig = Rig::new().await;
    let mut client = rig.attach(Protocol::ConsoleV1).await;
    client.send(TEXT, br#"{"type": "size", "rows": "many", "cols": 80}"#).await;
    client.message("error").await;
    client.send(TEXT, br#"{"type": "a newer one"}"#).await;
    client.send(TEXT, br#"{"type": "ping", "id": 1}"#).await;
    client.message("pong").await;
}

#[tokio::test]
async fn without_a_host_guests_are_left_alone_and_no_links_are_made() {
    let rig = Rig::new().await;
    let mut client = rig.attach(Protocol::ConsoleV1).await;
    for asked in [r#"{"type": "break"}"#, r#"{"type": "power", "do": "reset"}"#] {
        client.send(TEXT, asked.as_bytes()).await;
        let message = client.message("error").await;
        assert!(message["message"].as_str().unwrap().contains("use Nova's API"), "{message}");
    }
    client.send(TEXT, br#"{"type": "link"}"#).await;
    let message = client.message("error").await;
    assert!(message["message"].as_str().unwrap().contains("mode=watch"), "{message}");
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload() {
    let rig = Rig::new().await;
    let mut client = rig.attach(Protocol::Raw).await;
    client.send(PING, b"are you there").await;
    assert_eq!(client.frame().await, (PONG, b"are you there".to_vec()));
}

#[tokio::test]
async fn who_leaves_is_answered_and_attached_no_more() {
    let rig = Rig::new().await;
    for protocol in [Protocol::Raw, Protocol::ConsoleV1] {
        let mut client = rig.attach(protocol).await;
        client.send(CLOSE, &1000u16.to_be_bytes()).await;
        assert_eq!(client.closed().await.0, 1000);
        rig.until_nobody_is_attached().await;
    }
}

#[tokio::test]
async fn a_lost_connection_ends_a_session_on_raw_and_leaves_one_on_console_v1_to_come_back() {
    let rig = Rig::new().await;
    drop(rig.attach(Protocol::Raw).await);
    rig.until_nobody_is_attached().await;
    let mut client = rig.attach(Protocol::ConsoleV1).await;
    client.message("hello").await;
    client.send(TEXT, br#"{"type": "ping", "id": 1}"#).await;
    client.message("pong").await;
    drop(client);
    let detached = async {
        while rig.line.describe().writer.is_none_or(|writer| writer.free_in.is_none()) {
            tokio::task::yield_now().await;
        }
    };
    within(detached).await;
    assert_eq!(rig.lines.sessions().len(), 1);
}

#[tokio::test]
async fn a_frame_without_a_mask_ends_the_connection() {
    let rig = Rig::new().await;
    let mut client = rig.attach(Protocol::Raw).await;
    client.0.write_all(&[0x82, 1, b'x']).await.unwrap();
    assert_eq!(client.closed().await.0, 1002);
    rig.until_nobody_is_attached().await;
}

#[tokio::test]
async fn a_line_that_is_removed_says_why_to_its_sessions() {
    let rig = Rig::new().await;
    let mut client = rig.attach(Protocol::Raw).await;
    rig.lines.remove(rig.line.key(), "the server was deleted");
    let (code, reason) = client.closed().await;
    assert!(reason.contains("the server was deleted"), "{code} {reason}");
}

#[tokio::test]
async fn who_is_refused_is_told_who_types_and_then_the_connection_is_closed() {
    let (mut client, stream) = connection().await;
    let since = Timestamp::UNIX_EPOCH;
    let session = serialproxy_proto::id::SessionId::new();
    let user = "bob".to_owned();
    let (free_in, seen_ago, can) = (None, None, Vec::new());
    let busy = Refusal::Busy { session, user, since, own: false, free_in, seen_ago, can };
    let refusing = tokio::spawn(async move {
        serialproxy_console::refuse(Socket::new(stream, &[]), &busy).await;
    });
    let message = client.message("pen").await;
    assert_eq!((&message["state"], &message["holder"]), (&"held".into(), &"bob".into()));
    assert_eq!(message["since"], "1970-01-01T00:00:00Z");
    let (code, reason) = client.closed().await;
    assert_eq!(code, 4004);
    assert!(reason.contains("bob"), "{reason}");
    client.send(CLOSE, &1000u16.to_be_bytes()).await;
    within(refusing).await.unwrap();
}
