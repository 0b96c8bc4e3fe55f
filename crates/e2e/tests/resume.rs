//! Connections that end while a session resumes: at whatever point that happens, the client can
//! resume with the last key that it read.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::time::Duration;

use futures_util::SinkExt;
use rustix::process::Signal;
use serde_json::Value;
use serialproxy_e2e::address;
use serialproxy_e2e::eventually;
use serialproxy_e2e::exchange::upgrade;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_websockets::MaybeTlsStream;
use tokio_websockets::Message;

/// The point at which a connection ends.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// A part of the request was sent.
    Request,
    /// The request was sent.
    Sent,
    /// The first byte of the 101 was read.
    Answer,
    /// The 101 was read, and nothing after it.
    Upgraded,
    /// The first byte of the `hello` was read.
    Hello,
}

const V1: [(&str, &str); 1] = [("sec-websocket-protocol", "console.v1")];

const POINTS: [Point; 5] =
    [Point::Request, Point::Sent, Point::Answer, Point::Upgraded, Point::Hello];

/// Begins to attach, and ends the connection at that point, with a reset or normally.
async fn die(proxy: &str, path: &str, point: Point, reset: bool) {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request = upgrade(path, proxy, &V1);
    let part = match point {
        Point::Request => &request[..request.len() / 2],
        _ => &request,
    };
    stream.write_all(part.as_bytes()).await.unwrap();
    let read = |answer: &[u8]| match point {
        Point::Request | Point::Sent => true,
        Point::Answer => !answer.is_empty(),
        Point::Upgraded => answer.ends_with(b"\r\n\r\n"),
        Point::Hello => answer.windows(5).any(|window| window.starts_with(b"\r\n\r\n")),
    };
    let mut answer = Vec::new();
    while !read(&answer) {
        answer.push(within(stream.read_u8()).await.unwrap());
    }
    if reset {
        stream.set_zero_linger().unwrap();
    }
}

fn resume_path(key: &Value) -> String {
    format!("/?resume={}&from=live", key.as_str().unwrap())
}

async fn resume(proxy: &str, key: &Value) -> (Socket, Value) {
    let mut socket = Socket::open(proxy, &resume_path(key), &V1).await;
    let hello = socket.message("hello").await;
    (socket, hello)
}

