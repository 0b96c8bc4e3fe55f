//! Several proxies behind a real HAProxy, with the real client: killing a proxy loses no byte.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "that is how a test fails")]

use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use serde_json::Value;
use serialproxy_e2e::address::free_port;
use serialproxy_e2e::cluster::Cluster;
use serialproxy_e2e::cluster::Role;
use serialproxy_e2e::eventually;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::program;
use serialproxy_e2e::terminal::Terminal;
use serialproxy_e2e::within;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::process::Child;
use tokio::process::ChildStdin;
use tokio::process::ChildStdout;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Proxies that are killed, unless `SERIALPROXY_TEST_KILLS` sets the number.
const KILLS: usize = 6;

/// How much the guest prints at a time, and how often: 1 MB/s.
const PRINTED: usize = 10_000;
const EVERY: Duration = Duration::from_millis(10);

/// How soon a client must be back after its proxy was killed. A busy machine delays some attempts,
/// but not all.
const BACK: Duration = Duration::from_secs(2);

/// The longest pause in the output of a session, however busy the machine is.
const STILL: Duration = Duration::from_secs(10);

/// As in `docs/proxies.md`, on its own ports.
struct Haproxy {
    _process: Child,
    _directory: TempDir,
}

impl Haproxy {
    async fn start(port: u16, proxies: [u16; 2]) -> Self {
        let [one, two] = proxies;
        let config = format!(
            "defaults\n  mode http\n  timeout client 90s\n  timeout server 90s\n  timeout tunnel 90s\n  \
             timeout connect 500ms\n  timeout check 500ms\n\
             frontend console\n  bind 127.0.0.1:{port}\n  default_backend serialproxy\n\
             backend serialproxy\n  option httpchk GET /healthz\n  option redispatch 1\n  retries 3\n  \
             default-server check inter 500ms fall 1 rise 1 on-marked-down shutdown-sessions\n  \
             server proxy-1 127.0.0.1:{one}\n  server proxy-2 127.0.0.1:{two}\n"
        );
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file).stdin(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().unwrap();
        eventually(async || TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
        Self { _process: process, _directory: directory }
    }
}

/// A cluster with a line, without proxies. Users connect to one port.
struct Cloud {
    cluster: Cluster,
    port: Port,
    base_url: String,
    compute: Role,
    api: Role,
}

impl Cloud {
    async fn start(users: u16) -> Self {
        Self::start_with(users, 1).await
    }

    /// With this many nodes of etcd.
    async fn start_with(users: u16, nodes: usize) -> Self {
        let cluster = Cluster::new(nodes).await;
        cluster.certify("ctl", &["api"]);
        cluster.certify("hv1", &["compute"]);
        let base_url = format!("--serial_console-base_url=http://127.0.0.1:{users}/");
        let port = Port::new("switch").await;
        let compute = compute(&cluster, &port, &base_url).await;
        let api = cluster.start("ctl", "api", &[&base_url]).await;
        Self { cluster, port, base_url, compute, api }
    }

    async fn proxy(&self, host: &str, port: u16) -> Role {
        self.cluster.certify(host, &["proxy"]);
        let port = port.to_string();
        let flags = ["--serial_console-serialproxy_port", &port, &self.base_url];
        self.cluster.start(host, "proxy", &flags).await
    }

    async fn listed(&self) {
        eventually(async || {
            let servers = self.api.call(Method::GET, "/v1/servers", "").await.json;
            (servers["servers"][0]["name"] == "switch").then_some(())
        })
        .await;
    }

    /// Id and mode of the only session.
    async fn session(&self) -> (Value, Value) {
        let sessions = self.api.call(Method::GET, "/v1/sessions", "").await.json;
        assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "{sessions}");
        let session = &sessions["sessions"][0];
        assert_eq!(session["mode"], "write");
        (session["id"].clone(), session["since"].clone())
    }

