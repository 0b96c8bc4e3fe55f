use std::time::Duration;

use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_e2e::eventually;
use serialproxy_e2e::within;
use serialproxy_etcd::EtcdError;

use crate::client;

#[tokio::test]
async fn keys_go_with_the_lease_that_they_were_put_under() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    let lease = etcd.lease(Duration::from_secs(60)).await.unwrap();
    let dropped = etcd.lease(Duration::from_secs(60)).await.unwrap();
    etcd.put("a", &1, Some(lease.id())).await.unwrap();
    assert!(etcd.create("b", &1, Some(dropped.id())).await.unwrap());
    etcd.put("c", &1, None).await.unwrap();
    lease.close().await;
    assert_eq!(etcd.get::<u32>("a").await.unwrap(), None);
    drop(dropped);
    eventually(async || etcd.get::<u32>("b").await.unwrap().is_none().then_some(())).await;
    assert_eq!(etcd.get("c").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_lease_is_kept_alive_beyond_its_time() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    let lease = etcd.lease(Duration::from_secs(6)).await.unwrap();
    etcd.put("a", &1, Some(lease.id())).await.unwrap();
    let first = lease.acknowledged();
    eventually(async || (first.elapsed() > Duration::from_secs(10)).then_some(())).await;
    assert!(lease.acknowledged() > first && !lease.is_lost());
    assert_eq!(etcd.get("a").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_lease_that_nobody_keeps_alive_ends() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    let lease = etcd.grant(Duration::from_secs(2)).await.unwrap();
    etcd.put("a", &1, Some(lease)).await.unwrap();
    eventually(async || etcd.get::<u32>("a").await.unwrap().is_none().then_some(())).await;
    assert_eq!(etcd.put("a", &1, Some(lease)).await, Err(EtcdError::NoLease));
    assert_eq!(etcd.create("a", &1, Some(lease)).await, Err(EtcdError::NoLease));
}

#[tokio::test]
async fn an_owner_is_told_that_its_lease_was_revoked() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    let lease = etcd.lease(Duration::from_secs(2)).await.unwrap();
    etcd.revoke(lease.id()).await.unwrap();
    etcd.revoke(lease.id()).await.unwrap();
    within(lease.lost()).await;
    assert!(lease.is_lost());
}

#[tokio::test]
async fn an_owner_is_told_that_its_lease_may_have_ended_when_etcd_is_away() {
    let mut nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    let lease = etcd.lease(Duration::from_secs(2)).await.unwrap();
    nodes.kill(0);
    within(lease.lost()).await;
    assert!(lease.is_lost() && lease.acknowledged().elapsed() >= Duration::from_secs(2));
}
