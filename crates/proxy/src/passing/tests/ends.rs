//! How bytes pass, and what ends a session: one of its ends, a host that is lost, a shutdown, a drain.

use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use super::V1;
use super::answering;
use crate::passing::rig::Client;
use crate::passing::rig::Cluster;
use crate::passing::rig::Rig;
use crate::passing::rig::SWITCHING;
use crate::passing::rig::answer;

const MIB: usize = 1024 * 1024;

/// Pseudo-random bytes, so that a lost or repeated one is noticed.
fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

#[tokio::test]
async fn bytes_go_both_ways_as_they_are_and_each_way_ends_by_itself() {
    let cluster = Cluster::of(async |mut stream| {
        let early = [SWITCHING, b"early"].concat();
        answer(&mut stream, &early).await;
        let mut typed = Vec::new();
        stream.read_to_end(&mut typed).await.unwrap();
        assert!(typed == bytes(8 * MIB, 1));
        stream.write_all(&bytes(8 * MIB, 2)).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let front = cluster.await.front().await;
    let (mut client, head) = Client::open(front.at, "?token=t", "").await;
    assert!(!head.contains("cookie"), "{head}");
    client.stream.write_all(&bytes(8 * MIB, 1)).await.unwrap();
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.take(5).await, b"early");
    client.stream.read_to_end(&mut client.unread).await.unwrap();
    assert!(client.unread == bytes(8 * MIB, 2));
}

#[tokio::test]
async fn a_host_that_is_lost_drops_its_sessions_without_a_word() {
    let cluster = answering(SWITCHING).await;
    let front = cluster.front().await;
    let (client, _) = Client::open(front.at, "?token=t", V1).await;
    cluster.lost.cancel();
    client.ended().await;
}

#[tokio::test]
async fn a_host_that_dies_drops_its_sessions_without_a_word() {
    let cluster = Cluster::of(async |mut stream| {
        answer(&mut stream, SWITCHING).await;
    });
    let front = cluster.await.front().await;
    let (client, _) = Client::open(front.at, "?token=t", V1).await;
    client.ended().await;
}

#[tokio::test]
async fn a_proxy_that_shuts_down_sends_its_sessions_elsewhere() {
    let rig = Rig::new().await;
    let (one, other) = (rig.cluster.front().await, rig.cluster.front().await);
    let token = rig.token("alice", Mode::Write).await;
    let (client, hello) = Client::v1(one.at, &format!("?token={token}&from=live")).await;
    let mut watches = Client::raw(one.at, &rig.token("bob", Mode::Watch).await).await;
    let mut guest = rig.guest;
    guest.write_all(b"x").await.unwrap();
    watches.output(1).await;
    one.shutdown.cancel();
    assert_eq!(client.closed().await, 4012);
    assert_eq!(watches.closed().await, 4012);
    let key = hello["resume"].as_str().unwrap();
    let (_client, again) = Client::v1(other.at, &format!("?resume={key}&from=0")).await;
    assert_eq!((&again["session"], &again["mode"]), (&hello["session"], &"write".into()));
}

#[tokio::test]
async fn the_word_of_a_proxy_that_shuts_down_comes_between_two_frames() {
    let (begun, mut begins) = mpsc::channel(1);
    let go_on = CancellationToken::new();
    let goes_on = go_on.clone();
    let cluster = Cluster::of(move |mut stream| {
        let (begun, goes_on) = (begun.clone(), goes_on.clone());
        async move {
            answer(&mut stream, SWITCHING).await;
            stream.write_all(b"\x82\x05hel").await.unwrap();
            stream.flush().await.unwrap();
            begun.send(()).await.unwrap();
            goes_on.cancelled().await;
            stream.write_all(b"lo\x82\x03more").await.unwrap();
            stream.flush().await.unwrap();
            // The host sees the end of the connection, and no Close frame.
            assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        }
    });
    let front = cluster.await.front().await;
    let (mut client, _) = Client::open(front.at, "?token=t", "").await;
    begins.recv().await.unwrap();
    assert_eq!(client.take(5).await, b"\x82\x05hel");
    front.shutdown.cancel();
    // Waits until the drain has begun.
    while TcpStream::connect(front.at).await.is_ok() {
        yield_now().await;
    }
    go_on.cancel();
    assert_eq!(client.take(2).await, b"lo");
    let (opcode, payload) = client.frame().await;
    assert_eq!((opcode, &payload[..2]), (8, &4012_u16.to_be_bytes()[..]));
    client.ended().await;
}

#[tokio::test]
async fn a_drained_proxy_sends_its_sessions_elsewhere_and_takes_no_new_ones() {
    let rig = Rig::new().await;
    let (one, other) = (rig.cluster.front().await, rig.cluster.front().await);
    let token = rig.token("alice", Mode::Write).await;
    let (client, hello) = Client::v1(one.at, &format!("?token={token}&from=live")).await;
    one.drained.send(true).unwrap();
    let answer = health(one.at).await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\ndraining\n"),
        "{answer}"
    );
    let watch = format!("?token={}", rig.token("bob", Mode::Watch).await);
    let (_, head) = Client::open(one.at, &watch, "").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("x-console-cause: draining\r\n"), "{head}");
    assert_eq!(client.closed().await, 4012);
    let resume = format!("?resume={}&from=0", hello["resume"].as_str().unwrap());
    assert_eq!(Client::open(one.at, &resume, V1).await.0.closed().await, 4012);
    let (_client, again) = Client::v1(other.at, &resume).await;
    assert_eq!((&again["session"], &again["mode"]), (&hello["session"], &"write".into()));

    one.drained.send(false).unwrap();
    assert!(health(one.at).await.starts_with("HTTP/1.1 200 "));
    let _watches = Client::raw(one.at, &rig.token("bob", Mode::Watch).await).await;
}

#[tokio::test]
async fn a_drained_host_takes_no_new_sessions_and_those_that_it_has_come_back() {
    let mut rig = Rig::new().await;
    let front = rig.cluster.front().await;
    let token = rig.token("alice", Mode::Write).await;
    let (mut client, hello) = Client::v1(front.at, &format!("?token={token}&from=live")).await;
    rig.drained.send(true).unwrap();
    let watch = format!("?token={}", rig.token("bob", Mode::Watch).await);
    let (_, head) = Client::open(front.at, &watch, "").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("the host of this server is being drained"), "{head}");
    assert_eq!(Client::open(front.at, &watch, V1).await.0.closed().await, 4015);

    client.write(b"x").await;
    assert_eq!(rig.typed(1).await, b"x");
    drop(client);
    let resume = format!("?resume={}&from=0", hello["resume"].as_str().unwrap());
    let (_client, again) = Client::v1(front.at, &resume).await;
    assert_eq!((&again["session"], &again["mode"]), (&hello["session"], &"write".into()));

    rig.drained.send(false).unwrap();
    let _watches = Client::raw(front.at, &rig.token("bob", Mode::Watch).await).await;
}

/// The proxy's answer to a health check.
async fn health(at: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