    /// `connect`, ready to run.
    fn connect(&self) -> Command {
        let mut connect = Command::new(program());
        connect.args(["connect", "switch"]).env("SERIALPROXY_API_URL", self.api.api());
        connect.env("SERIALPROXY_TOKEN", self.api.admin_token());
        connect.env("XDG_CONFIG_HOME", "/nonexistent").kill_on_drop(true);
        connect
    }
}

async fn compute(cluster: &Cluster, port: &Port, base_url: &str) -> Role {
    let [flag, line] = port.flag();
    let flags = [&flag, &line, "--line-history_tail=16MiB", base_url];
    cluster.start("hv1", "compute", &flags).await
}

/// Prints until it is told to stop, and then prints a mark; returns the output.
async fn print(mut guest: OwnedWriteHalf, on: watch::Receiver<bool>) -> Vec<u8> {
    let mut printed = Vec::new();
    let mut clock = tokio::time::interval(EVERY);
    let mut line = 0;
    while *on.borrow() {
        clock.tick().await;
        let begin = printed.len();
        while printed.len() - begin < PRINTED {
            printed.extend_from_slice(format!("{line:09}\r\n").as_bytes());
            line += 1;
        }
        within(guest.write_all(&printed[begin..])).await.unwrap();
    }
    printed.extend_from_slice(b"the end\r\n");
    within(guest.write_all(b"the end\r\n")).await.unwrap();
    // It stays connected.
    std::mem::forget(guest);
    printed
}

