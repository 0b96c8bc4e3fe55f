//! The files of the audit trail: whatever is done to them shows, and who may read them does.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::fs;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use futures_util::future::join_all;
use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::address;
use serialproxy_e2e::audit::event;
use serialproxy_e2e::audit::file;
use serialproxy_e2e::audit::verify;
use serialproxy_e2e::eventually;
use serialproxy_e2e::full::Full;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::server::http;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::io::Lines;
use tokio::process::Child;
use tokio::process::ChildStdout;

#[tokio::test]
async fn verify_names_file_and_line_of_what_was_changed() {
    let rig = Rig::start(&[]).await;
    for _ in 0..5 {
        rig.token("").await;
    }
    event(&rig.server, "token.issued", json!({})).await;
    let (sound, said) = verify(&rig.server);
    assert!(sound && said.contains("nothing is wrong"), "{said}");
    let text = eventually(async || {
        let text = fs::read_to_string(file(&rig.server)).unwrap();
        (text.lines().count() >= 5).then_some(text)
    })
    .await;
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let without_third = [&lines[..2], &lines[3..]].concat().concat();
    for (changed, line) in [
        (text.replacen("\"user.id\":\"admin\"", "\"user.id\":\"root!\"", 1), "line 1: was changed"),
        (without_third, "line 3: does not follow the line before"),
    ] {
        fs::write(file(&rig.server), changed).unwrap();
        let (sound, said) = verify(&rig.server);
        assert!(!sound && said.starts_with(&format!("audit.jsonl {line}")), "{said}");
    }
}

/// Kills the program, does something to its trail, and starts it again.
async fn meanwhile(server: &mut Server, change: impl FnOnce(&str) -> String) -> Server {
    server.signal(Signal::KILL);
    server.ended().await;
    let trail = file(server);
    let changed = change(&fs::read_to_string(&trail).unwrap());
    fs::write(&trail, changed).unwrap();
    server.restart().await
}

#[tokio::test]
async fn what_a_crash_tore_and_what_somebody_cut_off_is_stated_at_the_next_start() {
    let mut rig = Rig::start(&[]).await;
    for _ in 0..5 {
        rig.token("").await;
    }
    event(&rig.server, "token.issued", json!({})).await;
    let server = &mut rig.server;
    let mut server = meanwhile(server, |trail| format!("{trail}{{\"time\":\"2026-11")).await;
    event(&server, "audit.gap", json!({"cause": "torn", "count": 1})).await;
    assert!(verify(&server).0, "{}", verify(&server).1);
    let cut = |trail: &str| trail.split_inclusive('\n').take(3).collect();
    let server = meanwhile(&mut server, cut).await;
    event(&server, "audit.gap", json!({"cause": "cut"})).await;
    let (sound, said) = verify(&server);
    assert!(!sound && said.starts_with("audit.jsonl line 4: does not follow"), "{said}");
}

#[tokio::test]
async fn strangers_fill_no_disk_and_what_they_did_is_counted() {
    let server = Server::start(&["--limits-failures_per_minute=0"]).await;
    let (client, url) = (http().build().unwrap(), format!("{}/v1/servers", server.api));
    let refused = || async {
        let request = client.get(&url).header("x-auth-token", "wrong");
        assert_eq!(within(request.send()).await.unwrap().status(), 401);
    };
    for _ in 0..40 {
        join_all((0..50).map(|_| refused())).await;
    }
    let lines = eventually(async || {
        let text = fs::read_to_string(file(&server)).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let counts = events.map(|event| match event["event.name"].as_str() {
            Some("audit.gap") => event["count"].as_u64().unwrap(),
            _ => 1,
        });
        (counts.sum::<u64>() == 2000).then(|| text.lines().count())
    })
    .await;
    assert!(lines < 1900, "nothing was left out");
}

