//! Hosts of a cluster that are drained while they run, and what `cluster status` says of them: with the real
//! programs and a real etcd, on simulated ports.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "that is how a test fails")]

use reqwest::Method;
use serde_json::Value;
use serialproxy_e2e::cluster::Cluster;
use serialproxy_e2e::cluster::Role;
use serialproxy_e2e::eventually;
use serialproxy_e2e::port::Guest;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::http;
use serialproxy_e2e::socket::Socket;

const V1: [(&str, &str); 1] = [("sec-websocket-protocol", "console.v1")];

/// An api role, and a hypervisor with one line.
struct Place {
    cluster: Cluster,
    api: Role,
    compute: Role,
    port: Port,
    guest: Guest,
}

impl Place {
    async fn new() -> Self {
        let cluster = Cluster::new(1).await;
        for (host, role) in
            [("ctl", "api"), ("hv1", "compute"), ("front", "proxy"), ("back", "proxy")]
        {
            cluster.certify(host, &[role]);
        }
        let port = Port::new("switch").await;
        let compute = compute(&cluster, "hv1", &port).await;
        let guest = port.accept().await;
        let api = cluster.start("ctl", "api", &[]).await;
        let place = Self { cluster, api, compute, port, guest };
        eventually(async || {
            let servers = place.api.call(Method::GET, "/v1/servers", "").await.json;
            (servers["servers"][0]["status"] == "ACTIVE").then_some(())
        })
        .await;
        place
    }

    async fn proxy(&self, host: &str) -> Role {
        let api = self.api.api();
        self.cluster.start(host, "proxy", &["--proxy-api_url", &api]).await
    }

    async fn path(&self, query: &str) -> String {
        format!("/?token={}", self.api.token(&self.port.server(), query).await)
    }

    /// What `cluster status` says of a host.
    async fn status(&self, host: &str) -> Value {
        let status = self.cluster.run(&["cluster", "status", "-f", "json"]).await;
        let status: Value = serde_json::from_str(&status).unwrap();
        let hosts = status["hosts"].as_array().unwrap();
        hosts.iter().find(|one| one["name"] == host).cloned().unwrap_or_default()
    }
}

async fn compute(cluster: &Cluster, host: &str, port: &Port) -> Role {
    let [flag, line] = port.flag();
    cluster.start(host, "compute", &[&flag, &line]).await
}

