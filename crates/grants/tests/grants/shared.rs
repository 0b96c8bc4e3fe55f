use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use jiff::ToSpan;
use serialproxy_e2e::etcd::Etcd as Nodes;
use serialproxy_e2e::eventually;
use serialproxy_grants::Grants;
use serialproxy_proto::token::TokenDigest;

use crate::a_grant;
use crate::on;

fn soon() -> Timestamp {
    Timestamp::now() + 10.minutes()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_spend_a_token_at_once_over_several_clients_one_wins() {
    let nodes = Nodes::start(1).await;
    let clients = [on(&nodes), on(&nodes), on(&nodes)];
    for _ in 0..5 {
        let token = clients[0].authorize(a_grant("a", soon())).await.unwrap().digest();
        let spenders: Vec<_> = clients
            .iter()
            .cycle()
            .take(50)
            .cloned()
            .map(|grants| tokio::spawn(async move { grants.spend(token).await.unwrap() }))
            .collect();
        let mut winners = 0;
        for spender in spenders {
            winners += usize::from(spender.await.unwrap());
        }
        assert_eq!(winners, 1);
        assert_eq!(clients[1].validate(token, Timestamp::now()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_one_host_revokes_is_unknown_at_once_at_another() {
    let nodes = Nodes::start(1).await;
    let (one, other) = (on(&nodes), on(&nodes));
    let token = one.authorize(a_grant("a", soon())).await.unwrap().digest();
    assert!(other.validate(token, Timestamp::now()).await.unwrap().is_some());
    assert_eq!(other.revocations(), None);
    assert!(one.revoke(token).await.unwrap());
    assert_eq!(other.validate(token, Timestamp::now()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_of_one_minute_share_a_lease_with_which_they_go() {
    let nodes = Nodes::start(1).await;
    let (grants, expires) = (on(&nodes), soon());
    let making: Vec<_> = (0..20)
        .map(|_| {
            let grants = grants.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    grants.authorize(a_grant("a", expires)).await.unwrap();
                }
            })
        })
        .collect();
    for made in making {
        made.await.unwrap();
    }
    let listed = nodes.ctl(&["lease", "list"]);
    let leases: Vec<_> = listed.lines().skip(1).collect();
    assert_eq!(leases.len(), 1, "{listed}");
    let told = nodes.ctl(&["lease", "timetolive", leases[0], "--keys"]);
    assert_eq!(told.matches("/serialproxy/v1/grants/").count(), 1000);
    let seconds = told.split("granted with TTL(").nth(1).unwrap();
    let seconds: i64 = seconds.split('s').next().unwrap().parse().unwrap();
    assert!((600..=720).contains(&seconds), "{seconds}");
    // Without the lease, its keys are gone, too.
    nodes.ctl(&["lease", "revoke", leases[0]]);
    assert_eq!(nodes.ctl(&["get", "", "--prefix", "--keys-only"]).trim(), "");
    grants.authorize(a_grant("a", expires)).await.unwrap();
}

#[tokio::test]
async fn no_token_is_anywhere_in_etcd() {
    let nodes = Nodes::start(1).await;
    let grants = on(&nodes);
    let token = grants.authorize(a_grant("a", soon())).await.unwrap();
    let there = nodes.ctl(&["get", "", "--prefix"]);
    assert!(there.contains("/serialproxy/v1/grants/"), "{there}");
    assert!(!there.contains(token.expose()), "{there}");
}

#[tokio::test]
async fn an_etcd_that_is_away_is_told_in_time() {
    let mut nodes = Nodes::start(1).await;
    let grants = on(&nodes);
    let token = grants.authorize(a_grant("a", soon())).await.unwrap();
    nodes.freeze(0);
    refused_soon(&grants, token.digest()).await;
    nodes.thaw(0);
    nodes.kill(0);
    refused_soon(&grants, token.digest()).await;
    nodes.restart(0).await;
    let found = async || grants.validate(token.digest(), Timestamp::now()).await.ok();
    assert!(eventually(found).await.is_some());
}

async fn refused_soon(grants: &Grants, digest: TokenDigest) {
    // A busy machine delays some of the attempts, but not all.
    Box::pin(eventually(async || {
        let asked = Instant::now();
        let now = Timestamp::now();
        let (validated, spent, logged_in, made, user) = tokio::join!(
            grants.validate(digest, now),
            grants.spend(digest),
            grants.api_token(digest, now),
            grants.authorize(a_grant("a", now)),
            grants.user("alice"),
        );
        let took = asked.elapsed();
        let refusals = [
            validated.unwrap_err(),
            spent.unwrap_err(),
            logged_in.unwrap_err(),
            made.unwrap_err(),
            user.unwrap_err(),
        ];
        for refused in refusals {
            assert!(refused.to_string().starts_with("etcd does not answer"), "{refused}");
        }
        (took < Duration::from_secs(2)).then_some(())
    }))
    .await;
}