#[tokio::test]
async fn verify_finds_a_byte_that_is_changed_at_each_of_100_random_places() {
    let mut rig = Rig::start(&["--audit-max_size=4096"]).await;
    for _ in 0..40 {
        rig.token("").await;
    }
    rig.server.signal(Signal::TERM);
    rig.server.ended().await;
    assert!(verify(&rig.server).0, "{}", verify(&rig.server).1);
    let files: Vec<_> = fs::read_dir(rig.server.state().join("audit")).unwrap().collect();
    let files = files.into_iter().map(|file| file.unwrap().path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some()).collect();
    assert!(files.len() > 2, "{files:?}");
    for _ in 0..100 {
        let random = uuid::Uuid::new_v4().as_u128() as usize;
        let path = &files[random % files.len()];
        let text = fs::read(path).unwrap();
        let (at, mask) = ((random >> 16) % text.len(), 1 << ((random >> 8) % 8));
        let mut changed = text.clone();
        changed[at] ^= mask;
        fs::write(path, changed).unwrap();
        let (sound, said) = verify(&rig.server);
        let name = path.file_name().unwrap().to_str().unwrap();
        let line = text[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let named = format!("{name} line {line}: ");
        assert!(!sound && said.contains(&named), "byte {at} of {name}: {said}");
        fs::write(path, text).unwrap();
    }
}

#[tokio::test]
async fn a_trail_that_another_process_holds_does_not_count_as_written() {
    let rig = Rig::start(&["--audit-required"]).await;
    rig.token("").await;
    event(&rig.server, "token.issued", json!({})).await;
    let lock = File::open(rig.server.state().join("audit/lock")).unwrap();
    lock.lock().unwrap();
    let path = format!("/v3/servers/{}/get-serial-console", rig.port.server());
    eventually(async || (rig.server.post(&path, "").await.status == 503).then_some(())).await;
    eventually(async || {
        let health = rig.server.get("/healthz").await.json;
        (health["reasons"][0]["name"] == "audit").then_some(())
    })
    .await;
    drop(lock);
    eventually(async || (rig.server.post(&path, "").await.status == 202).then_some(())).await;
    assert!(verify(&rig.server).0, "{}", verify(&rig.server).1);
}

/// `serialproxy audit --follow`, and what it prints.
struct Follower {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(server: &Server) -> Self {
        let mut command = server.command(&["audit", "--follow", "-f", "json"]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Reads on until it has printed this event so many times.
    async fn read(&mut self, name: &str, count: usize) -> Vec<String> {
        let (mut read, mut found) = (Vec::new(), 0);
        while found < count {
            let line = within(self.lines.next_line()).await.unwrap().unwrap();
            found += usize::from(line.contains(&format!("\"event.name\":\"{name}\"")));
            read.push(line);
        }
        read
    }
}

#[tokio::test]
async fn the_client_follows_the_trail_over_rotations_and_a_restart_until_it_is_stopped() {
    let fixed = address::fixed();
    let flags = fixed.iter().map(String::as_str).chain(["--audit-max_size=4096"]);
    let mut rig = Rig::start(&flags.collect::<Vec<_>>()).await;
    rig.token("").await;
    let mut follower = Follower::start(&rig.server);
    let mut printed = follower.read("token.issued", 1).await;
    for _ in 0..30 {
        rig.token("").await;
    }
    printed.extend(follower.read("token.issued", 30).await);
    rig.server.signal(Signal::TERM);
    let server = rig.server.restart().await;
    server.token(&rig.port.server(), "").await;
    printed.extend(follower.read("token.issued", 1).await);
    let closed = server.state().join("audit/audit-00000003.jsonl");
    assert!(closed.exists(), "{} was never made", closed.display());
    // Each line once, in the order of the trail.
    let trail = fs::read_dir(server.state().join("audit")).unwrap();
    let mut trail: Vec<_> = trail.map(|file| file.unwrap().path()).collect();
    trail.retain(|file| file.extension().is_some());
    trail.sort_by_key(|file| (file.ends_with("audit.jsonl"), file.clone()));
    let trail: String = trail.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert_eq!(trail.lines().collect::<Vec<_>>(), printed);

    let pid = Pid::from_raw(i32::try_from(follower.process.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let ended = within(follower.process.wait_with_output()).await.unwrap();
    assert_eq!(ended.status.signal(), Some(2), "{ended:?}");
}

#[tokio::test]
async fn the_client_filters_and_prints_the_trail_for_administrators() {
    let rig = Rig::start(&[]).await;
    rig.token("").await;
    event(&rig.server, "token.issued", json!({})).await;
    let run = async |arguments: &[&str]| {
        let output = rig.server.client(&[&["audit"], arguments].concat()).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let all = run(&["--server", "switch", "--user", "admin"]).await;
    assert!(all.contains(" token.issued cause=write user.id=admin "), "{all}");
    assert_eq!(run(&["--user", "nobody"]).await, "");
    let trail = fs::read_to_string(file(&rig.server)).unwrap();
    assert_eq!(run(&["-f", "json"]).await, trail, "json is the trail itself");
    let bad = rig.server.get("/v1/audit?since=yesterday").await;
    assert_eq!(bad.status, 400, "{:?}", bad.json);
    let token = json!({"name": "ci", "project": "p", "role": "member"}).to_string();
    let made = rig.server.post("/v1/tokens", &token).await;
    let mut command = rig.server.command(&["audit"]);
    command.env("SERIALPROXY_TOKEN", made.json["secret"].as_str().unwrap());
    assert_eq!(within(command.output()).await.unwrap().status.code(), Some(1));
}

#[tokio::test]
async fn without_room_for_the_trail_live_sessions_go_on_and_nothing_begins_that_has_to_be_recorded()
{
    let mut rig = Rig::start(&["--audit-required"]).await;
    let token = rig.token("").await;
    let mut socket = Socket::v1(&rig.server.proxy, &rig.token("").await, "").await;
    socket.message("hello").await;
    event(&rig.server, "session.opened", json!({})).await;
    let full = Full::mount(&rig.server.state().join("audit"));
    let path = format!("/v3/servers/{}/get-serial-console", rig.port.server());
    let refused = eventually(async || {
        let answer = rig.server.post(&path, "").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(refused.message().contains("audit trail"), "{}", refused.message());
    // It is no reason to send users elsewhere.
    eventually(async || {
        let health = rig.server.get("/healthz").await;
        assert_eq!(health.status, 200, "{:?}", health.json);
        let mut reasons = health.json["reasons"].as_array()?.iter();
        reasons.any(|reason| reason["name"] == "audit").then_some(())
    })
    .await;
    let user =
        json!({"name": "bob", "project": "p", "role": "member", "password": "correct horse"});
    assert_eq!(rig.server.post("/v1/users", &user.to_string()).await.status, 503);
    let raw = Socket::refused(&rig.server.proxy, &format!("/?token={token}&mode=watch"), &[]).await;
    assert_eq!(raw.status, 503, "{raw:?}");
    let v1 = Socket::v1(&rig.server.proxy, &token, "&mode=watch").await;
    let (code, reason) = v1.closed().await;
    assert!(code == 1011 && reason.starts_with("audit: "), "{code} {reason}");
    socket.send("still").await;
    assert_eq!(rig.guest.typed(5).await, b"still");

    drop(full);
    eventually(async || (rig.server.post(&path, "").await.status == 202).then_some(())).await;
    let refused = json!({"cause": "audit", "user.id": "admin"});
    event(&rig.server, "session.refused", refused).await;
    assert!(verify(&rig.server).0, "{}", verify(&rig.server).1);
}
