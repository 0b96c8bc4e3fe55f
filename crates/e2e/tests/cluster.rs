//! Hosts join a cluster and leave it by the commands that people type, with a real etcd.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "that is how a test fails")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serialproxy_e2e::cloud::Cloud;
use serialproxy_e2e::cluster::Role;
use serialproxy_e2e::etcd::Etcd;
use serialproxy_e2e::eventually;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::program;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;

/// An etcd, and an api host `a1`, whose files are in a directory.
struct Place {
    dir: TempDir,
    etcd: Etcd,
    api: Role,
}

impl Place {
    /// With a new CA.
    async fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("cluster-").tempdir().unwrap();
        let etcd = Etcd::start(1).await;
        let state = dir.path().join("a1");
        let words = ["cluster", "init", "--cluster-name=a1"].map(str::to_owned);
        out(&run(words.into_iter().chain([format!("--state-dir={}", state.display())])).await);
        let flags = ["--api-listen=127.0.0.1:0", "--cluster-listen=127.0.0.1:0"];
        let flags = flags.map(str::to_owned).into_iter().chain(options(&etcd));
        let api = Role::start("api", &state, &flags.collect::<Vec<_>>()).await;
        Self { dir, etcd, api }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a command of the api host.
    async fn api(&self, arguments: &[&str]) -> Output {
        let state = format!("--state-dir={}", self.path("a1").display());
        let at = format!("--cluster-advertise={}", self.api.cluster());
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        run(arguments.chain([state, at]).chain(options(&self.etcd))).await
    }

    /// Runs the command that `enroll` printed, on the host of this name.
    async fn join(&self, line: &str, host: &str) -> Output {
        let mut words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(words.remove(0), "serialproxy");
        words.push(format!("--name={host}"));
        words.push(format!("--state-dir={}", self.path(host).display()));
        words.push(format!("--config-dir={}", self.path("conf").join(host).display()));
        run(words).await
    }

    async fn enroll(&self, arguments: &[&str]) -> String {
        let enroll: Vec<_> = ["enroll"].iter().chain(arguments).copied().collect();
        let line = out(&self.api(&enroll).await);
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    }
}

/// The configuration of an api host.
fn options(etcd: &Etcd) -> [String; 2] {
    let etcd = format!("--cluster-etcd_endpoints={}", etcd.endpoints().join(","));
    [etcd, "--cluster-name=a1".to_owned()]
}

async fn run(arguments: impl IntoIterator<Item = String>) -> Output {
    within(Command::new(program()).args(arguments).output()).await.unwrap()
}

