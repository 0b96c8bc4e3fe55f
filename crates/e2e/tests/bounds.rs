//! Every field of `console.v1` messages has limits, and values beyond them do no harm.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use serde_json::Value;
use serialproxy_e2e::exchange;
use serialproxy_e2e::exchange::upgrade;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

const V1: [(&str, &str); 1] = [("sec-websocket-protocol", "console.v1")];

/// A program whose port accepts plain connections and TLS.
async fn start() -> Rig {
    Rig::start_with(Some(Pki::new()), &[]).await
}

/// A session, over TLS or not.
async fn v1(rig: &Rig, tls: bool, query: &str) -> Socket {
    let ca = rig.ca().filter(|_| tls);
    Socket::over(ca.as_deref(), &rig.server.proxy, &rig.path(query).await, &V1).await
}

/// Code and reason of the Close frame of a raw session that sends these bytes.
async fn told_after(rig: &Rig, tls: bool, bytes: &[u8]) -> (u16, String) {
    let (ca, proxy) = (rig.ca().filter(|_| tls), &rig.server.proxy);
    let request = upgrade(&rig.path("&mode=watch").await, proxy, &[]);
    let (head, mut stream) = exchange::open(ca.as_deref(), proxy, &request).await;
    assert_eq!(head.status, 101);
    within(stream.write_all(bytes)).await.unwrap();
    let mut close = [0; 4];
    within(stream.read_exact(&mut close)).await.unwrap();
    let [0x88, length, high, low] = close else { panic!("no Close frame: {close:?}") };
    let mut reason = vec![0; usize::from(length) - 2];
    within(stream.read_exact(&mut reason)).await.unwrap();
    (u16::from_be_bytes([high, low]), String::from_utf8(reason).unwrap())
}

/// The number of errors in the answers to a message.
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

/// Messages of a known type with a value out of bounds, and some that are not messages.
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
    let mut rig = start().await;
    for tls in [false, true] {
        let mut socket = v1(&rig, tls, "").await;
        for message in bad() {
            assert_eq!(errors(&mut socket, &message).await, 1, "{message}");
        }
        // The count of input is still right.
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
    let rig = start().await;
    let mut socket = v1(&rig, false, "").await;
    for message in [r#"{"type":"dance"}"#, r#"{"type":"hello","x":[{}],"rows":-1}"#] {
        assert_eq!(errors(&mut socket, message).await, 0, "{message}");
    }
}

#[tokio::test]
async fn what_is_within_bounds_works_to_the_bound() {
    let rig = start().await;
    let mut writer = v1(&rig, false, "").await;
    let mut watcher = v1(&rig, true, "&mode=watch").await;
    // A character outside of Unicode's basic plane, in JSON's escaped form.
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
    let rig = start().await;
    let mut writer = v1(&rig, false, "").await;
    let mut watcher = v1(&rig, true, "&mode=watch").await;
    writer.say(r#"{"type":"size","rows":65535,"cols":1000}"#).await;
    let size = watcher.message("size").await;
    assert_eq!([&size["rows"], &size["cols"]], [500, 500]);
    writer.message("error").await;
}

#[tokio::test]
async fn a_text_is_far_smaller_than_a_paste_may_be() {
    let mut rig = start().await;
    for tls in [false, true] {
        let mut socket = v1(&rig, tls, "").await;
        socket.send(vec![b'x'; 1024 * 1024]).await;
        assert_eq!(rig.guest.typed(1024 * 1024).await.len(), 1024 * 1024);
        socket.leave().await;
        let reason = "a text message has at most 65536 bytes";
        assert_eq!(
            told_after(&rig, tls, &frame_head(0x81, 65537)).await,
            (1009, reason.to_owned())
        );
        let reason = "a message has at most 1048576 bytes";
        assert_eq!(
            told_after(&rig, tls, &frame_head(0x82, 1 << 62)).await,
            (1009, reason.to_owned())
        );
    }
}

/// The head of a client's frame with this many bytes.
fn frame_head(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0xff], &length.to_be_bytes()[..], &[0; 4]].concat()
}

#[tokio::test]
async fn more_messages_than_a_person_causes_are_answered_by_error_and_not_obeyed() {
    let rig = start().await;
    let mut writer = v1(&rig, false, "").await;
    let mut watcher = v1(&rig, true, "&mode=watch").await;
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
    let rig = start().await;
    let mut alice = v1(&rig, false, "").await;
    let mut bob = v1(&rig, true, "&mode=watch").await;
    for (answer, cause) in [("deny", "denied"), ("grant", "granted")] {
        bob.say(r#"{"type":"pen","do":"request"}"#).await;
        within(async { while alice.message("pen").await["state"] != "requested" {} }).await;
        alice.say(&format!(r#"{{"type":"pen","do":"{answer}"}}"#)).await;
        told(&mut bob, cause).await;
    }
    alice.say(r#"{"type":"pen","do":"force"}"#).await;
    told(&mut bob, "forced").await;
    told(&mut v1(&rig, false, "").await, "busy").await;
    let request = upgrade(&rig.path("").await, &rig.server.proxy, &[]);
    let refused = exchange::ask(None, &rig.server.proxy, &request).await;
    assert_eq!((refused.status, refused.header("x-console-cause")), (409, Some("busy")));
    alice.say(r#"{"type":"pen","do":"release"}"#).await;
    told(&mut bob, "left").await;
}
