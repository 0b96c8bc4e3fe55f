//! An hour of a small cluster in a minute or two: sessions, refusals, stalls, reboots, and one thing after the
//! other that is lost and comes back. Every metric that the program has moves, as it should.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use serialproxy_e2e::cluster::Cluster;
use serialproxy_e2e::cluster::Role;
use serialproxy_e2e::eventually;
use serialproxy_e2e::full::Full;
use serialproxy_e2e::guest::KNOCK;
use serialproxy_e2e::libvirtd::Libvirtd;
use serialproxy_e2e::libvirtd::images;
use serialproxy_e2e::metrics::Metrics;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::watched::Watched;
use serialproxy_e2e::within;
use serialproxy_proto::id::ServerId;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Metrics that do not move here, and why.
const FIXED: [(&str, &str); 3] = [
    ("build_info", "the version of a process stays the same"),
    ("audit_syslog_dropped_total", "it takes a syslog server that is away: audit_syslog.rs"),
    ("audit_dropped_total", "it takes thousands of events that wait: the tests of the crate audit"),
];

/// The name of the simulated port.
const NAME: &str = "switch";

/// A cluster with a guest of libvirt and a simulated port. The fields are dropped in this order.
struct Hour {
    front: Watched,
    api: Watched,
    compute: Watched,
    compute_flags: Vec<String>,
    libvirt: Libvirtd,
    cluster: Cluster,
    /// The simulated port is taken away for a while.
    port: Option<Port>,
    guest: Option<Guest>,
    _pki: Pki,
}

const LISTEN: [&str; 2] = ["--api-metrics_listen", "127.0.0.1:0"];

impl Hour {
    async fn start() -> Self {
        let cluster = Cluster::new(1).await;
        for (host, role) in [("ctl", "api"), ("hv1", "compute"), ("front", "proxy")] {
            cluster.certify(host, &[role]);
        }
        let mut libvirt = Libvirtd::prepare();
        libvirt.start();
        let (port, pki) = (Port::new(NAME).await, Pki::new());
        let [flag, line] = port.flag();
        let images = format!("--compute-images_path={}", images().display());
        let uri = format!("--libvirt-connection_uri={}", libvirt.uri());
        let drivers = ["--compute-drivers", "libvirt,static"].map(str::to_owned);
        let compute_flags: Vec<String> =
            drivers.into_iter().chain([images, uri, flag, line]).collect();
        let compute = compute(&cluster, &compute_flags).await;
        let guest = Some(port.accept().await);
        let api = cluster.start("ctl", "api", &LISTEN).await;
        let [cert, key, ..] = pki.flags();
        let flags = ["--proxy-api_url", &api.api(), &cert, &key, LISTEN[0], LISTEN[1]];
        let front = cluster.start("front", "proxy", &flags).await;
        let (front, api) = (Watched::new(front).await, Watched::new(api).await);
        let compute = Watched::new(compute).await;
        let port = Some(port);
        let hour =
            Self { front, api, compute, compute_flags, libvirt, cluster, port, guest, _pki: pki };
        hour.lists(&hour.server(), "ACTIVE").await;
        hour.compute.is("lines{state=\"connected\"}", 1.0).await;
        hour
    }

    async fn mark(&mut self) {
        for role in [&mut self.front, &mut self.api, &mut self.compute] {
            role.mark().await;
        }
    }

    fn all(&self) -> [&Watched; 3] {
        [&self.front, &self.api, &self.compute]
    }

    async fn call(&self, method: Method, path: &str, body: &str) -> serde_json::Value {
        let answer = self.api.role.call(method, path, body).await;
        assert!(answer.status < 300, "{path}: {} {:?}", answer.status, answer.json);
        answer.json
    }

    /// Waits until a server has this status.
    async fn lists(&self, server: &str, status: &str) {
        eventually(async || {
            let servers = self.call(Method::GET, "/v1/servers", "").await;
            let mut servers = servers["servers"].as_array().unwrap().iter();
            servers.any(|one| one["id"] == server && one["status"] == status).then_some(())
        })
        .await;
    }

