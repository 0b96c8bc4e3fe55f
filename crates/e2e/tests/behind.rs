//! Behind a reverse proxy: the user's address and scheme are those that a trusted one reports, in
//! headers or with the PROXY protocol; reports of others are ignored.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "that is how a test fails")]

use std::net::SocketAddr;
use std::process::Stdio;

use serialproxy_e2e::address::free_port;
use serialproxy_e2e::eventually;
use serialproxy_e2e::exchange::Head;
use serialproxy_e2e::exchange::ask;
use serialproxy_e2e::exchange::upgrade;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::within;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::process::Command;

/// The address of users. Reverse proxies, the only trusted addresses, are at 127.0.0.1.
const USER: &str = "127.0.0.9";
const TRUSTED: &str = "--proxy-trusted_proxies=127.0.0.1,10.0.0.0/8";

/// A connection from an address of this machine.
async fn connect(from: &str, to: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    within(socket.connect(to.parse().unwrap())).await.unwrap()
}

/// Sends bytes from this address, and reads the head of the answer; none where the connection is
/// closed.
async fn said(from: &str, to: &str, bytes: &[u8]) -> Option<(Head, TcpStream)> {
    let mut stream = connect(from, to).await;
    // A connection that is refused at once may be closed already.
    let _ = stream.write_all(bytes).await;
    let head = within(Head::read(&mut stream)).await.ok()?;
    Some((head, stream))
}

/// Attaches a watcher from this address with these headers, and with bytes before the request.
async fn attach(
    rig: &Rig,
    (from, to): (&str, &str),
    before: &[u8],
    headers: &[(&str, &str)],
) -> Option<(Head, TcpStream)> {
    let request = upgrade(&rig.path("&mode=watch").await, to, headers);
    said(from, to, &[before, request.as_bytes()].concat()).await
}

/// The status of the answer to such a watcher, who leaves at once.
async fn status(rig: &Rig, ends: (&str, &str), headers: &[(&str, &str)]) -> u16 {
    attach(rig, ends, b"", headers).await.unwrap().0.status
}

/// The address of the only session, in the list and in the log.
async fn address(rig: &Rig) -> String {
    let address = eventually(async || {
        let sessions = rig.server.get("/v1/sessions").await.json;
        let [session] = &sessions["sessions"].as_array().unwrap()[..] else { return None };
        Some(session["address"].as_str().unwrap().to_owned())
    })
    .await;
    let logged = format!("address=\"{address}\"");
    eventually(async || rig.server.log().contains(&logged).then_some(())).await;
    address
}

/// The address of such a watcher, without the port, which is not known before.
async fn seen(rig: &Rig, ends: (&str, &str), before: &[u8], headers: &[(&str, &str)]) -> String {
    let (head, stream) = attach(rig, ends, before, headers).await.unwrap();
    assert_eq!(head.status, 101, "{head:?}");
    let address = address(rig).await;
    drop(stream);
    rig.deserted().await;
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_string(),
        Err(_) => address,
    }
}

#[tokio::test]
async fn a_user_is_where_a_trusted_reverse_proxy_says_and_nobody_else() {
    let rig = Rig::start(&[TRUSTED]).await;
    let near = ("127.0.0.1", rig.server.proxy.as_str());
    let x_for = ("x-forwarded-for", "198.51.100.7");
    let forwarded = ("forwarded", "for=198.51.100.7");
    for (headers, user) in [
        (vec![], "127.0.0.1"),
        (vec![x_for], "198.51.100.7"),
        (vec![forwarded], "198.51.100.7"),
        (vec![x_for, forwarded], "198.51.100.7"),
        (vec![("x-forwarded-for", "127.0.0.1, 198.51.100.7, 10.1.2.3")], "198.51.100.7"),
        (vec![("forwarded", "for=\"[2001:db8::7]:4711\";proto=https")], "2001:db8::7"),
        (vec![("x-forwarded-for", "unknown")], "127.0.0.1"),
    ] {
        assert_eq!(seen(&rig, near, b"", &headers).await, user, "{headers:?}");
    }
    let far = (USER, rig.server.proxy.as_str());
    assert_eq!(seen(&rig, far, b"", &[x_for, forwarded]).await, USER, "a stranger's word");
    for lie in ["for=192.0.2.1", "for=\"198.51.100.7", "for=198.51.100.7;for=192.0.2.1"] {
        assert_eq!(status(&rig, near, &[x_for, ("forwarded", lie)]).await, 400, "{lie}");
    }
    let nobody = Rig::start(&[]).await;
    let near = ("127.0.0.1", nobody.server.proxy.as_str());
    assert_eq!(seen(&nobody, near, b"", &[x_for, forwarded]).await, "127.0.0.1");
}

