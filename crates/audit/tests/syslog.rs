//! What a syslog server hears.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Read;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::time::Duration;

use serialproxy_audit::Audit;
use serialproxy_audit::EventName;
use serialproxy_audit::Settings;
use serialproxy_audit::Syslog;
use tempfile::TempDir;

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(directory: &TempDir, server: SocketAddr) -> Audit {
    let (host, port) = (server.ip().to_string(), server.port());
    let syslog = Syslog { host, port, tls: None, own: "host-1".into() };
    Audit::start(Settings {
        directory: directory.path().join("audit"),
        max_size: 1 << 20,
        max_age: Duration::from_secs(3600),
        required: false,
        syslog: Some(syslog),
    })
    .unwrap()
}

fn accept(listener: &TcpListener) -> TcpStream {
    let stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The next message, as its length says.
fn message(stream: &mut TcpStream) -> String {
    let mut byte = [0];
    let mut length = String::new();
    loop {
        stream.read_exact(&mut byte).unwrap();
        match byte[0] {
            b' ' => break,
            digit => length.push(digit.into()),
        }
    }
    let mut message = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut message).unwrap();
    String::from_utf8(message).unwrap()
}

#[test]
fn each_line_is_a_message_with_its_length_and_a_server_that_was_away_gets_what_waited() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let audit = start(&directory, address);
    let record = |user: &str| audit.record(audit.event(EventName::TokenIssued).user(user));
    record("alice");
    let mut stream = accept(&listener);
    let first = message(&mut stream);
    let (head, event) = first.split_once(" - ").unwrap();
    assert!(head.starts_with("<109>1 20"), "{head}");
    assert!(head.contains(" host-1 serialproxy ") && head.ends_with(" token.issued"), "{head}");
    let file = std::fs::read_to_string(directory.path().join("audit/audit.jsonl")).unwrap();
    assert_eq!(file, format!("{event}\n"));

    drop((stream, listener));
    record("bob");
    assert!(audit.flush(PATIENCE));
    let listener = TcpListener::bind(address).unwrap();
    let mut stream = accept(&listener);
    record("carol");
    // What was written to a connection that had just ended may be lost.
    let next = message(&mut stream);
    assert!(next.contains(r#""user.id":"bob""#) || next.contains(r#""user.id":"carol""#), "{next}");
}

#[test]
fn a_server_that_is_away_holds_nothing_up_and_hears_how_much_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let audit = start(&directory, address);
    for _ in 0..50 {
        for _ in 0..100 {
            audit.record(audit.event(EventName::PenChanged));
        }
        assert!(audit.flush(PATIENCE));
    }
    let listener = TcpListener::bind(address).unwrap();
    let mut stream = accept(&listener);
    for _ in 0..4095 {
        message(&mut stream);
    }
    audit.record(audit.event(EventName::TokenIssued));
    let gap = message(&mut stream);
    assert!(gap.contains(r#""event.name":"audit.gap""#) && gap.contains(r#""count":905"#), "{gap}");
    assert!(message(&mut stream).contains("token.issued"));
}

#[test]
fn a_server_that_reads_nothing_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let audit = start(&directory, listener.local_addr().unwrap());
    let long = "x".repeat(255);
    let mut streams = Vec::new();
    for _ in 0..100 {
        for _ in 0..100 {
            audit.record(audit.event(EventName::PenChanged).user(&*long).target(&*long));
        }
        assert!(audit.flush(PATIENCE));
        if streams.is_empty() {
            streams.push(accept(&listener));
        }
    }
    assert!(audit.unsent(Duration::ZERO) > 1000);
    let verified = serialproxy_audit::verify(&directory.path().join("audit")).unwrap();
    assert_eq!((verified.events, verified.flaws.len()), (10_000, 0));
}