/// Reads a client's output to the end; returns it, and the longest pause in it.
async fn read(mut stdout: ChildStdout) -> (Vec<u8>, Duration) {
    let (mut all, mut longest, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
    while !all.ends_with(b"the end\r\n") {
        if within(stdout.read_buf(&mut all)).await.unwrap() == 0 {
            break;
        }
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    (all, longest)
}

/// The real client with a guest that prints 1 MB/s and reads the input.
struct Busy {
    client: Child,
    stdin: ChildStdin,
    keys: OwnedReadHalf,
    on: watch::Sender<bool>,
    printing: JoinHandle<Vec<u8>>,
    reading: JoinHandle<(Vec<u8>, Duration)>,
}

impl Busy {
    async fn start(cloud: &Cloud, guest: Guest) -> Self {
        let (mut keys, printer) = guest.0.into_split();
        let mut connect = cloud.connect();
        let connect = connect.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = connect.spawn().unwrap();
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(b"go\n").await.unwrap();
        let mut typed = [0; 3];
        within(keys.read_exact(&mut typed)).await.unwrap();
        let (on, running) = watch::channel(true);
        let printing = tokio::spawn(print(printer, running));
        let reading = tokio::spawn(read(client.stdout.take().unwrap()));
        Self { client, stdin, keys, on, printing, reading }
    }

    /// Types some lines, each byte of which the guest must read once; returns the time for that.
    async fn types(&mut self, name: &str) -> Duration {
        let started = Instant::now();
        let lines: Vec<_> = (0..5).map(|line| format!("{name}.{line}\n")).collect();
        for line in &lines {
            self.stdin.write_all(line.as_bytes()).await.unwrap();
        }
        let mut typed = vec![0; lines.concat().len()];
        within(self.keys.read_exact(&mut typed)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&typed), lines.concat());
        started.elapsed()
    }

    /// Ends it. Each byte of the guest must have arrived once. Returns the client's stderr.
    async fn ended(mut self, what: &str) -> String {
        self.on.send_replace(false);
        let printed = self.printing.await.unwrap();
        let (shown, still) = within(self.reading).await.unwrap();
        assert_eq!(shown.len(), printed.len());
        assert!(shown == printed, "the output differs");
        assert!(still < STILL, "there was no output for {still:?}");
        println!("{what}: {} bytes, no output for {still:?} at most", shown.len());
        self.client.kill().await.unwrap();
        let mut reported = String::new();
        self.client.stderr.take().unwrap().read_to_string(&mut reported).await.unwrap();
        reported
    }
}

#[tokio::test]
async fn proxies_that_are_killed_one_after_the_other_cost_no_byte_either_way() {
    let kills = std::env::var("SERIALPROXY_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let [users, ports @ ..] = [free_port(), free_port(), free_port()];
    let cloud = Cloud::start(users).await;
    let guest = cloud.port.accept().await;
    let mut proxies =
        [Some(cloud.proxy("front0", ports[0]).await), Some(cloud.proxy("front1", ports[1]).await)];
    let _haproxy = Haproxy::start(users, ports).await;
    cloud.listed().await;
    let mut busy = Busy::start(&cloud, guest).await;
    let mut back = Vec::new();
    for kill in 0..kills {
        let proxy = proxies[kill % 2].take().unwrap();
        proxy.kill().await;
        back.push(busy.types(&kill.to_string()).await);
        let host = format!("front{}", kill % 2);
        proxies[kill % 2] = Some(cloud.proxy(&host, ports[kill % 2]).await);
        // HAProxy notices; the client may be connected to either.
        let address = ("127.0.0.1", ports[kill % 2]);
        eventually(async || TcpStream::connect(address).await.ok()).await;
    }
    // The first may not have been the client's.
    let soonest = back.iter().skip(1).min();
    assert!(soonest.is_none_or(|soonest| *soonest < BACK), "{back:?}");
    busy.ended(&format!("{kills} proxies killed")).await;
}

#[tokio::test]
async fn a_session_notices_nothing_of_api_roles_nodes_of_etcd_and_other_hosts_that_are_killed() {
    let users = free_port();
    let cloud = Cloud::start_with(users, 3).await;
    let guest = cloud.port.accept().await;
    let _proxy = cloud.proxy("front", users).await;
    cloud.listed().await;
    let mut busy = Busy::start(&cloud, guest).await;
    let session = cloud.session().await;

    let Cloud { cluster, port, base_url, compute, api } = cloud;
    api.kill().await;
    busy.types("no api").await;
    let api = cluster.start("ctl", "api", &[&base_url]).await;
    let mut cloud = Cloud { cluster, port, base_url, compute, api };
    for node in 0..3 {
        cloud.cluster.etcd.kill(node);
        busy.types(&format!("no node {node}")).await;
        cloud.cluster.etcd.restart(node).await;
        busy.types(&format!("node {node}")).await;
    }
    let other = Port::new("other").await;
    let [flag, line] = other.flag();
    cloud.cluster.certify("hv2", &["compute"]);
    let killed = cloud.cluster.start("hv2", "compute", &[&flag, &line]).await;
    let _guest = other.accept().await;
    killed.kill().await;
    busy.types("no other host").await;
    assert_eq!(cloud.session().await, session);
    let reported = busy.ended("an api role, three nodes and a host killed").await;
    assert!(!reported.contains("reconnected"), "{reported}");
}

#[tokio::test]
async fn a_session_comes_back_when_its_host_s_program_was_killed() {
    let users = free_port();
    let cloud = Cloud::start(users).await;
    let mut guest = cloud.port.accept().await;
    let _proxy = cloud.proxy("front", users).await;
    cloud.listed().await;
    let mut terminal = Terminal::run(cloud.connect());
    terminal.shows("connected to switch").await;
    terminal.keys("before\r");
    assert_eq!(guest.typed(7).await, b"before\r");

    let Cloud { cluster, port, base_url, compute: killed, api: _api } = cloud;
    // The stored key outlives the program.
    eventually(async || killed.log().contains("sessions are kept").then_some(())).await;
    killed.kill().await;
    let _compute = compute(&cluster, &port, &base_url).await;
    let mut guest = port.accept().await;
    terminal.shows("output may be missing here").await;
    terminal.shows("reconnected to switch, port 0: the session continues").await;
    guest.print(b"back").await;
    terminal.shows("back").await;
    terminal.keys("after\r");
    assert_eq!(guest.typed(6).await, b"after\r");
}
