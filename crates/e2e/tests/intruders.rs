//! Refused clients: pages of other origins, guesses, and clients that send requests but do not
//! read.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use serialproxy_e2e::PATIENCE;
use serialproxy_e2e::connection::connect;
use serialproxy_e2e::eventually;
use serialproxy_e2e::exchange::KEY;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::http;
use serialproxy_e2e::server::program;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

/// How long a client may not read, with some reserve.
const UNREAD: Duration = Duration::from_secs(90);

const NOAUTH: [&str; 2] = ["--api-auth_strategy", "noauth"];

/// A program with or without TLS on both ports.
async fn start(tls: bool, flags: &[&str]) -> Rig {
    Rig::start_with(tls.then(Pki::new), flags).await
}

/// The two ports, as URLs.
fn places(rig: &Rig) -> [String; 2] {
    let scheme = if rig.pki.is_some() { "https" } else { "http" };
    [rig.server.api.clone(), format!("{scheme}://{}", rig.server.proxy)]
}

fn mint(rig: &Rig) -> String {
    format!("/v3/servers/{}/get-serial-console", rig.port.server())
}

/// The status of a call without a token.
async fn status(method: Method, url: String, headers: &[(&str, &str)]) -> u16 {
    let mut request = http().build().unwrap().request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    within(request.send()).await.unwrap().status().as_u16()
}

async fn a_foreign_page_mints_no_token(tls: bool) {
    let rig = start(tls, &NOAUTH).await;
    for place in places(&rig) {
        let mint = || format!("{place}{}", mint(&rig));
        assert_eq!(status(Method::POST, mint(), &[]).await, 202, "{place}");
        let own = [("origin", place.as_str())];
        assert_eq!(status(Method::POST, mint(), &own).await, 202, "{place}");
        for origin in ["http://evil.example", "null", &format!("{place}.evil.example")] {
            assert_eq!(status(Method::POST, mint(), &[("origin", origin)]).await, 403, "{origin}");
        }
        // A host name that was changed to our address (DNS rebinding) is the page's own origin.
        let rebound = [("host", "evil.example"), ("origin", "http://evil.example")];
        assert_eq!(status(Method::POST, mint(), &rebound).await, 403, "{place}");
        let read = status(Method::GET, format!("{place}/v1/servers"), &rebound[..1]).await;
        assert_eq!(read, 403, "{place}");
    }
}

#[tokio::test]
async fn a_foreign_page_mints_no_token_without_tls() {
    a_foreign_page_mints_no_token(false).await;
}

#[tokio::test]
async fn a_foreign_page_mints_no_token_with_tls() {
    a_foreign_page_mints_no_token(true).await;
}

#[tokio::test]
async fn a_relay_to_another_api_that_asks_nobody_keeps_its_guard() {
    let open = start(false, &NOAUTH).await;
    let near = start(false, &["--proxy-api_url", &open.server.api]).await;
    let place = format!("http://{}", near.server.proxy);
    let mint = || format!("{place}{}", mint(&open));
    assert_eq!(status(Method::POST, mint(), &[]).await, 202);
    let rebound = [("host", "evil.example")];
    assert_eq!(status(Method::POST, mint(), &rebound).await, 403);
    assert_eq!(status(Method::POST, mint(), &[("origin", "http://evil.example")]).await, 403);
    let forged = [("host", "evil.example"), ("serialproxy-client", "127.0.0.1:1 http localhost")];
    assert_eq!(status(Method::POST, mint(), &forged).await, 403);
}

#[tokio::test]
async fn the_users_port_answers_no_call_of_administrators_unless_it_is_told_to() {
    let rig = start(false, &[]).await;
    let token = rig.server.admin_token();
    let own = [("x-auth-token", token.as_str())];
    let url = |path: &str| format!("{}{path}", places(&rig)[1]);
    for path in ["/v1/users", "/v1/tokens"] {
        assert_eq!(status(Method::GET, url(path), &own).await, 403, "{path}");
        assert_eq!(rig.server.get(path).await.status, 200, "{path}");
    }
    assert_eq!(status(Method::GET, url("/v1/servers"), &own).await, 200);
    let told = start(false, &["--proxy-admin_calls"]).await;
    let token = told.server.admin_token();
    let url = format!("{}/v1/users", places(&told)[1]);
    assert_eq!(status(Method::GET, url, &[("x-auth-token", &token)]).await, 200);
}

#[tokio::test]
async fn an_api_that_asks_nobody_does_not_start_where_others_reach_it() {
    let state = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(program());
    command.args(["serve", "--api-listen", "0.0.0.0:0", "--state-dir"]).arg(state.path());
    let output = within(command.args(NOAUTH).output()).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("[api] auth_strategy") && said.contains("noauth_anywhere"), "{said}");

    let meant = ["--api-listen", "0.0.0.0:0", "--api-noauth_anywhere"];
    let rig = start(false, &[&NOAUTH[..], &meant].concat()).await;
    let warned = || rig.server.log().contains("everyone who reaches the API is an administrator");
    eventually(async || warned().then_some(())).await;
}

/// Tries a password for a user from an address; the status, or none while the attempt is delayed.
async fn try_password(place: &str, from: &str, user: &str) -> Option<u16> {
    let client = http().local_address(from.parse::<IpAddr>().unwrap()).build().unwrap();
    let call = client.get(format!("{place}/v1/servers")).basic_auth(user, Some("correct horse"));
    let answer = tokio::time::timeout(Duration::from_secs(4), call.send()).await;
    answer.ok().map(|answer| answer.unwrap().status().as_u16())
}

