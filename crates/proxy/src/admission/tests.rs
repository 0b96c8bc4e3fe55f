//! Changes during an attach that waits for a connecting line.

use std::path::Path;

use serialproxy_compute::Manager;
use serialproxy_config::Config;
use serialproxy_console::Host;
use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::Settings as EtcdSettings;
use serialproxy_grants::Grants;
use serialproxy_ledger::Ledger;
use serialproxy_line::Line;
use serialproxy_line::Lines;
use serialproxy_line::Resolve;
use serialproxy_line::Settings;
use serialproxy_line::Unresolved;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::Grant;
use serialproxy_tls::Reception;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::*;
use crate::Tls;

const PROJECT: &str = "team-a";

/// Tells where the port is when the gate is open.
#[derive(Debug)]
struct Held(Endpoint, watch::Receiver<bool>);

impl Resolve for Held {
    fn resolve(&self, _: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
        let (at, mut gate) = (self.0.clone(), self.1.clone());
        Box::pin(async move {
            let _ = gate.wait_for(|open| *open).await;
            Ok(at)
        })
    }
}

/// A proxy whose only line stays connecting until the gate is open.
struct Rig {
    _state: tempfile::TempDir,
    grants: Grants,
    lines: Lines,
    line: Line,
    proxy: Arc<Proxy>,
    gate: watch::Sender<bool>,
}

impl Rig {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(change, |file| Grants::open(file).unwrap()).await
    }

    async fn with(change: impl FnOnce(&mut Config), grants: impl FnOnce(&Path) -> Grants) -> Self {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("store.sqlite");
        let grants = grants(&file);
        let ledger = Arc::new(Ledger::open(&file).unwrap());
        let mut config = Config::default();
        config.compute.libvirt = false;
        change(&mut config);
        let lines = Lines::new(Settings::default(), vec![Handle::current()]);
        let compute = Manager::start(&config, ledger, lines.clone());
        let backing = Backing::Own(Host::alone(grants.clone(), &compute), None);
        let tls = Tls { users: Reception::plain(), api: None };
        let proxy = Proxy::new(Arc::new(config), lines.clone(), backing, tls).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = port.local_addr().unwrap();
        tokio::spawn(async move {
            let mut guests = Vec::new();
            while let Ok((guest, _)) = port.accept().await {
                guests.push(guest);
            }
        });
        let (gate, open) = watch::channel(false);
        let at = Endpoint::Tcp { host: address.ip().to_string(), port: address.port() };
        let server = ServerRef { id: ServerId::of_static("web"), name: "web".into() };
        let line = lines.add(&server, Some(PROJECT), 0, Arc::new(Held(at, open)));
        line.guest_running();
        Self { _state: state, grants, lines, line, proxy: Arc::new(proxy), gate }
    }

    async fn token(&self) -> ConsoleToken {
        let grant = Grant {
            line: self.line.key(),
            project: PROJECT.into(),
            user: "alice".into(),
            mode: Mode::Write,
            operator: false,
            wait: true,
            expires: Timestamp::now() + Duration::from_secs(600),
            host: None,
            link: None,
        };
        self.grants.authorize(grant).await.unwrap()
    }

    async fn attach(
        &self,
        token: &ConsoleToken,
        mode: AskedMode,
    ) -> Result<(Attachment, Keyboard), Refusal> {
        let console = self.proxy.backing.look_up(token, false).await?;
        let wish = Wish {
            mode: Some(mode),
            start: Start::Live,
            protocol: Protocol::ConsoleV1,
            client: Client {
                address: ([192, 0, 2, 1], 4).into(),
                secure: false,
                trusted: false,
                passed_on: false,
                of_nova: false,
            },
        };
        attach(&self.proxy, token, console, wish).await
    }
}

const WRITE: AskedMode = AskedMode::Only(Mode::Write);

/// The refusal, if any, of an attach during whose wait this is done.
async fn meanwhile(what: impl AsyncFnOnce(&Rig, &ConsoleToken)) -> Option<Refusal> {
    meanwhile_at(Rig::new(|_| ()).await, what).await
}