/// The output of a command that must succeed.
fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The error text of a command that must fail.
fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn the_line_that_enroll_prints_joins_a_host_and_says_what_to_start() {
    let place = Place::new().await;
    let line = place.enroll(&["--role", "compute,proxy"]).await;
    assert!(line.starts_with(&format!("serialproxy join {} sp1_", place.api.cluster())), "{line}");
    let told = out(&place.join(&line, "h1").await);
    let directories = format!(
        "--state-dir {} --config-dir {}",
        place.path("h1").display(),
        place.path("conf/h1").display()
    );
    for role in ["compute", "proxy"] {
        assert!(told.contains(&format!("\n  serialproxy {role} {directories}\n")), "{told}");
    }
    for key in ["a1/cluster/ca-key.pem", "a1/cluster/key.pem", "h1/cluster/key.pem"] {
        let mode = place.path(key).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    assert!(!place.path("h1/cluster/ca-key.pem").exists());

    // The configuration file that it wrote is valid.
    let files = ["--state-dir", "--config-dir"].iter().zip(["h1", "conf/h1"]);
    let files = files.map(|(flag, path)| format!("{flag}={}", place.path(path).display()));
    let shown = out(&run(["config".to_owned(), "show".to_owned()].into_iter().chain(files)).await);
    for option in ["name = h1", &format!("etcd_endpoints = {}", place.etcd.endpoints()[0])] {
        assert!(shown.contains(&format!("\n{option}\n")), "{shown}");
    }
    let status = out(&place.api(&["cluster", "status"]).await);
    assert!(status.contains("\nh1    compute,proxy  -    "), "{status}");
}

#[tokio::test]
async fn a_proxy_in_front_of_a_nova_joins_as_every_other() {
    let place = Place::new().await;
    let line = place.enroll(&["--role", "proxy"]).await;
    out(&place.join(&line, "p1").await);
    let (cloud, port) = (Cloud::start().await, Port::new("vm").await);
    let nova_conf = format!("{}region_name = RegionOne\n", cloud.login("nova"));
    std::fs::write(place.path("nova.conf"), nova_conf).unwrap();
    let files = ["nova.conf", "conf/p1/cluster.conf"];
    let files = files.map(|file| format!("--config-file={}", place.path(file).display()));
    let listen = ["--cluster-listen=127.0.0.1:0", "--host=127.0.0.1", "--port=0"];
    let flags: Vec<_> = files.into_iter().chain(listen.map(str::to_owned)).collect();
    let proxy = Role::start("proxy", &place.path("p1"), &flags).await;
    let token = cloud.console_token(Uuid::new_v4(), port.address());
    let address = proxy.proxy();
    let (mut session, mut guest) = tokio::join!(Socket::raw(&address, &token), port.accept());
    session.send("root").await;
    assert_eq!(guest.typed(4).await, b"root");
    eventually(async || {
        let status = out(&place.api(&["cluster", "status"]).await);
        let own = status.lines().find(|line| line.starts_with("p1 ")).unwrap();
        (own.split_whitespace().nth(2) == Some("proxy")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_code_that_was_used_or_is_wrong_joins_nobody() {
    let place = Place::new().await;
    let line = place.enroll(&["--role", "compute", "--ttl", "1m"]).await;
    out(&place.join(&line, "h1").await);
    let used = failure(&place.join(&line, "h2").await);
    assert!(used.contains("the code is wrong, was used already or has expired"), "{used}");
    assert!(!place.path("h2/cluster/key.pem").exists());
    let wrong = run(["join", &place.api.cluster(), "sp1_x"].map(str::to_owned)).await;
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");

    let line = place.enroll(&["--role", "compute"]).await;
    let known = failure(&place.join(&line, "h1").await);
    assert!(known.contains("host h1 belongs to the cluster already"), "{known}");
    let line = place.enroll(&["--role", "compute", "--replace", "h1"]).await;
    out(&place.join(&line, "h1").await);
}

#[tokio::test]
#[ignore = "it takes a minute: make test-cluster"]
async fn a_code_that_has_expired_joins_nobody() {
    let place = Place::new().await;
    let line = place.enroll(&["--role", "compute", "--ttl", "1m"]).await;
    let codes = ["get", "--prefix", "--keys-only", "/serialproxy/v1/codes/"];
    assert!(!place.etcd.ctl(&codes).is_empty());
    eventually(async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        place.etcd.ctl(&codes).is_empty().then_some(())
    })
    .await;
    let expired = failure(&place.join(&line, "h1").await);
    assert!(expired.contains("the code is wrong, was used already or has expired"), "{expired}");
}

#[tokio::test]
async fn a_removed_host_is_gone_and_may_join_again() {
    let place = Place::new().await;
    let line = place.enroll(&["--role", "compute"]).await;
    out(&place.join(&line, "h1").await);
    out(&place.api(&["cluster", "remove", "h1"]).await);
    let again = failure(&place.api(&["cluster", "remove", "h1"]).await);
    assert!(again.contains("no host h1 belongs to the cluster"), "{again}");
    let status = out(&place.api(&["cluster", "status"]).await);
    assert!(!status.contains("h1"), "{status}");
    // The command is another process than the api role; both write to one trail.
    for (name, by) in [("host.enrolled", "client.address"), ("host.removed", "user.id")] {
        eventually(async || {
            let events = place.api.call(Method::GET, "/v1/audit", "").await.json;
            let is_it = |event: &Value| {
                event["event.name"] == name && event["target.id"] == "h1" && event[by].is_string()
            };
            events["events"].as_array()?.iter().any(is_it).then_some(())
        })
        .await;
    }
    let line = place.enroll(&["--role", "compute"]).await;
    out(&place.join(&line, "h1").await);
}

#[tokio::test]
async fn two_commands_join_a_host_and_removing_it_ends_its_role() {
    let place = Place::new().await;
    let line = place.enroll(&["--role", "compute"]).await;
    out(&place.join(&line, "h1").await);
    let port = Port::new("switch").await;
    let own = [format!("--config-dir={}", place.path("conf/h1").display())];
    let test = ["--compute-drivers=static", "--cluster-listen=127.0.0.1:0"].map(str::to_owned);
    let flags: Vec<_> = own.into_iter().chain(test).chain(port.flag()).collect();
    let mut compute = Role::start("compute", &place.path("h1"), &flags).await;
    let _guest = port.accept().await;
    let server = eventually(async || {
        let servers = place.api.call(Method::GET, "/v1/servers", "").await.json;
        servers["servers"].as_array().and_then(|servers| servers.first().cloned())
    })
    .await;
    assert_eq!(server["host"], "h1");
    let row = |row: &str| row.split_whitespace().collect::<Vec<_>>().join(" ");
    let version = env!("CARGO_PKG_VERSION");
    let rows = ["a1 api api VERSION 0 0 2", "h1 compute compute VERSION 1 1 2"];
    let rows = rows.map(|row| row.replace("VERSION", version));
    let status = eventually(async || {
        let status = out(&place.api(&["cluster", "status"]).await);
        let shows = |wanted: &String| status.lines().any(|line| row(line).starts_with(wanted));
        rows.iter().all(shows).then_some(status)
    })
    .await;
    let node = format!("\netcd {}: version 3.", place.etcd.endpoints()[0]);
    assert!(status.contains(&node), "{status}");

    out(&place.api(&["cluster", "remove", "h1"]).await);
    assert_eq!(compute.ended().await.code(), Some(1));
    assert!(compute.log().contains("this host was removed from the cluster"), "{}", compute.log());
    eventually(async || {
        let servers = place.api.call(Method::GET, "/v1/servers", "").await.json;
        servers["servers"].as_array().filter(|servers| servers.is_empty()).map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_second_init_and_an_enrolment_elsewhere_are_refused() {
    let place = Place::new().await;
    let again = failure(&place.api(&["cluster", "init"]).await);
    assert!(again.contains("this host belongs to a cluster already"), "{again}");
    let state = format!("--state-dir={}", place.path("h9").display());
    let elsewhere = run(["enroll", "--role=compute", &state].map(str::to_owned)).await;
    let elsewhere = failure(&elsewhere);
    assert!(elsewhere.contains("run this on an api host"), "{elsewhere}");
}
