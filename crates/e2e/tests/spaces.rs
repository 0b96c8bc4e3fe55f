//! A cluster of hosts in separate networks, with a real guest: which connections are possible, and
//! what happens when a host is cut off.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use serialproxy_e2e::eventually;
use serialproxy_e2e::exchange::upgrade;
use serialproxy_e2e::page::tell;
use serialproxy_e2e::place::HYPERVISOR;
use serialproxy_e2e::place::Piped;
use serialproxy_e2e::place::Place;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::space::Space;
use serialproxy_e2e::stdout;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_guest_s_console_needs_no_port_of_its_host_but_the_cluster_s() {
    let place = Place::start().await;
    let guest = place.boot().await;
    let mut terminal = place.connect().await;
    terminal.keys("echo $((6*7)) from `uname -s`\r");
    terminal.shows("42 from Linux").await;
    terminal.keys("\r~.");
    terminal.ended().await;
    tell("apart.mjs", place.story(&guest)).await;
}

#[tokio::test]
async fn a_stranger_reaches_no_serial_port_and_attaches_to_nothing_with_certificates_alone() {
    let place = Place::start().await;
    let guest = place.boot().await;
    let stranger = place.switch.host(4);
    let listening = place.hypervisor.command("ss").args(["-H", "-l", "-t", "-n"]).output();
    let listening = stdout(&within(listening).await.unwrap());
    assert!(listening.contains(":6084 "), "{listening}");
    for socket in listening.lines() {
        let address = socket.split_whitespace().nth(3).unwrap();
        assert!(address.starts_with("127.0.0.1:") || address.ends_with(":6084"), "{socket}");
    }
    let line = place.api.call(Method::GET, &format!("/v1/lines/{guest}/0"), "").await.json;
    let serial = line["endpoint"]["address"].as_str().unwrap().replace("127.0.0.1", "10.84.0.3");
    assert!(!reaches(&stranger, &serial).await, "{serial}");
    assert!(reaches(&stranger, HYPERVISOR).await);

    let own = place.impostor(&stranger).await;
    let stolen = place.join_proxy(&stranger, "front").await;
    let token = place.api.token(&guest, "?mode=watch").await;
    assert_eq!(attach(&stranger, &own, &token).await, "");
    for wrong in ["", &uuid::Uuid::new_v4().to_string()] {
        assert_eq!(attach(&stranger, &stolen, wrong).await, "HTTP/1.1 401");
    }
    // The token is what gives access.
    assert_eq!(attach(&stranger, &stolen, &token).await, "HTTP/1.1 101");
}

/// Whether a host reaches a listener at this address.
async fn reaches(from: &Space, address: &str) -> bool {
    let place = format!("/dev/tcp/{}", address.replace(':', "/"));
    let connect = ["-c", "exec 3<>\"$1\"", "bash", &place];
    within(from.command("bash").args(connect).output()).await.unwrap().status.success()
}

