//! A guest's port, and the line that owns it.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use serialproxy_line::Attachment;
use serialproxy_line::Event;
use serialproxy_line::Keyboard;
use serialproxy_line::Line;
use serialproxy_line::Lines;
use serialproxy_line::Resolve;
use serialproxy_line::Settings;
use serialproxy_line::Start;
use serialproxy_line::Unresolved;
use serialproxy_line::Visitor;
use serialproxy_line::Wanted;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// The project of the server.
pub(crate) const PROJECT: &str = "team-a";

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Gives the answers that a test sets.
#[derive(Debug)]
pub(crate) struct Told(pub(crate) Mutex<Result<Endpoint, Unresolved>>);

impl Resolve for Told {
    fn resolve(&self, _: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
        let answer = self.0.lock().unwrap().clone();
        Box::pin(async { answer })
    }
}

/// A guest's port, and the line that owns it.
pub(crate) struct Rig {
    pub(crate) lines: Lines,
    pub(crate) line: Line,
    pub(crate) port: TcpListener,
    pub(crate) told: Arc<Told>,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(Settings {
            history_head: 64 * 1024,
            history_tail: 64 * 1024,
            ..Settings::default()
        })
        .await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let told = Arc::new(Told(Mutex::new(Ok(endpoint(&port)))));
        let lines = Lines::new(settings, vec![Handle::current()]);
        let server = ServerRef { id: ServerId::of_static("rig"), name: "rig".into() };
        let line = lines.add(&server, Some(PROJECT), 0, Arc::clone(&told) as Arc<dyn Resolve>);
        Self { lines, line, port, told }
    }

    /// The guest boots; its end of the line.
    pub(crate) async fn boot(&self) -> TcpStream {
        self.line.guest_started(true);
        let (guest, _) = self.port.accept().await.unwrap();
        assert!(self.line.connected(PATIENCE).await);
        guest
    }

    pub(crate) fn attach(&self, visitor: &Visitor) -> Result<(Attachment, Keyboard), Refusal> {
        self.line.attach(visitor)
    }
}

pub(crate) fn endpoint(port: &TcpListener) -> Endpoint {
    let address = port.local_addr().unwrap();
    Endpoint::Tcp { host: address.ip().to_string(), port: address.port() }
}

pub(crate) fn visitor(user: &str, mode: Mode, protocol: Protocol) -> Visitor {
    Visitor {
        project: Some(PROJECT.into()),
        token: TokenDigest::of(user),
        user: user.into(),
        mode,
        yields: false,
        may: Mode::Write,
        operator: true,
        wait: false,
        limit: None,
        link: None,
        protocol,
        address: "192.0.2.1:4".into(),
        source: Some(std::net::IpAddr::from([192, 0, 2, 1]).into()),
        start: Start::Live,
        now: "2026-11-22T09:00:00Z".parse().unwrap(),
    }
}

pub(crate) fn writer(user: &str) -> Visitor {
    visitor(user, Mode::Write, Protocol::Raw)
}

pub(crate) fn watcher(user: &str) -> Visitor {
    visitor(user, Mode::Watch, Protocol::Raw)
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// The next event; live output with its bytes.
pub(crate) async fn next(attachment: &mut Attachment) -> Event {
    let event = attachment.next(Wanted::Output).await;
    if event != Event::Output {
        return event;
    }
    let mut bytes = Vec::new();
    attachment.take(|pieces| {
        bytes = pieces
            .iter()
            .flat_map(|piece| [piece.before, piece.bytes])
            .flatten()
            .copied()
            .collect();
        bytes.len()
    });
    Event::Replay(bytes.into())
}

/// The output up to and including `last`.
pub(crate) async fn output_until(attachment: &mut Attachment, last: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    within(async {
        while !all.ends_with(last) {
            match next(attachment).await {
                Event::Replay(bytes) => all.extend_from_slice(&bytes),
                Event::Output | Event::Message(_) => {}
                Event::Ended(close) => panic!("ended: {close:?} after {} bytes", all.len()),
            }
        }
    })
    .await;
    all
}

pub(crate) async fn message(attachment: &mut Attachment, wanted: impl Fn(&ServerMessage) -> bool) {
    within(async {
        loop {
            match next(attachment).await {
                Event::Message(message) if wanted(&message) => return,
                Event::Ended(close) => panic!("ended: {close:?}"),
                _ => {}
            }
        }
    })
    .await;
}

pub(crate) async fn end(attachment: &mut Attachment) -> CloseCode {
    within(async {
        loop {
            if let Event::Ended(close) = next(attachment).await {
                return close.code;
            }
        }
    })
    .await
}

/// The greeting of a session.
pub(crate) async fn hello(attachment: &mut Attachment) -> Hello {
    within(async {
        loop {
            match attachment.next(Wanted::Messages).await {
                Event::Message(ServerMessage::Hello(hello)) => return hello,
                Event::Ended(close) => panic!("ended: {close:?}"),
                _ => {}
            }
        }
    })
    .await
}

/// Waits until a condition is true that no event announces.
pub(crate) async fn eventually(so: impl Fn() -> bool) {
    within(async {
        while !so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
