//! The audit trail at a syslog server: a real one over TLS, which goes away, comes back, or is the wrong one.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::address::free_port;
use serialproxy_e2e::audit::event;
use serialproxy_e2e::audit::file;
use serialproxy_e2e::eventually;
use serialproxy_e2e::metrics::Metrics;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::process::Command;

/// Sessions that cause more events than wait for a syslog server, 80 each.
const SESSIONS: usize = 60;

/// A syslog server, as far as TLS goes: it keeps what it is sent.
struct Receiver {
    process: Child,
    file: PathBuf,
}

impl Receiver {
    async fn start(pki: &Pki, port: u16, more: &[&str]) -> Self {
        let file = pki.directory().join("received");
        let received = File::options().append(true).create(true).open(&file).unwrap();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
        command.arg("-cert").arg(pki.file("server-cert.pem"));
        command.arg("-key").arg(pki.file("server-key.pem")).args(more);
        // It ends with its input.
        command.stdin(Stdio::piped()).stdout(received).stderr(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().unwrap();
        eventually(async || TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
        Self { process, file }
    }

    async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }

    /// What it was sent so far, as the lengths in front of the messages divide it.
    fn messages(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.file).unwrap();
        let (mut rest, mut messages) = (text.as_str(), Vec::new());
        while let Some((length, after)) = rest.split_once(' ') {
            let Some((message, after)) = after.split_at_checked(length.parse().unwrap()) else {
                break;
            };
            messages.push(message.to_owned());
            rest = after;
        }
        messages
    }

    /// The events in them.
    fn events(&self) -> Vec<Value> {
        let event = |message: String| message.split_once(" - ").unwrap().1.to_owned();
        self.messages().into_iter().map(|m| serde_json::from_str(&event(m)).unwrap()).collect()
    }

    /// Waits for a message that says this.
    async fn hears(&self, text: &str) -> String {
        eventually(async || self.messages().into_iter().find(|message| message.contains(text)))
            .await
    }
}

/// A program with one line, which trusts this CA and sends its events to that port.
async fn start(trusted: &Pki, port: u16) -> (Server, Port, Guest) {
    let ca = format!("SSL_CERT_FILE={}", trusted.file("ca-cert.pem").display());
    let (line, syslog) = (Port::new("switch").await, format!("tls://localhost:{port}"));
    let [flag, value] = line.flag();
    let flags = [flag.as_str(), &value, "--audit-syslog", &syslog];
    let server = Server::start_by(&["env", &ca], &flags).await;
    let guest = line.accept().await;
    (server, line, guest)
}

async fn logged(server: &Server, words: &[&str]) {
    eventually(async || {
        let log = server.log();
        log.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_over_tls_gets_all_events_and_hears_how_many_it_missed_while_it_was_away() {
    let (pki, port) = (Pki::new(), free_port());
    let receiver = Receiver::start(&pki, port, &[]).await;
    let (mut server, line, _guest) = start(&pki, port).await;
    server.token(&line.server(), "").await;
    let message = receiver.hears("token.issued").await;
    let (head, issued) = message.split_once(" - ").unwrap();
    assert!(head.starts_with("<109>1 20") && head.contains(" serialproxy "), "{head}");
    assert_eq!(fs::read_to_string(file(&server)).unwrap(), format!("{issued}\n"));

    receiver.stop().await;
    for _ in 0..SESSIONS {
        let token = server.token(&line.server(), "").await;
        let mut socket = Socket::v1(&server.proxy, &token, "").await;
        for what in ["release", "request"].repeat(40) {
            socket.say(&format!(r#"{{"type": "pen", "do": "{what}"}}"#)).await;
        }
        socket.leave().await;
        // The next one finds the pen free.
        eventually(async || {
            let sessions = server.get("/v1/sessions").await.json;
            sessions["sessions"].as_array().unwrap().is_empty().then_some(())
        })
        .await;
    }
    logged(&server, &["WARN", "audit events cannot be sent to syslog"]).await;
    eventually(async || {
        let dropped = Metrics::of(&server.api).await.get("audit_syslog_dropped_total");
        (dropped > 0.0).then_some(())
    })
    .await;
    let token = server.token(&line.server(), "").await;
    let _socket = Socket::v1(&server.proxy, &token, "&mode=watch").await;

    let receiver = Receiver::start(&pki, port, &[]).await;
    let gap: Value = {
        let message = receiver.hears("audit.gap").await;
        serde_json::from_str(message.split_once(" - ").unwrap().1).unwrap()
    };
    logged(&server, &["audit events were dropped on their way to syslog"]).await;
    // The end, too, is sent.
    server.signal(Signal::TERM);
    server.ended().await;
    let trail = fs::read_to_string(file(&server)).unwrap();
    let last: Value = serde_json::from_str(trail.lines().next_back().unwrap()).unwrap();
    let received = eventually(async || {
        let received = receiver.events();
        received.iter().any(|event| event["hash"] == last["hash"]).then_some(received)
    })
    .await;
    let hashes: BTreeSet<_> = received.iter().filter_map(|event| event["hash"].as_str()).collect();
    let missed = trail.lines().count() - hashes.len();
    assert_eq!((&gap["cause"], &gap["count"]), (&json!("dropped"), &json!(missed)), "{gap}");
}

#[tokio::test]
async fn a_server_that_another_ca_vouches_for_gets_nothing_and_nothing_else_suffers() {
    let (pki, other, port) = (Pki::new(), Pki::new(), free_port());
    let receiver = Receiver::start(&pki, port, &[]).await;
    let (server, line, _guest) = start(&other, port).await;
    server.token(&line.server(), "").await;
    logged(&server, &["WARN", "audit events cannot be sent to syslog", "invalid peer certificate"])
        .await;
    event(&server, "token.issued", json!({})).await;
    assert_eq!(server.get("/healthz").await.json["status"], "ok");
    assert_eq!(receiver.messages(), [""; 0]);
}

#[tokio::test]
async fn a_server_that_refuses_the_program_after_the_handshake_is_named_in_the_log() {
    let (pki, port) = (Pki::new(), free_port());
    let ca = pki.file("ca-cert.pem");
    let demand = ["-Verify", "1", "-CAfile", ca.to_str().unwrap()];
    let receiver = Receiver::start(&pki, port, &demand).await;
    let (server, line, _guest) = start(&pki, port).await;
    within(async {
        while !server.log().contains("audit events cannot be sent to syslog") {
            server.token(&line.server(), "").await;
        }
    })
    .await;
    logged(&server, &["cannot be sent to syslog", "CertificateRequired"]).await;
    assert_eq!(receiver.messages(), [""; 0]);
}
