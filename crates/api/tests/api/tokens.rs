//! API tokens: create, list, use and revoke.

use serde_json::json;
use serialproxy_api::Auth;

use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::PROJECT;

const CI: &str = r#"{"name": "ci", "project": "demo", "role": "member"}"#;

#[tokio::test]
async fn a_token_is_shown_once_and_good_until_it_is_revoked() {
    let bench = Bench::new();
    let made = bench.call("POST /v1/tokens", CI).await;
    assert_eq!(made.status, 201);
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(secret.len(), 64);
    let listed = bench.get("/v1/tokens").await;
    assert_eq!(listed.json(), json!({"tokens": [made.json()["token"]]}));
    assert!(!String::from_utf8(listed.body).unwrap().contains(&secret));
    assert_eq!(bench.call_as(&secret, "GET /v1/servers", "").await.status, 200);
    assert_eq!(bench.call("DELETE /v1/tokens/ci", "").await.status, 204);
    let answer = bench.call_as(&secret, "GET /v1/servers", "").await;
    answer.is_fault(401, "unauthorized", "expired token");
    let answer = bench.call("DELETE /v1/tokens/ci", "").await;
    answer.is_fault(404, "itemNotFound", "Token ci could not be found.");
}

#[tokio::test]
async fn a_token_ends_when_it_expires() {
    let bench = Bench::new();
    for (name, expires, status) in
        [("old", "2026-01-01T00:00:00Z", 401), ("new", "9000-01-01T00:00:00Z", 200)]
    {
        let body = json!({"name": name, "project": PROJECT, "role": "reader", "expires": expires});
        let made = bench.call("POST /v1/tokens", body.to_string()).await.json();
        assert_eq!(made["token"]["expires"], expires);
        let secret = made["secret"].as_str().unwrap();
        assert_eq!(bench.call_as(secret, "GET /v1/lines", "").await.status, status, "{name}");
    }
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let bench = Bench::new();
    assert_eq!(bench.call("POST /v1/tokens", CI).await.status, 201);
    let answer = bench.call("POST /v1/tokens", CI).await;
    answer.is_fault(409, "conflictingRequest", "a token named ci exists already");
}

#[tokio::test]
async fn a_token_that_makes_no_sense_is_refused() {
    let bench = Bench::new();
    for (body, message) in [
        (json!({"name": "a b", "project": "p", "role": "member"}), "a name has 1 to 64 of"),
        (json!({"name": "a", "project": "", "role": "member"}), "a name has 1 to 64 of"),
        (json!({"name": "a", "project": "p", "role": "root"}), "unknown variant `root`"),
        (json!({"name": "a", "project": "p"}), "missing field `role`"),
        (
            json!({"name": "a", "project": "p", "role": "member", "expires": "soon"}),
            "the body is not valid",
        ),
        (json!({"name": "a", "project": "p", "role": "member", "secret": "x"}), "unknown field"),
    ] {
        let answer = bench.call("POST /v1/tokens", body.to_string()).await;
        answer.is_fault(400, "badRequest", message);
    }
}

#[tokio::test]
async fn where_nobody_is_asked_who_they_are_there_are_no_tokens() {
    let bench = Bench::with(Fake::default(), &config(), Auth::Noauth);
    for (call, body) in [("GET /v1/tokens", ""), ("POST /v1/tokens", CI)] {
        let answer = bench.call(call, body).await;
        answer.is_fault(409, "conflictingRequest", "auth_strategy is noauth");
    }
}
