//! Links that users share: who comes in by them, with which rights, and how they end.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "that is how a test fails")]

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::eventually;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::socket::Socket;

/// A new link: its id and its token.
async fn share(rig: &Rig, mode: &str) -> (String, String) {
    let path = format!("/v1/lines/{}/0/links", rig.port.server());
    let body = json!({"mode": mode, "seconds": 600}).to_string();
    let made = rig.server.call(Method::POST, &path, &body).await;
    assert_eq!(made.status, 201);
    let (id, url) = (made.json["link"]["id"].as_str(), made.json["url"].as_str());
    let token = url.unwrap().split("token=").nth(1).unwrap().split('&').next().unwrap();
    (id.unwrap().to_owned(), token.to_owned())
}

async fn links(rig: &Rig) -> Vec<Value> {
    let path = format!("/v1/lines/{}/0/links", rig.port.server());
    rig.server.get(&path).await.json["links"].as_array().unwrap().clone()
}

async fn revoke(rig: &Rig, id: &str) {
    let path = format!("/v1/lines/{}/0/links/{id}", rig.port.server());
    assert_eq!(rig.server.call(Method::DELETE, &path, "").await.status, 204);
}

#[tokio::test]
async fn a_revoked_link_opens_nothing_and_ends_all_that_it_opened_and_nothing_else() {
    let rig = Rig::start(&["--consoleauth-single_use=true"]).await;
    let (id, token) = share(&rig, "watch").await;
    let (_, other) = share(&rig, "watch").await;
    let mut stays = Socket::v1(&rig.server.proxy, &other, "").await;
    let mut watchers = Vec::new();
    for _ in 0..3 {
        let mut watcher = Socket::v1(&rig.server.proxy, &token, "&mode=watch").await;
        let hello = watcher.message("hello").await;
        assert_eq!((&hello["shared"], &hello["can"]), (&json!(true), &json!([])));
        assert_eq!(hello["user"], format!("admin (link {})", &id[..4]));
        watchers.push(watcher);
    }
    let counted = async || links(&rig).await.iter().any(|link| link["sessions"] == 3).then_some(());
    eventually(counted).await;

    revoke(&rig, &id).await;
    let path = format!("/?token={token}&mode=watch");
    assert_eq!(Socket::refused(&rig.server.proxy, &path, &[]).await.status, 401);
    for watcher in watchers {
        let ended = tokio::time::timeout(Duration::from_secs(10), watcher.closed()).await;
        assert_eq!(
            ended.unwrap(),
            (4006, "disconnected by serialproxy: the link was revoked".into())
        );
    }
    assert_eq!(links(&rig).await.len(), 1);
    stays.say(r#"{"type":"ping","id":7}"#).await;
    assert_eq!(stays.message("pong").await["id"], 7);
}

#[tokio::test]
async fn who_may_type_by_a_link_may_neither_take_over_nor_share_further() {
    let mut rig = Rig::start(&[]).await;
    let (id, token) = share(&rig, "write").await;
    let mut guest = Socket::v1(&rig.server.proxy, &token, "&mode=write").await;
    assert_eq!(guest.message("hello").await["can"], json!(["write"]));
    guest.send("hi").await;
    assert_eq!(rig.guest.typed(2).await, b"hi");
    // Who has the same link is not the same person.
    let mut other = Socket::v1(&rig.server.proxy, &token, "&mode=auto").await;
    assert_eq!(other.message("hello").await["mode"], "watch");
    assert_ne!(other.message("pen").await["own"], true);
    other.say(r#"{"type":"pen","do":"take"}"#).await;
    other.message("error").await;
    guest.send("!").await;
    assert_eq!(rig.guest.typed(1).await, b"!");
    guest.say(r#"{"type":"link"}"#).await;
    let refused = guest.message("error").await;
    assert!(refused["message"].as_str().unwrap().contains("cannot create links"), "{refused}");

    // Its maker is somebody else to it.
    let mut maker = Socket::v1(&rig.server.proxy, &rig.token("").await, "&mode=auto").await;
    assert_eq!(maker.message("hello").await["mode"], "watch");
    maker.say(r#"{"type":"pen","do":"force"}"#).await;
    while guest.message("pen").await["state"] != "lost" {}
    guest.say(r#"{"type":"pen","do":"force"}"#).await;
    guest.message("error").await;
    revoke(&rig, &id).await;
    assert_eq!(guest.closed().await.0, 4006);
}

#[tokio::test]
async fn the_audit_trail_has_who_shared_and_who_revoked_a_link() {
    let rig = Rig::start(&[]).await;
    let (id, _) = share(&rig, "watch").await;
    revoke(&rig, &id).await;
    let seen = async || {
        let events = rig.server.get("/v1/audit").await.json["events"].clone();
        let mut names = Vec::new();
        for event in events.as_array()? {
            if event["target.id"] == id.as_str() {
                names.push((event["event.name"].clone(), event["user.id"].clone()));
            }
        }
        names.sort_by_key(|(name, _)| name.to_string());
        let expected = ["token.issued", "token.revoked"].map(|name| (json!(name), json!("admin")));
        (names == expected).then_some(())
    };
    eventually(seen).await;
}
