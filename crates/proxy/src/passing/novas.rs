//! A proxy in nova-serialproxy's place, and a host whose compute role has the server: Nova's tokens lead to
//! the line there, as ours do, and the host asks Nova itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_config::Config;
use serialproxy_config::Sources;
use serialproxy_e2e::cloud::Cloud;
use serialproxy_e2e::cloud::Fault;
use serialproxy_line::Lines;
use serialproxy_line::Permit;
use serialproxy_line::Settings;
use serialproxy_openstack::Nova;
use serialproxy_proto::api;
use serialproxy_proto::compute::Answer;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::compute::OpenConsole;
use serialproxy_proto::compute::OpenedConsole;
use serialproxy_proto::compute::Output;
use serialproxy_proto::compute::Page;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::rig::Client;
use super::rig::HOST;
use super::rig::PROJECT;
use super::rig::Rig;
use super::rig::ask;
use super::rig::proxy;
use super::rig::serve;
use crate::Backing;
use crate::Neighbors;
use crate::NovaTokens;
use crate::Owners;
use crate::Reach;
use crate::Reached;
use crate::Taken;
use crate::Targets;

/// Knows where a guest's port is, as libvirt does.
#[derive(Debug)]
struct Book {
    lines: Arc<dyn LineBook>,
    server: ServerId,
    tcp: u16,
}

impl LineBook for Book {
    fn console_at(&self, server: ServerId, tcp: u16) -> Answer<'_, Option<OpenedConsole>> {
        let is_there = (server, tcp) == (self.server, self.tcp);
        let line = LineKey { server, port: 0 };
        let opened = OpenedConsole { line, name: "web".into(), project: PROJECT.into() };
        Box::pin(async move { Ok(is_there.then_some(opened)) })
    }

    fn open_console(&self, ask: OpenConsole) -> Answer<'_, OpenedConsole> {
        self.lines.open_console(ask)
    }

    fn lines(&self, page: Page<LineKey>) -> Answer<'_, api::Lines> {
        self.lines.lines(page)
    }

    fn line(&self, line: LineKey) -> Answer<'_, api::Line> {
        self.lines.line(line)
    }

    fn output(&self, line: LineKey, from: u64, max: usize) -> Answer<'_, Output> {
        self.lines.output(line, from, max)
    }

    fn boots(&self, line: LineKey) -> Answer<'_, api::BootList> {
        self.lines.boots(line)
    }

    fn send_break(&self, line: LineKey) -> Answer<'_, ()> {
        self.lines.send_break(line)
    }

    fn sysrq(&self, line: LineKey, key: char) -> Answer<'_, ()> {
        self.lines.sysrq(line, key)
    }

    fn sessions(&self, project: Option<String>) -> Answer<'_, api::Sessions> {
        self.lines.sessions(project)
    }

    fn disconnect_writer(&self, line: LineKey, by: Disconnect) -> Answer<'_, api::Writer> {
        self.lines.disconnect_writer(line, by)
    }

    fn disconnect(&self, line: LineKey, session: SessionId, by: Disconnect) -> Answer<'_, ()> {
        self.lines.disconnect(line, session, by)
    }
}

/// No other proxy has any port.
#[derive(Debug)]
struct Alone;

impl Reach for Alone {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Reached>> {
        Box::pin(async { Err(io::ErrorKind::HostUnreachable.into()) })
    }
}

impl Owners for Alone {
    fn take<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Taken, Refusal>> {
        Box::pin(async { Ok(Taken::Here(Arc::new(Self))) })
    }

    fn of(&self, _: ServerId) -> Option<String> {
        None
    }
}

impl Permit for Alone {
    fn is_good(&self) -> bool {
        true
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// A proxy in front of the cloud.
struct DropIn {
    at: SocketAddr,
    lines: Lines,
}

/// A host with a guest of the cloud's.
struct Host {
    cloud: Cloud,
    rig: Rig,
}

/// The tokens of a cloud.
fn tokens(cloud: &Cloud, config: &Config) -> Arc<NovaTokens> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nova.conf");
    std::fs::write(&file, cloud.login("nova") + "region_name = RegionOne\n").unwrap();
    let sources = Sources { files: vec![file], ..Sources::default() };
    let nova = Nova::new(&serialproxy_config::load(&sources).unwrap().config);
    NovaTokens::new(nova.unwrap().unwrap(), config)
}

impl Host {
    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let cloud = Cloud::start().await;
        let backing = |mut host: serialproxy_console::Host, config: &Config, at: SocketAddr| {
            let server = ServerId::of_static("web");
            host.lines = Arc::new(Book { lines: host.lines, server, tcp: at.port() });
            Backing::Own(host, Some(tokens(&cloud, config)))
        };
        let rig = Rig::with(change, backing).await;
        Self { cloud, rig }
    }

    fn server(&self) -> ServerId {
        self.rig.line.key().server
    }

    /// A new token for the guest's port, which nobody but its host can reach.
    fn token(&self) -> String {
        self.token_at(self.rig.guest.local_addr().unwrap().port())
    }

    /// The same at this TCP port.
    fn token_at(&self, port: u16) -> String {
        self.cloud.console_token(self.server().0, ([192, 0, 2, 1], port).into())
    }

    async fn drop_in(&self) -> DropIn {
        let mut config = Config::default();
        config.session.grace = Duration::from_millis(100);
        let lines = Lines::new(Settings::default(), vec![Handle::current()]);
        let hosts = Arc::clone(&self.rig.cluster) as _;
        let neighbors = Neighbors { proxies: Arc::new(Alone), hosts };
        let tokens = tokens(&self.cloud, &config);
        let targets = Arc::new(Targets::new(tokens, Some(neighbors), lines.clone(), &config));
        let kept = Arc::clone(&targets);
        tokio::spawn(async move { kept.remove_unused().await });
        let proxy = proxy(config, lines.clone(), Backing::Nova(targets));
        DropIn { at: serve(Arc::new(proxy)).await.0, lines }
    }

