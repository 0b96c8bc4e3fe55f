//! Which proxy has a port, by a real etcd.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;
use std::time::Instant;

use serialproxy_cluster::NotOwner;
use serialproxy_cluster::Owners;
use serialproxy_cluster::Ownership;
use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_e2e::eventually;
use serialproxy_e2e::within;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::Settings;
use serialproxy_etcd::Tls;
use serialproxy_proto::id::ServerId;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PREFIX: &str = "/serialproxy/v1/";

const DOCUMENT: &str = include_str!("../../../docs/cluster.md");

/// How long a lease is good after its last keepalive.
const LEASE: Duration = Duration::from_secs(15);

/// A proxy's process.
struct Proxy {
    owners: Owners,
    end: CancellationToken,
    keeping: JoinHandle<()>,
}

impl Proxy {
    fn new(etcd: Etcd, host: &str) -> Self {
        let owners = Owners::new(etcd, host.into()).unwrap();
        let end = CancellationToken::new();
        let keeping = tokio::spawn(owners.clone().keep(end.clone()));
        Self { owners, end, keeping }
    }

    fn of(nodes: &Nodes, host: &str) -> Self {
        let (endpoints, prefix) = (nodes.endpoints(), PREFIX.into());
        Self::new(Etcd::new(Settings { endpoints, tls: None, user: None, prefix }).unwrap(), host)
    }

    /// Takes a target as soon as no other has it.
    async fn taken(&self, target: &str) -> Ownership {
        eventually(async || self.owners.take(target).await.ok()).await
    }

    async fn ended(self) {
        self.end.cancel();
        within(self.keeping).await.unwrap();
    }
}

#[tokio::test]
async fn of_two_proxies_one_has_a_target_until_nobody_there_uses_it() {
    let nodes = Nodes::start(1).await;
    let (one, two) = (Proxy::of(&nodes, "one"), Proxy::of(&nodes, "two"));
    let server = ServerId::of_static("vm");
    let target = format!("{server}-10000");
    let first = one.taken(&target).await;
    let second = one.owners.take(&target).await.unwrap();
    let refused = || async { two.owners.take(&target).await.err() };
    assert_eq!(refused().await, Some(NotOwner::Other("one".into())));
    eventually(async || (two.owners.of(server).as_deref() == Some("one")).then_some(())).await;
    assert_eq!(one.owners.of(server), None, "it is its own");
    drop(first);
    assert_eq!(refused().await, Some(NotOwner::Other("one".into())));
    assert!(second.is_held());
    drop(second);
    let other = two.taken(&target).await;
    assert_eq!(one.owners.take(&target).await.err(), Some(NotOwner::Other("two".into())));
    // One that ends gives everything back.
    two.ended().await;
    assert!(!other.is_held());
    assert!(one.owners.take(&target).await.is_ok());
}

#[tokio::test]
async fn a_proxy_lets_go_before_its_lease_can_have_ended_and_has_its_targets_back() {
    let nodes = Nodes::start(1).await;
    let proxy = Proxy::of(&nodes, "one");
    let ownership = proxy.taken("a-1").await;
    nodes.freeze(0);
    let frozen = Instant::now();
    within(ownership.lost()).await;
    assert!(frozen.elapsed() < LEASE, "{:?}", frozen.elapsed());
    assert!(!ownership.is_held());
    let asked = Instant::now();
    let refused = proxy.owners.take("a-1").await.unwrap_err();
    assert!(matches!(refused, NotOwner::Unknown(_)), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    nodes.thaw(0);
    let again = proxy.taken("a-1").await;
    assert!(again.is_held() && !ownership.is_held());
}

#[tokio::test]
async fn keys_that_a_process_left_are_removed_and_targets_that_others_took_are_lost() {
    let nodes = Nodes::start(1).await;
    let proxy = Proxy::of(&nodes, "one");
    let ownership = proxy.taken("a-1").await;
    let own = nodes.ctl(&["get", &format!("{PREFIX}owners/a-1"), "--print-value-only"]);
    nodes.ctl(&["put", &format!("{PREFIX}owners/left-1"), own.trim()]);
    let left = async || {
        let left = nodes.ctl(&["get", &format!("{PREFIX}owners/left-1")]);
        left.is_empty().then_some(())
    };
    eventually(left).await;
    assert!(ownership.is_held());
    nodes.ctl(&["put", &format!("{PREFIX}owners/a-1"), r#"{"host": "x y", "process": 7}"#]);
    within(ownership.lost()).await;
    // Nobody keeps that alive.
    assert!(proxy.owners.take("a-1").await.is_ok());
}

#[tokio::test]
async fn with_the_document_s_permissions_a_proxy_has_targets_and_a_compute_host_has_none() {
    let nodes = Nodes::start_with_tls(1).await;
    let section = DOCUMENT.split("### Permissions").nth(1).unwrap();
    let commands = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    for command in commands.lines() {
        let arguments = command.strip_prefix("etcdctl ").unwrap();
        nodes.ctl(&arguments.split(' ').collect::<Vec<_>>());
    }
    let [proxy, compute] = ["proxy", "compute"].map(|role| {
        let certificates = nodes.certificates();
        let client = Some(certificates.issue(&format!("serialproxy-{role}")));
        let tls = Some(Tls { ca: certificates.ca(), client });
        let (endpoints, prefix) = (nodes.endpoints(), PREFIX.into());
        let settings = Settings { endpoints, tls, user: None, prefix };
        Proxy::new(Etcd::new(settings).unwrap(), role)
    });
    drop(proxy.taken("a-1").await);
    proxy.taken("a-1").await;
    let refused = eventually(async || match compute.owners.take("a-1").await {
        Err(NotOwner::Unknown(why)) if why.contains("permission denied") => Some(why),
        _ => None,
    });
    refused.await;
    proxy.ended().await;
    let left = nodes.ctl(&["get", "--prefix", &format!("{PREFIX}owners/")]);
    assert_eq!(left, "");
}
