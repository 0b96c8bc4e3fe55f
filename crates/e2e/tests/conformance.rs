//! What Nova's own tests want of its proxy, of ours, each under the name that it has there
//! (`nova/tests/unit/console/test_websocketproxy.py`, `unit/cmd/test_baseproxy.py`), and what real clients
//! of it send and take.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::net::SocketAddr;

use serialproxy_e2e::eventually;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::program;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;

/// Attaches as a page of this origin.
async fn open_from(rig: &Rig, origin: &str, more: &[(&str, &str)]) -> Socket {
    let path = format!("/?token={}", rig.token("").await);
    Socket::open(&rig.server.proxy, &path, &[&[("origin", origin)], more].concat()).await
}

/// What the session types arrives at the guest.
async fn assert_attached(rig: &mut Rig, mut socket: Socket) {
    socket.send("x").await;
    assert_eq!(rig.guest.typed(1).await, b"x");
    socket.leave().await;
    rig.deserted().await;
}

#[tokio::test]
async fn test_new_websocket_client() {
    let mut rig = Rig::start(&[]).await;
    let token = rig.token("").await;
    let mut socket = Socket::raw(&rig.server.proxy, &token).await;
    rig.guest.print(b"login: ").await;
    assert_eq!(socket.output_with(b": ").await, b"login: ");
    assert_attached(&mut rig, socket).await;
    let log = rig.server.log();
    assert!(log.contains("session attached") && !log.contains(&token), "{log}");
}

#[tokio::test]
async fn test_new_websocket_client_ipv6_url() {
    let mut rig = Rig::start(&["--serial_console-serialproxy_host", "::1"]).await;
    assert!(rig.server.proxy.starts_with("[::1]:"), "{}", rig.server.proxy);
    let socket = open_from(&rig, "http://[::1]:6080", &[]).await;
    assert_attached(&mut rig, socket).await;
    let (status, reason) = rig.refused("", &[("origin", "http://[::2]:6080")]).await;
    assert_eq!(status, 403, "{reason}");
}

#[tokio::test]
async fn test_new_websocket_client_token_invalid() {
    let rig = Rig::start(&[]).await;
    for token in ["XXX", "", &uuid::Uuid::new_v4().to_string()] {
        let path = format!("/?token={token}");
        assert_eq!(Socket::refused(&rig.server.proxy, &path, &[]).await.status, 401, "{token}");
    }
}

#[tokio::test]
async fn test_no_compute_rpcapi_with_invalid_token() {
    // Who has no token learns nothing of origins, modes or lines.
    let rig = Rig::start(&[]).await;
    let _writer = rig.raw().await;
    let plain = Socket::refused(&rig.server.proxy, "/?token=XXX", &[]).await;
    let foreign = [("origin", "http://bad-origin-example.com")];
    let asking = Socket::refused(&rig.server.proxy, "/?token=XXX&mode=write", &foreign).await;
    assert_eq!((asking.status, asking.reason), (401, plain.reason));
}

#[tokio::test]
async fn test_new_websocket_client_novnc_bad_origin_header() {
    let rig = Rig::start(&[]).await;
    let (status, reason) =
        rig.refused("", &[("origin", "https://bad-origin-example.net:6080")]).await;
    assert_eq!(status, 403);
    assert!(reason.contains("bad-origin-example.net"), "{reason}");
}

#[tokio::test]
async fn test_new_websocket_client_novnc_allowed_origin_header() {
    let flags = ["--console-allowed_origins", "allowed-origin-example-1.net,dashboard.example"];
    let mut rig = Rig::start(&flags).await;
    for origin in ["http://allowed-origin-example-1.net", "http://Dashboard.example:8080"] {
        let offer = [("sec-websocket-protocol", "binary, base64")];
        let socket = open_from(&rig, origin, &offer).await;
        assert_attached(&mut rig, socket).await;
    }
}

#[tokio::test]
async fn test_new_websocket_client_novnc_blank_origin_header() {
    let rig = Rig::start(&[]).await;
    for origin in ["", "null"] {
        let (status, reason) = rig.refused("", &[("origin", origin)]).await;
        assert_eq!((status, reason.as_str()), (403, "the Origin header is not valid"));
    }
}

#[tokio::test]
async fn test_new_websocket_client_novnc_no_origin_header() {
    let mut rig = Rig::start(&["--serial_console-base_url", "wss://console.example/"]).await;
    let socket = rig.raw().await;
    assert_attached(&mut rig, socket).await;
}

#[tokio::test]
async fn test_new_websocket_client_novnc_https_origin_proto_http() {
    let rig = Rig::start(&["--serial_console-base_url", "http://127.0.0.1:6080"]).await;
    let (status, reason) = rig.refused("", &[("origin", "https://127.0.0.1:6080")]).await;
    assert_eq!(status, 403);
    assert!(reason.contains("https") && reason.contains("want http"), "{reason}");
}

