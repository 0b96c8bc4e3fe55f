//! Clients without manners: whatever they do, others are served, and the program stops when it is told to.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::Signal;
use serialproxy_e2e::eventually;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::socket::connect;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Clients of each kind.
const CLIENTS: usize = 8;

/// How long the program has to stop.
const STOP: Duration = Duration::from_secs(5);

/// A masked frame with a key in it, and an empty one to close with.
const KEY: [u8; 7] = [0x82, 0x81, 0, 0, 0, 0, b'x'];
const CLOSE: [u8; 6] = [0x88, 0x80, 0, 0, 0, 0];

/// What a client does once its handshake is sent.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Sends small frames as fast as it can, and reads nothing.
    Floods,
    /// The same, with pings.
    Pings,
    /// Sends nothing for a while, and reads nothing.
    IsSilent,
    /// Takes its leave byte by byte.
    TricklesItsClose,
    /// Sends nothing more, and says so to TCP.
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

/// The program, and a guest that sends back what is typed.
struct Rig {
    server: Server,
    port: Port,
    pki: Option<Pki>,
}

impl Rig {
    async fn start(tls: bool) -> Self {
        let port = Port::new("switch").await;
        let mut flags = port.flag().to_vec();
        let pki = tls.then(Pki::new);
        if let Some(pki) = &pki {
            for (flag, file) in [("cert", "server-cert.pem"), ("key", "server-key.pem")] {
                let file = pki.file(file).display().to_string();
                flags.extend([format!("--serial_console-{flag}"), file]);
            }
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = Server::start(&flags).await;
        tokio::spawn(echo(port.accept().await.0));
        Self { server, port, pki }
    }

    fn ca(&self) -> Option<PathBuf> {
        self.pki.as_ref().map(|pki| pki.file("ca-cert.pem"))
    }

    async fn path(&self, query: &str) -> String {
        format!("/?token={}{query}", self.server.token(&self.port.server(), "").await)
    }

    async fn raw(&self) -> Socket {
        let path = self.path("").await;
        match self.ca() {
            Some(ca) => Socket::secure(&ca, &self.server.proxy, &path, &[]).await,
            None => Socket::open(&self.server.proxy, &path, &[]).await,
        }
    }

    /// So many clients for each manner, which come to this path again and again; counts their visits.
    fn besiege(&self, manners: &[Manner], path: &str) -> (JoinSet<()>, Arc<AtomicUsize>) {
        let (mut clients, visits) = (JoinSet::new(), Arc::<AtomicUsize>::default());
        for manner in manners.iter().flat_map(|manner| [*manner; CLIENTS]) {
            let (ca, proxy, path) = (self.ca(), self.server.proxy.clone(), path.to_owned());
            let visits = Arc::clone(&visits);
            clients.spawn(async move {
                loop {
                    // It ends when the proxy has had enough, or the program has ended.
                    let _ = visit(ca.as_deref(), &proxy, &path, manner).await;
                    visits.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        (clients, visits)
    }

    /// A session's keys come back, and the page is there.
    async fn serves(&self, session: &mut Socket) {
        for _ in 0..20 {
            session.send(&b"k"[..]).await;
            session.output_with(b"k").await;
        }
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        let client = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
        let page = client.build().unwrap().get(format!("{scheme}://{}/", self.server.proxy)).send();
        assert_eq!(within(page).await.unwrap().status(), 200);
    }

    async fn stops(mut self) {
        self.server.signal(Signal::TERM);
        let stopped = tokio::time::timeout(STOP, self.server.ended()).await;
        assert!(stopped.expect("SIGTERM does not end it").success());
    }
}

/// One connection of a client without manners.
async fn visit(ca: Option<&Path>, proxy: &str, path: &str, manner: Manner) -> io::Result<()> {
    let mut stream = connect(ca, proxy).await?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {proxy}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: console.v1\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    manner.behave(&mut stream).await
}

async fn echo(mut guest: TcpStream) {
    let mut keys = vec![0; 4096];
    while let Ok(1..) = guest.read(&mut keys).await.inspect(|length| keys.truncate(*length)) {
        guest.write_all(&keys).await.unwrap();
        keys.resize(4096, 0);
    }
}

async fn refused_clients_hold_nobody_up(tls: bool) {
    let rig = Rig::start(tls).await;
    let mut session = rig.raw().await;
    let manners = [
        Manner::Floods,
        Manner::Pings,
        Manner::IsSilent,
        Manner::TricklesItsClose,
        Manner::ClosesHalf,
    ];
    let (_clients, visits) = rig.besiege(&manners, "/?token=bogus");
    let enough = 2 * manners.len() * CLIENTS;
    eventually(async || (visits.load(Ordering::Relaxed) >= enough).then_some(())).await;
    rig.serves(&mut session).await;
    rig.stops().await;
}

async fn watchers_who_flood_hold_nobody_up(tls: bool) {
    let rig = Rig::start(tls).await;
    let mut session = rig.raw().await;
    let path = rig.path("&mode=watch").await;
    let (_clients, _) = rig.besiege(&[Manner::Floods, Manner::Pings], &path);
    eventually(async || {
        let sessions = rig.server.get("/v1/sessions").await.json;
        (sessions["sessions"].as_array().unwrap().len() > 2 * CLIENTS).then_some(())
    })
    .await;
    rig.serves(&mut session).await;
    rig.stops().await;
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