    /// The UUID of the simulated port's server.
    fn server(&self) -> String {
        ServerId::of_static(NAME).to_string()
    }

    async fn token(&self, query: &str) -> String {
        self.api.role.token(&self.server(), query).await
    }

    async fn v1(&self, query: &str) -> Socket {
        let mut socket = Socket::v1(&self.front.role.proxy(), &self.token("").await, query).await;
        socket.message("hello").await;
        socket
    }

    async fn is_refused(&self, token: &str, query: &str, headers: &[(&str, &str)]) -> u16 {
        let path = format!("/?token={token}{query}");
        Socket::refused(&self.front.role.proxy(), &path, headers).await.status
    }
}

fn live(mode: &str, protocol: &str) -> String {
    format!("sessions{{mode=\"{mode}\",protocol=\"{protocol}\",state=\"live\"}}")
}

async fn compute(cluster: &Cluster, flags: &[String]) -> Role {
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(LISTEN).collect();
    cluster.start("hv1", "compute", &flags).await
}

#[tokio::test]
async fn an_hour_in_two_minutes_moves_every_metric_as_it_should() {
    let mut hour = Hour::start().await;
    let guest = hour.a_guest_boots().await;
    hour.people_type_and_watch().await;
    hour.people_are_refused().await;
    hour.the_pen_changes_hands().await;
    hour.a_serial_port_closes_and_comes_back().await;
    hour.the_audit_trail_has_no_room().await;
    hour.libvirt_is_lost(&guest).await;
    hour.etcd_is_lost_while_a_viewer_stands_still().await;
    hour.a_host_is_lost_and_another_program_takes_a_port(&guest).await;
    hour.the_guest_reboots_and_is_deleted(&guest).await;

    let text = Metrics::of(&hour.front.role.metrics()).await.text;
    let version = format!("serialproxy_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(text.lines().any(|line| line == version), "{text}");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE serialproxy_"));
    let names = types.map(|line| match line.split_once(' ').unwrap() {
        (name, "histogram") => format!("{name}_count"),
        (name, _) => name.to_owned(),
    });
    let fixed = FIXED.map(|(name, _)| name.to_owned());
    let expected: BTreeSet<String> = names.filter(|name| !fixed.contains(name)).collect();
    let moved: BTreeSet<String> = hour.all().iter().flat_map(|role| role.moved()).collect();
    assert_eq!(moved, expected, "what moved (left) is not what there is (right)");
}

impl Hour {
    async fn a_guest_boots(&mut self) -> String {
        self.mark().await;
        let properties = json!({"serial_ports": "2"});
        let body = json!({"name": "guest", "image": "demo", "properties": properties}).to_string();
        let booted = eventually(async || {
            let booted = self.api.role.call(Method::POST, "/v1/servers", &body).await;
            // 503 until libvirt is connected.
            assert!([201, 503].contains(&booted.status), "{:?}", booted.json);
            (booted.status == 201).then_some(booted.json)
        })
        .await;
        let id = booted["server"]["id"].as_str().unwrap().to_owned();
        self.lists(&id, "ACTIVE").await;
        let compute = &self.compute;
        compute.gains("port_leases{state=\"used\"}", 2.0).await;
        compute.gains("port_leases{state=\"free\"}", -2.0).await;
        compute.gains("lines{state=\"connected\"}", 2.0).await;
        compute.gains("line_connects_total{outcome=\"succeeded\"}", 2.0).await;
        compute.gains("boots_total", 2.0).await;
        for call in ["read", "change"] {
            compute.grows(&format!("libvirt_call_seconds_count{{call=\"{call}\"}}")).await;
        }
        id
    }

