//! Logins by links: while the audit trail cannot be written, and when they end.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "that is how a test fails")]

use std::fs;

use rustix::process::Signal;
use serde_json::json;
use serialproxy_e2e::eventually;
use serialproxy_e2e::server::Answer;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::server::http;
use serialproxy_e2e::within;

/// The code of a new link.
async fn code(server: &Server) -> String {
    let made = server.post("/v1/login-links", "").await;
    let url = made.json["url"].as_str().unwrap();
    url.split_once("#login=").unwrap().1.to_owned()
}

async fn log_in(server: &Server, code: &str) -> Answer {
    server.post("/v1/login", &json!({"code": code}).to_string()).await
}

/// The status of a call with this token.
async fn status(server: &Server, token: &str) -> u16 {
    let call = http().build().unwrap().get(format!("{}/v1/tokens", server.api));
    within(call.header("X-Auth-Token", token).send()).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn nobody_logs_in_unrecorded_while_another_role_that_is_stopped_holds_the_trail() {
    let server = Server::start(&["--audit-required"]).await;
    let code = code(&server).await;
    let lock = fs::File::open(server.state().join("audit/lock")).unwrap();
    lock.lock().unwrap();
    eventually(async || {
        let health = server.get("/healthz").await.json;
        (health["status"] == "degraded").then_some(())
    })
    .await;
    let refused = log_in(&server, &code).await;
    assert_eq!(refused.status, 503);
    assert!(refused.message().contains("audit trail"), "{}", refused.message());
    lock.unlock().unwrap();
    // The code is still good.
    eventually(async || (log_in(&server, &code).await.status == 201).then_some(())).await;
}

#[tokio::test]
async fn a_login_by_a_link_ends_with_the_admin_token_and_not_with_the_process() {
    let mut server = Server::start(&[]).await;
    let login = log_in(&server, &code(&server).await).await;
    let token = login.json["token"].as_str().unwrap().to_owned();
    let unused = code(&server).await;
    server.signal(Signal::TERM);
    let mut server = server.restart().await;
    assert_eq!(status(&server, &token).await, 200);
    server.signal(Signal::TERM);
    server.ended().await;
    fs::remove_file(server.state().join("admin-token")).unwrap();
    let server = server.restart().await;
    assert_eq!(status(&server, &token).await, 401);
    assert_eq!(log_in(&server, &unused).await.status, 401);
    assert_eq!(log_in(&server, &code(&server).await).await.status, 201);
}
