//! Several active proxies in place of nova-serialproxy: at any time, one of them has a port.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "that is how a test fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use serde_json::Value;
use serialproxy_e2e::cloud::Cloud;
use serialproxy_e2e::cluster::Cluster;
use serialproxy_e2e::cluster::Role;
use serialproxy_e2e::eventually;
use serialproxy_e2e::socket::Socket;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use uuid::Uuid;

/// How long a killed proxy keeps its ports at most.
const LEASE: Duration = Duration::from_secs(15);

/// How much a busy machine may add to that, including a client's pause between two attempts.
const SLACK: Duration = Duration::from_secs(10);

const V1: [(&str, &str); 1] = [("sec-websocket-protocol", "console.v1")];

/// A port that accepts every connection, and counts them.
#[derive(Clone, Debug)]
struct Counted {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    printed: broadcast::Sender<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Seen {
    open: usize,
    most: usize,
    typed: Vec<u8>,
}

impl Counted {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::default());
        let port = Self { address, seen, printed: broadcast::Sender::new(16) };
        let accepting = port.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        port
    }

    async fn serve(self, stream: TcpStream) {
        {
            let mut seen = self.seen.lock().unwrap();
            seen.open += 1;
            seen.most = seen.most.max(seen.open);
        }
        let (mut typed, mut screen) = stream.into_split();
        let mut printed = self.printed.subscribe();
        let mut bytes = [0; 1024];
        loop {
            tokio::select! {
                length = typed.read(&mut bytes) => match length {
                    Ok(length @ 1..) => {
                        self.seen.lock().unwrap().typed.extend_from_slice(&bytes[..length]);
                    }
                    _ => break,
                },
                Ok(text) = printed.recv() => screen.write_all(&text).await.unwrap(),
            }
        }
        self.seen.lock().unwrap().open -= 1;
    }

    fn print(&self, text: &[u8]) {
        self.printed.send(text.to_vec()).unwrap();
    }

    /// The number of open connections.
    fn open(&self) -> usize {
        self.seen.lock().unwrap().open
    }

    /// Waits until exactly this input has arrived, in all connections together.
    async fn typed(&self, expected: &[u8]) {
        eventually(async || {
            let seen = self.seen.lock().unwrap();
            (seen.typed.len() >= expected.len()).then_some(())
        })
        .await;
        let seen = self.seen.lock().unwrap();
        let typed = String::from_utf8_lossy(&seen.typed);
        assert_eq!(typed, String::from_utf8_lossy(expected));
    }
}

/// Proxies on separate hosts, in front of one Nova with one server.
struct Rig {
    cluster: Cluster,
    cloud: Cloud,
    port: Counted,
    server: Uuid,
}

impl Rig {
    async fn new() -> Self {
        let cluster = Cluster::new(1).await;
        let (cloud, port, server) = (Cloud::start().await, Counted::new().await, Uuid::new_v4());
        let nova_conf = format!("{}region_name = RegionOne\n", cloud.login("nova"));
        std::fs::write(cluster.file("nova.conf"), nova_conf).unwrap();
        Self { cluster, cloud, port, server }
    }

    async fn proxy(&self, host: &str) -> Role {
        self.cluster.certify(host, &["proxy"]);
        self.start(host).await
    }

    async fn start(&self, host: &str) -> Role {
        let file = |name: &str| self.cluster.file(name).display().to_string();
        // Each host has its own claims.
        let (nova_conf, claims) = (file("nova.conf"), file(&format!("claims-{host}")));
        let flags = ["--config-file", &nova_conf, "--line-claims", &claims];
        self.cluster.start(host, "proxy", &flags).await
    }

    fn token(&self) -> String {
        self.cloud.console_token(self.server, self.port.address)
    }

    /// A handshake with a new token that is expected to be refused.
    async fn refused(&self, proxy: &Role) -> (u16, String) {
        let path = format!("/?token={}", self.token());
        let refused = Socket::refused(&proxy.proxy(), &path, &[]).await;
        (refused.status, refused.reason)
    }

    /// A raw session, as soon as it is accepted.
    async fn attached(&self, proxy: &Role) -> Socket {
        eventually(async || {
            let path = format!("/?token={}&mode=watch", self.token());
            let answer = Socket::refused(&proxy.proxy(), &path, &[]).await;
            (answer.status == 101).then_some(())
        })
        .await;
        Socket::raw(&proxy.proxy(), &self.token()).await
    }

    /// The owner of the port in etcd.
    fn owner(&self) -> Option<String> {
        let key = format!("/serialproxy/v1/owners/{}-{}", self.server, self.port.address.port());
        let found = self.cluster.etcd.ctl(&["get", &key, "--print-value-only"]);
        let value: Value = serde_json::from_str(&found).ok()?;
        Some(value["host"].as_str().unwrap().to_owned())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.port.seen.lock().unwrap().most, 1, "connections at a time");
        }
    }
}

