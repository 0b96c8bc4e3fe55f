//! The WebSocket handshake (RFC 6455 section 4.2.1) and the Origin, with and without TLS.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use serialproxy_e2e::eventually;
use serialproxy_e2e::exchange::Head;
use serialproxy_e2e::exchange::KEY;
use serialproxy_e2e::exchange::ask;
use serialproxy_e2e::exchange::upgrade;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_proto::id::ServerId;

/// A program whose port accepts plain connections and TLS.
async fn start(flags: &[&str]) -> Rig {
    Rig::start_with(Some(Pki::new()), flags).await
}

/// The answers without and with TLS.
async fn answers(rig: &Rig, request: &str) -> [Head; 2] {
    let proxy = &rig.server.proxy;
    [ask(None, proxy, request).await, ask(rig.ca().as_deref(), proxy, request).await]
}

/// A correct handshake of a watcher; watchers do not exclude each other.
async fn handshake(rig: &Rig) -> String {
    upgrade(&rig.path("&mode=watch").await, &rig.server.proxy, &[])
}

/// Replacements for parts of a handshake that make it invalid. An unknown token would be a 401, so
/// any other status means that the token was not looked up.
const VIOLATIONS: [(&str, &str, u16); 37] = [
    ("GET ", "POST ", 405),
    ("GET ", "HEAD ", 405),
    ("GET ", "OPTIONS ", 405),
    ("HTTP/1.1", "HTTP/1.0", 400),
    ("Host: HOST\r\n", "", 400),
    ("Host: HOST\r\n", "Host: HOST\r\nHost: HOST\r\n", 400),
    ("Host: HOST\r\n", "Host: HOST\r\nhost: other.example\r\n", 400),
    ("Host: HOST\r\n", "Host:\r\n", 400),
    ("Host: HOST\r\n", "Host: user@HOST\r\n", 400),
    ("Host: HOST\r\n", "Host: HOST.evil.example\r\n", 400),
    ("Connection: Upgrade\r\n", "", 400),
    ("Connection: Upgrade\r\n", "Connection: keep-alive\r\n", 400),
    ("Connection: Upgrade\r\n", "Connection: upgraded\r\n", 400),
    ("Upgrade: websocket\r\n", "", 400),
    ("Upgrade: websocket\r\n", "Upgrade: websockets\r\n", 400),
    ("Upgrade: websocket\r\n", "Upgrade: h2c\r\n", 400),
    ("Sec-WebSocket-Key: KEY\r\n", "", 400),
    ("Sec-WebSocket-Key: KEY\r\n", "Sec-WebSocket-Key: KEY\r\nSec-WebSocket-Key: KEY\r\n", 400),
    ("KEY", "", 400),
    ("KEY", "dGhlIHNhbXBsZSBub25j", 400),
    ("KEY", "dGhlIHNhbXBsZSBub25jZTE=", 400),
    ("KEY", "dGhlIHNhbXBsZSBub25jZQ", 400),
    ("KEY", "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==", 400),
    ("KEY", "dGhl!HNhbXBsZSBub25jZQ==", 400),
    ("KEY", "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==", 400),
    ("Sec-WebSocket-Version: 13\r\n", "", 426),
    ("Version: 13", "Version: 7", 426),
    ("Version: 13", "Version: 8", 426),
    ("Version: 13", "Version: 12", 426),
    ("Version: 13", "Version: 14", 426),
    ("Version: 13", "Version: 999", 426),
    ("Version: 13", "Version: abc", 426),
    ("Version: 13", "Version: 013", 426),
    ("Version: 13", "Version: 13, 8", 426),
    ("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13", 426),
    ("\r\n\r\n", "\r\nOrigin: http://HOST\r\nOrigin: http://HOST\r\n\r\n", 400),
    ("\r\n\r\n", "\r\nOrigin: http://HOST\r\nOrigin: http://evil.example\r\n\r\n", 400),
];

#[tokio::test]
async fn a_handshake_is_refused_before_anything_is_looked_up_for_each_violation_of_the_rfc() {
    let rig = start(&[]).await;
    let whole = upgrade("/?token=unknown", "HOST", &[]).replace(KEY, "KEY");
    let fill = |text: &str| text.replace("KEY", KEY).replace("HOST", &rig.server.proxy);
    for head in answers(&rig, &fill(&whole)).await {
        assert_eq!((head.status, head.header("x-console-cause")), (401, Some("token")));
    }
    for (part, by, status) in VIOLATIONS {
        assert!(whole.contains(part), "{part}");
        let request = fill(&whole.replacen(part, by, 1));
        for head in answers(&rig, &request).await {
            assert_eq!(head.status, status, "{request}{head:?}");
            assert!(head.header("x-console-reason").is_some(), "{request}{head:?}");
            assert_eq!(head.header("x-console-cause"), Some("handshake"), "{request}{head:?}");
            let versions = head.header("sec-websocket-version");
            assert_eq!(versions, (status == 426).then_some("13"), "{request}");
            let methods = head.header("allow");
            assert_eq!(methods, (status == 405).then_some("GET"), "{request}");
        }
    }
}

