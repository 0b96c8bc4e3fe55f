//! A port that may be used only while there is a permit.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use serialproxy_line::Line;
use serialproxy_line::Lines;
use serialproxy_line::Permit;
use serialproxy_line::Resolve;
use serialproxy_line::Settings;
use serialproxy_line::Unresolved;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::rig::PATIENCE;
use crate::rig::PROJECT;
use crate::rig::endpoint;
use crate::rig::message;
use crate::rig::visitor;
use crate::rig::within;

#[derive(Debug)]
struct Right {
    good: AtomicBool,
    ended: CancellationToken,
}

impl Right {
    fn new() -> Arc<Self> {
        Arc::new(Self { good: AtomicBool::new(true), ended: CancellationToken::new() })
    }
}

impl Permit for Right {
    fn is_good(&self) -> bool {
        self.good.load(Ordering::SeqCst)
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.ended.cancelled())
    }
}

/// A port, and its permit, if there is one.
#[derive(Debug)]
struct Permitted {
    at: Endpoint,
    right: Mutex<Option<Arc<Right>>>,
}

impl Resolve for Permitted {
    fn resolve(&self, _: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
        let has = self.right.lock().unwrap().is_some();
        let at = self.at.clone();
        Box::pin(async move { if has { Ok(at) } else { Err(Unresolved::Waits("asked".into())) } })
    }

    fn permit(&self, _: LineKey) -> Option<Arc<dyn Permit>> {
        self.right.lock().unwrap().clone().map(|right| right as _)
    }
}

/// A connected line, its guest's end, and the permit for the port.
async fn connected() -> (Line, TcpListener, TcpStream, Arc<Permitted>, Arc<Right>) {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let right = Right::new();
    let permitted =
        Arc::new(Permitted { at: endpoint(&port), right: Mutex::new(Some(Arc::clone(&right))) });
    let lines = Lines::new(Settings::default(), vec![Handle::current()]);
    let server = ServerRef { id: ServerId::of_static("rig"), name: "rig".into() };
    let line = lines.add(&server, Some(PROJECT), 0, Arc::clone(&permitted) as _);
    line.guest_running();
    let guest = within(port.accept()).await.unwrap().0;
    assert!(line.connected(PATIENCE).await);
    (line, port, guest, permitted, right)
}

#[tokio::test]
async fn a_port_is_let_go_when_its_permit_ends_and_sessions_wait_for_the_next() {
    let (line, port, mut guest, permitted, right) = connected().await;
    let alice = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    let (mut alice, keyboard) = line.attach(&alice).unwrap();
    *permitted.right.lock().unwrap() = None;
    right.good.store(false, Ordering::SeqCst);
    right.ended.cancel();
    assert_eq!(within(guest.read(&mut [0])).await.unwrap(), 0);
    let waits = |message: &ServerMessage| {
        matches!(message, ServerMessage::State { state: LineState::Waiting, reason, .. }
            if reason.contains("asked"))
    };
    message(&mut alice, waits).await;
    *permitted.right.lock().unwrap() = Some(Right::new());
    let mut guest = within(port.accept()).await.unwrap().0;
    assert!(line.connected(PATIENCE).await);
    keyboard.write(b"x");
    assert_eq!(within(guest.read_u8()).await.unwrap(), b'x');
}

#[tokio::test]
async fn nothing_is_typed_once_the_permit_is_not_good_although_nobody_told_so() {
    let (line, _port, mut guest, _permitted, right) = connected().await;
    let alice = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    let (_alice, keyboard) = line.attach(&alice).unwrap();
    keyboard.write(b"a");
    assert_eq!(within(guest.read_u8()).await.unwrap(), b'a');
    right.good.store(false, Ordering::SeqCst);
    keyboard.write(b"late");
    let mut rest = Vec::new();
    within(guest.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
}
