//! What ends while somebody waits to attach: the token is looked up, and then the line is waited for,
//! which takes as long as its port lets it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use futures_util::StreamExt;
use rustix::process::Signal;
use serialproxy_e2e::eventually;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_proto::id::ServerId;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;

/// A program whose one line is being connected for seconds: the kernel answers nobody who connects to
/// its port, since its queue is full.
struct Rig {
    server: Server,
    _port: (TcpListener, Vec<TcpStream>),
}

impl Rig {
    async fn start(flags: &[&str]) -> Self {
        let port = TcpSocket::new_v4().unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = port.listen(0).unwrap();
        let address = port.local_addr().unwrap();
        let queue = vec![TcpStream::connect(address).await.unwrap()];
        let line = format!("switch tcp://{address}");
        let server = Server::start(&[&["--static-line", &line], flags].concat()).await;
        Self { server, _port: (port, queue) }
    }

    async fn token(&self, query: &str) -> String {
        self.server.token(&ServerId::of_static("switch").to_string(), query).await
    }

    /// Waits until so many wait for the line.
    async fn until_awaited_by(&self, count: usize) {
        let waits = "waiting for a line before an attach";
        eventually(async || (self.server.log().matches(waits).count() == count).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn who_waits_for_a_line_when_the_program_stops_is_told_so_at_once() {
    let mut rig = Rig::start(&[]).await;
    let path = format!("/?token={}", rig.token("").await);
    let token = rig.token("?mode=watch").await;
    let proxy = rig.server.proxy.clone();
    let v1 = tokio::spawn(async move { Socket::v1(&proxy, &token, "").await.closed().await });
    rig.until_awaited_by(1).await;
    // Last, since it waits for two seconds at most.
    let proxy = rig.server.proxy.clone();
    let raw = tokio::spawn(async move { Socket::refused(&proxy, &path, &[]).await });
    rig.until_awaited_by(2).await;
    rig.server.signal(Signal::TERM);
    let refused = raw.await.unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.reason.starts_with("draining: "), "{}", refused.reason);
    assert_eq!(v1.await.unwrap().0, 4012);
    assert!(rig.server.ended().await.success());
}

#[tokio::test]
async fn of_two_who_wait_with_a_token_for_one_use_one_gets_in() {
    let rig = Rig::start(&["--consoleauth-single_use"]).await;
    let token = rig.token("?mode=watch&wait=1").await;
    let attach = || async {
        let mut socket = Socket::v1(&rig.server.proxy, &token, "").await;
        let first = socket.0.next().await.unwrap().unwrap();
        first.as_close().map(|(code, _)| u16::from(code))
    };
    let mut ends = [None, None];
    (ends[0], ends[1], ()) = tokio::join!(attach(), attach(), rig.until_awaited_by(2));
    ends.sort_unstable();
    assert_eq!(ends, [None, Some(4001)]);
}
