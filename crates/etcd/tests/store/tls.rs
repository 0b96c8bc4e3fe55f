use serialproxy_e2e::etcd::Certificates;
use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_e2e::eventually;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;
use serialproxy_etcd::Settings;
use serialproxy_etcd::Tls;

use crate::settings;

fn with(nodes: &Nodes, ca: &Certificates, client: Option<&str>) -> Settings {
    let client = client.map(|name| nodes.certificates().issue(name));
    Settings { tls: Some(Tls { ca: ca.ca(), client }), ..settings(nodes) }
}

#[tokio::test]
async fn a_client_needs_a_certificate_and_knows_the_nodes_by_theirs() {
    let nodes = Nodes::start_with_tls(1).await;
    let ca = nodes.certificates();
    let etcd = Etcd::new(with(&nodes, ca, Some("compute"))).unwrap();
    etcd.put("a", &1, None).await.unwrap();
    assert_eq!(etcd.get("a").await.unwrap(), Some(1));
    let stranger = Etcd::new(with(&nodes, ca, None)).unwrap();
    let refused = stranger.get::<u32>("a").await.unwrap_err();
    assert!(matches!(refused, EtcdError::Away(_)), "{refused}");
    let other = Certificates::new();
    let misled = Etcd::new(with(&nodes, &other, Some("compute"))).unwrap();
    let error = misled.get::<u32>("a").await.unwrap_err().to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
}

/// Sets a user up who may read the grants, and that everybody is asked who they are.
fn permit(nodes: &Nodes) {
    for command in [
        "user add root:root",
        "user grant-role root root",
        "role add reader",
        "role grant-permission reader read --prefix=true /serialproxy/v1/grants/",
        "user add alice:hunter2",
        "user grant-role alice reader",
        "auth enable",
    ] {
        nodes.ctl(&command.split(' ').collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_user_is_held_to_what_its_role_permits() {
    let nodes = Nodes::start(1).await;
    permit(&nodes);
    let user = |password: &str| Some(("alice".to_owned(), password.to_owned()));
    let etcd = Etcd::new(Settings { user: user("hunter2"), ..settings(&nodes) }).unwrap();
    assert_eq!(etcd.get::<u32>("grants/a").await.unwrap(), None);
    for refused in [etcd.put("grants/a", &1, None).await, etcd.get("users/a").await.map(nothing)] {
        let is_denied =
            matches!(&refused, Err(EtcdError::Refused(text)) if text.contains("denied"));
        assert!(is_denied, "{refused:?}");
    }
    let etcd = Etcd::new(Settings { user: user("wrong"), ..settings(&nodes) }).unwrap();
    let refused = etcd.get::<u32>("grants/a").await.unwrap_err();
    assert!(matches!(refused, EtcdError::Refused(_)), "{refused}");
    assert!(!refused.to_string().contains("wrong"), "{refused}");
}

fn nothing(_: Option<u32>) {}

#[tokio::test]
async fn a_user_is_known_by_the_certificates_name_and_a_renewed_certificate_is_used() {
    let nodes = Nodes::start_with_tls(1).await;
    let client = with(&nodes, nodes.certificates(), Some("bob"));
    let (certificate, key) = client.tls.clone().unwrap().client.unwrap();
    let etcd = Etcd::new(client).unwrap();
    permit(&nodes);
    assert!(matches!(etcd.get::<u32>("grants/a").await, Err(EtcdError::Refused(_))));
    // A certificate without its key does not stop what works.
    let (renewed, its_key) = nodes.certificates().issue("alice");
    std::fs::rename(renewed, certificate).unwrap();
    assert!(matches!(etcd.get::<u32>("grants/a").await, Err(EtcdError::Refused(_))));
    std::fs::rename(its_key, key).unwrap();
    assert_eq!(eventually(async || etcd.get::<u32>("grants/a").await.ok()).await, None);
}