#[tokio::test]
async fn test_new_websocket_client_novnc_https_origin_proto_ws() {
    let mut rig = Rig::start(&["--serial_console-base_url", "ws://127.0.0.1:6080"]).await;
    assert_eq!(rig.refused("", &[("origin", "https://127.0.0.1:6080")]).await.0, 403);
    let socket = open_from(&rig, "http://127.0.0.1:6080", &[]).await;
    assert_attached(&mut rig, socket).await;
}

#[tokio::test]
async fn test_new_websocket_client_http_forwarded_proto_https() {
    let mut rig = Rig::start(&["--serial_console-base_url", "wss://127.0.0.1/path"]).await;
    let forwarded = [("x-forwarded-proto", "https")];
    let socket = open_from(&rig, "http://127.0.0.1:6080", &forwarded).await;
    assert_attached(&mut rig, socket).await;
    assert_eq!(rig.refused("", &[("origin", "http://127.0.0.1:6080")]).await.0, 403);
}

#[tokio::test]
async fn test_malformed_cookie() {
    let mut rig = Rig::start(&[]).await;
    let cookie = format!("?=!; []=?; token=\"{}\"; x", rig.token("").await);
    let socket = Socket::open(&rig.server.proxy, "/", &[("cookie", cookie.as_str())]).await;
    assert_attached(&mut rig, socket).await;
    assert!(!rig.server.log().contains("?=!"));
}

/// Requests over one connection, each without an upgrade but perhaps the last; the answers.
async fn answers(proxy: &str, requests: &str) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    within(stream.read_to_end(&mut answers)).await.unwrap();
    String::from_utf8_lossy(&answers).into_owned()
}

#[tokio::test]
async fn test_reject_open_redirect() {
    let rig = Rig::start(&[]).await;
    assert_no_redirect(&rig, "//example.com/%2F..").await;
}

#[tokio::test]
async fn test_reject_open_redirect_3_slashes() {
    let rig = Rig::start(&[]).await;
    assert_no_redirect(&rig, "///example.com/%2F..").await;
}

async fn assert_no_redirect(rig: &Rig, path: &str) {
    for upgrade in ["", "Upgrade: websocket\r\n"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{upgrade}\r\n");
        let answer = answers(&rig.server.proxy, &request).await.to_lowercase();
        assert!(answer.starts_with("http/1.1 400 "), "{answer}");
        assert!(!answer.contains("location:"), "{answer}");
    }
}

