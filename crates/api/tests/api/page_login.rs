//! Logins at the page: the proxy sends the secret of its cookie as a header.

use axum::body::Body;
use axum::extract::Request;
use serde_json::Value;
use serde_json::json;
use serialproxy_api::Auth;
use serialproxy_api::Keystone;
use serialproxy_config::Sources;
use serialproxy_e2e::cloud::Cloud;
use serialproxy_proto::relayed::PAGE_LOGIN;
use serialproxy_proto::token::TokenDigest;

use crate::bench::ADMIN;
use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::PROJECT;

const PASSWORD: &str = "correct horse";
const LOGIN: &str = "POST /v1/login";

/// A call that comes with this secret.
async fn ask(bench: &Bench, login: &str, call: &str, body: &Value) -> Answer {
    let (method, uri) = call.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(uri).header("host", "api.example:8774");
    let request = request.header("content-type", "application/json").header(PAGE_LOGIN, login);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    bench.send(request.body(Body::from(body)).unwrap()).await
}

async fn log_in(bench: &Bench, body: Value) -> Answer {
    ask(bench, "new", LOGIN, &body).await
}

/// The secret of a login that is good.
async fn secret(bench: &Bench, body: Value) -> String {
    let answer = log_in(bench, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(answer.json().get("token").is_none(), "the page's scripts get no secret");
    let (secret, seconds) = answer.header(PAGE_LOGIN).split_once(' ').unwrap();
    assert_eq!((secret.len(), seconds), (64, "43200"));
    secret.to_owned()
}

async fn status(bench: &Bench, login: &str) -> u16 {
    ask(bench, login, "GET /v1/servers", &Value::Null).await.status.as_u16()
}

async fn who(bench: &Bench, login: &str) -> Value {
    let answer = ask(bench, login, "GET /v1/login", &Value::Null).await;
    assert_eq!(answer.status, 200);
    answer.json()
}

async fn with_alice() -> Bench {
    let bench = Bench::new();
    let body = json!({"name": "alice", "project": PROJECT, "role": "member", "password": PASSWORD});
    assert_eq!(bench.call("POST /v1/users", body.to_string()).await.status, 201);
    bench
}

fn alice() -> Value {
    json!({"user": "alice", "password": PASSWORD})
}

fn keystone(cloud: &Cloud) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.conf");
    std::fs::write(&file, cloud.login("keystone_authtoken")).unwrap();
    let sources = Sources { files: vec![file], ..Sources::default() };
    let auth = serialproxy_config::load(&sources).unwrap().config.keystone_authtoken;
    Bench::with(Fake::default(), &config(), Auth::from(Keystone::new(&auth).unwrap()))
}

#[tokio::test]
async fn a_user_logs_in_with_a_password_and_out() {
    let bench = with_alice().await;
    let methods = json!(["password", "token", "link"]);
    let nobody = json!({"caller": null, "methods": methods, "keystone": false});
    assert_eq!(who(&bench, "").await, nobody);
    let login = secret(&bench, alice()).await;
    let caller =
        json!({"user": "alice", "project": PROJECT, "project_name": PROJECT, "role": "member"});
    assert_eq!(who(&bench, &login).await["caller"], caller);
    assert_eq!(status(&bench, &login).await, 200);
    assert_eq!(ask(&bench, &login, "DELETE /v1/login", &Value::Null).await.status, 204);
    assert_eq!(who(&bench, &login).await, nobody);
    assert_eq!(
        status(&bench, &login).await,
        401,
        "a cookie that was stolen before is worth nothing"
    );
    assert_eq!(ask(&bench, &login, "DELETE /v1/login", &Value::Null).await.status, 204);
}

#[tokio::test]
async fn a_wrong_password_is_refused_in_words_for_people() {
    let bench = with_alice().await;
    for body in [
        json!({"user": "alice", "password": "wrong horse"}),
        json!({"user": "mallory", "password": PASSWORD}),
    ] {
        let answer = log_in(&bench, body).await;
        answer.is_fault(401, "unauthorized", "the user name or the password is wrong");
        assert!(!answer.headers.contains_key(PAGE_LOGIN));
    }
    log_in(&bench, json!({"token": "wrong"})).await.is_fault(
        401,
        "unauthorized",
        "this token is wrong",
    );
    for body in [json!({}), json!({"user": "alice"}), json!({"code": "a", "token": "b"})] {
        log_in(&bench, body).await.is_fault(400, "badRequest", "expected either code, or token");
    }
}

#[tokio::test]
async fn a_new_password_ends_the_logins_with_the_old_one() {
    let bench = with_alice().await;
    let login = secret(&bench, alice()).await;
    let body = json!({"password": "battery staple"}).to_string();
    assert_eq!(bench.call("PUT /v1/users/alice/password", body).await.status, 204);
    assert_eq!(status(&bench, &login).await, 401);
}

