//! API tokens and local users.

use serde_json::Value;
use serde_json::json;

use crate::fake_api::ask;
use crate::support::Api;
use crate::support::Terminal;
use crate::support::client;
use crate::support::run;

#[test]
fn a_new_token_is_printed_alone_so_that_a_script_can_keep_it() {
    let created = "2026-11-22T09:00:00Z";
    let token = json!({
        "name": "ci", "project": "demo", "role": "member", "created": created, "expires": null,
    });
    let made = json!({"token": token, "secret": "5ecret"}).to_string();
    let listed = json!({"tokens": [token]}).to_string();
    let api = Api::start(move |line| match line {
        "GET /v1/tokens" => (200, listed.clone()),
        "DELETE /v1/tokens/ci" => (204, String::new()),
        _ => (201, made.clone()),
    });
    let add = ["token", "add", "ci", "--project", "demo", "--role", "member"];
    let ended = ask(&api, &add);
    assert_eq!((ended.code, ended.text()), (0, "5ecret\n"), "{ended:?}");
    let sent: Value = serde_json::from_str(&api.requests()[0].body).unwrap();
    assert_eq!(sent, json!({"name": "ci", "project": "demo", "role": "member"}));
    let ended = ask(&api, &["token", "list"]);
    assert!(ended.text().contains("| ci   | demo    | member | 2026-11-22T09:00:00Z | never   |"));
    let ended = ask(&api, &["token", "revoke", "ci"]);
    assert_eq!((ended.code, ended.text()), (0, ""));
    assert!(ended.stderr.contains("revoked token ci"), "{}", ended.stderr);
    assert_eq!(api.lines()[1..], ["GET /v1/tokens", "DELETE /v1/tokens/ci"]);
}

/// An API of which `alice` becomes a user.
fn api_with_alice() -> Api {
    let user = json!({
        "id": "0fe7", "name": "alice", "project": "demo", "role": "member",
        "created": "2026-11-22T09:00:00Z",
    });
    Api::start(move |line| match line {
        "POST /v1/users" => (201, json!({"user": user}).to_string()),
        "GET /v1/users" => (200, json!({"users": [user]}).to_string()),
        _ => (204, String::new()),
    })
}

const ADD_ALICE: [&str; 7] = ["user", "add", "alice", "--project", "demo", "--role", "member"];

#[test]
fn a_password_comes_from_stdin_and_is_never_shown() {
    let api = api_with_alice();
    let ended = run(client(api.address, &ADD_ALICE), b"correct horse\nmore\n");
    assert_eq!(ended.code, 0, "{ended:?}");
    let sent: Value = serde_json::from_str(&api.requests()[0].body).unwrap();
    let user = json!({
        "name": "alice", "project": "demo", "role": "member", "password": "correct horse",
    });
    assert_eq!(sent, user);
    assert!(ended.text().contains("| 0fe7 | alice | demo    | member |"), "{}", ended.text());
    let ended = run(client(api.address, &["user", "password", "alice"]), b"battery staple");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(api.requests()[1].body.contains("battery staple"));
    assert!(!(ended.text().to_owned() + &ended.stderr).contains("staple"));
    let ended = run(client(api.address, &ADD_ALICE), b"short\n");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("8 to 1024 characters"), "{}", ended.stderr);
    let lines = ["POST /v1/users", "PUT /v1/users/alice/password"];
    assert_eq!(api.lines(), lines, "what will not do is not sent");
}

#[test]
fn a_terminal_asks_twice_and_does_not_show_what_is_typed() {
    let api = api_with_alice();
    let mut terminal = Terminal::run(client(api.address, &ADD_ALICE));
    terminal.wait_for("Password for alice: ");
    terminal.keys("corret\x7f\x7fect horse\r");
    terminal.wait_for("Repeat the password: ");
    terminal.keys("correct horse\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("horse"), "{shown}");
    assert!(api.requests()[0].body.contains("correct horse"));

    let mut terminal = Terminal::run(client(api.address, &ADD_ALICE));
    terminal.wait_for("Password for alice: ");
    terminal.keys("correct horse\n");
    terminal.wait_for("Repeat the password: ");
    terminal.keys("correct house\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 1);
    assert!(shown.contains("the passwords differ"), "{shown}");

    let mut terminal = Terminal::run(client(api.address, &ADD_ALICE));
    terminal.wait_for("Password for alice: ");
    terminal.keys("correct\x03");
    assert_eq!(terminal.end().0, 1);
    assert_eq!(api.requests().len(), 1);
}