/// The head of a handshake.
fn handshake(token: &str, host: &str, origin: &str) -> String {
    format!(
        "GET /?token={token} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[tokio::test]
async fn test_host_header_does_not_poison_allowed_origins() {
    let rig = Rig::start(&[]).await;
    let token = rig.token("").await;
    // A page of evil.example that asks for evil.example gets in, and changes nothing for others.
    let mut stream = TcpStream::connect(&rig.server.proxy).await.unwrap();
    let own = handshake(&token, "evil.example", "http://evil.example");
    stream.write_all(own.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    within(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    drop(stream);
    rig.deserted().await;
    assert_eq!(rig.refused("", &[("origin", "http://evil.example")]).await.0, 403);
}

#[tokio::test]
async fn test_previous_host_does_not_bypass_origin_check() {
    let rig = Rig::start(&[]).await;
    let token = rig.token("").await;
    // On one connection, too.
    let page = "GET /serial.html HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let attach = handshake(&token, &rig.server.proxy, "http://evil.example");
    let answers = answers(&rig.server.proxy, &format!("{page}{attach}")).await;
    assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
    assert!(
        answers.contains("\r\nx-console-reason: a page from evil.example may not"),
        "{answers}"
    );
}

#[tokio::test]
async fn test_address_string_doesnt_do_reverse_dns_lookup() {
    let rig = Rig::start(&[]).await;
    let _socket = rig.raw().await;
    let sessions = rig.server.get("/v1/sessions").await.json;
    let address = sessions["sessions"][0]["address"].as_str().unwrap();
    assert!(address.parse::<SocketAddr>().unwrap().ip().is_loopback(), "{address}");
    let log = rig.server.log();
    assert!(log.contains(&format!("address=\"{address}\"")), "{log}");
}

#[tokio::test]
async fn test_enforce_session_timeout_timer_called() {
    let flags = ["--consoleauth-enforce_session_timeout=true", "--consoleauth-token_ttl", "2"];
    let rig = Rig::start(&flags).await;
    assert_eq!(rig.raw().await.closed().await.0, 4008);
}

#[tokio::test]
async fn test_enforce_session_timeout_timer_not_called() {
    let mut rig = Rig::start(&["--consoleauth-token_ttl", "3"]).await;
    let token = rig.token("").await;
    let socket = Socket::raw(&rig.server.proxy, &token).await;
    // A token is looked at before whether the line is busy.
    eventually(async || {
        let path = format!("/?token={token}");
        (Socket::refused(&rig.server.proxy, &path, &[]).await.status == 401).then_some(())
    })
    .await;
    assert_attached(&mut rig, socket).await;
}

/// What the program says that cannot start with these flags.
async fn complaint(flags: &[&str]) -> String {
    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command.args(["serve", "--state-dir", state.path().to_str().unwrap()]).args(flags);
    let run = command.current_dir(state.path()).kill_on_drop(true).output();
    let output = within(run).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn test_proxy_ssl_without_cert() {
    let error = complaint(&["--serial_console-ssl_only"]).await;
    assert!(error.contains("ssl_only") && error.contains("self.pem"), "{error}");
}

#[tokio::test]
async fn test_proxy_web_dir_does_not_exist() {
    let error = complaint(&["--serial_console-web", "/my/fake/webserver/"]).await;
    assert!(error.contains("/my/fake/webserver/") && error.contains("web"), "{error}");
}

#[tokio::test]
async fn test_novnc_bad_token() {
    let rig = Rig::start(&[]).await;
    let refused = Socket::refused(&rig.server.proxy, "/websockify?token=bad", &[]).await;
    assert_eq!((refused.status, refused.body), (401, 0), "no data comes after the head");
}

#[tokio::test]
async fn the_token_comes_in_the_query_or_a_cookie_on_any_path_as_tempest_sends_it() {
    let mut rig = Rig::start(&[]).await;
    let cookie = format!("other=1; token={}", rig.token("").await);
    let headers = [("cookie", cookie.as_str()), ("sec-websocket-protocol", "binary")];
    let socket = Socket::open(&rig.server.proxy, "/websockify", &headers).await;
    assert_attached(&mut rig, socket).await;
    let path = format!("/any/path?x=y&token=bad&token={}", rig.token("").await);
    let socket = Socket::open(&rig.server.proxy, &path, &[]).await;
    assert_attached(&mut rig, socket).await;
}

#[tokio::test]
async fn every_offer_of_subprotocols_seen_in_the_wild_is_answered_with_binary_or_with_none() {
    let rig = Rig::start(&[]).await;
    for (offer, chosen) in [
        ("", None),
        ("Sec-WebSocket-Protocol: binary\r\n", Some("binary")),
        ("Sec-WebSocket-Protocol: binary, base64\r\n", Some("binary")),
        ("Sec-WebSocket-Protocol: binary,base64\r\n", Some("binary")),
        ("Sec-WebSocket-Protocol: base64, binary\r\n", Some("binary")),
    ] {
        let head = handshake(&rig.token("").await, "a", "http://a");
        let head =
            head.replace("Upgrade: websocket\r\n", &format!("Upgrade: websocket\r\n{offer}"));
        let answer = head_of_answer(&rig, &head).await;
        assert!(answer.starts_with("http/1.1 101 "), "{offer}{answer}");
        let named = answer.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(named, chosen, "{offer}");
        rig.deserted().await;
    }
    let refused = rig.refused("", &[("sec-websocket-protocol", "base64")]).await;
    assert_eq!(refused.0, 400);
}

/// The head of an answer in lower case; the connection ends with it.
async fn head_of_answer(rig: &Rig, head: &str) -> String {
    let mut stream = TcpStream::connect(&rig.server.proxy).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(answer).unwrap().to_lowercase()
}

#[tokio::test]
async fn output_comes_in_binary_frames_byte_for_byte() {
    let mut rig = Rig::start(&[]).await;
    let mut socket = rig.raw().await;
    let all: Vec<u8> = (0..=255).collect();
    rig.guest.print(&all).await;
    let mut seen = Vec::new();
    while seen.len() < all.len() {
        let message = socket.next().await;
        assert!(message.is_binary(), "{message:?}");
        seen.extend_from_slice(message.as_payload());
    }
    assert_eq!(seen, all);
}

#[tokio::test]
async fn characters_that_are_printed_byte_by_byte_come_in_whole_frames() {
    let mut rig = Rig::start(&[]).await;
    let mut socket = rig.raw().await;
    let text = "Größe 漢字 €😀".repeat(50);
    // A machine that stops for longer than a character is waited for may cut one: not each time.
    eventually(async || {
        for byte in text.as_bytes() {
            rig.guest.print(&[*byte]).await;
        }
        let (mut seen, mut whole) = (Vec::new(), true);
        while seen.len() < text.len() {
            let message = socket.next().await;
            whole &= std::str::from_utf8(message.as_payload()).is_ok();
            seen.extend_from_slice(message.as_payload());
        }
        assert_eq!(seen, text.as_bytes());
        whole.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_token_attaches_again_and_again() {
    let mut rig = Rig::start(&[]).await;
    let token = rig.token("").await;
    for _ in 0..3 {
        let socket = Socket::raw(&rig.server.proxy, &token).await;
        assert_attached(&mut rig, socket).await;
    }
}