#[tokio::test]
async fn a_login_with_a_token_ends_with_the_token_and_the_token_does_not_end_with_the_login() {
    let bench = Bench::new();
    let body = json!({"name": "ci", "project": PROJECT, "role": "reader"}).to_string();
    let token = bench.call("POST /v1/tokens", body).await.json()["secret"].clone();
    let login = secret(&bench, json!({"token": token})).await;
    assert_eq!(who(&bench, &login).await["caller"]["role"], "reader");
    assert_eq!(ask(&bench, &login, "DELETE /v1/login", &Value::Null).await.status, 204);
    let token_text = token.as_str().unwrap();
    assert_eq!(bench.call_as(token_text, "GET /v1/servers", "").await.status, 200);
    let login = secret(&bench, json!({"token": token})).await;
    assert_eq!(bench.call("DELETE /v1/tokens/ci", "").await.status, 204);
    assert_eq!(status(&bench, &login).await, 401);
}

#[tokio::test]
async fn neither_the_store_nor_the_login_shows_the_token_and_the_login_is_no_token() {
    let bench = Bench::new();
    let login = secret(&bench, json!({"token": ADMIN})).await;
    assert_ne!(login, ADMIN);
    assert_eq!(status(&bench, &login).await, 200);
    for text in [login.clone(), format!("page%0a{login}")] {
        assert_eq!(bench.call_as(&text, "GET /v1/servers", "").await.status, 401);
    }
    assert_eq!(status(&bench, ADMIN).await, 401, "a token is no login");
    assert!(
        bench
            .grants
            .api_token(TokenDigest::of(&login), jiff::Timestamp::now())
            .await
            .unwrap()
            .is_none()
    );
    for file in std::fs::read_dir(bench.directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&login) && !text.contains(ADMIN));
    }
}

#[tokio::test]
async fn a_token_in_a_header_takes_precedence_over_the_login() {
    let bench = with_alice().await;
    let login = secret(&bench, alice()).await;
    let request = Request::get("/v1/login").header("host", "api.example:8774");
    let request = request.header(PAGE_LOGIN, &login).header("x-auth-token", ADMIN);
    let answer = bench.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.json()["caller"]["user"], "admin");
}

#[tokio::test]
async fn the_code_of_a_link_logs_the_page_in_once() {
    let bench = Bench::new();
    let url = bench.call("POST /v1/login-links", "").await.json()["url"].clone();
    let code = url.as_str().unwrap().split_once("#login=").unwrap().1.to_owned();
    let login = secret(&bench, json!({"code": code})).await;
    assert_eq!(who(&bench, &login).await["caller"]["role"], "admin");
    log_in(&bench, json!({"code": code})).await.is_fault(401, "unauthorized", "was used before");
    let again = ask(&bench, &login, "POST /v1/login-links", &Value::Null).await;
    assert_eq!(again.status, 403, "a login makes no other logins");
}

#[tokio::test]
async fn each_login_has_a_secret_of_its_own() {
    let bench = with_alice().await;
    let first = secret(&bench, alice()).await;
    let second = ask(&bench, &first, LOGIN, &alice()).await;
    assert!(!second.headers.contains_key(PAGE_LOGIN), "the secret that came is not kept");
    assert_ne!(secret(&bench, alice()).await, first);
}

#[tokio::test]
async fn with_keystone_a_password_and_a_token_log_in_and_a_revoked_token_ends_the_login() {
    let cloud = Cloud::start().await;
    let bench = keystone(&cloud);
    cloud.add_user("alice", PASSWORD, PROJECT, "member");
    let methods = json!({"caller": null, "methods": ["password", "token"], "keystone": true});
    assert_eq!(who(&bench, "").await, methods);

    let body =
        json!({"user": "alice", "password": PASSWORD, "project": format!("name-of-{PROJECT}")});
    let login = secret(&bench, body).await;
    let caller = who(&bench, &login).await["caller"].clone();
    assert_eq!(caller["project_name"], format!("name-of-{PROJECT}"));
    assert_eq!(caller["project"], PROJECT);
    assert_eq!(status(&bench, &login).await, 200);

    let wrong =
        json!({"user": "alice", "password": "wrong", "project": format!("name-of-{PROJECT}")});
    log_in(&bench, wrong).await.is_fault(401, "unauthorized", "the user name or the password");
    assert_eq!(log_in(&bench, json!({"code": "00"})).await.status, 404);

    let token = cloud.user_token("bob", PROJECT, &["reader"]);
    let login = secret(&bench, json!({"token": token})).await;
    assert!(!login.contains(&token));
    assert_eq!(who(&bench, &login).await["caller"]["user"], "bob");
    cloud.expire(&token);
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    tokio::time::resume();
    assert_eq!(status(&bench, &login).await, 401);
}

#[tokio::test]
async fn under_noauth_there_is_no_login_and_everybody_is_an_administrator() {
    let bench = Bench::with(Fake::default(), &config(), Auth::Noauth);
    let state = who(&bench, "x").await;
    assert_eq!(state["caller"]["role"], "admin");
    assert_eq!(state["methods"], json!([]));
    assert_eq!(log_in(&bench, json!({"token": "x"})).await.status, 404);
}

#[tokio::test]
async fn outside_of_a_page_a_password_gets_a_token_and_a_token_nothing() {
    let bench = with_alice().await;
    let login = bench.call_as("", LOGIN, alice().to_string()).await;
    assert_eq!(login.status, 201);
    let token = login.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(bench.call_as(&token, "GET /v1/servers", "").await.status, 200);
    let body = json!({"token": token}).to_string();
    assert_eq!(bench.call_as("", LOGIN, body).await.status, 400);
}
