//! A user's way to a host and back.

use std::future::pending;
use std::sync::Arc;

use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use serialproxy_tls::Stream;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::V1;
use crate::Sought;
use crate::passing::rig::Client;
use crate::passing::rig::Cluster;
use crate::passing::rig::Rig;
use crate::passing::rig::answer;
use crate::passing::rig::serve;

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
    // The host's own address is another one, which pages never use.
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
        // Nothing listens at the address.
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
