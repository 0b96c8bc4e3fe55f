//! Checks the permissions in etcd that the commands of `docs/cluster.md` give each role.

use jiff::Timestamp;
use jiff::ToSpan;
use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;
use serialproxy_etcd::Settings;
use serialproxy_etcd::Tls;
use serialproxy_grants::Grants;

use crate::a_grant;
use crate::settings;

const DOCUMENT: &str = include_str!("../../../../docs/cluster.md");

/// An etcd that was set up as the document says, and a connection to it for each role.
async fn set_up() -> (Nodes, [Etcd; 3]) {
    let nodes = Nodes::start_with_tls(1).await;
    let section = DOCUMENT.split("### Permissions").nth(1).unwrap();
    let commands = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    for command in commands.lines() {
        let arguments = command.strip_prefix("etcdctl ").unwrap();
        nodes.ctl(&arguments.split(' ').collect::<Vec<_>>());
    }
    let roles = ["api", "compute", "proxy"].map(|role| {
        let certificates = nodes.certificates();
        let client = Some(certificates.issue(&format!("serialproxy-{role}")));
        let tls = Some(Tls { ca: certificates.ca(), client });
        Etcd::new(Settings { tls, ..settings(&nodes) }).unwrap()
    });
    (nodes, roles)
}

#[tokio::test]
async fn a_compute_host_checks_and_spends_tokens_and_cannot_issue_them() {
    let (_nodes, [api, compute, proxy]) = set_up().await;
    let [api, compute, proxy] = [api, compute, proxy].map(Grants::on);
    let grant = || a_grant("a", Timestamp::now() + 10.minutes());
    let token = api.authorize(grant()).await.unwrap().digest();
    for finds_the_host in [&compute, &proxy] {
        assert!(finds_the_host.validate(token, Timestamp::now()).await.unwrap().is_some());
    }
    assert!(compute.spend(token).await.unwrap() && !compute.spend(token).await.unwrap());
    assert_eq!(compute.validate(token, Timestamp::now()).await.unwrap(), None);
    for refused in [compute.authorize(grant()).await, proxy.authorize(grant()).await] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("permission denied"), "{refused}");
    }
    assert!(compute.users().await.is_err() && compute.revoke(token).await.is_err());
    assert!(proxy.users().await.is_err() && proxy.spend(token).await.is_err());
}

#[tokio::test]
async fn each_role_writes_what_it_has_to_tell_and_nothing_else() {
    let (_nodes, [api, compute, proxy]) = set_up().await;
    for (etcd, writes) in [
        (&api, ["hosts", "members", "removed", "draining", "codes", "users"].as_slice()),
        (&compute, ["hosts", "servers", "spent"].as_slice()),
        (&proxy, ["hosts", "owners"].as_slice()),
    ] {
        for place in writes {
            etcd.put(&format!("{place}/a"), &1, None).await.unwrap();
        }
    }
    for (etcd, reads) in
        [(&compute, ["removed", "draining", "hosts"]), (&proxy, ["removed", "draining", "servers"])]
    {
        for place in reads {
            assert_eq!(etcd.get(&format!("{place}/a")).await.unwrap(), Some(1));
        }
        for place in ["members", "removed", "draining", "codes", "users", "apitokens", "grants"] {
            let refused = etcd.put(&format!("{place}/a"), &1, None).await;
            assert!(matches!(refused, Err(EtcdError::Refused(_))), "{place}: {refused:?}");
        }
        assert!(etcd.get::<u32>("codes/a").await.is_err());
    }
    assert!(proxy.put("servers/a", &1, None).await.is_err());
}
