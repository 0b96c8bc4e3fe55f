//! Real guests under a real libvirt: booted, typed into, stopped, started, lost and found.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::net::TcpListener;
use std::time::Duration;

use rustix::process::Signal;
use serialproxy_e2e::address::free_ports;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::Guest;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use sha2::Digest;
use sha2::Sha256;

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The output before the file's content. The typed command contains quotes, so its echo differs.
const NOW: &[u8] = b"now\n";

/// Everything after the first `mark`.
fn after(bytes: &[u8], mark: &[u8]) -> Vec<u8> {
    let at = bytes.windows(mark.len()).position(|window| window == mark).unwrap();
    bytes.split_at(at + mark.len()).1.to_vec()
}

/// Three consecutive free TCP ports, as a range. Each test gets others, since a used port stays
/// taken for a minute (TIME_WAIT).
fn three_ports() -> (u16, String) {
    let start = free_ports(3);
    (start, format!("{start}:{}", start + 3))
}

#[tokio::test]
async fn a_guest_s_two_ports_are_two_consoles_seen_from_the_kernel_s_first_byte() {
    let host = Host::start(&[]).await;
    let guest = host.boot(2).await;
    let token = host.server.token(&guest.id, "?mode=watch").await;
    let mut boot = Socket::v1(&host.server.proxy, &token, "&from=start").await;
    let seen = boot.output_with(b"Linux version").await;
    let before = String::from_utf8_lossy(&seen).find("Linux version");
    assert!(before < Some(1000), "the kernel's first line is not the first that is seen");

    let mut first = host.shell(&guest, 0).await;
    let mut second = host.shell(&guest, 1).await;
    assert_eq!(first.run("tty").await, "/dev/ttyS0");
    assert_eq!(second.run("tty").await, "/dev/ttyS1");
    assert!(first.run("uname -a").await.starts_with("Linux "));
    first.carries_every_byte().await;
    let lines = host.server.get("/v1/lines").await.json;
    let ports: Vec<_> = lines["lines"].as_array().unwrap().iter().collect();
    let own: Vec<_> = ports.iter().filter(|line| line["server"]["id"] == guest.id).collect();
    assert_eq!(own.len(), 2);
    assert!(own.iter().all(|line| line["state"] == "connected" && line["epoch"] == 1));
}

