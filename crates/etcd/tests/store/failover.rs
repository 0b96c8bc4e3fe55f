use std::time::Duration;
use std::time::Instant;

use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_e2e::eventually;
use serialproxy_etcd::Bounds;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;
use serialproxy_etcd::Settings;
use serialproxy_etcd::Watched;

use crate::PREFIX;
use crate::client;

/// How long users wait for a refusal at most.
const SOON: Duration = Duration::from_secs(2);

async fn refused_soon(etcd: &Etcd) -> EtcdError {
    // A busy machine delays some of the attempts, but not all.
    eventually(async || {
        let asked = Instant::now();
        let read = etcd.get::<u32>("a").await.unwrap_err();
        let reading = asked.elapsed();
        let asked = Instant::now();
        let written = etcd.put("a", &1, None).await.unwrap_err();
        let writing = asked.elapsed();
        assert!(matches!(written, EtcdError::Away(_)), "{written}");
        (reading < SOON && writing < SOON).then_some(read)
    })
    .await
}

#[tokio::test]
async fn an_etcd_that_is_away_is_told_in_time_and_is_used_again_when_it_is_back() {
    let mut nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    etcd.put("a", &1, None).await.unwrap();
    nodes.kill(0);
    let error = refused_soon(&etcd).await.to_string();
    assert!(error.contains("Connection refused"), "{error}");
    assert!(!error.contains("127.0.0.1"), "{error}");
    nodes.restart(0).await;
    eventually(async || etcd.get::<u32>("a").await.ok()).await;
}

#[tokio::test]
async fn an_etcd_that_hangs_is_told_in_time_and_is_used_again_when_it_goes_on() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    etcd.put("a", &1, None).await.unwrap();
    nodes.freeze(0);
    assert!(matches!(refused_soon(&etcd).await, EtcdError::Away(_)));
    nodes.thaw(0);
    eventually(async || etcd.get::<u32>("a").await.ok()).await;
}

#[tokio::test]
async fn the_death_of_each_node_in_turn_is_survived() {
    let mut nodes = Nodes::start(3).await;
    let etcd = client(&nodes);
    let lease = etcd.lease(Duration::from_secs(15)).await.unwrap();
    etcd.put("hosts/a", &0, Some(lease.id())).await.unwrap();
    let watched: Watched<u32> = etcd.watch("hosts/", Bounds { entries: 10, value: 100 });
    for round in 0..3_u32 {
        let node = usize::try_from(round).unwrap();
        nodes.kill(node);
        eventually(async || etcd.put("hosts/a", &round, Some(lease.id())).await.ok()).await;
        let told =
            async || watched.get("hosts/a".strip_prefix("hosts/")?).filter(|a| a.value == round);
        eventually(told).await;
        nodes.restart(node).await;
    }
    assert!(!lease.is_lost());
}

#[tokio::test]
async fn a_node_that_hangs_is_left_for_another() {
    let nodes = Nodes::start(3).await;
    let etcd = client(&nodes);
    eventually(async || etcd.put("a", &7, None).await.ok()).await;
    for node in 0..3 {
        nodes.freeze(node);
        assert_eq!(eventually(async || etcd.get::<u32>("a").await.ok()).await, Some(7));
        nodes.thaw(node);
    }
}

#[tokio::test]
async fn one_node_of_several_that_is_down_costs_nothing() {
    let nodes = Nodes::start(1).await;
    let mut endpoints = nodes.endpoints();
    endpoints.push("http://127.0.0.1:1".into());
    for _ in 0..10 {
        let endpoints = endpoints.clone();
        let settings = Settings { endpoints, tls: None, user: None, prefix: PREFIX.into() };
        let etcd = Etcd::new(settings).unwrap();
        etcd.put("a", &1, None).await.unwrap();
        assert_eq!(etcd.get("a").await.unwrap(), Some(1));
    }
}

#[tokio::test]
async fn each_node_says_how_it_is() {
    let mut nodes = Nodes::start(3).await;
    let etcd = client(&nodes);
    // A busy machine may delay an answer, or make the nodes elect another leader.
    let healthy = eventually(async || {
        let all = etcd.nodes().await;
        assert!(all.iter().map(|node| &node.endpoint).eq(&nodes.endpoints()));
        let healthy: Vec<_> = all.into_iter().filter_map(|node| node.health.ok()).collect();
        let leaders = healthy.iter().filter(|node| node.is_leader).count();
        let all_follow = healthy.len() == 3 && healthy.iter().all(|node| node.has_leader);
        (leaders == 1 && all_follow).then_some(healthy)
    })
    .await;
    assert!(healthy.iter().all(|node| node.version.starts_with("3.")));
    nodes.kill(1);
    nodes.freeze(2);
    let all = eventually(async || {
        let all = etcd.nodes().await;
        // Without the others it soon has nothing else to say.
        let error = all[0].health.as_ref().err().map(ToString::to_string);
        error.is_none_or(|error| error.contains("no leader")).then_some(all)
    })
    .await;
    for down in &all[1..] {
        assert!(matches!(down.health, Err(EtcdError::Away(_))), "{down:?}");
    }
    nodes.thaw(2);
}