    /// How the host answers one who has a proxy's certificate, and says that a token is this one's.
    async fn answers(&self, token: &str, issuer: &str) -> String {
        let mut stream = self.rig.cluster.connect(HOST).await.unwrap().stream;
        let request = format!(
            "GET /?token={token} HTTP/1.1\r\nHost: a\r\nSerialproxy-Client: 192.0.2.7:5 http a\r\n\
             Serialproxy-Issuer: {issuer}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        ask(&mut stream, &request).await
    }
}

/// A handshake that is expected to be refused with this status.
async fn refused(at: SocketAddr, token: &str, status: u16) -> String {
    let (_, head) = Client::open(at, &format!("?token={token}"), "").await;
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    head
}

#[tokio::test]
async fn users_with_tokens_of_nova_s_meet_at_the_line_on_its_host_through_any_proxy() {
    let mut host = Host::start().await;
    let (one, two) = (host.drop_in().await, host.drop_in().await);
    let mut alice = Client::raw(one.at, &host.token()).await;
    alice.write(b"root\r").await;
    assert_eq!(host.rig.typed(5).await, b"root\r");
    host.rig.guest.write_all(b"login: ").await.unwrap();
    assert_eq!(alice.output(7).await, b"login: ");
    let busy = refused(two.at, &host.token(), 409).await;
    assert!(busy.contains("busy: token "), "{busy}");

    let watches = format!("?token={}&mode=watch", host.token());
    let (watcher, hello) = Client::v1(two.at, &watches).await;
    assert_eq!(hello["nova"], true, "{hello}");
    drop(watcher);
    let resumes = format!("?resume={}", hello["resume"].as_str().unwrap());
    let (_watcher, again) = Client::v1(one.at, &resumes).await;
    assert_eq!(again["session"], hello["session"]);
    assert!(one.lines.all().is_empty() && two.lines.all().is_empty());
}

#[tokio::test]
async fn a_host_asks_nova_itself_whatever_a_proxy_says() {
    let host = Host::start().await;
    let ours = host.rig.token("alice", Mode::Write).await;
    let expired = host.token();
    host.cloud.expire(&expired);
    let other = ServerId::of_static("other").0;
    let elsewhere = host.cloud.console_token(other, host.rig.guest.local_addr().unwrap());
    for (token, issuer) in [
        ("818eac6a-0d8a-4bbb-8127-3f15a47b1369", "nova"),
        (&*expired, "nova"),
        (&*host.token_at(1), "nova"),
        (&*elsewhere, "nova"),
        (&*ours, "nova"),
        (&*host.token(), "serialproxy"),
    ] {
        let answer = host.answers(token, issuer).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{token} {issuer} {answer}");
    }
    host.cloud.fail(Some(("/v2.1", Fault::Status(500))));
    let answer = host.answers(&host.token(), "nova").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    host.cloud.fail(None);
    let answer = host.answers(&host.token(), "nova").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
}

#[tokio::test]
async fn tokens_of_nova_s_are_good_until_nova_says_that_they_have_expired() {
    let change = |config: &mut Config| {
        config.consoleauth.single_use = true;
        config.consoleauth.enforce_session_timeout = true;
        config.consoleauth.token_ttl = Duration::from_secs(600);
    };
    let host = Host::start_with(change).await;
    let (proxy, token) = (host.drop_in().await, host.token());
    let watches = format!("?token={token}&mode=watch");
    let (_first, head) = Client::open(proxy.at, &watches, "").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (_second, hello) = Client::v1(proxy.at, &watches).await;
    assert_eq!(hello["mode"], "watch");
    let kept = host.rig.lines.kept();
    assert!(kept.len() == 1 && kept[0].limit.is_some(), "also after a restart: {kept:?}");
}

#[tokio::test]
async fn a_host_without_a_nova_says_what_is_missing() {
    let cloud = Cloud::start().await;
    let host = Host { rig: Rig::new().await, cloud };
    let proxy = host.drop_in().await;
    let refused = refused(proxy.at, &host.token(), 503).await;
    assert!(refused.contains("[nova] is not set for its compute role"), "{refused}");
    assert!(refused.contains("x-console-cause: store"), "{refused}");
}

#[tokio::test]
async fn a_lost_host_is_waited_for_and_a_server_of_no_host_is_reached_over_the_network() {
    let host = Host::start().await;
    let proxy = host.drop_in().await;
    *host.rig.cluster.refusal.lock().unwrap() = Some(Refusal::HostLost("it is away".into()));
    let lost = refused(proxy.at, &host.token(), 503).await;
    assert!(lost.contains("x-console-cause: host_lost"), "{lost}");

    *host.rig.cluster.refusal.lock().unwrap() = Some(Refusal::NoSuchLine("nobody has it".into()));
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let token = host.cloud.console_token(host.server().0, port.local_addr().unwrap());
    let (mut session, accepted) = tokio::join!(Client::raw(proxy.at, &token), port.accept());
    let mut guest = accepted.unwrap().0;
    session.write(b"x").await;
    let mut typed = [0];
    guest.read_exact(&mut typed).await.unwrap();
    assert_eq!(&typed, b"x");

    // The compute role is started on its host.
    *host.rig.cluster.refusal.lock().unwrap() = None;
    assert_eq!(session.closed().await, 4012);
    assert_eq!(guest.read(&mut typed).await.unwrap(), 0, "the port is let go");
    let _session = Client::raw(proxy.at, &host.token()).await;
    assert_eq!(host.rig.lines.sessions().len(), 1);
}