#[tokio::test]
async fn a_page_was_loaded_as_a_trusted_reverse_proxy_says() {
    let rig = Rig::start(&[TRUSTED]).await;
    let to = rig.server.proxy.as_str();
    let (plain, secure) = (format!("http://{to}"), format!("https://{to}"));
    let (x_proto, proto) =
        (("x-forwarded-proto", "https"), ("forwarded", "for=1.2.3.4;proto=https"));
    for (from, headers, origin, wanted) in [
        ("127.0.0.1", vec![x_proto], &secure, 101),
        ("127.0.0.1", vec![proto], &secure, 101),
        ("127.0.0.1", vec![x_proto], &plain, 403),
        ("127.0.0.1", vec![], &secure, 403),
        (USER, vec![x_proto, proto], &secure, 403),
        (USER, vec![x_proto], &plain, 101),
    ] {
        let headers = [&headers[..], &[("origin", origin)]].concat();
        assert_eq!(status(&rig, (from, to), &headers).await, wanted, "{from} {headers:?}");
    }
}

#[tokio::test]
async fn limits_are_those_of_the_user_and_not_of_the_reverse_proxy() {
    let limits = ["--limits-sessions_per_address=1", "--limits-connections_per_address=2"];
    let rig = Rig::start(&[&limits[..], &[TRUSTED]].concat()).await;
    let near = ("127.0.0.1", rig.server.proxy.as_str());
    let mut held = Vec::new();
    for user in 1..6 {
        let user = format!("198.51.100.{user}");
        let headers = [("x-forwarded-for", user.as_str())];
        let (head, stream) = attach(&rig, near, b"", &headers).await.unwrap();
        assert_eq!(head.status, 101, "{user}: {head:?}");
        held.push(stream);
        assert_eq!(status(&rig, near, &headers).await, 503, "{user} has a session");
    }
    // The connection of a user whom another proxy reports counts as well.
    let from = |port: u16| format!("PROXY TCP4 198.51.100.99 127.0.0.1 {port} 6083\r\n");
    let rig =
        Rig::start(&[&limits[1..], &[TRUSTED, "--proxy-proxy_protocol=accept"]].concat()).await;
    let to = rig.server.proxy.as_str();
    let (mut first, mut second) = (connect("127.0.0.1", to).await, connect("127.0.0.1", to).await);
    for (stream, port) in [(&mut first, 1), (&mut second, 2)] {
        let request = format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", from(port));
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(within(Head::read(stream)).await.unwrap().status, 200);
    }
    let third = format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", from(3));
    assert!(said("127.0.0.1", to, third.as_bytes()).await.is_none(), "it is the third");
}

/// A header of version 2 for a user at 198.51.100.7, port 4711, with these TLVs.
fn version_2(command: u8, notes: &[u8]) -> Vec<u8> {
    let addresses = [198, 51, 100, 7, 127, 0, 0, 1, 0x12, 0x67, 0x17, 0xc3];
    let length = u16::try_from(addresses.len() + notes.len()).unwrap().to_be_bytes();
    let head = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, 0x11], &length];
    [&head.concat(), &addresses[..], notes].concat()
}

const VERSION_1: &[u8] = b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 6083\r\n";