#[tokio::test]
async fn the_api_shows_what_the_proxies_recorded() {
    let rig = Rig::new().await;
    let proxy = rig.proxy("p1").await;
    rig.cluster.certify("ctl", &["api"]);
    let api = rig.cluster.start("ctl", "api", &[]).await;
    let _session = rig.attached(&proxy).await;
    let page = eventually(async || {
        let page = api.call(Method::GET, "/v1/audit", "").await.json;
        let mut events = page["events"].as_array()?.iter();
        let is_opened = events.any(|event| event["event.name"] == "session.opened");
        // A host that takes more than two seconds counts as unreachable.
        (is_opened && page["unreachable"].is_null()).then_some(page)
    })
    .await;
    assert_eq!(page["not_included"], Value::Null);
}

/// Waits until a session is told that its line is in this state.
async fn state(session: &mut Socket, state: &str) -> Value {
    loop {
        let message = session.message("state").await;
        if message["state"] == state {
            return message;
        }
    }
}

#[tokio::test]
async fn the_second_user_is_refused_by_name_at_the_other_proxy_and_may_watch_there() {
    let rig = Rig::new().await;
    let (one, two) = (rig.proxy("one").await, rig.proxy("two").await);
    let mut writer = rig.attached(&one).await;
    let (here, there) = (rig.refused(&one).await, rig.refused(&two).await);
    assert_eq!(here.0, 409);
    assert!(here.1.starts_with("busy: token "), "{here:?}");
    assert_eq!(here, there);
    assert_eq!(rig.owner().as_deref(), Some("one"));

    let mut watcher = Socket::v1(&two.proxy(), &rig.token(), "&mode=watch").await;
    let hello = watcher.message("hello").await;
    rig.port.print(b"login: ");
    watcher.output_with(b"login: ").await;
    writer.send("root\r").await;
    rig.port.typed(b"root\r").await;

    // A session of one proxy resumes through the other one, with its history.
    let key = hello["resume"].as_str().unwrap();
    drop(watcher);
    let mut back = Socket::open(&two.proxy(), &format!("/?resume={key}"), &V1).await;
    let key = back.message("hello").await["resume"].as_str().unwrap().to_owned();
    let url = format!("http://{}/history", two.proxy());
    let history = reqwest::Client::new().get(url).header("x-console-resume", &key);
    assert_eq!(history.send().await.unwrap().bytes().await.unwrap(), "login: ");
}

#[tokio::test]
async fn of_many_who_come_at_once_to_two_proxies_one_gets_the_port() {
    let rig = Rig::new().await;
    let (one, two) = (rig.proxy("one").await, rig.proxy("two").await);
    let comers = [&one, &two].into_iter().cycle().take(20).map(|proxy| {
        let (address, path) = (proxy.proxy(), format!("/?token={}", rig.token()));
        tokio::spawn(async move {
            let answer = Socket::refused(&address, &path, &[]).await;
            (answer.status, answer.reason)
        })
    });
    let mut answers = Vec::new();
    for comer in comers.collect::<Vec<_>>() {
        answers.push(comer.await.unwrap());
    }
    // A session that left made room for the next.
    let is = |wanted: u16| answers.iter().filter(|(status, _)| *status == wanted).count();
    assert!(is(101) > 0 && is(101) + is(409) == answers.len(), "{answers:?}");
}

#[tokio::test]
async fn when_the_owner_is_killed_another_proxy_takes_over_within_the_lease_time() {
    let rig = Rig::new().await;
    let (one, two) = (rig.proxy("one").await, rig.proxy("two").await);
    let mut before = rig.attached(&one).await;
    let mut through = Socket::v1(&two.proxy(), &rig.token(), "&mode=watch").await;
    through.message("hello").await;
    before.send("before").await;
    rig.port.typed(b"before").await;
    let killed = Instant::now();
    one.kill().await;
    let (status, reason) = rig.refused(&two).await;
    assert_eq!(status, 503, "{reason}");
    let mut after = rig.attached(&two).await;
    let elapsed = killed.elapsed();
    assert!(elapsed < LEASE + SLACK, "{elapsed:?}");
    after.send("after").await;
    rig.port.typed(b"beforeafter").await;
    assert_eq!(rig.owner().as_deref(), Some("two"));

    // The killed proxy is back, and forwards its users.
    let one = rig.start("one").await;
    assert_eq!(rig.refused(&one).await.0, 409);
    // A proxy that ends gives its ports back at once.
    drop(after);
    let ended = Instant::now();
    two.stop().await;
    let mut last = rig.attached(&one).await;
    assert!(ended.elapsed() < LEASE, "{:?}", ended.elapsed());
    last.send("!").await;
    rig.port.typed(b"beforeafter!").await;
}

