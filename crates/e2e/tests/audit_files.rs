//! The files of the audit trail: whatever is done to them shows, and who may read them does.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::fs;

use serde_json::json;
use serialproxy_e2e::audit::event;
use serialproxy_e2e::audit::file;
use serialproxy_e2e::audit::verify;
use serialproxy_e2e::eventually;
use serialproxy_e2e::full::Full;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;

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
