//! Nova's own tests of its proxy (`unit/console/test_websocketproxy.py`,
//! `unit/cmd/test_baseproxy.py`), with the same names, for our replacement. docs/openstack.md says
//! why the others have no counterpart here.

#![allow(clippy::unwrap_used, reason = "that is how a test fails")]

use serialproxy_e2e::cloud::Fault;
use serialproxy_e2e::drop_in::DropIn;
use serialproxy_e2e::drop_in::Rig;
use serialproxy_e2e::eventually;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Checks that a watcher with these headers is accepted.
async fn accepted(rig: &Rig, headers: &[(&str, &str)]) {
    let watch = format!("{}&mode=watch", rig.token());
    let serve = async {
        let mut guests = Vec::new();
        loop {
            guests.push(rig.port.accept().await);
        }
    };
    let answer = tokio::select! {
        answer = rig.refused(&watch, headers) => answer,
        () = serve => unreachable!("it has no end"),
    };
    assert_eq!(answer.status, 101, "{}", answer.reason);
}

/// Checks that a handshake with these headers is refused, for a reason with these words, and
/// without a connection to the port.
async fn forbidden(more: &str, headers: &[(&str, &str)], words: &str) {
    let rig = Rig::with(more, &[]).await;
    let refused = rig.refused(&rig.token(), headers).await;
    assert_eq!((refused.status, refused.body), (403, 0));
    assert!(refused.reason.contains(words), "{}", refused.reason);
    assert!(!rig.port.is_dialed_within(std::time::Duration::from_millis(50)).await);
}

/// A base_url of this scheme.
fn base(scheme: &str) -> String {
    format!("[serial_console]\nbase_url = {scheme}://127.0.0.1:6083/\n")
}

#[tokio::test]
async fn test_new_websocket_client() {
    let rig = Rig::new().await;
    let token = rig.token();
    let (mut session, mut guest) =
        tokio::join!(Socket::raw(&rig.drop_in.proxy, &token), rig.port.accept());
    guest.print(b"x").await;
    session.output_with(b"x").await;
    assert!(!rig.drop_in.log().contains(&token));
}

#[tokio::test]
async fn test_new_websocket_client_ipv6_url() {
    let headers = [("host", "[::1]:6083"), ("origin", "http://[::1]:6083")];
    let rig = Rig::with("", &["--host=::1"]).await;
    accepted(&rig, &headers).await;
}

#[tokio::test]
async fn test_new_websocket_client_db_instance_not_found() {
    let rig = Rig::new().await;
    let token = rig.token();
    rig.cloud.delete(rig.server);
    assert_eq!(rig.refused(&token, &[]).await.status, 401);
}

#[tokio::test]
async fn test_new_websocket_client_token_invalid() {
    let rig = Rig::new().await;
    let refused = rig.refused("XXX", &[]).await;
    assert_eq!((refused.status, refused.body), (401, 0));
}

#[tokio::test]
async fn test_no_compute_rpcapi_with_invalid_token() {
    let rig = Rig::new().await;
    for token in ["", "../../servers/1", "%2e%2e%2f", &"a".repeat(129)] {
        assert_eq!(rig.refused(token, &[]).await.status, 401);
    }
    let lookups = |call: &String| call.contains("/os-console-auth-tokens/");
    assert!(!rig.cloud.calls().iter().any(lookups), "nobody is asked for what cannot be a token");
    rig.refused("unknown", &[]).await;
    let servers = |call: &String| call.contains("/servers/");
    assert!(!rig.cloud.calls().iter().any(servers), "{:?}", rig.cloud.calls());
}

