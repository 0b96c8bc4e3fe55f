//! The configurations of `docs/proxies.md`, in the real reverse proxies: pages and sessions come through,
//! serialproxy sees the user's address, and no log has the token.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::net::SocketAddr;

use rustix::process::Signal;
use serialproxy_e2e::address::free_port;
use serialproxy_e2e::eventually;
use serialproxy_e2e::front::Front;
use serialproxy_e2e::front::USER;
use serialproxy_e2e::front::document;
use serialproxy_e2e::front::replaced;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::rig::Rig;

/// The reverse proxies are at 127.0.0.1.
const TRUSTED: &str = "--proxy-trusted_proxies=127.0.0.1";

/// Seconds that an idle connection has to be kept: three pings.
const IDLE: u32 = 60;

/// What the document has of a program: the blocks of its language, in their order.
fn blocks(language: &str) -> Vec<String> {
    let (text, fence) = (document(), format!("```{language}\n"));
    let blocks = text.split(&fence).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The address of the only session.
async fn address(rig: &Rig) -> String {
    eventually(async || {
        let sessions = rig.server.get("/v1/sessions").await.json;
        let [session] = &sessions["sessions"].as_array().unwrap()[..] else { return None };
        let address = session["address"].as_str().unwrap();
        // The port is known where the user's own connection is.
        let with_port = address.parse::<SocketAddr>();
        Some(with_port.map_or_else(|_| address.to_owned(), |address| address.ip().to_string()))
    })
    .await
}

/// A session through the reverse proxy types and reads, and is the user's, whatever its headers say.
async fn converse(front: &Front, rig: &mut Rig, pki: &Pki, protocol: Option<&str>) -> String {
    let origin = format!("https://{}", front.address);
    let mut headers = vec![
        ("origin", origin.as_str()),
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1;proto=http"),
    ];
    headers.extend(protocol.map(|protocol| ("sec-websocket-protocol", protocol)));
    let token = rig.token("").await;
    let mut socket = front.socket(pki, &format!("/?token={token}"), &headers).await;
    socket.send("typed").await;
    assert_eq!(rig.guest.typed(5).await, b"typed");
    rig.guest.print(b"printed").await;
    socket.output_with(b"printed").await;
    assert_eq!(address(rig).await, USER);
    socket.leave().await;
    rig.deserted().await;
    token
}

/// All of it. The log has these words for a page and for sessions, and this before a status.
async fn holds(name: &str, config: &str, mut rig: Rig, (words, before): ([&str; 2], &str)) {
    let pki = Pki::new();
    let mut front = Front::start(name, config, &rig.server.proxy, &pki).await;
    let mut tokens = vec![rig.token("").await];
    let (status, page) = front.page(&format!("/serial.html?token={}", tokens[0])).await;
    assert!(status == 200 && page.contains("<title>"), "{status} {page}");
    assert_eq!(front.page("/healthz").await.0, 200);
    for protocol in [None, Some("console.v1")] {
        tokens.push(converse(&front, &mut rig, &pki, protocol).await);
    }
    front.logs(&words).await;
    // What it says about a request that fails.
    rig.server.signal(Signal::KILL);
    rig.server.ended().await;
    let (status, _) = front.page(&format!("/serial.html?token={}", tokens[0])).await;
    assert!((502..=504).contains(&status), "{status}");
    front.logs(&[&format!("{before}{status}")]).await;
    let log = front.stop().await;
    for word in tokens.iter().map(String::as_str).chain(["token="]) {
        assert!(!log.contains(word), "{word} in: {log}");
    }
}

/// The values of this option, in seconds.
fn seconds(config: &str, option: &str) -> Vec<u32> {
    let values = config.lines().filter_map(|line| line.trim().strip_prefix(option));
    let value = |value: &str| value.trim().trim_end_matches([';', 's']).parse().unwrap();
    values.map(value).collect()
}

#[test]
fn no_configuration_ends_an_idle_session() {
    for (language, options) in [
        ("haproxy", vec!["timeout client", "timeout server", "timeout tunnel"]),
        ("nginx", vec!["proxy_read_timeout", "proxy_send_timeout"]),
        ("apache", vec!["ProxyTimeout"]),
    ] {
        let config = &blocks(language)[0];
        for option in options {
            let found = seconds(config, option);
            assert!(!found.is_empty() && found.iter().all(|value| *value >= IDLE), "{option}");
        }
    }
    // It has no such timeout.
    assert!(!blocks("caddy").concat().contains("timeout"));
}

#[tokio::test]
async fn haproxy_passes_users_on() {
    let rig = Rig::start(&[TRUSTED]).await;
    let words = (["GET /serial.html", " 101 "], " ");
    holds("haproxy", &blocks("haproxy")[0], rig, words).await;
}

#[tokio::test]
async fn haproxy_passes_users_on_to_one_of_several_proxies_that_serves() {
    let rig = Rig::start(&[TRUSTED]).await;
    let [whole, several, ..] = &blocks("haproxy")[..] else { panic!("it is not there") };
    let (before, _) = whole.split_once("\nbackend serialproxy").unwrap();
    let gone = format!("127.0.0.1:{}", free_port());
    let several = replaced(several, "192.0.2.21:6083", &gone);
    let several = replaced(&several, "192.0.2.22:6083", &rig.server.proxy);
    let words = (["GET /serial.html", " 101 "], " ");
    holds("haproxy", &format!("{before}\n{several}"), rig, words).await;
}

#[tokio::test]
async fn haproxy_names_users_whose_tls_it_does_not_open() {
    let (pki, flags) = (Pki::new(), [TRUSTED, "--proxy-proxy_protocol=accept"]);
    let mut rig = Rig::start_with(Some(Pki::new()), &flags).await;
    let [whole, _, tcp] = &blocks("haproxy")[..] else { panic!("it is not there") };
    let (before, _) = whole.split_once("\nfrontend console").unwrap();
    let front = Front::start("haproxy", &format!("{before}\n{tcp}"), &rig.server.proxy, &pki).await;
    let own = rig.pki.take().unwrap();
    for protocol in [None, Some("console.v1")] {
        converse(&front, &mut rig, &own, protocol).await;
    }
}

#[tokio::test]
async fn nginx_passes_users_on() {
    let rig = Rig::start(&[TRUSTED]).await;
    let words = (["GET /serial.html", "\" 101 "], "\" ");
    holds("nginx", &blocks("nginx")[0], rig, words).await;
}

#[tokio::test]
async fn caddy_passes_users_on() {
    let rig = Rig::start(&[TRUSTED]).await;
    let words = (["\"uri\":\"/serial.html\"", "\"uri\":\"/\""], "\"status\":");
    holds("caddy", &blocks("caddy")[0], rig, words).await;
}

#[tokio::test]
async fn apache_passes_users_on() {
    let rig = Rig::start(&[TRUSTED]).await;
    let words = (["GET /serial.html", "\" 101 "], "\" ");
    holds("apache", &blocks("apache")[0], rig, words).await;
}
