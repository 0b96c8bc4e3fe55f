//! What clients of Nova's proxy send, accept, and need from ours. `websocketproxy.rs` has what
//! Nova's own tests require.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use serialproxy_e2e::eventually;
use serialproxy_e2e::exchange::ask;
use serialproxy_e2e::exchange::upgrade;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Checks that the session's input arrives at the guest.
async fn assert_attached(rig: &mut Rig, mut socket: Socket) {
    socket.send("x").await;
    assert_eq!(rig.guest.typed(1).await, b"x");
    socket.leave().await;
    rig.deserted().await;
}

#[tokio::test]
async fn a_request_before_on_the_same_connection_lets_no_foreign_page_in() {
    let rig = Rig::start(&[]).await;
    let page = "GET /serial.html HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let attach =
        upgrade(&rig.path("").await, &rig.server.proxy, &[("origin", "http://evil.example")]);
    let mut stream = TcpStream::connect(&rig.server.proxy).await.unwrap();
    stream.write_all(format!("{page}{attach}").as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    within(stream.read_to_end(&mut answers)).await.unwrap();
    let answers = String::from_utf8_lossy(&answers);
    assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
    let reason = "\r\nx-console-reason: a page from http://evil.example may not";
    assert!(answers.contains(reason), "{answers}");
}

#[tokio::test]
async fn with_enforced_timeout_a_session_ends_with_its_token() {
    let flags = ["--consoleauth-enforce_session_timeout=true", "--consoleauth-token_ttl", "4"];
    let rig = Rig::start(&flags).await;
    assert_eq!(rig.raw().await.closed().await.0, 4008);
}

#[tokio::test]
async fn without_it_a_session_goes_on_when_its_token_has_expired() {
    let mut rig = Rig::start(&["--consoleauth-token_ttl", "3"]).await;
    let token = rig.token("").await;
    let socket = Socket::raw(&rig.server.proxy, &token).await;
    // The token is checked before it is checked whether the line is busy.
    eventually(async || {
        let path = format!("/?token={token}");
        (Socket::refused(&rig.server.proxy, &path, &[]).await.status == 401).then_some(())
    })
    .await;
    assert_attached(&mut rig, socket).await;
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
        let request = upgrade(&rig.path("").await, "a", &[("origin", "http://a")]);
        let offers = format!("Upgrade: websocket\r\n{offer}");
        let request = request.replace("Upgrade: websocket\r\n", &offers);
        let head = ask(None, &rig.server.proxy, &request).await;
        assert_eq!(head.status, 101, "{offer}{head:?}");
        let named = head.header("sec-websocket-protocol");
        assert_eq!(named, chosen, "{offer}");
        rig.deserted().await;
    }
    let refused = rig.refused("", &[("sec-websocket-protocol", "base64")]).await;
    assert_eq!(refused.0, 400);
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
    // If the machine stops for longer than the wait for a character's rest, a character may be cut,
    // but not each time.
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
