//! Hosts of a cluster: separate roles over mutual TLS, with a real etcd, on simulated ports.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "that is how a test fails"
)]

use std::time::Duration;
use std::time::Instant;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use serialproxy_e2e::cluster::Cluster;
use serialproxy_e2e::cluster::Role;
use serialproxy_e2e::eventually;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::program;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::stderr;
use serialproxy_e2e::within;

const V1: [(&str, &str); 1] = [("sec-websocket-protocol", "console.v1")];

/// A controller with an api role, and a hypervisor with one line.
struct Two {
    cluster: Cluster,
    api: Role,
    compute: Role,
    port: Port,
    guest: Guest,
}

impl Two {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With these flags of the hypervisor.
    async fn start_with(flags: &[&str]) -> Self {
        let cluster = Cluster::new(1).await;
        cluster.certify("ctl", &["api", "proxy"]);
        cluster.certify("hv1", &["compute"]);
        let port = Port::new("switch").await;
        let compute = start_compute(&cluster, "hv1", &port, flags).await;
        let guest = port.accept().await;
        let api = cluster.start("ctl", "api", &[]).await;
        let two = Self { cluster, api, compute, port, guest };
        two.listed(|server| server["status"] == "ACTIVE").await;
        two
    }

    async fn proxy(&self) -> Role {
        self.proxy_on("ctl").await
    }

    async fn proxy_on(&self, host: &str) -> Role {
        let api = self.api.api();
        self.cluster.start(host, "proxy", &["--proxy-api_url", &api]).await
    }

    /// Waits until the API's list shows the server in this form.
    async fn listed(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let id = self.port.server();
        eventually(async || {
            let servers = self.api.call(Method::GET, "/v1/servers", "").await.json;
            let servers = servers["servers"].as_array()?.clone();
            servers.into_iter().find(|server| server["id"] == id.as_str() && wanted(server))
        })
        .await
    }

    async fn token(&self, query: &str) -> String {
        self.api.token(&self.port.server(), query).await
    }
}

async fn start_compute(cluster: &Cluster, host: &str, port: &Port, flags: &[&str]) -> Role {
    let [flag, line] = port.flag();
    cluster.start(host, "compute", &[&[&*flag, &*line], flags].concat()).await
}

#[tokio::test]
async fn a_console_of_another_host_is_typed_at_through_a_proxy() {
    let mut two = Two::start().await;
    let proxy = two.proxy().await;
    assert_eq!(two.listed(|_| true).await["host"], "hv1");

    let mut socket = Socket::raw(&proxy.proxy(), &two.token("").await).await;
    socket.send("ls\r").await;
    assert_eq!(two.guest.typed(3).await, b"ls\r");
    two.guest.print(b"bin etc\r\n").await;
    socket.output_with(b"bin etc\r\n").await;

    let path = format!("/?token={}", two.token("").await);
    let refused = Socket::refused(&proxy.proxy(), &path, &[]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.reason.starts_with("busy: admin since 20"), "{}", refused.reason);
}

