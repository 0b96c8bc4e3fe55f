//! The limits on connections and handshakes of one address, which do not affect others.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use serialproxy_e2e::connection::connect;
use serialproxy_e2e::eventually;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::within;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::process::Command;

/// The beginning of a TLS handshake: the head of its first record.
const HELLO: [u8; 5] = [0x16, 3, 1, 2, 0];

/// Simultaneous handshakes of one address.
const HANDSHAKES: usize = 100;

/// Connections from 127.0.0.2, which begin with these bytes.
async fn crowd(proxy: &str, count: usize, first: &[u8]) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = within(socket.connect(proxy.parse().unwrap())).await.unwrap();
        // A refused connection may be closed already.
        let _ = stream.write_all(first).await;
        crowd.push(stream);
    }
    crowd
}

fn is_closed(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Waits until exactly this many of them are closed.
async fn closed(crowd: &[TcpStream], count: usize) {
    let closed = || crowd.iter().filter(|stream| is_closed(stream)).count();
    eventually(async || (closed() >= count).then_some(())).await;
    assert_eq!(closed(), count);
}

async fn half_open_connections_of_one_address_take_no_place_of_others(tls: bool) {
    let limit = ["--limits-connections_per_address", "20"];
    let mut rig = Rig::start_with(tls.then(Pki::new), &limit).await;
    let crowd = crowd(&rig.server.proxy, 30, b"").await;
    closed(&crowd, 10).await;
    let mut session = rig.raw().await;
    session.send("x").await;
    assert_eq!(rig.guest.typed(1).await, b"x");
    let warnings = rig.server.log().matches("connections_per_address").count();
    assert_eq!(warnings, 1, "{}", rig.server.log());
    // Closed connections make room.
    drop(crowd);
    eventually(async || {
        let mut more =
            self::crowd(&rig.server.proxy, 1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let stream = more.pop().unwrap();
        within(stream.readable()).await.unwrap();
        (!is_closed(&stream)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn half_open_connections_of_one_address_take_no_place_of_others_without_tls() {
    half_open_connections_of_one_address_take_no_place_of_others(false).await;
}

#[tokio::test]
async fn half_open_connections_of_one_address_take_no_place_of_others_with_tls() {
    half_open_connections_of_one_address_take_no_place_of_others(true).await;
}

#[tokio::test]
async fn an_address_has_so_many_handshakes_under_way_and_no_more() {
    let rig = Rig::start_with(Some(Pki::new()), &[]).await;
    let crowd = crowd(&rig.server.proxy, HANDSHAKES + 20, &HELLO).await;
    closed(&crowd, 20).await;
    rig.raw().await.leave().await;
}

/// CPU time, in ticks, of the threads whose names begin with this text.
fn cpu(process: u32, threads: &str) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let read =
        |task: &Path, file: &str| std::fs::read_to_string(task.join(file)).unwrap_or_default();
    let tasks = tasks.filter(|task| read(&task.path(), "comm").starts_with(threads));
    let cpu = tasks.map(|task| {
        let stat = read(&task.path(), "stat");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    });
    cpu.sum()
}

/// A certificate whose key makes handshakes far more expensive than everything before and after
/// them.
const EXPENSIVE: &str = "
set -e
openssl req -newkey rsa:4096 -nodes -subj /CN=localhost -keyout server-key.pem -out server.csr
printf 'subjectAltName=IP:127.0.0.1\n' >server.ext
openssl x509 -req -in server.csr -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 1 \
    -extfile server.ext -out server-cert.pem
";

#[tokio::test]
async fn two_hundred_handshakes_a_second_are_no_work_of_the_threads_of_lines() {
    let pki = Pki::new();
    let mut openssl = Command::new("bash");
    let made = within(openssl.args(["-c", EXPENSIVE]).current_dir(pki.directory()).output()).await;
    assert!(made.as_ref().unwrap().status.success(), "{made:?}");
    let mut rig = Rig::start_with(Some(pki), &[]).await;
    let mut session = rig.raw().await;
    let ca = rig.ca();
    let mut clock = tokio::time::interval(Duration::from_secs(1) / 200);
    let mut worst = Duration::ZERO;
    for _ in 0..400 {
        clock.tick().await;
        let typed = Instant::now();
        let handshake = connect(ca.as_deref(), &rig.server.proxy);
        let key = async {
            session.send("k").await;
            assert_eq!(rig.guest.typed(1).await, b"k");
            typed.elapsed()
        };
        let (connected, took) = tokio::join!(handshake, key);
        connected.unwrap();
        worst = worst.max(took);
    }
    let (tls, lines) = (cpu(rig.server.pid(), "tls-"), cpu(rig.server.pid(), "lines-"));
    println!("{tls} ticks of handshakes, {lines} of lines; the slowest key took {worst:?}");
    assert!(lines < tls, "handshakes took {tls} ticks, and lines {lines}");
}