#[tokio::test]
async fn wherever_a_connection_dies_the_key_before_it_is_good_and_the_pen_is_kept() {
    let mut rig = Rig::start(&[]).await;
    let proxy = rig.server.proxy.clone();
    let mut socket = Socket::v1(&proxy, &rig.token("").await, "").await;
    let mut hello = socket.message("hello").await;
    let session = hello["session"].clone();
    socket.send("a").await;
    assert_eq!(rig.guest.typed(1).await, b"a");
    drop(socket);
    for reset in [true, false] {
        for point in POINTS {
            for times in [1, 3] {
                let key = hello["resume"].clone();
                for _ in 0..times {
                    die(&proxy, &resume_path(&key), point, reset).await;
                }
                let (mut socket, next) = resume(&proxy, &key).await;
                let at = format!("{point:?}, {times} times, reset: {reset}");
                assert_eq!((&next["session"], &next["mode"]), (&session, &"write".into()), "{at}");
                // No connection that ended later affects the session, and its input arrives.
                socket.send("b").await;
                assert_eq!(rig.guest.typed(1).await, b"b", "{at}");
                hello = next;
            }
        }
    }
    let sessions = rig.server.get("/v1/sessions").await.json;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn over_tls_a_reset_behind_the_101_leaves_the_key_good_as_well() {
    let rig = Rig::start_with(Some(Pki::new()), &[]).await;
    let (ca, proxy) = (rig.ca(), &rig.server.proxy);
    let secure = async |path: &str| Socket::over(ca.as_deref(), proxy, path, &V1).await;
    let mut socket = secure(&rig.path("").await).await;
    let first = socket.message("hello").await;
    socket.say(r#"{"type":"ping","id":1}"#).await;
    socket.message("pong").await;
    let path = resume_path(&first["resume"]);
    for _ in 0..5 {
        let socket = secure(&path).await;
        let MaybeTlsStream::Rustls(stream) = socket.0.get_ref() else { panic!("it is plain") };
        stream.get_ref().0.set_zero_linger().unwrap();
    }
    let mut socket = secure(&path).await;
    let hello = socket.message("hello").await;
    assert_eq!((&hello["session"], &hello["mode"]), (&first["session"], &"write".into()));
}

#[tokio::test]
async fn a_first_attach_that_dies_does_not_keep_others_from_writing_for_the_grace_time() {
    let rig = Rig::start(&[]).await;
    for point in POINTS {
        die(&rig.server.proxy, &rig.path("").await, point, true).await;
    }
    // Each holds the pen for some seconds at most; the grace time is a minute.
    let started = std::time::Instant::now();
    let token = rig.token("").await;
    Box::pin(eventually(async || {
        let mut socket = Socket::v1(&rig.server.proxy, &token, "").await;
        let first = socket.next().await;
        let first: Value = serde_json::from_str(first.as_text().unwrap()).unwrap();
        (first["type"] == "hello").then_some(())
    }))
    .await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn a_writer_whose_input_is_not_read_is_not_silent_and_comes_back() {
    let grace = Duration::from_secs(6);
    let rig = Rig::start(&["--session-grace", "6", "--session-ping_interval", "1"]).await;
    let proxy = rig.server.proxy.clone();
    let mut socket = Socket::v1(&proxy, &rig.token("").await, "").await;
    let hello = socket.message("hello").await;
    // The guest does not read, so the client's input is not read for longer than the client may be
    // silent.
    let flood = async {
        loop {
            socket.0.send(Message::binary(vec![b'x'; 64 * 1024])).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(2 * grace, flood).await.is_err());
    let MaybeTlsStream::Plain(stream) = socket.0.get_ref() else { panic!("it is TLS") };
    stream.set_zero_linger().unwrap();
    drop(socket);
    let is_gone = async || {
        let sessions = rig.server.get("/v1/sessions").await.json;
        let live =
            sessions["sessions"].as_array().unwrap().iter().any(|one| one["state"] == "live");
        (!live).then_some(())
    };
    eventually(is_gone).await;
    let (_socket, again) = resume(&proxy, &hello["resume"]).await;
    assert_eq!((&again["session"], &again["mode"]), (&hello["session"], &"write".into()));
}

#[tokio::test]
async fn who_closed_the_tab_reads_so_and_takes_the_console_back_at_once() {
    let mut rig = Rig::start(&[]).await;
    let (proxy, token) = (rig.server.proxy.clone(), rig.token("").await);
    let mut socket = Socket::v1(&proxy, &token, "").await;
    let hello = socket.message("hello").await;
    socket.say(r#"{"type":"size","rows":24,"cols":80}"#).await;
    socket.send("a").await;
    assert_eq!(rig.guest.typed(1).await, b"a");
    drop(socket);
    // The end of the connection may be noticed a moment later.
    let (pen, refused) = Box::pin(eventually(async || {
        let mut refused = Socket::v1(&proxy, &token, "").await;
        let pen = refused.message("pen").await;
        pen["free_in"].is_u64().then_some((pen, refused))
    }))
    .await;
    assert_eq!((&pen["cause"], &pen["own"]), (&"busy".into(), &true.into()));
    assert_eq!(pen["session"], hello["session"]);
    let (code, reason) = refused.closed().await;
    assert_eq!(code, 4004);
    assert!(reason.contains("(lost the connection, free in "), "{reason}");
    let raw = Socket::refused(&proxy, &format!("/?token={token}"), &[]).await;
    assert!((1..=60).contains(&raw.retry_after.unwrap()), "{raw:?}");
    let line = &rig.server.get("/v1/lines").await.json["lines"][0];
    assert!(line["writer"]["free_in"].is_u64(), "{line}");

    let mut again = Socket::v1(&proxy, &token, "&mode=watch").await;
    again.say(r#"{"type":"pen","do":"request"}"#).await;
    again.send("b").await;
    assert_eq!(rig.guest.typed(1).await, b"b");
}

#[tokio::test]
async fn a_client_whose_network_is_gone_is_lost_to_others_before_its_time_is_over() {
    let flags = ["--session-grace", "30", "--session-ping_interval", "1"];
    let rig = Rig::start(&flags).await;
    let (proxy, token) = (rig.server.proxy.clone(), rig.token("").await);
    let mut silent = Socket::v1(&proxy, &token, "").await;
    silent.message("hello").await;
    // It does not read, so it answers no ping.
    let mut watcher = Socket::v1(&proxy, &token, "&mode=watch").await;
    let lost = eventually(async || {
        let pen = watcher.message("pen").await;
        pen["free_in"].is_u64().then_some(pen)
    })
    .await;
    assert_eq!((&lost["cause"], &lost["own"]), (&"detached".into(), &true.into()));
    silent.say(r#"{"type":"ping","id":1}"#).await;
    let back = watcher.message("pen").await;
    assert_eq!((&back["cause"], &back["free_in"]), (&"resumed".into(), &Value::Null));
}

/// Waits until the program has stored this text.
async fn written(rig: &Rig, text: &str) {
    eventually(async || {
        let log = std::fs::read(rig.server.state().join("serialproxy.sqlite-wal")).ok()?;
        log.windows(text.len()).any(|part| part == text.as_bytes()).then_some(())
    })
    .await;
}

async fn connected(rig: &Rig) {
    eventually(async || {
        let line = rig.server.line(&rig.port.server(), 0).await;
        (line.get("state")? == "connected").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_outlives_the_program_with_its_pen_though_its_token_is_spent() {
    let own = [&address::fixed()[..], &["--consoleauth-single_use=true".into()]].concat();
    let own: Vec<_> = own.iter().map(String::as_str).collect();
    let mut rig = Rig::start(&own).await;
    let token = rig.token("").await;
    let mut socket = Socket::v1(&rig.server.proxy, &token, "").await;
    let mut hello = socket.message("hello").await;
    let first = hello.clone();
    written(&rig, first["session"].as_str().unwrap()).await;
    for signal in [Signal::KILL, Signal::TERM] {
        rig.server.signal(signal);
        rig.server = rig.server.restart().await;
        rig.guest = rig.port.accept().await;
        let (next, again) = resume(&rig.server.proxy, &hello["resume"]).await;
        assert_eq!((&again["session"], &again["mode"]), (&first["session"], &"write".into()));
        assert_ne!(again["line"], hello["line"], "it tells that the count is another");
        assert_eq!(again["input"], 0);
        socket = next;
        // Input from before the line is connected would be dropped.
        connected(&rig).await;
        socket.send("typed").await;
        assert_eq!(rig.guest.typed(5).await, b"typed");
        hello = again;
    }
}
