use std::time::Duration;

use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_e2e::eventually;
use serialproxy_e2e::within;
use serialproxy_etcd::Bounds;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::Watched;

use crate::PREFIX;
use crate::client;

const BOUNDS: Bounds = Bounds { entries: 10_000, value: 1000 };

fn names(watched: &Watched<u32>) -> Vec<String> {
    watched.read(|entries| entries.keys().cloned().collect())
}

/// Waits until the map has exactly these keys.
async fn has(watched: &Watched<u32>, expected: &[&str]) {
    let mut news = watched.news();
    within(async {
        while names(watched) != expected {
            news.changed().await.unwrap();
        }
    })
    .await;
}

async fn put(etcd: &Etcd, key: &str) {
    etcd.put(key, &1, None).await.unwrap();
}

#[tokio::test]
async fn a_map_has_what_was_there_and_what_changes() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    put(&etcd, "servers/a").await;
    put(&etcd, "serverz/other").await;
    let watched = etcd.watch("servers/", BOUNDS);
    assert_eq!(watched.as_of(), None);
    within(watched.listed()).await;
    assert_eq!(names(&watched), ["a"]);
    put(&etcd, "servers/b").await;
    has(&watched, &["a", "b"]).await;
    etcd.put("servers/a", &2, None).await.unwrap();
    eventually(async || watched.get("a").filter(|a| a.value == 2)).await;
    etcd.delete("servers/a").await.unwrap();
    has(&watched, &["b"]).await;
    assert!(!watched.as_of().unwrap().stale);
}

#[tokio::test]
async fn more_keys_than_a_page_are_listed_in_order() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    // Spread as UUIDs are.
    let name = |number: u32| format!("a/{:08x}", number.wrapping_mul(0x9e37_79b9));
    for hundreds in 0..60 {
        let keys = (0..100).map(|index| name(hundreds * 100 + index));
        let all = keys.fold(etcd.transaction(), |all, key| all.put(&key, &1, None));
        all.commit().await.unwrap();
    }
    put(&etcd, "a/-").await;
    put(&etcd, "a/zz").await;
    let watched: Watched<u32> = etcd.watch("a/", BOUNDS);
    within(watched.listed()).await;
    assert_eq!(names(&watched).len(), 6002);
    let listed = within(etcd.list::<u32>("a/", 5000)).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, names(&watched)[..5000]);
}

#[tokio::test]
async fn a_map_says_since_when_it_is_stale_and_becomes_current_again() {
    let mut nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    put(&etcd, "a/1").await;
    let watched = etcd.watch("a/", BOUNDS);
    has(&watched, &["1"]).await;
    nodes.kill(0);
    let mut news = watched.news();
    within(news.wait_for(|_| watched.as_of().unwrap().stale)).await.unwrap();
    assert_eq!(names(&watched), ["1"]);
    let stale = watched.as_of().unwrap();
    nodes.restart(0).await;
    within(news.wait_for(|_| !watched.as_of().unwrap().stale)).await.unwrap();
    assert!(watched.as_of().unwrap().time > stale.time);
    eventually(async || etcd.put("a/2", &1, None).await.ok()).await;
    has(&watched, &["1", "2"]).await;
}

#[tokio::test]
async fn a_node_that_hangs_makes_a_map_stale() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    let watched: Watched<u32> = etcd.watch("a/", BOUNDS);
    within(watched.listed()).await;
    nodes.freeze(0);
    let mut news = watched.news();
    within(news.wait_for(|_| watched.as_of().unwrap().stale)).await.unwrap();
    nodes.thaw(0);
    within(news.wait_for(|_| !watched.as_of().unwrap().stale)).await.unwrap();
}

#[tokio::test]
async fn what_was_removed_and_compacted_while_nobody_watched_is_not_there_any_more() {
    let mut nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    put(&etcd, "a/gone").await;
    put(&etcd, "a/kept").await;
    let watched = etcd.watch("a/", BOUNDS);
    has(&watched, &["gone", "kept"]).await;
    // The connection breaks where the map's task cannot come back before the history is gone.
    nodes.kill(0);
    let mut news = watched.news();
    within(news.wait_for(|_| watched.as_of().unwrap().stale)).await.unwrap();
    nodes
        .restart_after(0, async |nodes| {
            nodes.ctl(&["del", &format!("{PREFIX}a/gone")]);
            let put = nodes.ctl(&["put", &format!("{PREFIX}other"), "1", "--write-out=json"]);
            let revision = put.split("\"revision\":").nth(1).unwrap();
            let revision: String = revision.chars().take_while(char::is_ascii_digit).collect();
            nodes.ctl(&["compact", &revision]);
        })
        .await;
    has(&watched, &["kept"]).await;
}

#[tokio::test]
async fn a_map_follows_an_etcd_that_was_restored_from_an_older_copy() {
    let mut nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    for key in ["a/1", "a/2", "a/3"] {
        put(&etcd, key).await;
    }
    let watched = etcd.watch("a/", BOUNDS);
    has(&watched, &["1", "2", "3"]).await;
    nodes.kill(0);
    nodes.restart_empty(0).await;
    has(&watched, &[]).await;
    eventually(async || etcd.put("a/4", &1, None).await.ok()).await;
    has(&watched, &["4"]).await;
}

#[tokio::test]
async fn what_does_not_parse_is_left_out_until_it_does() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    put(&etcd, "a/good").await;
    etcd.put("a/bad", &"no number", None).await.unwrap();
    let watched = etcd.watch("a/", BOUNDS);
    has(&watched, &["good"]).await;
    put(&etcd, "a/bad").await;
    has(&watched, &["bad", "good"]).await;
    nodes.ctl(&["put", &format!("{PREFIX}a/good"), &format!("{}1", " ".repeat(1000))]);
    has(&watched, &["bad"]).await;
}

#[tokio::test]
async fn a_map_is_bounded_and_what_was_left_out_comes_when_there_is_room() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    put(&etcd, "a/1").await;
    put(&etcd, "a/2").await;
    put(&etcd, "a/3").await;
    let watched = etcd.watch("a/", Bounds { entries: 2, value: 1000 });
    has(&watched, &["1", "2"]).await;
    assert!(watched.is_full());
    put(&etcd, "a/0").await;
    etcd.put("a/1", &7, None).await.unwrap();
    eventually(async || watched.get("1").filter(|one| one.value == 7)).await;
    assert_eq!(names(&watched), ["1", "2"]);
    etcd.delete("a/1").await.unwrap();
    has(&watched, &["0", "2"]).await;
    etcd.delete("a/3").await.unwrap();
    etcd.delete("a/2").await.unwrap();
    has(&watched, &["0"]).await;
    eventually(async || (!watched.is_full()).then_some(())).await;
}

#[tokio::test]
async fn where_only_keys_count_none_is_left_out_for_its_value() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    let watched = etcd.watch_keys("a/", 2);
    within(watched.listed()).await;
    nodes.ctl(&["put", "/serialproxy/v1/a/1", "{no JSON"]);
    etcd.put("a/2", &"x".repeat(100_000), None).await.unwrap();
    eventually(async || watched.read(|entries| (entries.len() == 2).then_some(()))).await;
    assert!(!watched.is_full());
    etcd.put("a/3", &1, None).await.unwrap();
    eventually(async || watched.is_full().then_some(())).await;
}

#[tokio::test]
async fn a_map_that_nobody_reads_any_more_asks_no_more() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    let watched: Watched<u32> = etcd.watch("a/", BOUNDS);
    let mut news = watched.news();
    within(watched.listed()).await;
    drop(watched);
    // The task's end is the end of what it tells.
    let ended = async { while news.changed().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
}
