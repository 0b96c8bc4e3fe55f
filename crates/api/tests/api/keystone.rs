//! Callers that Keystone authenticates.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use serialproxy_api::Auth;
use serialproxy_api::Keystone;
use serialproxy_config::Sources;
use serialproxy_e2e::cloud::Cloud;
use serialproxy_e2e::cloud::Fault;

use crate::bench::Answer;
use crate::bench::Bench;
use crate::bench::config;
use crate::fake::Fake;
use crate::fake::PROJECT;

const VALIDATE: &str = "GET /v3/auth/tokens";
const LIST: &str = "GET /v2.1/servers";

async fn bench(cloud: &Cloud) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.conf");
    let login = cloud.login("keystone_authtoken");
    std::fs::write(&file, login + "www_authenticate_uri = https://keystone.example/v3\n").unwrap();
    let sources = Sources { files: vec![file], ..Sources::default() };
    let auth = serialproxy_config::load(&sources).unwrap().config.keystone_authtoken;
    let auth = Auth::from(Keystone::new(&auth).unwrap());
    Bench::with(Fake::default(), &config(), auth)
}

fn questions(cloud: &Cloud) -> usize {
    cloud.calls().iter().filter(|call| call.starts_with(VALIDATE)).count()
}

/// Moves this process's clock on.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[track_caller]
fn is_refused(answer: &Answer) {
    answer.is_refused_as_by("https://keystone.example/v3");
}

#[tokio::test]
async fn a_token_is_its_users_with_the_greatest_of_their_roles() {
    let cloud = Cloud::start().await;
    let bench = bench(&cloud).await;
    let boot = r#"{"name": "a", "image": "b"}"#;
    for (roles, [list, make, users]) in [
        (&["reader"][..], [200, 403, 403]),
        (&["member", "reader"], [200, 201, 403]),
        (&["Member", "service"], [200, 201, 403]),
        (&["reader", "member", "manager", "admin"], [200, 201, 409]),
        (&["service"], [403, 403, 403]),
        (&[], [403, 403, 403]),
    ] {
        let token = cloud.user_token("alice", PROJECT, roles);
        for (call, body, status) in
            [(LIST, "", list), ("POST /v1/servers", boot, make), ("GET /v1/users", "", users)]
        {
            let answer = bench.call_as(&token, call, body).await;
            assert_eq!(answer.status, status, "{roles:?} {call}");
        }
    }
    let asked = bench.fake.asked();
    assert!(asked.iter().any(|asked| asked.contains("Boot")), "{asked:?}");
}

#[tokio::test]
async fn a_token_of_another_project_sees_nothing_of_this_one() {
    let cloud = Cloud::start().await;
    let bench = bench(&cloud).await;
    let own = cloud.user_token("alice", PROJECT, &["member"]);
    let foreign = cloud.user_token("alice", "other", &["member"]);
    let count = |answer: Answer| answer.json()["servers"].as_array().unwrap().len();
    assert_eq!(count(bench.call_as(&own, LIST, "").await), 2);
    assert_eq!(count(bench.call_as(&foreign, LIST, "").await), 0);
}

#[tokio::test]
async fn without_a_token_or_with_one_that_keystone_does_not_know_the_refusal_is_the_middlewares() {
    let cloud = Cloud::start().await;
    let bench = bench(&cloud).await;
    let request = Request::get("/v2.1/servers").body(Body::empty()).unwrap();
    is_refused(&bench.send(request).await);
    for token in ["wrong", ""] {
        is_refused(&bench.call_as(token, LIST, "").await);
    }
    let calls = cloud.calls();
    assert_eq!(questions(&cloud), 1, "the same bad token is asked about once: {calls:?}");
}

