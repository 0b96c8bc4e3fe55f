use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use futures_util::stream::Pending;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::Value;
use serialproxy_proto::relayed::RelayedUser;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const NEAR: Client = client([127, 0, 0, 1]);
const FAR: Client = client([192, 0, 2, 7]);

const fn client([a, b, c, d]: [u8; 4]) -> Client {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 50_000);
    Client { address, secure: false, trusted: false, passed_on: false, of_nova: false }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// An API that answers one call with `answer`, and returns the request.
async fn api(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !is_whole(&asked) {
            assert_ne!(stream.read_buf(&mut asked).await.unwrap(), 0, "half a request");
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(asked).unwrap()
    });
    (address, asked)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

/// An address at which nothing listens.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

fn relay(api: &str) -> Relay {
    let mut config = Config::default();
    config.proxy.api = Some(ApiAddress { tls: false, authority: api.to_owned() });
    config.serial_console.base_url = Some("https://console.example/serial.html".into());
    Relay::new(&config, None)
}

fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "proxy.example:6083");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

fn get(headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    request(Method::GET, "/v1/servers", headers)
}

/// Status and fault of an answer, which must have Nova's form.
async fn fault(answer: Relayed) -> (u16, String) {
    let status = answer.status().as_u16();
    let json: Value = serde_json::from_str(&text(answer).await).unwrap();
    let (name, fault) = json.as_object().unwrap().iter().next().unwrap();
    assert_eq!(fault["code"], status);
    (status, format!("{name}: {}", fault["message"].as_str().unwrap()))
}

async fn text(answer: Relayed) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// The answer to a request of a relay whose API cannot be reached.
async fn refused(client: Client, headers: &[(&str, &str)]) -> u16 {
    let relay = relay(&nobody().await);
    fault(relay.answer(client, get(headers)).await).await.0
}

#[tokio::test]
async fn a_call_goes_on_with_its_method_path_query_and_body() {
    let (address, asked) = api(OK).await;
    let mut call = request(Method::POST, "/v1/servers/a/stop?x=a%20b", &[]);
    *call.body_mut() = r#"{"force":true}"#.into();
    let answer = relay(&address).answer(NEAR, call).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(text(answer).await, "{}");
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("POST /v1/servers/a/stop?x=a%20b HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("\r\nhost: {address}\r\n")), "{asked}");
    assert!(asked.ends_with("\r\n\r\n{\"force\":true}"), "{asked}");
}

#[tokio::test]
async fn only_the_headers_that_the_api_needs_go_on() {
    let (address, asked) = api(OK).await;
    let headers = [
        ("x-auth-token", "secret"),
        ("authorization", "Bearer secret"),
        ("content-type", "application/json"),
        ("x-user", "root"),
        ("cookie", "token=of-a-console"),
        ("origin", "http://proxy.example:6083"),
        ("x-forwarded-for", "127.0.0.1"),
        ("te", "trailers"),
    ];
    relay(&address).answer(NEAR, get(&headers)).await;
    let asked = asked.await.unwrap();
    let mut names: Vec<_> = asked
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':').map(|(name, _)| name))
        .collect();
    names.sort_unstable();
    let wanted = ["authorization", "content-type", "host", "serialproxy-client", "x-auth-token"];
    names.retain(|name| *name != "content-length");
    assert_eq!(names, wanted, "{asked}");
}

#[tokio::test]
async fn the_answer_comes_back_with_its_offsets_and_as_nothing_but_data() {
    let (address, asked) =
        api("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Type: application/octet-stream\r\n\
         X-Console-Next: 7\r\nSet-Cookie: a=b\r\nAccess-Control-Allow-Origin: *\r\n\
         Content-Length: 5\r\n\r\nhello")
        .await;
    let answer = relay(&address).answer(NEAR, get(&[])).await;
    assert_eq!(answer.status(), 416);
    let headers = answer.headers().clone();
    assert_eq!(headers["x-console-next"], "7");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["cache-control"], "no-store");
    assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("'none'"));
    assert!(!headers.contains_key("set-cookie"));
    assert!(!headers.contains_key("access-control-allow-origin"));
    assert_eq!(text(answer).await, "hello");
    asked.await.unwrap();
}