#[tokio::test]
async fn a_stopped_guest_s_console_is_409_and_a_started_one_s_works_on_the_same_port() {
    let host = Host::start(&[]).await;
    let guest = host.boot(1).await;
    let endpoint = host.endpoint(&guest, 0).await;
    let token = host.server.token(&guest.id, "").await;
    let mut shell = host.shell(&guest, 0).await;
    shell.run("true").await;
    shell.0.leave().await;
    let raw = Socket::raw(&host.server.proxy, &token).await;

    let stop = format!("/v1/servers/{}/stop", guest.id);
    assert_eq!(host.server.post(&stop, r#"{"timeout": 30}"#).await.status, 202);
    assert_eq!(raw.closed().await.0, 4009);
    host.status(&guest, "SHUTOFF").await;
    let path = format!("/v3/servers/{}/get-serial-console", guest.id);
    let refused = host.server.post(&path, "").await;
    assert_eq!(refused.status, 409);
    assert!(refused.message().contains("SHUTOFF"), "{}", refused.message());
    assert_eq!(host.server.post(&format!("{path}?wait=1"), "").await.status, 202);
    let refused = Socket::refused(&host.server.proxy, &format!("/?token={token}"), &[]).await;
    assert_eq!((refused.status, refused.reason.as_str()), (409, "stopped: server is SHUTOFF"));

    let start = format!("/v1/servers/{}/start", guest.id);
    assert_eq!(host.server.post(&start, "").await.status, 202);
    host.status(&guest, "ACTIVE").await;
    assert_eq!(host.endpoint(&guest, 0).await, endpoint);
    let mut shell = host.shell(&guest, 0).await;
    assert_eq!(shell.run("echo $((6*7))").await, "42");
    assert_eq!(host.server.line(&guest.id, 0).await["epoch"], 2);
}

#[tokio::test]
async fn sixteen_mib_from_a_guest_and_one_mib_into_it_arrive_byte_exact() {
    let host = Host::start(&[]).await;
    let guest = host.boot(2).await;
    let mut shell = host.shell(&guest, 1).await;

    let sum = shell.run("dd if=/dev/urandom of=/big bs=1M count=16 2>/dev/null; sha256sum /big");
    let sum = sum.await;
    shell.0.send("stty raw -echo; echo no\"\"w; cat /big\r").await;
    let mut printed = after(&shell.0.output_with(NOW).await, NOW);
    while printed.len() < 16 * 1024 * 1024 {
        let message = shell.0.next().await;
        if message.is_binary() {
            printed.extend_from_slice(message.as_payload());
        }
    }
    printed.truncate(16 * 1024 * 1024);
    assert_eq!(sum.split(' ').next().unwrap(), hex(&Sha256::digest(&printed)));

    shell.0.send("echo re\"\"ady; head -c 1048576 | sha256sum; stty sane\r").await;
    shell.0.output_with(b"ready").await;
    let mut state = 1u64;
    let typed: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(1024 * 1024)
    .collect();
    shell.0.send(typed.clone()).await;
    shell.0.output_with(hex(&Sha256::digest(&typed)).as_bytes()).await;
}

#[tokio::test]
async fn after_kill_9_guests_run_on_leases_are_unchanged_and_a_new_token_reaches_the_same_guest() {
    let host = Host::start(&[]).await;
    let guest = host.boot(2).await;
    let before = [host.endpoint(&guest, 0).await, host.endpoint(&guest, 1).await];
    let mut shell = host.shell(&guest, 1).await;
    shell.run("echo here > /mark").await;

    let host = host.kill_and_restart().await;
    assert_eq!(host.virsh(&["domstate", &guest.id]).trim(), "running");
    for port in [0, 1] {
        eventually(async || {
            let line = host.server.line(&guest.id, port).await;
            (line["state"] == "connected").then_some(())
        })
        .await;
    }
    assert_eq!([host.endpoint(&guest, 0).await, host.endpoint(&guest, 1).await], before);
    let mut shell = host.shell(&guest, 1).await;
    assert_eq!(shell.run("cat /mark").await, "here");
}

#[tokio::test]
async fn a_stop_that_waits_for_its_guest_holds_up_its_own_server_alone_and_can_be_cut_short() {
    let host = Host::start(&[]).await;
    let (deaf, other) = (host.boot(1).await, host.boot(1).await);
    let mut shell = host.shell(&deaf, 0).await;
    shell.run("rm -r /etc/acpi/PWRF").await;
    let change = |guest: &Guest, change: &str| format!("/v1/servers/{}/{change}", guest.id);
    let stop = change(&deaf, "stop");
    let too_long = host.server.post(&stop, r#"{"timeout": 601}"#).await;
    assert_eq!(too_long.status, 400);
    assert!(too_long.message().contains("at most 600 seconds"), "{}", too_long.message());

    // The first request was dropped, but its change goes on.
    let second = eventually(async || {
        let ask = host.server.post(&stop, r#"{"timeout": 600}"#);
        tokio::time::timeout(Duration::from_secs(2), ask).await.ok()
    })
    .await;
    assert_eq!(second.status, 409);
    assert!(second.message().contains("task_state powering-off"), "{}", second.message());
    for action in ["os-start", "os-stop"] {
        let path = format!("/v2.1/servers/{}/action", deaf.id);
        let answer = host.server.post(&path, &format!(r#"{{"{action}": null}}"#)).await;
        assert_eq!(answer.status, 409, "{action}: {:?}", answer.json);
    }
    let force = r#"{"force": true}"#;
    assert_eq!(host.server.post(&change(&other, "stop"), force).await.status, 202);
    assert_eq!(host.server.post(&stop, force).await.status, 202);
    for guest in [&deaf, &other] {
        host.status(guest, "SHUTOFF").await;
        assert_eq!(host.server.post(&change(guest, "start"), "").await.status, 202);
    }
}

#[tokio::test]
async fn ports_of_guests_that_are_stopped_stay_theirs_over_a_restart() {
    let (_, range) = three_ports();
    let host = Host::start(&["--serial_console-port_range", &range]).await;
    let stopped = host.boot(2).await;
    let ports = [host.endpoint(&stopped, 0).await, host.endpoint(&stopped, 1).await];
    let path = format!("/v1/servers/{}/stop", stopped.id);
    host.server.post(&path, r#"{"force": true}"#).await;
    host.status(&stopped, "SHUTOFF").await;

    let host = host.kill_and_restart().await;
    let running = host.boot(1).await;
    assert!(!ports.contains(&host.endpoint(&running, 0).await), "a stopped guest lost its port");
    let start = format!("/v1/servers/{}/start", stopped.id);
    assert_eq!(host.server.post(&start, "").await.status, 202);
    host.status(&stopped, "ACTIVE").await;
    let now = [host.endpoint(&stopped, 0).await, host.endpoint(&stopped, 1).await];
    assert_eq!(now, ports);
}

#[tokio::test]
async fn a_foreign_process_s_port_is_skipped_and_a_full_range_leaves_nothing_behind() {
    let (start, range) = three_ports();
    // A process that another test is starting may hold the probe's socket until it runs.
    let squatter = eventually(async || TcpListener::bind(("127.0.0.1", start)).ok()).await;
    let host = Host::start(&["--serial_console-port_range", &range]).await;
    let guest = host.boot(2).await;
    for port in 0..2 {
        assert_ne!(host.endpoint(&guest, port).await, format!("127.0.0.1:{start}"));
    }
    let properties = serde_json::json!({"serial_ports": "1"});
    let refused = host.try_boot("t-no-room", &properties).await;
    assert_eq!(refused.status, 400, "{:?}", refused.json);
    assert!(refused.message().contains("Not able to acquire a free port"), "{}", refused.message());
    assert!(!host.virsh(&["list", "--all", "--name"]).contains("t-no-room"));
    let servers = host.server.get("/v2.1/servers").await.json;
    assert!(!servers.to_string().contains("t-no-room"));

    drop(squatter);
    let retried = host.try_boot("t-no-room", &properties).await;
    assert_eq!(retried.status, 201, "a lease was left behind: {:?}", retried.json);
    let id = retried.json["server"]["id"].as_str().unwrap();
    let path = format!("/v1/servers/{id}");
    assert_eq!(host.server.call(reqwest::Method::DELETE, &path, "").await.status, 204);
}

#[tokio::test]
async fn delete_leaves_nothing_of_a_guest_and_ends_its_sessions() {
    let host = Host::start(&[]).await;
    let guest = host.boot(1).await;
    let token = host.server.token(&guest.id, "?mode=watch").await;
    let socket = Socket::v1(&host.server.proxy, &token, "").await;
    let path = format!("/v1/servers/{}", guest.id);
    assert_eq!(host.server.call(reqwest::Method::DELETE, &path, "").await.status, 204);
    assert_eq!(socket.closed().await.0, 4003);
    assert_eq!(host.server.get(&path).await.status, 404);
    assert!(!host.virsh(&["list", "--all", "--name"]).contains(&guest.name));
    let refused = Socket::refused(&host.server.proxy, &format!("/?token={token}"), &[]).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn a_guest_of_others_is_served_and_not_deleted() {
    let host = Host::start(&[]).await;
    let model = host.boot(1).await;
    let xml = host.virsh(&["dumpxml", &model.id]);
    let path = format!("/v1/servers/{}", model.id);
    assert_eq!(host.server.call(reqwest::Method::DELETE, &path, "").await.status, 204);

    // The same domain without our mark, started without the program.
    let begin = xml.find("<metadata>").unwrap();
    let end = xml.find("</metadata>").unwrap() + "</metadata>".len();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("domain.xml");
    std::fs::write(&file, format!("{}{}", &xml[..begin], &xml[end..])).unwrap();
    host.virsh(&["define", file.to_str().unwrap()]);
    host.virsh(&["start", &model.id]);
    let mut shell = host.shell(&model, 0).await;
    assert_eq!(shell.run("echo $((6*7))").await, "42");
    let refused = host.server.call(reqwest::Method::DELETE, &path, "").await;
    assert_eq!(refused.status, 409, "{:?}", refused.json);
}

#[tokio::test]
async fn a_reboot_keeps_a_v1_session_and_counts_an_epoch() {
    let host = Host::start(&[]).await;
    let guest = host.boot(1).await;
    let mut shell = host.shell(&guest, 0).await;
    shell.0.send("reboot -f\r").await;
    let epoch = shell.0.message("epoch").await;
    assert_eq!(epoch["epoch"], 2);
    shell.0.output_with(b"Linux version").await;
}

#[tokio::test]
async fn bad_wishes_are_refused_before_anything_is_made() {
    let host = Host::start(&[]).await;
    for (properties, flavor) in [
        (r#"{"serial_ports": "5"}"#, "{}"),
        (r#"{"serial_ports": "many"}"#, "{}"),
        (r#"{"serial_ports": "-1"}"#, "{}"),
        (r#"{"serial_ports": "1", "hw_serial_port_count": "2"}"#, "{}"),
        (r#"{"serial_ports": "2"}"#, r#"{"hw:serial_port_count": "1"}"#),
    ] {
        let body = format!(
            r#"{{"name": "t-bad", "image": "demo", "properties": {properties}, "flavor_properties": {flavor}}}"#
        );
        let answer = host.server.post("/v1/servers", &body).await;
        assert_eq!(answer.status, 400, "{body}: {:?}", answer.json);
    }
    let body = r#"{"name": "t-bad", "image": "../demo"}"#;
    assert_eq!(host.server.post("/v1/servers", body).await.status, 400);
    assert!(!host.virsh(&["list", "--all", "--name"]).contains("t-bad"));
}

#[tokio::test]
async fn sigterm_leaves_guests_running() {
    let mut host = Host::start(&[]).await;
    let guest = host.boot(1).await;
    host.server.signal(Signal::TERM);
    assert!(within(host.server.ended()).await.success());
    assert_eq!(host.virsh(&["domstate", &guest.id]).trim(), "running");
}
