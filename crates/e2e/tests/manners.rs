//! Misbehaving clients: others are served nevertheless, and the program stops when it is asked to.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::Signal;
use serialproxy_e2e::connection::connect;
use serialproxy_e2e::eventually;
use serialproxy_e2e::exchange::open;
use serialproxy_e2e::exchange::upgrade;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::http;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_websockets::MaybeTlsStream;

/// Clients of each kind that are refused.
const REFUSED: usize = 8;

/// Clients of each kind that are not refused: each keeps its line's thread busy.
const WATCHERS: usize = 2;

const V1: [(&str, &str); 1] = [("sec-websocket-protocol", "console.v1")];

/// How long the program may take to stop: six seconds by its own limits, while the clients take the machine's time.
const STOP: Duration = Duration::from_secs(15);

/// A masked frame with a key, and an empty Close frame.
const KEY: [u8; 7] = [0x82, 0x81, 0, 0, 0, 0, b'x'];
const CLOSE: [u8; 6] = [0x88, 0x80, 0, 0, 0, 0];

/// The behavior of a client after its handshake.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Sends small frames as fast as it can, and reads nothing.
    Floods,
    /// The same, with pings.
    Pings,
    /// Sends nothing for a while, and reads nothing.
    IsSilent,
    /// Sends its Close frame byte by byte.
    TricklesItsClose,
    /// Sends nothing more, and ends its sending direction.
    ClosesHalf,
}

impl Manner {
    async fn behave(
        self,
        stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin),
    ) -> io::Result<()> {
        match self {
            Self::Floods => {
                let keys = KEY.repeat(64);
                loop {
                    stream.write_all(&keys).await?;
                }
            }
            Self::Pings => {
                let pings = [0x89, 0x80, 0, 0, 0, 0].repeat(64);
                loop {
                    stream.write_all(&pings).await?;
                }
            }
            Self::IsSilent => tokio::time::sleep(Duration::from_secs(2)).await,
            Self::TricklesItsClose => {
                for byte in CLOSE {
                    stream.write_all(&[byte]).await?;
                    tokio::time::sleep(Duration::from_millis(400)).await;
                }
            }
            Self::ClosesHalf => {
                stream.write_all(&KEY).await?;
                stream.shutdown().await?;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        }
        Ok(())
    }
}

async fn start(tls: bool) -> Rig {
    // All connect from one address, and their refusals must not be delayed.
    Rig::start_with(tls.then(Pki::new), &["--limits-failures_per_minute", "0"]).await
}

/// A WebSocket connection of a client that handles the frames itself.
async fn bare(rig: &Rig, path: &str) -> MaybeTlsStream<TcpStream> {
    let request = upgrade(path, &rig.server.proxy, &[]);
    let (head, stream) = open(rig.ca().as_deref(), &rig.server.proxy, &request).await;
    assert_eq!(head.status, 101);
    stream
}