#[tokio::test]
async fn a_page_from_elsewhere_is_refused() {
    for origin in [
        "http://evil.example",
        "http://evil.example:6083",
        "http://proxy.example:3000",
        "http://proxy.example",
        "https://proxy.example:6083",
        "http://proxy.example.evil.example:6083",
        "http://proxy.example:6083.evil.example",
        "null",
        "",
        "proxy.example:6083",
    ] {
        let status = refused(NEAR, &[("origin", origin)]).await;
        assert_eq!(status, 403, "{origin}");
    }
    let two = [("origin", "http://proxy.example:6083"), ("origin", "http://evil.example")];
    assert_eq!(refused(NEAR, &two).await, 403);
}

#[tokio::test]
async fn pages_of_the_proxy_and_clients_that_are_no_browser_pass() {
    for headers in [
        &[][..],
        &[("origin", "http://proxy.example:6083")],
        &[("origin", "http://Proxy.example"), ("host", "proxy.example:80")],
        // The origin of base_url.
        &[("origin", "https://console.example"), ("host", "10.0.0.1")],
    ] {
        let status = refused(FAR, headers).await;
        assert_eq!(status, 502, "{headers:?}: let in, and there is no API");
    }
}

#[tokio::test]
async fn the_api_is_told_who_the_user_is_and_nobody_else_tells_it() {
    let (address, asked) = api(OK).await;
    let forged = NEAR.relayed("localhost", true).header();
    let call = get(&[("serialproxy-client", &forged)]);
    relay(&address).answer(FAR, call).await;
    let asked = asked.await.unwrap();
    let told: Vec<_> =
        asked.lines().filter_map(|line| line.strip_prefix("serialproxy-client: ")).collect();
    let [told] = told.as_slice() else { panic!("{asked}") };
    let user = FAR.relayed("proxy.example:6083", true);
    assert_eq!(RelayedUser::read(told), Some(user));
}

#[tokio::test]
async fn calls_that_the_servers_page_does_not_make_are_refused_unless_the_configuration_says_so() {
    let offered = [
        (Method::GET, "/v1/servers"),
        (Method::GET, "/v1/servers/a"),
        (Method::POST, "/v1/servers/a/start"),
        (Method::GET, "/v1/lines/a/0/output?from=1"),
        (Method::POST, "/v1/lines/a/0/break"),
        (Method::GET, "/v1/lines/a/0/links"),
        (Method::POST, "/v1/lines/a/0/links"),
        (Method::DELETE, "/v1/lines/a/0/links/b"),
        (Method::DELETE, "/v1/sessions/a"),
        (Method::GET, "/v1/login"),
        (Method::POST, "/v1/login"),
        (Method::DELETE, "/v1/login"),
        (Method::POST, "/v3/servers/a/get-serial-console?port=1"),
    ];
    let others = [
        (Method::POST, "/v1/servers"),
        (Method::DELETE, "/v1/servers/a"),
        (Method::POST, "/v1/servers/a/adopt"),
        (Method::DELETE, "/v1/servers/a/adopt"),
        (Method::GET, "/v1/users"),
        (Method::POST, "/v1/users"),
        (Method::PUT, "/v1/users/a/password"),
        (Method::POST, "/v1/login-links"),
        (Method::POST, "/v1/tokens"),
        (Method::DELETE, "/v1/tokens/a"),
        (Method::GET, "/v1/lines/a/0/output/more"),
        (Method::DELETE, "/v1/lines/a/0/links"),
        (Method::DELETE, "/v1/lines/a/0/links/b/c"),
        (Method::POST, "/v1/lines/a/0/send"),
        (Method::GET, "/v1/"),
    ];
    let mut relay = relay(&nobody().await);
    for (method, uri) in &offered {
        let answer = relay.answer(FAR, request(method.clone(), uri, &[])).await;
        assert_eq!(fault(answer).await.0, 502, "{method} {uri}: let in, and there is no API");
    }
    for (method, uri) in &others {
        let answer = relay.answer(FAR, request(method.clone(), uri, &[])).await;
        let (status, message) = fault(answer).await;
        assert_eq!(status, 403, "{method} {uri}");
        assert!(message.contains("[proxy] admin_calls"), "{message}");
    }
    relay.admin_calls = true;
    for (method, uri) in &others {
        let answer = relay.answer(FAR, request(method.clone(), uri, &[])).await;
        assert_eq!(fault(answer).await.0, 502, "{method} {uri}");
    }
}