/// The same in this rig.
async fn meanwhile_at(rig: Rig, what: impl AsyncFnOnce(&Rig, &ConsoleToken)) -> Option<Refusal> {
    let token = rig.token().await;
    let attaching = rig.attach(&token, WRITE);
    let acting = async {
        // A line counts as used when an attach waits for it.
        while !rig.line.is_used() {
            tokio::task::yield_now().await;
        }
        what(&rig, &token).await;
        rig.gate.send_replace(true);
    };
    let (attached, ()) = tokio::join!(attaching, acting);
    assert_eq!(rig.lines.sessions().len(), usize::from(attached.is_ok()));
    attached.err()
}

#[tokio::test]
async fn who_waits_for_a_line_gets_it_when_nothing_ends_meanwhile() {
    assert_eq!(meanwhile(async |_, _| ()).await, None);
    // Nor when another token ends.
    let other = async |rig: &Rig, _: &ConsoleToken| {
        rig.grants.revoke(rig.token().await.digest()).await.unwrap();
    };
    assert_eq!(meanwhile(other).await, None);
}

#[tokio::test]
async fn a_token_that_another_host_revokes_while_it_waits_is_unknown() {
    let nodes = Nodes::start(1).await;
    let on = || {
        let (endpoints, prefix) = (nodes.endpoints(), "/serialproxy/v1/".into());
        Grants::on(Etcd::new(EtcdSettings { endpoints, tls: None, user: None, prefix }).unwrap())
    };
    let other = on();
    let revoke = async |_: &Rig, token: &ConsoleToken| {
        assert!(other.revoke(token.digest()).await.unwrap());
    };
    let rig = Rig::with(|_| (), |_| on()).await;
    assert_eq!(meanwhile_at(rig, revoke).await, Some(Refusal::Token));
    let rig = Rig::with(|_| (), |_| on()).await;
    // The token is looked up when it is shown, and once more when the line has taken the session in.
    let before = transactions(&nodes).await;
    let kept = async |_: &Rig, _: &ConsoleToken| {
        assert_eq!(transactions(&nodes).await, before + MADE + 1);
    };
    assert_eq!(meanwhile_at(rig, kept).await, None);
    assert_eq!(transactions(&nodes).await, before + MADE + 2);
}

/// Transactions that issuing a token takes.
const MADE: u64 = 1;