/// What a proxy answers to load balancers.
async fn health(proxy: &Role) -> (u16, String) {
    let url = format!("http://{}/healthz", proxy.proxy());
    let answer = http().build().unwrap().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_drained_proxy_sends_its_sessions_to_another_one_until_that_is_undone() {
    let mut place = Place::new().await;
    let (front, back) = (place.proxy("front").await, place.proxy("back").await);
    assert_eq!(health(&front).await, (200, "ok\n".to_owned()));
    let mut socket = Socket::open(&front.proxy(), &place.path("").await, &V1).await;
    let hello = socket.message("hello").await;
    socket.send("a").await;
    assert_eq!(place.guest.typed(1).await, b"a");

    let told = place.cluster.run(&["cluster", "drain", "front"]).await;
    assert!(told.starts_with("Host front takes no new sessions from now on"), "{told}");
    assert_eq!(socket.closed().await.0, 4012);
    assert_eq!(health(&front).await, (503, "draining\n".to_owned()));
    let refused = Socket::refused(&front.proxy(), &place.path("").await, &[]).await;
    assert_eq!(refused.status, 503);
    assert!(refused.reason.starts_with("draining: this proxy takes no sessions"), "{refused:?}");
    let path = format!("/?resume={}&from=live", hello["resume"].as_str().unwrap());
    let mut socket = Socket::open(&back.proxy(), &path, &V1).await;
    assert_eq!(socket.message("hello").await["session"], hello["session"]);
    socket.send("b").await;
    assert_eq!(place.guest.typed(1).await, b"b");

    // A restart changes nothing.
    front.stop().await;
    let front = place.proxy("front").await;
    assert_eq!(health(&front).await, (503, "draining\n".to_owned()));
    let status = eventually(async || {
        let status = place.cluster.run(&["cluster", "status"]).await;
        status.contains("proxy (draining)").then_some(status)
    })
    .await;
    let row = status.lines().find(|row| row.starts_with("front ")).unwrap();
    assert!(row.contains("proxy (draining)") && row.ends_with('Z'), "{status}");
    assert!(status.lines().any(|row| row.starts_with("back ") && row.ends_with('-')), "{status}");

    place.cluster.run(&["cluster", "drain", "front", "--undo"]).await;
    eventually(async || (health(&front).await.0 == 200).then_some(())).await;
    let _socket =
        Socket::raw(&front.proxy(), &place.api.token(&place.port.server(), "?mode=watch").await)
            .await;
    eventually(async || {
        let front = place.status("front").await;
        (front["up"][0]["draining"] == false && front["drained_since"].is_null()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_drained_compute_host_refuses_new_sessions_and_keeps_those_that_it_has() {
    let mut place = Place::new().await;
    let back = place.proxy("back").await;
    let mut socket = Socket::open(&back.proxy(), &place.path("").await, &V1).await;
    let hello = socket.message("hello").await;
    let path = place.path("?mode=watch").await;
    let refused = async || {
        let refused = Socket::refused(&back.proxy(), &path, &[]).await;
        (refused.status == 503 && refused.reason.contains("host of this server is being drained"))
            .then_some(())
    };
    place.cluster.run(&["cluster", "drain", "hv1"]).await;
    eventually(refused).await;
    assert_eq!(Socket::open(&back.proxy(), &path, &V1).await.closed().await.0, 4015);
    socket.send("a").await;
    assert_eq!(place.guest.typed(1).await, b"a");
    drop(socket);
    let resume = format!("/?resume={}&from=live", hello["resume"].as_str().unwrap());
    let mut socket = Socket::open(&back.proxy(), &resume, &V1).await;
    assert_eq!(socket.message("hello").await["session"], hello["session"]);
    assert!(place.status("hv1").await["drained_since"].is_string());

    // Nor does it take any after a restart, not even at its beginning.
    place.compute.stop().await;
    place.compute = compute(&place.cluster, "hv1", &place.port).await;
    let _guest = place.port.accept().await;
    eventually(async || {
        let refused = Socket::refused(&back.proxy(), &path, &[]).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        refused.reason.contains("being drained").then_some(())
    })
    .await;
    place.cluster.run(&["cluster", "drain", "hv1", "--undo"]).await;
    eventually(async || {
        (Socket::refused(&back.proxy(), &path, &[]).await.status == 101).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_drained_api_host_says_so_to_load_balancers_and_answers() {
    let place = Place::new().await;
    place.cluster.run(&["cluster", "drain", "ctl"]).await;
    let health = eventually(async || {
        let health = place.api.call(Method::GET, "/healthz", "").await;
        (health.status == 503).then_some(health.json)
    })
    .await;
    assert_eq!(health["reasons"][0]["name"], "draining", "{health}");
    assert_eq!(place.api.call(Method::GET, "/v1/servers", "").await.status, 200);
    place.cluster.run(&["cluster", "drain", "ctl", "--undo"]).await;
    eventually(async || {
        (place.api.call(Method::GET, "/healthz", "").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_two_hosts_have_is_a_conflict_until_one_of_them_gives_it_up() {
    let place = Place::new().await;
    place.cluster.certify("hv2", &["compute"]);
    let second = compute(&place.cluster, "hv2", &place.port).await;
    let server = place.port.server();
    let line = format!(
        "conflict: hosts hv1 and hv2 both have server switch ({server}); it is that of hv1\n"
    );
    eventually(async || {
        place.cluster.run(&["cluster", "status"]).await.contains(&line).then_some(())
    })
    .await;
    let conflict = &place.status("hv2").await["conflicts"][0];
    assert_eq!((&conflict["server"], &conflict["host"]), (&server.into(), &"hv1".into()));
    assert!(place.status("hv1").await["conflicts"].as_array().unwrap().is_empty());
    second.stop().await;
    eventually(async || {
        (!place.cluster.run(&["cluster", "status"]).await.contains("conflict:")).then_some(())
    })
    .await;
}
