//! Links that users share: create, list and revoke.

use serde_json::Value;
use serde_json::json;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Mode;

use crate::bench::BASE;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::PROJECT;
use crate::fake::running;

const WATCH: &str = r#"{"mode": "watch", "seconds": 600}"#;
const TYPE: &str = r#"{"mode": "write", "seconds": 600}"#;

fn links() -> String {
    format!("/v1/lines/{}/0/links", running())
}

/// A new API token.
async fn user(bench: &Bench, name: &str, role: &str) -> String {
    let body = json!({"name": name, "project": PROJECT, "role": role});
    let made = bench.call("POST /v1/tokens", body.to_string()).await;
    made.json()["secret"].as_str().unwrap().to_owned()
}

/// The links that this caller sees.
async fn seen(bench: &Bench, token: &str) -> Vec<Value> {
    let answer = bench.call_as(token, &format!("GET {}", links()), "").await;
    assert_eq!(answer.status, 200);
    answer.json()["links"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_link_is_shown_once_and_listed_without_its_token() {
    let bench = Bench::new();
    let alice = user(&bench, "alice", "member").await;
    let made = bench.call_as(&alice, &format!("POST {}", links()), TYPE).await;
    assert_eq!(made.status, 201);
    let url = made.json()["url"].as_str().unwrap().to_owned();
    let token = url.strip_prefix(&format!("{BASE}?token=")).unwrap();
    let digest = ConsoleToken::from_client(token).digest();
    let grant = bench.grants.validate(digest, jiff::Timestamp::now()).await.unwrap().unwrap();
    assert_eq!(grant.line, LineKey { server: running(), port: 0 });
    assert_eq!((grant.mode, grant.operator, &*grant.user), (Mode::Write, false, "alice"));
    let listed = bench.call_as(&alice, &format!("GET {}", links()), "").await;
    let expected = json!({"links": [made.json()["link"]], "longest": 86400});
    assert_eq!(listed.json(), expected);
    assert!(!String::from_utf8(listed.body).unwrap().contains(token));
    let link = &made.json()["link"];
    assert_eq!((&link["mode"], &link["user"]), (&json!("write"), &json!("alice")));
    assert_eq!(link["sessions"], 0);
}

#[tokio::test]
async fn users_see_and_revoke_their_own_links_and_administrators_all() {
    let bench = Bench::new();
    let (alice, bob) = (user(&bench, "alice", "member").await, user(&bench, "bob", "reader").await);
    let made = bench.call_as(&alice, &format!("POST {}", links()), WATCH).await.json();
    let revoke = format!("DELETE {}/{}", links(), made["link"]["id"].as_str().unwrap());
    assert!(made["url"].as_str().unwrap().ends_with("&mode=watch"), "{made}");
    assert_eq!(seen(&bench, &bob).await.len(), 0);
    let refused = bench.call_as(&bob, &revoke, "").await;
    refused.is_fault(404, "itemNotFound", "could not be found");
    assert_eq!(bench.call_as(&alice, &revoke, "").await.status, 204);
    assert_eq!(seen(&bench, &alice).await.len(), 0);
    let refused = bench.call_as(&alice, &revoke, "").await;
    refused.is_fault(404, "itemNotFound", "could not be found");

    let made = bench.call_as(&bob, &format!("POST {}", links()), WATCH).await.json();
    assert_eq!(seen(&bench, crate::bench::ADMIN).await, [made["link"].clone()]);
    let revoke = format!("DELETE {}/{}", links(), made["link"]["id"].as_str().unwrap());
    assert_eq!(bench.call(&revoke, "").await.status, 204);
}

#[tokio::test]
async fn nobody_shares_more_than_they_may_do_or_longer_than_is_allowed() {
    let bench = Bench::new();
    let reader = user(&bench, "bob", "reader").await;
    let refused = bench.call_as(&reader, &format!("POST {}", links()), TYPE).await;
    refused.is_fault(403, "forbidden", "serialproxy:lines:links");
    for seconds in [0, 59, 86_401] {
        let body = json!({"mode": "watch", "seconds": seconds});
        let refused = bench.call(&format!("POST {}", links()), body.to_string()).await;
        refused.is_fault(400, "badRequest", "seconds must be a number from 60 to 86400");
    }
    let mut config = config();
    config.consoleauth.link_ttl = std::time::Duration::ZERO;
    let off = Bench::local(Fake::default(), &config);
    let refused = off.call(&format!("POST {}", links()), WATCH).await;
    refused.is_fault(403, "forbidden", "[consoleauth] link_ttl is 0");
    assert_eq!(off.get(&links()).await.json(), json!({"links": [], "longest": 0}));
}

#[tokio::test]
async fn a_user_has_twenty_links_to_a_line_at_a_time() {
    let bench = Bench::new();
    for _ in 0..20 {
        assert_eq!(bench.call(&format!("POST {}", links()), WATCH).await.status, 201);
    }
    let refused = bench.call(&format!("POST {}", links()), WATCH).await;
    refused.is_fault(409, "conflictingRequest", "too many live links");
}

#[tokio::test]
async fn a_link_ends_with_the_user_or_token_that_made_it() {
    let bench = Bench::new();
    let alice = user(&bench, "alice", "member").await;
    bench.call_as(&alice, &format!("POST {}", links()), TYPE).await;
    bench.call(&format!("POST {}", links()), TYPE).await;
    assert_eq!(bench.call("DELETE /v1/tokens/alice", "").await.status, 204);
    let left = seen(&bench, crate::bench::ADMIN).await;
    assert_eq!(left.iter().map(|link| &link["user"]).collect::<Vec<_>>(), ["admin"]);

    let body = json!({"name": "carol", "project": PROJECT, "role": "member",
        "password": "correct horse"});
    assert_eq!(bench.call("POST /v1/users", body.to_string()).await.status, 201);
    let login = json!({"user": "carol", "password": "correct horse"});
    let login = bench.call("POST /v1/login", login.to_string()).await;
    let carol = login.json()["token"].as_str().unwrap().to_owned();
    bench.call_as(&carol, &format!("POST {}", links()), TYPE).await;
    assert_eq!(seen(&bench, crate::bench::ADMIN).await.len(), 2);
    assert_eq!(bench.call("DELETE /v1/users/carol", "").await.status, 204);
    assert_eq!(seen(&bench, crate::bench::ADMIN).await, left);
}