/// The status with which the hypervisor answers a host that has the certificate of this state
/// directory and acts as a proxy; empty without an answer.
async fn attach(from: &Space, state: &Path, token: &str) -> String {
    let user = [("Serialproxy-Client", "10.84.0.4:5 http 10.84.0.2:6083")];
    let request = upgrade(&format!("/?token={token}"), "10.84.0.2:6083", &user);
    let file = |name: &str| state.join("cluster").join(name);
    let mut client = from.command("openssl");
    client.args(["s_client", "-quiet", "-connect", HYPERVISOR, "-alpn", "serialproxy/1"]);
    client.arg("-cert").arg(file("cert.pem")).arg("-key").arg(file("key.pem"));
    let client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = client.spawn().unwrap();
    client.stdin.as_mut().unwrap().write_all(request.as_bytes()).await.unwrap();
    let (stdout, mut answer) = (client.stdout.as_mut().unwrap(), Vec::new());
    while answer.len() < 12 && within(stdout.read_buf(&mut answer)).await.unwrap() > 0 {}
    answer.truncate(12);
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_tokens_of_a_guest_end_with_its_project_and_with_itself_on_every_host() {
    let place = Place::start().await;
    let guest = place.boot().await;
    let token = place.api.token(&guest, "?mode=watch").await;
    let watcher = Socket::v1(&place.proxy(), &token, "").await;
    let mark = "<guest image='demo' project='team-b'/>";
    let namespace = ["--uri", "urn:serialproxy:guest:1", "--key", "serialproxy", "--set", mark];
    place.libvirt.virsh(&[&["metadata", &guest][..], &namespace, &["--live", "--config"]].concat());
    let (code, reason) = watcher.closed().await;
    assert!(code == 4006 && reason.contains("belongs to another project now"), "{code} {reason}");
    place.has(&guest, |server| server["project"] == "team-b").await;
    let refused = async |token: &str| {
        Socket::refused(&place.proxy(), &format!("/?token={token}"), &[]).await.status
    };
    assert_eq!(refused(&token).await, 401);

    let token = place.api.token(&guest, "?mode=watch").await;
    let watcher = Socket::v1(&place.proxy(), &token, "").await;
    let path = format!("/v1/servers/{guest}");
    assert_eq!(place.api.call(Method::DELETE, &path, "").await.status, 204);
    assert_eq!(watcher.closed().await.0, 4003);
    assert_eq!(refused(&token).await, 401);
}

#[tokio::test]
async fn a_guest_and_its_console_go_on_when_the_program_of_its_host_is_killed() {
    let mut place = Place::start().await;
    let guest = place.boot().await;
    let mut terminal = place.connect().await;
    terminal.keys("mark=here; echo mar\\ked\r");
    terminal.shows("marked").await;
    place.restart_compute().await;
    assert_eq!(place.libvirt.virsh(&["domstate", &guest]).trim(), "running");
    terminal.shows("output may be missing here").await;
    terminal.shows("connected to guest").await;
    terminal.keys("echo still $mark\r");
    terminal.shows("still here").await;
}

#[tokio::test]
#[ignore = "it takes a minute: make test-cluster"]
async fn hosts_that_reach_the_store_and_not_each_other_say_so_in_time_and_lose_no_session() {
    let place = Place::start().await;
    let guest = place.boot().await;
    let mut client = Piped::start(&place).await;
    let session = place.session().await;
    let path = format!("/?token={}", place.api.token(&guest, "?mode=watch").await);
    place.hypervisor.shut_out(&place.controller);
    client.keys("echo typed $((6*7)) once\r").await;
    in_time(async || {
        let lines = place.api.call(Method::GET, "/v1/lines", "").await;
        assert_eq!((lines.status, &lines.json["unreachable"][0]), (200, &"hypervisor".into()));
    })
    .await;
    in_time(async || {
        let refused = Socket::refused(&place.proxy(), &path, &[]).await;
        assert_eq!(refused.status, 503, "{}", refused.reason);
    })
    .await;
    place.has(&guest, |server| server["status"] == "ACTIVE").await;
    place.hypervisor.let_in(&place.controller);
    client.shows("typed 42 once").await;
    assert_eq!(client.shown().matches("typed 42 once").count(), 1);
    assert_eq!(place.session().await, session);
}

/// Repeats something until it is fast enough for people: a busy machine delays some of the
/// attempts.
async fn in_time(mut what: impl AsyncFnMut()) {
    eventually(async || {
        let started = Instant::now();
        what().await;
        (started.elapsed() < Duration::from_secs(4)).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "it takes a minute: make test-cluster"]
async fn a_session_goes_on_when_its_host_was_cut_off_for_ten_seconds() {
    let place = Place::start().await;
    place.boot().await;
    let mut client = Piped::start(&place).await;
    let session = place.session().await;
    client.keys("(i=0; while sleep 0.05; do i=$((i+1)); echo row $i end; done) &\r").await;
    client.shows("row 20 end").await;
    place.hypervisor.pull();
    client.keys("echo typed $((6*7)) once\r").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = client.rows().len();
    place.hypervisor.plug();
    client.shows("typed 42 once").await;
    client.shows(&format!("row {} end", before + 200)).await;
    let rows = client.rows();
    assert_eq!(rows, (1..=rows.len()).collect::<Vec<_>>());
    assert_eq!(client.shown().matches("typed 42 once").count(), 1);
    assert_eq!(place.session().await, session);
}

#[tokio::test]
#[ignore = "it takes a minute: make test-cluster"]
async fn a_host_that_is_cut_off_for_longer_than_its_lease_is_shown_as_lost_until_it_is_back() {
    let place = Place::start().await;
    let guest = place.boot().await;
    let token = place.api.token(&guest, "?mode=watch").await;
    let control = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut story = place.story(&guest);
    story["control"] = control.local_addr().unwrap().port().into();
    let cable = async {
        let (mut asked, _) = control.accept().await.unwrap();
        asked.read_u8().await.unwrap();
        place.hypervisor.pull();
        place.has(&guest, |server| server["status"] == "HOST_LOST").await;
        let refused = Socket::refused(&place.proxy(), &format!("/?token={token}"), &[]).await;
        assert_eq!(refused.status, 503, "{}", refused.reason);
        asked.write_u8(b'.').await.unwrap();
        asked.read_u8().await.unwrap();
        place.hypervisor.plug();
        place.has(&guest, |server| server["status"] == "ACTIVE").await;
        let _watcher = Socket::v1(&place.proxy(), &token, "").await;
        asked.write_u8(b'.').await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = tell("lost.mjs", story) => {}
        () = cable => {}
    }
}
