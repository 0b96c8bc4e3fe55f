use serde_json::Value;
use serde_json::json;
use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_etcd::EtcdError;

use crate::PREFIX;
use crate::client;

#[tokio::test]
async fn a_value_comes_back_as_it_was_put_below_the_prefix() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    assert_eq!(etcd.get::<Value>("hosts/a").await.unwrap(), None);
    etcd.put("hosts/a", &json!({"address": "10.0.0.1"}), None).await.unwrap();
    assert_eq!(etcd.get("hosts/a").await.unwrap(), Some(json!({"address": "10.0.0.1"})));
    let there = nodes.ctl(&["get", &format!("{PREFIX}hosts/a"), "--print-value-only"]);
    assert_eq!(there.trim(), r#"{"address":"10.0.0.1"}"#);
    assert!(etcd.delete("hosts/a").await.unwrap());
    assert!(!etcd.delete("hosts/a").await.unwrap());
}

#[tokio::test]
async fn a_key_is_created_once_and_taken_once() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    assert!(etcd.create("a", &1, None).await.unwrap());
    assert!(!etcd.create("a", &2, None).await.unwrap());
    let takers: Vec<_> = std::iter::repeat_with(|| client(&nodes)).take(5).collect();
    let takes = takers
        .iter()
        .cycle()
        .take(50)
        .cloned()
        .map(|etcd| tokio::spawn(async move { etcd.take::<u32>("a").await.unwrap() }));
    let mut taken = Vec::new();
    for take in takes.collect::<Vec<_>>() {
        taken.extend(take.await.unwrap());
    }
    assert_eq!(taken, [1]);
}

#[tokio::test]
async fn a_transaction_makes_all_its_changes_or_none() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    etcd.put("a", &1, None).await.unwrap();
    let first = etcd.entry::<u32>("a").await.unwrap().unwrap();
    let change =
        |value: u32| etcd.transaction().unchanged("a", first.changed).put("a", &value, None);
    let done = change(2).put("b", &1, None).commit().await.unwrap();
    assert!(done.unwrap() > first.changed);
    assert_eq!(change(3).delete("b").commit().await.unwrap(), None);
    let second = etcd.entry::<u32>("a").await.unwrap().unwrap();
    assert_eq!((second.value, second.created), (2, first.created));
    assert!(second.changed > first.changed);
    let cleared = etcd.transaction().present("b").absent("c").delete_all("").commit().await;
    assert!(cleared.unwrap().is_some());
    assert_eq!(etcd.count("").await.unwrap(), 0);
}

#[tokio::test]
async fn a_value_is_found_unless_another_key_has_one() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    assert_eq!(etcd.get_unless::<u32>("a", "b").await.unwrap(), None);
    etcd.put("a", &1, None).await.unwrap();
    assert_eq!(etcd.get_unless::<u32>("a", "b").await.unwrap(), Some(1));
    etcd.put("b", &(), None).await.unwrap();
    assert_eq!(etcd.get_unless::<u32>("a", "b").await.unwrap(), None);
}

#[tokio::test]
async fn a_list_has_every_page_in_order_and_what_does_not_parse_is_left_out() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    let names: Vec<_> = (0..1203).map(|index| format!("{index:04}")).collect();
    for some in names.chunks(100) {
        let put = |all: serialproxy_etcd::Transaction, name: &String| {
            all.put(&format!("servers/{name}"), name, None)
        };
        some.iter().fold(etcd.transaction(), put).commit().await.unwrap();
    }
    etcd.put("servers/0600", &17, None).await.unwrap();
    etcd.put("serverz", &"another's", None).await.unwrap();
    let listed = etcd.list::<String>("servers/", usize::MAX).await.unwrap();
    let expected = names.iter().filter(|name| *name != "0600");
    assert!(listed.iter().map(|(name, _)| name).eq(expected.clone()));
    assert!(listed.iter().all(|(name, value)| name == value));
    let some = etcd.list::<String>("servers/", 700).await.unwrap();
    assert!(some.iter().map(|(name, _)| name).eq(expected.take(700)));
    assert_eq!(etcd.count("servers/").await.unwrap(), names.len());
}

#[tokio::test]
async fn large_values_of_others_do_not_stop_a_list() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    let large = format!("\"{}\"", "x".repeat(100_000));
    for index in 0..120 {
        nodes.ctl(&["put", &format!("{PREFIX}a/{index:03}"), &large]);
    }
    let listed = etcd.list::<String>("a/", 1000).await.unwrap();
    assert_eq!(listed.len(), 120);
}

#[tokio::test]
async fn a_value_that_is_too_large_or_no_json_is_an_error_that_does_not_repeat_it() {
    let nodes = Nodes::start(1).await;
    let etcd = client(&nodes);
    let large = etcd.put("a", &"x".repeat(300_000), None).await;
    assert!(matches!(large, Err(EtcdError::Value(_))), "{large:?}");
    nodes.ctl(&["put", &format!("{PREFIX}a"), r#"{"secret": hunter2}"#]);
    let refused = etcd.get::<Value>("a").await.unwrap_err();
    assert!(matches!(refused, EtcdError::Value(_)));
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
}
