//! What `console.v1` clients say is bounded in every field, and what is out of bounds hurts nobody.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use serde_json::Value;
use serialproxy_e2e::exchange;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

const V1: [(&str, &str); 1] = [("sec-websocket-protocol", "console.v1")];

/// A program whose port speaks plain and TLS, and has one line.
struct Rig {
    pki: Pki,
    server: Server,
    port: Port,
    guest: Guest,
}

impl Rig {
    async fn start() -> Self {
        let (pki, port) = (Pki::new(), Port::new("switch").await);
        let [flag, line] = port.flag();
        let (cert, key) = (pki.file("server-cert.pem"), pki.file("server-key.pem"));
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        let tls = ["--serial_console-cert", cert, "--serial_console-key", key, &flag, &line];
        let server = Server::start(&tls).await;
        let guest = port.accept().await;
        Self { pki, server, port, guest }
    }

    /// A session, over TLS or not.
    async fn v1(&self, tls: bool, query: &str) -> Socket {
        let token = self.server.token(&self.port.server(), "").await;
        let path = format!("/?token={token}{query}");
        match tls {
            true => {
                let ca = self.pki.file("ca-cert.pem");
                Socket::secure(&ca, &self.server.proxy, &path, &V1).await
            }
            false => Socket::open(&self.server.proxy, &path, &V1).await,
        }
    }
}

impl Rig {
    /// Code and reason with which a raw session is closed that sends this.
    async fn told_after(&self, tls: bool, bytes: &[u8]) -> (u16, String) {
        let token = self.server.token(&self.port.server(), "").await;
        let request = raw(&token, "watch");
        let ca = self.pki.file("ca-cert.pem");
        let proxy = &self.server.proxy;
        let (head, mut stream) = exchange::open(tls.then_some(&*ca), proxy, &request).await;
        assert_eq!(head.status, 101);
        within(stream.write_all(bytes)).await.unwrap();
        let mut close = [0; 4];
        within(stream.read_exact(&mut close)).await.unwrap();
        let [0x88, length, high, low] = close else { panic!("no Close frame: {close:?}") };
        let mut reason = vec![0; usize::from(length) - 2];
        within(stream.read_exact(&mut reason)).await.unwrap();
        (u16::from_be_bytes([high, low]), String::from_utf8(reason).unwrap())
    }
}