async fn whoever_guesses_waits_and_locks_nobody_out(tls: bool) {
    let rig = start(tls, &["--api-auth_strategy", "http_basic"]).await;
    let user = json!({
        "name": "alice", "project": "demo", "role": "reader", "password": "correct horse",
    });
    assert_eq!(rig.server.post("/v1/users", &user.to_string()).await.status, 201);
    for place in places(&rig) {
        // Each port has its own attacker.
        let own = if place == rig.server.api { "127.0.0.7" } else { "127.0.0.8" };
        let guesses = (0..64).map(|number| {
            let place = &place;
            async move { try_password(place, own, &format!("invented{}", number % 2)).await }
        });
        let answers = futures_util::future::join_all(guesses).await;
        let count = |status| answers.iter().filter(|answer| **answer == Some(status)).count();
        assert_eq!(count(200), 0);
        // Twenty attempts are checked, and one more each three seconds; the others are delayed or
        // refused.
        assert!(count(401) <= 24, "{place}: {answers:?}");
        assert!(count(429) > 0, "{place}: {answers:?}");
        assert_eq!(try_password(&place, "127.0.0.9", "alice").await, Some(200), "{place}");
    }
    let log = rig.server.log();
    for wanted in ["invented", "127.0.0.7", "127.0.0.8"] {
        assert!(log.contains(wanted), "{wanted} is not in the log");
    }
}

#[tokio::test]
async fn whoever_guesses_passwords_waits_and_locks_nobody_out_without_tls() {
    whoever_guesses_waits_and_locks_nobody_out(false).await;
}

#[tokio::test]
async fn whoever_guesses_passwords_waits_and_locks_nobody_out_with_tls() {
    whoever_guesses_waits_and_locks_nobody_out(true).await;
}

async fn whoever_guesses_tokens_waits(tls: bool) {
    // After two, each has to wait for half a minute.
    let rig = start(tls, &["--limits-failures_per_minute", "2"]).await;
    let [_, place] = places(&rig);
    let try_token = async |from: &str, within: Duration| {
        let client = http().local_address(from.parse::<IpAddr>().unwrap()).build().unwrap();
        let call = client.get(format!("{place}/?token=guessed"));
        let call = call.header("connection", "upgrade").header("upgrade", "websocket");
        let call = call.header("sec-websocket-version", "13");
        let call = call.header("sec-websocket-key", KEY);
        let answer = tokio::time::timeout(within, call.send()).await;
        answer.ok().map(|answer| answer.unwrap().status().as_u16())
    };
    for _ in 0..2 {
        assert_eq!(try_token("127.0.0.7", PATIENCE).await, Some(401));
    }
    let soon = Duration::from_secs(2);
    assert_eq!(try_token("127.0.0.7", soon).await, None, "it has to wait");
    assert_eq!(try_token("127.0.0.9", PATIENCE).await, Some(401), "others have not");
}

#[tokio::test]
async fn whoever_guesses_tokens_waits_without_tls() {
    whoever_guesses_tokens_waits(false).await;
}

#[tokio::test]
async fn whoever_guesses_tokens_waits_with_tls() {
    whoever_guesses_tokens_waits(true).await;
}

/// Sends requests without reading the answers, until the connection ends.
async fn ask_on(rig: &Rig, address: &str, path: &str) {
    let mut stream = connect(rig.ca().as_deref(), address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(100);
    let asking = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    let asked = tokio::time::timeout(UNREAD, asking).await;
    assert!(asked.is_ok(), "{address}: a client that reads nothing keeps its connection");
}

async fn who_reads_no_answers_loses_the_connection(tls: bool) {
    let rig = start(tls, &[]).await;
    let (api, proxy) = (rig.server.api_address(), &rig.server.proxy);
    tokio::join!(ask_on(&rig, api, "/v1/openapi.json"), ask_on(&rig, proxy, "/serial.html"));
}

#[tokio::test]
async fn who_reads_no_answers_loses_the_connection_without_tls() {
    who_reads_no_answers_loses_the_connection(false).await;
}

#[tokio::test]
async fn who_reads_no_answers_loses_the_connection_with_tls() {
    who_reads_no_answers_loses_the_connection(true).await;
}

async fn an_address_has_so_many_connections_to_the_api(tls: bool) {
    let rig = start(tls, &["--limits-connections_per_address", "4"]).await;
    let address = rig.server.api_address();
    let ask = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut open = Vec::new();
    let mut served = 0;
    for _ in 0..8 {
        let Ok(mut stream) = connect(rig.ca().as_deref(), address).await else { continue };
        let asked = stream.write_all(ask.as_bytes()).await;
        let answered = asked.is_ok() && matches!(within(stream.read(&mut [0; 12])).await, Ok(1..));
        served += usize::from(answered);
        open.push(stream);
    }
    assert_eq!(served, 4);
}

#[tokio::test]
async fn an_address_has_so_many_connections_to_the_api_without_tls() {
    an_address_has_so_many_connections_to_the_api(false).await;
}

#[tokio::test]
async fn an_address_has_so_many_connections_to_the_api_with_tls() {
    an_address_has_so_many_connections_to_the_api(true).await;
}