#[tokio::test]
async fn an_api_that_is_not_there_is_a_502_in_words_which_do_not_name_its_address() {
    let address = nobody().await;
    let answer = relay(&address).answer(NEAR, get(&[])).await;
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
    let (status, message) = fault(answer).await;
    assert_eq!(status, 502);
    assert!(message.starts_with("computeFault: the API cannot be reached: try again"), "{message}");
    assert!(!message.contains(&address), "{message}");
}

#[tokio::test]
async fn an_api_that_hangs_up_or_speaks_no_http_is_a_502_too() {
    for answer in ["", "SSH-2.0-OpenSSH_9.2\r\n"] {
        let (address, asked) = api(answer).await;
        let answer = relay(&address).answer(NEAR, get(&[])).await;
        assert_eq!(fault(answer).await.0, 502);
        asked.await.unwrap();
    }
}

#[tokio::test]
async fn an_api_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut relay = relay(&listener.local_addr().unwrap().to_string());
    relay.patience = Duration::from_millis(50);
    let (status, message) = fault(relay.answer(NEAR, get(&[])).await).await;
    assert_eq!(status, 504);
    assert!(message.contains("may still succeed"), "{message}");
}

#[tokio::test]
async fn a_body_is_bounded_and_the_refusal_names_the_limit() {
    let mut relay = relay(&nobody().await);
    relay.admin_calls = true;
    for (uri, most) in [("/v1/servers/a/stop", BODY), ("/v1/users", ADMIN_BODY)] {
        let sized = |length| {
            let mut call = request(Method::POST, uri, &[]);
            *call.body_mut() = vec![0; length].into();
            call
        };
        let (status, message) = fault(relay.answer(NEAR, sized(most + 1)).await).await;
        assert_eq!(status, 413, "{uri}");
        assert!(message.ends_with(&format!("larger than {most} bytes")), "{message}");
        assert_eq!(fault(relay.answer(NEAR, sized(most)).await).await.0, 502, "{uri}");
    }
}

/// A body that never arrives.
type Endless = StreamBody<Pending<io::Result<Frame<Bytes>>>>;

fn endless() -> Request<Endless> {
    let call = request(Method::POST, "/v1/servers/a/stop", &[]);
    call.map(|_| StreamBody::new(futures_util::stream::pending()))
}

#[tokio::test]
async fn a_body_is_read_only_by_a_call_that_has_a_place() {
    let relay = relay(&nobody().await);
    let taken = Arc::clone(&relay.room).try_acquire_many_owned(u32::try_from(CALLS).unwrap());
    assert_eq!(fault(relay.answer(NEAR, endless()).await).await.0, 503);
    drop(taken);
}

#[tokio::test]
async fn an_address_that_uses_all_its_places_leaves_room_for_others() {
    let relay = relay(&nobody().await);
    let mut calls: Vec<_> =
        (0..PER_ADDRESS).map(|_| Box::pin(relay.answer(FAR, endless()))).collect();
    for call in &mut calls {
        assert!(tokio::time::timeout(Duration::ZERO, call).await.is_err(), "it has its place");
    }
    let (status, message) = fault(relay.answer(FAR, endless()).await).await;
    assert_eq!(status, 429);
    assert!(message.contains("32 calls from your address"), "{message}");
    assert_eq!(fault(relay.answer(NEAR, get(&[])).await).await.0, 502, "others have theirs");
    drop(calls);
    assert_eq!(fault(relay.answer(FAR, get(&[])).await).await.0, 502, "they are free again");
}

#[tokio::test]
async fn one_call_more_than_there_is_room_for_is_told_to_come_again() {
    let relay = relay(&nobody().await);
    let taken =
        Arc::clone(&relay.room).acquire_many_owned(u32::try_from(CALLS).unwrap()).await.unwrap();
    assert_eq!(fault(relay.answer(NEAR, get(&[])).await).await.0, 503);
    drop(taken);
    assert_eq!(fault(relay.answer(NEAR, get(&[])).await).await.0, 502);
}

#[tokio::test]
async fn a_call_s_place_is_free_again_when_its_answer_was_read() {
    let (address, asked) = api(OK).await;
    let relay = relay(&address);
    let answer = relay.answer(NEAR, get(&[])).await;
    text(answer).await;
    asked.await.unwrap();
    let all = Arc::clone(&relay.room).acquire_many_owned(u32::try_from(CALLS).unwrap());
    let _all = tokio::time::timeout(Duration::from_secs(10), all).await.unwrap().unwrap();
}

