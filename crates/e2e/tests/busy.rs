//! `mode=auto`: a console that somebody uses is watched at once, on one host and over several.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::fs;

use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::eventually;
use serialproxy_e2e::metrics::Metrics;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;

const AUTO: &str = "&mode=auto";

/// A session, and its greeting.
async fn v1(proxy: &str, token: &str, query: &str) -> (Socket, Value) {
    let mut socket = Socket::v1(proxy, token, query).await;
    let hello = socket.message("hello").await;
    (socket, hello)
}

/// The next message about the pen in this state.
async fn pen(socket: &mut Socket, state: &str) -> Value {
    loop {
        let pen = socket.message("pen").await;
        if pen["state"] == state {
            return pen;
        }
    }
}

/// Waits until the audit trail says in which mode a session began.
async fn opened(server: &Server, session: &Value, mode: &str) {
    let file = server.state().join("audit/audit.jsonl");
    let wanted = [("event.name", "session.opened"), ("cause", mode)];
    Box::pin(eventually(async || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mut events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let fits = |event: &Value| wanted.iter().all(|(name, value)| event[*name] == *value);
        events.find(|event| event["session.id"] == *session && fits(event))
    }))
    .await;
}

#[tokio::test]
async fn a_free_console_is_typed_at_and_a_busy_one_watched_with_who_types_and_since_when() {
    let mut rig = Rig::start(&[]).await;
    let proxy = rig.server.proxy.clone();
    let (mut first, typing) = v1(&proxy, &rig.token("").await, AUTO).await;
    let (mut second, watching) = v1(&proxy, &rig.token("").await, AUTO).await;
    assert_eq!((&typing["mode"], &watching["mode"]), (&"write".into(), &"watch".into()));
    assert!(watching["can"].as_array().unwrap().contains(&"write".into()), "{watching}");
    let held = pen(&mut second, "held").await;
    assert_eq!((&held["holder"], &held["session"]), (&"admin".into(), &typing["session"]));
    let since: jiff::Timestamp = held["since"].as_str().unwrap().parse().unwrap();
    assert!(since.duration_until(jiff::Timestamp::now()).as_secs() < 600, "{held}");
    assert_eq!(held["own"], true);
    second.send("no").await;
    first.send("yes").await;
    assert_eq!(rig.guest.typed(3).await, b"yes");

    // The same user moves to the second window.
    second.say(r#"{"type":"pen","do":"take"}"#).await;
    let lost = pen(&mut first, "lost").await;
    assert_eq!((&lost["cause"], &lost["own"]), (&"moved".into(), &true.into()));
    first.send("no").await;
    second.send("2").await;
    assert_eq!(rig.guest.typed(1).await, b"2");
    second.leave().await;
    assert_eq!(pen(&mut first, "free").await["cause"], "left");
}

#[tokio::test]
async fn sessions_that_yielded_are_counted_and_recorded_as_watching() {
    let rig = Rig::start(&[]).await;
    let proxy = &rig.server.proxy;
    let (_first, typing) = v1(proxy, &rig.token("").await, AUTO).await;
    let (_second, watching) = v1(proxy, &rig.token("").await, AUTO).await;
    opened(&rig.server, &typing["session"], "write").await;
    opened(&rig.server, &watching["session"], "watch").await;
    let sessions = rig.server.get("/v1/sessions").await.json["sessions"].clone();
    let mode = |hello: &Value| {
        let all = sessions.as_array().unwrap();
        all.iter().find(|one| one["id"] == hello["session"]).unwrap()["mode"].clone()
    };
    assert_eq!((mode(&typing), mode(&watching)), ("write".into(), "watch".into()));
    let live =
        |mode: &str| format!("sessions{{mode=\"{mode}\",protocol=\"console.v1\",state=\"live\"}}");
    let metrics = Metrics::of(&rig.server.api).await;
    assert_eq!((metrics.get(&live("write")), metrics.get(&live("watch"))), (1.0, 1.0));
}

#[tokio::test]
async fn raw_and_sessions_that_ask_to_type_are_refused_as_ever() {
    let rig = Rig::start(&[]).await;
    let (status, reason) = rig.refused(AUTO, &[]).await;
    assert_eq!(status, 400);
    assert_eq!(reason, "mode must be watch or write without console.v1, not \"auto\"");
    let proxy = &rig.server.proxy;
    let _typing = v1(proxy, &rig.token("").await, AUTO).await;
    assert_eq!(rig.refused("", &[]).await.0, 409);
    for query in ["", "&mode=write"] {
        let socket = Socket::v1(proxy, &rig.token("").await, query).await;
        assert_eq!(socket.closed().await.0, 4004, "{query}");
    }
    let (_watching, hello) = v1(proxy, &rig.token("?mode=watch").await, AUTO).await;
    assert_eq!((&hello["mode"], &hello["can"]), (&"watch".into(), &json!([])));
}
