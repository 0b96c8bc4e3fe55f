use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::rig::Client;
use super::rig::Cluster;
use super::rig::Rig;
use super::rig::serve;
use super::*;
use crate::Sought;

const MIB: usize = 1024 * 1024;

const V1: &str = "Sec-WebSocket-Protocol: console.v1\r\n";

pub(super) const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\nSet-Cookie: a=b\r\n\r\n";

/// Bytes of which none is where another was lost or doubled.
fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

/// Reads a request's head, and answers it.
pub(super) async fn answer(stream: &mut Stream, answer: &[u8]) -> String {
    let head = head(stream).await;
    stream.write_all(answer).await.unwrap();
    stream.flush().await.unwrap();
    head
}

/// Sends a request, and reads the answer's head.
pub(super) async fn ask(stream: &mut Stream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    head(stream).await
}

async fn head(stream: &mut Stream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A cluster whose host answers each request so, and goes on.
async fn answering(text: &'static [u8]) -> Arc<Cluster> {
    Cluster::of(move |mut stream| async move {
        answer(&mut stream, text).await;
        pending().await
    })
    .await
}

async fn refusal(cluster: &Arc<Cluster>) -> String {
    let front = cluster.front().await;
    Client::open(front.at, "?token=t", "").await.1
}

#[tokio::test]
async fn a_session_runs_where_its_line_runs_and_shows_its_user() {
    let mut rig = Rig::new().await;
    let front = rig.cluster.front().await;
    let token = rig.token("alice", Mode::Write).await;
    let mut client = Client::raw(front.at, &token).await;
    client.write(b"uname\r").await;
    assert_eq!(rig.typed(6).await, b"uname\r");
    rig.guest.write_all(b"Linux\r\n").await.unwrap();
    assert_eq!(client.output(7).await, b"Linux\r\n");
    let session = rig.lines.sessions().pop().unwrap();
    assert_eq!(session.user, "alice");
    assert_eq!(session.address, client.stream.local_addr().unwrap().to_string());
}

#[tokio::test]
async fn a_token_in_a_cookie_goes_on_and_no_other_cookie_or_header_does() {
    let (told, mut asked) = mpsc::channel(1);
    let cluster = Cluster::of(move |mut stream| {
        let told = told.clone();
        async move {
            let head = answer(&mut stream, b"HTTP/1.1 409 Conflict\r\n\r\n").await;
            told.send(head).await.unwrap();
        }
    });
    let front = cluster.await.front().await;
    let headers = "Cookie: dashboard=secret; token=\"t\"\r\nX-Auth-Token: secret\r\n\
         Serialproxy-Client: 10.0.0.1:1 https evil\r\nX-Forwarded-For: 10.0.0.1\r\n\
         Sec-WebSocket-Protocol: binary\r\nSec-WebSocket-Protocol: base64\r\n";
    let (client, _) = Client::open(front.at, "a/b?mode=watch", headers).await;
    let asked = asked.recv().await.unwrap();
    let mut lines: Vec<_> = asked.trim().lines().collect();
    assert_eq!(lines.remove(0), "GET /a/b?mode=watch HTTP/1.1");
    lines.sort_unstable();
    let address = client.stream.local_addr().unwrap();
    let wanted = [
        "connection: Upgrade".into(),
        "cookie: token=t".into(),
        format!("host: {}", front.at),
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==".into(),
        "sec-websocket-protocol: base64".into(),
        "sec-websocket-protocol: binary".into(),
        "sec-websocket-version: 13".into(),
        format!("serialproxy-client: {address} http {}", front.at),
        "upgrade: websocket".into(),
    ];
    assert_eq!(lines, wanted);
}

#[tokio::test]
async fn what_a_host_refuses_comes_back_as_it_says_it() {
    let rig = Rig::new().await;
    let (direct, _shutdown) = serve(Arc::clone(&rig.proxy)).await;
    let front = rig.cluster.front().await;
    let [writes, watches] = [Mode::Write, Mode::Watch].map(|mode| rig.token("alice", mode));
    let (writes, watches) = (writes.await, watches.await);
    let _alice = Client::raw(direct, &writes).await;
    let bob = rig.token("bob", Mode::Write).await;
    for (target, status) in [
        (format!("?token={bob}"), 409),
        (format!("?token={watches}&mode=write"), 403),
        (format!("?token={bob}&from=moon"), 400),
        ("?token=unknown".into(), 401),
        ("?".into(), 401),
    ] {
        let told = async |at| {
            let (client, head) = Client::open(at, &target, "").await;
            client.ended().await;
            let mut lines: Vec<_> = head.lines().map(str::to_owned).collect();
            lines.retain(|line| !line.starts_with("date:"));
            lines.sort();
            lines
        };
        let expected = told(direct).await;
        let head = expected.join("\n");
        assert!(head.contains(&format!("HTTP/1.1 {status} ")), "{target}: {head}");
        assert_eq!(status == 409, head.contains("busy: alice since "), "{head}");
        assert_eq!(told(front.at).await, expected, "{target}");
        let code = async |at| Client::open(at, &target, V1).await.0.closed().await;
        assert_eq!(code(front.at).await, code(direct).await, "{target}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_before_any_host_is_asked() {
    let rig = Rig::new().await;
    let front = rig.cluster.front().await;
    let token = rig.token("alice", Mode::Write).await;
    let target = format!("?token={token}");
    let (_, head) = Client::open(front.at, &target, "Origin: http://evil.example\r\n").await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert!(rig.cluster.sought.lock().unwrap().is_empty());
    // The host has another address, which no page knows.
    let own = format!("Origin: http://{}\r\n", front.at);
    let (_, head) = Client::open(front.at, &target, &own).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn who_cannot_be_brought_to_a_host_is_told_why() {
    let rig = Rig::new().await;
    let front = rig.cluster.front().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    *rig.cluster.at.lock().unwrap() = nobody;
    let away = || Refusal::HostLost("host-1 is away".into());
    for (refusal, status, cause, code) in [
        (Some(Refusal::Token), 401, "token", 4001),
        (Some(Refusal::Unavailable("etcd is away".into())), 503, "store", 1011),
        (Some(away()), 503, "host_lost", 4014),
        // Nobody listens there.
        (None, 503, "host_lost", 4014),
    ] {
        *rig.cluster.refusal.lock().unwrap() = refusal;
        let (_, head) = Client::open(front.at, "?token=t", "").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains(&format!("x-console-cause: {cause}\r\n")), "{head}");
        let (client, _) = Client::open(front.at, "?token=t", V1).await;
        assert_eq!(client.closed().await, code, "{cause}");
    }
}

#[tokio::test]
async fn a_session_comes_back_through_another_proxy() {
    let mut rig = Rig::new().await;
    let (one, other) = (rig.cluster.front().await, rig.cluster.front().await);
    let token = rig.token("alice", Mode::Write).await;
    let (client, first) = Client::v1(one.at, &format!("?token={token}&from=live")).await;
    drop(client);
    rig.guest.write_all(b"meanwhile").await.unwrap();
    let query = format!(
        "?resume={}&from={}&line={}",
        first["resume"].as_str().unwrap(),
        first["offset"],
        first["line"].as_str().unwrap()
    );
    let (mut client, again) = Client::v1(other.at, &query).await;
    assert_eq!(again["session"], first["session"]);
    assert_eq!(again["mode"], "write");
    assert_eq!(client.output(9).await, b"meanwhile");
    client.write(b"x").await;
    assert_eq!(rig.typed(1).await, b"x");
    let key = rig.line.key();
    assert_eq!(rig.cluster.sought.lock().unwrap().last(), Some(&Sought::Line(key)));
}

#[tokio::test]
async fn the_history_of_a_session_is_fetched_from_its_host() {
    let mut rig = Rig::new().await;
    let front = rig.cluster.front().await;
    let token = rig.token("alice", Mode::Write).await;
    let (mut client, hello) = Client::v1(front.at, &format!("?token={token}&from=live")).await;
    rig.guest.write_all(b"hello").await.unwrap();
    client.output(5).await;
    let fetch = async |key: &str| {
        let mut stream = TcpStream::connect(front.at).await.unwrap();
        let request = format!(
            "GET /history?from=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             X-Console-Resume: {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = fetch(hello["resume"].as_str().unwrap()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("x-console-end: 5\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nello"), "{answer}");
    let unknown = fetch(&format!("{}.0.x", rig.line.key().server)).await;
    assert!(unknown.starts_with("HTTP/1.1 401 "), "{unknown}");
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
async fn a_host_that_answers_nonsense_or_too_much_is_as_good_as_lost() {
    let long: &'static [u8] =
        [b"HTTP/1.1 409 Conflict\r\nx: ".as_slice(), &[b'a'; 64 * 1024]].concat().leak();
    let large: &'static [u8] =
        [b"HTTP/1.1 409 Conflict\r\n\r\n".as_slice(), &[b'a'; 300 * 1024]].concat().leak();
    let many = [b"HTTP/1.1 409 Conflict\r\n".as_slice(), &b"a: b\r\n".repeat(1000)].concat();
    for text in [b"\x16\x03nonsense\r\n\r\n".as_slice(), long, large, many.leak()] {
        let head = refusal(&answering(text).await).await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(head.contains("x-console-cause: host_lost\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_host_that_only_goes_on_promising_is_as_good_as_lost() {
    let cluster = Cluster::of(async |mut stream| {
        answer(&mut stream, b"").await;
        tokio::time::pause();
        tokio::time::advance(2 * ANSWER).await;
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_ok() {
            yield_now().await;
        }
    });
    let head = refusal(&cluster.await).await;
    assert!(head.contains("x-console-cause: host_lost\r\n"), "{head}");
}

#[tokio::test]
async fn what_a_host_says_cannot_act_on_pages_of_the_proxy() {
    let text =
        b"HTTP/1.1 409 Conflict\r\nSet-Cookie: token=mine\r\nLocation: http://evil.example\r\n\
        Refresh: 0\r\nX-Console-Cause: busy\r\nContent-Length: 0\r\n\r\n";
    let head = refusal(&answering(text).await).await;
    assert!(head.contains("x-console-cause: busy\r\n"), "{head}");
    for name in ["cookie", "location", "refresh"] {
        assert!(!head.contains(name), "{head}");
    }
}

#[tokio::test]
async fn only_a_proxy_speaks_for_a_user_and_only_in_the_right_form() {
    let rig = Rig::new().await;
    let token = rig.token("alice", Mode::Write).await;
    let user = "Serialproxy-Client: 192.0.2.7:5 https proxy.example\r\n";
    let history = "X-Console-Resume: x\r\n";
    for (forwards, upgrade, headers, status) in [
        (true, true, user.to_owned(), 101),
        (false, true, user.to_owned(), 403),
        (true, true, String::new(), 400),
        (true, true, format!("{user}{user}"), 400),
        (true, true, "Serialproxy-Client: 192.0.2.7\r\n".into(), 400),
        (true, false, user.to_owned(), 404),
        (true, false, format!("{user}{history}"), 404),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = Stream::Plain(listener.accept().await.unwrap().0);
        tokio::spawn(Arc::clone(&rig.proxy).serve_peer(stream, forwards, Box::pin(pending())));
        let upgrade = match upgrade {
            true => {
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
            false => "",
        };
        let request =
            format!("GET /v1/servers?token={token} HTTP/1.1\r\nHost: a\r\n{upgrade}{headers}\r\n");
        peer.write_all(request.as_bytes()).await.unwrap();
        let mut head = vec![0; 12];
        peer.read_exact(&mut head).await.unwrap();
        assert_eq!(head, format!("HTTP/1.1 {status}").as_bytes(), "{headers}");
        if status == 101 {
            let session = rig.lines.sessions().pop().unwrap();
            assert_eq!(session.address, "192.0.2.7:5");
        }
    }
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

/// The answer of a proxy to load balancers.
async fn health(at: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
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
            // It hears the end of the connection, and nothing from which it would learn of the shutdown.
            assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        }
    });
    let front = cluster.await.front().await;
    let (mut client, _) = Client::open(front.at, "?token=t", "").await;
    begins.recv().await.unwrap();
    assert_eq!(client.take(5).await, b"\x82\x05hel");
    front.shutdown.cancel();
    // So that the drain has begun.
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
async fn wrong_tokens_that_a_host_refuses_count_for_the_user_s_address() {
    let rig = Rig::new().await;
    let front = rig.cluster.front_with(|config| config.limits.failures_per_minute = 2).await;
    let wrong = || Client::open(front.at, "?token=wrong", "");
    for _ in 0..2 {
        assert!(wrong().await.1.starts_with("HTTP/1.1 401 "));
    }
    let delayed = tokio::time::timeout(Duration::from_millis(500), wrong()).await;
    assert!(delayed.is_err());
}

#[tokio::test]
async fn wrong_resume_keys_count_for_the_user_s_address_until_no_host_is_asked_for_them() {
    let rig = Rig::new().await;
    let key = format!("{}.0.{}", rig.line.key().server, "x".repeat(43));
    let resume = format!("?resume={key}");
    let asked = || rig.cluster.sought.lock().unwrap().len();
    let front = rig.cluster.front_with(|config| config.limits.failures_per_minute = 2).await;
    let wrong = || async { Client::open(front.at, &resume, V1).await.0.closed().await };
    for _ in 0..2 {
        assert_eq!(wrong().await, 4001);
    }
    assert_eq!(asked(), 2);
    // The third is answered later, and the next one is not even asked for.
    let half = Duration::from_millis(500);
    assert!(tokio::time::timeout(half, wrong()).await.is_err());
    assert_eq!(asked(), 3);
    assert!(tokio::time::timeout(half, wrong()).await.is_err());
    assert_eq!(asked(), 3);
}

#[tokio::test]
async fn wrong_keys_for_a_history_count_as_well() {
    let rig = Rig::new().await;
    let key = format!("{}.0.{}", rig.line.key().server, "x".repeat(43));
    let front = rig.cluster.front_with(|config| config.limits.failures_per_minute = 1).await;
    let fetch = async || {
        let mut stream = TcpStream::connect(front.at).await.unwrap();
        let request = format!(
            "GET /history HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Console-Resume: {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(fetch().await.starts_with("HTTP/1.1 401 "));
    assert!(tokio::time::timeout(Duration::from_millis(500), fetch()).await.is_err());
}