#[tokio::test]
async fn while_etcd_is_away_sessions_go_on_and_then_wait_for_it() {
    let mut rig = Rig::new().await;
    let (one, two) = (rig.proxy("one").await, rig.proxy("two").await);
    drop(rig.attached(&one).await);
    let mut session = Socket::v1(&one.proxy(), &rig.token(), "").await;
    assert_eq!(session.message("hello").await["state"], "connected");
    rig.cluster.etcd.kill(0);
    let away = Instant::now();
    session.send("away").await;
    rig.port.typed(b"away").await;
    // A busy machine delays some of the attempts, but not all.
    let refused = eventually(async || {
        let asked = Instant::now();
        let (status, reason) = rig.refused(&two).await;
        assert_eq!(status, 503, "{reason}");
        (asked.elapsed() < Duration::from_secs(3)).then_some(())
    });
    let told = async {
        let told = state(&mut session, "waiting").await;
        (told, away.elapsed())
    };
    let ((), (told, elapsed)) = tokio::join!(refused, told);
    assert!(elapsed < LEASE, "its lease may have ended: {elapsed:?}");
    assert_eq!(told["cause"], "unreachable", "{told}");
    eventually(async || (rig.port.open() == 0).then_some(())).await;
    session.send("nobody reads this").await;
    rig.cluster.etcd.restart(0).await;
    state(&mut session, "connected").await;
    session.send("back").await;
    rig.port.typed(b"awayback").await;
    let answer = eventually(async || {
        let answer = rig.refused(&two).await;
        (answer.0 != 503).then_some(answer)
    });
    assert!(answer.await.1.starts_with("busy: token "));
}

#[tokio::test]
async fn a_drained_proxy_goes_on_with_its_ports_and_sends_away_who_goes_through_it_to_another() {
    let rig = Rig::new().await;
    let (one, two) = (rig.proxy("one").await, rig.proxy("two").await);
    let mut own = rig.attached(&one).await;
    let mut through = Socket::v1(&two.proxy(), &rig.token(), "&mode=watch").await;
    let hello = through.message("hello").await;
    rig.cluster.run(&["cluster", "drain", "one"]).await;
    let (status, reason) = eventually(async || {
        let answer = rig.refused(&one).await;
        (answer.0 != 409).then_some(answer)
    })
    .await;
    assert!(status == 503 && reason.starts_with("draining: this proxy"), "{status} {reason}");
    own.send("a").await;
    rig.port.typed(b"a").await;
    // Nobody else can reach the port: who is passed on is taken.
    assert_eq!(rig.refused(&two).await.0, 409);

    rig.cluster.run(&["cluster", "drain", "two"]).await;
    assert_eq!(through.closed().await.0, 4012);
    own.send("b").await;
    rig.port.typed(b"ab").await;
    rig.cluster.run(&["cluster", "drain", "two", "--undo"]).await;
    eventually(async || (rig.refused(&two).await.0 == 409).then_some(())).await;
    let path = format!("/?resume={}", hello["resume"].as_str().unwrap());
    let mut through = Socket::open(&two.proxy(), &path, &V1).await;
    assert_eq!(through.message("hello").await["session"], hello["session"]);
}

#[tokio::test]
async fn a_proxy_that_stood_still_types_nothing_once_another_may_have_the_port() {
    let rig = Rig::new().await;
    let (one, two) = (rig.proxy("one").await, rig.proxy("two").await);
    let mut stood = rig.attached(&one).await;
    stood.send("one").await;
    rig.port.typed(b"one").await;
    one.freeze().await;
    // For the kernel, this is a process that does not read.
    stood.send("late").await;
    eventually(async || (rig.owner().is_none()).then_some(())).await;
    one.thaw();
    // It closes the port before its sessions, and may be the next one that has it.
    assert_eq!(stood.closed().await.0, 4013);
    let mut other = rig.attached(&two).await;
    other.send("two").await;
    rig.port.typed(b"onetwo").await;
}

#[tokio::test]
async fn what_others_wrote_to_etcd_does_no_harm() {
    let rig = Rig::new().await;
    let (one, two) = (rig.proxy("one").await, rig.proxy("two").await);
    let key = format!("/serialproxy/v1/owners/{}-{}", rig.server, rig.port.address.port());
    for value in ["nonsense", r#"{"host": 7}"#, &"x".repeat(100_000)] {
        rig.cluster.etcd.ctl(&["put", &key, value]);
        let (status, reason) = rig.refused(&one).await;
        assert_eq!(status, 503, "{reason}");
        assert!(reason.starts_with("unavailable: which proxy serves this console"), "{reason}");
    }
    // No lease keeps it alive, so it counts as free.
    rig.cluster.etcd.ctl(&["put", &key, r#"{"host": "two", "process": 7}"#]);
    let mut session = Socket::v1(&one.proxy(), &rig.token(), "").await;
    assert_eq!(session.message("hello").await["state"], "connected");
    session.send("a").await;
    rig.port.typed(b"a").await;
    assert_eq!(rig.owner().as_deref(), Some("one"));

    // Its removal makes the proxy close the port, and take it again.
    rig.cluster.etcd.ctl(&["del", &key]);
    state(&mut session, "waiting").await;
    state(&mut session, "connected").await;
    session.send("b").await;
    rig.port.typed(b"ab").await;
    let busy = eventually(async || {
        let answer = rig.refused(&two).await;
        (answer.0 != 503).then_some(answer)
    });
    assert_eq!(busy.await.0, 409);
}
