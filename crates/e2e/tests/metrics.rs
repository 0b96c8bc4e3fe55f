//! The metrics: what happens moves them as it should, Prometheus reads them, and their number does not grow.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::collections::BTreeSet;
use std::process::Stdio;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::cluster::Cluster;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::metrics::Metrics;
use serialproxy_e2e::metrics::promtool;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::server::http;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use serialproxy_proto::id::ServerId;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;

const V1: [(&str, &str); 1] = [("sec-websocket-protocol", "console.v1")];

/// Waits until a series has this value.
async fn becomes(url: &str, series: &str, value: f64) {
    eventually(async || (Metrics::of(url).await.get(series) == value).then_some(())).await;
}

#[tokio::test]
async fn promtool_accepts_a_scrape_and_the_alert_rules() {
    let rig = Rig::start(&[]).await;
    let _session = rig.raw().await;
    let text = Metrics::of(&rig.server.api).await.text;
    let mut check = Command::new(promtool());
    check.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut check = check.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let checked = check.wait_with_output().await.unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/alerts.yml");
    let checked = Command::new(promtool()).args(["check", "rules", rules]).output().await.unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[tokio::test]
async fn sessions_tokens_bytes_and_keys_are_counted() {
    let mut rig = Rig::start(&[]).await;
    let before = Metrics::of(&rig.server.api).await;
    let mut raw = rig.raw().await;
    raw.send("x").await;
    assert_eq!(rig.guest.typed(1).await, b"x");
    rig.guest.print(b"y").await;
    raw.output_with(b"y").await;
    let path = rig.path("&mode=watch").await;
    let mut watcher = Socket::open(&rig.server.proxy, &path, &V1).await;
    watcher.message("hello").await;

    let after = Metrics::of(&rig.server.api).await;
    for (series, by) in [
        ("handshakes_total{protocol=\"raw\"}", 1.0),
        ("handshakes_total{protocol=\"console.v1\"}", 1.0),
        ("attach_seconds_count", 2.0),
        ("token_operations_total{operation=\"issued\"}", 2.0),
        ("token_operations_total{operation=\"used\"}", 2.0),
        ("line_bytes_total{direction=\"input\"}", 1.0),
        ("line_bytes_total{direction=\"output\"}", 1.0),
        ("session_bytes_total{direction=\"input\"}", 1.0),
        ("echo_seconds_count{direction=\"input\"}", 1.0),
        ("sessions{mode=\"write\",protocol=\"raw\",state=\"live\"}", 1.0),
        ("sessions{mode=\"watch\",protocol=\"console.v1\",state=\"live\"}", 1.0),
    ] {
        assert_eq!(after.get(series) - before.get(series), by, "{series}");
    }
    assert!(after.get("session_bytes_total{direction=\"output\"}") >= 1.0);
    assert_eq!(after.get("lines{state=\"connected\"}"), 1.0);
    assert!(after.get("open_files") > 10.0 && after.get("open_files_limit") > 100.0);

    let url = &rig.server.api;
    // What comes later than 50 ms after a key does not count as its echo.
    within(async {
        while Metrics::of(url).await.get("echo_seconds_count{direction=\"output\"}") < 1.0 {
            raw.send("x").await;
            let echo = rig.guest.typed(1).await;
            rig.guest.print(&echo).await;
            raw.output_with(b"x").await;
        }
    })
    .await;

    // Without a Close frame.
    drop(watcher);
    becomes(url, "sessions{mode=\"watch\",protocol=\"console.v1\",state=\"detached\"}", 1.0).await;
    raw.leave().await;
    becomes(url, "sessions{mode=\"write\",protocol=\"raw\",state=\"live\"}", 0.0).await;
}

#[tokio::test]
async fn refusals_failed_logins_and_changes_of_the_pen_are_counted() {
    let rig = Rig::start(&[]).await;
    let (url, proxy) = (&rig.server.api, &rig.server.proxy);
    let before = Metrics::of(url).await;
    let path = rig.path("").await;
    let mut alice = Socket::open(proxy, &path, &V1).await;
    alice.message("hello").await;
    assert_eq!(rig.refused("", &[]).await.0, 409);
    let unknown = "/?token=00000000-0000-4000-8000-000000000000";
    assert_eq!(Socket::refused(proxy, unknown, &[]).await.status, 401);
    let foreign = [("origin", "http://evil.example")];
    assert_eq!(rig.refused("", &foreign).await.0, 403);
    assert_eq!(rig.refused("&from=start", &[]).await.0, 400);
    let wrong = http().build().unwrap().get(format!("{url}/v1/lines"));
    assert_eq!(wrong.header("x-auth-token", "wrong").send().await.unwrap().status(), 401);
    let mut bob = Socket::open(proxy, &rig.path("&mode=watch").await, &V1).await;
    bob.message("hello").await;
    bob.say(r#"{"type":"pen","do":"force","reason":"urgent"}"#).await;
    while alice.message("pen").await["state"] != "lost" {}
    bob.leave().await;

    eventually(async || {
        let after = Metrics::of(url).await;
        (after.get("pen_changes_total{cause=\"left\"}") == 1.0).then_some(())
    })
    .await;
    let after = Metrics::of(url).await;
    for series in [
        "refusals_total{cause=\"busy\"}",
        "refusals_total{cause=\"token\"}",
        "refusals_total{cause=\"origin\"}",
        "refusals_total{cause=\"handshake\"}",
        "token_operations_total{operation=\"refused\"}",
        "login_failures_total",
        "pen_changes_total{cause=\"forced\"}",
    ] {
        assert_eq!(after.get(series) - before.get(series), 1.0, "{series}");
    }
}

#[tokio::test]
async fn a_viewer_that_stands_still_is_behind_and_what_it_missed_is_counted() {
    let mut rig = Rig::start(&[]).await;
    let path = rig.path("&mode=watch").await;
    let mut viewer = Socket::open(&rig.server.proxy, &path, &V1).await;
    viewer.message("hello").await;
    // More than sockets and the history keep.
    rig.guest.print(&vec![b'x'; 32 * 1024 * 1024]).await;
    becomes(&rig.server.api, "viewers_behind", 1.0).await;
    let gap = viewer.message("gap").await;
    let missed = gap["to"].as_u64().unwrap() - gap["from"].as_u64().unwrap();
    let metrics = Metrics::of(&rig.server.api).await;
    assert!(metrics.get("gaps_total") >= 1.0);
    assert!(metrics.get("skipped_bytes_total") >= missed as f64);
}

#[tokio::test]
async fn a_port_that_closes_and_comes_back_is_connected_again() {
    let rig = Rig::start(&[]).await;
    let Rig { server, port, guest, .. } = rig;
    let url = server.api.clone();
    becomes(&url, "line_connects_total{outcome=\"succeeded\"}", 1.0).await;
    drop(guest);
    let guest = port.accept().await;
    becomes(&url, "line_connects_total{outcome=\"succeeded\"}", 2.0).await;
    drop((guest, port));
    eventually(async || {
        let metrics = Metrics::of(&url).await;
        let failed = metrics.get("line_connects_total{outcome=\"failed\"}") >= 1.0;
        (failed && metrics.get("lines{state=\"failed\"}") == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_guest_that_boots_and_reboots_moves_the_metrics_of_libvirt_and_ports() {
    let host = Host::start(&[]).await;
    let url = &host.server.api;
    eventually(async || {
        let metrics = Metrics::of(url).await;
        let is_up = metrics.get("unhealthy{name=\"libvirt\"}") == 0.0;
        (is_up && metrics.get("port_leases{state=\"free\"}") > 0.0).then_some(())
    })
    .await;
    let before = Metrics::of(url).await;
    let guest = host.boot(2).await;
    let booted = Metrics::of(url).await;
    let leases = |metrics: &Metrics| metrics.get("port_leases{state=\"used\"}");
    assert_eq!(leases(&booted) - leases(&before), 2.0);
    let changes = |metrics: &Metrics| metrics.get("libvirt_call_seconds_count{call=\"change\"}");
    assert!(changes(&booted) > changes(&before));
    let lines = "lines{state=\"connected\"}";
    becomes(url, lines, before.get(lines) + 2.0).await;
    let boots = Metrics::of(url).await.get("boots_total");
    assert!(boots >= before.get("boots_total") + 2.0, "{boots}");
    let reboot = format!("/v2.1/servers/{}/action", guest.id);
    let answer = host.server.post(&reboot, r#"{"reboot": {"type": "HARD"}}"#).await;
    assert_eq!(answer.status, 202, "{:?}", answer.json);
    eventually(async || (Metrics::of(url).await.get("boots_total") >= boots + 2.0).then_some(()))
        .await;
}

#[tokio::test]
async fn a_lost_etcd_degrades_each_role_and_sessions_through_a_proxy_are_counted_there() {
    let mut cluster = Cluster::new(1).await;
    for (host, role) in [("ctl", "api"), ("hv1", "compute"), ("front", "proxy")] {
        cluster.certify(host, &[role]);
    }
    let port = Port::new("switch").await;
    let [flag, line] = port.flag();
    let listens = ["--api-metrics_listen", "127.0.0.1:0"];
    let compute = cluster.start("hv1", "compute", &[&flag, &line, listens[0], listens[1]]).await;
    let mut guest = port.accept().await;
    let api = cluster.start("ctl", "api", &listens).await;
    let flags = ["--proxy-api_url", &api.api(), listens[0], listens[1]];
    let front = cluster.start("front", "proxy", &flags).await;
    eventually(async || {
        let servers = api.call(Method::GET, "/v1/servers", "").await.json;
        (servers["servers"][0]["status"] == "ACTIVE").then_some(())
    })
    .await;
    let path = format!("/?token={}", api.token(&port.server(), "").await);
    let mut socket = Socket::open(&front.proxy(), &path, &[]).await;
    socket.send("x").await;
    assert_eq!(guest.typed(1).await, b"x");
    let at_front = Metrics::of(&front.metrics()).await;
    assert_eq!(at_front.get("tunnels"), 1.0);
    assert_eq!(at_front.get("tunnels_opened_total"), 1.0);
    assert!(at_front.get("tunnel_bytes_total{direction=\"input\"}") > 1.0);
    assert_eq!(at_front.get("handshakes_total{protocol=\"raw\"}"), 1.0);
    let at_host = Metrics::of(&compute.metrics()).await;
    assert_eq!(at_host.get("handshakes_total{protocol=\"raw\"}"), 0.0);
    assert_eq!(at_host.get("sessions{mode=\"write\",protocol=\"raw\",state=\"live\"}"), 1.0);
    for role in [&api, &compute, &front] {
        let metrics = Metrics::of(&role.metrics()).await;
        assert!(metrics.get("certificate_seconds{certificate=\"cluster\"}") > 80.0 * 86400.0);
        assert!(metrics.get("certificate_seconds{certificate=\"proxy\"}").is_nan());
        assert!(metrics.get("etcd_lease_acknowledged_seconds") > 1e9);
        assert!(metrics.get("etcd_call_seconds_count") > 0.0);
        assert_eq!(metrics.get("etcd_watch_lag_seconds"), 0.0);
        assert_eq!(health(&role.metrics()).await, (200, "ok".into(), vec![]));
    }
    socket.leave().await;
    becomes(&front.metrics(), "tunnels", 0.0).await;

    cluster.etcd.kill(0);
    for role in [&api, &compute, &front] {
        let degraded = (200, "degraded".to_owned(), vec!["etcd".to_owned()]);
        eventually(async || (health(&role.metrics()).await == degraded).then_some(())).await;
        eventually(async || {
            let metrics = Metrics::of(&role.metrics()).await;
            let lost = metrics.get("etcd_leases_lost_total") >= 1.0;
            (lost && metrics.get("etcd_watch_lag_seconds") > 0.0).then_some(())
        })
        .await;
        let metrics = Metrics::of(&role.metrics()).await;
        assert!(metrics.get("etcd_errors_total") > 0.0);
        assert_eq!(metrics.get("unhealthy{name=\"etcd\"}"), 1.0);
    }
    let for_balancers = format!("http://{}/healthz", front.proxy());
    assert_eq!(http().build().unwrap().get(for_balancers).send().await.unwrap().status(), 200);
    cluster.etcd.restart(0).await;
    for role in [&api, &compute, &front] {
        let well = (200, "ok".to_owned(), vec![]);
        eventually(async || (health(&role.metrics()).await == well).then_some(())).await;
    }
}

/// Status, word and the names of the reasons.
async fn health(url: &str) -> (u16, String, Vec<String>) {
    let answer = http().build().unwrap().get(format!("{url}/healthz")).send().await.unwrap();
    let status = answer.status().as_u16();
    let json: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let reasons = json["reasons"].as_array().unwrap().iter();
    let names = reasons.map(|reason| reason["name"].as_str().unwrap().to_owned()).collect();
    (status, json["status"].as_str().unwrap().to_owned(), names)
}

#[tokio::test]
async fn a_store_that_cannot_be_read_keeps_operators_and_balancers_away() {
    let rig = Rig::start(&[]).await;
    let balancer = format!("http://{}/healthz", rig.server.proxy);
    let answer = async || http().build().unwrap().get(&balancer).send().await.unwrap().status();
    assert_eq!(answer().await, 200);
    let drop =
        "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('DROP TABLE console_tokens')";
    let file = rig.server.state().join("serialproxy.sqlite");
    let dropped = Command::new("python3").args(["-c", drop]).arg(file).output().await.unwrap();
    assert!(dropped.status.success(), "{dropped:?}");
    let failing = (503, "failing".to_owned(), vec!["store".to_owned()]);
    eventually(async || (health(&rig.server.api).await == failing).then_some(())).await;
    assert_eq!(answer().await, 503);
    becomes(&rig.server.api, "unhealthy{name=\"store\"}", 1.0).await;
}

const LINES: usize = 2000;
const USERS: usize = 500;

#[tokio::test]
async fn many_lines_and_users_add_no_series() {
    let guests = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = guests.local_addr().unwrap();
    tokio::spawn(async move {
        let mut connected = Vec::new();
        while let Ok((guest, _)) = guests.accept().await {
            connected.push(guest);
        }
    });
    let few = Rig::start(&[]).await;
    let expected = Metrics::of(&few.server.api).await;
    // Nobody answers the pings of the sessions meanwhile.
    let server = Server::with_lines(LINES, address, "[session]\ngrace = 600").await;
    eventually(async || {
        let metrics = Metrics::of(&server.api).await;
        (metrics.get("lines{state=\"connected\"}") == LINES as f64).then_some(())
    })
    .await;
    let mut sessions = Vec::new();
    let users: Vec<_> = (0..USERS).collect();
    for some in users.chunks(20) {
        sessions.extend(join_all(some.iter().map(|user| session_of(&server, *user))).await);
    }
    assert_eq!(users_of(&server).await.len(), USERS);
    let metrics = Metrics::of(&server.api).await;
    let writing = metrics.get("sessions{mode=\"write\",protocol=\"raw\",state=\"live\"}");
    assert_eq!(writing, USERS as f64);
    assert_eq!(metrics.names(), expected.names());
}

/// A session of a user of its own, who has an API token, at a line that nobody else uses.
async fn session_of(server: &Server, user: usize) -> Socket {
    let token = json!({"name": format!("user{user}"), "project": "p", "role": "admin"});
    let made = server.post("/v1/tokens", &token.to_string()).await;
    assert_eq!(made.status, 201, "{:?}", made.json);
    let line = ServerId::of_static(&format!("line{user}"));
    let url = format!("{}/v3/servers/{line}/get-serial-console", server.api);
    let asked = http().build().unwrap().post(url);
    let asked = asked.header("x-auth-token", made.json["secret"].as_str().unwrap());
    let answer: Value = asked.send().await.unwrap().json().await.unwrap();
    let url = answer["serial_console"]["url"].as_str().unwrap();
    Socket::raw(&server.proxy, url.split_once("token=").unwrap().1).await
}

/// The users of all sessions.
async fn users_of(server: &Server) -> BTreeSet<String> {
    let answer = server.get("/v1/sessions?limit=1000").await.json;
    let sessions = answer["sessions"].as_array().unwrap().iter();
    sessions.map(|session| session["user"].as_str().unwrap().to_owned()).collect()
}
