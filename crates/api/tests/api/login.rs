//! Logging in by a link.

use serde_json::json;
use serialproxy_api::Auth;

use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;

/// The code of a new link.
async fn code(bench: &Bench) -> String {
    let made = bench.call("POST /v1/login-links", "").await;
    assert_eq!(made.status, 201);
    let url = made.json()["url"].as_str().unwrap().to_owned();
    url.split_once("/#login=").unwrap().1.to_owned()
}

#[tokio::test]
async fn the_code_of_a_login_link_becomes_an_administrator_s_token_once() {
    let bench = Bench::new();
    let body = json!({"code": code(&bench).await}).to_string();
    let login = bench.call_as("", "POST /v1/login", body.clone()).await;
    assert_eq!(login.status, 201);
    assert_eq!(login.json()["user"], "admin");
    let token = login.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(bench.call_as(&token, "GET /v1/tokens", "").await.status, 200);
    let again = bench.call_as("", "POST /v1/login", body).await;
    again.is_fault(401, "unauthorized", "this login link was used before, or has expired");
}

#[tokio::test]
async fn of_many_who_come_with_one_code_at_once_one_is_logged_in() {
    let bench = Bench::new();
    let body = json!({"code": code(&bench).await}).to_string();
    let logins = (0..20).map(|_| bench.call_as("", "POST /v1/login", body.clone()));
    let answers = futures_util::future::join_all(logins).await;
    let let_in = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(let_in, 1);
}

#[tokio::test]
async fn a_code_is_no_token_and_a_token_is_no_code() {
    let bench = Bench::new();
    let code = code(&bench).await;
    for token in [code.clone(), format!("login%0a{code}")] {
        assert_eq!(bench.call_as(&token, "GET /v1/servers", "").await.status, 401);
    }
    let made = bench
        .call("POST /v1/tokens", r#"{"name": "ci", "project": "demo", "role": "admin"}"#)
        .await
        .json();
    let body = json!({"code": made["secret"]}).to_string();
    assert_eq!(bench.call_as("", "POST /v1/login", body).await.status, 401);
}

#[tokio::test]
async fn only_the_admin_token_makes_a_link_since_a_login_outlives_a_token_that_is_revoked() {
    let bench = Bench::new();
    for role in ["reader", "member", "admin"] {
        let body = json!({"name": role, "project": "demo", "role": role}).to_string();
        let made = bench.call("POST /v1/tokens", body).await.json();
        let token = made["secret"].as_str().unwrap();
        assert_eq!(bench.call_as(token, "POST /v1/login-links", "").await.status, 403, "{role}");
    }
}

#[tokio::test]
async fn without_local_users_the_link_is_the_page_and_logs_nobody_in() {
    let bench = Bench::with(Fake::default(), &config(), Auth::Noauth);
    let made = bench.call("POST /v1/login-links", "").await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["expires"], json!(null));
    assert!(!made.json()["url"].as_str().unwrap().contains('#'));
    let login = bench.call("POST /v1/login", r#"{"code": "00"}"#).await;
    assert_eq!(login.status, 404);
}