/// Number of transactions that etcd has received.
async fn transactions(nodes: &Nodes) -> u64 {
    let url = nodes.endpoints().remove(0);
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let mut counted = answer.lines().filter(|line| {
        line.starts_with("grpc_server_started_total") && line.contains("grpc_method=\"Txn\"")
    });
    counted.next().unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn a_token_that_is_revoked_while_it_waits_is_unknown() {
    let one = async |rig: &Rig, token: &ConsoleToken| {
        assert!(rig.grants.revoke(token.digest()).await.unwrap());
    };
    assert_eq!(meanwhile(one).await, Some(Refusal::Token));
    let all = async |rig: &Rig, _: &ConsoleToken| {
        assert_eq!(rig.grants.revoke_tokens_of(rig.line.key().server).await.unwrap(), 1);
    };
    assert_eq!(meanwhile(all).await, Some(Refusal::Token));
}

#[tokio::test]
async fn a_token_whose_server_comes_to_another_project_while_it_waits_is_unknown() {
    let moves = async |rig: &Rig, _: &ConsoleToken| rig.line.belongs_to("team-b");
    assert_eq!(meanwhile(moves).await, Some(Refusal::Token));
}

#[tokio::test]
async fn a_line_that_is_removed_while_somebody_waits_for_it_is_gone() {
    let removed = async |rig: &Rig, _: &ConsoleToken| {
        rig.lines.remove(rig.line.key(), "the server was deleted");
    };
    assert!(matches!(meanwhile(removed).await, Some(Refusal::NoSuchLine(_))));
}

#[tokio::test]
async fn who_waits_when_the_proxy_drains_is_told_so() {
    let drains = async |rig: &Rig, _: &ConsoleToken| rig.lines.drain();
    assert_eq!(meanwhile(drains).await, Some(Refusal::Draining));
}

#[tokio::test]
async fn a_token_for_one_use_that_expires_while_it_waits_is_unknown() {
    let rig = Rig::new(|config| config.consoleauth.single_use = true).await;
    rig.gate.send_replace(true);
    let token = rig.token().await;
    let console = rig.proxy.backing.look_up(&token, false).await.unwrap();
    let expired = Console { expires: Some(Timestamp::now()), ..console };
    assert_eq!(rig.proxy.backing.spend(&token, &expired).await, Err(Refusal::Token));
    assert!(rig.attach(&token, AskedMode::Only(Mode::Watch)).await.is_ok(), "it is not spent");
}

#[tokio::test]
async fn of_two_who_wait_with_a_token_for_one_use_one_gets_in() {
    let rig = Rig::new(|config| config.consoleauth.single_use = true).await;
    let token = rig.token().await;
    let attach = || rig.attach(&token, AskedMode::Only(Mode::Watch));
    let opening = async {
        while !rig.line.is_used() {
            tokio::task::yield_now().await;
        }
        rig.gate.send_replace(true);
    };
    let (one, two, ()) = tokio::join!(attach(), attach(), opening);
    assert!(one.is_ok() != two.is_ok());
    assert_eq!(rig.lines.sessions().len(), 1);
    assert_eq!(one.err().or_else(|| two.err()), Some(Refusal::Token));
}

#[tokio::test]
async fn a_link_that_another_host_asked_for_is_not_taken() {
    let rig = Rig::new(|_| ()).await;
    rig.gate.send_replace(true);
    let digest = rig.token().await.digest();
    let grant = rig.grants.validate(digest, Timestamp::now()).await.unwrap().unwrap();
    let taken = Backing::take(grant.clone(), None);
    assert_eq!(taken.as_ref(), Ok(&grant));
    let of_another = Grant { host: Some("hv-7".into()), ..grant };
    for own in [None, Some("hv-1")] {
        assert_eq!(Backing::take(of_another.clone(), own), Err(Refusal::Token));
    }
    assert!(Backing::take(of_another, Some("hv-7")).is_ok());
}

#[tokio::test]
async fn a_link_that_a_session_makes_is_for_the_servers_of_its_own_project() {
    let rig = Rig::new(|_| ()).await;
    rig.gate.send_replace(true);
    let (_attachment, keyboard) = rig.attach(&rig.token().await, WRITE).await.unwrap();
    // The session's facts for the link were read before its server moved to another project.
    let grant = Grant {
        line: keyboard.line(),
        project: keyboard.project().unwrap().to_owned(),
        user: keyboard.user().to_owned(),
        mode: Mode::Watch,
        operator: false,
        wait: true,
        expires: Timestamp::MAX,
        host: None,
        link: None,
    };
    rig.line.belongs_to("team-b");
    let link = rig.grants.authorize(grant).await.unwrap();
    assert_eq!(rig.attach(&link, AskedMode::Only(Mode::Watch)).await.err(), Some(Refusal::Token));
    rig.line.belongs_to(PROJECT);
    assert!(rig.attach(&link, AskedMode::Only(Mode::Watch)).await.is_ok());
    let (_attachment, keyboard) = rig.attach(&link, AskedMode::Auto).await.unwrap();
    assert!(!keyboard.may_write() && !keyboard.writes());
}

#[tokio::test]
async fn auto_types_where_the_token_and_the_line_allow_it_and_otherwise_watches() {
    let rig = Rig::new(|_| ()).await;
    rig.gate.send_replace(true);
    let token = rig.token().await;
    let (first, firsts) = rig.attach(&token, AskedMode::Auto).await.unwrap();
    let (_second, seconds) = rig.attach(&token, AskedMode::Auto).await.unwrap();
    assert!(firsts.writes() && !seconds.writes());
    let refused = rig.attach(&token, WRITE).await.err();
    assert!(matches!(refused, Some(Refusal::Busy { own: true, .. })), "{refused:?}");
    drop((first, firsts));
    let (_third, thirds) = rig.attach(&token, AskedMode::Auto).await.unwrap();
    assert!(thirds.writes());
}