    async fn people_type_and_watch(&mut self) {
        self.mark().await;
        let token = self.token("").await;
        let mut writer = Socket::raw(&self.front.role.proxy(), &token).await;
        let watcher = self.v1("&mode=watch").await;
        writer.send("ab").await;
        let guest = self.guest.as_mut().unwrap();
        assert_eq!(guest.typed(2).await, b"ab");
        guest.print(b"yes").await;
        writer.output_with(b"yes").await;
        let (front, compute) = (&self.front, &self.compute);
        for protocol in ["raw", "console.v1"] {
            front.gains(&format!("handshakes_total{{protocol=\"{protocol}\"}}"), 1.0).await;
        }
        front.gains("attach_seconds_count", 2.0).await;
        front.gains("tunnels", 2.0).await;
        front.gains("tunnels_opened_total", 2.0).await;
        for direction in ["input", "output"] {
            front.grows(&format!("tunnel_bytes_total{{direction=\"{direction}\"}}")).await;
        }
        front.moves("open_files", |before, now| now >= before + 2.0).await;
        compute.is(&live("write", "raw"), 1.0).await;
        compute.is(&live("watch", "console.v1"), 1.0).await;
        compute.gains("session_bytes_total{direction=\"input\"}", 2.0).await;
        // Each of the two got it.
        compute
            .moves("session_bytes_total{direction=\"output\"}", |was, now| now >= was + 6.0)
            .await;
        compute.gains("line_bytes_total{direction=\"input\"}", 2.0).await;
        // Another guest boots meanwhile.
        compute.moves("line_bytes_total{direction=\"output\"}", |was, now| now >= was + 3.0).await;
        compute.grows("echo_seconds_count{direction=\"input\"}").await;
        compute.grows("audit_bytes_total").await;
        self.api.gains("token_operations_total{operation=\"issued\"}", 2.0).await;
        compute.gains("token_operations_total{operation=\"used\"}", 2.0).await;
        self.somebody_sees_an_echo(&mut writer).await;
        writer.leave().await;
        // Without a Close frame.
        drop(watcher);
        let (front, compute) = (&self.front, &self.compute);
        compute.is(&live("write", "raw"), 0.0).await;
        let detached = "sessions{mode=\"watch\",protocol=\"console.v1\",state=\"detached\"}";
        compute.is(detached, 1.0).await;
        front.is("tunnels", 0.0).await;
        self.time_goes_by().await;
    }

    /// What comes later than 50 ms after a key does not count as its echo.
    async fn somebody_sees_an_echo(&mut self, writer: &mut Socket) {
        let (url, echoes) =
            (self.compute.role.metrics(), "echo_seconds_count{direction=\"output\"}");
        while Metrics::of(&url).await.get(echoes) < 1.0 {
            writer.send("x").await;
            let guest = self.guest.as_mut().unwrap();
            let echo = guest.typed(1).await;
            guest.print(&echo).await;
            writer.output_with(b"x").await;
        }
    }

    /// What the clock and the operator move.
    async fn time_goes_by(&self) {
        let falls = |before: f64, now: f64| now < before && before - now < 3600.0;
        self.front.moves("certificate_seconds{certificate=\"proxy\"}", falls).await;
        for role in self.all() {
            role.moves("certificate_seconds{certificate=\"cluster\"}", falls).await;
        }
        let limit = format!("--nofile={}", self.front.before.get("open_files_limit") - 1.0);
        let pid = self.front.role.pid().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
        assert!(set.success());
        self.front.gains("open_files_limit", -1.0).await;
    }

    async fn people_are_refused(&mut self) {
        let writer = Socket::raw(&self.front.role.proxy(), &self.token("").await).await;
        self.mark().await;
        let token = self.token("").await;
        assert_eq!(self.is_refused(&token, "", &[]).await, 409);
        let unknown = "00000000-0000-4000-8000-000000000000";
        assert_eq!(self.is_refused(unknown, "", &[]).await, 401);
        let foreign = [("origin", "http://evil.example")];
        assert_eq!(self.is_refused(&token, "", &foreign).await, 403);
        assert_eq!(self.is_refused(&token, "&from=start", &[]).await, 400);
        let watches = self.token("?mode=watch").await;
        assert_eq!(self.is_refused(&watches, "&mode=write", &[]).await, 403);
        for cause in ["busy", "token", "origin", "handshake", "mode"] {
            self.front.gains(&format!("refusals_total{{cause=\"{cause}\"}}"), 1.0).await;
        }
        self.front.gains("token_operations_total{operation=\"refused\"}", 1.0).await;
        let wrong = self.api.role.call_with("wrong", Method::GET, "/v1/lines", "").await;
        assert_eq!(wrong.status, 401);
        self.api.gains("login_failures_total", 1.0).await;
        writer.leave().await;
        self.compute.is(&live("write", "raw"), 0.0).await;
    }