#[tokio::test]
async fn a_busy_console_of_another_host_is_watched_and_taken_up_when_it_is_free() {
    let mut two = Two::start().await;
    let role = two.proxy().await;
    let proxy = role.proxy();
    let mut first = Socket::v1(&proxy, &two.token("").await, "&mode=auto").await;
    let typing = first.message("hello").await;
    let mut second = Socket::v1(&proxy, &two.token("").await, "&mode=auto").await;
    let watching = second.message("hello").await;
    assert_eq!((&typing["mode"], &watching["mode"]), (&"write".into(), &"watch".into()));
    second.say(r#"{"type":"ping","id":1}"#).await;
    // A watcher that comes back watches; it types when nobody else does.
    drop(second);
    let path = format!("/?resume={}&mode=auto", watching["resume"].as_str().unwrap());
    let mut second = Socket::open(&proxy, &path, &V1).await;
    let back = second.message("hello").await;
    assert_eq!((&back["session"], &back["mode"]), (&watching["session"], &"watch".into()));
    first.leave().await;
    while second.message("pen").await["state"] != "free" {}
    second.say(r#"{"type":"pen","do":"take"}"#).await;
    second.send("ls\r").await;
    assert_eq!(two.guest.typed(3).await, b"ls\r");
}

#[tokio::test]
async fn what_the_api_says_of_a_line_comes_from_its_host() {
    let mut two = Two::start().await;
    two.guest.print(b"login: ").await;
    let server = two.port.server();
    let output = format!("/v1/lines/{server}/0");
    eventually(async || {
        let line = two.api.call(Method::GET, &output, "").await.json;
        (line["offset"] == 7).then_some(())
    })
    .await;
    let lines = two.api.call(Method::GET, "/v1/lines", "").await.json;
    assert_eq!(lines["lines"][0]["server"]["name"], "switch", "{lines}");
    // It may be a second old.
    eventually(async || {
        let lines = two.api.call(Method::GET, "/v1/lines", "").await.json;
        (lines["lines"][0]["last_line"] == "login:").then_some(())
    })
    .await;
    let body = r#"{"name": "other", "project": "other", "role": "admin"}"#;
    for (role, shown) in [("reader", 0), ("admin", 1)] {
        let body = body.replace("admin", role);
        let made = two.api.call(Method::POST, "/v1/tokens", &body).await;
        let token = made.json["secret"].as_str().unwrap_or_default().to_owned();
        let lines = two.api.call_with(&token, Method::GET, "/v1/lines", "").await.json;
        assert_eq!(lines["lines"].as_array().map(Vec::len), Some(shown), "{role}: {lines}");
        two.api.call(Method::DELETE, "/v1/tokens/other", "").await;
    }

    let proxy = two.proxy().await;
    let socket = Socket::raw(&proxy.proxy(), &two.token("").await).await;
    let sessions = two.api.call(Method::GET, "/v1/sessions", "").await.json;
    let session = sessions["sessions"][0]["id"].as_str().unwrap().to_owned();
    assert!(sessions["sessions"][0]["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    let path = format!("/v1/sessions/{session}?reason=maintenance");
    assert_eq!(two.api.call(Method::DELETE, &path, "").await.status, 204);
    assert_eq!(socket.closed().await.0, 4006);
    assert_eq!(two.api.call(Method::DELETE, &path, "").await.status, 404);
}

#[tokio::test]
async fn an_api_role_makes_the_watch_links_of_a_session_and_writes_its_own_address() {
    let mut two = Two::start_with(&["--serial_console-base_url", "http://wrong.example/"]).await;
    let proxy = two.proxy().await;
    let mut alice = Socket::v1(&proxy.proxy(), &two.token("").await, "").await;
    alice.say(r#"{"type":"link"}"#).await;
    let link = alice.message("link").await;
    let url = link["url"].as_str().unwrap();
    assert!(!url.contains("wrong.example"), "{url}");
    let watches = url.split_once("token=").unwrap().1.strip_suffix("&mode=watch").unwrap();
    let writes = format!("/?token={watches}&mode=write");
    assert_eq!(Socket::refused(&proxy.proxy(), &writes, &[]).await.status, 403);
    let mut bob = Socket::raw(&proxy.proxy(), watches).await;
    two.guest.print(b"seen").await;
    bob.output_with(b"seen").await;

    two.api.kill().await;
    alice.say(r#"{"type":"link"}"#).await;
    let error = alice.message("error").await;
    assert_eq!(error["message"], "links cannot be made now, try again");
}

#[tokio::test]
async fn a_shared_link_opens_a_console_of_another_host_until_it_is_revoked() {
    let two = Two::start().await;
    let proxy = two.proxy().await;
    let links = format!("/v1/lines/{}/0/links", two.port.server());
    let body = r#"{"mode": "watch", "seconds": 600}"#;
    let made = two.api.call(Method::POST, &links, body).await.json;
    let (_, token) = made["url"].as_str().unwrap().split_once("token=").unwrap();
    let token = token.split('&').next().unwrap();
    let mut watcher = Socket::v1(&proxy.proxy(), token, "&mode=watch").await;
    assert_eq!(watcher.message("hello").await["shared"], true);
    eventually(async || {
        let listed = two.api.call(Method::GET, &links, "").await.json;
        (listed["links"][0]["sessions"] == 1).then_some(())
    })
    .await;
    let link = format!("{links}/{}", made["link"]["id"].as_str().unwrap());
    assert_eq!(two.api.call(Method::DELETE, &link, "").await.status, 204);
    assert_eq!(within(watcher.closed()).await.0, 4006);
    let path = format!("/?token={token}&mode=watch");
    assert_eq!(Socket::refused(&proxy.proxy(), &path, &[]).await.status, 401);
}

#[tokio::test]
async fn the_boots_of_a_line_are_asked_of_its_host() {
    let two = Two::start().await;
    let path = format!("/v1/lines/{}/0/boots", two.port.server());
    let boots = two.api.call(Method::GET, &path, "").await;
    assert_eq!((boots.status, &boots.json["boots"]), (200, &serde_json::json!([])));
    two.compute.kill().await;
    eventually(async || {
        let boots = two.api.call(Method::GET, &path, "").await;
        (boots.status == 503).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_token_is_checked_by_the_host_that_has_the_line() {
    let two = Two::start().await;
    let proxy = two.proxy().await;
    for token in ["", &uuid::Uuid::new_v4().to_string()] {
        let refused = Socket::refused(&proxy.proxy(), &format!("/?token={token}"), &[]).await;
        assert_eq!(refused.status, 401, "{}", refused.reason);
    }
}

#[tokio::test]
async fn a_session_goes_on_through_another_proxy_when_its_own_is_killed() {
    let mut two = Two::start().await;
    two.cluster.certify("ctl2", &["proxy"]);
    let (first, second) = (two.proxy().await, two.proxy_on("ctl2").await);
    let path = format!("/?token={}", two.token("").await);
    let mut socket = Socket::open(&first.proxy(), &path, &V1).await;
    let hello = socket.message("hello").await;
    socket.send("a").await;
    assert_eq!(two.guest.typed(1).await, b"a");
    first.kill().await;

    let path = format!("/?resume={}&from=live", hello["resume"].as_str().unwrap());
    let mut socket = Socket::open(&second.proxy(), &path, &V1).await;
    let again = socket.message("hello").await;
    assert_eq!((&again["line"], &again["session"]), (&hello["line"], &hello["session"]));
    socket.send("b").await;
    assert_eq!(two.guest.typed(1).await, b"b");
}

#[tokio::test]
async fn a_host_that_is_killed_is_shown_as_lost_and_comes_back() {
    let two = Two::start().await;
    let proxy = two.proxy().await;
    let token = two.token("").await;
    two.compute.kill().await;
    let id = two.port.server();
    let show = async |status: &str| {
        eventually(async || {
            let path = format!("/v1/servers/{id}");
            let answer = two.api.call(Method::GET, &path, "").await;
            (answer.json["server"]["status"] == status).then_some(answer)
        })
        .await
    };
    show("HOST_LOST").await;
    let refused = Socket::refused(&proxy.proxy(), &format!("/?token={token}"), &[]).await;
    assert_eq!(refused.status, 503, "{}", refused.reason);
    let _compute = start_compute(&two.cluster, "hv1", &two.port, &[]).await;
    let _guest = two.port.accept().await;
    show("ACTIVE").await;
    // The proxy may hear of it later than the API.
    eventually(async || {
        let path = format!("/?token={token}&mode=watch");
        let refused = Socket::refused(&proxy.proxy(), &path, &[]).await;
        (refused.status == 101).then_some(())
    })
    .await;
    let _socket = Socket::raw(&proxy.proxy(), &token).await;
}

#[tokio::test]
async fn without_etcd_live_sessions_go_on_and_new_ones_are_refused_with_a_reason() {
    let mut two = Two::start().await;
    let proxy = two.proxy().await;
    let mut socket = Socket::raw(&proxy.proxy(), &two.token("").await).await;
    let other = two.token("?mode=watch").await;
    two.cluster.etcd.kill(0);

    // A busy machine delays some of the attempts, but not all.
    eventually(async || {
        let started = Instant::now();
        let refused = Socket::refused(&proxy.proxy(), &format!("/?token={other}"), &[]).await;
        assert_eq!(refused.status, 503, "{}", refused.reason);
        (started.elapsed() < Duration::from_secs(2)).then_some(())
    })
    .await;
    let old = eventually(async || {
        let servers = two.api.call(Method::GET, "/v1/servers", "").await;
        (servers.json["stale"] == true).then_some(servers)
    })
    .await;
    assert_eq!(old.json["servers"][0]["name"], "switch");
    let as_of: jiff::Timestamp = old.json["as_of"].as_str().unwrap().parse().unwrap();
    assert!(as_of <= jiff::Timestamp::now());
    assert!(old.headers["age"].to_str().unwrap().parse::<u32>().is_ok());
    socket.send("x").await;
    assert_eq!(two.guest.typed(1).await, b"x");
    two.guest.print(b"still here").await;
    socket.output_with(b"still here").await;

    two.cluster.etcd.restart(0).await;
    eventually(async || {
        let path = format!("/?token={other}&mode=watch");
        let refused = Socket::refused(&proxy.proxy(), &path, &[]).await;
        (refused.status == 101).then_some(())
    })
    .await;
    eventually(async || {
        let servers = two.api.call(Method::GET, "/v1/servers", "").await;
        (servers.json["stale"] != true).then_some(())
    })
    .await;
    socket.send("y").await;
    assert_eq!(two.guest.typed(1).await, b"y");
}

#[tokio::test]
async fn of_fifty_attaches_at_once_through_three_proxies_one_uses_a_single_use_token() {
    let unlimited = "--limits-failures_per_minute=0";
    let two = Two::start_with(&["--consoleauth-single_use=true", unlimited]).await;
    let mut proxies = Vec::new();
    for host in ["front1", "front2", "front3"] {
        two.cluster.certify(host, &["proxy"]);
        proxies.push(two.cluster.start(host, "proxy", &[unlimited]).await);
    }
    // A single-use token would not allow this.
    let path = format!("/?token={}", two.token("?mode=watch").await);
    let attaches = (0..50).map(|number| {
        let (proxy, path) = (proxies[number % 3].proxy(), &path);
        async move { Socket::refused(&proxy, path, &[]).await.status }
    });
    let statuses = join_all(attaches).await;
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    // An etcd with much to do may answer some of them too late.
    assert!(count(101) == 1 && count(401) + count(503) == 49, "{statuses:?}");
}

#[tokio::test]
async fn only_a_certificate_of_the_cluster_with_the_right_role_gets_in() {
    let two = Two::start().await;
    let strangers = Cluster::new(1).await;
    strangers.certify("ctl", &["api", "proxy"]);
    let address = two.compute.cluster();
    let reply = async |cluster: &Cluster, host: &str| {
        let mut ask = tokio::process::Command::new("curl");
        let file = |name: &str| cluster.file(name).display().to_string();
        ask.args(["--silent", "--show-error", "--insecure", "--http1.1", "--max-time", "10"]);
        ask.args(["--cert", &file(&format!("{host}.pem"))]);
        ask.args(["--key", &file(&format!("{host}-key.pem"))]);
        ask.arg(format!("https://{address}/"));
        ask.output().await.unwrap()
    };
    assert!(!reply(&strangers, "ctl").await.status.success());
    // It also uses another protocol (ALPN).
    assert!(!reply(&two.cluster, "hv1").await.status.success());
    eventually(async || two.compute.log().contains("is refused").then_some(())).await;
}

#[tokio::test]
async fn every_api_host_knows_the_tokens_that_another_one_gave() {
    let two = Two::start().await;
    two.cluster.certify("ctl2", &["api"]);
    let second = two.cluster.start("ctl2", "api", &[]).await;
    let ask =
        async |token: &str| second.call_with(token, Method::GET, "/v1/servers", "").await.status;
    let admin = two.api.admin_token();
    eventually(async || (ask(&admin).await == 200).then_some(())).await;
    let body = r#"{"name": "ci", "project": "p", "role": "reader"}"#;
    let made = two.api.call(Method::POST, "/v1/tokens", body).await;
    let token = made.json["secret"].as_str().unwrap_or_default().to_owned();
    assert_eq!((made.status, ask(&token).await), (201, 200), "{:?}", made.json);
    assert_eq!(ask("nobody's").await, 401);

    assert_eq!(second.call(Method::DELETE, "/v1/tokens/ci", "").await.status, 204);
    let refused = two.api.call_with(&token, Method::GET, "/v1/servers", "").await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn a_removed_proxy_keeps_no_session_whatever_it_does() {
    let two = Two::start().await;
    two.cluster.certify("front", &["proxy"]);
    let proxy = two.proxy_on("front").await;
    let _socket = Socket::raw(&proxy.proxy(), &two.token("").await).await;
    // Neither the process nor its connection ends.
    proxy.freeze().await;
    two.cluster.remove_certificate("front");
    let gone = eventually(async || {
        let sessions = two.api.call(Method::GET, "/v1/sessions", "").await.json;
        sessions["sessions"].as_array().unwrap().is_empty().then_some(())
    });
    // A session whose proxy is silent is kept for a minute.
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
}

#[tokio::test]
async fn the_api_shows_what_all_hosts_recorded_and_names_those_that_do_not_answer() {
    let two = Two::start().await;
    let proxy = two.proxy().await;
    let events = async || {
        let answer = two.api.call(Method::GET, "/v1/audit", "").await;
        assert_eq!(answer.status, 200, "{:?}", answer.json);
        answer.json
    };
    let has = |page: &Value, name: &str| {
        page["events"].as_array().unwrap().iter().any(|event| event["event.name"] == name)
    };
    let _session = Socket::raw(&proxy.proxy(), &two.token("").await).await;
    // One is recorded by the api role, the others by the host of the line.
    for name in ["token.issued", "token.used", "session.opened"] {
        eventually(async || has(&events().await, name).then_some(())).await;
    }
    // A host that takes more than two seconds counts as unreachable, too.
    let page = eventually(async || {
        let page = events().await;
        page["unreachable"].is_null().then_some(page)
    })
    .await;
    assert_eq!(page["not_included"], Value::Null);
    two.compute.freeze().await;
    let page = eventually(async || {
        let page = events().await;
        (page["unreachable"] == serde_json::json!(["hv1"])).then_some(page)
    })
    .await;
    assert!(has(&page, "token.issued") && !has(&page, "session.opened"), "{page}");
    two.compute.thaw();
}

#[tokio::test]
async fn the_api_names_hosts_whose_events_no_other_host_can_read() {
    let two = Two::start().await;
    two.cluster.certify("front", &["proxy"]);
    let _beside_the_api = two.proxy().await;
    let proxy = two.proxy_on("front").await;
    Socket::refused(&proxy.proxy(), "/?token=wrong", &[]).await;
    let page = eventually(async || {
        let page = two.api.call(Method::GET, "/v1/audit", "").await.json;
        (page["not_included"] != Value::Null && page["unreachable"].is_null()).then_some(page)
    })
    .await;
    assert_eq!(page["not_included"], serde_json::json!(["front"]), "{page}");
    let mut client = tokio::process::Command::new(program());
    client.arg("audit").env("SERIALPROXY_API_URL", two.api.api());
    client.env("SERIALPROXY_TOKEN", two.api.admin_token());
    let said = stderr(&within(client.output()).await.unwrap());
    assert!(
        said.contains("no events of hosts that have the role proxy alone")
            && said.contains("front"),
        "{said}"
    );
}