#[test]
fn the_relay_has_our_own_calls_and_the_one_for_a_console_url() {
    let is = |method, uri| is_call(&request(method, uri, &[]));
    for uri in ["/v1/servers", "/v1/lines/a/0/output?from=1", "/v1/"] {
        assert!(is(Method::GET, uri) && is(Method::DELETE, uri), "{uri}");
    }
    assert!(is(Method::POST, "/v3/servers/a/get-serial-console?port=1&mode=watch&wait=1"));
    for uri in [
        "/v1",
        "/v10/servers",
        "/healthz",
        "/metrics",
        "/v2.1/servers",
        "/v3/servers//get-serial-console",
        "/v3/servers/a/b/get-serial-console",
        "/v3/servers/a/disconnect-serial-console",
        "/serial.html",
    ] {
        assert!(!is(Method::GET, uri) && !is(Method::POST, uri), "{uri}");
    }
    assert!(!is(Method::GET, "/v3/servers/a/get-serial-console"));
}

#[tokio::test]
async fn a_path_that_could_lead_out_of_the_calls_is_not_relayed() {
    let relay = relay(&nobody().await);
    for uri in ["/v1/../healthz", "/v1/./x", "/v1/%2e%2e/healthz", "/v1/a%2fb", "/v1/a;b"] {
        let answer = relay.answer(NEAR, request(Method::GET, uri, &[])).await;
        assert_eq!(fault(answer).await.0, 404, "{uri}");
    }
}

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const LOGGED_IN: &str = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\
                         Serialproxy-Login: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef 60\r\n\
                         Content-Length: 2\r\n\r\n{}";

/// What the API is told of the login.
fn told(asked: &str) -> Option<&str> {
    asked.lines().find_map(|line| line.strip_prefix("serialproxy-login: "))
}

#[tokio::test]
async fn a_page_that_logs_in_gets_the_secret_as_a_cookie_alone() {
    let (address, asked) = api(LOGGED_IN).await;
    let page = [("origin", "https://console.example"), ("serialproxy-login", "forged")];
    let call = request(Method::POST, "/v1/login", &page);
    let answer = relay(&address).answer(FAR, call).await;
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with(&format!("__Host-serialproxy-login={SECRET}; ")), "{cookie}");
    assert!(!answer.headers().contains_key(PAGE_LOGIN));
    assert_eq!(told(&asked.await.unwrap()), Some("new"));
}

#[tokio::test]
async fn a_client_that_is_no_page_neither_asks_for_a_cookie_nor_gets_one() {
    let (address, asked) = api(LOGGED_IN).await;
    let call = request(Method::POST, "/v1/login", &[("serialproxy-login", "new")]);
    let answer = relay(&address).answer(FAR, call).await;
    assert!(!answer.headers().contains_key(header::SET_COOKIE));
    assert_eq!(told(&asked.await.unwrap()), None);
}

#[tokio::test]
async fn the_cookie_counts_for_a_page_of_this_proxy_and_for_no_other() {
    let cookie = format!("__Host-serialproxy-login={SECRET}");
    let own = [("cookie", cookie.as_str()), ("origin", "https://console.example")];
    let (address, asked) = api(OK).await;
    relay(&address).answer(FAR, request(Method::POST, "/v1/servers/a/stop", &own)).await;
    assert_eq!(told(&asked.await.unwrap()), Some(SECRET));
    for origin in [
        "https://evil.example",
        "https://evil.console.example",
        "https://console.example:8443",
        "http://console.example",
        "null",
    ] {
        let relay = relay(&nobody().await);
        let headers = [("cookie", cookie.as_str()), ("origin", origin)];
        for uri in ["/v1/servers/a/stop", "/v1/login", "/v3/servers/a/get-serial-console"] {
            let answer = relay.answer(FAR, request(Method::POST, uri, &headers)).await;
            assert_eq!(fault(answer).await.0, 403, "{origin} {uri}");
        }
    }
    let relay = relay(&nobody().await);
    let alone = request(Method::POST, "/v1/servers/a/stop", &[("cookie", cookie.as_str())]);
    let (status, message) = fault(relay.answer(FAR, alone).await).await;
    assert!(status == 403 && message.contains("needs the Origin header"), "{message}");
}
