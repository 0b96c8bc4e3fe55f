//! Logging in at the page, and what others can do with the cookie; with the real program. What a person sees is in
//! `web/e2e/places.mjs`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "that is how a test fails"
)]

use reqwest::Method;
use reqwest::Response;
use rustix::process::Signal;
use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::address;
use serialproxy_e2e::metrics::Metrics;
use serialproxy_e2e::page::tell;
use serialproxy_e2e::relay::Relay;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::server::http;
use serialproxy_e2e::within;

const PASSWORD: &str = "correct horse";

/// A browser's call at the proxy's port: with this origin, if a page makes it, and this cookie.
async fn ask(
    proxy: &str,
    (method, path): (Method, &str),
    (origin, cookie): (&str, &str),
    body: Value,
) -> Response {
    let mut call = http().build().unwrap().request(method, format!("http://{proxy}{path}"));
    if !origin.is_empty() {
        call = call.header("Origin", origin);
    }
    if !cookie.is_empty() {
        call = call.header("Cookie", cookie);
    }
    if !body.is_null() {
        call = call.header("Content-Type", "application/json").body(body.to_string());
    }
    within(call.send()).await.unwrap()
}

/// The cookie of a login, and its attributes.
async fn log_in(server: &Server, body: Value) -> Result<(String, String), u16> {
    let own = format!("http://{}", server.proxy);
    let answer = ask(&server.proxy, (Method::POST, "/v1/login"), (&own, ""), body).await;
    let Some(cookie) = answer.headers().get("set-cookie") else {
        return Err(answer.status().as_u16());
    };
    let (cookie, attributes) = cookie.to_str().unwrap().split_once("; ").unwrap();
    Ok((cookie.to_owned(), attributes.to_owned()))
}

async fn status(server: &Server, cookie: &str) -> u16 {
    let answer = ask(&server.proxy, (Method::GET, "/v1/servers"), ("", cookie), Value::Null).await;
    answer.status().as_u16()
}

async fn with_alice() -> Server {
    let server =
        Server::start(&address::fixed().iter().map(String::as_str).collect::<Vec<_>>()).await;
    let alice = json!({"name": "alice", "project": "p", "role": "member", "password": PASSWORD});
    assert_eq!(server.post("/v1/users", &alice.to_string()).await.status, 201);
    server
}

fn alice() -> Value {
    json!({"user": "alice", "password": PASSWORD})
}

#[tokio::test]
async fn a_login_is_kept_over_a_restart_and_a_stolen_cookie_is_worth_nothing_after_the_logout() {
    let mut server = with_alice().await;
    let (cookie, attributes) = log_in(&server, alice()).await.unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
    assert_eq!(status(&server, &cookie).await, 200);
    server.signal(Signal::TERM);
    let server = server.restart().await;
    assert_eq!(status(&server, &cookie).await, 200);
    let own = format!("http://{}", server.proxy);
    let logout = (Method::DELETE, "/v1/login");
    let answer = ask(&server.proxy, logout, (&own, &cookie), Value::Null).await;
    assert_eq!(answer.status(), 204);
    assert!(answer.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(status(&server, &cookie).await, 401);
    let log = server.log();
    assert!(!log.contains(cookie.split_once('=').unwrap().1), "{log}");
}

#[tokio::test]
async fn a_page_of_another_origin_can_do_nothing_with_the_cookie() {
    let server = with_alice().await;
    let (cookie, _) = log_in(&server, alice()).await.unwrap();
    let port = server.proxy.rsplit_once(':').unwrap().1;
    let sibling = format!("http://evil.127.0.0.1:{port}");
    let secure = format!("https://{}", server.proxy);
    let console = "/v3/servers/a3b7c1d2-0000-4000-8000-000000000003/get-serial-console";
    for origin in ["http://evil.example", &sibling, &secure, "http://127.0.0.1:1", "null", ""] {
        for call in [(Method::POST, console), (Method::DELETE, "/v1/sessions/x")] {
            let answer = ask(&server.proxy, call, (origin, &cookie), Value::Null).await;
            assert_eq!(answer.status(), 403, "{origin}");
        }
        if !origin.is_empty() {
            let login = (Method::POST, "/v1/login");
            let answer = ask(&server.proxy, login, (origin, ""), alice()).await;
            assert_eq!(answer.status(), 403, "{origin}");
            assert!(!answer.headers().contains_key("set-cookie"));
        }
    }
    let own = format!("http://{}", server.proxy);
    let answer = ask(&server.proxy, (Method::POST, console), (&own, &cookie), Value::Null).await;
    assert_eq!(answer.status(), 404, "the page's own call is let in: there is no such server");
}

#[tokio::test]
async fn the_secret_of_an_attacker_is_not_taken_over_and_no_link_works_twice() {
    let server = with_alice().await;
    let link = server.post("/v1/login-links", "").await.json["url"].as_str().unwrap().to_owned();
    let code = json!({"code": link.split_once("#login=").unwrap().1});
    let (cookie, _) = log_in(&server, code.clone()).await.unwrap();
    assert_eq!(log_in(&server, code).await, Err(401));
    // A login with a cookie that somebody planted gets another secret.
    let own = format!("http://{}", server.proxy);
    let answer = ask(&server.proxy, (Method::POST, "/v1/login"), (&own, &cookie), alice()).await;
    let fresh = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(!fresh.contains(&cookie));
    // Two cookies of the name: somebody else set one.
    assert_eq!(status(&server, &format!("{cookie}; {cookie}")).await, 401);
}

#[tokio::test]
async fn logins_are_recorded_and_counted() {
    let server = with_alice().await;
    log_in(&server, alice()).await.unwrap();
    assert_eq!(log_in(&server, json!({"user": "alice", "password": "wrong"})).await, Err(401));
    assert_eq!(log_in(&server, json!({"token": "wrong"})).await, Err(401));
    log_in(&server, json!({"token": server.admin_token()})).await.unwrap();
    let metrics = Metrics::of(&server.api).await;
    assert_eq!(metrics.get("login_failures_total"), 2.0);
    let events = within(async {
        loop {
            let events = server.get("/v1/audit?limit=100").await.json.to_string();
            if events.matches("\"login.succeeded\"").count() == 2 {
                return events;
            }
        }
    })
    .await;
    assert_eq!(events.matches("\"login.failed\"").count(), 2, "{events}");
    assert!(!events.contains(PASSWORD) && !events.contains(&server.admin_token()), "{events}");
}

#[tokio::test]
async fn a_console_has_an_address_for_whoever_is_logged_in() {
    let relay = Relay::new("switch").await;
    let own = [&address::fixed()[..], &relay.flag()].concat();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let grace = ["--session-ping_interval", "1", "--session-grace", "3"];
    let server = Server::start(&[&own[..], &grace].concat()).await;
    let alice =
        json!({"name": "alice", "project": "admin", "role": "member", "password": PASSWORD});
    assert_eq!(server.post("/v1/users", &alice.to_string()).await.status, 201);
    let story = json!({
        "api": server.api,
        "proxy": format!("http://{}/", server.proxy),
        "token": server.admin_token(),
        "password": PASSWORD,
        "server": relay.server(),
        "guest": relay.guest(),
    });
    tell("places.mjs", story).await;
    let log = server.log();
    assert!(!log.contains(PASSWORD), "{log}");
}