#[tokio::test]
async fn a_header_of_the_proxy_protocol_names_the_user_where_a_trusted_one_sends_it() {
    let rig = Rig::start(&[TRUSTED, "--proxy-proxy_protocol=accept"]).await;
    let to = rig.server.proxy.as_str();
    let near = ("127.0.0.1", to);
    for (before, user) in [
        (VERSION_1.to_vec(), "198.51.100.7"),
        (version_2(0x21, &[]), "198.51.100.7"),
        (version_2(0x21, &[4, 0, 1, 0]), "198.51.100.7"),
        (version_2(0x20, &[]), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (Vec::new(), "127.0.0.1"),
    ] {
        assert_eq!(seen(&rig, near, &before, &[]).await, user, "{before:?}");
    }
    // Such a connection may carry the user's own headers.
    let lie = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")];
    assert_eq!(seen(&rig, near, VERSION_1, &lie).await, "198.51.100.7");
    // The scheme, if the header contains it.
    let secure = [("origin", &*format!("https://{to}"))];
    let by_tls = version_2(0x21, &[0x20, 0, 5, 1, 0, 0, 0, 0]);
    for (before, wanted) in [(&by_tls[..], 101), (VERSION_1, 403)] {
        let (head, _) = attach(&rig, near, before, &secure).await.unwrap();
        assert_eq!(head.status, wanted, "{head:?}");
    }
    // Without trust, the header is invalid HTTP; an invalid header ends the connection.
    assert_eq!(attach(&rig, (USER, to), VERSION_1, &[]).await.unwrap().0.status, 400);
    for broken in [&b"PROXY TCP4 x\r\n"[..], &[b'P'; 200], &version_2(0x31, &[]), &VERSION_1[..20]]
    {
        let answer = attach(&rig, near, broken, &[]).await;
        assert!(answer.is_none_or(|(head, _)| head.status >= 400), "{broken:?}");
    }
    let long = [&VERSION_1[..VERSION_1.len() - 2], &[b' '; 100]].concat();
    assert!(attach(&rig, near, &long, &[]).await.is_none());
}

#[tokio::test]
async fn where_the_proxy_protocol_is_required_nobody_comes_without() {
    let rig = Rig::start(&[TRUSTED, "--proxy-proxy_protocol=require"]).await;
    let to = rig.server.proxy.as_str();
    assert_eq!(seen(&rig, ("127.0.0.1", to), VERSION_1, &[]).await, "198.51.100.7");
    assert!(attach(&rig, ("127.0.0.1", to), b"", &[]).await.is_none(), "no header");
    assert!(attach(&rig, (USER, to), VERSION_1, &[]).await.is_none(), "not trusted");
    let told = || {
        rig.server.log().contains(
            "closed a connection without an accepted PROXY \
             protocol header",
        )
    };
    eventually(async || told().then_some(())).await;
    let off = Rig::start(&[TRUSTED]).await;
    let near = ("127.0.0.1", off.server.proxy.as_str());
    assert_eq!(attach(&off, near, VERSION_1, &[]).await.unwrap().0.status, 400);
}

/// HAProxy, with a port for each way of reporting users.
struct Haproxy {
    /// `127.0.0.1:P` of each: PROXY version 1, PROXY version 2, headers.
    ports: [String; 3],
    _process: Child,
    _directory: TempDir,
}

impl Haproxy {
    async fn before(proxy: &str) -> Self {
        let ports = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let [one, two, headers] = &ports;
        let listen = |name: &str, port: &str, more: &str| {
            format!("listen {name}\n    bind {port}\n    server here {proxy} {more}\n")
        };
        let config = format!(
            "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1m\n    \
             timeout server 1m\n    timeout check 10s\n{}{}{}    mode http\n    \
             option forwardfor\n    option httpchk\n    \
             http-request del-header Forwarded\n    \
             http-request set-header X-Forwarded-Proto https\n",
            listen("one", one, "send-proxy"),
            listen("two", two, "send-proxy-v2"),
            listen("headers", headers, "check inter 500ms"),
        );
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file).stdin(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().unwrap();
        for port in &ports {
            eventually(async || TcpStream::connect(port).await.ok()).await;
        }
        Self { ports, _process: process, _directory: directory }
    }
}

#[tokio::test]
async fn a_real_haproxy_names_users_by_both_versions_of_its_protocol_and_by_headers() {
    let rig = Rig::start(&[TRUSTED, "--proxy-proxy_protocol=accept"]).await;
    let haproxy = Haproxy::before(&rig.server.proxy).await;
    let lies = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")];
    for port in &haproxy.ports {
        assert_eq!(seen(&rig, (USER, port), b"", &[]).await, USER, "{port}");
        assert_eq!(seen(&rig, (USER, port), b"", &lies).await, USER, "a lie through {port}");
    }
    let headers = &haproxy.ports[2];
    let origin = format!("https://{headers}");
    assert_eq!(status(&rig, (USER, headers), &[("origin", &origin)]).await, 101);
}

#[tokio::test]
async fn load_balancers_that_look_whether_somebody_is_there_are_answered() {
    let rig = Rig::start(&[]).await;
    let api = rig.server.api_address();
    for (request, at_api) in [
        ("OPTIONS / HTTP/1.0\r\n\r\n", 200),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 300),
        ("OPTIONS /serial.html HTTP/1.1\r\nHost: a\r\n\r\n", 300),
        ("GET / HTTP/1.0\r\n\r\n", 200),
        ("HEAD / HTTP/1.0\r\n\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ] {
        assert_eq!(ask(None, &rig.server.proxy, request).await.status, 200, "{request}");
        assert_eq!(ask(None, api, request).await.status, at_api, "{request}");
    }
    // A connection that sends nothing and ends is not logged.
    let mut silent = TcpStream::connect(&rig.server.proxy).await.unwrap();
    silent.shutdown().await.unwrap();
    assert_eq!(within(silent.read(&mut [0])).await.unwrap(), 0);
    assert!(!rig.server.log().contains("peer="), "{}", rig.server.log());
}
