use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use serialproxy_api::Auth;
use serialproxy_e2e::eventually;
use serialproxy_tls::Reception;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;

/// Connections of one address.
const PER_ADDRESS: u32 = 3;

const JSON: &str = "Content-Type: application/json\r\n";

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

async fn served(bench: &Bench) -> Served {
    served_behind(bench, "").await
}

/// The same behind these reverse proxies.
async fn served_behind(bench: &Bench, trusted: &str) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { stopped.await.unwrap_or_default() };
    let done = tokio::spawn(serialproxy_api::serve(
        listener,
        Reception::plain(),
        serialproxy_api::Callers::new(PER_ADDRESS, trusted.parse().unwrap()),
        bench.router.clone(),
        shutdown,
    ));
    Served { address, stop, done }
}

impl Served {
    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, request: &str) -> String {
        let mut answer = String::new();
        self.send(request).await.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn calls_come_in_over_tcp_with_the_callers_address() {
    let bench = Bench::new();
    let served = served(&bench).await;
    let answer = served.ask("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(r#"{"reasons":[],"status":"ok"}"#), "{answer}");
}

#[tokio::test]
async fn behind_a_trusted_reverse_proxy_callers_are_where_it_says() {
    let bench = Bench::new();
    let health = |headers: &str| {
        format!("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n")
    };
    let forwarded = health("X-Forwarded-For: 192.0.2.7\r\n");
    let served = served_behind(&bench, "127.0.0.0/8").await;
    assert!(served.ask(&health("")).await.starts_with("HTTP/1.1 200 "));
    let answer = served.ask(&forwarded).await;
    assert!(!answer.starts_with("HTTP/1.1 200 "), "the caller is not on this machine: {answer}");
    let answer = served.ask(&health("Forwarded: for=\"192.0.2.7\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // The connections of the reverse proxy itself are not limited.
    let mut held = Vec::new();
    for _ in 0..3 * PER_ADDRESS {
        let mut stream = served.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        stream.read_exact(&mut [0; 12]).await.unwrap();
        held.push(stream);
    }
    let stranger = served_behind(&bench, "10.0.0.0/8").await;
    let answer = stranger.ask(&health("Forwarded: for=\"192.0.2.7\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "a stranger's word is not read: {answer}");
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_is_read() {
    let bench = Bench::with(Fake::default(), &config(), Auth::Noauth);
    let served = served(&bench).await;
    let head = "POST /v1/servers HTTP/1.1\r\nHost: 127.0.0.1\r\n\
                Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n";
    let answer = served.ask(head).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("overLimit"), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_gets_400_and_others_notice_nothing() {
    let bench = Bench::new();
    let served = served(&bench).await;
    let answer = served.ask("\x16\x03\x01 no http\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = served.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let bench = Bench::new();
    // A busy machine delays some of the attempts, but not all.
    eventually(async || {
        let served = served(&bench).await;
        let mut idle = served.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
        idle.read_exact(&mut [0; 12]).await.unwrap();
        let started = Instant::now();
        served.stop.send(()).unwrap();
        served.done.await.unwrap();
        // What holds it up does so for two seconds.
        (started.elapsed() < Duration::from_secs(2)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_call_that_does_not_end_holds_up_the_end_for_two_seconds_at_most() {
    let fake = Fake { gate: Some(Notify::new()), ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    let served = served(&bench).await;
    let body = r#"{"name": "a", "image": "b"}"#;
    let length = body.len();
    let head = format!(
        "POST /v1/servers HTTP/1.1\r\nHost: 127.0.0.1\r\n{JSON}Content-Length: {length}\r\n\r\n"
    );
    let _caller = served.send(&format!("{head}{body}")).await;
    bench.fake.begun.notified().await;
    let started = Instant::now();
    served.stop.send(()).unwrap();
    served.done.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_call_under_way_is_answered_before_the_end() {
    let fake = Fake { gate: Some(Notify::new()), ..Fake::default() };
    let bench = Bench::with(fake, &config(), Auth::Noauth);
    let served = served(&bench).await;
    let body = r#"{"name": "a", "image": "b"}"#;
    let length = body.len();
    let head = format!(
        "POST /v1/servers HTTP/1.1\r\nHost: 127.0.0.1\r\n{JSON}Content-Length: {length}\r\n\r\n"
    );
    let mut caller = served.send(&format!("{head}{body}")).await;
    bench.fake.begun.notified().await;
    served.stop.send(()).unwrap();
    bench.fake.gate.as_ref().unwrap().notify_one();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    served.done.await.unwrap();
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_gets_one_for_each_that_it_closes() {
    let bench = Bench::new();
    let served = served(&bench).await;
    let ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..PER_ADDRESS {
        let mut stream = served.send(ask).await;
        stream.read_exact(&mut [0; 12]).await.unwrap();
        open.push(stream);
    }
    // The connection ends with a reset or not, depending on whether the request arrived before.
    let mut refused = TcpStream::connect(served.address).await.unwrap();
    assert!(matches!(refused.read(&mut [0; 12]).await, Ok(0) | Err(_)));
    open.pop();
    loop {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let asked = stream.write_all(ask.as_bytes()).await;
        if asked.is_ok() && matches!(stream.read(&mut [0; 12]).await, Ok(1..)) {
            break;
        }
    }
}
