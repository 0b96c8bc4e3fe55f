//! Many lines at once, on simulated ports.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use futures_util::StreamExt;
use serialproxy_e2e::eventually;
use serialproxy_e2e::port::echoing;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_proto::id::ServerId;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

const LINES: usize = 2000;

/// Lines that print at the speed of a UART with 115,200 baud.
const PRINTING: usize = 200;
const EVERY: Duration = Duration::from_millis(100);
const BYTES: usize = 1150;

/// The largest memory of a line and its raw session, in bytes.
const MEMORY: usize = 24 * 1024;

/// How much the printing lines may delay an echo on another line.
const DELAY: Duration = Duration::from_millis(50);

/// Other work of the machine only increases the times, so one of this many rounds must be good.
const ROUNDS: usize = 20;

/// A server with this many lines, the guests' ends of them, and a session on each.
async fn start(lines: usize, echo: SocketAddr) -> (Server, Vec<TcpStream>, Vec<Socket>) {
    let guests = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = guests.local_addr().unwrap();
    let connected = Arc::new(Mutex::new(Vec::new()));
    let accepted = Arc::clone(&connected);
    tokio::spawn(async move {
        while let Ok((guest, _)) = guests.accept().await {
            accepted.lock().unwrap().push(guest);
        }
    });
    let echo = format!("line = echo tcp://{echo}");
    let server = Server::with_lines(lines, address, &echo).await;
    let mut sessions = Vec::new();
    for line in 0..lines {
        let id = server.connected(line).await;
        let token = server.token(&id, "").await;
        sessions.push(Socket::raw(&server.proxy, &token).await);
    }
    // Some connections of the storm were dropped before they were accepted.
    let connected = eventually(async || {
        let mut connected = connected.lock().unwrap();
        connected.retain(|guest| {
            guest.try_read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        });
        (connected.len() == lines).then(|| std::mem::take(&mut *connected))
    })
    .await;
    (server, connected, sessions)
}

/// All lines, page by page; with `within`, only those that changed within that many seconds.
async fn list(server: &Server, within: &str) -> Vec<serde_json::Value> {
    let mut all: Vec<serde_json::Value> = Vec::new();
    let mut marker = String::new();
    loop {
        let path = format!("/v1/lines?limit=1000{within}{marker}");
        let page = server.get(&path).await.json["lines"].as_array().unwrap().clone();
        let Some(last) = page.last() else { return all };
        marker = format!("&marker={}/{}", last["server"]["id"].as_str().unwrap(), last["port"]);
        all.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_thousands_of_lines_say_what_each_printed_and_those_of_changes_are_short() {
    let guests = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::with_lines(LINES, guests.local_addr().unwrap(), "").await;
    let connected = Arc::new(tokio::sync::Mutex::new(Vec::new()));
    let accepted = Arc::clone(&connected);
    tokio::spawn(async move {
        // Some connections of the storm are dropped before they are accepted.
        while let Ok((mut guest, _)) = guests.accept().await {
            let text = [&*"starting…\r\n".repeat(300), "login: "].concat();
            if guest.write_all(text.as_bytes()).await.is_ok() {
                accepted.lock().await.push(guest);
            }
        }
    });
    let is_whole = |lines: &[serde_json::Value]| {
        lines.len() == LINES && lines.iter().all(|line| line["last_line"] == "login:")
    };
    eventually(async || is_whole(&list(&server, "").await).then_some(())).await;
    for what in ["that are known", "again"] {
        let start = Instant::now();
        let lines = list(&server, "").await;
        println!("a list of {} lines {what} takes {:?}", lines.len(), start.elapsed());
    }
    eventually(async || list(&server, "&changed_within=2").await.is_empty().then_some(())).await;
    for guest in connected.lock().await.iter_mut().take(10) {
        let _ = guest.write_all(b"root\r\n").await;
    }
    let changed = eventually(async || {
        let changed = list(&server, "&changed_within=60").await;
        changed.iter().any(|line| line["last_line"] == "login: root").then_some(changed)
    })
    .await;
    assert!(changed.iter().all(|line| line["idle"].as_u64().unwrap() <= 60), "{changed:?}");
}

/// The time of a key to the guest and back, and the machine's part of it: the same without
/// serialproxy. 200 times each, in turn; sorted.
async fn echoes(socket: &mut Socket, port: &mut TcpStream) -> [Vec<Duration>; 2] {
    let (mut through, mut direct) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let start = Instant::now();
        socket.send(&b"x"[..]).await;
        socket.output_with(b"x").await;
        through.push(start.elapsed());
        let start = Instant::now();
        port.write_all(b"x").await.unwrap();
        port.read_exact(&mut [0]).await.unwrap();
        direct.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    through.sort();
    direct.sort();
    [through, direct]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_lines_take_little_memory_and_do_not_delay_each_other() {
    let echo = echoing().await;
    let (small, _guests, _sessions) = start(1, echo).await;
    let base = small.memory("VmRSS");
    drop(small);

    let (server, mut guests, sessions) = start(LINES, echo).await;
    let each = server.memory("VmRSS").saturating_sub(base) / LINES;
    println!("a line and its raw session take {each} bytes");
    assert!(each <= MEMORY, "{each} bytes");

    let token = server.token(&ServerId::of_static("echo").to_string(), "").await;
    let mut socket = Socket::raw(&server.proxy, &token).await;
    let mut port = TcpStream::connect(echo).await.unwrap();
    port.set_nodelay(true).unwrap();
    let [idle, _] = echoes(&mut socket, &mut port).await;

    let reading: Vec<_> = sessions
        .into_iter()
        .map(|mut session| tokio::spawn(async move { while session.0.next().await.is_some() {} }))
        .collect();
    let printing: Vec<_> = guests
        .drain(..PRINTING)
        .map(|mut guest| {
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(EVERY);
                loop {
                    ticks.tick().await;
                    guest.write_all(&[b'.'; BYTES]).await.unwrap();
                }
            })
        })
        .collect();
    let mut rounds = 0;
    let late = loop {
        let [busy, direct] = echoes(&mut socket, &mut port).await;
        let late = busy[197].saturating_sub(direct[197]);
        println!(
            "an echo takes {:?} (median) when idle, {:?} (99 %) beside {PRINTING} lines, where the \
             machine takes {:?}",
            idle[100], busy[197], direct[197]
        );
        rounds += 1;
        if late <= idle[100] + DELAY || rounds == ROUNDS {
            break late;
        }
    };
    for task in reading.into_iter().chain(printing) {
        task.abort();
    }
    assert!(late <= idle[100] + DELAY, "{late:?} beside {PRINTING} lines that print");
}