/// How many of the answers to a message are errors.
async fn errors(socket: &mut Socket, message: &str) -> usize {
    socket.say(message).await;
    socket.say(r#"{"type":"ping","id":77}"#).await;
    let mut errors = 0;
    loop {
        let answer = socket.next().await;
        let Some(text) = answer.as_text() else { continue };
        let answer: Value = serde_json::from_str(text).unwrap();
        match answer["type"].as_str().unwrap() {
            "error" => {
                assert!(text.len() < 400, "{text}");
                errors += 1;
            }
            "pong" if answer["id"] == 77 => return errors,
            _ => {}
        }
    }
}

/// Messages of a known type in which something is out of bounds, and some that are none.
fn bad() -> Vec<String> {
    let reason = "ä".repeat(201);
    let long = " ".repeat(5000);
    let deep = "[".repeat(100) + &"]".repeat(100);
    let mut messages = vec![
        format!(r#"{{"type":"pen","do":"request","reason":"{reason}"}}"#),
        format!(r#"{{"type":"pen","do":"deny","reason":"{reason}"}}"#),
        format!(r#"{{"type":"pen","do":"force","reason":"{reason}"}}"#),
        format!(r#"{{"type":"size","rows":24,{long}"cols":80}}"#),
        format!(r#"{{"type":"size","rows":24,"cols":80,"more":{deep}}}"#),
    ];
    messages.extend(
        [
            r#"{"type":"pen"}"#,
            r#"{"type":"pen","do":"dance"}"#,
            r#"{"type":"pen","do":"request","reason":7}"#,
            r#"{"type":"size","rows":24}"#,
            r#"{"type":"size","rows":0,"cols":80}"#,
            r#"{"type":"size","rows":24,"cols":0}"#,
            r#"{"type":"size","rows":501,"cols":80}"#,
            r#"{"type":"size","rows":24,"cols":65535}"#,
            r#"{"type":"size","rows":24,"cols":65536}"#,
            r#"{"type":"size","rows":-1,"cols":80}"#,
            r#"{"type":"size","rows":24.5,"cols":80}"#,
            r#"{"type":"ack"}"#,
            r#"{"type":"ack","offset":-1}"#,
            r#"{"type":"ack","offset":1000}"#,
            r#"{"type":"ack","offset":18446744073709551615}"#,
            r#"{"type":"ack","offset":18446744073709551616}"#,
            r#"{"type":"input","offset":"0"}"#,
            r#"{"type":"input","offset":9007199254740992}"#,
            r#"{"type":"input","offset":18446744073709551615}"#,
            r#"{"type":"sysrq"}"#,
            r#"{"type":"sysrq","key":""}"#,
            r#"{"type":"sysrq","key":"ab"}"#,
            r#"{"type":"sysrq","key":"\u0003"}"#,
            r#"{"type":"sysrq","key":"é"}"#,
            r#"{"type":"power","do":"explode"}"#,
            r#"{"type":"ping","id":"x"}"#,
            r#"{"type":"ping","id":9007199254740992}"#,
            r#"{"type":7}"#,
            r#"{"no":"type"}"#,
            "[]",
            "{",
            "",
        ]
        .map(str::to_owned),
    );
    messages
}

#[tokio::test]
async fn what_is_out_of_bounds_is_answered_by_one_error_and_the_session_goes_on() {
    let mut rig = Rig::start().await;
    for tls in [false, true] {
        let mut socket = rig.v1(tls, "").await;
        for message in bad() {
            assert_eq!(errors(&mut socket, &message).await, 1, "{message}");
        }
        // No count went astray, either.
        socket.send("x").await;
        assert_eq!(rig.guest.typed(1).await, b"x");
        while socket.message("ack").await["input"] != 1 {}
        rig.guest.print(b"seen").await;
        socket.output_with(b"seen").await;
        socket.leave().await;
    }
}

#[tokio::test]
async fn a_message_of_an_unknown_type_is_ignored() {
    let rig = Rig::start().await;
    let mut socket = rig.v1(false, "").await;
    for message in [r#"{"type":"dance"}"#, r#"{"type":"hello","x":[{}],"rows":-1}"#] {
        assert_eq!(errors(&mut socket, message).await, 0, "{message}");
    }
}

#[tokio::test]
async fn what_is_within_bounds_works_to_the_bound() {
    let rig = Rig::start().await;
    let mut writer = rig.v1(false, "").await;
    let mut watcher = rig.v1(true, "&mode=watch").await;
    // A character outside of Unicode's basic plane, escaped as JSON has it.
    let reason = r"\ud83d\ude00".repeat(200);
    watcher.say(&format!(r#"{{"type":"pen","do":"request","reason":"{reason}"}}"#)).await;
    let asked = loop {
        let pen = writer.message("pen").await;
        if pen["state"] == "requested" {
            break pen;
        }
    };
    assert_eq!(asked["reason"].as_str().unwrap().chars().count(), 200);
    assert_eq!(errors(&mut writer, r#"{"type":"size","rows":500,"cols":500}"#).await, 0);
    for message in [r#"{"type":"ack","offset":0}"#, r#"{"type":"input","offset":0}"#] {
        assert_eq!(errors(&mut writer, message).await, 0, "{message}");
    }
}

#[tokio::test]
async fn a_grid_that_is_too_large_reaches_watchers_as_the_largest() {
    let rig = Rig::start().await;
    let mut writer = rig.v1(false, "").await;
    let mut watcher = rig.v1(true, "&mode=watch").await;
    writer.say(r#"{"type":"size","rows":65535,"cols":1000}"#).await;
    let size = watcher.message("size").await;
    assert_eq!([&size["rows"], &size["cols"]], [500, 500]);
    writer.message("error").await;
}

#[tokio::test]
async fn a_text_is_far_smaller_than_a_paste_may_be() {
    let mut rig = Rig::start().await;
    for tls in [false, true] {
        let mut socket = rig.v1(tls, "").await;
        socket.send(vec![b'x'; 1024 * 1024]).await;
        assert_eq!(rig.guest.typed(1024 * 1024).await.len(), 1024 * 1024);
        socket.leave().await;
        let reason = "a text message has 65536 bytes at most";
        assert_eq!(rig.told_after(tls, &frame_head(0x81, 65537)).await, (1009, reason.to_owned()));
        let reason = "a message has 1048576 bytes at most";
        assert_eq!(
            rig.told_after(tls, &frame_head(0x82, 1 << 62)).await,
            (1009, reason.to_owned())
        );
    }
}

fn raw(token: &str, mode: &str) -> String {
    format!(
        "GET /?token={token}&mode={mode} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// The head of a client's frame of so many bytes.
fn frame_head(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0xff], &length.to_be_bytes()[..], &[0; 4]].concat()
}

#[tokio::test]
async fn more_messages_than_a_person_causes_are_answered_by_error_and_not_obeyed() {
    let rig = Rig::start().await;
    let mut writer = rig.v1(false, "").await;
    let mut watcher = rig.v1(true, "&mode=watch").await;
    for rows in 1..=500 {
        writer.say(&format!(r#"{{"type":"size","rows":{rows},"cols":80}}"#)).await;
    }
    let refused = writer.message("error").await;
    assert!(refused["message"].as_str().unwrap().starts_with("too many messages"), "{refused}");
    let size = watcher.message("size").await;
    assert!(size["rows"].as_u64().unwrap() < 500, "{size}");
}

/// Waits for a change of the pen with this cause.
async fn told(socket: &mut Socket, cause: &str) {
    within(async { while socket.message("pen").await["cause"] != cause {} }).await;
}

#[tokio::test]
async fn a_change_of_the_pen_names_its_cause_and_so_does_who_is_refused() {
    let rig = Rig::start().await;
    let mut alice = rig.v1(false, "").await;
    let mut bob = rig.v1(true, "&mode=watch").await;
    for (answer, cause) in [("deny", "denied"), ("grant", "granted")] {
        bob.say(r#"{"type":"pen","do":"request"}"#).await;
        within(async { while alice.message("pen").await["state"] != "requested" {} }).await;
        alice.say(&format!(r#"{{"type":"pen","do":"{answer}"}}"#)).await;
        told(&mut bob, cause).await;
    }
    alice.say(r#"{"type":"pen","do":"force"}"#).await;
    told(&mut bob, "forced").await;
    told(&mut rig.v1(false, "").await, "busy").await;
    let token = rig.server.token(&rig.port.server(), "").await;
    let refused = exchange::ask(None, &rig.server.proxy, &raw(&token, "write")).await;
    assert_eq!((refused.status, refused.header("x-console-cause")), (409, Some("busy")));
    alice.say(r#"{"type":"pen","do":"release"}"#).await;
    told(&mut bob, "left").await;
}