/// Attaches to a port that requires a request for a path, and gives this answer to it.
async fn by_path(answer: &[u8]) -> Result<(Socket, Guest, Rig), u16> {
    let rig = Rig::new().await;
    let token = rig.cloud.console_token_by(rig.server, rig.port.address(), Some("vmid"));
    let hypervisor = async {
        loop {
            let mut guest = rig.port.accept().await;
            assert_eq!(guest.typed(25).await, b"CONNECT vmid HTTP/1.1\r\n\r\n");
            guest.print(answer).await;
            if answer.starts_with(b"HTTP/1.1 200") {
                return guest;
            }
        }
    };
    if answer.starts_with(b"HTTP/1.1 200") {
        let watch = format!("{token}&mode=watch&from=start");
        let (session, guest) = tokio::join!(Socket::raw(&rig.drop_in.proxy, &watch), hypervisor);
        return Ok((session, guest, rig));
    }
    tokio::select! {
        refused = rig.refused(&token, &[]) => Err(refused.status),
        _ = hypervisor => unreachable!("it is refused"),
    }
}

#[tokio::test]
async fn test_new_websocket_client_internal_access_path() {
    assert!(by_path(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok());
}

#[tokio::test]
async fn test_new_websocket_client_internal_access_path_err() {
    assert_eq!(by_path(b"HTTP/1.1 500 Internal Server Error\r\n\r\n").await.err(), Some(502));
}

#[tokio::test]
async fn test_new_websocket_client_internal_access_path_rfb() {
    let (mut session, _guest, _rig) =
        by_path(b"HTTP/1.1 200 OK\r\n\r\nRFB 003.003\n").await.unwrap();
    session.output_with(b"RFB 003.003\n").await;
}

#[tokio::test]
async fn test_new_websocket_client_novnc_bad_origin_header() {
    forbidden("", &[("origin", "http://bad-origin-example.net:6080")], "bad-origin").await;
}

#[tokio::test]
async fn test_new_websocket_client_novnc_blank_origin_header() {
    forbidden("", &[("origin", "")], "not valid").await;
}

#[tokio::test]
async fn test_new_websocket_client_novnc_https_origin_proto_http() {
    forbidden(&base("http"), &[("origin", "https://127.0.0.1:6080")], "https").await;
}

#[tokio::test]
async fn test_new_websocket_client_novnc_https_origin_proto_ws() {
    forbidden(&base("ws"), &[("origin", "https://127.0.0.1:6080")], "https").await;
}

#[tokio::test]
async fn test_new_websocket_client_novnc_allowed_origin_header() {
    let rig = Rig::with("[console]\nallowed_origins = allowed-origin-example-1.net\n", &[]).await;
    accepted(&rig, &[("origin", "http://allowed-origin-example-1.net:6080")]).await;
}

#[tokio::test]
async fn test_new_websocket_client_novnc_no_origin_header() {
    accepted(&Rig::new().await, &[]).await;
}

#[tokio::test]
async fn test_new_websocket_client_http_forwarded_proto_https() {
    let headers = [("origin", "http://127.0.0.1:6080"), ("x-forwarded-proto", "https")];
    accepted(&Rig::with(&base("wss"), &[]).await, &headers).await;
}

#[tokio::test]
async fn test_malformed_cookie() {
    let rig = Rig::new().await;
    let cookie = format!("?=!; foo bar; token=\"{}\"", rig.token());
    let headers = [("cookie", cookie.as_str())];
    let (mut session, mut guest) =
        tokio::join!(Socket::open(&rig.drop_in.proxy, "/websockify", &headers), rig.port.accept());
    guest.print(b"x").await;
    session.output_with(b"x").await;
    assert!(!rig.drop_in.log().contains("foo bar"), "what is malformed may be a secret");
}

/// The head of the answer to a GET with an additional header.
async fn get(rig: &Rig, path: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(&rig.drop_in.proxy).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split_once("\r\n\r\n").unwrap().0.to_lowercase()
}

/// Checks that a path with a valid token has no answer, with any method.
async fn rejected(path: &str) {
    let rig = Rig::new().await;
    let path = format!("{path}?token={}", rig.token());
    for more in ["", "Upgrade: websocket\r\n"] {
        let head = get(&rig, &path, more).await;
        assert!(head.starts_with("http/1.1 400") && !head.contains("location:"), "{head}");
    }
}

#[tokio::test]
async fn test_reject_open_redirect() {
    rejected("//example.com/%2F..").await;
}

#[tokio::test]
async fn test_reject_open_redirect_3_slashes() {
    rejected("///example.com/%2F..").await;
}

#[tokio::test]
async fn test_host_header_does_not_poison_allowed_origins() {
    let rig = Rig::new().await;
    let evil = ("origin", "http://evil.example");
    accepted(&rig, &[("host", "evil.example"), evil]).await;
    assert_eq!(rig.refused(&rig.token(), &[evil]).await.status, 403);
}

#[tokio::test]
async fn test_previous_host_does_not_bypass_origin_check() {
    let rig = Rig::new().await;
    for host in ["one.example", "two.example"] {
        let origin = format!("http://{host}");
        accepted(&rig, &[("host", host), ("origin", &origin)]).await;
    }
    let headers = [("host", "two.example"), ("origin", "http://one.example")];
    assert_eq!(rig.refused(&rig.token(), &headers).await.status, 403);
}

#[tokio::test]
async fn test_address_string_doesnt_do_reverse_dns_lookup() {
    let rig = Rig::new().await;
    rig.refused("unknown", &[]).await;
    let told = || rig.drop_in.log().contains("attach refused peer=127.0.0.1:");
    eventually(async || told().then_some(())).await;
}

#[tokio::test]
async fn test_enforce_session_timeout_timer_called() {
    let enforce = "[consoleauth]\nenforce_session_timeout = true\ntoken_ttl = 10\n";
    let rig = Rig::with(enforce, &[]).await;
    let token = rig.token();
    let proxy = &rig.drop_in.proxy;
    let (mut session, mut guest) = tokio::join!(Socket::raw(proxy, &token), rig.port.accept());
    // An unreachable Nova does not make a token invalid.
    rig.cloud.fail(Some(("/v2.1", Fault::Status(503))));
    eventually(async || {
        rig.drop_in.log().contains("whether a session's token is still valid").then_some(())
    })
    .await;
    guest.print(b"x").await;
    session.output_with(b"x").await;
    rig.cloud.fail(None);
    rig.cloud.expire(&token);
    assert_eq!(session.closed().await, (4008, "the console URL has expired".to_owned()));
}

#[tokio::test]
async fn test_enforce_session_timeout_timer_not_called() {
    let rig = Rig::with("[consoleauth]\ntoken_ttl = 1\n", &[]).await;
    let token = rig.token();
    let proxy = &rig.drop_in.proxy;
    let (mut session, mut guest) = tokio::join!(Socket::raw(proxy, &token), rig.port.accept());
    rig.cloud.expire(&token);
    let calls = rig.cloud.calls().len();
    assert_eq!(rig.refused(&token, &[]).await.status, 401, "it has expired");
    guest.print(b"x").await;
    session.output_with(b"x").await;
    assert_eq!(rig.cloud.calls().len(), calls + 1, "only the refused one was asked about");
}

#[tokio::test]
async fn test_novnc_bad_token() {
    let rig = Rig::new().await;
    let refused = rig.refused("token", &[("sec-websocket-protocol", "binary")]).await;
    assert_eq!((refused.status, refused.body), (401, 0), "no data follows");
}

#[tokio::test]
async fn test_proxy_web_dir_does_not_exist() {
    let (status, words) = DropIn::give_up(&["--web", "/nonexistent"]).await;
    assert_eq!(status.code(), Some(2));
    assert!(words.contains("[serial_console] web: \"/nonexistent\" is not a directory"), "{words}");
}

#[tokio::test]
async fn test_proxy_ssl_without_cert() {
    let (status, words) = DropIn::give_up(&["--ssl_only", "--cert", "/nonexistent.pem"]).await;
    assert_eq!(status.code(), Some(2));
    assert!(words.contains("ssl_only") && words.contains("/nonexistent.pem"), "{words}");
}
