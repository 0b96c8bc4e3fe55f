//! The audit trail of a program, as its API and its files have it.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::PATIENCE;
use crate::eventually;
use crate::server::Server;
use crate::server::program;

/// All events, as the API has them.
pub async fn events(server: &Server) -> Vec<Value> {
    let answer = server.get("/v1/audit").await;
    assert_eq!(answer.status, 200, "{:?}", answer.json);
    answer.json["events"].as_array().unwrap().clone()
}

/// Waits for an event of this name that has these members, of which null ones are absent; it is the first
/// such.
pub async fn event(server: &Server, name: &str, members: Value) -> Value {
    let mut seen = Vec::new();
    let found = tokio::time::timeout(PATIENCE / 2, async {
        eventually(async || {
            seen = events(server).await;
            seen.iter().find(|event| is(event, name, &members)).cloned()
        })
        .await
    });
    let found = found.await.ok();
    found.unwrap_or_else(|| panic!("no {name} with {members} in {seen:#?}"))
}

/// Whether it is an event of this name that has these members.
pub fn is(event: &Value, name: &str, members: &Value) -> bool {
    let mut members = members.as_object().unwrap().iter();
    event["event.name"] == name && members.all(|(name, value)| event[name] == *value)
}

/// The file that grows.
pub fn file(server: &Server) -> PathBuf {
    server.state().join("audit/audit.jsonl")
}

/// What `serialproxy verify` prints, and whether nothing is wrong.
pub fn verify(server: &Server) -> (bool, String) {
    let state = format!("--state-dir={}", server.state().display());
    let output = Command::new(program()).args(["verify", "--audit", &state]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// Checks that each event says who did what, from where, and to what.
pub async fn are_complete(server: &Server) {
    for event in events(server).await {
        let name = event["event.name"].as_str().unwrap();
        let missing: Vec<_> =
            members(name).iter().filter(|member| event[**member].is_null()).collect();
        assert!(missing.is_empty(), "without {missing:?}: {event}");
    }
}

/// The members that an event of this name has in any case.
fn members(name: &str) -> &'static [&'static str] {
    match name {
        "token.issued" => &["user.id", "client.address", "server.id", "console.port", "cause"],
        "token.used" => &["user.id", "client.address", "session.id", "server.id", "console.port"],
        "session.opened" | "session.ended" | "session.forced" => {
            &["user.id", "client.address", "session.id", "server.id", "console.port", "cause"]
        }
        // That of a session that ended has no address: `session.ended` says it.
        "pen.changed" => &["user.id", "session.id", "server.id", "console.port", "cause"],
        "guest.break" | "guest.sysrq" => {
            &["user.id", "client.address", "server.id", "console.port"]
        }
        "guest.power" | "token.revoked" => &["user.id", "client.address", "server.id", "cause"],
        "user.changed" | "apitoken.changed" => {
            &["user.id", "client.address", "request.id", "target.id", "cause"]
        }
        "login.succeeded" => &["user.id", "client.address", "request.id", "cause"],
        // Nobody is known yet.
        "login.failed" | "token.refused" | "session.refused" => &["client.address", "cause"],
        _ => &["time", "prev", "hash"],
    }
}