/// Starts clients of each behavior that visit this path again and again; counts the visits.
fn besiege(
    rig: &Rig,
    manners: &[Manner],
    count: usize,
    path: &str,
) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let (mut clients, visits) = (JoinSet::new(), Arc::<AtomicUsize>::default());
    for manner in manners.repeat(count) {
        let (ca, proxy, path) = (rig.ca(), rig.server.proxy.clone(), path.to_owned());
        let visits = Arc::clone(&visits);
        clients.spawn(async move {
            loop {
                // A visit ends when the proxy closes the connection, or the program has ended.
                let _ = visit(ca.as_deref(), &proxy, &path, manner).await;
                visits.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    (clients, visits)
}

/// Checks that a session's keys are echoed, and that the page is served.
async fn serves(rig: &mut Rig, session: &mut Socket) {
    for _ in 0..5 {
        session.send(&b"k"[..]).await;
        assert_eq!(rig.guest.typed(1).await, b"k");
        rig.guest.print(b"k").await;
        session.output_with(b"k").await;
    }
    let scheme = if rig.pki.is_some() { "https" } else { "http" };
    let page = http().build().unwrap().get(format!("{scheme}://{}/", rig.server.proxy)).send();
    assert_eq!(within(page).await.unwrap().status(), 200);
}

async fn stops(mut rig: Rig) {
    rig.server.signal(Signal::TERM);
    let stopped = tokio::time::timeout(STOP, rig.server.ended()).await;
    assert!(stopped.expect("SIGTERM does not end it").success());
}

/// One connection of a misbehaving client.
async fn visit(ca: Option<&Path>, proxy: &str, path: &str, manner: Manner) -> io::Result<()> {
    let mut stream = connect(ca, proxy).await?;
    stream.write_all(upgrade(path, proxy, &V1).as_bytes()).await?;
    manner.behave(&mut stream).await
}

/// The code of the Close frame at the end of a connection. All frames before it must be complete.
async fn farewell(stream: &mut MaybeTlsStream<TcpStream>) -> u16 {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    let mut rest = &bytes[..];
    while let [first, second, ..] = *rest {
        let (head, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            127 => {
                (10, usize::try_from(u64::from_be_bytes(rest[2..10].try_into().unwrap())).unwrap())
            }
            short => (2, short.into()),
        };
        let (frame, later) = rest.split_at(head + length);
        rest = later;
        if first == 0x88 {
            assert!(rest.is_empty(), "something follows the Close frame");
            return u16::from_be_bytes([frame[2], frame[3]]);
        }
    }
    panic!("no Close frame at the end of {} bytes", bytes.len());
}

async fn refused_clients_hold_nobody_up(tls: bool) {
    let mut rig = start(tls).await;
    let mut session = rig.raw().await;
    let manners = [
        Manner::Floods,
        Manner::Pings,
        Manner::IsSilent,
        Manner::TricklesItsClose,
        Manner::ClosesHalf,
    ];
    let (_clients, visits) = besiege(&rig, &manners, REFUSED, "/?token=bogus");
    let enough = 2 * manners.len() * REFUSED;
    eventually(async || (visits.load(Ordering::Relaxed) >= enough).then_some(())).await;
    serves(&mut rig, &mut session).await;
    stops(rig).await;
}

async fn watchers_who_flood_hold_nobody_up(tls: bool) {
    let mut rig = start(tls).await;
    let mut session = rig.raw().await;
    let path = rig.path("&mode=watch").await;
    let (_clients, _) = besiege(&rig, &[Manner::Floods, Manner::Pings], WATCHERS, &path);
    eventually(async || {
        let sessions = rig.server.get("/v1/sessions").await.json;
        (sessions["sessions"].as_array().unwrap().len() > 2 * WATCHERS).then_some(())
    })
    .await;
    serves(&mut rig, &mut session).await;
    stops(rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_clients_hold_nobody_up_without_tls() {
    refused_clients_hold_nobody_up(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_clients_hold_nobody_up_with_tls() {
    refused_clients_hold_nobody_up(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_who_flood_hold_nobody_up_without_tls() {
    watchers_who_flood_hold_nobody_up(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_who_flood_hold_nobody_up_with_tls() {
    watchers_who_flood_hold_nobody_up(true).await;
}

async fn frames_that_break_the_rules_are_answered_by_1002(tls: bool) {
    let rig = start(tls).await;
    let path = rig.path("&mode=watch").await;
    for frame in [
        &[0x88, 0x00][..],
        &[0x82, 0x01, b'x'],
        &[0x82, 0xfe, 0, 1, 0, 0, 0, 0, b'x'],
        &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, b'x'],
        &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        &[0x89, 0xfe, 0, 126],
    ] {
        let mut stream = bare(&rig, &path).await;
        stream.write_all(frame).await.unwrap();
        assert_eq!(farewell(&mut stream).await, 1002, "{frame:x?}");
    }
}

#[tokio::test]
async fn frames_that_break_the_rules_are_answered_by_1002_without_tls() {
    frames_that_break_the_rules_are_answered_by_1002(false).await;
}

#[tokio::test]
async fn frames_that_break_the_rules_are_answered_by_1002_with_tls() {
    frames_that_break_the_rules_are_answered_by_1002(true).await;
}

/// The begun frame is completed, and the reason follows.
async fn a_viewer_that_was_too_slow_and_reads_again_is_told_so(tls: bool) {
    let mut rig = start(tls).await;
    let mut stream = bare(&rig, &rig.path("").await).await;
    let row = vec![b'.'; 64 * 1024];
    // The proxy waits for five seconds until it reads again.
    eventually(async || {
        rig.guest.print(&row).await;
        rig.server.line(&rig.port.server(), 0).await["writer"].is_null().then_some(())
    })
    .await;
    assert_eq!(farewell(&mut stream).await, 4011);
}

#[tokio::test]
async fn a_viewer_that_was_too_slow_and_reads_again_is_told_so_without_tls() {
    a_viewer_that_was_too_slow_and_reads_again_is_told_so(false).await;
}

#[tokio::test]
async fn a_viewer_that_was_too_slow_and_reads_again_is_told_so_with_tls() {
    a_viewer_that_was_too_slow_and_reads_again_is_told_so(true).await;
}