    async fn the_pen_changes_hands(&mut self) {
        self.mark().await;
        let mut alice = self.v1("&mode=write").await;
        let mut bob = self.v1("&mode=watch").await;
        bob.say(r#"{"type":"pen","do":"force","reason":"urgent"}"#).await;
        while alice.message("pen").await["state"] != "lost" {}
        bob.leave().await;
        self.compute.gains("pen_changes_total{cause=\"forced\"}", 1.0).await;
        self.compute.gains("pen_changes_total{cause=\"left\"}", 1.0).await;
        alice.leave().await;
    }

    async fn a_serial_port_closes_and_comes_back(&mut self) {
        let token = self.token("").await;
        self.mark().await;
        let address = self.port.take().unwrap().address();
        self.guest = None;
        self.compute.is("lines{state=\"failed\"}", 1.0).await;
        self.compute.grows("line_connects_total{outcome=\"failed\"}").await;
        assert_eq!(self.is_refused(&token, "", &[]).await, 502);
        self.front.gains("refusals_total{cause=\"unreachable\"}", 1.0).await;
        let port = Port::at(address, NAME).await;
        self.guest = Some(port.accept().await);
        self.port = Some(port);
        self.compute.is("lines{state=\"failed\"}", 0.0).await;
        self.compute.gains("line_connects_total{outcome=\"succeeded\"}", 1.0).await;
    }

    async fn the_audit_trail_has_no_room(&mut self) {
        self.mark().await;
        let mut writer = self.v1("&mode=write").await;
        let full = Full::mount(&self.compute.role.state().join("audit"));
        writer.say(r#"{"type":"pen","do":"release"}"#).await;
        writer.say(r#"{"type":"pen","do":"request"}"#).await;
        self.compute.is("unhealthy{name=\"audit\"}", 1.0).await;
        assert_eq!(self.compute.health().await, "200 degraded audit");
        writer.send("still").await;
        assert_eq!(self.guest.as_mut().unwrap().typed(5).await, b"still");
        drop(full);
        self.compute.is("unhealthy{name=\"audit\"}", 0.0).await;
        writer.leave().await;
    }

    /// The consoles of its guests go on.
    async fn libvirt_is_lost(&mut self, guest: &str) {
        self.mark().await;
        let compute = &self.compute;
        assert_eq!(compute.health().await, "200 ok ");
        self.libvirt.kill();
        compute.is("unhealthy{name=\"libvirt\"}", 1.0).await;
        assert_eq!(compute.health().await, "200 degraded libvirt");
        let path = format!("/v1/servers/{guest}/stop");
        let refused = self.api.role.call(Method::POST, &path, "").await;
        assert!(refused.message().contains("libvirt cannot be reached"), "{:?}", refused.json);
        compute.grows("libvirt_errors_total{call=\"read\"}").await;
        compute.is("lines{state=\"connected\"}", 3.0).await;
        self.libvirt.start();
        compute.is("unhealthy{name=\"libvirt\"}", 0.0).await;
        assert_eq!(compute.health().await, "200 ok ");
    }

    async fn etcd_is_lost_while_a_viewer_stands_still(&mut self) {
        let viewer = self.v1("&mode=watch").await;
        let token = self.token("").await;
        self.mark().await;
        self.cluster.etcd.kill(0);
        for role in self.all() {
            role.grows("etcd_errors_total").await;
            role.grows("etcd_watch_lag_seconds").await;
            role.is("unhealthy{name=\"etcd\"}", 1.0).await;
            assert_eq!(role.health().await, "200 degraded etcd");
        }
        assert_eq!(self.is_refused(&token, "", &[]).await, 503);
        self.front.gains("refusals_total{cause=\"store\"}", 1.0).await;
        self.a_viewer_stands_still(viewer).await;
        for role in self.all() {
            role.gains("etcd_leases_lost_total", 1.0).await;
        }
        self.cluster.etcd.restart(0).await;
        for role in self.all() {
            role.is("unhealthy{name=\"etcd\"}", 0.0).await;
            role.is("etcd_watch_lag_seconds", 0.0).await;
            role.grows("etcd_call_seconds_count").await;
            role.grows("etcd_lease_acknowledged_seconds").await;
            assert_eq!(role.health().await, "200 ok ");
        }
        self.lists(&self.server(), "ACTIVE").await;
    }

    async fn a_viewer_stands_still(&mut self, mut viewer: Socket) {
        // More than sockets and the history keep.
        self.guest.as_mut().unwrap().print(&vec![b'x'; 32 << 20]).await;
        self.compute.is("viewers_behind", 1.0).await;
        let gap = viewer.message("gap").await;
        let missed = gap["to"].as_u64().unwrap() - gap["from"].as_u64().unwrap();
        self.compute.grows("gaps_total").await;
        let missed = |before: f64, now: f64| now - before >= missed as f64;
        self.compute.moves("skipped_bytes_total", missed).await;
        viewer.leave().await;
        self.compute.is("viewers_behind", 0.0).await;
    }

    async fn a_host_is_lost_and_another_program_takes_a_port(&mut self, guest: &str) {
        let path = format!("/v1/lines/{guest}/0");
        let line = self.call(Method::GET, &path, "").await;
        let endpoint = line["endpoint"]["address"].as_str().unwrap().to_owned();
        let token = self.api.role.token(guest, "").await;
        self.mark().await;
        self.compute.role.kill_now().await;
        let mut stranger = TcpStream::connect(&endpoint).await.unwrap();
        serves(&mut stranger).await;
        assert_eq!(self.is_refused(&token, "", &[]).await, 503);
        self.front.gains("refusals_total{cause=\"host_lost\"}", 1.0).await;

        self.compute.role = compute(&self.cluster, &self.compute_flags).await;
        self.guest = Some(self.port.as_ref().unwrap().accept().await);
        self.compute.grows("start_time_seconds").await;
        self.compute.mark().await;
        eventually(async || {
            let line = self.api.role.call(Method::GET, &path, "").await.json;
            (line["cause"] == "held").then_some(())
        })
        .await;
        let token = self.api.role.token(guest, "").await;
        let user = Socket::v1(&self.front.role.proxy(), &token, "").await;
        self.compute.gains("stranger_hangups_total", 1.0).await;
        within(stranger.read_to_end(&mut Vec::new())).await.unwrap();
        user.leave().await;
    }

    async fn the_guest_reboots_and_is_deleted(&mut self, guest: &str) {
        self.compute.is("lines{state=\"connected\"}", 3.0).await;
        self.mark().await;
        let action = format!("/v2.1/servers/{guest}/action");
        self.call(Method::POST, &action, r#"{"reboot": {"type": "HARD"}}"#).await;
        self.compute.gains("boots_total", 2.0).await;
        self.api.role.token(guest, "").await;
        self.call(Method::DELETE, &format!("/v1/servers/{guest}"), "").await;
        self.api.grows("token_operations_total{operation=\"revoked\"}").await;
        self.compute.gains("port_leases{state=\"used\"}", -2.0).await;
        self.compute.is("lines{state=\"connected\"}", 1.0).await;
    }
}

/// Waits until QEMU serves this connection: a shell of the guest responds.
async fn serves(connection: &mut TcpStream) {
    let knock = async {
        loop {
            connection.write_all(KNOCK.as_bytes()).await.unwrap();
            if let Ok(byte) = timeout(Duration::from_secs(1), connection.read_u8()).await {
                byte.unwrap();
                return;
            }
        }
    };
    within(knock).await;
}