#[tokio::test]
async fn a_handshake_is_taken_in_every_form_that_the_rfc_allows() {
    let rig = start(&[]).await;
    let whole = handshake(&rig).await;
    for (part, by) in [
        ("", ""),
        ("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nconnection: upgrade"),
        ("Upgrade: websocket", "Upgrade: WebSocket"),
        ("Upgrade: websocket", "Upgrade: h2c, websocket"),
        ("Host: 127.0.0.1", "HOST: localhost"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
    ] {
        let request = whole.replacen(part, by, 1);
        for head in answers(&rig, &request).await {
            assert_eq!(head.status, 101, "{request}{head:?}");
        }
    }
}

#[tokio::test]
async fn a_page_needs_one_host_as_well() {
    let rig = start(&[]).await;
    for (request, status) in [
        ("GET /serial.html HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /serial.html HTTP/1.0\r\n\r\n", 200),
        (
            "GET /serial.html HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            200,
        ),
        ("GET /serial.html HTTP/1.1\r\n\r\n", 400),
        ("GET /serial.html HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET /serial.html HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /serial.html HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET /v1/servers HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ] {
        for head in answers(&rig, request).await {
            assert_eq!(head.status, status, "{request}{head:?}");
        }
    }
}

/// The answers, without and with TLS, to handshakes with a valid token from pages of these origins.
async fn assert_origins(rig: &Rig, origins: &[(&str, [u16; 2])]) {
    let whole = handshake(rig).await;
    for (origin, wanted) in origins {
        let origin = origin.replace("HOST", &rig.server.proxy);
        let request = whole.replacen("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n"), 1);
        let status = answers(rig, &request).await.map(|head| head.status);
        assert_eq!(status, *wanted, "{origin}");
    }
}

#[tokio::test]
async fn a_page_of_the_proxy_itself_comes_by_its_scheme_and_port() {
    let rig = start(&[]).await;
    let origins = [
        ("http://HOST", [101, 403]),
        ("https://HOST", [403, 101]),
        ("HTTP://HOST", [101, 403]),
        ("http://127.0.0.1", [403, 403]),
        ("https://127.0.0.1:1", [403, 403]),
        ("http://HOST.evil.example", [403, 403]),
        ("https://HOST.evil.example", [403, 403]),
        ("http://HOST@evil.example", [403, 403]),
        ("http://HOST/", [403, 403]),
        ("http://HOST http://HOST", [403, 403]),
        ("http://evil.example", [403, 403]),
        ("HOST", [403, 403]),
        ("null", [403, 403]),
        ("", [403, 403]),
    ];
    assert_origins(&rig, &origins).await;
}

#[tokio::test]
async fn pages_of_the_console_urls_and_listed_ones_come_by_every_connection() {
    let base_url = "--serial_console-base_url=https://console.example/serial.html";
    let allowed = "--console-allowed_origins=dashboard.example,https://portal.example:8443";
    let rig = start(&[base_url, allowed]).await;
    let origins = [
        ("https://console.example", [101, 101]),
        ("https://console.example:443", [101, 101]),
        ("http://console.example", [403, 403]),
        ("http://dashboard.example", [101, 101]),
        ("https://dashboard.example:8443", [101, 101]),
        ("https://portal.example:8443", [101, 101]),
        ("https://portal.example", [403, 403]),
        ("http://HOST", [101, 403]),
    ];
    assert_origins(&rig, &origins).await;
}

#[tokio::test]
async fn a_refusal_and_what_is_told_of_a_line_name_no_path_of_the_server() {
    let server = Server::start(&["--static-line=switch unix:///nonexistent/secret.sock"]).await;
    let id = ServerId::of_static("switch").to_string();
    let line = eventually(async || {
        let line = server.line(&id, 0).await;
        (line["state"] == "failed").then_some(line)
    })
    .await;
    assert!(!line["reason"].as_str().unwrap().contains("secret"), "{line}");
    let token = server.token(&id, "?wait=1").await;
    let path = format!("/?token={token}&mode=watch");
    let head = ask(None, &server.proxy, &upgrade(&path, &server.proxy, &[])).await;
    assert_eq!(head.status, 502);
    let reason = head.header("x-console-reason").unwrap();
    assert!(reason.starts_with("unreachable: the guest's ") && !reason.contains('/'), "{reason}");
    let mut socket = Socket::v1(&server.proxy, &token, "").await;
    let hello = socket.message("hello").await;
    assert!(!hello["reason"].as_str().unwrap().contains('/'), "{hello}");
}

#[tokio::test]
async fn the_log_names_a_header_that_a_reverse_proxy_took_out() {
    let rig = start(&[]).await;
    let whole = upgrade("/?token=unknown&mode=watch", &rig.server.proxy, &[]);
    let upgrade = whole.lines().find(|line| line.to_ascii_lowercase().starts_with("upgrade:"));
    let stripped = whole.replace(&format!("{}\r\n", upgrade.unwrap()), "");
    assert_ne!(stripped, whole);
    ask(None, &rig.server.proxy, &stripped).await;
    eventually(async || {
        let log = rig.server.log();
        log.contains("Upgrade: websocket is missing: a reverse proxy").then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_is_refused_writes_little_into_the_log() {
    let rig = start(&[]).await;
    let whole = upgrade("/?token=unknown&mode=watch", &rig.server.proxy, &[]);
    let long = "é\u{1}".repeat(2000);
    let long: String = long.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let proxy = &rig.server.proxy;
    ask(None, proxy, &whole.replace("mode=watch", &format!("mode={long}"))).await;
    for _ in 0..100 {
        ask(None, proxy, &whole.replace("mode=watch", "mode=x")).await;
    }
    let method = "M".repeat(5000);
    for _ in 0..100 {
        let request = format!("{method} /v1/servers HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        ask(None, rig.server.api_address(), &request).await;
    }
    let log = rig.server.log();
    for words in ["attach refused", "MMMM"] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(words)).collect();
        assert!((1..=70).contains(&lines.len()), "{words}: {}", lines.len());
        let longest = lines.iter().map(|line| line.len()).max().unwrap();
        assert!(longest <= 512, "{words}: {longest}");
    }
}