#[tokio::test]
async fn keystone_is_asked_once_a_minute_however_many_ask_at_once() {
    let cloud = Cloud::start().await;
    let bench = bench(&cloud).await;
    let token = cloud.user_token("alice", PROJECT, &["member"]);
    let calls = (0..20).map(|_| bench.call_as(&token, LIST, ""));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(questions(&cloud), 1);
    pass(30).await;
    assert_eq!(bench.call_as(&token, LIST, "").await.status, 200);
    assert_eq!(questions(&cloud), 1);
    pass(31).await;
    assert_eq!(bench.call_as(&token, LIST, "").await.status, 200);
    assert_eq!(questions(&cloud), 2);
}

#[tokio::test]
async fn a_revoked_token_is_refused_within_a_minute() {
    let cloud = Cloud::start().await;
    let bench = bench(&cloud).await;
    let token = cloud.user_token("alice", PROJECT, &["member"]);
    assert_eq!(bench.call_as(&token, LIST, "").await.status, 200);
    cloud.expire(&token);
    pass(60).await;
    is_refused(&bench.call_as(&token, LIST, "").await);
}

#[tokio::test]
async fn while_keystone_is_away_who_was_known_goes_on_for_a_minute_and_others_are_told() {
    let cloud = Cloud::start().await;
    let bench = bench(&cloud).await;
    let known = cloud.user_token("alice", PROJECT, &["member"]);
    let other = cloud.user_token("bob", PROJECT, &["member"]);
    assert_eq!(bench.call_as(&known, LIST, "").await.status, 200);
    cloud.fail(Some(("/v3", Fault::Status(503))));
    let answer = bench.call_as(&other, LIST, "").await;
    answer.is_fault(503, "serviceUnavailable", "your token cannot be validated now: Keystone");
    assert_eq!(bench.call_as(&known, LIST, "").await.status, 200);
    pass(60).await;
    assert_eq!(bench.call_as(&known, LIST, "").await.status, 503);
    cloud.fail(None);
    pass(60).await;
    for token in [&known, &other] {
        assert_eq!(bench.call_as(token, LIST, "").await.status, 200);
    }
}

#[tokio::test]
async fn all_who_wait_with_one_token_for_a_silent_keystone_are_told_at_once() {
    let cloud = Cloud::start().await;
    let bench = bench(&cloud).await;
    let [known, other] = ["alice", "bob"].map(|user| cloud.user_token(user, PROJECT, &["member"]));
    assert_eq!(bench.call_as(&known, LIST, "").await.status, 200);
    cloud.fail(Some(("/v3", Fault::Silence)));
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let calls = (0..5).map(|_| bench.call_as(&other, LIST, ""));
    for answer in futures_util::future::join_all(calls).await {
        answer.is_fault(503, "serviceUnavailable", "Keystone did not respond within 10 s");
    }
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn the_project_in_a_path_is_the_tokens() {
    let cloud = Cloud::start().await;
    let bench = bench(&cloud).await;
    let token = cloud.user_token("alice", PROJECT, &["admin"]);
    for version in ["v2", "v2.1"] {
        let own = format!("GET /{version}/{PROJECT}/servers");
        assert_eq!(bench.call_as(&token, &own, "").await.status, 200);
        let foreign = format!("GET /{version}/other/servers");
        let answer = bench.call_as(&token, &foreign, "").await;
        let message = "Malformed request URL: URL's project_id 'other' doesn't match Context's \
                       project_id 'demo'";
        answer.is_fault(400, "badRequest", message);
    }
}

#[tokio::test]
async fn where_keystone_knows_users_we_are_no_keystone() {
    let cloud = Cloud::start().await;
    let bench = bench(&cloud).await;
    let admin = cloud.user_token("adam", PROJECT, &["admin"]);
    for call in ["GET /v3", "POST /v3/auth/tokens"] {
        let answer = bench.call_as(&admin, call, "{}").await;
        answer.is_fault(404, "itemNotFound", "could not be found");
    }
    for call in ["GET /v1/users", "GET /v1/tokens"] {
        let answer = bench.call_as(&admin, call, "").await;
        answer.is_fault(409, "conflictingRequest", "auth_strategy is keystone");
    }
}
